/* storage: hands collected batches to the writer and does what follows from their commits. */
#ifndef PROVISOR_STORAGE_H
#define PROVISOR_STORAGE_H

#include "services/deliverer/deliverer.h"

/* Starts the writer; the first batch is a test write. */
void storage_start(deliverer_t *deliverer);
/* Ends the writer; what was not with it is given up. */
void storage_stop(deliverer_t *deliverer);
/* Hands over what is collected if the writer is idle; outcomes alone a little later. */
void storage_submit(deliverer_t *deliverer);
/* Waits until everything collected so far is committed. RESULT_AGAIN: the store cannot be written
 * now; RESULT_TIMEOUT: not within timeout_ms, it goes on. Not from within a commit's callback. */
result_t storage_wait(deliverer_t *deliverer, int64_t timeout_ms) MUST_CHECK;
/* Is everything committed? */
bool storage_idle(const deliverer_t *deliverer);

#endif
