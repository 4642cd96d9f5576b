#include "tests/support/folder.h"
#include "common/base/cleanup.h"
#include "common/base/crash.h"
#include "common/base/mem.h"
#include "common/db/store.h"

#include <errno.h>

#define AUTO_STORE __attribute__((cleanup(store_close))) store_t

static const char *const one[] = {"CREATE TABLE t (id ${key}, v TEXT)", NULL};
static const char *const three[] = {
    "CREATE TABLE t (id ${key}, v TEXT)",
    "ALTER TABLE t ADD COLUMN w TEXT; INSERT INTO t (id, v, w) VALUES (1, 'a', 'b')",
    "CREATE TABLE u (id ${key})",
    NULL,
};
static const char *const broken[] = {
    "CREATE TABLE t (id ${key}, v TEXT)",
    "CREATE TABLE u (id ${key}); INSERT INTO u (id) VALUES (1); INSERT INTO u (id) VALUES (1)",
    NULL,
};

static result_t try_open(const char *dir, const char *const *migrations, bool shared,
                         store_t **ret_store, fault_t *fault)
{
    const store_spec_t spec = {.dir = dir,
                               .name = "journal",
                               .service = "emitter",
                               .migrations = migrations,
                               .shared = shared};
    return store_open(&spec, ret_store, fault);
}

static store_t *open_store(const char *dir, const char *const *migrations)
{
    store_t *store = NULL;
    fault_t fault = {""};
    result_t r = try_open(dir, migrations, false, &store, &fault);
    if (r != RESULT_OK)
        print_error("%s\n", fault.text);
    assert_int_equal(r, RESULT_OK);
    return store;
}

static int64_t number(store_t *store, const char *sql)
{
    db_stmt_t *stmt = db_stmt(store_db(store), sql);
    assert_int_equal(db_step(stmt), RESULT_OK);
    int64_t value = db_int(stmt, 0);
    db_reset(stmt);
    return value;
}

static int64_t tables(store_t *store)
{
    return number(store, "SELECT count(*) FROM sqlite_master WHERE name IN ('t', 'u')");
}

static int64_t version(store_t *store)
{
    int64_t value = -1;
    assert_int_equal(store_meta_int(store_db(store), "version", &value), RESULT_OK);
    return value;
}

static void a_new_store_is_private(void **state)
{
    mode_t before = umask(0);
    AUTO_STORE *store = open_store(folder_file(*state, "a/b"), one);
    umask(before);
    assert_int_equal(folder_file_mode(*state, "a"), 0700);
    assert_int_equal(folder_file_mode(*state, "a/b"), 0700);
    assert_int_equal(folder_file_mode(*state, "a/b/journal.db"), 0600);
    assert_int_equal(folder_file_mode(*state, "a/b/journal.db-wal"), 0600);
    assert_int_equal(folder_file_mode(*state, "a/b/journal.lock"), 0600);
    assert_string_equal(store_path(store), folder_file(*state, "a/b/journal.db"));
}

static void a_strict_umask_does_not_shut_us_out(void **state)
{
    mode_t before = umask(0777);
    AUTO_STORE *store = open_store(folder_file(*state, "a/b/"), one);
    assert_int_equal(version(store), 1);
    umask(before);
    assert_int_equal(folder_file_mode(*state, "a/b"), 0700);
    assert_int_equal(folder_file_mode(*state, "a/b/journal.db"), 0600);
}

static void an_existing_folder_keeps_its_mode(void **state)
{
    assert_int_equal(mkdir(folder_file(*state, "mine"), 0750), 0);
    chmod(folder_file(*state, "mine"), 0750);
    AUTO_STORE *store = open_store(folder_file(*state, "mine"), one);
    assert_int_equal(version(store), 1);
    assert_int_equal(folder_file_mode(*state, "mine"), 0750);
}

static void a_folder_that_cannot_be_is_said(void **state)
{
    char endless[5000];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = 0;
    int fd = open(folder_file(*state, "file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    const struct {
        const char *dir;
        result_t expected;
        const char *text;
    } cases[] = {
        {folder_file(*state, "file"), RESULT_IO, "cannot make the folder"},
        {folder_file(*state, "file/sub"), RESULT_IO, "cannot make the folder"},
        {"", RESULT_INVALID, "folder's name"},
        {endless, RESULT_INVALID, "folder's name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        store_t *store = NULL;
        fault_t fault = {""};
        result_t r = try_open(cases[i].dir, one, false, &store, &fault);
        if (r != cases[i].expected || !strstr(fault.text, cases[i].text) || store)
            fail_msg("case %zu: %s, \"%s\"", i, result_str(r), fault.text);
    }
}

static void the_node_is_chosen_once(void **state)
{
    store_t *store = open_store(folder_file(*state, "a"), one);
    AUTO_BUF node = {0};
    assert_int_equal(strlen(store_node(store)), 16);
    assert_int_equal(strspn(store_node(store), "0123456789abcdef"), 16);
    buf_add_str(&node, store_node(store));
    store_close(&store);
    AUTO_STORE *again = open_store(folder_file(*state, "a"), three);
    assert_string_equal(store_node(again), node.data);
    AUTO_STORE *other = open_store(folder_file(*state, "b"), one);
    assert_string_not_equal(store_node(other), node.data);
}

/* A child that owns the store until its pipe is closed or it is killed. */
typedef struct {
    pid_t pid;
    int release;
} owner_t;

static owner_t start_owner(const char *dir)
{
    int ready[2], release[2];
    assert_int_equal(pipe(ready) | pipe(release), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char c;
        close(ready[0]);
        close(release[1]);
        store_t *store = open_store(dir, one);
        ssize_t size = write(ready[1], "r", 1);
        size += read(release[0], &c, 1);
        store_close(&store);
        _exit(size == 1 ? 0 : 1);
    }
    char c;
    close(ready[1]);
    close(release[0]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    return (owner_t){pid, release[1]};
}

static int end_owner(owner_t *owner, bool kill_it)
{
    int status;
    if (kill_it)
        kill(owner->pid, SIGKILL);
    close(owner->release);
    assert_int_equal(waitpid(owner->pid, &status, 0), owner->pid);
    return status;
}

static void the_second_owner_hears_who_the_first_is(void **state)
{
    const char *dir = folder_file(*state, "a");
    char expected[FOLDER_SIZE * 2];
    for (int kill_it = 0; kill_it < 2; kill_it++) {
        owner_t owner = start_owner(dir);
        store_t *store = NULL;
        fault_t fault = {""};
        assert_int_equal(try_open(dir, one, false, &store, &fault), RESULT_LOCKED);
        assert_null(store);
        snprintf(expected, sizeof expected,
                 "journal.db in %s is in use by provisor-emitter (pid %d); stop it or choose "
                 "another --data",
                 dir, (int)owner.pid);
        assert_string_equal(fault.text, expected);
        end_owner(&owner, kill_it);
        store = open_store(dir, one);
        store_close(&store);
    }
}

static void one_process_is_one_owner_too(void **state)
{
    AUTO_STORE *store = open_store(folder_file(*state, "a"), one);
    store_t *second = NULL;
    fault_t fault;
    assert_int_equal(version(store), 1);
    assert_int_equal(try_open(folder_file(*state, "a"), one, false, &second, &fault),
                     RESULT_LOCKED);
}

static void a_lock_without_text_is_still_a_lock(void **state)
{
    const char *dir = folder_file(*state, "a");
    owner_t owner = start_owner(dir);
    assert_int_equal(truncate(folder_file(*state, "a/journal.lock"), 0), 0);
    store_t *store = NULL;
    fault_t fault;
    assert_int_equal(try_open(dir, one, false, &store, &fault), RESULT_LOCKED);
    assert_non_null(strstr(fault.text, "another process"));
    assert_int_equal(end_owner(&owner, false), 0);
}

static void migrations_are_applied_once_and_in_order(void **state)
{
    const char *dir = folder_file(*state, "a");
    store_t *store = open_store(dir, one);
    assert_int_equal(version(store), 1);
    assert_int_equal(db_exec(store_db(store), "INSERT INTO t (id, v) VALUES (9, 'kept')", NULL),
                     RESULT_OK);
    store_close(&store);
    for (int i = 0; i < 3; i++) {
        store = open_store(dir, three);
        assert_int_equal(version(store), 3);
        assert_int_equal(tables(store), 2);
        assert_int_equal(number(store, "SELECT count(*) FROM t"), 2);
        store_close(&store);
    }
}

static void a_newer_store_is_refused_untouched(void **state)
{
    const char *dir = folder_file(*state, "a");
    store_t *store = open_store(dir, three);
    store_close(&store);
    fault_t fault;
    assert_int_equal(try_open(dir, one, false, &store, &fault), RESULT_VERSION);
    assert_non_null(strstr(fault.text, "has version 3, written by a newer provisor"));
    assert_non_null(strstr(fault.text, "knows up to version 1"));
    /* and the lock is free again */
    store = open_store(dir, three);
    assert_int_equal(version(store), 3);
    store_close(&store);
}

static void a_failing_migration_leaves_nothing(void **state)
{
    const char *dir = folder_file(*state, "a");
    store_t *store = NULL;
    fault_t fault;
    assert_int_equal(try_open(dir, broken, false, &store, &fault), RESULT_EXISTS);
    assert_non_null(strstr(fault.text, "UNIQUE"));
    store = open_store(dir, one);
    assert_int_equal(version(store), 1);
    assert_int_equal(tables(store), 1);
    store_close(&store);
}

static void migrate_and_crash(void *argument)
{
    folder_hush();
    crash_init();
    store_t *store = open_store(argument, three);
    store_close(&store);
}

static void a_crash_in_a_migration_repeats_it(void **state)
{
    static const struct {
        const char *point;
        int64_t left_version;
    } cases[] = {
        {"store.migrating:1", 0},
        {"store.migrating:2", 1},
        {"store.migrating:3", 2},
    };
    for (size_t i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i)};
        const char *dir = folder_file(*state, name);
        setenv("PROVISOR_CRASH", cases[i].point, 1);
        int status = folder_in_child(migrate_and_crash, (void *)dir);
        unsetenv("PROVISOR_CRASH");
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

        static const char *const none[] = {NULL};
        store_t *store = NULL;
        fault_t fault;
        /* What the file's version is now: one that knows none tells. */
        result_t r = try_open(dir, none, false, &store, &fault);
        assert_int_equal(r, cases[i].left_version ? RESULT_VERSION : RESULT_OK);
        if (store)
            assert_int_equal(tables(store), 0);
        store_close(&store);

        store = open_store(dir, three);
        assert_int_equal(version(store), 3);
        assert_int_equal(number(store, "SELECT count(*) FROM t"), 1);
        store_close(&store);
    }
}

static void commit_and_die(void *argument)
{
    store_t *store = open_store(argument, one);
    db_t *db = store_db(store);
    assert_int_equal(db_begin(db), RESULT_OK);
    assert_int_equal(db_exec(db, "INSERT INTO t (id, v) VALUES (7, 'x')", NULL), RESULT_OK);
    assert_int_equal(db_commit(db), RESULT_OK);
    _exit(0);
}

/* The file alone, without its WAL. */
static void copy_file(const char *from_path, const char *to_path)
{
    char bytes[65536];
    size_t size;
    FILE *from = fopen(from_path, "rb"), *to = fopen(to_path, "wb");
    assert_non_null(from);
    assert_non_null(to);
    while ((size = fread(bytes, 1, sizeof bytes, from)) > 0)
        assert_int_equal(fwrite(bytes, 1, size, to), size);
    fclose(from);
    fclose(to);
}

/* Its WAL may never have been synced, and what is read from it is acted upon from now on. */
static void what_a_killed_owner_wrote_is_on_the_disk_before_the_next_one_acts(void **state)
{
    const char *dir = folder_file(*state, "s");
    AUTO_FREE char *file = mem_strdup(folder_file(*state, "s/journal.db"));
    AUTO_FREE char *copy = mem_strdup(folder_file(*state, "copy.db"));
    assert_int_equal(folder_in_child(commit_and_die, (void *)dir), 0);
    store_t *store = open_store(dir, one);
    copy_file(file, copy);
    store_close(&store);

    db_t *db = NULL;
    fault_t fault = {""};
    assert_int_equal(db_open(copy, DB_WRITE, &db, &fault), RESULT_OK);
    db_stmt_t *stmt = db_stmt(db, "SELECT id FROM t");
    assert_int_equal(db_step(stmt), RESULT_OK);
    assert_int_equal(db_int(stmt, 0), 7);
    db_reset(stmt);
    db_close(&db);
}

enum { SHARERS = 4, ROUNDS = 15 };

/* Opens the shared store at the same moment as the others, and counts itself in it. */
static void share(const char *dir, int start)
{
    char c;
    fault_t fault = {""};
    store_t *store = NULL;
    while (read(start, &c, 1) > 0)
        ;
    if (try_open(dir, three, true, &store, &fault) != RESULT_OK) {
        print_error("%s\n", fault.text);
        _exit(1);
    }
    int64_t opened = 0;
    db_t *db = store_db(store);
    result_t r = db_begin(db);
    r = r == RESULT_OK ? store_meta_int(db, "opened", &opened) : r;
    r = r == RESULT_OK ? store_meta_set_int(db, "opened", opened + 1) : r;
    r = r == RESULT_OK ? db_commit(db) : r;
    store_close(&store);
    _exit(r == RESULT_OK ? 0 : 2);
}

/* What another process that makes it leaves for a moment; of one owner it is a loss. */
static void an_empty_file_with_a_wal_is_told_but_where_it_is_shared(void **state)
{
    static const char *const files[] = {"d/journal.db", "d/journal.db-wal"};
    assert_int_equal(mkdir(folder_file(*state, "d"), 0700), 0);
    for (int i = 0; i < 2; i++) {
        FILE *file = fopen(folder_file(*state, files[i]), "w");
        assert_non_null(file);
        assert_int_equal(fwrite("wal", 1, i ? 3 : 0, file), i ? 3 : 0);
        fclose(file);
    }
    AUTO_STORE *store = NULL;
    fault_t fault = {""};
    const char *dir = folder_file(*state, "d");
    assert_int_equal(try_open(dir, one, false, &store, &fault), RESULT_CORRUPT);
    assert_non_null(strstr(fault.text, "is empty, but"));
    assert_int_equal(try_open(dir, one, true, &store, &fault), RESULT_OK);
}

static void a_shared_store_is_migrated_once_by_many(void **state)
{
    for (int round = 0; round < ROUNDS; round++) {
        char name[16], lock[32];
        snprintf(name, sizeof name, "r%d", round);
        snprintf(lock, sizeof lock, "%s/journal.lock", name);
        const char *dir = folder_file(*state, name);
        int start[2];
        pid_t pids[SHARERS];
        assert_int_equal(pipe(start), 0);
        fflush(NULL);
        for (int i = 0; i < SHARERS; i++) {
            pids[i] = fork();
            if (pids[i] == 0) {
                close(start[1]);
                share(dir, start[0]);
            }
        }
        close(start[0]);
        close(start[1]); /* go */
        for (int i = 0; i < SHARERS; i++) {
            int status;
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_int_equal(status, 0);
        }
        store_t *store = NULL;
        int64_t opened = 0;
        assert_int_equal(try_open(dir, three, true, &store, NULL), RESULT_OK);
        assert_int_equal(version(store), 3);
        assert_int_equal(number(store, "SELECT count(*) FROM t"), 1);
        assert_int_equal(store_meta_int(store_db(store), "opened", &opened), RESULT_OK);
        assert_int_equal(opened, SHARERS);
        store_close(&store);
        assert_int_equal(folder_file_size(*state, lock), -1);
    }
}

static void meta_keeps_numbers_and_texts(void **state)
{
    static const int64_t numbers[] = {0, 1, -1, INT64_MAX, INT64_MIN};
    AUTO_STORE *store = open_store(folder_file(*state, "a"), one);
    db_t *db = store_db(store);
    int64_t value = 7;
    AUTO_BUF text = {0};
    assert_int_equal(store_meta_int(db, "n", &value), RESULT_OK);
    assert_int_equal(value, 0);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_int_equal(store_meta_set_int(db, "n", numbers[i]), RESULT_OK);
        assert_int_equal(store_meta_int(db, "n", &value), RESULT_OK);
        assert_true(value == numbers[i]);
    }
    buf_add_str(&text, "old");
    assert_int_equal(store_meta_text(db, "t", &text), RESULT_NOT_FOUND);
    assert_string_equal(text.data, "old");
    assert_int_equal(store_meta_set_text(db, "t", SLICE("new")), RESULT_OK);
    assert_int_equal(store_meta_text(db, "t", &text), RESULT_OK);
    assert_string_equal(text.data, "new");
}

static void meta_is_part_of_the_transaction(void **state)
{
    AUTO_STORE *store = open_store(folder_file(*state, "a"), one);
    db_t *db = store_db(store);
    int64_t value = 0;
    assert_int_equal(store_meta_set_int(db, "n", 1), RESULT_OK);
    assert_int_equal(db_begin(db), RESULT_OK);
    assert_int_equal(store_meta_set_int(db, "n", 2), RESULT_OK);
    db_rollback(db);
    assert_int_equal(store_meta_int(db, "n", &value), RESULT_OK);
    assert_int_equal(value, 1);
}

static void a_reader_reads_only(void **state)
{
    AUTO_STORE *store = open_store(folder_file(*state, "a"), one);
    __attribute__((cleanup(db_close))) db_t *reader = NULL;
    int64_t value = 0;
    assert_int_equal(store_reader(store, &reader, NULL), RESULT_OK);
    assert_int_equal(store_meta_set_int(store_db(store), "n", 5), RESULT_OK);
    assert_int_equal(store_meta_int(reader, "n", &value), RESULT_OK);
    assert_int_equal(value, 5);
    assert_int_not_equal(store_meta_set_int(reader, "n", 6), RESULT_OK);
}

static void open_on_a_full_disk(void *state)
{
    folder_t *folder = state;
    if (!folder_mount_small(folder, "512k"))
        _exit(77);
    store_t *store = NULL;
    fault_t fault = {""};
    folder_fill(folder);
    assert_int_equal(try_open(folder->path, three, false, &store, &fault), RESULT_FULL);
    assert_null(store);
    folder_make_room(folder);
    store = open_store(folder->path, three);
    assert_int_equal(version(store), 3);
    store_close(&store);
}

static void a_full_disk_stops_the_start_as_full(void **state)
{
    int status = folder_in_child(open_on_a_full_disk, *state);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_new_store_is_private),
        test(a_strict_umask_does_not_shut_us_out),
        test(an_existing_folder_keeps_its_mode),
        test(a_folder_that_cannot_be_is_said),
        test(the_node_is_chosen_once),
        test(the_second_owner_hears_who_the_first_is),
        test(one_process_is_one_owner_too),
        test(a_lock_without_text_is_still_a_lock),
        test(migrations_are_applied_once_and_in_order),
        test(a_newer_store_is_refused_untouched),
        test(a_failing_migration_leaves_nothing),
        test(a_crash_in_a_migration_repeats_it),
        test(what_a_killed_owner_wrote_is_on_the_disk_before_the_next_one_acts),
        test(an_empty_file_with_a_wal_is_told_but_where_it_is_shared),
        test(a_shared_store_is_migrated_once_by_many),
        test(meta_keeps_numbers_and_texts),
        test(meta_is_part_of_the_transaction),
        test(a_reader_reads_only),
        test(a_full_disk_stops_the_start_as_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
