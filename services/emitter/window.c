#include "services/emitter/window.h"
#include "common/base/mem.h"

#include <stdlib.h>

struct window_slot_t {
    ulid_t id;
    uint32_t size_bytes;
    bool held;   /* receipted, and has to stay for now */
    void *event; /* NULL: receipted */
};

enum { CAPACITY_MIN = 16 };

static window_slot_t *slot_at(const window_t *window, size_t position)
{
    return &window->slots[position & (window->capacity - 1)];
}

void window_release(window_t *window)
{
    free(window->slots);
    *window = (window_t){0};
}

bool window_fits(const window_t *window, const window_limits_t *limits, size_t size_bytes)
{
    if ((int64_t)window->n >= limits->events_max)
        return false;
    return window->n_waiting == 0 || window->bytes + (int64_t)size_bytes <= limits->bytes_max;
}

bool window_is_low(const window_t *window, const window_limits_t *limits)
{
    return (int64_t)window->n <= limits->events_max / 2 && window->bytes <= limits->bytes_max / 2;
}

static void grow(window_t *window)
{
    window_t bigger = *window;
    bigger.capacity = window->capacity ? window->capacity * 2 : CAPACITY_MIN;
    bigger.slots = mem_alloc(bigger.capacity * sizeof *bigger.slots);
    for (size_t i = 0; i < window->n; i++)
        *slot_at(&bigger, window->first + i) = *slot_at(window, window->first + i);
    free(window->slots);
    *window = bigger;
}

void window_push(window_t *window, const ulid_t *id, void *event, size_t size_bytes)
{
    if (window->n == window->capacity)
        grow(window);
    *slot_at(window, window->first + window->n) =
        (window_slot_t){.id = *id, .size_bytes = (uint32_t)size_bytes, .event = event};
    window->n++;
    window->n_waiting++;
    window->bytes += (int64_t)size_bytes;
}

/* Binary search: ids rise with their position. */
static window_slot_t *find(const window_t *window, slice_t id)
{
    size_t low = 0, high = window->n;
    if (id.size != ULID_SIZE)
        return NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        window_slot_t *slot = slot_at(window, window->first + middle);
        int order = memcmp(slot->id.text, id.data, ULID_SIZE);
        if (order == 0)
            return slot;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void drop_front(window_t *window)
{
    while (window->n && !slot_at(window, window->first)->event &&
           !slot_at(window, window->first)->held) {
        window->first++;
        window->n--;
    }
    if (window->n == 0 && window->capacity > CAPACITY_MIN)
        window_release(window); /* 64 partitions that are idle should cost nothing */
}

void *window_take(window_t *window, slice_t id, bool hold)
{
    window_slot_t *slot = find(window, id);
    if (!slot || !slot->event)
        return NULL;
    void *event = slot->event;
    slot->event = NULL;
    slot->held = hold;
    window->n_waiting--;
    window->bytes -= slot->size_bytes;
    drop_front(window);
    return event;
}

void window_let_go(window_t *window, slice_t id)
{
    window_slot_t *slot = find(window, id);
    if (!slot || !slot->held)
        return;
    slot->held = false;
    drop_front(window);
}

const ulid_t *window_oldest(const window_t *window)
{
    return window->n ? &slot_at(window, window->first)->id : NULL;
}
