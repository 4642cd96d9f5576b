/* sending: starts what lanes say may start, and keeps what is in flight. */
#ifndef PROVISOR_SENDING_H
#define PROVISOR_SENDING_H

#include "services/deliverer/deliverer.h"
#include "services/deliverer/request.h"

/* One request in flight. */
typedef struct flight {
    deliverer_t *deliverer;
    lanes_delivery_t delivery;
    cache_entry_t *entry; /* referred to and in use */
    const event_t *event;
    settings_t *settings; /* as they were when it started */
    request_t request;
    int64_t started_ms; /* wall */
    const char *cancel; /* not NULL: it gets no other attempt; why */
    struct flight *before, *after;
} flight_t;

sending_t *sending_new(deliverer_t *deliverer);
/* Gives up what is in flight; http and script have ended it before. */
void sending_destroy(sending_t **sending);
/* Requests in flight at once; when descriptors run out it allows itself fewer for a while. */
void sending_set_max(sending_t *sending, int max);
/* Each 500 ms: more may be tried again. */
void sending_poll(sending_t *sending);
/* Starts what may start now. */
void sending_start(sending_t *sending);
/* Sets the timer to the moment when something may start without anything else happening. */
void sending_arm(sending_t *sending);
size_t sending_in_flight(const sending_t *sending);
/* What is in flight for the handler (one lane of it when object is not NULL) gets no other attempt.
 * reason is a constant. */
void sending_cancel(sending_t *sending, int64_t handler_id, const uint64_t *object,
                    const char *reason);
/* Is anything of that in flight still? */
bool sending_cancelling(const sending_t *sending, int64_t handler_id, const uint64_t *object);
/* The done call of http and script: owner is the deliverer, tag the flight. */
exchange_done_fn sending_done;

#endif
