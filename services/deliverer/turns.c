#include "services/deliverer/turns.h"
#include "common/base/mem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void turns_init(turns_t *turns, const slab_t *lanes)
{
    *turns =
        (turns_t){.lanes = lanes, .timers = heap_new(), .now_ms = INT64_MIN, .window_max = INT_MAX};
}

void turns_release(turns_t *turns)
{
    for (uint32_t i = 0; i < turns->count; i++) {
        lane_heap_release(&turns->handlers[i]->retries);
        free(turns->handlers[i]);
    }
    free(turns->handlers);
    free(turns->ids);
    heap_destroy(&turns->timers);
}

/* Where the id is or belongs. */
static uint32_t place_of(const turns_t *turns, int64_t handler_id)
{
    uint32_t low = 0;
    uint32_t high = turns->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (turns->ids[middle].id < handler_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

turns_handler_t *turns_find(const turns_t *turns, int64_t handler_id)
{
    uint32_t place = place_of(turns, handler_id);
    if (place == turns->count || turns->ids[place].id != handler_id)
        return NULL;
    return turns->handlers[turns->ids[place].index];
}

turns_handler_t *turns_find_or_add(turns_t *turns, int64_t handler_id)
{
    turns_handler_t *handler = turns_find(turns, handler_id);
    if (handler)
        return handler;
    if (turns->count == turns->capacity) {
        turns->capacity = turns->capacity ? turns->capacity * 2 : 16;
        turns->handlers = mem_realloc(turns->handlers, turns->capacity * sizeof(*turns->handlers));
        turns->ids = mem_realloc(turns->ids, turns->capacity * sizeof(*turns->ids));
    }
    handler = MEM_NEW(turns_handler_t);
    handler->settings = (lanes_handler_t){.id = handler_id, .hold_ms = -1, .paused = true};
    handler->index = turns->count;
    breaker_init(&handler->breaker);
    rate_init(&handler->rate, 0);
    uint32_t place = place_of(turns, handler_id);
    memmove(turns->ids + place + 1, turns->ids + place,
            (turns->count - place) * sizeof(*turns->ids));
    turns->ids[place] = (turns_id_t){handler_id, handler->index};
    turns->handlers[turns->count++] = handler;
    return handler;
}

static int window_of(const turns_t *turns, const turns_handler_t *handler)
{
    if (handler->slow || handler->settings.window < 1)
        return 1;
    return handler->settings.window < turns->window_max ? handler->settings.window
                                                        : turns->window_max;
}

static int64_t later(int64_t a_ms, int64_t b_ms)
{
    return a_ms > b_ms ? a_ms : b_ms;
}

/* When the handler may start something; INT64_MIN: at once; INT64_MAX: not before something else
 * happens. */
static int64_t handler_due(const turns_t *turns, const turns_handler_t *handler)
{
    int64_t due_ms = INT64_MIN;
    if (handler->settings.paused || handler->in_flight >= window_of(turns, handler))
        return INT64_MAX;
    if (handler->ready.count == 0) {
        if (handler->retries.count == 0)
            return INT64_MAX;
        due_ms = lane_at(turns->lanes, lane_heap_first(&handler->retries))->key_ms;
    }
    if (handler->breaker.state != BREAKER_CLOSED)
        due_ms = later(due_ms, breaker_due_ms(&handler->breaker));
    if (rate_room(&handler->rate, turns->now_ms) == 0)
        due_ms = later(due_ms, rate_due_ms(&handler->rate));
    return due_ms;
}

static void ring_remove(turns_t *turns, turns_handler_t *handler)
{
    if (!handler->in_ring)
        return;
    if (handler->prev)
        handler->prev->next = handler->next;
    else
        turns->first = handler->next;
    if (handler->next)
        handler->next->prev = handler->prev;
    else
        turns->last = handler->prev;
    handler->in_ring = false;
}

static void ring_add(turns_t *turns, turns_handler_t *handler)
{
    if (handler->in_ring)
        return;
    handler->prev = turns->last;
    handler->next = NULL;
    if (turns->last)
        turns->last->next = handler;
    else
        turns->first = handler;
    turns->last = handler;
    handler->in_ring = true;
}

void turns_place(turns_t *turns, turns_handler_t *handler)
{
    int64_t due_ms = handler_due(turns, handler);
    if (due_ms <= turns->now_ms) {
        heap_remove(turns->timers, &handler->timer);
        ring_add(turns, handler);
        return;
    }
    ring_remove(turns, handler);
    if (due_ms == INT64_MAX)
        heap_remove(turns->timers, &handler->timer);
    else if (handler->timer.place)
        heap_change(turns->timers, &handler->timer, due_ms);
    else
        heap_push(turns->timers, &handler->timer, due_ms);
}

void turns_set_window_max(turns_t *turns, int window_max)
{
    turns->window_max = window_max;
    for (uint32_t i = 0; i < turns->count; i++)
        turns_place(turns, turns->handlers[i]);
}

turns_handler_t *turns_next(turns_t *turns)
{
    heap_node_t *node;
    while ((node = heap_first(turns->timers)) && node->key <= turns->now_ms) {
        heap_remove(turns->timers, node);
        ring_add(turns, HEAP_ENTRY(node, turns_handler_t, timer));
    }
    turns_handler_t *handler = turns->first;
    if (handler)
        ring_remove(turns, handler);
    return handler;
}

int64_t turns_due_ms(const turns_t *turns)
{
    if (turns->first)
        return turns->now_ms;
    const heap_node_t *node = heap_first(turns->timers);
    return node ? node->key : INT64_MAX;
}

bool turns_could_start(const turns_t *turns, const turns_handler_t *handler)
{
    return !handler->settings.paused && handler->breaker.state == BREAKER_CLOSED &&
           handler->in_flight + (int64_t)handler->ready.count < window_of(turns, handler) &&
           rate_room(&handler->rate, turns->now_ms) > (int64_t)handler->ready.count;
}
