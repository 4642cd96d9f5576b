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

static void no_window_is_wider_than_the_bound_of_all(void **state)
{
    world_t *world = *state;
    turns_handler_t *handler = handler_with(world, 1, 10, 1);
    handler->in_flight = 4;
    assert_true(turns_could_start(&world->turns, handler));
    turns_set_window_max(&world->turns, 4);
    assert_false(turns_could_start(&world->turns, handler));
    assert_null(turns_next(&world->turns));
    turns_set_window_max(&world->turns, 6);
    assert_ptr_equal(turns_next(&world->turns), handler);
    assert_false(handler->in_ring);
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
        test(no_window_is_wider_than_the_bound_of_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
