#include "tests/support/history_world.h"

typedef struct {
    marks_t *marks;
    commit_t *commit;
} world_t;

static int setup(void **state)
{
    world_t *world = calloc(1, sizeof *world);
    world->marks = marks_new();
    world->commit = commit_new();
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    world_t *world = *state;
    commit_destroy(&world->commit);
    marks_destroy(&world->marks);
    free(world);
    return 0;
}

static result_t take(world_t *world, zmsg_t *msg)
{
    fault_t fault = {""};
    result_t r = intake_message(world->marks, world->commit, &msg, 5000, 100, &fault);
    assert_null(msg);
    assert_true(r == RESULT_OK || *fault.text);
    return r;
}

static record_t record(const char *topic, int64_t origin)
{
    return (record_t){.topic = slice_of(topic), .at_ms = 7, .origin = origin};
}

/* "a b c" of the topics that wait for the commit. */
static void assert_topics(const world_t *world, const char *expected)
{
    AUTO_BUF topics = {0};
    for (size_t i = 0; i < world->commit->n_items; i++) {
        buf_add_slice(&topics, world->commit->items[i].entry.record.topic);
        buf_add_str(&topics, " ");
    }
    assert_string_equal(topics.data ? topics.data : "", expected);
}

static void records_borrow_from_what_the_commit_keeps(void **state)
{
    world_t *world = *state;
    record_t records[2] = {record("a", 0), record("b", 0)};
    records[1].response = SLICE("hello");
    assert_int_equal(take(world, world_message("n", "emitter", 1, 1, 1, records, 2)), RESULT_OK);
    assert_topics(world, "a b ");
    const commit_item_t *item = &world->commit->items[1];
    assert_true(slice_is(item->entry.node, "n"));
    assert_true(slice_is(item->entry.service, "emitter"));
    assert_true(slice_is(item->entry.record.response, "hello"));
    record_t decoded;
    assert_int_equal(codec_decode(item->encoded, &record_table, &decoded), RESULT_OK);
    assert_true(slice_is(decoded.topic, "b"));
    assert_true(world->commit->size_bytes > 0);
}

static void what_is_there_is_skipped(void **state)
{
    world_t *world = *state;
    record_t records[3] = {record("a", 0), record("b", 0), record("c", 0)};
    assert_int_equal(take(world, world_message("n", "emitter", 1, 1, 1, records, 2)), RESULT_OK);
    assert_int_equal(take(world, world_message("n", "emitter", 1, 1, 1, records, 3)), RESULT_OK);
    assert_topics(world, "a b c ");
    assert_int_equal(take(world, world_message("n", "emitter", 1, 9, 1, records, 3)), RESULT_OK);
    assert_topics(world, "a b c ");
}

static void a_durable_record_comes_once_over_boots(void **state)
{
    world_t *world = *state;
    record_t before[3] = {record("a", 10), record("x", 0), record("b", 12)};
    record_t after[4] = {record("a", 10), record("b", 12), record("x", 0), record("c", 13)};
    assert_int_equal(take(world, world_message("n", "emitter", 1, 1, 1, before, 3)), RESULT_OK);
    assert_int_equal(take(world, world_message("n", "emitter", 2, 1, 1, after, 4)), RESULT_OK);
    assert_topics(world, "a x b x c ");
    assert_int_equal(take(world, world_message("m", "emitter", 3, 1, 1, after, 4)), RESULT_OK);
    assert_topics(world, "a x b x c a b x c ");
}

static void a_hole_is_recorded_where_it_is(void **state)
{
    world_t *world = *state;
    record_t records[2] = {record("a", 0), record("b", 0)};
    assert_int_equal(take(world, world_message("n", "emitter", 1, 1, 1, records, 1)), RESULT_OK);
    assert_int_equal(take(world, world_message("n", "emitter", 1, 5, 5, records, 2)), RESULT_OK);
    assert_topics(world, "a stage.audit_gap a b ");
    const entry_t *gap = &world->commit->items[1].entry;
    assert_int_equal(gap->record.count, 3);
    assert_int_equal(gap->record.at_ms, 5000);
    assert_true(slice_is(gap->node, "n"));
    assert_true(slice_is(gap->service, "emitter"));
}

static void stats_pass_through(void **state)
{
    world_t *world = *state;
    record_t records[2] = {record("stage.stats", 0), record("stage.started", 0)};
    records[0].stats = SLICE("{\"a\":1}");
    assert_int_equal(take(world, world_message("n", "emitter", 1, 1, 1, records, 2)), RESULT_OK);
    assert_true(world->commit->items[0].passes);
    assert_false(world->commit->items[1].passes);
}

/* Malformed as a whole: nothing of it counts, and the same number may come again. */
static void nothing_of_a_malformed_message_is_taken(void **state)
{
    world_t *world = *state;
    static const char *const names[] = {"topic",       "empty topic", "event id", "stats",
                                        "fewer",       "more",        "no body",  "a fourth frame",
                                        "broken head", "broken body", "boot"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        record_t records[2] = {record("a", 5), record("b", 6)};
        if (i == 0)
            records[1].topic = SLICE("B");
        if (i == 1)
            records[1].topic = SLICE("");
        if (i == 2)
            records[1].event_id = SLICE("01234567890123456789012345678901");
        if (i == 3)
            records[1].stats = SLICE("{");
        zmsg_t *msg = world_message("n", "emitter", i == 10 ? 0 : 1, 1, 1, records, 2);
        (void)zmsg_first(msg);
        zframe_t *head = zmsg_next(msg);
        zframe_t *body = zmsg_last(msg);
        if (i == 4 || i == 5) {
            AUTO_BUF bytes = {0};
            for (int n = 0; n < (i == 4 ? 1 : 3); n++)
                codec_add(&record_table, &records[0], &bytes);
            zframe_reset(body, bytes.data, bytes.size);
        }
        if (i == 6) {
            zmsg_remove(msg, body);
            zframe_destroy(&body);
        }
        if (i == 7)
            zmsg_addstr(msg, "x");
        if (i == 8)
            zframe_reset(head, "\x81\x01", 2);
        if (i == 9)
            zframe_reset(body, zframe_data(body), zframe_size(body) - 1);
        if (take(world, msg) != RESULT_INVALID)
            fail_msg("%s was taken", names[i]);
        assert_topics(world, "");
    }
    record_t records[2] = {record("a", 5), record("b", 6)};
    assert_int_equal(take(world, world_message("n", "emitter", 1, 1, 1, records, 2)), RESULT_OK);
    assert_topics(world, "a b ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records_borrow_from_what_the_commit_keeps, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_there_is_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(a_durable_record_comes_once_over_boots, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hole_is_recorded_where_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(stats_pass_through, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_of_a_malformed_message_is_taken, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
