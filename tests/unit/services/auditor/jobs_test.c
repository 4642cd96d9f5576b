#include "tests/support/folder.h"

#include "common/base/cleanup.h"
#include "common/db/store.h"
#include "services/auditor/jobs.h"

typedef struct {
    folder_t folder;
    store_t *store;
    db_t *db;
} world_t;

static int setup(void **state)
{
    world_t *world = calloc(1, sizeof *world);
    if (!world || folder_make(&world->folder) != 0)
        return -1;
    store_spec_t spec = {.dir = world->folder.path,
                         .name = "jobs",
                         .migrations = jobs_migrations,
                         .service = "test"};
    assert_int_equal(store_open(&spec, &world->store, NULL), RESULT_OK);
    world->db = store_db(world->store);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    world_t *world = *state;
    store_close(&world->store);
    folder_remove(&world->folder);
    free(world);
    return 0;
}

static int64_t add_job(world_t *world)
{
    job_t job = {.handler_id = 7, .status = "exhausted", .state = "running", .created_ms = 5};
    assert_int_equal(jobs_add(world->db, &job), RESULT_OK);
    return job.id;
}

static void a_job_comes_back_as_it_was(void **state)
{
    world_t *world = *state;
    job_t job = {.event_id = "E1",
                 .handler_id = 7,
                 .status = "all",
                 .since_ms = 1,
                 .until_ms = 2,
                 .until_id = 3,
                 .rate = 4,
                 .superseded = true,
                 .state = "running",
                 .total = 5,
                 .created_ms = 6};
    job_t saved;
    assert_int_equal(jobs_add(world->db, &job), RESULT_OK);
    job.sent = 10;
    job.skipped = 11;
    job.planned_id = 12;
    job.done_id = 13;
    strcpy(job.error, "why");
    assert_int_equal(jobs_save(world->db, &job), RESULT_OK);
    assert_int_equal(jobs_get(world->db, job.id, &saved), RESULT_OK);
    assert_memory_equal(&saved, &job, sizeof job);
    assert_int_equal(jobs_get(world->db, 99, &saved), RESULT_NOT_FOUND);
}

static void ids_are_never_used_again(void **state)
{
    world_t *world = *state;
    assert_int_equal(add_job(world), 1);
    assert_int_equal(add_job(world), 2);
    assert_int_equal(db_exec(world->db, "DELETE FROM job", NULL), RESULT_OK);
    assert_int_equal(add_job(world), 3);
}

static void a_job_ends_once(void **state)
{
    world_t *world = *state;
    job_t job;
    AUTO_FREE job_t *running = NULL;
    size_t n = 9;
    int64_t id = add_job(world);
    assert_int_equal(jobs_end(world->db, id, "done", 77), RESULT_OK);
    assert_int_equal(jobs_end(world->db, id, "failed", 78), RESULT_NOT_FOUND);
    assert_int_equal(jobs_get(world->db, id, &job), RESULT_OK);
    assert_string_equal(job.state, "done");
    assert_int_equal(job.ended_ms, 77);
    assert_int_equal(jobs_list(world->db, true, &running, &n), RESULT_OK);
    assert_int_equal(n, 0);
}

static void a_delivery_is_planned_once_per_job(void **state)
{
    world_t *world = *state;
    job_item_t items[8];
    int64_t replay = -1;
    size_t n;
    int64_t first = add_job(world), second = add_job(world);
    job_item_t a = {5, "E1", "E1", 7, 1}, b = {4, "R9", "E2", 7, 3},
               a_again = {6, "R1", "E1", 7, 2};
    assert_int_equal(jobs_last_replay(world->db, "E1", 7, &replay), RESULT_OK);
    assert_int_equal(replay, 0);
    assert_int_equal(jobs_add_item(world->db, first, &a), RESULT_OK);
    assert_int_equal(jobs_add_item(world->db, first, &b), RESULT_OK);
    assert_int_equal(jobs_add_item(world->db, first, &a_again), RESULT_EXISTS);
    assert_int_equal(jobs_add_item(world->db, second, &a_again), RESULT_OK);
    assert_int_equal(jobs_last_replay(world->db, "E1", 7, &replay), RESULT_OK);
    assert_int_equal(replay, 2);
    assert_int_equal(jobs_items(world->db, first, 0, items, 8, &n), RESULT_OK);
    assert_int_equal(n, 2);
    assert_memory_equal(&items[0], &b, sizeof b);
    assert_memory_equal(&items[1], &a, sizeof a);
    assert_int_equal(jobs_items(world->db, first, 4, items, 8, &n), RESULT_OK);
    assert_int_equal(n, 1);
    assert_int_equal(jobs_items(world->db, first, 0, items, 1, &n), RESULT_OK);
    assert_int_equal(n, 1);
}

static void count(void *owner, slice_t event_id)
{
    (void)event_id;
    ++*(int *)owner;
}

static void the_first_skipped_are_listed_all_are_counted(void **state)
{
    world_t *world = *state;
    int listed = 0;
    job_t job = {.id = add_job(world)};
    for (int i = 0; i < JOBS_SKIPPED_MAX + 20; i++)
        assert_int_equal(jobs_skip(world->db, &job, "E"), RESULT_OK);
    assert_int_equal(job.skipped, JOBS_SKIPPED_MAX + 20);
    assert_int_equal(jobs_skipped(world->db, job.id, count, &listed), RESULT_OK);
    assert_int_equal(listed, JOBS_SKIPPED_MAX);
}

static int64_t rows(world_t *world, const char *sql)
{
    db_stmt_t *stmt = db_stmt(world->db, sql);
    assert_int_equal(db_step(stmt), RESULT_OK);
    int64_t n = db_int(stmt, 0);
    db_reset(stmt);
    return n;
}

static void what_ended_is_pruned(void **state)
{
    world_t *world = *state;
    int64_t running = add_job(world), ended = add_job(world), late = add_job(world);
    job_t job = {.id = ended};
    job_item_t item = {5, "E1", "E1", 7, 1};
    assert_int_equal(jobs_add_item(world->db, running, &item), RESULT_OK);
    assert_int_equal(jobs_add_item(world->db, ended, &item), RESULT_OK);
    assert_int_equal(jobs_add_item(world->db, late, &item), RESULT_OK);
    assert_int_equal(jobs_skip(world->db, &job, "E"), RESULT_OK);
    assert_int_equal(jobs_end(world->db, ended, "done", 100), RESULT_OK);
    assert_int_equal(jobs_end(world->db, late, "done", 300), RESULT_OK);
    assert_int_equal(jobs_prune(world->db, 200), RESULT_OK);
    assert_int_equal(rows(world, "SELECT count(*) FROM item"), 2);
    assert_int_equal(rows(world, "SELECT count(*) FROM job"), 3);
    assert_int_equal(store_meta_set_int(world->db, "last_job", JOBS_KEPT + 3), RESULT_OK);
    assert_int_equal(jobs_prune(world->db, 200), RESULT_OK);
    assert_int_equal(rows(world, "SELECT count(*) FROM job"), 2); /* late still has an item */
    assert_int_equal(rows(world, "SELECT count(*) FROM skipped"), 0);
    assert_int_equal(jobs_prune(world->db, 400), RESULT_OK);
    assert_int_equal(rows(world, "SELECT count(*) FROM job"), 1);
    assert_int_equal(rows(world, "SELECT count(*) FROM item"), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_job_comes_back_as_it_was),
        TEST(ids_are_never_used_again),
        TEST(a_job_ends_once),
        TEST(a_delivery_is_planned_once_per_job),
        TEST(the_first_skipped_are_listed_all_are_counted),
        TEST(what_ended_is_pruned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
