#include "tests/support/folder.h"
#include "common/base/clk.h"
#include "common/base/crash.h"
#include "common/base/mem.h"
#include "common/db/store.h"
#include "common/db/writer.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>

enum { DEADLINE_MS = 20000 };

/* In place of the C library's, for sqlite too: a disk whose fsync fails. */
static int sync_errno;

int fdatasync(int fd)
{
    int failure = __atomic_load_n(&sync_errno, __ATOMIC_RELAXED);
    if (failure) {
        errno = failure;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return fdatasync(fd);
}

/* Rows first .. first + n - 1 of size bytes; those that are there are written over. */
typedef struct {
    int64_t first, n;
    size_t size;
} batch_t;

/* The owner of a writer, and what it was told, in order: d done, F full, f not full, ! failed. */
typedef struct {
    folder_t folder;
    store_t *store;
    zloop_t *loop;
    writer_t *writer;
    db_t *reader;
    char told[64];
    void *last_done;
    result_t failed;
    char failed_text[256];
    int64_t seen_at_done; /* rows that another connection saw when done was called */
    batch_t *next;        /* submitted by done */
    batch_t *again;       /* submitted by each done, with the rows after it */

    /* What apply does. */
    int applied; /* how often; read by the loop's thread only after done */
    int fail_first;
    result_t fail_with;
    sem_t *gate; /* waits for it */
    bool stays_full;
    pthread_t applied_by;
    sigset_t applied_mask;
} bed_t;

static const char *const migrations[] = {"CREATE TABLE t (id ${key}, v BLOB)", NULL};

static int64_t rows(bed_t *bed)
{
    db_stmt_t *stmt = db_stmt(bed->reader, "SELECT count(*) FROM t");
    assert_int_equal(db_step(stmt), RESULT_OK);
    int64_t n = db_int(stmt, 0);
    db_reset(stmt);
    return n;
}

static result_t apply(void *owner, db_t *db, void *argument, fault_t *fault)
{
    (void)fault;
    bed_t *bed = owner;
    const batch_t *batch = argument;
    char bytes[65536];
    memset(bytes, bed->applied, sizeof bytes); /* what is the same is not written over */
    if (bed->gate)
        sem_wait(bed->gate);
    bed->applied_by = pthread_self();
    pthread_sigmask(SIG_SETMASK, NULL, &bed->applied_mask);
    for (int64_t i = 0; i < batch->n; i++) {
        db_stmt_t *stmt = db_stmt(db, "INSERT INTO t (id, v) VALUES ($1, $2)"
                                      " ON CONFLICT (id) DO UPDATE SET v = excluded.v");
        db_bind_int(stmt, 1, batch->first + i);
        db_bind_blob(stmt, 2, (slice_t){bytes, batch->size});
        result_t r = db_run(stmt);
        if (r != RESULT_OK)
            return r;
    }
    return bed->applied++ < bed->fail_first ? bed->fail_with : RESULT_OK;
}

static void tell(bed_t *bed, char what)
{
    size_t used = strlen(bed->told);
    assert_true(used + 1 < sizeof bed->told);
    bed->told[used] = what;
}

static void on_done(void *owner, void *batch)
{
    bed_t *bed = owner;
    tell(bed, 'd');
    bed->last_done = batch;
    bed->seen_at_done = rows(bed);
    if (bed->again) {
        bed->told[0] = 0;
        bed->again->first += bed->again->n;
        writer_submit(bed->writer, bed->again);
    }
    if (bed->next) {
        assert_true(writer_idle(bed->writer));
        batch_t *next = bed->next;
        bed->next = NULL;
        writer_submit(bed->writer, next);
    }
}

static void on_full(void *owner, const char *why)
{
    bed_t *bed = owner;
    tell(bed, why ? 'F' : 'f');
    if (why && !bed->stays_full && folder_file_size(&bed->folder, "filler") > 0)
        folder_make_room(&bed->folder);
}

static void on_failed(void *owner, result_t result, const char *text)
{
    bed_t *bed = owner;
    tell(bed, '!');
    bed->failed = result;
    snprintf(bed->failed_text, sizeof bed->failed_text, "%s", text);
}

static const writer_calls_t calls = {apply, on_done, on_full, on_failed};

static void bed_open(bed_t *bed)
{
    const store_spec_t spec = {
        .dir = bed->folder.path, .name = "t", .service = "test", .migrations = migrations};
    fault_t fault = {""};
    if (store_open(&spec, &bed->store, &fault) != RESULT_OK)
        fail_msg("%s", fault.text);
    assert_int_equal(store_reader(bed->store, &bed->reader, NULL), RESULT_OK);
    bed->loop = zloop_new();
    bed->writer = writer_new(bed->loop, store_db(bed->store), &calls, bed);
}

static void bed_close(bed_t *bed)
{
    writer_destroy(&bed->writer);
    zloop_destroy(&bed->loop);
    db_close(&bed->reader);
    store_close(&bed->store);
}

static int setup(void **state)
{
    bed_t *bed = MEM_NEW(bed_t);
    *state = bed;
    if (folder_make(&bed->folder) != 0)
        return -1;
    zsys_handler_set(NULL);
    bed_open(bed);
    return 0;
}

static int teardown(void **state)
{
    bed_t *bed = *state;
    bed_close(bed);
    int code = folder_remove(&bed->folder);
    free(bed);
    return code;
}

typedef bool(state_fn)(bed_t *bed);

typedef struct {
    bed_t *bed;
    state_fn *reached;
    int64_t deadline_ms;
} wait_t;

static int look(zloop_t *loop, int timer, void *argument)
{
    (void)loop, (void)timer;
    wait_t *wait = argument;
    return wait->reached(wait->bed) || clk_mono_ms() > wait->deadline_ms ? -1 : 0;
}

/* Runs the loop until the state is reached. */
static void run_until(bed_t *bed, state_fn *reached)
{
    wait_t wait = {bed, reached, clk_mono_ms() + DEADLINE_MS};
    int timer = zloop_timer(bed->loop, 1, 0, look, &wait);
    zloop_start(bed->loop);
    zloop_timer_end(bed->loop, timer);
    assert_true(reached(bed));
}

static bool is_idle(bed_t *bed)
{
    return writer_idle(bed->writer);
}

static bool has_failed(bed_t *bed)
{
    return strchr(bed->told, '!') != NULL;
}

static bool is_full(bed_t *bed)
{
    return strchr(bed->told, 'F') != NULL;
}

static void a_batch_is_committed_before_done(void **state)
{
    bed_t *bed = *state;
    batch_t batch = {1, 3, 10};
    assert_true(writer_idle(bed->writer));
    writer_submit(bed->writer, &batch);
    assert_false(writer_idle(bed->writer));
    run_until(bed, is_idle);
    assert_string_equal(bed->told, "d");
    assert_ptr_equal(bed->last_done, &batch);
    assert_int_equal(bed->seen_at_done, 3);
}

static void batches_are_committed_on_a_thread_that_sees_no_signals(void **state)
{
    bed_t *bed = *state;
    sigset_t here;
    batch_t batch = {1, 1, 10};
    writer_submit(bed->writer, &batch);
    run_until(bed, is_idle);
    assert_false(pthread_equal(bed->applied_by, pthread_self()));
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1, SIGPIPE};
    pthread_sigmask(SIG_SETMASK, NULL, &here);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        assert_int_equal(sigismember(&bed->applied_mask, signals[i]), 1);
        assert_int_equal(sigismember(&here, signals[i]), 0);
    }
}

static void done_may_submit_the_next_one(void **state)
{
    bed_t *bed = *state;
    batch_t first = {1, 1, 10}, second = {2, 1, 10};
    bed->next = &second;
    writer_submit(bed->writer, &first);
    run_until(bed, is_idle);
    assert_string_equal(bed->told, "dd");
    assert_ptr_equal(bed->last_done, &second);
    assert_int_equal(rows(bed), 2);
}

/* The owner as in writer.h: what arrives while a commit runs goes with the next one. */
static void what_arrives_during_a_commit_shares_the_next_one(void **state)
{
    bed_t *bed = *state;
    sem_t gate;
    sem_init(&gate, 0, 0);
    bed->gate = &gate;
    batch_t first = {1, 1, 10}, next = {2, 0, 10};
    writer_submit(bed->writer, &first);
    for (int i = 0; i < 99; i++) {
        assert_false(writer_idle(bed->writer));
        next.n++;
    }
    bed->next = &next;
    sem_post(&gate);
    sem_post(&gate);
    run_until(bed, is_idle);
    assert_int_equal(bed->applied, 2);
    assert_int_equal(rows(bed), 100);
    sem_destroy(&gate);
}

static void a_full_disk_is_waited_out(void **state)
{
    bed_t *bed = *state;
    batch_t batch = {1, 3, 10};
    bed->fail_first = 1;
    bed->fail_with = RESULT_FULL;
    writer_submit(bed->writer, &batch);
    run_until(bed, is_full);
    assert_string_equal(bed->told, "F");
    assert_false(writer_idle(bed->writer));
    assert_int_equal(rows(bed), 0); /* rolled back */
    run_until(bed, is_idle);
    assert_string_equal(bed->told, "Ffd");
    assert_int_equal(bed->applied, 2);
    assert_int_equal(rows(bed), 3);
}

static void a_busy_store_is_waited_out_silently(void **state)
{
    bed_t *bed = *state;
    batch_t batch = {1, 3, 10};
    bed->fail_first = 1;
    bed->fail_with = RESULT_AGAIN;
    writer_submit(bed->writer, &batch);
    run_until(bed, is_idle);
    assert_string_equal(bed->told, "d");
    assert_int_equal(bed->applied, 2);
}

/* The file system is full and on_full makes room. */
static void fill_and_wait(void *argument)
{
    bed_t *bed = argument;
    bed->store = NULL;
    if (!folder_mount_small(&bed->folder, "1m"))
        _exit(77);
    bed_open(bed);
    batch_t first = {1, 1, 10}, second = {2, 8, 65536};
    writer_submit(bed->writer, &first);
    run_until(bed, is_idle);
    folder_fill(&bed->folder);
    writer_submit(bed->writer, &second);
    run_until(bed, is_idle);
    assert_string_equal(bed->told, "dFfd");
    assert_int_equal(rows(bed), 9);
    bed_close(bed);
}

static void in_child(bed_t *bed, void (*body)(void *))
{
    bed_close(bed);
    int status = folder_in_child(body, bed);
    bed_open(bed);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

static void a_really_full_disk_is_waited_out(void **state)
{
    in_child(*state, fill_and_wait);
}

static bool is_moved(bed_t *bed)
{
    return folder_file_size(&bed->folder, "t.db") >= 8 * 65536;
}

/* The file has its pages, and the WAL as much: with these the same rows can be written for ever. */
static void fill_and_write_over(void *argument)
{
    bed_t *bed = argument;
    bed->store = NULL;
    bed->stays_full = true;
    if (!folder_mount_small(&bed->folder, "4m"))
        _exit(77);
    bed_open(bed);
    batch_t batch = {1, 8, 65536};
    writer_submit(bed->writer, &batch);
    run_until(bed, is_moved);
    writer_submit(bed->writer, &batch);
    run_until(bed, is_idle);
    folder_fill(&bed->folder);
    writer_submit(bed->writer, &batch);
    run_until(bed, is_idle);
    assert_string_equal(bed->told, "ddFfd");
    bed_close(bed);
}

static void a_full_disk_is_no_end_of_writing_over(void **state)
{
    in_child(*state, fill_and_write_over);
}

static void the_end_does_not_wait_for_room(void **state)
{
    bed_t *bed = *state;
    batch_t batch = {1, 3, 10};
    bed->fail_first = INT_MAX;
    bed->fail_with = RESULT_FULL;
    writer_submit(bed->writer, &batch);
    run_until(bed, is_full);
    writer_destroy(&bed->writer); /* there is never room */
    assert_int_equal(rows(bed), 0);
    assert_string_equal(bed->told, "F");
}

static void the_end_waits_for_the_commit(void **state)
{
    bed_t *bed = *state;
    batch_t batch = {1, 500, 1000};
    writer_submit(bed->writer, &batch);
    writer_destroy(&bed->writer);
    assert_null(bed->writer);
    assert_string_equal(bed->told, "");
    assert_int_equal(rows(bed), 500);
    writer_destroy(&bed->writer); /* harmless */
}

static void any_other_failure_is_the_end(void **state)
{
    static const result_t results[] = {RESULT_IO, RESULT_EXISTS, RESULT_INVALID};
    bed_t *bed = *state;
    for (size_t i = 0; i < 3; i++) {
        batch_t batch = {1, 1, 10};
        bed->fail_first = INT_MAX;
        bed->fail_with = results[i];
        memset(bed->told, 0, sizeof bed->told);
        writer_submit(bed->writer, &batch);
        run_until(bed, has_failed);
        assert_string_equal(bed->told, "!");
        assert_int_equal(bed->failed, results[i]);
        assert_false(writer_idle(bed->writer));
        assert_int_equal(writer_wait(bed->writer, 0), results[i]);
        assert_string_equal(bed->told, "!"); /* told once */
        assert_int_equal(rows(bed), 0);
        bed_close(bed);
        bed_open(bed);
    }
}

static void a_failed_fsync_is_the_end(void **state)
{
    bed_t *bed = *state;
    batch_t batch = {1, 1, 10};
    __atomic_store_n(&sync_errno, EIO, __ATOMIC_RELAXED);
    writer_submit(bed->writer, &batch);
    run_until(bed, has_failed);
    __atomic_store_n(&sync_errno, 0, __ATOMIC_RELAXED);
    assert_string_equal(bed->told, "!");
    assert_int_equal(bed->failed, RESULT_IO);
    assert_non_null(strstr(bed->failed_text, "I/O error"));
}

static void waiting_calls_done(void **state)
{
    bed_t *bed = *state;
    batch_t batch = {1, 3, 10};
    assert_int_equal(writer_wait(bed->writer, 1000), RESULT_OK); /* nothing to wait for */
    assert_string_equal(bed->told, "");
    writer_submit(bed->writer, &batch);
    assert_int_equal(writer_wait(bed->writer, DEADLINE_MS), RESULT_OK);
    assert_string_equal(bed->told, "d");
    assert_true(writer_idle(bed->writer));
    /* The loop finds nothing more to tell. */
    batch_t second = {10, 1, 10};
    writer_submit(bed->writer, &second);
    run_until(bed, is_idle);
    assert_string_equal(bed->told, "dd");
}

static void waiting_ends_after_its_time(void **state)
{
    bed_t *bed = *state;
    sem_t gate;
    sem_init(&gate, 0, 0);
    bed->gate = &gate;
    batch_t batch = {1, 3, 10};
    writer_submit(bed->writer, &batch);
    assert_int_equal(writer_wait(bed->writer, 0), RESULT_TIMEOUT);
    assert_int_equal(writer_wait(bed->writer, 20), RESULT_TIMEOUT);
    assert_string_equal(bed->told, "");
    sem_post(&gate);
    assert_int_equal(writer_wait(bed->writer, DEADLINE_MS), RESULT_OK);
    assert_string_equal(bed->told, "d");
    sem_destroy(&gate);
}

static bool file_has_grown(bed_t *bed)
{
    return folder_file_size(&bed->folder, "t.db") > 5000000;
}

static bool file_is_there(bed_t *bed)
{
    return folder_file_size(&bed->folder, "t.db") > 100000;
}

/* Under load, too: the writer is never idle here. */
static void a_long_wal_is_checkpointed_after_done(void **state)
{
    bed_t *bed = *state;
    batch_t batch = {1, 300, 60000}, more = {1000, 1, 10}; /* the first is long enough alone */
    bed->again = &more;
    writer_submit(bed->writer, &batch);
    run_until(bed, file_has_grown);
    bed->again = NULL;
    assert_int_equal(writer_wait(bed->writer, DEADLINE_MS), RESULT_OK);
}

static void a_short_wal_is_checkpointed_when_idle(void **state)
{
    bed_t *bed = *state;
    batch_t batch = {1, 4, 60000};
    writer_submit(bed->writer, &batch);
    run_until(bed, is_idle);
    assert_false(file_is_there(bed));
    run_until(bed, file_is_there);
}

static bool file_has_shrunk(bed_t *bed)
{
    off_t size = folder_file_size(&bed->folder, "t.db");
    return size > 0 && size < 20 * 1048576;
}

static void room_is_given_back_when_idle(void **state)
{
    bed_t *bed = *state;
    batch_t batch = {1, 500, 60000};
    writer_submit(bed->writer, &batch);
    assert_int_equal(writer_wait(bed->writer, DEADLINE_MS), RESULT_OK);
    writer_destroy(&bed->writer);
    assert_int_equal(db_exec(store_db(bed->store), "DELETE FROM t", NULL), RESULT_OK);
    assert_int_equal(db_checkpoint(store_db(bed->store)), RESULT_OK);
    assert_true(folder_file_size(&bed->folder, "t.db") > 30000000);
    bed->writer = writer_new(bed->loop, store_db(bed->store), &calls, bed);
    run_until(bed, file_has_shrunk);
    assert_int_equal(rows(bed), 0);
}

static void commit_and_crash(void *argument)
{
    bed_t *bed = argument;
    folder_hush();
    crash_init();
    bed_open(bed);
    batch_t batch = {1, 3, 10};
    writer_submit(bed->writer, &batch);
    (void)!writer_wait(bed->writer, DEADLINE_MS);
}

static void a_crash_before_the_commit_leaves_nothing_and_after_it_all(void **state)
{
    static const struct {
        const char *point;
        int64_t left;
    } cases[] = {
        {"writer.before_commit", 0},
        {"writer.committed", 3},
    };
    bed_t *bed = *state;
    for (size_t i = 0; i < 2; i++) {
        bed_close(bed);
        setenv("PROVISOR_CRASH", cases[i].point, 1);
        int status = folder_in_child(commit_and_crash, bed);
        unsetenv("PROVISOR_CRASH");
        bed_open(bed);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(rows(bed), cases[i].left);
    }
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_batch_is_committed_before_done),
        test(batches_are_committed_on_a_thread_that_sees_no_signals),
        test(done_may_submit_the_next_one),
        test(what_arrives_during_a_commit_shares_the_next_one),
        test(a_full_disk_is_waited_out),
        test(a_busy_store_is_waited_out_silently),
        test(a_really_full_disk_is_waited_out),
        test(a_full_disk_is_no_end_of_writing_over),
        test(the_end_does_not_wait_for_room),
        test(the_end_waits_for_the_commit),
        test(any_other_failure_is_the_end),
        test(a_failed_fsync_is_the_end),
        test(waiting_calls_done),
        test(waiting_ends_after_its_time),
        test(a_long_wal_is_checkpointed_after_done),
        test(a_short_wal_is_checkpointed_when_idle),
        test(room_is_given_back_when_idle),
        test(a_crash_before_the_commit_leaves_nothing_and_after_it_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
