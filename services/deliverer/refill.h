/* refill: gives lanes the deliveries that memory does not hold. Rows are committed in the order of
 * seq, so what the store shows of a lane has no gap; what it does not show yet comes with a commit.
 */
#ifndef PROVISOR_REFILL_H
#define PROVISOR_REFILL_H

#include "services/deliverer/deliverer.h"

refill_t *refill_new(deliverer_t *deliverer);
void refill_destroy(refill_t **refill);
/* A lane has more behind after_seq. Answered by refill_answer. */
void refill_want(refill_t *refill, int64_t handler_id, uint64_t object, int64_t after_seq);
/* Answers what the store can answer; the rest waits for a commit. */
void refill_answer(refill_t *refill);
/* Something was committed: what waited is tried again by the next refill_answer. */
void refill_committed(refill_t *refill);
/* The handler's lanes were dropped: what they wanted is answered with nothing. */
void refill_drop(refill_t *refill, int64_t handler_id);

#endif
