/* queue: queue.db, its schema and every statement that writes it.
 *
 * It holds what is unfinished, not yet marked by the auditor, or above low_water, and nothing else:
 * events (payload once), their deliveries, low_water per emitter and partition, and the outbox:
 * audit records that are committed together with what they say. Reading is backlog.h.
 *
 * Writing statements run on the writer's thread inside its transaction, each called again with the
 * same arguments after a rollback. Times are wall clock ms. */
#ifndef PROVISOR_QUEUE_H
#define PROVISOR_QUEUE_H

#include "common/base/ulid.h"
#include "common/db/store.h"
#include "common/service/backup.h"
#include "common/wire/messages.h"
#include "services/deliverer/partitions.h"

typedef struct queue_t queue_t;

/* Opens (makes, migrates) queue.db in dir. RESULT_INVALID: the stored map has partitions that
 * partitions lacks and that still hold rows; the fault says what to do. */
result_t queue_open(const char *dir, partitions_t partitions, queue_t **ret_queue,
                    fault_t *fault) MUST_CHECK;
void queue_close(queue_t **queue);
const store_t *queue_store(const queue_t *queue);
/* The writing connection, the writer's thread's once a writer has it. */
db_t *queue_db(queue_t *queue);
const char *queue_node(const queue_t *queue);
/* On the backup's thread: queue.db into dir, its counters moved on. */
result_t queue_backup(const queue_t *queue, backup_t *backup, const char *dir,
                      fault_t *fault) MUST_CHECK;

/* An event with deliveries left; rows of deliveries follow. */
result_t queue_put_event(db_t *db, int64_t seq, const event_t *event, slice_t node,
                         int partition) MUST_CHECK;
/* That these events of a source came into custody, until low_water has passed them all: the same
 * again is a duplicate. ids: QUEUE_KNOWN_SIZE bytes of each, last_id is the greatest. */
enum { QUEUE_KNOWN_SIZE = ULID_SIZE + 1 };
result_t queue_put_known(db_t *db, slice_t node, int partition, const ulid_t *last_id,
                         slice_t ids) MUST_CHECK;

typedef struct {
    int64_t seq; /* of the event */
    int64_t handler_id;
    uint64_t object; /* lane key */
    int64_t attempts;
    int64_t first_ms; /* first attempt; 0: none */
    int64_t due_ms;   /* 0: now */
} queue_delivery_t;

result_t queue_put_delivery(db_t *db, const queue_delivery_t *delivery) MUST_CHECK;
/* It waits for its next attempt. */
result_t queue_retry(db_t *db, const queue_delivery_t *delivery) MUST_CHECK;
/* It has its final outcome; the event goes with its last delivery. */
result_t queue_finish(db_t *db, int64_t seq, int64_t handler_id) MUST_CHECK;
/* Raises low_water and forgets what it has passed. */
result_t queue_raise_low_water(db_t *db, slice_t node, int partition, slice_t id) MUST_CHECK;

/* n records, encoded one behind the other, to be told to the auditor, in one row: that costs a
 * fraction of a row each. last_seq is the origin of the last one, those before it have the numbers
 * before; they only rise, also over restarts. */
result_t queue_put_outbox(db_t *db, int64_t last_seq, int64_t n, slice_t records) MUST_CHECK;
/* The auditor has everything up to seq. A row goes when it has all of it. */
result_t queue_settle_outbox(db_t *db, int64_t seq) MUST_CHECK;
/* The highest seq ever given. */
result_t queue_set_outbox_last(db_t *db, int64_t seq) MUST_CHECK;

/* Since when the handler has only failed; 0: it has not. */
result_t queue_set_failing(db_t *db, int64_t handler_id, int64_t since_ms) MUST_CHECK;

/* The handler table's version with which events were taken in last. */
result_t queue_set_table_version(db_t *db, int64_t version) MUST_CHECK;

/* Pending deliveries that an operator cancelled: the row stays until each has its outcome. */
typedef struct {
    int64_t id;
    int64_t handler_id;
    uint64_t object; /* lane key; 0: all of the handler */
    int64_t first_seq, last_seq;
} queue_cancel_t;

/* Replaces last_seq when it is there. */
result_t queue_put_cancel(db_t *db, const queue_cancel_t *cancel) MUST_CHECK;
result_t queue_end_cancel(db_t *db, int64_t id) MUST_CHECK;
/* Changes something, so that its commit shows that the store can be written. */
result_t queue_test_write(db_t *db, int64_t boot) MUST_CHECK;

#endif
