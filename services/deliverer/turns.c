#include "services/deliverer/turns.h"
#include "common/base/mem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void turns_init(turns_t *turns, const slab_t *lanes)
{
    *turns = (turns_t){.lanes = lanes, .timers = heap_new(), .now_ms = INT64_MIN, .slots = INT_MAX};
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

static int window_of(const turns_handler_t *handler)
{
    return handler->slow || handler->settings.window < 1 ? 1 : handler->settings.window;
}

/* Do the others allow that it starts a further one, with so many that are in flight or about to be?
 */
static bool has_slot(const turns_t *turns, const turns_handler_t *handler, int64_t in_flight)
{
    int64_t vacant = (int64_t)turns->slots - turns->in_flight;
    if (vacant < 1 || (handler->slow && turns->slow_in_flight >= turns->slots - turns->slots / 2))
        return false;
    return in_flight == 0 || in_flight + 1 <= vacant - 1;
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
    if (handler->settings.paused || handler->in_flight >= window_of(handler))
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

static void list_remove(turns_ring_t *list, const turns_handler_t *handler)
{
    if (handler->prev)
        handler->prev->next = handler->next;
    else
        list->first = handler->next;
    if (handler->next)
        handler->next->prev = handler->prev;
    else
        list->last = handler->prev;
}

static void list_add(turns_ring_t *list, turns_handler_t *handler)
{
    handler->prev = list->last;
    handler->next = NULL;
    if (list->last)
        list->last->next = handler;
    else
        list->first = handler;
    list->last = handler;
}

static void ring_remove(turns_t *turns, turns_handler_t *handler)
{
    if (handler->in_ring)
        list_remove(&turns->ring, handler);
    if (handler->is_aside)
        list_remove(&turns->aside, handler);
    handler->in_ring = handler->is_aside = false;
}

static void ring_add(turns_t *turns, turns_handler_t *handler)
{
    if (handler->in_ring || handler->is_aside)
        return;
    list_add(&turns->ring, handler);
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

static void all_come_back(turns_t *turns)
{
    turns_handler_t *handler;
    while ((handler = turns->aside.first)) {
        ring_remove(turns, handler);
        ring_add(turns, handler);
    }
}

void turns_set_slots(turns_t *turns, int slots)
{
    turns->slots = slots;
    all_come_back(turns);
}

void turns_started(turns_t *turns, turns_handler_t *handler)
{
    handler->in_flight++;
    turns->in_flight++;
    turns->slow_in_flight += handler->slow;
}

void turns_ended(turns_t *turns, turns_handler_t *handler)
{
    handler->in_flight--;
    turns->in_flight--;
    turns->slow_in_flight -= handler->slow;
    all_come_back(turns);
}

void turns_set_slow(turns_t *turns, turns_handler_t *handler, bool slow)
{
    if (handler->slow != slow)
        turns->slow_in_flight += slow ? handler->in_flight : -handler->in_flight;
    handler->slow = slow;
}

turns_handler_t *turns_next(turns_t *turns)
{
    heap_node_t *node;
    turns_handler_t *handler;
    while ((node = heap_first(turns->timers)) && node->key <= turns->now_ms) {
        heap_remove(turns->timers, node);
        ring_add(turns, HEAP_ENTRY(node, turns_handler_t, timer));
    }
    while ((handler = turns->ring.first)) {
        ring_remove(turns, handler);
        if (has_slot(turns, handler, handler->in_flight))
            return handler;
        list_add(&turns->aside, handler);
        handler->is_aside = true;
    }
    return NULL;
}

int64_t turns_due_ms(const turns_t *turns)
{
    if (turns->ring.first)
        return turns->now_ms;
    const heap_node_t *node = heap_first(turns->timers);
    return node ? node->key : INT64_MAX;
}

bool turns_could_start(const turns_t *turns, const turns_handler_t *handler)
{
    int64_t in_flight = handler->in_flight + (int64_t)handler->ready.count;
    return !handler->settings.paused && handler->breaker.state == BREAKER_CLOSED &&
           in_flight < window_of(handler) && has_slot(turns, handler, in_flight) &&
           rate_room(&handler->rate, turns->now_ms) > (int64_t)handler->ready.count;
}
