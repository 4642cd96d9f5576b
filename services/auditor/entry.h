/* entry: one record of history: what a stage recorded, and what history added to it. */
#ifndef PROVISOR_ENTRY_H
#define PROVISOR_ENTRY_H

#include <stdbool.h>

#include "common/wire/messages.h"

enum { ENTRY_TOPIC_MAX = 63, ENTRY_EVENT_ID_MAX = 31 };

typedef struct {
    int64_t audit_id; /* rises by one, never used again */
    int64_t prev_id;  /* the one before it of the same topic; 0: it is the first */
    slice_t node;     /* of the stage that recorded it */
    slice_t service;
    record_t record;
} entry_t;

typedef enum { ENTRY_NO_STATUS, ENTRY_SUCCESS, ENTRY_FAIL } entry_status_t; /* stored */

/* False: it cannot be kept (a topic or an event id of another shape than ours). */
bool entry_is_valid(const record_t *record);
/* Success or fail for delivery.*, nothing for others. */
entry_status_t entry_status(slice_t topic);
const char *entry_status_str(entry_status_t status);
/* "retrying" of delivery.retrying; absent for topics that are no attempt. */
slice_t entry_outcome(slice_t topic);
/* The event that it is about, whichever of its replays: the original's id. */
slice_t entry_original_id(slice_t event_id, slice_t webhook_id);
/* stage.heartbeat and stage.stats pass through: they get no audit_id and are not kept. */
bool entry_passes_through(slice_t topic);

#endif
