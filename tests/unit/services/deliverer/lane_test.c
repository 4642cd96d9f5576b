/* The memory of lanes: slab, lists, heaps and the table, each against something naive. */
#include "services/deliverer/lane.h"
#include "services/deliverer/lane_table.h"
#include "tests/support/unit.h"

enum { LANES = 3000, STEPS = 20000 };

/* Fixed: a failure is the same each time. */
static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void slab_elements_are_zeroed_and_stay_where_they_are(void **state)
{
    slab_t slab;
    uint32_t indexes[LANES];
    void *places[LANES];
    (void)state;
    slab_init(&slab, sizeof(lane_t));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < LANES; i++) {
            static const lane_t zero;
            indexes[i] = slab_take(&slab);
            places[i] = slab_at(&slab, indexes[i]);
            assert_int_not_equal(indexes[i], 0);
            assert_memory_equal(places[i], &zero, sizeof zero);
            memset(places[i], 0xff, sizeof zero);
        }
        assert_int_equal(slab.live, LANES);
        assert_int_equal(slab_bytes(&slab) / SLAB_CHUNK / sizeof(lane_t), LANES / SLAB_CHUNK + 1);
        for (int i = 0; i < LANES; i++) {
            int k = (i * 1009 + round) % LANES; /* 1009 is prime to LANES */
            assert_ptr_equal(slab_at(&slab, indexes[k]), places[k]);
            slab_give(&slab, indexes[k]);
        }
        assert_int_equal(slab.live, 0);
        assert_int_equal(slab_bytes(&slab) / SLAB_CHUNK / sizeof(lane_t), 1);
    }
    slab_release(&slab);
}

static void slab_goes_on_where_chunks_went_away(void **state)
{
    slab_t slab;
    uint32_t indexes[LANES];
    (void)state;
    slab_init(&slab, sizeof(uint32_t));
    for (int i = 0; i < LANES; i++)
        indexes[i] = slab_take(&slab);
    for (int i = 0; i < 2 * SLAB_CHUNK; i++) /* the first two chunks become empty, one is freed */
        slab_give(&slab, indexes[i]);
    for (int i = 0; i < 2 * SLAB_CHUNK; i++) {
        indexes[i] = slab_take(&slab);
        *(uint32_t *)slab_at(&slab, indexes[i]) = indexes[i];
    }
    for (int i = 0; i < 2 * SLAB_CHUNK; i++)
        assert_int_equal(*(uint32_t *)slab_at(&slab, indexes[i]), indexes[i]);
    assert_int_equal(slab.live, LANES);
    slab_release(&slab);
}

static void list_is_first_in_first_out(void **state)
{
    slab_t slab;
    lane_list_t list = {0};
    uint32_t indexes[5];
    (void)state;
    slab_init(&slab, sizeof(lane_t));
    for (int i = 0; i < 5; i++) {
        indexes[i] = slab_take(&slab);
        lane_list_push(&list, &slab, indexes[i]);
    }
    lane_list_remove(&list, &slab, indexes[2]);
    lane_list_remove(&list, &slab, indexes[0]);
    lane_list_remove(&list, &slab, indexes[4]);
    lane_list_push(&list, &slab, indexes[0]);
    static const int order[] = {1, 3, 0};
    assert_int_equal(list.count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(list.first, indexes[order[i]]);
        lane_list_remove(&list, &slab, list.first);
    }
    assert_int_equal(list.first, 0);
    assert_int_equal(list.last, 0);
    slab_release(&slab);
}

/* The smallest key among the lanes in the heap, naively. */
static int64_t smallest_key(const slab_t *slab, const uint32_t *indexes, const bool *is_in)
{
    int64_t smallest = INT64_MAX;
    for (int i = 0; i < 200; i++)
        if (is_in[i] && lane_at(slab, indexes[i])->key_ms < smallest)
            smallest = lane_at(slab, indexes[i])->key_ms;
    return smallest;
}

static void check_heap(const lane_heap_t *heap, const slab_t *slab)
{
    for (uint32_t place = 1; place <= heap->count; place++) {
        const lane_t *lane = lane_at(slab, heap->items[place]);
        assert_int_equal(lane->place, place);
        if (place > 1)
            assert_true(lane_at(slab, heap->items[place / 2])->key_ms <= lane->key_ms);
    }
}

static void heap_gives_the_smallest_key(void **state)
{
    slab_t slab;
    lane_heap_t heap = {0};
    uint32_t indexes[200], seed = 1;
    bool is_in[200] = {false};
    (void)state;
    slab_init(&slab, sizeof(lane_t));
    for (int i = 0; i < 200; i++)
        indexes[i] = slab_take(&slab);
    for (int step = 0; step < STEPS; step++) {
        uint32_t i = next_random(&seed) % 200;
        int64_t key_ms = next_random(&seed) % 1000;
        bool change = next_random(&seed) % 2;
        if (!is_in[i])
            lane_heap_push(&heap, &slab, indexes[i], key_ms);
        else if (change)
            lane_heap_change(&heap, &slab, indexes[i], key_ms);
        else
            lane_heap_remove(&heap, &slab, indexes[i]);
        is_in[i] = !is_in[i] || change;
        check_heap(&heap, &slab);
        if (heap.count)
            assert_int_equal(lane_at(&slab, lane_heap_first(&heap))->key_ms,
                             smallest_key(&slab, indexes, is_in));
    }
    while (heap.count)
        lane_heap_remove(&heap, &slab, lane_heap_first(&heap));
    assert_in_range(heap.capacity, 0, 16);
    lane_heap_release(&heap);
    slab_release(&slab);
}

static void heap_is_rebuilt_after_keys_changed_by_hand(void **state)
{
    slab_t slab;
    lane_heap_t heap = {0};
    uint32_t seed = 2;
    int64_t last = INT64_MIN;
    (void)state;
    slab_init(&slab, sizeof(lane_t));
    for (int i = 0; i < LANES; i++)
        lane_heap_push(&heap, &slab, slab_take(&slab), i);
    for (uint32_t place = 1; place <= heap.count; place++)
        lane_at(&slab, heap.items[place])->key_ms = next_random(&seed) % 5000;
    lane_heap_rebuild(&heap, &slab);
    while (heap.count) {
        uint32_t first = lane_heap_first(&heap);
        assert_true(lane_at(&slab, first)->key_ms >= last);
        last = lane_at(&slab, first)->key_ms;
        lane_heap_remove(&heap, &slab, first);
    }
    lane_heap_release(&heap);
    slab_release(&slab);
}

/* Few handlers and objects, so that keys differ in every part of them. */
static lane_t key_of(int i)
{
    return (lane_t){.handler = (uint32_t)i % 3,
                    .object = (uint64_t)(i / 3) % 40,
                    .is_aside = i >= 120,
                    .seq = i / 120};
}

static void table_finds_what_was_added_and_nothing_else(void **state)
{
    enum { KEYS = 1200 };
    slab_t slab;
    lane_table_t table = {0};
    uint32_t seed = 3;
    static uint32_t present[KEYS];
    size_t count = 0;
    (void)state;
    slab_init(&slab, sizeof(lane_t));
    for (int step = 0; step < STEPS; step++) {
        int i = (int)(next_random(&seed) % KEYS);
        bool growing = (step / 4000) % 2 == 0;
        if (present[i] && (!growing || next_random(&seed) % 4 == 0)) {
            lane_table_remove(&table, &slab, present[i]);
            slab_give(&slab, present[i]);
            present[i] = 0;
            count--;
        } else if (!present[i] && growing) {
            present[i] = slab_take(&slab);
            *lane_at(&slab, present[i]) = key_of(i);
            lane_table_add(&table, &slab, present[i]);
            count++;
        }
        int k = (int)(next_random(&seed) % KEYS);
        lane_t key = key_of(k);
        assert_int_equal(
            lane_table_find(&table, &slab, key.handler, key.object, key.is_aside ? key.seq : 0),
            present[k]);
        assert_int_equal(table.count, count);
        assert_true(table.count * 4 <= table.capacity * 3);
    }
    lane_table_release(&table);
    slab_release(&slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slab_elements_are_zeroed_and_stay_where_they_are),
        cmocka_unit_test(slab_goes_on_where_chunks_went_away),
        cmocka_unit_test(list_is_first_in_first_out),
        cmocka_unit_test(heap_gives_the_smallest_key),
        cmocka_unit_test(heap_is_rebuilt_after_keys_changed_by_hand),
        cmocka_unit_test(table_finds_what_was_added_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
