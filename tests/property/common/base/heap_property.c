/* Random pushes, changes and removals against an array searched from end to end. */
#include "tests/support/unit.h"

#include "common/base/heap.h"

enum { ITEMS = 200, ROUNDS = 200000 };

typedef struct {
    int64_t id;
    heap_node_t node;
} item_t;

static int64_t smallest(const item_t *items)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < ITEMS; i++)
        if (items[i].node.place && items[i].node.key < least)
            least = items[i].node.key;
    return least;
}

static void the_first_is_always_the_smallest(void **state)
{
    (void)state;
    unsigned seed = unit_seed();
    item_t items[ITEMS] = {0};
    size_t size = 0;
    heap_t *heap = heap_new();
    for (int round = 0; round < ROUNDS; round++) {
        item_t *item = &items[unit_chance(&seed, ITEMS)];
        int64_t key = unit_chance(&seed, 1000);
        if (!item->node.place) {
            heap_push(heap, &item->node, key);
            size++;
        } else if (unit_chance(&seed, 2)) {
            heap_change(heap, &item->node, key);
        } else {
            heap_remove(heap, &item->node);
            size--;
        }
        assert_int_equal(heap_size(heap), size);
        heap_node_t *first = heap_first(heap);
        assert_true(!!first == (size > 0));
        if (first)
            assert_int_equal(first->key, smallest(items));
    }
    heap_destroy(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_first_is_always_the_smallest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
