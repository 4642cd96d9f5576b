/* Priorities: an event's deliveries of a higher number wait for those of lower numbers. */
#include "tests/unit/services/deliverer/lanes_world.h"

enum { WAIT_MS = 100 };

/* An event for OBJECT with handler i + 1 of priority priorities[i], as long as they rise from 0. */
static void add_event(world_t *world, int64_t seq, const int64_t *priorities, size_t n,
                      int64_t now_ms)
{
    lanes_target_t targets[8];
    for (size_t i = 0; i < n; i++)
        targets[n - 1 - i] = (lanes_target_t){(int64_t)i + 1, OBJECT, priorities[i]};
    lanes_add(world->lanes, seq, world, targets, n, WAIT_MS, now_ms, NULL);
}

/* The handlers whose deliveries start now, as bits: 1 << id. */
static int taken(world_t *world, int64_t now_ms, lanes_delivery_t *ret_by_handler)
{
    lanes_delivery_t delivery;
    int bits = 0;
    while (lanes_take(world->lanes, now_ms, &delivery)) {
        bits |= 1 << delivery.handler_id;
        ret_by_handler[delivery.handler_id] = delivery;
    }
    return bits;
}

static const int64_t three_levels[] = {1, 1, 2, 3};

static void open_four(world_t *world)
{
    open_world(world);
    set_handler(world, 3, usual);
    set_handler(world, 4, usual);
}

static void levels_follow_the_first_attempts(void **state)
{
    world_t world;
    lanes_delivery_t by[8];
    (void)state;
    open_four(&world);
    add_event(&world, 1, three_levels, 4, 0);
    assert_int_equal(taken(&world, 0, by), 1 << 1 | 1 << 2);
    assert_int_equal(lanes_due_ms(world.lanes, 0), WAIT_MS);
    done(&world, &by[1], delivered, 10);
    assert_int_equal(taken(&world, 10, by), 0);
    done(&world, &by[2], retry_at(5000), 20); /* an attempt is an attempt */
    assert_int_equal(taken(&world, 20, by), 1 << 3);
    done(&world, &by[3], back, 30); /* cannot have it now */
    assert_int_equal(taken(&world, 30, by), 1 << 3 | 1 << 4);
    close_world(&world);
}

static void a_hanging_handler_is_not_waited_for_longer_than_priority_wait(void **state)
{
    world_t world;
    lanes_delivery_t by[8];
    (void)state;
    open_four(&world);
    add_event(&world, 1, three_levels, 4, 0);
    assert_int_equal(taken(&world, 0, by), 1 << 1 | 1 << 2);
    assert_int_equal(taken(&world, WAIT_MS - 1, by), 0);
    assert_int_equal(taken(&world, WAIT_MS, by), 1 << 3 | 1 << 4);
    done(&world, &by[1], delivered, 500);
    done(&world, &by[2], delivered, 500);
    done(&world, &by[3], delivered, 500);
    done(&world, &by[4], delivered, 500);
    assert_int_equal(gates_groups(world.lanes->gates), 0);
    close_world(&world);
}

static void dropping_the_lower_one_opens_the_higher_one(void **state)
{
    static const int64_t priorities[] = {1, 2};
    world_t world;
    lanes_delivery_t by[8];
    (void)state;
    open_world(&world);
    add_event(&world, 1, priorities, 2, 0);
    assert_true(lanes_drop(world.lanes, 1, OBJECT, 1, 0));
    assert_int_equal(taken(&world, 0, by), 1 << 2);
    close_world(&world);
}

static void a_closed_gate_is_kept_behind_others_of_the_object(void **state)
{
    static const int64_t priorities[] = {1, 2};
    world_t world;
    lanes_delivery_t by[8], other;
    (void)state;
    open_world(&world);
    add(&world, 2, OBJECT, 1, 0);
    assert_int_equal(take(&world, 0, &other), 1);
    add_event(&world, 2, priorities, 2, 0);
    done(&world, &other, delivered, 10);
    assert_int_equal(taken(&world, 10, by), 1 << 1);
    done(&world, &by[1], delivered, 20);
    assert_int_equal(taken(&world, 20, by), 1 << 2);
    close_world(&world);
}

static void paused(world_t *world)
{
    lanes_handler_t settings = usual;
    settings.paused = true;
    set_handler(world, 1, settings);
}

static void lane_busy(world_t *world)
{
    lanes_delivery_t delivery;
    add(world, 1, OBJECT, 1, 0);
    assert_int_equal(take(world, 0, &delivery), 1);
}

static void lane_waits_for_retry(world_t *world)
{
    lanes_delivery_t delivery;
    add(world, 1, OBJECT, 1, 0);
    assert_int_equal(take(world, 0, &delivery), 1);
    done(world, &delivery, retry_at(99999), 0);
}

static void window_full(world_t *world)
{
    lanes_handler_t settings = usual;
    lanes_delivery_t delivery;
    settings.window = 1;
    set_handler(world, 1, settings);
    add(world, 1, OBJECT + 1, 1, 0);
    assert_int_equal(take(world, 0, &delivery), 1);
}

static void window_spoken_for(world_t *world)
{
    lanes_handler_t settings = usual;
    settings.window = 1;
    set_handler(world, 1, settings);
    lanes_set_global_max(world->lanes, 1);
    add(world, 1, OBJECT + 1, 1, 0);
}

static void rate_used_up(world_t *world)
{
    lanes_handler_t settings = usual;
    lanes_delivery_t delivery;
    settings.rate = 1;
    set_handler(world, 1, settings);
    add(world, 1, OBJECT + 1, 1, 0);
    assert_int_equal(take(world, 0, &delivery), 1);
}

static void circuit_open(world_t *world)
{
    lanes_handler_t settings = usual;
    lanes_delivery_t delivery;
    settings.breaker.failures_max = 1;
    set_handler(world, 1, settings);
    add(world, 1, OBJECT + 1, 1, 0);
    assert_int_equal(take(world, 0, &delivery), 1);
    done(world, &delivery, retry_at(99999), 0);
    assert_int_equal(world->opened, 1);
}

static void a_lower_one_that_cannot_start_is_not_waited_for(void **state)
{
    static const int64_t priorities[] = {1, 2};
    static const struct {
        const char *name;
        void (*prepare)(world_t *world);
    } cases[] = {
        {"paused", paused},
        {"lane busy", lane_busy},
        {"lane waits for retry", lane_waits_for_retry},
        {"window full", window_full},
        {"window spoken for", window_spoken_for},
        {"rate used up", rate_used_up},
        {"circuit open", circuit_open},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world_t world;
        lanes_delivery_t by[8];
        print_message("  %s\n", cases[i].name);
        open_world(&world);
        cases[i].prepare(&world);
        add_event(&world, 2, priorities, 2, 0);
        lanes_set_global_max(world.lanes, 100);
        assert_true(taken(&world, 0, by) & 1 << 2);
        close_world(&world);
    }
}

static void without_priority_wait_nobody_waits(void **state)
{
    static const lanes_target_t targets[] = {{1, OBJECT, 1}, {2, OBJECT, 2}};
    world_t world;
    lanes_delivery_t by[8];
    (void)state;
    open_world(&world);
    lanes_add(world.lanes, 1, &world, targets, 2, 0, 0, NULL);
    assert_int_equal(taken(&world, 0, by), 1 << 1 | 1 << 2);
    close_world(&world);
}

static void events_of_one_priority_make_no_gates(void **state)
{
    static const int64_t priorities[] = {5, 5};
    world_t world;
    (void)state;
    open_world(&world);
    add_event(&world, 1, priorities, 2, 0);
    assert_int_equal(gates_groups(world.lanes->gates), 0);
    close_world(&world);
}

/* P7: whatever comes, only those that a window has room for can be waited for. */
static void gates_are_bounded_by_windows(void **state)
{
    static const lanes_target_t low_and_high[] = {{1, 0, 1}, {2, 0, 2}};
    world_t world;
    (void)state;
    open_world(&world);
    for (int i = 1; i <= 1000; i++) {
        lanes_target_t targets[2] = {low_and_high[0], low_and_high[1]};
        targets[0].object = targets[1].object = (uint64_t)i;
        lanes_add(world.lanes, i, &world, targets, 2, WAIT_MS, 0, NULL);
    }
    assert_in_range(gates_groups(world.lanes->gates), 1, usual.window);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_follow_the_first_attempts),
        cmocka_unit_test(a_hanging_handler_is_not_waited_for_longer_than_priority_wait),
        cmocka_unit_test(dropping_the_lower_one_opens_the_higher_one),
        cmocka_unit_test(a_closed_gate_is_kept_behind_others_of_the_object),
        cmocka_unit_test(a_lower_one_that_cannot_start_is_not_waited_for),
        cmocka_unit_test(without_priority_wait_nobody_waits),
        cmocka_unit_test(events_of_one_priority_make_no_gates),
        cmocka_unit_test(gates_are_bounded_by_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
