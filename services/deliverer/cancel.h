/* cancel: ends what waits, in steps of one commit each, so that an endless backlog neither fills
 * memory nor holds up others. What is in flight gets no other attempt. */
#ifndef PROVISOR_CANCEL_H
#define PROVISOR_CANCEL_H

#include "services/deliverer/sending.h"

/* A cancellation with this reason is stored: once storage_wait () has returned it holds, whatever
 * happens. Those of handlers that are gone follow from the table of handlers again. */
#define CANCEL_OPERATOR "operator"

cancel_t *cancel_new(deliverer_t *deliverer);
void cancel_destroy(cancel_t **cancel);
/* At the start: goes on with what is stored. */
result_t cancel_load(cancel_t *cancel) MUST_CHECK;
/* Everything that the handler has now. reason is a constant. */
void cancel_handler(cancel_t *cancel, int64_t handler_id, const char *reason);
/* Everything that one lane has now. */
void cancel_lane(cancel_t *cancel, int64_t handler_id, uint64_t object, const char *reason);
/* One that is in flight: it gets no other attempt. */
void cancel_flight(cancel_t *cancel, flight_t *flight);
/* The next step of the oldest job, if there is one; called when nothing is being committed and
 * after each commit. */
void cancel_step(cancel_t *cancel);
/* The reason if a job that runs covers the delivery, else NULL. */
const char *cancel_covers(const cancel_t *cancel, int64_t handler_id, uint64_t object, int64_t seq);

#endif
