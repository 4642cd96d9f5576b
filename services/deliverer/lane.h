/* lane: what memory holds of one handler and object, and the lists and heaps that lanes stand in.
 *
 * A lane is addressed by its index in a slab. It stands in exactly one place of its handler: in
 * ready (LANE_READY), in the heap of retries (LANE_WAITING), or in other (every other state).
 *
 * A head that is set aside becomes a lane of its own (is_aside) with one delivery; it hangs on the
 * lane it came from, its main lane, which lives as long as it has deliveries or asides. */
#ifndef PROVISOR_LANE_H
#define PROVISOR_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "services/deliverer/slab.h"

typedef enum {
    LANE_EMPTY,   /* only asides are left */
    LANE_READY,   /* the head may start */
    LANE_WAITING, /* the head waits until due_ms */
    LANE_GATED,   /* the head waits for other handlers (gates.h) */
    LANE_FLIGHT,  /* the head is in flight */
    LANE_REFILL,  /* no head: on_refill was called */
} lane_state_t;

typedef struct {
    uint64_t object;
    int64_t seq; /* the head's; without a head that of the last one that memory held */
    void *event;
    int64_t first_wall_ms;
    int64_t due_ms; /* LANE_WAITING: next attempt; 0: none was set */
    union {
        int64_t key_ms; /* LANE_WAITING: in the heap; due_ms, or when to set it aside */
        int64_t asked;  /* LANE_REFILL: how many of those stored were there when it was asked */
    };
    uint32_t handler; /* index */
    union {
        uint32_t next;  /* in a list */
        uint32_t place; /* in a heap, from 1 */
    };
    uint32_t prev;
    union {
        uint32_t kept;       /* main: first of those behind the head */
        uint32_t next_aside; /* aside: in the main lane's row of them */
    };
    union {
        uint32_t stored;     /* main: how many more are only in the store */
        uint32_t prev_aside; /* aside */
    };
    uint32_t gate; /* of the head; 0: none */
    union {
        uint32_t first_aside; /* main */
        uint32_t main;        /* aside: the lane it came from */
    };
    uint16_t attempts;
    uint8_t state;
    bool is_aside;
} lane_t;

/* A delivery behind a head. */
typedef struct {
    int64_t seq;
    void *event;
    int64_t first_wall_ms;
    int64_t due_ms;
    uint32_t gate;
    uint32_t next;
    uint16_t attempts;
} lane_kept_t;

/* A doubly linked list of lanes, first in first out. */
typedef struct {
    uint32_t first, last;
    uint32_t count;
} lane_list_t;

void lane_list_push(lane_list_t *list, const slab_t *lanes, uint32_t index);
void lane_list_remove(lane_list_t *list, const slab_t *lanes, uint32_t index);

/* A min-heap of lanes by key_ms: 4 bytes each, O(log n). */
typedef struct {
    uint32_t *items; /* items [0] unused */
    uint32_t count;
    uint32_t capacity;
} lane_heap_t;

void lane_heap_release(lane_heap_t *heap);
void lane_heap_push(lane_heap_t *heap, const slab_t *lanes, uint32_t index, int64_t key_ms);
void lane_heap_change(lane_heap_t *heap, const slab_t *lanes, uint32_t index, int64_t key_ms);
void lane_heap_remove(lane_heap_t *heap, const slab_t *lanes, uint32_t index);
/* After the key_ms of any number of lanes were changed by hand: O(n). */
void lane_heap_rebuild(lane_heap_t *heap, const slab_t *lanes);
/* 0 when empty. */
uint32_t lane_heap_first(const lane_heap_t *heap);

static inline lane_t *lane_at(const slab_t *lanes, uint32_t index)
{
    return slab_at(lanes, index);
}

#endif
