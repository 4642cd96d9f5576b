/* tail: where history ends: the ids given so far and what the next segment starts from. Pure. */
#ifndef PROVISOR_TAIL_H
#define PROVISOR_TAIL_H

#include <stdbool.h>

#include "services/auditor/entry.h"

enum { TAIL_TOPICS_MAX = 128 };

/* What a segment holds, so that a search can pass it by. */
typedef struct {
    int64_t first_id;                         /* its name; nothing in it is smaller */
    int64_t created_ms;                       /* wall clock */
    int64_t attempts;                         /* records of delivery.* in it */
    int64_t first_ms, last_ms;                /* at_ms of its records; 0, 0: it is empty */
    char first_event[ENTRY_EVENT_ID_MAX + 1]; /* smallest and greatest event id; "", "": none */
    char last_event[ENTRY_EVENT_ID_MAX + 1];
} tail_span_t;

typedef struct {
    char topic[ENTRY_TOPIC_MAX + 1];
    int64_t last_id;
} tail_topic_t;

typedef struct {
    int64_t next_id;      /* the audit_id that comes next; from 1 */
    int64_t handlers_seq; /* how far the handler table's change log is in history */
    tail_span_t span;     /* of the live segment */
    tail_topic_t topics[TAIL_TOPICS_MAX];
    size_t n_topics;
} tail_t;

void tail_init(tail_t *tail);
/* Gives the record its audit_id and prev_id. More topics than TAIL_TOPICS_MAX: those beyond have no
 * prev_id. */
void tail_give(tail_t *tail, entry_t *entry);
/* A topic's last id, from history. */
void tail_restore_topic(tail_t *tail, slice_t topic, int64_t last_id);
/* The same ids go on in a new, empty segment. */
void tail_start_segment(tail_t *tail, int64_t wall_ms);
/* May the event have records in a segment of this span? */
bool tail_span_covers(const tail_span_t *span, slice_t event_id);
/* May it have records of the event, or of events that came later (its replays)? */
bool tail_span_reaches(const tail_span_t *span, slice_t event_id);

#endif
