/* heap: a binary min-heap of things that know their place, for timers: O(log n) push, remove and
 * change. The element embeds a heap_node_t; the heap owns only its array of pointers. */
#ifndef PROVISOR_HEAP_H
#define PROVISOR_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t key;  /* smallest first */
    size_t place; /* 1-based place in the array; 0 = not in a heap */
} heap_node_t;

typedef struct heap_t heap_t;

heap_t *heap_new(void);
/* The elements are the caller's and are not touched. */
void heap_destroy(heap_t **heap);
size_t heap_size(const heap_t *heap);
/* NULL when empty. */
heap_node_t *heap_first(const heap_t *heap);
/* node must not be in a heap. */
void heap_push(heap_t *heap, heap_node_t *node, int64_t key);
/* node must be in this heap. */
void heap_change(heap_t *heap, heap_node_t *node, int64_t key);
/* No effect when node is in no heap. */
void heap_remove(heap_t *heap, heap_node_t *node);

/* The struct that holds the node. */
#define HEAP_ENTRY(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

#endif
