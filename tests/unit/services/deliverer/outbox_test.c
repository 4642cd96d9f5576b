/* The publisher is played: it has as much room as a test says, and remembers what it was told. */
#include "tests/support/folder.h"
#include "common/base/cleanup.h"
#include "common/wire/codec.h"
#include "services/deliverer/outbox.h"

struct audit_publisher_t {
    int64_t room;
    int64_t number;
    int64_t origins[256]; /* by number */
};

bool audit_room(const audit_publisher_t *audit)
{
    return audit->room > 0;
}

int64_t audit_add(audit_publisher_t *audit, const record_t *record)
{
    assert_true(audit->room-- > 0);
    audit->origins[++audit->number] = record->origin;
    return audit->number;
}

typedef struct {
    queue_t *queue;
    backlog_t *backlog;
    audit_publisher_t audit;
    outbox_t *outbox;
} world_t;

static int setup(void **state)
{
    fault_t fault = {""};
    if (folder_setup(state) != 0)
        return -1;
    world_t *world = calloc(1, sizeof *world);
    const folder_t *folder = *state;
    if (queue_open(folder->path, UINT64_MAX, &world->queue, &fault) != RESULT_OK ||
        backlog_open(world->queue, &world->backlog, &fault) != RESULT_OK)
        return -1;
    world->outbox = outbox_new(world->backlog, 0, 0, 0);
    (void)folder_remove(folder); /* open stores work without their names */
    free(*state);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    world_t *world = *state;
    outbox_destroy(&world->outbox);
    backlog_close(&world->backlog);
    queue_close(&world->queue);
    free(world);
    return 0;
}

/* Commits the next n records, in one row, and says so. */
static void commit(world_t *world, int n)
{
    db_t *db = queue_db(world->queue);
    AUTO_BUF encoded = {0}, records = {0};
    record_t record = {.topic = SLICE("delivery.delivered"), .at_ms = 1};
    int64_t seq = 0;
    codec_add(&record_table, &record, &encoded);
    for (int i = 0; i < n; i++) {
        seq = outbox_next_seq(world->outbox);
        buf_add_slice(&records, buf_slice(&encoded));
    }
    assert_int_equal(db_begin(db), RESULT_OK);
    if (n)
        assert_int_equal(queue_put_outbox(db, seq, n, buf_slice(&records)), RESULT_OK);
    assert_int_equal(db_commit(db), RESULT_OK);
    for (int i = n; i-- > 0;)
        outbox_committed(world->outbox, seq - i, buf_slice(&encoded));
}

/* Everything told so far came in order and once. */
static void assert_told(const world_t *world, int64_t first_seq, int64_t n)
{
    assert_int_equal(world->audit.number, n);
    for (int64_t i = 1; i <= n; i++)
        assert_int_equal(world->audit.origins[i], first_seq + i - 1);
}

static void nothing_is_told_without_a_publisher(void **state)
{
    world_t *world = *state;
    commit(world, 3);
    assert_int_equal(outbox_pump(world->outbox), RESULT_OK);
    assert_int_equal(outbox_size(world->outbox), 3);
    world->audit.room = 10;
    outbox_set_audit(world->outbox, &world->audit);
    commit(world, 1); /* not before those in the store */
    assert_told(world, 1, 0);
    assert_int_equal(outbox_pump(world->outbox), RESULT_OK);
    assert_told(world, 1, 4);
    commit(world, 1);
    assert_told(world, 1, 5);
}

static void what_has_no_room_waits_in_the_store(void **state)
{
    world_t *world = *state;
    outbox_set_audit(world->outbox, &world->audit);
    world->audit.room = 2;
    commit(world, 5);
    assert_told(world, 1, 2);
    world->audit.room = 1;
    commit(world, 1); /* there is room, but it is not its turn */
    assert_told(world, 1, 2);
    assert_int_equal(outbox_pump(world->outbox), RESULT_OK);
    assert_told(world, 1, 3);
    world->audit.room = 100;
    assert_int_equal(outbox_pump(world->outbox), RESULT_OK);
    assert_int_equal(outbox_pump(world->outbox), RESULT_OK);
    assert_told(world, 1, 6);
}

static void marks_settle_what_they_pass(void **state)
{
    world_t *world = *state;
    outbox_set_audit(world->outbox, &world->audit);
    world->audit.number = 40; /* numbers of the publisher and of the outbox are two things */
    world->audit.room = 100;
    commit(world, 10);
    assert_int_equal(outbox_marked(world->outbox, 40), 0);
    assert_int_equal(outbox_marked(world->outbox, 43), 3);
    assert_int_equal(outbox_marked(world->outbox, 43), 0);
    assert_int_equal(outbox_size(world->outbox), 7);
    commit(world, 90);
    assert_int_equal(outbox_marked(world->outbox, 1000), 100);
    assert_int_equal(outbox_size(world->outbox), 0);
    commit(world, 0);
}

static void after_a_restart_all_rows_are_told_again(void **state)
{
    world_t *world = *state;
    commit(world, 5);
    outbox_destroy(&world->outbox);
    world->outbox = outbox_new(world->backlog, 3, 5, 9); /* 1 and 2 were settled, 6 to 9 as well */
    outbox_set_audit(world->outbox, &world->audit);
    world->audit.room = 100;
    assert_int_equal(outbox_size(world->outbox), 7);
    assert_int_equal(outbox_pump(world->outbox), RESULT_OK);
    assert_told(world, 3, 3);
    assert_int_equal(outbox_next_seq(world->outbox), 10);
}

/* A backup's copy has moved its counter on, far above its rows. */
static void a_restored_copy_has_only_its_rows_to_tell(void **state)
{
    world_t *world = *state;
    commit(world, 5);
    outbox_destroy(&world->outbox);
    world->outbox = outbox_new(world->backlog, 1, 5, 1000);
    outbox_set_audit(world->outbox, &world->audit);
    world->audit.room = 100;
    assert_int_equal(outbox_pump(world->outbox), RESULT_OK);
    assert_told(world, 1, 5);
    assert_int_equal(outbox_marked(world->outbox, 5), 1000);
    assert_int_equal(outbox_size(world->outbox), 0);
    commit(world, 1);
    assert_int_equal(world->audit.origins[6], 1001);
    assert_int_equal(outbox_size(world->outbox), 1);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(nothing_is_told_without_a_publisher),
        test(what_has_no_room_waits_in_the_store),
        test(marks_settle_what_they_pass),
        test(after_a_restart_all_rows_are_told_again),
        test(a_restored_copy_has_only_its_rows_to_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
