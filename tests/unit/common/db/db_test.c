#include "tests/support/folder.h"
#include "common/base/cleanup.h"
#include "common/db/db.h"

#include <errno.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define AUTO_DB __attribute__((cleanup(db_close))) db_t

/* Which system call of the store fails next, and how. 0: none. */
static struct {
    int write_errno;
    int sync_errno;
} broken;

static ssize_t breaking_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (broken.write_errno) {
        errno = broken.write_errno;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, size, offset);
}

/* In place of the C library's, for sqlite too. */
int fdatasync(int fd)
{
    if (broken.sync_errno) {
        errno = broken.sync_errno;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return fdatasync(fd);
}

static void set_pwrite(bool breaking)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    sqlite3_syscall_ptr call = breaking ? (sqlite3_syscall_ptr)breaking_pwrite : NULL;
    vfs->xSetSystemCall(vfs, "pwrite", call);
    vfs->xSetSystemCall(vfs, "pwrite64", call);
}

static db_t *open_db(const folder_t *folder, db_mode_t mode)
{
    db_t *db = NULL;
    fault_t fault = {""};
    result_t r = db_open(folder_file(folder, "t.db"), mode, &db, &fault);
    if (r != RESULT_OK)
        print_error("%s\n", fault.text);
    assert_int_equal(r, RESULT_OK);
    return db;
}

static db_t *open_table(const folder_t *folder)
{
    db_t *db = open_db(folder, DB_WRITE);
    assert_int_equal(db_exec(db, "CREATE TABLE t (id ${key}, v TEXT)", NULL), RESULT_OK);
    return db;
}

static result_t insert(db_t *db, int64_t id, slice_t value)
{
    db_stmt_t *stmt = db_stmt(db, "INSERT INTO t (id, v) VALUES ($1, $2)");
    db_bind_int(stmt, 1, id);
    db_bind_blob(stmt, 2, value);
    return db_run(stmt);
}

static int64_t number(db_t *db, const char *sql)
{
    db_stmt_t *stmt = db_stmt(db, sql);
    assert_int_equal(db_step(stmt), RESULT_OK);
    int64_t value = db_int(stmt, 0);
    db_reset(stmt);
    return value;
}

static int64_t count(db_t *db)
{
    return number(db, "SELECT count(*) FROM t");
}

/* A transaction with so many rows of so many zero bytes, ids from first. */
static result_t insert_many(db_t *db, int64_t first, int64_t n, size_t size)
{
    AUTO_FREE char *zeros = calloc(1, size);
    result_t r = db_begin(db);
    for (int64_t i = 0; i < n && r == RESULT_OK; i++)
        r = insert(db, first + i, (slice_t){zeros, size});
    if (r == RESULT_OK)
        r = db_commit(db);
    if (r != RESULT_OK)
        db_rollback(db);
    return r;
}

static void a_missing_file_is_made_for_writing_only(void **state)
{
    db_t *db = NULL;
    fault_t fault;
    const char *path = folder_file(*state, "t.db");
    assert_int_equal(db_open(path, DB_READ, &db, &fault), RESULT_NOT_FOUND);
    assert_non_null(strstr(fault.text, "t.db does not exist"));
    assert_null(db);
    AUTO_DB *made = open_table(*state);
    assert_int_equal(count(made), 0);
    AUTO_DB *reader = open_db(*state, DB_READ);
    assert_int_equal(count(reader), 0);
    assert_int_not_equal(insert(reader, 1, SLICE("x")), RESULT_OK);
}

static void files_have_mode_0600_whatever_the_umask(void **state)
{
    static const mode_t umasks[] = {0, 022, 0777};
    for (size_t i = 0; i < 3; i++) {
        mode_t before = umask(umasks[i]);
        AUTO_DB *db = open_table(*state);
        assert_int_equal(insert(db, 1, SLICE("x")), RESULT_OK);
        umask(before);
        assert_int_equal(folder_file_mode(*state, "t.db"), 0600);
        assert_int_equal(folder_file_mode(*state, "t.db-wal"), 0600);
        assert_int_equal(folder_file_mode(*state, "t.db-shm"), 0600);
        db_close(&db);
        assert_int_equal(unlink(folder_file(*state, "t.db")), 0);
    }
}

static void an_existing_file_is_closed_to_others(void **state)
{
    db_t *db = open_table(*state);
    db_close(&db);
    chmod(folder_file(*state, "t.db"), 0644);
    db = open_db(*state, DB_WRITE);
    db_close(&db);
    assert_int_equal(folder_file_mode(*state, "t.db"), 0600);
}

static void settings_are_the_promised_ones(void **state)
{
    AUTO_DB *db = open_table(*state);
    assert_int_equal(number(db, "PRAGMA synchronous"), 2);
    assert_int_equal(number(db, "PRAGMA wal_autocheckpoint"), 0);
    assert_int_equal(number(db, "PRAGMA auto_vacuum"), 2);
    assert_int_equal(number(db, "PRAGMA foreign_keys"), 0);
    assert_int_equal(number(db, "PRAGMA busy_timeout"), 5000);
    db_stmt_t *stmt = db_stmt(db, "PRAGMA journal_mode");
    assert_int_equal(db_step(stmt), RESULT_OK);
    assert_true(slice_is(db_slice(stmt, 0), "wal"));
    db_reset(stmt);
}

static void opening_again_writes_nothing(void **state)
{
    db_t *db = open_table(*state);
    db_close(&db);
    AUTO_DB *watcher = open_db(*state, DB_READ);
    int64_t before = 0, after = 0;
    assert_int_equal(db_data_version(watcher, &before), RESULT_OK);
    AUTO_DB *again = open_db(*state, DB_WRITE);
    assert_non_null(again);
    assert_int_equal(db_data_version(watcher, &after), RESULT_OK);
    assert_int_equal(before, after);
    assert_int_equal(folder_file_size(*state, "t.db-wal"), 0);
}

static void values_come_back_as_they_were(void **state)
{
    static const struct {
        const char *name;
        slice_t value;
    } cases[] = {
        {"text", {"abc", 3}},           {"empty", {"", 0}},      {"zero byte", {"a\0b", 3}},
        {"not UTF-8", {"\xff\xfe", 2}}, {"digits", {"0012", 4}}, {"absent = NULL", {NULL, 0}},
    };
    AUTO_DB *db = open_db(*state, DB_WRITE);
    assert_int_equal(db_exec(db, "CREATE TABLE v (a TEXT, b BLOB, i BIGINT)", NULL), RESULT_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t big = i % 2 ? INT64_MAX : INT64_MIN;
        db_stmt_t *stmt = db_stmt(db, "INSERT INTO v (a, b, i) VALUES ($1, $2, $3)");
        db_bind_text(stmt, 1, cases[i].value);
        db_bind_blob(stmt, 2, cases[i].value);
        db_bind_int(stmt, 3, big);
        assert_int_equal(db_run(stmt), RESULT_OK);
        stmt = db_stmt(db, "SELECT a, b, i, a IS NULL FROM v");
        assert_int_equal(db_step(stmt), RESULT_OK);
        for (int column = 0; column < 2; column++) {
            slice_t got = db_slice(stmt, column);
            if (!slice_equal(got, cases[i].value) || !got.data != !cases[i].value.data)
                fail_msg("%s: column %d holds \"%.*s\"", cases[i].name, column, SLICE_ARG(got));
        }
        assert_true(db_int(stmt, 2) == big);
        assert_int_equal(db_int(stmt, 3), !cases[i].value.data);
        db_reset(stmt);
        assert_int_equal(db_exec(db, "DELETE FROM v", NULL), RESULT_OK);
    }
}

static void a_number_can_be_read_as_text(void **state)
{
    AUTO_DB *db = open_db(*state, DB_WRITE);
    db_stmt_t *stmt = db_stmt(db, "SELECT 12, NULL");
    assert_int_equal(db_step(stmt), RESULT_OK);
    assert_true(slice_is(db_slice(stmt, 0), "12"));
    assert_int_equal(db_int(stmt, 1), 0);
    db_reset(stmt);
}

static void the_same_text_gives_the_same_statement(void **state)
{
    AUTO_DB *db = open_table(*state);
    char text[64] = "SELECT count(*) FROM t WHERE id = $1";
    db_stmt_t *first = db_stmt(db, "SELECT count(*) FROM t WHERE id = $1");
    db_stmt_t *second = db_stmt(db, text);
    assert_ptr_equal(first, second);
    assert_ptr_equal(db_stmt(db, text), first);
    /* The same memory with another text is another statement. */
    snprintf(text, sizeof text, "SELECT count(*) FROM t WHERE id > $1");
    db_stmt_t *other = db_stmt(db, text);
    assert_ptr_not_equal(other, first);
    snprintf(text, sizeof text, "SELECT count(*) FROM t WHERE id = $1");
    assert_ptr_equal(db_stmt(db, text), first);
}

static void many_texts_find_their_statements(void **state)
{
    enum { TEXTS = 200 }; /* more than the cache of addresses has places */
    static char texts[TEXTS][32];
    AUTO_DB *db = open_table(*state);
    db_stmt_t *statements[TEXTS];
    for (int i = 0; i < TEXTS; i++) {
        snprintf(texts[i], sizeof texts[i], "SELECT %d", i);
        statements[i] = db_stmt(db, texts[i]);
    }
    for (int i = 0; i < TEXTS; i++) {
        assert_ptr_equal(db_stmt(db, texts[i]), statements[i]);
        assert_int_equal(number(db, texts[i]), i);
    }
}

static void a_statement_comes_back_reset_and_unbound(void **state)
{
    AUTO_DB *db = open_table(*state);
    static const char sql[] = "SELECT $1";
    db_stmt_t *stmt = db_stmt(db, sql);
    db_bind_int(stmt, 1, 5);
    assert_int_equal(db_step(stmt), RESULT_OK);
    stmt = db_stmt(db, sql); /* in the middle of reading */
    assert_int_equal(db_step(stmt), RESULT_OK);
    assert_null(db_slice(stmt, 0).data);
    assert_int_equal(db_step(stmt), RESULT_NOT_FOUND);
    assert_int_equal(db_step(stmt), RESULT_OK); /* it was reset: from the start again */
    db_reset(stmt);
}

static void parameters_count_by_number_not_by_place(void **state)
{
    AUTO_DB *db = open_db(*state, DB_WRITE);
    db_stmt_t *stmt = db_stmt(db, "SELECT $3, $1, $2, $1");
    for (int i = 1; i <= 3; i++)
        db_bind_int(stmt, i, i);
    assert_int_equal(db_step(stmt), RESULT_OK);
    assert_int_equal(db_int(stmt, 0), 3);
    assert_int_equal(db_int(stmt, 1), 1);
    assert_int_equal(db_int(stmt, 2), 2);
    assert_int_equal(db_int(stmt, 3), 1);
}

static void a_constraint_is_exists(void **state)
{
    AUTO_DB *db = open_table(*state);
    assert_int_equal(insert(db, 1, SLICE("a")), RESULT_OK);
    assert_int_equal(db_changes(db), 1);
    assert_int_equal(insert(db, 1, SLICE("b")), RESULT_EXISTS);
    assert_non_null(strstr(db_error(db), "UNIQUE"));
    assert_int_equal(db_exec(db, "DELETE FROM t", NULL), RESULT_OK);
    assert_int_equal(count(db), 0);
}

static void ddl_says_what_is_wrong(void **state)
{
    AUTO_DB *db = open_table(*state);
    fault_t fault;
    assert_int_equal(db_exec(db, "CREATE TABLE (", &fault), RESULT_INVALID);
    assert_non_null(strstr(fault.text, "t.db: "));
    assert_non_null(strstr(fault.text, "syntax error"));
    assert_int_equal(
        db_exec(db, "CREATE TABLE c (k TEXT NOT NULL PRIMARY KEY) ${clustered}", &fault),
        RESULT_OK);
    db_stmt_t *stmt = db_stmt(db, "SELECT sql FROM sqlite_master WHERE name = 'c'");
    assert_int_equal(db_step(stmt), RESULT_OK);
    assert_non_null(strstr(db_slice(stmt, 0).data, "WITHOUT ROWID"));
    db_reset(stmt);
}

static void use_wrong_sql(void *state)
{
    folder_hush();
    signal(SIGABRT, SIG_DFL);
    (void)db_stmt(open_db(state, DB_WRITE), "SELECT nothing FROM nowhere");
}

static void wrong_sql_panics(void **state)
{
    int status = folder_in_child(use_wrong_sql, *state);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void a_rollback_undoes_and_keeps_the_cause(void **state)
{
    AUTO_DB *db = open_table(*state);
    db_rollback(db); /* harmless */
    assert_int_equal(db_begin(db), RESULT_OK);
    assert_int_equal(insert(db, 1, SLICE("a")), RESULT_OK);
    assert_int_equal(insert(db, 1, SLICE("a")), RESULT_EXISTS);
    db_rollback(db);
    assert_non_null(strstr(db_error(db), "UNIQUE"));
    assert_int_equal(count(db), 0);
    assert_int_equal(insert_many(db, 1, 3, 10), RESULT_OK);
    assert_int_equal(count(db), 3);
}

static void a_reader_sees_one_state_until_it_ends(void **state)
{
    AUTO_DB *db = open_table(*state);
    AUTO_DB *reader = open_db(*state, DB_READ);
    assert_int_equal(db_begin(reader), RESULT_OK);
    assert_int_equal(count(reader), 0);
    assert_int_equal(insert(db, 1, SLICE("a")), RESULT_OK);
    assert_int_equal(count(reader), 0);
    assert_int_equal(db_commit(reader), RESULT_OK);
    assert_int_equal(count(reader), 1);
}

static void data_version_changes_with_commits_of_others(void **state)
{
    AUTO_DB *db = open_table(*state);
    AUTO_DB *other = open_db(*state, DB_WRITE);
    int64_t first = 0, again = 0, own = 0, others = 0;
    assert_int_equal(db_data_version(db, &first), RESULT_OK);
    assert_int_equal(db_data_version(db, &again), RESULT_OK);
    assert_int_equal(first, again);
    assert_int_equal(insert(db, 1, SLICE("a")), RESULT_OK);
    assert_int_equal(db_data_version(db, &own), RESULT_OK);
    assert_int_equal(first, own);
    assert_int_equal(insert(other, 2, SLICE("a")), RESULT_OK);
    assert_int_equal(db_data_version(db, &others), RESULT_OK);
    assert_int_not_equal(first, others);
}

static void a_busy_store_is_again(void **state)
{
    AUTO_DB *db = open_table(*state);
    AUTO_DB *other = open_db(*state, DB_WRITE);
    assert_int_equal(db_exec(other, "PRAGMA busy_timeout = 1", NULL), RESULT_OK);
    assert_int_equal(db_begin(db), RESULT_OK);
    assert_int_equal(db_begin(other), RESULT_AGAIN);
    assert_int_equal(insert(other, 1, SLICE("x")), RESULT_AGAIN);
    assert_int_equal(db_commit(db), RESULT_OK);
    assert_int_equal(insert(other, 1, SLICE("x")), RESULT_OK);
}

static void the_wal_grows_until_the_checkpoint(void **state)
{
    AUTO_DB *db = open_table(*state);
    assert_int_equal(insert_many(db, 1, 2000, 4000), RESULT_OK);
    assert_true(db_wal_bytes(db) > 8000000);
    assert_true(folder_file_size(*state, "t.db") < 100000);
    assert_int_equal(db_size_bytes(db), folder_file_size(*state, "t.db") +
                                            folder_file_size(*state, "t.db-wal") +
                                            folder_file_size(*state, "t.db-shm"));
    assert_int_equal(db_checkpoint(db), RESULT_OK);
    assert_int_equal(db_wal_bytes(db), 0);
    assert_true(folder_file_size(*state, "t.db") > 8000000);
    /* The WAL begins again from its start. */
    assert_int_equal(insert_many(db, 5000, 1, 100), RESULT_OK);
    assert_true(db_wal_bytes(db) > 0 && db_wal_bytes(db) < 100000);
}

static void a_checkpoint_goes_as_far_as_readers_allow(void **state)
{
    AUTO_DB *db = open_table(*state);
    assert_int_equal(db_checkpoint(db), RESULT_OK);
    assert_int_equal(insert_many(db, 1, 10, 100), RESULT_OK);
    AUTO_DB *reader = open_db(*state, DB_READ);
    assert_int_equal(db_begin(reader), RESULT_OK);
    assert_int_equal(count(reader), 10);
    assert_int_equal(insert_many(db, 100, 100, 4000), RESULT_OK);
    assert_int_equal(db_checkpoint(db), RESULT_OK);
    assert_true(db_wal_bytes(db) >= 400000);
    assert_int_equal(count(reader), 10);
    assert_int_equal(db_commit(reader), RESULT_OK);
    assert_int_equal(db_checkpoint(db), RESULT_OK);
    assert_int_equal(db_wal_bytes(db), 0);
}

static void what_a_killed_process_left_counts_as_wal(void **state)
{
    db_t *db = open_table(*state);
    AUTO_DB *reader = open_db(*state, DB_READ); /* keeps the WAL when the writer closes */
    assert_int_equal(count(reader), 0);
    assert_int_equal(insert_many(db, 1, 100, 4000), RESULT_OK);
    db_close(&db);
    AUTO_DB *again = open_db(*state, DB_WRITE);
    assert_true(db_wal_bytes(again) >= 400000);
}

static void a_big_wal_is_cut_back(void **state)
{
    AUTO_DB *db = open_table(*state);
    assert_int_equal(insert_many(db, 1, 10000, 4000), RESULT_OK);
    assert_true(folder_file_size(*state, "t.db-wal") > 30000000);
    assert_int_equal(db_checkpoint(db), RESULT_OK);
    assert_int_equal(insert_many(db, 20000, 1, 10), RESULT_OK);
    assert_true(folder_file_size(*state, "t.db-wal") < 17000000);
}

static void room_of_deleted_rows_is_given_back(void **state)
{
    AUTO_DB *db = open_table(*state);
    int64_t free_bytes = -1;
    assert_int_equal(insert_many(db, 1, 2000, 4000), RESULT_OK);
    assert_int_equal(db_free_bytes(db, &free_bytes), RESULT_OK);
    assert_int_equal(free_bytes, 0);
    assert_int_equal(db_exec(db, "DELETE FROM t WHERE id > 10", NULL), RESULT_OK);
    assert_int_equal(db_free_bytes(db, &free_bytes), RESULT_OK);
    assert_true(free_bytes > 7000000);
    int64_t before = free_bytes;
    assert_int_equal(db_shrink(db, 1048576), RESULT_OK);
    assert_int_equal(db_free_bytes(db, &free_bytes), RESULT_OK);
    assert_in_range(before - free_bytes, 1000000, 1100000);
    while (free_bytes > 0) {
        before = free_bytes;
        assert_int_equal(db_shrink(db, 1048576), RESULT_OK);
        assert_int_equal(db_free_bytes(db, &free_bytes), RESULT_OK);
        assert_true(free_bytes < before);
    }
    assert_int_equal(db_checkpoint(db), RESULT_OK);
    assert_true(folder_file_size(*state, "t.db") < 200000);
    assert_int_equal(count(db), 10);
}

static void limited_pages_are_full(void **state)
{
    AUTO_DB *db = open_table(*state);
    assert_int_equal(number(db, "PRAGMA max_page_count = 20"), 20);
    assert_int_equal(insert_many(db, 1, 100, 4000), RESULT_FULL);
    assert_int_equal(count(db), 0);
    assert_int_equal(insert_many(db, 1, 3, 4000), RESULT_OK);
}

static void fill_up(void *state)
{
    folder_t *folder = state;
    if (!folder_mount_small(folder, "1m"))
        _exit(77);
    AUTO_DB *db = open_table(folder);
    assert_int_equal(insert_many(db, 1, 10, 1000), RESULT_OK);
    folder_fill(folder);
    assert_int_equal(insert_many(db, 100, 100, 4000), RESULT_FULL);
    assert_non_null(strstr(db_error(db), "full"));
    assert_int_equal(insert_many(db, 100, 100, 4000), RESULT_FULL);
    assert_int_equal(count(db), 10);
    folder_make_room(folder);
    assert_int_equal(insert_many(db, 100, 20, 4000), RESULT_OK);
    assert_int_equal(count(db), 30);
    /* The file cannot take what the WAL holds: nothing is lost by that. */
    folder_fill(folder);
    assert_int_equal(db_checkpoint(db), RESULT_FULL);
    assert_int_equal(count(db), 30);
    folder_make_room(folder);
    assert_int_equal(db_checkpoint(db), RESULT_OK);
    db_close(&db);
    /* Not even an empty store can be made. */
    assert_int_equal(unlink(folder_file(folder, "t.db")), 0);
    folder_fill(folder);
    fault_t fault;
    assert_int_equal(db_open(folder_file(folder, "t.db"), DB_WRITE, &db, &fault), RESULT_FULL);
    assert_non_null(strstr(fault.text, "t.db"));
}

static void a_full_disk_is_full_and_ends(void **state)
{
    int status = folder_in_child(fill_up, *state);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip(); /* may not mount; limited_pages_are_full did the part that it can */
    assert_int_equal(status, 0);
}

static void failing_writes_are_told_apart(void **state)
{
    static const struct {
        int write_errno;
        result_t expected;
        const char *text;
    } cases[] = {
        {EIO, RESULT_IO, "Input/output error"},
        {ENOSPC, RESULT_FULL, "full"},
        {EDQUOT, RESULT_FULL, "Disk quota exceeded"},
        {EFBIG, RESULT_IO, "File too large"},
    };
    AUTO_DB *db = open_table(*state);
    assert_int_equal(insert_many(db, 1, 1, 10), RESULT_OK);
    set_pwrite(true);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        broken.write_errno = cases[i].write_errno;
        result_t r = insert_many(db, 10, 1, 10);
        broken.write_errno = 0;
        if (r != cases[i].expected || !strstr(db_error(db), cases[i].text))
            fail_msg("%s: result %s, \"%s\"", strerror(cases[i].write_errno), result_str(r),
                     db_error(db));
    }
    set_pwrite(false);
    assert_int_equal(insert_many(db, 10, 1, 10), RESULT_OK);
}

static void a_failed_fsync_is_io_even_when_it_says_full(void **state)
{
    static const int errnos[] = {EIO, ENOSPC, EDQUOT};
    AUTO_DB *db = open_table(*state);
    for (size_t i = 0; i < 3; i++) {
        broken.sync_errno = errnos[i];
        result_t commit = insert_many(db, 1, 1, 10);
        result_t checkpoint = db_checkpoint(db);
        broken.sync_errno = 0;
        assert_int_equal(commit, RESULT_IO);
        assert_int_equal(checkpoint, RESULT_IO);
    }
}

static void overwrite(const folder_t *folder, off_t from, off_t to)
{
    static const char noise[512] = "noise";
    int fd = open(folder_file(folder, "t.db"), O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (; from < to; from += (off_t)sizeof noise)
        assert_int_equal(pwrite(fd, noise, sizeof noise, from), sizeof noise);
    close(fd);
}

static void a_damaged_file_is_corrupt(void **state)
{
    db_t *db = open_table(*state);
    assert_int_equal(insert_many(db, 1, 500, 1000), RESULT_OK);
    db_close(&db);
    off_t size = folder_file_size(*state, "t.db");
    overwrite(*state, 8192, size);
    db = open_db(*state, DB_WRITE);
    assert_int_equal(db_run(db_stmt(db, "SELECT sum(length(v)) FROM t")), RESULT_CORRUPT);
    assert_non_null(strstr(db_error(db), "malformed"));
    db_close(&db);

    fault_t fault;
    overwrite(*state, 0, 512);
    assert_int_equal(db_open(folder_file(*state, "t.db"), DB_WRITE, &db, &fault), RESULT_CORRUPT);
    assert_non_null(strstr(fault.text, "not a database"));
}

/* A schema that cannot be read again: neither by a statement that exists nor for a new one. */
static void a_damaged_schema_is_corrupt(void **state)
{
    AUTO_DB *db = open_table(*state);
    AUTO_DB *other = open_db(*state, DB_WRITE);
    assert_int_equal(count(db), 0);
    assert_int_equal(db_exec(other, "CREATE TABLE u (a TEXT)", NULL), RESULT_OK);
    assert_int_equal(db_checkpoint(other), RESULT_OK);
    overwrite(*state, 512, 4096);
    assert_int_equal(insert(db, 1, SLICE("x")), RESULT_CORRUPT);
    db_stmt_t *stmt = db_stmt(db, "SELECT v FROM t");
    db_bind_int(stmt, 1, 1);
    assert_int_equal(db_step(stmt), RESULT_CORRUPT);
    db_reset(stmt);
}

static int64_t page_bytes(db_t *db)
{
    db_stmt_t *stmt = db_stmt(db, "PRAGMA page_size");
    assert_int_equal(db_step(stmt), RESULT_OK);
    int64_t bytes = db_int(stmt, 0);
    db_reset(stmt);
    return bytes;
}

static void bulk_has_large_pages_from_the_start(void **state)
{
    db_t *db = open_db(*state, DB_BULK);
    assert_int_equal(page_bytes(db), 16384);
    assert_int_equal(db_exec(db, "CREATE TABLE t (id ${key}, v TEXT)", NULL), RESULT_OK);
    assert_int_equal(insert(db, 1, SLICE("x")), RESULT_OK);
    assert_true(db_wal_bytes(db) >= 16384);
    db_close(&db);
    db = open_db(*state, DB_WRITE);
    assert_int_equal(page_bytes(db), 16384);
    assert_int_equal(insert(db, 2, SLICE("y")), RESULT_OK);
    db_close(&db);
}

static void others_have_small_ones(void **state)
{
    AUTO_DB *db = open_db(*state, DB_WRITE);
    assert_int_equal(page_bytes(db), 4096);
}

#define test(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_missing_file_is_made_for_writing_only),
        test(files_have_mode_0600_whatever_the_umask),
        test(an_existing_file_is_closed_to_others),
        test(settings_are_the_promised_ones),
        test(opening_again_writes_nothing),
        test(bulk_has_large_pages_from_the_start),
        test(others_have_small_ones),
        test(values_come_back_as_they_were),
        test(a_number_can_be_read_as_text),
        test(the_same_text_gives_the_same_statement),
        test(many_texts_find_their_statements),
        test(a_statement_comes_back_reset_and_unbound),
        test(parameters_count_by_number_not_by_place),
        test(a_constraint_is_exists),
        test(ddl_says_what_is_wrong),
        test(wrong_sql_panics),
        test(a_rollback_undoes_and_keeps_the_cause),
        test(a_reader_sees_one_state_until_it_ends),
        test(data_version_changes_with_commits_of_others),
        test(a_busy_store_is_again),
        test(the_wal_grows_until_the_checkpoint),
        test(a_checkpoint_goes_as_far_as_readers_allow),
        test(what_a_killed_process_left_counts_as_wal),
        test(a_big_wal_is_cut_back),
        test(room_of_deleted_rows_is_given_back),
        test(limited_pages_are_full),
        test(a_full_disk_is_full_and_ends),
        test(failing_writes_are_told_apart),
        test(a_failed_fsync_is_io_even_when_it_says_full),
        test(a_damaged_file_is_corrupt),
        test(a_damaged_schema_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
