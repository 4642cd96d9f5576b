#include "tests/support/folder.h"

#include "services/deliverer/locate.h"

#define NODE SLICE("e3f1c05a9b2d4c66")

enum { OBJECT = 9, OTHER = 10, PARTITION = 5 };

/* Event 1 is in the store, 2 with the writer, 3 is collected; each for handlers 1 .. 3. */
typedef struct {
    deliverer_t d;
    folder_t folder;
} world_t;

static ulid_t id_of(int64_t seq)
{
    ulid_t id;
    snprintf(id.text, sizeof id.text, "01M86F6QRC%016lld", (long long)seq);
    return id;
}

static event_t event_of(const ulid_t *id)
{
    return (event_t){.id = slice_of(id->text),
                     .events_id = SLICE("clients.update"),
                     .object_kind = SLICE("client"),
                     .body = SLICE("{}")};
}

static queue_delivery_t delivery_of(int64_t seq, int64_t handler)
{
    return (queue_delivery_t){.seq = seq, .handler_id = handler, .object = OBJECT, .attempts = seq};
}

static void store(world_t *world, int64_t seq)
{
    db_t *db = queue_db(world->d.queue);
    ulid_t id = id_of(seq), none = {""};
    event_t event = event_of(&id);
    assert_int_equal(db_begin(db), RESULT_OK);
    assert_int_equal(queue_put_event(db, seq, &event, NODE, PARTITION), RESULT_OK);
    for (int64_t handler = 1; handler <= 3; handler++) {
        queue_delivery_t delivery = delivery_of(seq, handler);
        assert_int_equal(queue_put_delivery(db, &delivery), RESULT_OK);
    }
    assert_int_equal(db_commit(db), RESULT_OK);
    (void)custody_raise(world->d.custody, NODE, PARTITION, &none);
}

static void collect(world_t *world, commit_t *commit, int64_t seq)
{
    ulid_t id = id_of(seq);
    event_t event = event_of(&id);
    cache_entry_t *entry = cache_put(world->d.cache, seq, &event, false);
    commit_custody(commit, entry, NODE, PARTITION, false);
    for (int64_t handler = 1; handler <= 3; handler++) {
        queue_delivery_t delivery = delivery_of(seq, handler);
        commit_delivery(commit, &delivery);
    }
    cache_unref(world->d.cache, entry);
}

static int set_up(void **state)
{
    world_t *world = calloc(1, sizeof *world);
    deliverer_t *d = &world->d;
    fault_t fault = {""};
    if (folder_make(&world->folder) != 0 ||
        queue_open(world->folder.path, UINT64_MAX, &d->queue, &fault) != RESULT_OK ||
        backlog_open(d->queue, &d->backlog, &fault) != RESULT_OK)
        return -1;
    d->cache = cache_new(0);
    d->custody = custody_new();
    d->busy = busy_new();
    d->running = commit_new();
    d->next = commit_new();
    store(world, 1);
    d->committed_seq = 1;
    collect(world, d->running, 2);
    collect(world, d->next, 3);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    world_t *world = *state;
    deliverer_t *d = &world->d;
    commit_destroy(&d->running, d->cache);
    commit_destroy(&d->next, d->cache);
    busy_destroy(&d->busy);
    custody_destroy(&d->custody);
    cache_destroy(&d->cache);
    backlog_close(&d->backlog);
    queue_close(&d->queue);
    folder_remove(&world->folder);
    free(world);
    return 0;
}

static locate_event_t find(world_t *world, int64_t seq)
{
    ulid_t id = id_of(seq);
    locate_event_t event;
    assert_int_equal(locate_event(&world->d, slice_of(id.text), &event), RESULT_OK);
    assert_int_equal(event.seq, seq);
    return event;
}

static void an_event_is_found_wherever_it_is(void **state)
{
    world_t *world = *state;
    ulid_t id = id_of(4);
    locate_event_t event;
    assert_null(find(world, 1).entry);
    assert_ptr_equal(find(world, 2).commit, world->d.running);
    assert_ptr_equal(find(world, 3).commit, world->d.next);
    assert_int_equal(locate_event(&world->d, slice_of(id.text), &event), RESULT_NOT_FOUND);
    commit_destroy(&world->d.running, world->d.cache); /* the writer has nothing */
    id = id_of(2);
    assert_int_equal(locate_event(&world->d, slice_of(id.text), &event), RESULT_NOT_FOUND);
}

static void its_handlers_are_those_that_it_has_to_reach(void **state)
{
    world_t *world = *state;
    db_t *db = queue_db(world->d.queue);
    assert_int_equal(db_begin(db), RESULT_OK);
    assert_int_equal(queue_finish(db, 1, 2), RESULT_OK);
    assert_int_equal(db_commit(db), RESULT_OK);
    world->d.running->deliveries[1].handler_id = 0; /* had its outcome before its commit */
    world->d.next->deliveries[1].handler_id = 0;
    for (int64_t seq = 1; seq <= 3; seq++) {
        locate_event_t event = find(world, seq);
        int64_t ids[LOCATE_HANDLERS_MAX];
        size_t n = 0;
        assert_int_equal(locate_handlers(&world->d, &event, ids, &n), RESULT_OK);
        assert_int_equal(n, 2);
        assert_int_equal(ids[0], 1);
        assert_int_equal(ids[1], 3);
    }
}

static void a_delivery_is_found_until_it_is_final(void **state)
{
    world_t *world = *state;
    for (int64_t seq = 1; seq <= 3; seq++) {
        locate_event_t event = find(world, seq);
        queue_delivery_t delivery;
        int64_t before = -1;
        assert_int_equal(locate_delivery(&world->d, &event, 2, &delivery, &before), RESULT_OK);
        assert_int_equal(delivery.handler_id, 2);
        assert_int_equal(delivery.attempts, seq);
        assert_int_equal(before, 0);
        assert_int_equal(locate_delivery(&world->d, &event, 4, &delivery, &before),
                         RESULT_NOT_FOUND);
        busy_set(world->d.busy, seq, 2, world); /* in flight */
        assert_int_equal(locate_delivery(&world->d, &event, 2, &delivery, &before), RESULT_OK);
        busy_set(world->d.busy, seq, 2, NULL); /* final, which is not committed yet */
        assert_int_equal(locate_delivery(&world->d, &event, 2, &delivery, &before),
                         RESULT_NOT_FOUND);
    }
}

static void what_comes_before_it_is_counted(void **state)
{
    world_t *world = *state;
    queue_delivery_t delivery;
    int64_t before = -1;
    store(world, 8);
    store(world, 9);
    locate_event_t event = find(world, 9);
    assert_int_equal(locate_delivery(&world->d, &event, 1, &delivery, &before), RESULT_OK);
    assert_int_equal(before, 2);
}

static void a_lane_is_counted_over_store_and_commits(void **state)
{
    world_t *world = *state;
    int64_t count = -1;
    assert_int_equal(locate_lane_count(&world->d, 1, OBJECT, &count), RESULT_OK);
    assert_int_equal(count, 3);
    assert_int_equal(locate_lane_count(&world->d, 1, OTHER, &count), RESULT_OK);
    assert_int_equal(count, 0);
    assert_int_equal(locate_lane_count(&world->d, 4, OBJECT, &count), RESULT_OK);
    assert_int_equal(count, 0);
    store(world, 2); /* committed, which the loop has not heard of yet */
    assert_int_equal(locate_lane_count(&world->d, 1, OBJECT, &count), RESULT_OK);
    assert_int_equal(count, 3);
    world->d.running->deliveries[0].handler_id = 0;
    assert_int_equal(locate_lane_count(&world->d, 1, OBJECT, &count), RESULT_OK);
    assert_int_equal(count, 2);
}

static void names_of_deliveries_are_read(void **state)
{
    static const struct {
        const char *name, *text;
        int64_t handler_id; /* -1: refused */
    } cases[] = {
        {"one", "01M86F6QRC0000000000000001-7", 7},
        {"the longest", "01M86F6QRC0000000000000001-999999999999999999", 999999999999999999},
        {"too long", "01M86F6QRC0000000000000001-9999999999999999999", -1},
        {"no handler", "01M86F6QRC0000000000000001-", -1},
        {"only an event", "01M86F6QRC0000000000000001", -1},
        {"another separator", "01M86F6QRC0000000000000001_7", -1},
        {"not a number", "01M86F6QRC0000000000000001-7x", -1},
        {"a sign", "01M86F6QRC0000000000000001--7", -1},
        {"no id", "01M86F6QRC000000000000000!-7", -1},
        {"nothing", "", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        slice_t event_id = {0};
        int64_t handler_id = -1;
        result_t r = locate_parse(slice_of(cases[i].text), &event_id, &handler_id);
        if ((r == RESULT_OK) != (cases[i].handler_id >= 0) || handler_id != cases[i].handler_id)
            fail_msg("%s: %s, handler %lld", cases[i].name, result_str(r), (long long)handler_id);
        if (r == RESULT_OK)
            assert_true(slice_is(event_id, "01M86F6QRC0000000000000001"));
    }
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        test(an_event_is_found_wherever_it_is),
        test(its_handlers_are_those_that_it_has_to_reach),
        test(a_delivery_is_found_until_it_is_final),
        test(what_comes_before_it_is_counted),
        test(a_lane_is_counted_over_store_and_commits),
        cmocka_unit_test(names_of_deliveries_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
