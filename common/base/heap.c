#include "common/base/heap.h"
#include "common/base/mem.h"
#include "common/base/result.h"

#include <stdlib.h>

struct heap_t {
    heap_node_t **nodes; /* nodes [0] unused: place 0 means "not in a heap" */
    size_t size;
    size_t capacity;
};

heap_t *heap_new(void)
{
    heap_t *heap = MEM_NEW(heap_t);
    heap->capacity = 16;
    heap->nodes = mem_alloc((heap->capacity + 1) * sizeof *heap->nodes);
    return heap;
}

void heap_destroy(heap_t **heap)
{
    if (!*heap)
        return;
    free((*heap)->nodes);
    free(*heap);
    *heap = NULL;
}

size_t heap_size(const heap_t *heap)
{
    return heap->size;
}

heap_node_t *heap_first(const heap_t *heap)
{
    return heap->size ? heap->nodes[1] : NULL;
}

static void put(heap_t *heap, size_t place, heap_node_t *node)
{
    heap->nodes[place] = node;
    node->place = place;
}

static void sift_up(heap_t *heap, heap_node_t *node)
{
    size_t place = node->place;
    for (; place > 1 && heap->nodes[place / 2]->key > node->key; place /= 2)
        put(heap, place, heap->nodes[place / 2]);
    put(heap, place, node);
}

static void sift_down(heap_t *heap, heap_node_t *node)
{
    size_t place = node->place;
    for (;;) {
        size_t child = place * 2;
        if (child > heap->size)
            break;
        if (child < heap->size && heap->nodes[child + 1]->key < heap->nodes[child]->key)
            child++;
        if (heap->nodes[child]->key >= node->key)
            break;
        put(heap, place, heap->nodes[child]);
        place = child;
    }
    put(heap, place, node);
}

void heap_push(heap_t *heap, heap_node_t *node, int64_t key)
{
    ENSURE(node->place == 0);
    if (heap->size == heap->capacity) {
        heap->capacity *= 2;
        heap->nodes = mem_realloc(heap->nodes, (heap->capacity + 1) * sizeof *heap->nodes);
    }
    node->key = key;
    put(heap, ++heap->size, node);
    sift_up(heap, node);
}

void heap_change(heap_t *heap, heap_node_t *node, int64_t key)
{
    ENSURE(node->place && heap->nodes[node->place] == node);
    node->key = key;
    sift_up(heap, node);
    sift_down(heap, node);
}

void heap_remove(heap_t *heap, heap_node_t *node)
{
    if (!node->place)
        return;
    ENSURE(heap->nodes[node->place] == node);
    heap_node_t *last = heap->nodes[heap->size--];
    if (last != node) {
        put(heap, node->place, last);
        sift_up(heap, last);
        sift_down(heap, last);
    }
    node->place = 0;
}
