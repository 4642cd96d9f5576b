/* commit: what one commit of history carries: records in order, the marks that they bring about,
 * and how far the handler table's change log was read. Nothing is copied: records borrow from the
 * frames that they came in, which it keeps. */
#ifndef PROVISOR_COMMIT_H
#define PROVISOR_COMMIT_H

#include <czmq.h>

#include "services/auditor/entry.h"
#include "services/auditor/marks.h"

typedef struct {
    entry_t entry;   /* audit_id and prev_id: set when it is written; 0: it was there already */
    slice_t encoded; /* the record as it came */
    bool passes;     /* goes to the stream only (stage.stats) */
} commit_item_t;

typedef struct {
    commit_item_t *items;
    size_t n_items, capacity;
    zframe_t **frames; /* what items borrow from */
    size_t n_frames, frame_capacity;
    size_t size_bytes;    /* of memory, about */
    marks_rows_t marks;   /* from when it is handed over */
    int64_t handlers_seq; /* 0: as before */
    int64_t since_ms;     /* monotonic: when its first record came */
} commit_t;

commit_t *commit_new(void);
void commit_destroy(commit_t **commit);
/* It keeps the frame from now on; returns its bytes. */
slice_t commit_keep(commit_t *commit, zframe_t **frame);
/* The next item, zeroed; pointers to earlier ones end. */
commit_item_t *commit_add(commit_t *commit);
/* A record of our own making, copied. node and service too. */
void commit_add_own(commit_t *commit, slice_t node, slice_t service, const record_t *record);
/* Takes n items out, from the at-th. */
void commit_remove(commit_t *commit, size_t at, size_t n);

#endif
