/* locate: finds what waits, by the names that people use: event ids, delivery ids, objects. Looks
 * into the store and into what is not committed yet. */
#ifndef PROVISOR_LOCATE_H
#define PROVISOR_LOCATE_H

#include "services/deliverer/deliverer.h"

typedef struct {
    int64_t seq;
    cache_entry_t *entry; /* not committed yet; NULL: in the store */
    const commit_t *commit;
    const commit_event_t *event; /* of commit */
} locate_event_t;

/* RESULT_NOT_FOUND: the event is not here (any more). */
result_t locate_event(const deliverer_t *deliverer, slice_t event_id,
                      locate_event_t *ret_event) MUST_CHECK;
enum { LOCATE_HANDLERS_MAX = 1000 };
/* Handlers that it still has to reach. */
result_t locate_handlers(const deliverer_t *deliverer, const locate_event_t *event,
                         int64_t ret_ids[static LOCATE_HANDLERS_MAX], size_t *ret_n) MUST_CHECK;
/* One delivery of it as it is stored, and how many of its lane come before it (as far as the store
 * knows). RESULT_NOT_FOUND: it is final. */
result_t locate_delivery(const deliverer_t *deliverer, const locate_event_t *event,
                         int64_t handler_id, queue_delivery_t *ret_delivery,
                         int64_t *ret_before) MUST_CHECK;
/* "<event id>-<handler id>" */
result_t locate_parse(slice_t delivery_id, slice_t *ret_event_id,
                      int64_t *ret_handler_id) MUST_CHECK;
/* Deliveries of one lane. */
result_t locate_lane_count(const deliverer_t *deliverer, int64_t handler_id, uint64_t object,
                           int64_t *ret_count) MUST_CHECK;

#endif
