/* outgoing: which events go to a router next, and again (architecture.md 3.1). Pure: knows no
 * socket, no store, no clock.
 *
 * Per object at most one message is on its way. It carries everything that waits for that object in
 * order; the next goes after all its receipts. Without a receipt for resend_after, or when a
 * connection was lost, what has no receipt goes again together with what came since. So nothing is
 * overtaken. One message may carry several objects of its partition.
 *
 * A partition from which nothing has been heard since its last message is only probed: one object
 * each resend_after instead of all of them, until a receipt comes; then the rest follows at once.
 *
 * Memory holds a window per partition (window.h). What does not fit waits on disk as the
 * partition's tail; then later events wait there too, until a refill has read up to them.
 *
 *     after a commit:   outgoing_add for each event, in order
 *     to send:          while (writable && outgoing_next (...)) send; timer at outgoing_due_ms
 *     receipts:         outgoing_receipt
 *     after each:       while (outgoing_wants (out, &want)) read rows of want.partition with
 *                       seq > want.after_seq, each to outgoing_refill until that says no;
 *                       outgoing_refilled when the rows ended before want.max_events */
#ifndef PROVISOR_OUTGOING_H
#define PROVISOR_OUTGOING_H

#include "common/base/ulid.h"
#include "common/wire/messages.h"
#include "services/emitter/window.h"

typedef struct {
    int64_t batch_events, batch_bytes; /* of one message; one event fits always */
    window_limits_t window;            /* per partition */
    int64_t resend_after_ms;
} outgoing_limits_t;

/* An event as the journal holds it; seq and id rise together. */
typedef struct {
    int64_t seq;
    ulid_t id;
    uint64_t object; /* object_hash () */
    slice_t frame;   /* encoded event_t */
} outgoing_event_t;

typedef struct outgoing_t outgoing_t;

/* Starts with everything on disk. last_id: the greatest id ever given. */
outgoing_t *outgoing_new(const outgoing_limits_t *limits, const ulid_t *last_id, int64_t now_ms);
void outgoing_destroy(outgoing_t **outgoing);

/* A committed event, in order of seq over all partitions. Copied, or left on disk. */
void outgoing_add(outgoing_t *outgoing, const outgoing_event_t *event);

typedef struct {
    int partition;
    int64_t after_seq;
    int64_t max_events;
} outgoing_want_t;
/* True when a partition has a tail and room for some of it. */
bool outgoing_wants(const outgoing_t *outgoing, outgoing_want_t *ret_want);
/* A row of the tail. False: there is no room for it, it stays on disk. */
bool outgoing_refill(outgoing_t *outgoing, const outgoing_event_t *event);
/* The partition has nothing more on disk. */
void outgoing_refilled(outgoing_t *outgoing, int partition);

typedef struct {
    int partition;
    ulid_t low_water; /* every event of the partition with a smaller id has its receipt, and a
                         held one is let go */
    size_t n_events;  /* 0: only to tell low_water */
    slice_t frame;    /* the events; valid until the next call */
} outgoing_message_t;
/* What to send now; it counts as sent. False when there is nothing. */
bool outgoing_next(outgoing_t *outgoing, int64_t now_ms, outgoing_message_t *ret_message);
/* When outgoing_next may give something without anything else happening; -1: never. */
int64_t outgoing_due_ms(const outgoing_t *outgoing, int64_t now_ms);

/* A receipt. hold: low_water does not pass the event until outgoing_let_go, when what the receipt
 * said is on disk: a deliverer forgets what is below low_water, and could not say it again. False:
 * not in the window (unknown, or receipted before). ret_event lives until the next call. */
bool outgoing_receipt(outgoing_t *outgoing, int partition, slice_t id, bool hold, int64_t now_ms,
                      outgoing_event_t *ret_event);
void outgoing_let_go(outgoing_t *outgoing, int partition, const ulid_t *id, int64_t now_ms);
/* A connection was lost or made: whatever is on its way is due again, and empty partitions tell
 * their low_water again. */
void outgoing_lost(outgoing_t *outgoing, int64_t now_ms);

typedef struct {
    int64_t events;    /* in memory */
    int64_t bytes;     /* of them */
    int64_t in_flight; /* sent, without a receipt */
    int64_t resent;    /* events sent again since the start */
    int64_t tails;     /* partitions with events that are only on disk */
} outgoing_stats_t;
void outgoing_stats(const outgoing_t *outgoing, outgoing_stats_t *ret_stats);

#endif
