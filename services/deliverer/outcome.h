/* outcome: what the end of an exchange means for the delivery. Pure. */
#ifndef PROVISOR_OUTCOME_H
#define PROVISOR_OUTCOME_H

#include "services/deliverer/exchange.h"
#include "services/deliverer/lanes.h"

typedef enum {
    OUTCOME_DELIVERED, /* 2xx */
    OUTCOME_GONE,      /* 410: the handler is suspended, the delivery waits in its lane */
    OUTCOME_FAILED,    /* everything else is tried again */
} outcome_t;

outcome_t outcome_of(const exchange_result_t *result);
/* What it says about the receiver, for its circuit: no answer, 408, 429 and 5xx are unhealthy,
 * every other answer is healthy; what could not even be tried says nothing. */
lanes_health_t outcome_health(const exchange_result_t *result);
/* Retry-After of 429 and 503 (RFC 9110 10.2.3: seconds or HTTP-date), as ms from now; 0: none or
 * malformed or in the past. */
int64_t outcome_retry_after_ms(const exchange_result_t *result, int64_t now_wall_ms);

#endif
