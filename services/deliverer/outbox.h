/* outbox: audit records on their way from the queue to the auditor. A record is told only after the
 * commit that it came with, in the order of commits; its row goes when the auditor's mark has
 * passed it. What the publisher has no room for stays in the store and is read when there is. */
#ifndef PROVISOR_OUTBOX_H
#define PROVISOR_OUTBOX_H

#include "common/service/audit.h"
#include "services/deliverer/backlog.h"

typedef struct outbox_t outbox_t;

/* first_seq, newest_seq: the oldest and the newest row, 0: none; last_seq: the highest ever given,
 * in a restored copy far above its rows. */
outbox_t *outbox_new(backlog_t *backlog, int64_t first_seq, int64_t newest_seq, int64_t last_seq);
void outbox_destroy(outbox_t **outbox);
/* Who publishes; nothing is told before. */
void outbox_set_audit(outbox_t *outbox, audit_publisher_t *audit);
/* The number of the next record. */
int64_t outbox_next_seq(outbox_t *outbox);
/* It is committed; in order of seq. */
void outbox_committed(outbox_t *outbox, int64_t seq, slice_t encoded);
/* Tells what waits in the store as far as there is room. RESULT_IO: the store cannot be read. */
result_t outbox_pump(outbox_t *outbox) MUST_CHECK;
/* The mark rose. Returns the seq up to which rows may go, 0: nothing new. */
int64_t outbox_marked(outbox_t *outbox, int64_t number);
/* Records without a mark. */
int64_t outbox_size(const outbox_t *outbox);

#endif
