#include "services/deliverer/lane.h"
#include "common/base/mem.h"
#include "common/base/result.h"

#include <stdlib.h>

enum { HEAP_CAPACITY_MIN = 16 };

void lane_list_push(lane_list_t *list, const slab_t *lanes, uint32_t index)
{
    lane_t *lane = lane_at(lanes, index);
    lane->next = 0;
    lane->prev = list->last;
    if (list->last)
        lane_at(lanes, list->last)->next = index;
    else
        list->first = index;
    list->last = index;
    list->count++;
}

void lane_list_remove(lane_list_t *list, const slab_t *lanes, uint32_t index)
{
    const lane_t *lane = lane_at(lanes, index);
    if (lane->prev)
        lane_at(lanes, lane->prev)->next = lane->next;
    else
        list->first = lane->next;
    if (lane->next)
        lane_at(lanes, lane->next)->prev = lane->prev;
    else
        list->last = lane->prev;
    list->count--;
}

void lane_heap_release(lane_heap_t *heap)
{
    free(heap->items);
    *heap = (lane_heap_t){0};
}

static void resize(lane_heap_t *heap, uint32_t capacity)
{
    heap->capacity = capacity;
    heap->items = mem_realloc(heap->items, ((size_t)capacity + 1) * sizeof(*heap->items));
}

static void put(lane_heap_t *heap, const slab_t *lanes, uint32_t place, uint32_t index)
{
    heap->items[place] = index;
    lane_at(lanes, index)->place = place;
}

static int64_t key_at(const lane_heap_t *heap, const slab_t *lanes, uint32_t place)
{
    return lane_at(lanes, heap->items[place])->key_ms;
}

static void sift_up(lane_heap_t *heap, const slab_t *lanes, uint32_t place)
{
    uint32_t index = heap->items[place];
    int64_t key_ms = lane_at(lanes, index)->key_ms;
    for (; place > 1 && key_at(heap, lanes, place / 2) > key_ms; place /= 2)
        put(heap, lanes, place, heap->items[place / 2]);
    put(heap, lanes, place, index);
}

static void sift_down(lane_heap_t *heap, const slab_t *lanes, uint32_t place)
{
    uint32_t index = heap->items[place];
    int64_t key_ms = lane_at(lanes, index)->key_ms;
    for (;;) {
        uint32_t child = place * 2;
        if (child > heap->count)
            break;
        if (child < heap->count && key_at(heap, lanes, child + 1) < key_at(heap, lanes, child))
            child++;
        if (key_at(heap, lanes, child) >= key_ms)
            break;
        put(heap, lanes, place, heap->items[child]);
        place = child;
    }
    put(heap, lanes, place, index);
}

void lane_heap_push(lane_heap_t *heap, const slab_t *lanes, uint32_t index, int64_t key_ms)
{
    if (heap->count == heap->capacity)
        resize(heap, heap->capacity ? heap->capacity * 2 : HEAP_CAPACITY_MIN);
    lane_at(lanes, index)->key_ms = key_ms;
    heap->items[++heap->count] = index;
    sift_up(heap, lanes, heap->count);
}

void lane_heap_change(lane_heap_t *heap, const slab_t *lanes, uint32_t index, int64_t key_ms)
{
    lane_t *lane = lane_at(lanes, index);
    lane->key_ms = key_ms;
    sift_up(heap, lanes, lane->place);
    sift_down(heap, lanes, lane->place);
}

void lane_heap_remove(lane_heap_t *heap, const slab_t *lanes, uint32_t index)
{
    uint32_t place = lane_at(lanes, index)->place;
    ENSURE(place && place <= heap->count && heap->items[place] == index);
    uint32_t last = heap->items[heap->count--];
    if (last != index) {
        put(heap, lanes, place, last);
        sift_up(heap, lanes, place);
        sift_down(heap, lanes, lane_at(lanes, last)->place);
    }
    if (heap->capacity > HEAP_CAPACITY_MIN && heap->count < heap->capacity / 4)
        resize(heap, heap->capacity / 2);
}

void lane_heap_rebuild(lane_heap_t *heap, const slab_t *lanes)
{
    for (uint32_t place = heap->count / 2; place >= 1; place--)
        sift_down(heap, lanes, place);
}

uint32_t lane_heap_first(const lane_heap_t *heap)
{
    return heap->count ? heap->items[1] : 0;
}
