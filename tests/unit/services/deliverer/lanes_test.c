#include "tests/unit/services/deliverer/lanes_world.h"

static void one_object_goes_in_order_one_at_a_time(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    (void)state;
    open_world(&world);
    for (int64_t seq = 1; seq <= LANES_KEEP; seq++)
        assert_true(add(&world, 1, OBJECT, seq, 0));
    assert_false(add(&world, 1, OBJECT, LANES_KEEP + 1, 0));
    for (int64_t seq = 1; seq <= LANES_KEEP; seq++) {
        lanes_delivery_t none;
        assert_int_equal(take(&world, 0, &delivery), seq);
        assert_int_equal(take(&world, 0, &none), 0);
        assert_int_equal(lanes_due_ms(world.lanes, 0), -1);
        done(&world, &delivery, delivered, 0);
        assert_int_equal(world.released, seq);
    }
    assert_int_equal(world.asked, 1);
    assert_int_equal(world.after_seq, LANES_KEEP);
    close_world(&world);
}

static void objects_and_handlers_do_not_wait_for_each_other(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    (void)state;
    open_world(&world);
    add(&world, 1, 1, 1, 0);
    assert_int_equal(take(&world, 0, &delivery), 1);
    done(&world, &delivery, retry_at(1000), 0);
    add(&world, 1, 1, 2, 0);
    add(&world, 1, 2, 2, 0);
    add(&world, 2, 1, 2, 0);
    assert_int_equal(count_takes(&world, 0), 2);
    assert_int_equal(lanes_due_ms(world.lanes, 0), 1000);
    assert_int_equal(take(&world, 1000, &delivery), 1);
    assert_int_equal(delivery.attempts, 1);
    close_world(&world);
}

static void handlers_share_the_global_bound_in_turn(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    lanes_handler_t wide = usual;
    (void)state;
    open_world(&world);
    wide.window = 1000;
    lanes_set_global_max(world.lanes, 12);
    for (int64_t id = 1; id <= 3; id++) {
        set_handler(&world, id, wide);
        for (uint64_t object = 1; object <= 50; object++)
            add(&world, id, object, (int64_t)object, 0);
    }
    for (int i = 0; i < 9; i++) {
        assert_true(lanes_take(world.lanes, 0, &delivery));
        assert_int_equal(delivery.handler_id, 1 + i % 3);
    }
    assert_false(lanes_take(world.lanes, 0, &delivery)); /* three are left for who has none */
    assert_int_equal(lanes_due_ms(world.lanes, 0), -1);
    assert_int_equal(lanes_in_flight(world.lanes), 9);
    for (int64_t id = 4; id <= 7; id++) {
        set_handler(&world, id, wide);
        add(&world, id, OBJECT, id, 0);
    }
    for (int64_t id = 4; id <= 6; id++)
        assert_int_equal(take(&world, 0, &delivery), id);
    assert_int_equal(take(&world, 0, &delivery), 0);
    assert_int_equal(lanes_due_ms(world.lanes, 0), -1);
    close_world(&world);
}

/* P8: whatever its window is. */
static void one_handler_never_holds_more_than_half_of_the_global_bound(void **state)
{
    const struct {
        int global_max, takes;
    } cases[] = {
        {12, 6}, {5, 2}, {1, 1}, {90, 40}, /* its own window */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world_t world;
        lanes_handler_t wide = usual;
        open_world(&world);
        wide.window = 40;
        set_handler(&world, 1, wide);
        for (uint64_t object = 1; object <= 50; object++)
            add(&world, 1, object, (int64_t)object, 0);
        lanes_set_global_max(world.lanes, cases[i].global_max);
        assert_int_equal(count_takes(&world, 0), cases[i].takes);
        lanes_set_global_max(world.lanes, 100); /* a reload: what waited may go */
        assert_int_equal(count_takes(&world, 0), 40 - cases[i].takes);
        close_world(&world);
    }
}

static void a_rate_is_a_bucket_that_costs_no_turn_when_empty(void **state)
{
    world_t world;
    lanes_handler_t slow = usual;
    (void)state;
    open_world(&world);
    slow.rate = 5;
    set_handler(&world, 1, slow);
    for (uint64_t object = 1; object <= 9; object++)
        add(&world, 1, object, (int64_t)object, 1000);
    assert_int_equal(count_takes(&world, 1000), 5);
    assert_int_equal(lanes_due_ms(world.lanes, 1000), 1200);
    assert_int_equal(count_takes(&world, 1199), 0);
    assert_int_equal(count_takes(&world, 1200), 1);
    assert_int_equal(lanes_due_ms(world.lanes, 1200), 1400);
    close_world(&world);
}

static void new_lanes_and_retries_take_turns(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    (void)state;
    open_world(&world);
    for (uint64_t object = 1; object <= 3; object++) {
        add(&world, 1, object, (int64_t)object, 0);
        assert_int_equal(take(&world, 0, &delivery), object);
        done(&world, &delivery, retry_at(10), 0);
    }
    for (uint64_t object = 11; object <= 13; object++)
        add(&world, 1, object, (int64_t)object, 0);
    for (int i = 0; i < 3; i++) {
        assert_true(take(&world, 10, &delivery) <= 3);
        assert_true(take(&world, 10, &delivery) >= 11);
    }
    close_world(&world);
}

static void after_a_timeout_a_handler_holds_one_slot(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    lanes_verdict_t timed_out = retry_at(99999);
    (void)state;
    open_world(&world);
    timed_out.timed_out = true;
    for (uint64_t object = 1; object <= 20; object++)
        add(&world, 1, object, (int64_t)object, 0);
    assert_int_equal(take(&world, 0, &delivery), 1);
    done(&world, &delivery, timed_out, 0);
    assert_int_equal(take(&world, 0, &delivery), 2);
    assert_int_equal(count_takes(&world, 0), 0);
    done(&world, &delivery, given_up, 0); /* was not sent: says nothing */
    assert_int_equal(take(&world, 0, &delivery), 3);
    assert_int_equal(count_takes(&world, 0), 0);
    done(&world, &delivery, delivered, 0);
    assert_int_equal(count_takes(&world, 0), 10);
    close_world(&world);
}

static void an_open_circuit_sends_one_probe_and_lets_all_go_when_it_closes(void **state)
{
    world_t world;
    lanes_delivery_t probe;
    (void)state;
    open_circuit(&world, 8);
    assert_int_equal(count_takes(&world, 99), 0);
    assert_int_equal(lanes_due_ms(world.lanes, 99), 100);
    assert_int_equal(take(&world, 100, &probe), 4);
    assert_true(probe.probe);
    assert_int_equal(count_takes(&world, 100), 0);
    assert_int_equal(lanes_due_ms(world.lanes, 100), -1);
    done(&world, &probe, retry_at(5000), 100);
    assert_int_equal(lanes_due_ms(world.lanes, 100), 300);
    assert_int_equal(take(&world, 300, &probe), 5);
    done(&world, &probe, delivered, 300);
    assert_int_equal(world.closed, 1);
    assert_int_equal(count_takes(&world, 300), 3);
    close_world(&world);
}

/* Of those that failed before it opened: their time has come, or is kept. */
static void what_waited_for_the_circuit_is_due_when_it_closes(void **state)
{
    static const struct {
        int64_t closed_ms;
        int started;
    } cases[] = {{200, 0}, {4999, 0}, {5000, 3}, {9999, 3}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world_t world;
        lanes_delivery_t probe;
        open_circuit(&world, 4);
        assert_int_equal(take(&world, 100, &probe), 4);
        assert_int_equal(count_takes(&world, cases[i].closed_ms), 0);
        done(&world, &probe, delivered, cases[i].closed_ms);
        assert_int_equal(count_takes(&world, cases[i].closed_ms), cases[i].started);
        assert_int_equal(lanes_due_ms(world.lanes, cases[i].closed_ms),
                         cases[i].started ? -1 : 5000);
        close_world(&world);
    }
}

static void a_probe_that_was_not_sent_is_given_back(void **state)
{
    static const lanes_verdict_t *const verdicts[] = {&back, &given_up};
    (void)state;
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        world_t world;
        lanes_delivery_t probe;
        open_circuit(&world, 8);
        assert_int_equal(take(&world, 100, &probe), 4);
        done(&world, &probe, *verdicts[i], 100);
        assert_int_equal(stats_of(&world, 1).circuit, BREAKER_OPEN);
        assert_int_equal(take(&world, 100, &probe), 5);
        assert_true(probe.probe);
        close_world(&world);
    }
}

static void a_late_probe_of_an_earlier_outage_says_nothing_about_this_one(void **state)
{
    world_t world;
    lanes_delivery_t early, first_probe, second_probe, others[3];
    (void)state;
    open_world(&world);
    lanes_handler_t fragile = usual;
    fragile.breaker.failures_max = 3;
    set_handler(&world, 1, fragile);
    for (int i = 1; i <= 12; i++)
        add(&world, 1, (uint64_t)i, i, 0);
    assert_int_equal(take(&world, 0, &early), 1);
    for (int i = 0; i < 3; i++) {
        assert_true(take(&world, 0, &others[i]) > 0);
        done(&world, &others[i], retry_at(5000), 0);
    }
    assert_true(take(&world, 100, &first_probe) > 0);
    done(&world, &early, delivered, 110); /* closes it; the probe is still in flight */
    assert_int_equal(world.closed, 1);
    for (int i = 0; i < 3; i++) {
        assert_true(take(&world, 110, &others[i]) > 0);
        done(&world, &others[i], retry_at(5000), 110);
    }
    assert_true(take(&world, 210, &second_probe) > 0);
    done(&world, &first_probe, retry_at(5000), 220);
    assert_int_equal(stats_of(&world, 1).circuit, BREAKER_PROBING);
    close_world(&world);
}

static void a_paused_handler_parks_and_goes_on(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    lanes_handler_t paused = usual;
    (void)state;
    open_world(&world);
    paused.paused = true;
    add(&world, 1, OBJECT, 1, 0);
    add(&world, 1, OBJECT, 2, 0);
    assert_int_equal(take(&world, 0, &delivery), 1);
    set_handler(&world, 1, paused); /* 410 */
    done(&world, &delivery, back, 0);
    assert_int_equal(count_takes(&world, 0), 0);
    assert_int_equal(lanes_due_ms(world.lanes, 0), -1);
    set_handler(&world, 1, usual);
    assert_int_equal(take(&world, 0, &delivery), 1);
    assert_int_equal(delivery.attempts, 0);
    close_world(&world);
}

static void what_comes_for_an_unknown_handler_parks(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    (void)state;
    open_world(&world);
    add(&world, 77, OBJECT, 1, 0);
    assert_int_equal(take(&world, 0, &delivery), 0);
    set_handler(&world, 77, usual);
    assert_int_equal(take(&world, 0, &delivery), 1);
    close_world(&world);
}

static void a_head_that_was_retried_too_long_is_set_aside(void **state)
{
    world_t world;
    lanes_delivery_t first, second;
    lanes_handler_t patient = usual;
    (void)state;
    open_world(&world);
    patient.hold_ms = 50;
    set_handler(&world, 1, patient);
    add(&world, 1, OBJECT, 1, 0);
    assert_int_equal(take(&world, 0, &first), 1);
    done(&world, &first, retry_at(1000), 0);
    assert_int_equal(lanes_due_ms(world.lanes, 0), 1000); /* nobody waits for it */
    add(&world, 1, OBJECT, 2, 10);
    assert_int_equal(lanes_due_ms(world.lanes, 10), 50);
    assert_int_equal(take(&world, 49, &second), 0);
    assert_int_equal(take(&world, 50, &second), 2);
    assert_int_equal(stats_of(&world, 1).blocked_lanes, 0);
    assert_int_equal(lanes_place(world.lanes, 1, OBJECT, 1), LANES_PLACE_RETRYING);
    assert_int_equal(take(&world, 1000, &first), 1);
    assert_int_equal(first.attempts, 1);
    assert_int_equal(stats_of(&world, 1).blocked_lanes, 0);
    done(&world, &second, delivered, 1000);
    assert_int_equal(stats_of(&world, 1).lanes, 1);
    done(&world, &first, retry_at(2000), 1000);
    assert_int_equal(lanes_hurry(world.lanes, 1, OBJECT, 1000), 1);
    assert_int_equal(take(&world, 1000, &first), 1);
    done(&world, &first, delivered, 1000);
    assert_int_equal(stats_of(&world, 1).lanes, 0);
    assert_int_equal(world.released, 2);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_object_goes_in_order_one_at_a_time),
        cmocka_unit_test(objects_and_handlers_do_not_wait_for_each_other),
        cmocka_unit_test(handlers_share_the_global_bound_in_turn),
        cmocka_unit_test(one_handler_never_holds_more_than_half_of_the_global_bound),
        cmocka_unit_test(a_rate_is_a_bucket_that_costs_no_turn_when_empty),
        cmocka_unit_test(new_lanes_and_retries_take_turns),
        cmocka_unit_test(after_a_timeout_a_handler_holds_one_slot),
        cmocka_unit_test(an_open_circuit_sends_one_probe_and_lets_all_go_when_it_closes),
        cmocka_unit_test(what_waited_for_the_circuit_is_due_when_it_closes),
        cmocka_unit_test(a_probe_that_was_not_sent_is_given_back),
        cmocka_unit_test(a_late_probe_of_an_earlier_outage_says_nothing_about_this_one),
        cmocka_unit_test(a_paused_handler_parks_and_goes_on),
        cmocka_unit_test(what_comes_for_an_unknown_handler_parks),
        cmocka_unit_test(a_head_that_was_retried_too_long_is_set_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
