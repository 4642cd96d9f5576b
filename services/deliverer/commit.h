/* commit: what goes into the queue with one transaction: events that came into custody, outcomes,
 * low_water, what the auditor has.
 *
 * The loop collects it while the one before is with the writer. Until then a delivery of it can
 * still get an outcome; what is final by then needs no row, nor does an event that has none left.
 * Of each event its id is stored. commit_seal fixes that; from then on the batch does not change
 * and commit_apply may be called again with it.
 *
 *     commit_custody, commit_delivery, commit_outcome, ...      loop
 *     commit_seal                                               loop: no additions any more
 *     commit_apply                                              writer's thread
 */
#ifndef PROVISOR_COMMIT_H
#define PROVISOR_COMMIT_H

#include "common/base/ulid.h"
#include "services/deliverer/cache.h"
#include "services/deliverer/custody.h"
#include "services/deliverer/queue.h"

typedef struct {
    cache_entry_t *entry; /* referred to and in use until commit_destroy */
    const event_t *event; /* its content */
    char node[CUSTODY_NODE_MAX + 1];
    int partition;
    bool unmatched;
    size_t first, n; /* of the deliveries */
    size_t left;     /* without a final outcome when the batch was sealed */
} commit_event_t;

typedef enum {
    COMMIT_RECORD, /* no row: the delivery never had one */
    COMMIT_FINISH,
    COMMIT_RETRY,
} commit_change_t;

typedef struct {
    commit_change_t change;
    bool final;
    queue_delivery_t delivery;
    int64_t outbox_seq;
    size_t record, record_size; /* encoded, in records */
} commit_outcome_t;

/* The ids of a source's events, for queue_put_known (). */
typedef struct {
    char node[CUSTODY_NODE_MAX + 1];
    int partition;
    ulid_t last_id;
    buf_t ids;
} commit_known_t;

typedef struct {
    char node[CUSTODY_NODE_MAX + 1];
    int partition;
    ulid_t id;
} commit_low_water_t;

typedef struct {
    int64_t handler_id;
    int64_t since_ms;
} commit_failing_t;

typedef struct {
    queue_cancel_t cancel;
    bool done; /* carried out: its row goes; only the id counts */
} commit_cancel_t;

typedef struct {
    commit_event_t *events;
    size_t n_events, events_capacity;
    queue_delivery_t *deliveries; /* handler_id 0: it has its final outcome */
    size_t n_deliveries, deliveries_capacity;
    size_t n_soon;    /* of the deliveries: will have an outcome soon */
    size_t soon_left; /* of these, about: have none yet */
    commit_known_t *known;
    size_t n_known, known_capacity;
    commit_outcome_t *outcomes;
    size_t n_outcomes, outcomes_capacity;
    commit_low_water_t *low_waters;
    size_t n_low_waters, low_waters_capacity;
    commit_failing_t *failing;
    size_t n_failing, failing_capacity;
    commit_cancel_t *cancels;
    size_t n_cancels, cancels_capacity;
    buf_t records;
    int64_t settle_seq;    /* the auditor has the outbox up to here; 0: nothing new */
    int64_t test_boot;     /* not 0: a test write */
    int64_t table_version; /* of the handlers, with which events were taken in; 0: as before */
    int64_t bytes;         /* about what it holds */
    int64_t began_ms;      /* monotonic, when the first addition came */
} commit_t;

commit_t *commit_new(void);
/* Gives its entries back to the cache. */
void commit_destroy(commit_t **commit, cache_t *cache);
bool commit_empty(const commit_t *commit);

/* The entry has content; the batch takes a reference of its own. Deliveries of the event follow. */
void commit_custody(commit_t *commit, cache_entry_t *entry, slice_t node, int partition,
                    bool unmatched);
void commit_delivery(commit_t *commit, const queue_delivery_t *delivery);
/* So many of the event's deliveries will have an outcome soon. */
void commit_soon(commit_t *commit, size_t n);
/* An outcome, in the order in which they became known. entry: the event's, if memory has it.
 * final: the delivery is over; else it waits with what delivery says. has_row false: custody never
 * made a delivery of it. */
void commit_outcome(commit_t *commit, const cache_entry_t *entry, const queue_delivery_t *delivery,
                    bool final, bool has_row, int64_t outbox_seq, const record_t *record);
slice_t commit_record(const commit_t *commit, const commit_outcome_t *outcome);
void commit_low_water(commit_t *commit, slice_t node, int partition, const ulid_t *id);
void commit_failing(commit_t *commit, int64_t handler_id, int64_t since_ms);
void commit_cancel(commit_t *commit, const queue_cancel_t *cancel);
void commit_cancel_done(commit_t *commit, int64_t id);

void commit_seal(commit_t *commit);
result_t commit_apply(const commit_t *commit, db_t *db) MUST_CHECK;

#endif
