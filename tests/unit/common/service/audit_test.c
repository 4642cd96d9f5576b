#include "tests/support/audit_world.h"

static void what_was_added_before_the_auditor_came_arrives(void **state)
{
    world_t *world = *state;
    assert_string_equal(world->service.node, NODE);
    add(world, 3);
    run_a_little(world);
    assert_false(audit_alive(world->audit));
    auditor_start(world);
    run_until(world, all_marked);
    expect_each_once(world, 4); /* with stage.started */
    assert_int_equal(world->last_mark, 4);
    assert_int_equal(world->messages, 1);
}

static bool has_hundred(world_t *world)
{
    return world->have == 101 && all_marked(world);
}

static void a_burst_is_one_message(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    int before = world->messages;
    add(world, 100);
    run_until(world, has_hundred);
    assert_int_equal(world->messages, before + 1);
    expect_each_once(world, 101);
}

static bool has_nine(world_t *world)
{
    return world->have == 9 && all_marked(world);
}

static void messages_are_bounded(void **state)
{
    world_t *world = *state;
    char body[100 << 10];
    memset(body, 'x', sizeof body);
    auditor_start(world);
    run_until(world, all_marked);
    for (int i = 0; i < 8; i++)
        audit_add(
            world->audit,
            &(record_t){.topic = SLICE("event.accepted"), .at_ms = 1, .body = {body, sizeof body}});
    run_until(world, has_nine);
    assert_true(world->messages >= 1 + 4); /* more where adding took longer than gathering */
    assert_true(world->largest_bytes > sizeof body && world->largest_bytes <= 256 << 10);
    expect_each_once(world, 9);
}

static bool has_six(world_t *world)
{
    return world->have == 6 && all_marked(world);
}

static void lost_messages_are_sent_again(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    world->lose = 1;
    add(world, 3);
    run_a_little(world);
    add(world, 2); /* comes after a hole: not taken */
    run_a_little(world);
    assert_int_equal(audit_mark(world->audit), 1);
    run_until(world, has_six);
    static const int64_t expected[] = {1, 5, 6, 2, 3, 4, 5, 6};
    assert_int_equal(world->n_seen, 8);
    assert_memory_equal(world->seen, expected, sizeof expected);
}

static bool has_eleven(world_t *world)
{
    return world->have == 11 && all_marked(world);
}

static bool has_six_unmarked(world_t *world)
{
    return world->have == 6;
}

static void a_restarted_auditor_gets_what_it_had_not_committed(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    world->withhold = true;
    add(world, 5);
    run_until(world, has_six_unmarked);
    auditor_stop(world);
    world->have = 1;
    world->n_seen = 1;
    world->withhold = false;
    add(world, 5);
    run_a_little(world);
    auditor_start(world);
    run_until(world, has_eleven); /* how often is a matter of who connects first */
}

static bool is_deaf(world_t *world)
{
    return !audit_alive(world->audit);
}

static bool has_three(world_t *world)
{
    return world->have == 3 && all_marked(world);
}

static void nothing_is_sent_to_an_auditor_that_is_silent(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    world->mute = true;
    run_until(world, is_deaf); /* 3 s */
    int before = world->messages;
    add(world, 2);
    run_a_little(world);
    assert_int_equal(world->messages, before);
    world->mute = false;
    run_until(world, has_three);
    expect_each_once(world, 3);
}

static bool has_all_with_dropped(world_t *world)
{
    return world->told_dropped > 0 && all_marked(world);
}

static bool has_the_window(world_t *world)
{
    return world->have >= 10001;
}

static void the_window_is_bounded_and_drops_are_told(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    world->withhold = true;
    add(world, 10000);
    assert_false(audit_room(world->audit));
    add(world, 7);
    assert_int_equal(audit_add(world->audit, &(record_t){.topic = SLICE("x"), .at_ms = 1}), 0);
    run_until(world, has_the_window);
    run_a_little(world);
    assert_int_equal(world->have, 10001);
    assert_int_equal(world->rooms, 0);
    world->withhold = false;
    send_mark(world, NODE, BOOT, 10000);
    run_until(world, has_all_with_dropped);
    assert_int_equal(world->told_dropped, 8);
    assert_int_equal(world->rooms, 1);
    expect_each_once(world, 10002);
}

static void bytes_bound_the_window_too(void **state)
{
    world_t *world = *state;
    char body[1 << 20];
    memset(body, 'x', sizeof body);
    record_t record = {.topic = SLICE("x"), .at_ms = 1, .body = {body, sizeof body}};
    int added = 0;
    while (audit_room(world->audit)) {
        record.origin = ++added;
        assert_true(audit_add(world->audit, &record) > 0);
    }
    assert_int_equal(added, 8);
    auditor_start(world);
    run_until(world, has_nine);
    assert_int_equal(world->rooms, 1);
    expect_each_once(world, 9);
}

static bool filled_three_times(world_t *world)
{
    return world->rooms >= 3 && all_marked(world);
}

static void on_room_add(void *owner)
{
    world_t *world = owner;
    world->rooms++;
    while (world->rooms < 3 && audit_room(world->audit))
        audit_add(world->audit, &(record_t){.topic = SLICE("x"), .at_ms = 1, .origin = 1});
}

/* The publisher anew, with other calls. The old listener closes on libzmq's threads; between two
 * tries they get time for that: to end the sockets that were made in vain comes first for them. */
static void renew(world_t *world, const audit_calls_t *calls)
{
    fault_t fault = {""};
    audit_destroy(&world->audit);
    int64_t until_ms = clk_mono_ms() + DEADLINE_MS;
    while (audit_new(&world->service, "router", NODE, calls, world, &world->audit, &fault) ==
           RESULT_LOCKED) {
        assert_true(clk_mono_ms() < until_ms);
        run_a_little(world);
    }
}

static void room_is_told_each_time_that_it_was_filled(void **state)
{
    world_t *world = *state;
    renew(world, &(audit_calls_t){NULL, on_room_add});
    add(world, 9999);
    assert_false(audit_room(world->audit));
    auditor_start(world);
    run_until(world, filled_three_times);
    expect_each_once(world, 30000);
}

static bool has_four(world_t *world)
{
    return world->have == 4;
}

static bool heard_two(world_t *world)
{
    return world->last_mark == 2;
}

static void marks_of_others_are_not_ours(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    world->withhold = true;
    add(world, 3);
    run_until(world, has_four);
    send_mark(world, NODE, BOOT + 1, 2);
    send_mark(world, NODE "x", BOOT, 2);
    send_mark(world, NODE, BOOT, 5);
    send_mark(world, NODE, BOOT, -1);
    zstr_sendx(world->marks, NODE, "no mark", NULL);
    zstr_sendx(world->marks, NODE, "", "", NULL);
    run_a_little(world);
    assert_int_equal(audit_mark(world->audit), 0);
    assert_int_equal(world->last_mark, 0);
    send_mark(world, NODE, BOOT, 2);
    run_until(world, heard_two);
}

static bool was_idle(world_t *world)
{
    return world->idle_messages > 0;
}

static void an_idle_stage_answers_the_beat(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    int before = world->messages;
    run_until(world, was_idle);
    assert_int_equal(world->messages, before);
    assert_int_equal(world->idle_messages, 1); /* not one per beat */
}

static void an_auditor_that_joins_is_answered_at_once(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    run_until(world, was_idle); /* 1.9 s: 190 beats */
    zsock_set_unsubscribe(world->records, "");
    run_until(world, is_deaf);
    world->idle_messages = world->beats = 0;
    zsock_set_subscribe(world->records, "");
    run_until(world, was_idle);
    assert_true(world->beats < 150);
}

static void the_last_record_still_leaves(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    world->withhold = true;
    zloop_reader_end(world->service.loop, world->records);
    audit_destroy(&world->audit);
    zsock_set_rcvtimeo(world->records, DEADLINE_MS);
    AUTO(zmsg) msg = zmsg_recv(world->records);
    zframe_t *frame = zmsg_last(msg);
    record_t record;
    assert_int_equal(codec_decode((slice_t){(const char *)zframe_data(frame), zframe_size(frame)},
                                  &record_table, &record),
                     RESULT_OK);
    assert_true(slice_is(record.topic, "stage.stopped"));
}

enum { ROUNDS = 5000, ROUND_BYTES = 20480 };

/* One record after the other, each in a message of its own. */
static void on_mark_add(void *owner, int64_t number)
{
    world_t *world = owner;
    static const char body[ROUND_BYTES];
    record_t record = {.topic = SLICE("x"), .at_ms = 1, .body = {body, sizeof body}};
    if (number < ROUNDS)
        audit_add(world->audit, &record);
}

static bool has_all_rounds(world_t *world)
{
    return world->have == ROUNDS;
}

static void a_subscriber_that_does_not_read_holds_up_nobody(void **state)
{
    world_t *world = *state;
    renew(world, &(audit_calls_t){on_mark_add, NULL});
    AUTO(zsock) standing = zsock_new(ZMQ_SUB);
    zsock_set_rcvhwm(standing, 1);
    zsock_set_rcvbuf(standing, 4096);
    zsock_set_subscribe(standing, "");
    assert_int_equal(zsock_connect(standing, "%s", world->audit_endpoint), 0);
    auditor_start(world);
    run_until(world, has_all_rounds);
}

static void stats_tell_the_state(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    assert_int_equal(stat_of(world, "added"), 1);
    assert_int_equal(stat_of(world, "marked"), 1);
    assert_int_equal(stat_of(world, "kept"), 0);
    assert_int_equal(stat_of(world, "kept_bytes"), 0);
    assert_int_equal(stat_of(world, "dropped"), 0);
    world->withhold = true;
    add(world, 10002);
    assert_int_equal(stat_of(world, "kept"), 10000);
    assert_int_equal(stat_of(world, "dropped"), 2);
    assert_true(stat_of(world, "kept_bytes") > 10000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int main(void)
{
    zsys_init();
    zsys_handler_set(NULL);
    const struct CMUnitTest tests[] = {
        TEST(what_was_added_before_the_auditor_came_arrives),
        TEST(a_burst_is_one_message),
        TEST(messages_are_bounded),
        TEST(lost_messages_are_sent_again),
        TEST(a_restarted_auditor_gets_what_it_had_not_committed),
        TEST(nothing_is_sent_to_an_auditor_that_is_silent),
        TEST(the_window_is_bounded_and_drops_are_told),
        TEST(bytes_bound_the_window_too),
        TEST(room_is_told_each_time_that_it_was_filled),
        TEST(marks_of_others_are_not_ours),
        TEST(an_idle_stage_answers_the_beat),
        TEST(an_auditor_that_joins_is_answered_at_once),
        TEST(the_last_record_still_leaves),
        TEST(a_subscriber_that_does_not_read_holds_up_nobody),
        TEST(stats_tell_the_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
