/* turns: lanes' handlers, and whose turn it is. Private to lanes.
 *
 * A handler that may start something now stands in a ring and is served in turn. One that may do so
 * at a known time (a retry, a token of its rate, a probe) stands in a heap of timers. One that can
 * start nothing (paused, window full, probing, nothing waits) stands nowhere and costs nothing.
 *
 * All share a bound of requests in flight. So that one with none in flight finds a slot though many
 * hang, a handler starts a further one only if it leaves as many free as it
 * then holds (half of all, when it is alone). One that is slow (its last request timed out) holds
 * one slot, and those hold at most half of all together. Whose turn it is but may not for such a
 * reason stands aside until a request ends. */
#ifndef PROVISOR_TURNS_H
#define PROVISOR_TURNS_H

#include "common/base/heap.h"
#include "services/deliverer/lane.h"
#include "services/deliverer/lanes.h"
#include "services/deliverer/rate.h"

typedef struct {
    struct turns_handler *first, *last;
} turns_ring_t;

typedef struct turns_handler {
    lanes_handler_t settings;
    uint32_t index;
    breaker_t breaker;
    rate_t rate;
    lane_list_t ready;
    lane_heap_t retries;
    lane_list_t other; /* lanes that are neither ready nor wait for a time */
    int64_t pending;   /* deliveries, waiting or in flight, in memory or not */
    int64_t lanes;     /* main ones */
    int64_t blocked;   /* main lanes among retries */
    int in_flight;
    bool slow;       /* its last request timed out: one slot */
    bool retry_next; /* ready lanes and retries take turns, so that neither starves the other */
    uint32_t probes; /* number of the last probe, from 1 */
    heap_node_t timer;
    struct turns_handler *prev, *next; /* in the ring, or aside */
    bool in_ring;
    bool is_aside;
} turns_handler_t;

typedef struct {
    int64_t id;
    uint32_t index;
} turns_id_t;

typedef struct {
    const slab_t *lanes;
    turns_handler_t **handlers; /* by index */
    turns_id_t *ids;            /* sorted by id */
    uint32_t count, capacity;
    turns_ring_t ring;
    turns_ring_t aside; /* may not start anything before a request ends */
    heap_t *timers;
    int64_t now_ms; /* the last that anybody told */
    int slots;      /* the bound of all requests in flight */
    int in_flight;
    int slow_in_flight; /* of slow handlers */
} turns_t;

void turns_init(turns_t *turns, const slab_t *lanes);
void turns_release(turns_t *turns);
/* NULL: never added. O(log n). */
turns_handler_t *turns_find(const turns_t *turns, int64_t handler_id);
/* A new one is paused. */
turns_handler_t *turns_find_or_add(turns_t *turns, int64_t handler_id);
static inline turns_handler_t *turns_at(const turns_t *turns, uint32_t index)
{
    return turns->handlers[index];
}

/* From 1; as many as an int holds before. */
void turns_set_slots(turns_t *turns, int slots);
/* A request of the handler starts or ended, or its last one did or did not time out; follow with
 * turns_place. */
void turns_started(turns_t *turns, turns_handler_t *handler);
void turns_ended(turns_t *turns, turns_handler_t *handler);
void turns_set_slow(turns_t *turns, turns_handler_t *handler, bool slow);
static inline bool turns_full(const turns_t *turns)
{
    return turns->in_flight >= turns->slots;
}
/* To be called after anything about the handler changed: it stands where it belongs again. */
void turns_place(turns_t *turns, turns_handler_t *handler);
/* Takes the handler whose turn it is out of the ring; turns_place puts it back at the end. NULL: no
 * handler may start anything now. */
turns_handler_t *turns_next(turns_t *turns);
/* When turns_next gives something; INT64_MAX: never. */
int64_t turns_due_ms(const turns_t *turns);
/* Could one more ready lane of the handler start at once? */
bool turns_could_start(const turns_t *turns, const turns_handler_t *handler);

#endif
