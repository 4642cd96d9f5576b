/* restart: what a start takes over from the store. */
#ifndef PROVISOR_RESTART_H
#define PROVISOR_RESTART_H

#include "services/deliverer/deliverer.h"

/* Numbers, the handler table, known ids, lanes, since when handlers fail. */
result_t restart_load(deliverer_t *deliverer, fault_t *fault) MUST_CHECK;
/* A row as lanes take it: its due time by the monotonic clock, cut to the schedule's longest step
 * in case the wall clock stepped. */
lanes_delivery_t restart_delivery(const deliverer_t *deliverer, const queue_delivery_t *row);

#endif
