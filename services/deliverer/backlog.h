/* backlog: every statement that reads queue.db, on the loop's own connection. It sees what is
 * committed; whoever asks knows what is not yet.
 *
 * Results: RESULT_OK, RESULT_NOT_FOUND where one row was asked for, RESULT_IO (stop the process).
 */
#ifndef PROVISOR_BACKLOG_H
#define PROVISOR_BACKLOG_H

#include "services/deliverer/queue.h"

typedef struct backlog_t backlog_t;

result_t backlog_open(const queue_t *queue, backlog_t **ret_backlog, fault_t *fault) MUST_CHECK;
void backlog_close(backlog_t **backlog);
/* Text of the last failure. */
const char *backlog_error(const backlog_t *backlog);
/* Bytes of the store's files. */
int64_t backlog_size_bytes(const backlog_t *backlog);

/* For the start. */
result_t backlog_last_seq(backlog_t *backlog, int64_t *ret_seq) MUST_CHECK;
result_t backlog_outbox_last(backlog_t *backlog, int64_t *ret_seq) MUST_CHECK;
/* 0: no event was ever taken in. */
result_t backlog_table_version(backlog_t *backlog, int64_t *ret_version) MUST_CHECK;
/* 0: empty. */
result_t backlog_outbox_first(backlog_t *backlog, int64_t *ret_seq) MUST_CHECK;
result_t backlog_outbox_newest(backlog_t *backlog, int64_t *ret_seq) MUST_CHECK;
typedef void(backlog_on_low_water)(void *owner, slice_t node, int partition, slice_t id);
result_t backlog_low_waters(backlog_t *backlog, backlog_on_low_water *on_low_water,
                            void *owner) MUST_CHECK;
/* Ids from low_water on, about in order. */
typedef void(backlog_on_known)(void *owner, slice_t node, int partition, slice_t id,
                               bool unmatched);
result_t backlog_known(backlog_t *backlog, slice_t node, int partition, slice_t low_water,
                       backlog_on_known *on_known, void *owner) MUST_CHECK;
typedef void(backlog_on_failing)(void *owner, int64_t handler_id, int64_t since_ms);
result_t backlog_failing(backlog_t *backlog, backlog_on_failing *on_failing,
                         void *owner) MUST_CHECK;
typedef void(backlog_on_cancel)(void *owner, const queue_cancel_t *cancel);
/* Oldest first. */
result_t backlog_cancels(backlog_t *backlog, backlog_on_cancel *on_cancel, void *owner) MUST_CHECK;
/* Every delivery in order of seq, as the rows lie: with a million, anything that looks them up or
 * sorts them takes seconds. */
typedef void(backlog_on_waiting)(void *owner, const queue_delivery_t *delivery);
result_t backlog_waiting(backlog_t *backlog, backlog_on_waiting *on_waiting,
                         void *owner) MUST_CHECK;

/* At most max deliveries of the lane with seq > after_seq, in order. */
result_t backlog_lane(backlog_t *backlog, int64_t handler_id, uint64_t object, int64_t after_seq,
                      size_t max, queue_delivery_t *ret_deliveries, size_t *ret_n) MUST_CHECK;
/* Deliveries of the lane with seq <= max_seq. */
result_t backlog_lane_count(backlog_t *backlog, int64_t handler_id, uint64_t object,
                            int64_t max_seq, int64_t *ret_count) MUST_CHECK;
/* on_event is called with the event's row: a call, because a row that stays open would hold back
 * the checkpoint and what later reads see. */
typedef void(backlog_on_event)(void *owner, const event_t *event);
result_t backlog_event(backlog_t *backlog, int64_t seq, backlog_on_event *on_event,
                       void *owner) MUST_CHECK;
/* Calls on_record for the records from from_seq on, in order, until it says false. */
typedef bool(backlog_on_record)(void *owner, int64_t seq, const record_t *record);
result_t backlog_outbox(backlog_t *backlog, int64_t from_seq, backlog_on_record *on_record,
                        void *owner) MUST_CHECK;

/* For the control socket. */
result_t backlog_find_event(backlog_t *backlog, slice_t id, int64_t *ret_seq) MUST_CHECK;
/* ret_before: how many of the same lane come before it. */
result_t backlog_delivery(backlog_t *backlog, int64_t seq, int64_t handler_id,
                          queue_delivery_t *ret_delivery, int64_t *ret_before) MUST_CHECK;
/* Handlers that the event still has to reach; at most max. */
result_t backlog_event_handlers(backlog_t *backlog, int64_t seq, size_t max, int64_t *ret_ids,
                                size_t *ret_n) MUST_CHECK;
/* When the oldest event of the handler was accepted; looks at at most *left rows of the queue from
 * *seq on, leaves in *seq where to go on and takes from *left what it looked at. RESULT_AGAIN: not
 * found so far. */
result_t backlog_oldest(backlog_t *backlog, int64_t handler_id, int64_t *left, int64_t *seq,
                        int64_t *ret_accepted_ms) MUST_CHECK;

/* Deliveries of one handler (one lane of it when object is not NULL) behind the cursor, with what a
 * record says about their event, but not its body; at most max. */
typedef struct {
    uint64_t object;
    int64_t seq;
    bool started; /* false: from the first one */
} backlog_cursor_t;
typedef void(backlog_on_delivery)(void *owner, const queue_delivery_t *delivery,
                                  const event_t *event);
result_t backlog_deliveries(backlog_t *backlog, int64_t handler_id, const uint64_t *object,
                            int64_t max, backlog_cursor_t *cursor, backlog_on_delivery *on_delivery,
                            void *owner, int64_t *ret_n) MUST_CHECK;

#endif
