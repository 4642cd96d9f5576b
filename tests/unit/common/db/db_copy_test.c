#include "tests/support/folder.h"
#include "common/base/cleanup.h"
#include "common/db/db.h"

#include <sys/stat.h>

#define AUTO_DB __attribute__((cleanup(db_close))) db_t

enum { ROWS = 20000, ROW_BYTES = 1000 };

static db_t *open_db(const folder_t *folder, const char *name, db_mode_t mode)
{
    db_t *db = NULL;
    fault_t fault = {""};
    result_t r = db_open(folder_file(folder, name), mode, &db, &fault);
    if (r != RESULT_OK)
        print_error("%s\n", fault.text);
    assert_int_equal(r, RESULT_OK);
    return db;
}

static void fill(db_t *db)
{
    fault_t fault = {""};
    char body[ROW_BYTES];
    memset(body, 'x', sizeof body);
    assert_int_equal(db_exec(db, "CREATE TABLE t (n ${key}, body TEXT)", &fault), RESULT_OK);
    assert_int_equal(db_begin(db), RESULT_OK);
    for (int64_t n = 1; n <= ROWS; n++) {
        db_stmt_t *stmt = db_stmt(db, "INSERT INTO t (n, body) VALUES ($1, $2)");
        db_bind_int(stmt, 1, n);
        db_bind_text(stmt, 2, (slice_t){body, sizeof body});
        assert_int_equal(db_run(stmt), RESULT_OK);
    }
    assert_int_equal(db_commit(db), RESULT_OK);
}

static int64_t one_int(db_t *db, const char *sql)
{
    db_stmt_t *stmt = db_stmt(db, sql);
    assert_int_equal(db_step(stmt), RESULT_OK);
    int64_t value = db_int(stmt, 0);
    db_reset(stmt);
    return value;
}

/* Whoever is asked how far it is changes what is not copied yet, and is told to go on or not. */
typedef struct {
    db_t *writer;
    bool goes_on;
    int calls;
    int64_t done_bytes, total_bytes;
} owner_t;

static bool on_copied(void *arg, int64_t done_bytes, int64_t total_bytes)
{
    owner_t *owner = arg;
    assert_true(done_bytes >= owner->done_bytes && done_bytes <= total_bytes);
    owner->done_bytes = done_bytes;
    owner->total_bytes = total_bytes;
    owner->calls++;
    assert_int_equal(db_run(db_stmt(owner->writer, "DELETE FROM t WHERE n % 2 = 0")), RESULT_OK);
    assert_int_equal(db_run(db_stmt(owner->writer, "UPDATE t SET body = 'new'")), RESULT_OK);
    assert_int_equal(db_checkpoint(owner->writer), RESULT_OK);
    return owner->goes_on;
}

static void a_copy_is_one_state_while_another_writes(void **state)
{
    const folder_t *folder = *state;
    struct stat st;
    fault_t fault = {""};
    AUTO_DB *writer = open_db(folder, "t.db", DB_WRITE);
    fill(writer);
    AUTO_DB *from = open_db(folder, "t.db", DB_READ);
    owner_t owner = {.writer = writer, .goes_on = true};
    assert_int_equal(db_copy(from, folder_file(folder, "copy.db"), on_copied, &owner, &fault),
                     RESULT_OK);
    assert_true(owner.calls > 3);
    assert_int_equal(owner.done_bytes, owner.total_bytes);
    assert_int_equal(stat(folder_file(folder, "copy.db"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, owner.total_bytes);

    AUTO_DB *copy = open_db(folder, "copy.db", DB_WRITE);
    assert_int_equal(one_int(copy, "SELECT COUNT(*) FROM t WHERE LENGTH(body) = 1000"), ROWS);
    assert_int_equal(one_int(from, "SELECT COUNT(*) FROM t WHERE body = 'new'"), ROWS / 2);
}

static void a_copy_ends_when_it_is_told_to(void **state)
{
    const folder_t *folder = *state;
    fault_t fault = {""};
    AUTO_DB *writer = open_db(folder, "t.db", DB_WRITE);
    fill(writer);
    AUTO_DB *from = open_db(folder, "t.db", DB_READ);
    owner_t owner = {.writer = writer};
    assert_int_equal(db_copy(from, folder_file(folder, "copy.db"), on_copied, &owner, &fault),
                     RESULT_AGAIN);
    assert_int_equal(owner.calls, 1);
    assert_int_equal(one_int(from, "SELECT COUNT(*) FROM t"), ROWS / 2); /* no state is kept */
}

static void a_copy_replaces_nothing(void **state)
{
    const folder_t *folder = *state;
    fault_t fault = {""};
    AUTO_DB *writer = open_db(folder, "t.db", DB_WRITE);
    fill(writer);
    AUTO_DB *other = open_db(folder, "copy.db", DB_WRITE);
    AUTO_DB *from = open_db(folder, "t.db", DB_READ);
    owner_t owner = {.writer = writer, .goes_on = true};
    (void)other; /* it only has to be open */
    assert_int_equal(db_copy(from, folder_file(folder, "copy.db"), on_copied, &owner, &fault),
                     RESULT_EXISTS);
    assert_int_equal(owner.calls, 0);
    assert_non_null(strstr(fault.text, "copy.db"));
}

#define test(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_copy_is_one_state_while_another_writes),
        test(a_copy_ends_when_it_is_told_to),
        test(a_copy_replaces_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
