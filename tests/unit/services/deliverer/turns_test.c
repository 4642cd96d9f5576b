#include "services/deliverer/turns.h"
#include "common/base/heap.h"
#include "tests/support/unit.h"

typedef struct {
    slab_t lanes;
    turns_t turns;
} world_t;

static int setup(void **state)
{
    world_t *world = calloc(1, sizeof *world);
    slab_init(&world->lanes, sizeof(lane_t));
    turns_init(&world->turns, &world->lanes);
    world->turns.now_ms = 1000;
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    world_t *world = *state;
    turns_release(&world->turns);
    slab_release(&world->lanes);
    free(world);
    return 0;
}

/* A handler with so many ready lanes. */
static turns_handler_t *handler_with(world_t *world, int64_t id, int window, int n_ready)
{
    turns_handler_t *handler = turns_find_or_add(&world->turns, id);
    handler->settings.paused = false;
    handler->settings.window = window;
    for (int i = 0; i < n_ready; i++)
        lane_list_push(&handler->ready, &world->lanes, slab_take(&world->lanes));
    turns_place(&world->turns, handler);
    return handler;
}

static void handlers_are_found_by_id_in_any_order(void **state)
{
    world_t *world = *state;
    for (int64_t i = 0; i < 200; i++)
        assert_int_equal(turns_find_or_add(&world->turns, i * 73 % 200)->index, i);
    for (int64_t i = 0; i < 200; i++) {
        assert_int_equal(turns_find(&world->turns, i * 73 % 200)->index, i);
        assert_int_equal(turns_find_or_add(&world->turns, i * 73 % 200)->index, i);
    }
    assert_null(turns_find(&world->turns, 200));
    assert_true(turns_find(&world->turns, 5)->settings.paused); /* until its settings are known */
}

static void ready_handlers_are_served_in_turn(void **state)
{
    world_t *world = *state;
    turns_handler_t *handlers[3];
    assert_null(turns_next(&world->turns));
    assert_int_equal(turns_due_ms(&world->turns), INT64_MAX);
    turns_handler_t *alone = handler_with(world, 4, 5, 2);
    turns_place(&world->turns, alone); /* twice is once */
    assert_ptr_equal(turns_next(&world->turns), alone);
    assert_null(turns_next(&world->turns));
    for (int i = 0; i < 3; i++)
        handlers[i] = handler_with(world, i + 1, 5, 2);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(turns_due_ms(&world->turns), 1000);
        assert_ptr_equal(turns_next(&world->turns), handlers[i % 3]);
        turns_place(&world->turns, handlers[i % 3]);
    }
}

static void who_can_start_nothing_stands_nowhere(void **state)
{
    world_t *world = *state;
    turns_handler_t *full = handler_with(world, 1, 2, 3);
    turns_handler_t *paused = handler_with(world, 2, 2, 3);
    (void)handler_with(world, 3, 2, 0);
    full->in_flight = 2;
    paused->settings.paused = true;
    turns_place(&world->turns, full);
    turns_place(&world->turns, paused);
    assert_null(turns_next(&world->turns));
    assert_int_equal(turns_due_ms(&world->turns), INT64_MAX);
    full->in_flight = 1;
    turns_place(&world->turns, full);
    assert_ptr_equal(turns_next(&world->turns), full);
    full->slow = true; /* timed out: one slot, which is taken */
    turns_place(&world->turns, full);
    assert_null(turns_next(&world->turns));
}

static void retries_and_probes_come_at_their_time(void **state)
{
    world_t *world = *state;
    turns_handler_t *retrying = handler_with(world, 1, 2, 0);
    turns_handler_t *open = handler_with(world, 2, 2, 1);
    breaker_settings_t settings = {1, 700};
    lane_heap_push(&retrying->retries, &world->lanes, slab_take(&world->lanes), 1500);
    turns_place(&world->turns, retrying);
    assert_true(breaker_failure(&open->breaker, &settings, 1000));
    turns_place(&world->turns, open);
    assert_null(turns_next(&world->turns));
    assert_int_equal(turns_due_ms(&world->turns), 1500);
    world->turns.now_ms = 1500;
    assert_ptr_equal(turns_next(&world->turns), retrying);
    assert_int_equal(turns_due_ms(&world->turns), breaker_due_ms(&open->breaker));
    world->turns.now_ms = breaker_due_ms(&open->breaker);
    assert_ptr_equal(turns_next(&world->turns), open);
}

static void a_rate_makes_it_wait(void **state)
{
    world_t *world = *state;
    turns_handler_t *handler = handler_with(world, 1, 5, 3);
    rate_init(&handler->rate, 1);
    assert_true(rate_take(&handler->rate, 1000));
    turns_place(&world->turns, handler);
    assert_null(turns_next(&world->turns));
    assert_int_equal(turns_due_ms(&world->turns), 2000);
    assert_false(turns_could_start(&world->turns, handler));
}

/* Starts what may start, in turn; returns how many did. */
static int start_all(world_t *world)
{
    turns_handler_t *handler;
    int n = 0;
    while ((handler = turns_next(&world->turns))) {
        turns_started(&world->turns, handler);
        turns_place(&world->turns, handler);
        n++;
    }
    return n;
}

static void none_holds_more_than_it_leaves_free(void **state)
{
    static const struct {
        int slots, handlers, window, started;
    } cases[] = {
        {1, 1, 9, 1},  {5, 1, 9, 2},  {12, 1, 9, 6},       {90, 1, 9, 9},
        {12, 2, 9, 8}, {12, 3, 9, 9}, {256, 100, 16, 253}, {3, 9, 9, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("  %d slots, %d handlers\n", cases[i].slots, cases[i].handlers);
        assert_int_equal(teardown(state), 0);
        assert_int_equal(setup(state), 0);
        world_t *world = *state;
        turns_set_slots(&world->turns, cases[i].slots);
        for (int h = 1; h <= cases[i].handlers; h++)
            (void)handler_with(world, h, cases[i].window, 20);
        assert_int_equal(start_all(world), cases[i].started);
        turns_handler_t *late = handler_with(world, 1000, 5, 1);
        assert_ptr_equal(turns_next(&world->turns),
                         cases[i].started < cases[i].slots ? late : NULL);
    }
}

static void who_had_no_slot_has_its_turn_when_a_request_ends(void **state)
{
    world_t *world = *state;
    turns_set_slots(&world->turns, 2);
    turns_handler_t *first = handler_with(world, 1, 5, 20);
    turns_handler_t *second = handler_with(world, 2, 5, 20);
    turns_handler_t *third = handler_with(world, 3, 5, 20);
    assert_int_equal(start_all(world), 2);
    assert_int_equal(turns_due_ms(&world->turns), INT64_MAX);
    turns_place(&world->turns, third); /* changes nothing */
    assert_null(turns_next(&world->turns));
    turns_ended(&world->turns, first);
    turns_place(&world->turns, first);
    assert_int_equal(turns_due_ms(&world->turns), 1000);
    assert_ptr_equal(turns_next(&world->turns), third);
    turns_ended(&world->turns, second);
    third->settings.paused = true;
    turns_place(&world->turns, third);
    assert_ptr_equal(turns_next(&world->turns), first);
}

static void slow_ones_hold_one_slot_each_and_half_of_all_together(void **state)
{
    world_t *world = *state;
    turns_set_slots(&world->turns, 9);
    turns_handler_t *slow[20];
    for (int i = 0; i < 20; i++) {
        slow[i] = handler_with(world, i + 1, 5, 20);
        turns_set_slow(&world->turns, slow[i], true);
    }
    assert_int_equal(start_all(world), 5);
    turns_handler_t *healthy = handler_with(world, 99, 5, 20);
    assert_int_equal(start_all(world), 2);
    assert_int_equal(healthy->in_flight, 2);
    turns_ended(&world->turns, slow[0]);
    turns_place(&world->turns, slow[0]);
    assert_ptr_equal(turns_next(&world->turns), slow[5]);
    turns_set_slow(&world->turns, healthy, true);
    assert_int_equal(world->turns.slow_in_flight, 6);
    assert_null(turns_next(&world->turns));
    turns_set_slow(&world->turns, healthy, false);
    assert_int_equal(world->turns.slow_in_flight, 4);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(handlers_are_found_by_id_in_any_order),
        test(ready_handlers_are_served_in_turn),
        test(who_can_start_nothing_stands_nowhere),
        test(retries_and_probes_come_at_their_time),
        test(a_rate_makes_it_wait),
        test(none_holds_more_than_it_leaves_free),
        test(who_had_no_slot_has_its_turn_when_a_request_ends),
        test(slow_ones_hold_one_slot_each_and_half_of_all_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
