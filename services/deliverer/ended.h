/* ended: what the end of an attempt, or of a delivery without one, means: for the delivery's row,
 * for history, for its handler and for its lane. */
#ifndef PROVISOR_ENDED_H
#define PROVISOR_ENDED_H

#include "services/deliverer/sending.h"

/* An exchange ended. The flight is the caller's to release. */
void ended_attempt(deliverer_t *deliverer, flight_t *flight, const exchange_result_t *result);

typedef enum { ENDED_EXHAUSTED, ENDED_CANCELLED } ended_how_t;

/* A delivery is over without (another) attempt. entry: its event's, if memory has it. has_row
 * false: custody never made a delivery of it. Lanes are the caller's. */
void ended_untried(deliverer_t *deliverer, ended_how_t how, const char *reason,
                   const cache_entry_t *entry, const event_t *event,
                   const queue_delivery_t *delivery, bool has_row);

#endif
