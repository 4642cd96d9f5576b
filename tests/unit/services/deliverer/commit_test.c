#include "tests/support/folder.h"
#include "common/base/cleanup.h"
#include "common/wire/codec.h"
#include "services/deliverer/backlog.h"
#include "services/deliverer/commit.h"

#define NODE SLICE("e3f1c05a9b2d4c66")

/* A queue and the batch that is collected for it. */
typedef struct {
    queue_t *queue;
    cache_t *cache;
    commit_t *commit;
    int64_t outbox;
} world_t;

static int setup(void **state)
{
    fault_t fault = {""};
    if (folder_setup(state) != 0)
        return -1;
    world_t *world = calloc(1, sizeof *world);
    const folder_t *folder = *state;
    if (queue_open(folder->path, UINT64_MAX, &world->queue, &fault) != RESULT_OK)
        return -1;
    world->cache = cache_new(0);
    world->commit = commit_new();
    (void)folder_remove(folder); /* an open store works without its names */
    free(*state);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    world_t *world = *state;
    commit_destroy(&world->commit, world->cache);
    cache_destroy(&world->cache);
    queue_close(&world->queue);
    free(world);
    return 0;
}

static int64_t number(world_t *world, const char *sql)
{
    db_stmt_t *stmt = db_stmt(queue_db(world->queue), sql);
    assert_int_equal(db_step(stmt), RESULT_OK);
    int64_t n = db_int(stmt, 0);
    db_reset(stmt);
    return n;
}

/* A new event with deliveries to handlers 1 .. n; the caller's reference is given back. */
static cache_entry_t *take(world_t *world, int64_t seq, int64_t n)
{
    char id[32];
    snprintf(id, sizeof id, "01M86F6QRC%016lld", (long long)seq);
    event_t event = {.id = slice_of(id),
                     .events_id = SLICE("clients.update"),
                     .object_kind = SLICE("client"),
                     .body = SLICE("{}")};
    cache_entry_t *entry = cache_put(world->cache, seq, &event, false);
    commit_custody(world->commit, entry, NODE, 5, n == 0);
    for (int64_t handler = 1; handler <= n; handler++) {
        queue_delivery_t delivery = {.seq = seq, .handler_id = handler, .object = 9};
        commit_delivery(world->commit, &delivery);
    }
    cache_unref(world->cache, entry);
    return entry; /* the batch refers to it */
}

static void end(world_t *world, const cache_entry_t *entry, int64_t seq, int64_t handler,
                bool final, bool has_row)
{
    queue_delivery_t delivery = {seq, handler, 9, 1, 100, final ? 0 : 200};
    record_t record = {.topic = SLICE("delivery.x"), .at_ms = 1, .handler_id = handler};
    commit_outcome(world->commit, entry, &delivery, final, has_row, ++world->outbox, &record);
}

/* Hands the batch over, twice, as after a full disk; a new one is collected. */
static void apply(world_t *world)
{
    db_t *db = queue_db(world->queue);
    commit_seal(world->commit);
    assert_int_equal(db_begin(db), RESULT_OK);
    assert_int_equal(commit_apply(world->commit, db), RESULT_OK);
    db_rollback(db);
    assert_int_equal(db_begin(db), RESULT_OK);
    assert_int_equal(commit_apply(world->commit, db), RESULT_OK);
    assert_int_equal(db_commit(db), RESULT_OK);
    for (size_t i = 0; i < world->commit->n_events; i++)
        cache_stored(world->cache, world->commit->events[i].entry);
    commit_destroy(&world->commit, world->cache);
    world->commit = commit_new();
}

/* The one row of ids that were known. */
static void expect_known(world_t *world, const char *ids)
{
    db_stmt_t *stmt = db_stmt(queue_db(world->queue), "SELECT ids FROM known");
    assert_int_equal(db_step(stmt), RESULT_OK);
    assert_true(slice_is(db_slice(stmt, 0), ids));
    assert_int_equal(db_step(stmt), RESULT_NOT_FOUND);
}

static void what_is_pending_has_rows(void **state)
{
    world_t *world = *state;
    (void)take(world, 1, 3);
    (void)take(world, 2, 0);
    assert_false(commit_empty(world->commit));
    apply(world);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM deliveries"), 3);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM events"), 1);
    assert_int_equal(number(world, "SELECT SUM(seq) FROM events"), 1);
    expect_known(world, "01M86F6QRC0000000000000001"
                        "0"
                        "01M86F6QRC0000000000000002"
                        "1");
    assert_int_equal(cache_bytes(world->cache), 0);
    assert_true(commit_empty(world->commit));
}

static void what_is_final_before_it_is_handed_over_needs_no_row(void **state)
{
    world_t *world = *state;
    cache_entry_t *two = take(world, 1, 2);
    cache_entry_t *one = take(world, 2, 1);
    end(world, two, 1, 2, true, true);
    end(world, one, 2, 1, true, true);
    apply(world);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM deliveries"), 1);
    assert_int_equal(number(world, "SELECT handler_id FROM deliveries"), 1);
    assert_int_equal(number(world, "SELECT SUM(seq) FROM events"), 1);
    expect_known(world, "01M86F6QRC0000000000000001"
                        "0"
                        "01M86F6QRC0000000000000002"
                        "0");
    assert_int_equal(number(world, "SELECT SUM(n) FROM outbox"), 2);
}

static void a_retry_before_it_is_handed_over_is_in_its_row(void **state)
{
    world_t *world = *state;
    cache_entry_t *entry = take(world, 1, 2);
    end(world, entry, 1, 1, false, true);
    apply(world);
    assert_int_equal(number(world, "SELECT due_ms FROM deliveries WHERE handler_id = 1"), 200);
    assert_int_equal(number(world, "SELECT attempts FROM deliveries WHERE handler_id = 2"), 0);
}

static void outcomes_of_rows_change_the_rows(void **state)
{
    world_t *world = *state;
    (void)take(world, 1, 3);
    apply(world);
    end(world, NULL, 1, 1, true, true);
    end(world, NULL, 1, 2, false, true);
    apply(world);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM deliveries"), 2);
    assert_int_equal(number(world, "SELECT attempts FROM deliveries WHERE handler_id = 2"), 1);
    assert_int_equal(number(world, "SELECT first_ms FROM deliveries WHERE handler_id = 2"), 100);
    end(world, NULL, 1, 2, false, true); /* again and the end in one batch */
    end(world, NULL, 1, 2, true, true);
    end(world, NULL, 1, 3, true, true);
    apply(world);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM deliveries"), 0);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM events"), 0);
}

static void a_delivery_that_custody_never_made_has_only_a_record(void **state)
{
    world_t *world = *state;
    cache_entry_t *entry = take(world, 1, 1);
    end(world, entry, 1, 50, true, false);
    apply(world);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM deliveries"), 1);
    assert_int_equal(number(world, "SELECT SUM(n) FROM outbox"), 1);
}

static void records_keep_their_order_and_numbers(void **state)
{
    world_t *world = *state;
    record_t record;
    (void)take(world, 1, 3);
    apply(world);
    for (int64_t handler = 3; handler >= 1; handler--)
        end(world, NULL, 1, handler, true, true);
    for (size_t i = 0; i < 3; i++) {
        slice_t encoded = commit_record(world->commit, &world->commit->outcomes[i]);
        assert_int_equal(codec_decode(encoded, &record_table, &record), RESULT_OK);
        assert_int_equal(record.handler_id, 3 - (int64_t)i);
        assert_int_equal(world->commit->outcomes[i].outbox_seq, i + 1);
    }
    apply(world);
    assert_int_equal(number(world, "SELECT MAX(seq) FROM outbox"), 3);
    world->commit->settle_seq = 2;
    apply(world);
    assert_int_equal(number(world, "SELECT MIN(seq) FROM outbox"), 3);
    world->commit->settle_seq = 3;
    apply(world);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM outbox"), 0);
}

static void many_records_take_few_rows(void **state)
{
    world_t *world = *state;
    (void)take(world, 1, 600);
    apply(world);
    for (int64_t handler = 1; handler <= 600; handler++)
        end(world, NULL, 1, handler, true, true);
    apply(world);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM outbox"), 3);
    assert_int_equal(number(world, "SELECT SUM(n) FROM outbox"), 600);
    assert_int_equal(number(world, "SELECT MAX(seq) FROM outbox"), 600);
    assert_int_equal(number(world, "SELECT MIN(seq - n + 1) FROM outbox"), 1);
}

static void each_source_has_a_row_of_its_ids(void **state)
{
    static const struct {
        const char *node, *id;
        int partition;
    } events[] = {{"a", "01M86F6QRC0000000000000003", 1},
                  {"a", "01M86F6QRC0000000000000001", 2},
                  {"b", "01M86F6QRC0000000000000004", 1},
                  {"a", "01M86F6QRC0000000000000002", 1}};
    world_t *world = *state;
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        event_t event = {.id = slice_of(events[i].id), .body = SLICE("{}")};
        cache_entry_t *entry = cache_put(world->cache, (int64_t)i + 1, &event, false);
        commit_custody(world->commit, entry, slice_of(events[i].node), events[i].partition, true);
        cache_unref(world->cache, entry);
    }
    apply(world);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM known"), 3);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM known WHERE node = 'a' AND partition = 1"
                                   " AND last_id LIKE '%3' AND LENGTH(ids) = 54"),
                     1);
}

static void batches_wait_for_what_ends_soon(void **state)
{
    world_t *world = *state;
    cache_entry_t *entry = take(world, 1, 3);
    commit_soon(world->commit, 3);
    end(world, entry, 1, 1, true, true);
    end(world, entry, 1, 2, false, true);
    end(world, entry, 1, 2, true, true); /* it had an outcome before */
    assert_int_equal(world->commit->soon_left, 1);
    assert_int_equal(world->commit->n_soon, 3);
}

static void low_water_of_one_batch_is_one_step(void **state)
{
    world_t *world = *state;
    ulid_t ids[2] = {{"01M86F6QRC0000000000000002"}, {"01M86F6QRC0000000000000003"}};
    (void)take(world, 1, 1);
    (void)take(world, 2, 1);
    commit_low_water(world->commit, NODE, 5, &ids[0]);
    commit_low_water(world->commit, NODE, 6, &ids[0]);
    assert_int_equal(world->commit->n_low_waters, 2);
    apply(world);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM low_water"), 2);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM known"), 1); /* one is above */
    commit_low_water(world->commit, NODE, 5, &ids[0]);
    commit_low_water(world->commit, NODE, 5, &ids[1]);
    assert_int_equal(world->commit->n_low_waters, 1);
    apply(world);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM known"), 0);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM events"), 2); /* they wait */
}

static void a_cancellation_has_a_row_until_it_is_carried_out(void **state)
{
    world_t *world = *state;
    queue_cancel_t one = {.id = 1, .handler_id = 3, .object = 9, .first_seq = 2, .last_seq = 8};
    queue_cancel_t two = {.id = 2, .handler_id = 3, .last_seq = 9};
    commit_cancel(world->commit, &one);
    commit_cancel(world->commit, &two);
    assert_false(commit_empty(world->commit));
    apply(world);
    assert_int_equal(number(world, "SELECT COUNT(*) FROM cancels"), 2);
    one.last_seq = 5;
    commit_cancel(world->commit, &one);
    commit_cancel_done(world->commit, 2);
    apply(world);
    assert_int_equal(number(world, "SELECT last_seq FROM cancels"), 5);
    assert_int_equal(number(world, "SELECT first_seq + handler_id * 10 FROM cancels"), 32);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(what_is_pending_has_rows),
        test(what_is_final_before_it_is_handed_over_needs_no_row),
        test(a_retry_before_it_is_handed_over_is_in_its_row),
        test(outcomes_of_rows_change_the_rows),
        test(a_delivery_that_custody_never_made_has_only_a_record),
        test(records_keep_their_order_and_numbers),
        test(many_records_take_few_rows),
        test(each_source_has_a_row_of_its_ids),
        test(batches_wait_for_what_ends_soon),
        test(low_water_of_one_batch_is_one_step),
        test(a_cancellation_has_a_row_until_it_is_carried_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
