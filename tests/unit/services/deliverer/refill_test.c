#include "tests/support/folder.h"

#include <sqlite3.h>

#include "services/deliverer/refill.h"

enum { OBJECT = 9, SECOND = 10 };

static bool unreadable; /* connections that only read are interrupted */

static int is_unreadable(void *db)
{
    return unreadable && sqlite3_db_readonly(db, "main") == 1;
}

static int on_open(sqlite3 *db, char **ret_error, const void *routines)
{
    (void)ret_error;
    (void)routines;
    sqlite3_progress_handler(db, 1, is_unreadable, db);
    return SQLITE_OK;
}

/* What refill needs of a deliverer. */
typedef struct {
    deliverer_t d;
    folder_t folder;
    log_t log;
    int wanted; /* on_refill */
} world_t;

static void on_refill(void *owner, int64_t handler_id, uint64_t object, int64_t after_seq)
{
    world_t *world = owner;
    world->wanted++;
    refill_want(world->d.refill, handler_id, object, after_seq);
}

static void on_release(void *owner, void *event)
{
    (void)owner;
    (void)event;
}

static void on_circuit(void *owner, int64_t handler_id, breaker_state_t state)
{
    (void)owner;
    (void)handler_id;
    (void)state;
}

static void on_row(void *owner, roster_handler_t *handler, bool released)
{
    (void)owner;
    (void)handler;
    (void)released;
}

static void on_gone(void *owner, roster_handler_t *handler)
{
    (void)owner;
    (void)handler;
}

static int set_up(void **state)
{
    static const lanes_calls_t lanes_calls = {on_refill, on_release, on_circuit};
    static const roster_calls_t roster_calls = {on_row, on_gone};
    static const settings_defaults_t defaults = {.retry = ""};
    world_t *world = calloc(1, sizeof *world);
    deliverer_t *d = &world->d;
    fault_t fault = {""};
    unreadable = false;
    world->log = (log_t){.service = "test", .level = LEVEL_ERROR};
    d->log = &world->log;
    if (folder_make(&world->folder) != 0 ||
        queue_open(world->folder.path, UINT64_MAX, &d->queue, &fault) != RESULT_OK ||
        backlog_open(d->queue, &d->backlog, &fault) != RESULT_OK ||
        roster_open(world->folder.path, &defaults, d->log, &roster_calls, world, &d->roster,
                    &fault) != RESULT_OK)
        return -1;
    d->busy = busy_new();
    d->lanes = lanes_new(100, &lanes_calls, world);
    d->refill = refill_new(d);
    for (int64_t id = 1; id <= 2; id++)
        lanes_set_handler(d->lanes,
                          &(lanes_handler_t){.id = id,
                                             .window = 10,
                                             .hold_ms = -1,
                                             .breaker = {.failures_max = 100, .probe_ms = 100}});
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    world_t *world = *state;
    deliverer_t *d = &world->d;
    refill_destroy(&d->refill);
    lanes_destroy(&d->lanes);
    busy_destroy(&d->busy);
    roster_close(&d->roster);
    backlog_close(&d->backlog);
    queue_close(&d->queue);
    folder_remove(&world->folder);
    free(world);
    return 0;
}

/* Deliveries from .. to of one lane of the handler, committed. */
static void store(world_t *world, int64_t handler_id, uint64_t object, int64_t from, int64_t to)
{
    db_t *db = queue_db(world->d.queue);
    assert_int_equal(db_begin(db), RESULT_OK);
    for (int64_t seq = from; seq <= to; seq++) {
        queue_delivery_t delivery = {.seq = seq, .handler_id = handler_id, .object = object};
        assert_int_equal(queue_put_delivery(db, &delivery), RESULT_OK);
    }
    assert_int_equal(db_commit(db), RESULT_OK);
    world->d.committed_seq = to;
    if (to > world->d.last_seq)
        world->d.last_seq = to;
}

/* A lane as it is known after a start: its head, and that there is more. */
static void restore(world_t *world, int64_t handler_id, uint64_t object, int64_t seq, int64_t count)
{
    lanes_delivery_t head = {.seq = seq, .handler_id = handler_id, .object = object};
    lanes_restore(world->d.lanes, &head, 0, count);
}

/* Starts and ends the next one; 0: there is none. */
static int64_t deliver(world_t *world)
{
    static const lanes_verdict_t delivered = {.next = LANES_FINAL, .health = LANES_HEALTHY};
    lanes_delivery_t delivery;
    if (!lanes_take(world->d.lanes, 1, &delivery))
        return 0;
    busy_set(world->d.busy, delivery.seq, delivery.handler_id, NULL); /* its row says less */
    lanes_done(world->d.lanes, &delivery, &delivered, 1);
    return delivery.seq;
}

static void assert_next(world_t *world, int64_t from, int64_t to)
{
    for (int64_t seq = from; seq <= to; seq++) {
        refill_answer(world->d.refill);
        assert_int_equal(deliver(world), seq);
    }
}

static void assert_none(world_t *world)
{
    refill_answer(world->d.refill);
    assert_int_equal(deliver(world), 0);
}

static void a_lane_goes_on_to_its_end(void **state)
{
    world_t *world = *state;
    store(world, 1, OBJECT, 1, 11);
    restore(world, 1, OBJECT, 1, 11);
    assert_next(world, 1, 11);
    assert_none(world);
}

static void what_is_final_already_is_left_out(void **state)
{
    world_t *world = *state;
    store(world, 1, OBJECT, 1, 50);
    restore(world, 1, OBJECT, 1, 50);
    for (int64_t seq = 2; seq < 50; seq++) /* more than one read gives */
        busy_set(world->d.busy, seq, 1, NULL);
    assert_next(world, 1, 1);
    assert_next(world, 50, 50);
}

static void what_is_under_way_into_the_store_is_waited_for(void **state)
{
    world_t *world = *state;
    store(world, 1, OBJECT, 1, 3);
    restore(world, 1, OBJECT, 1, 5);
    world->d.last_seq = 5;
    assert_next(world, 1, 3);
    assert_none(world);
    store(world, 1, OBJECT, 4, 5);
    assert_none(world); /* nobody looks until a commit is told */
    refill_committed(world->d.refill);
    assert_next(world, 4, 5);
}

static void a_commit_without_more_of_the_lane_answers_it(void **state)
{
    world_t *world = *state;
    store(world, 1, OBJECT, 1, 1);
    restore(world, 1, OBJECT, 1, 3);
    world->d.last_seq = 3;
    assert_next(world, 1, 1);
    assert_none(world);
    world->d.committed_seq = 3; /* what there was of it had its outcome before its commit */
    refill_committed(world->d.refill);
    assert_none(world);
    store(world, 1, OBJECT, 4, 4);
    lanes_target_t target = {1, OBJECT, 100};
    lanes_add(world->d.lanes, 4, world, &target, 1, 0, 1, NULL);
    assert_next(world, 4, 4); /* so it had its answer */
}

/* No commit comes: the lane must not wait for one. */
static void a_store_that_could_not_be_read_is_read_again(void **state)
{
    world_t *world = *state;
    deliverer_t *d = &world->d;
    store(world, 1, OBJECT, 1, 9);
    store(world, 2, SECOND, 10, 19);
    restore(world, 1, OBJECT, 1, 9);
    restore(world, 2, SECOND, 10, 10);
    refill_answer(d->refill);
    assert_int_equal(deliver(world) + deliver(world), 11);
    unreadable = true;
    for (int polls = 0; polls < 3; polls++) {
        assert_none(world);
        assert_true(d->unreadable);
        d->unreadable = false; /* the owner's next poll */
    }
    unreadable = false;
    int64_t sum = 0, seq;
    do {
        refill_answer(d->refill);
        sum += seq = deliver(world);
    } while (seq);
    assert_int_equal(sum, 44 + 135); /* 2 .. 9 and 11 .. 19 */
    assert_false(d->failed);
}

static void dropped_lanes_are_answered_with_nothing(void **state)
{
    world_t *world = *state;
    deliverer_t *d = &world->d;
    store(world, 1, OBJECT, 1, 9);
    store(world, 2, OBJECT, 10, 12);
    restore(world, 1, OBJECT, 1, 9);
    restore(world, 2, OBJECT, 10, 3);
    assert_int_equal(deliver(world) + deliver(world), 11);
    assert_int_equal(world->wanted, 2);
    lanes_drop_handler(d->lanes, 1);
    refill_drop(d->refill, 1);
    assert_next(world, 11, 12);
    store(world, 1, OBJECT, 13, 13);
    lanes_target_t target = {1, OBJECT, 100};
    lanes_add(d->lanes, 13, world, &target, 1, 0, 1, NULL);
    assert_next(world, 13, 13);
    assert_none(world);
}

static void what_waits_for_a_commit_can_be_dropped(void **state)
{
    world_t *world = *state;
    deliverer_t *d = &world->d;
    store(world, 1, OBJECT, 1, 1);
    store(world, 2, OBJECT, 2, 2);
    restore(world, 1, OBJECT, 1, 2);
    restore(world, 2, OBJECT, 2, 2);
    d->last_seq = 4;
    assert_int_equal(deliver(world) + deliver(world), 3);
    assert_none(world);
    lanes_drop_handler(d->lanes, 1);
    refill_drop(d->refill, 1);
    store(world, 1, OBJECT, 3, 3); /* cancelled by now */
    store(world, 2, OBJECT, 4, 4);
    assert_none(world); /* the other one still waits */
    refill_committed(d->refill);
    assert_next(world, 4, 4);
    assert_none(world);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        test(a_lane_goes_on_to_its_end),
        test(what_is_final_already_is_left_out),
        test(what_is_under_way_into_the_store_is_waited_for),
        test(a_commit_without_more_of_the_lane_answers_it),
        test(a_store_that_could_not_be_read_is_read_again),
        test(dropped_lanes_are_answered_with_nothing),
        test(what_waits_for_a_commit_can_be_dropped),
    };
    sqlite3_auto_extension((void (*)(void))on_open);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
