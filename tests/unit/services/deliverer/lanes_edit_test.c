#include "tests/unit/services/deliverer/lanes_world.h"

static void refills_are_asked_for_once_and_answered_once(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    enum { ROWS = LANES_KEEP + 2 };
    lanes_delivery_t rows[ROWS] = {0};
    (void)state;
    open_world(&world);
    lanes_delivery_t head = {.seq = 10, .handler_id = 1, .object = OBJECT};
    lanes_delivery_t later = {.seq = 11, .handler_id = 1, .object = OBJECT};
    lanes_restore(world.lanes, &head, 0, 5);
    lanes_restore(world.lanes, &later, 0, LANES_KEEP - 2);
    assert_int_equal(stats_of(&world, 1).pending, LANES_KEEP + 3);
    assert_int_equal(stats_of(&world, 1).lanes, 1);
    assert_int_equal(take(&world, 0, &delivery), 10);
    done(&world, &delivery, delivered, 0);
    assert_int_equal(world.asked, 1);
    assert_int_equal(world.after_seq, 10);
    assert_false(add(&world, 1, OBJECT, 99, 0));
    assert_int_equal(take(&world, 0, &delivery), 0);
    for (int i = 0; i < ROWS; i++)
        rows[i] = (lanes_delivery_t){.seq = 11 + i, .event = &world};
    lanes_refill(world.lanes, 1, OBJECT, rows, ROWS, 0);
    assert_int_equal(world.released, ROWS - LANES_KEEP);
    for (int i = 0; i < LANES_KEEP; i++) {
        assert_int_equal(take(&world, 0, &delivery), 11 + i);
        done(&world, &delivery, delivered, 0);
    }
    assert_int_equal(world.asked, 2);
    assert_int_equal(world.after_seq, 10 + LANES_KEEP);
    assert_int_equal(stats_of(&world, 1).pending, 3);
    close_world(&world);
}

static void a_count_that_was_too_high_ends_with_an_empty_answer(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    lanes_delivery_t head = {.seq = 10, .handler_id = 1, .object = OBJECT};
    (void)state;
    open_world(&world);
    lanes_restore(world.lanes, &head, 0, 7);
    assert_int_equal(take(&world, 0, &delivery), 10);
    done(&world, &delivery, delivered, 0);
    add(&world, 1, OBJECT, 20, 0); /* is not yet in the store when it is read */
    lanes_refill(world.lanes, 1, OBJECT, NULL, 0, 0);
    assert_int_equal(world.asked, 2);
    assert_int_equal(stats_of(&world, 1).pending, 1);
    lanes_delivery_t row = {.seq = 20};
    lanes_refill(world.lanes, 1, OBJECT, &row, 1, 0);
    assert_int_equal(take(&world, 0, &delivery), 20);
    done(&world, &delivery, delivered, 0);
    assert_int_equal(world.asked, 2);
    assert_int_equal(stats_of(&world, 1).lanes, 0);
    close_world(&world);
}

static void dropped_while_a_refill_is_under_way(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    lanes_delivery_t head = {.seq = 10, .handler_id = 1, .object = OBJECT};
    (void)state;
    open_world(&world);
    lanes_restore(world.lanes, &head, 0, 3);
    assert_int_equal(take(&world, 0, &delivery), 10);
    done(&world, &delivery, delivered, 0);
    lanes_drop_handler(world.lanes, 1);
    assert_int_equal(stats_of(&world, 1).pending, 0);
    lanes_delivery_t row = {.seq = 11, .event = &world};
    lanes_refill(world.lanes, 1, OBJECT, &row, 1, 0);
    assert_int_equal(take(&world, 0, &delivery), 0);
    assert_int_equal(world.released, 1);
    assert_int_equal(stats_of(&world, 1).lanes, 0);
    close_world(&world);
}

static void an_event_is_given_up_and_taken_over_while_a_retry_is_far_off(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    int loaded;
    (void)state;
    open_world(&world);
    add(&world, 1, OBJECT, 1, 0);
    assert_int_equal(take(&world, 0, &delivery), 1);
    assert_ptr_equal(delivery.event, &world);
    delivery.event = NULL;
    done(&world, &delivery, retry_at(10), 0);
    assert_int_equal(world.released, 1);
    assert_int_equal(take(&world, 10, &delivery), 1);
    assert_null(delivery.event);
    delivery.event = &loaded;
    done(&world, &delivery, retry_at(20), 10);
    assert_int_equal(take(&world, 20, &delivery), 1);
    assert_ptr_equal(delivery.event, &loaded);
    assert_false(lanes_let_go(world.lanes, 1, OBJECT, 1));
    done(&world, &delivery, retry_at(30), 20);
    assert_true(lanes_let_go(world.lanes, 1, OBJECT, 1));
    assert_false(lanes_let_go(world.lanes, 1, OBJECT, 1));
    assert_int_equal(world.released, 2);
    close_world(&world);
}

static void a_head_is_set_aside_after_a_restart_too(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    lanes_handler_t patient = usual;
    lanes_delivery_t head = {
        .seq = 1, .handler_id = 1, .object = OBJECT, .attempts = 2, .first_wall_ms = WALL_MS};
    (void)state;
    open_world(&world);
    patient.hold_ms = 50;
    set_handler(&world, 1, patient);
    lanes_restore(world.lanes, &head, 5000, 2);
    assert_int_equal(lanes_due_ms(world.lanes, 0), 50);
    assert_int_equal(take(&world, 60, &delivery), 0);
    assert_int_equal(world.asked, 1);
    assert_int_equal(lanes_due_ms(world.lanes, 60), 5000);
    lanes_delivery_t row = {.seq = 2};
    lanes_refill(world.lanes, 1, OBJECT, &row, 1, 60);
    assert_int_equal(take(&world, 60, &delivery), 2);
    close_world(&world);
}

static void hurried_heads_are_due_now(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    (void)state;
    open_world(&world);
    for (uint64_t object = 1; object <= 5; object++) {
        add(&world, 1, object, (int64_t)object, 0);
        assert_int_equal(take(&world, 0, &delivery), object);
        done(&world, &delivery, retry_at(5000), 0);
    }
    assert_int_equal(stats_of(&world, 1).blocked_lanes, 5);
    assert_int_equal(lanes_hurry(world.lanes, 1, 3, 0), 1);
    assert_int_equal(lanes_hurry(world.lanes, 1, 77, 0), 0);
    assert_int_equal(lanes_hurry(world.lanes, 99, 0, 0), 0);
    assert_int_equal(stats_of(&world, 1).blocked_lanes, 4);
    assert_int_equal(take(&world, 0, &delivery), 3);
    assert_int_equal(lanes_hurry(world.lanes, 1, 0, 0), 4);
    assert_int_equal(stats_of(&world, 1).blocked_lanes, 0);
    assert_int_equal(count_takes(&world, 0), 4);
    close_world(&world);
}

static void hurry_probes_an_open_circuit_at_once(void **state)
{
    world_t world;
    lanes_delivery_t probe;
    (void)state;
    open_circuit(&world, 8);
    (void)lanes_hurry(world.lanes, 1, OBJECT, 10);
    assert_int_equal(take(&world, 10, &probe), 4);
    assert_true(probe.probe);
    close_world(&world);
}

static void places_of_deliveries(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    (void)state;
    open_world(&world);
    for (int64_t seq = 1; seq <= LANES_KEEP + 2; seq++)
        add(&world, 1, OBJECT, seq, 0);
    assert_int_equal(lanes_place(world.lanes, 1, OBJECT, 1), LANES_PLACE_READY);
    assert_int_equal(lanes_place(world.lanes, 1, OBJECT, 2), LANES_PLACE_BEHIND);
    assert_int_equal(lanes_place(world.lanes, 1, OBJECT, LANES_KEEP + 2), LANES_PLACE_UNKNOWN);
    assert_int_equal(lanes_place(world.lanes, 2, OBJECT, 1), LANES_PLACE_UNKNOWN);
    assert_int_equal(take(&world, 0, &delivery), 1);
    assert_int_equal(lanes_place(world.lanes, 1, OBJECT, 1), LANES_PLACE_IN_FLIGHT);
    done(&world, &delivery, retry_at(10), 0);
    assert_int_equal(lanes_place(world.lanes, 1, OBJECT, 1), LANES_PLACE_RETRYING);
    close_world(&world);
}

static void dropping_takes_out_what_waits(void **state)
{
    world_t world;
    lanes_delivery_t delivery;
    (void)state;
    open_world(&world);
    for (int64_t seq = 1; seq <= LANES_KEEP + 2; seq++)
        add(&world, 1, OBJECT, seq, 0);
    assert_int_equal(take(&world, 0, &delivery), 1);
    assert_false(lanes_drop(world.lanes, 1, OBJECT, 1, 0));             /* in flight */
    assert_true(lanes_drop(world.lanes, 1, OBJECT, 3, 0));              /* behind the head */
    assert_true(lanes_drop(world.lanes, 1, OBJECT, LANES_KEEP + 2, 0)); /* only counted */
    assert_int_equal(stats_of(&world, 1).pending, LANES_KEEP);
    done(&world, &delivery, delivered, 0);
    assert_true(lanes_drop(world.lanes, 1, OBJECT, 2, 0)); /* the head */
    assert_int_equal(take(&world, 0, &delivery), 4);
    lanes_drop_handler(world.lanes, 1);
    assert_int_equal(stats_of(&world, 1).pending, 1);
    done(&world, &delivery, given_up, 0);
    assert_int_equal(stats_of(&world, 1).lanes, 0);
    assert_int_equal(world.released, LANES_KEEP);
    close_world(&world);
}

/* What each million lanes of one waiting delivery take; in the worst state, waiting for a retry. */
static void a_million_lanes_take_at_most_100_bytes_each(void **state)
{
    enum { LANES = 1000000 };
    world_t world;
    (void)state;
    open_world(&world);
    assert_int_equal(sizeof(lane_t), 80);
    for (int i = 1; i <= LANES; i++) {
        lanes_delivery_t head = {.seq = i, .handler_id = 1, .object = (uint64_t)i, .attempts = 1};
        lanes_restore(world.lanes, &head, 5000 + i, 1);
    }
    const lanes_t *lanes = world.lanes;
    size_t heap_bytes = lanes->turns.handlers[0]->retries.capacity * sizeof(uint32_t);
    size_t table_bytes = lanes->table.capacity * sizeof(uint32_t);
    size_t bytes = slab_bytes(&lanes->lanes) + slab_bytes(&lanes->kept) + table_bytes + heap_bytes;
    print_message("  %zu bytes per lane (table %.0f%% full)\n", bytes / LANES,
                  100.0 * (double)lanes->table.count / (double)lanes->table.capacity);
    assert_in_range(bytes, LANES * sizeof(lane_t), LANES * 100);
    assert_true(lanes->table.count * 4 <= lanes->table.capacity * 3);
    lanes_drop_handler(world.lanes, 1);
    assert_int_equal(lanes->lanes.live, 0);
    assert_in_range(slab_bytes(&lanes->lanes), 0, 200000);
    assert_in_range(lanes->table.capacity * sizeof(uint32_t), 0, 1000);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refills_are_asked_for_once_and_answered_once),
        cmocka_unit_test(a_count_that_was_too_high_ends_with_an_empty_answer),
        cmocka_unit_test(dropped_while_a_refill_is_under_way),
        cmocka_unit_test(an_event_is_given_up_and_taken_over_while_a_retry_is_far_off),
        cmocka_unit_test(a_head_is_set_aside_after_a_restart_too),
        cmocka_unit_test(hurried_heads_are_due_now),
        cmocka_unit_test(hurry_probes_an_open_circuit_at_once),
        cmocka_unit_test(places_of_deliveries),
        cmocka_unit_test(dropping_takes_out_what_waits),
        cmocka_unit_test(a_million_lanes_take_at_most_100_bytes_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
