#include "tests/support/folder.h"

#include "common/base/cleanup.h"
#include "common/base/crash.h"
#include "common/wire/codec.h"
#include "services/auditor/segment.h"

static db_t *open_segment(const char *dir, int64_t first_id, db_mode_t mode)
{
    char path[PATH_MAX];
    db_t *db = NULL;
    segment_path(dir, first_id, path);
    assert_int_equal(db_open(path, mode, &db, NULL), RESULT_OK);
    return db;
}

static db_t *make_segment(const char *dir, int64_t first_id)
{
    fault_t fault;
    assert_int_equal(segment_prepare(dir, &fault), RESULT_OK);
    assert_int_equal(segment_name(dir, first_id, &fault), RESULT_OK);
    return open_segment(dir, first_id, DB_WRITE);
}

static void add(db_t *db, tail_t *tail, const record_t *record)
{
    AUTO_BUF bytes = {0};
    entry_t entry = {.node = SLICE("n"), .service = SLICE("emitter"), .record = *record};
    codec_add(&record_table, record, &bytes);
    tail_give(tail, &entry);
    assert_int_equal(segment_add(db, &entry, buf_slice(&bytes)), RESULT_OK);
}

static void commit(db_t *db, const tail_t *tail)
{
    assert_int_equal(segment_save_tail(db, tail, 0), RESULT_OK);
    assert_int_equal(db_commit(db), RESULT_OK);
}

static void records_and_the_tail_come_back(void **state)
{
    const folder_t *folder = *state;
    AUTO_BUF bytes = {0};
    tail_t tail, loaded;
    bool indexed = true;
    entry_t entry;
    tail_init(&tail);
    tail.handlers_seq = 17;
    tail.span.created_ms = 123;
    db_t *db = make_segment(folder->path, 1);
    assert_int_equal(segment_load(db, &loaded, &indexed, NULL), RESULT_NOT_FOUND);
    assert_int_equal(db_begin(db), RESULT_OK);
    record_t a = {.topic = SLICE("event.accepted"), .at_ms = 5, .event_id = SLICE("E1")};
    record_t b = {.topic = SLICE("delivery.delivered"),
                  .at_ms = 9,
                  .event_id = SLICE("E1"),
                  .response = SLICE("yes")};
    add(db, &tail, &a);
    add(db, &tail, &b);
    commit(db, &tail);
    db_close(&db);

    db = open_segment(folder->path, 1, DB_READ);
    assert_int_equal(segment_load(db, &loaded, &indexed, NULL), RESULT_OK);
    assert_false(indexed);
    assert_int_equal(loaded.next_id, 3);
    assert_int_equal(loaded.handlers_seq, 17);
    assert_int_equal(loaded.span.created_ms, 123);
    assert_int_equal(loaded.span.attempts, 1);
    assert_int_equal(loaded.span.first_ms, 5);
    assert_int_equal(loaded.span.last_ms, 9);
    assert_string_equal(loaded.span.first_event, "E1");
    assert_int_equal(loaded.n_topics, 2);
    assert_int_equal(segment_read(db, 2, &bytes, &entry), RESULT_OK);
    assert_int_equal(entry.audit_id, 2);
    assert_true(slice_is(entry.node, "n"));
    assert_true(slice_is(entry.service, "emitter"));
    assert_true(slice_is(entry.record.response, "yes"));
    assert_int_equal(segment_read(db, 3, &bytes, &entry), RESULT_NOT_FOUND);
    db_close(&db);
}

static void an_event_is_found_by_topic(void **state)
{
    const folder_t *folder = *state;
    tail_t tail;
    int64_t id = 0;
    tail_init(&tail);
    db_t *db = make_segment(folder->path, 1);
    record_t a = {.topic = SLICE("event.accepted"), .event_id = SLICE("E1")};
    record_t b = {.topic = SLICE("event.unmatched"), .event_id = SLICE("E1")};
    assert_int_equal(segment_newest_id(db, &id), RESULT_NOT_FOUND);
    assert_int_equal(db_begin(db), RESULT_OK);
    add(db, &tail, &a);
    add(db, &tail, &b);
    add(db, &tail, &b);
    commit(db, &tail);
    assert_int_equal(segment_find(db, SLICE("E1"), "event.unmatched", &id), RESULT_OK);
    assert_int_equal(id, 2);
    assert_int_equal(segment_find(db, SLICE("E2"), "event.unmatched", &id), RESULT_NOT_FOUND);
    assert_int_equal(segment_newest_id(db, &id), RESULT_OK);
    assert_int_equal(id, 3);
    db_close(&db);
}

static void marks_come_back(void **state)
{
    const folder_t *folder = *state;
    marks_row_t rows[] = {
        {.node = "n", .service = "emitter", .boot = 5, .number = 70, .origin = 9},
        {.node = "m", .origin = 4},
    };
    marks_rows_t saved = {rows, 2};
    tail_t tail;
    bool indexed;
    tail_init(&tail);
    db_t *db = make_segment(folder->path, 1);
    assert_int_equal(db_begin(db), RESULT_OK);
    assert_int_equal(segment_save_marks(db, &saved), RESULT_OK);
    rows[0].number = 71;
    assert_int_equal(segment_save_marks(db, &saved), RESULT_OK);
    commit(db, &tail);
    marks_t *marks = marks_new();
    marks_rows_t loaded;
    assert_int_equal(segment_load(db, &tail, &indexed, marks), RESULT_OK);
    marks_snapshot(marks, 0, &loaded);
    assert_int_equal(loaded.n_rows, 3);
    assert_int_equal(loaded.rows[0].number, 71);
    assert_int_equal(loaded.rows[0].boot, 5);
    assert_int_equal(loaded.rows[0].origin, 9);
    marks_rows_release(&loaded);
    marks_destroy(&marks);
    db_close(&db);
}

/* Does the plan of the query use this index? */
static bool uses(db_t *db, const char *query, const char *index)
{
    char explain[512];
    bool found = false;
    snprintf(explain, sizeof explain, "EXPLAIN QUERY PLAN %s", query);
    db_stmt_t *stmt = db_stmt(db, explain);
    while (db_step(stmt) == RESULT_OK) {
        AUTO_BUF detail = {0};
        buf_add_slice(&detail, db_slice(stmt, 3));
        found |= detail.data && strstr(detail.data, index) != NULL;
    }
    return found;
}

static void a_sealed_one_gets_its_indexes_in_steps(void **state)
{
    static const char *const by_object =
        "SELECT audit_id FROM record WHERE object = $1 AND audit_id >= $2 AND audit_id < $3"
        " AND at_ms >= $4 AND at_ms <= $5 AND status <> 0 ORDER BY audit_id DESC";
    static const char *const by_success =
        "SELECT audit_id FROM record WHERE object = $1 AND handler_id + 0 = $2"
        " AND status <> 0 AND status = 1";
    static const char *const by_handler =
        "SELECT audit_id FROM record WHERE handler_id = $1 AND audit_id >= $2 AND audit_id < $3"
        " AND at_ms >= $4 AND at_ms <= $5 AND status <> 0 ORDER BY audit_id DESC";
    static const char *const by_event =
        "SELECT audit_id FROM record WHERE event_id = $1 UNION SELECT audit_id FROM record"
        " WHERE webhook_id = $2 ORDER BY audit_id";
    const folder_t *folder = *state;
    tail_t tail;
    bool indexed = false;
    tail_init(&tail);
    db_t *db = make_segment(folder->path, 1);
    assert_int_equal(db_begin(db), RESULT_OK);
    record_t a = {.topic = SLICE("event.accepted"), .object_id = SLICE("1"), .handler_id = 3};
    add(db, &tail, &a);
    commit(db, &tail);
    assert_int_equal(segment_index_step(db, NULL), RESULT_OK);
    assert_int_equal(segment_load(db, &tail, &indexed, NULL), RESULT_OK);
    assert_false(indexed);
    assert_int_equal(segment_index_step(db, NULL), RESULT_OK);
    assert_int_equal(segment_index_step(db, NULL), RESULT_NOT_FOUND);
    assert_int_equal(segment_load(db, &tail, &indexed, NULL), RESULT_OK);
    assert_true(indexed);
    assert_true(uses(db, by_object, "record_object"));
    assert_true(uses(db, by_success, "record_object"));
    assert_true(uses(db, by_handler, "record_handler"));
    assert_true(uses(db, by_event, "record_event"));
    assert_true(uses(db, by_event, "record_webhook"));
    db_close(&db);
}

static void the_folder_is_listed_and_tidied(void **state)
{
    const folder_t *folder = *state;
    static const int64_t made[] = {300, 1, 20};
    for (size_t i = 0; i < 3; i++) {
        db_t *db = make_segment(folder->path, made[i]);
        db_close(&db);
    }
    static const char *const files[] = {
        "segment-00000000000000000007.db-wal", /* of one that was removed */
        "segment-00000000000000000001.db-wal", "segment-x.db", "other"};
    for (size_t i = 0; i < 4; i++)
        close(open(folder_file(folder, files[i]), O_CREAT | O_WRONLY, 0600));
    int64_t *ids = NULL;
    size_t n = 0;
    assert_int_equal(segment_list(folder->path, &ids, &n, NULL), RESULT_OK);
    assert_int_equal(n, 3);
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[1], 20);
    assert_int_equal(ids[2], 300);
    free(ids);
    assert_int_equal(folder_file_size(folder, files[0]), -1);
    for (size_t i = 1; i < 4; i++)
        assert_int_equal(folder_file_size(folder, files[i]), 0);
    assert_int_equal(segment_remove(folder->path, 20), RESULT_OK);
    assert_int_equal(segment_remove(folder->path, 20), RESULT_OK);
    assert_int_equal(segment_bytes(folder->path, 20), 0);
    assert_true(segment_bytes(folder->path, 300) > 0);
}

static void make_file(const folder_t *folder, const char *name, const char *text)
{
    FILE *file = fopen(folder_file(folder, name), "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void a_damaged_one_is_set_aside_and_never_over_another(void **state)
{
    const folder_t *folder = *state;
    fault_t fault;
    int64_t *ids = NULL;
    size_t n = 0;
#define NAME "segment-00000000000000000007.db"
    make_file(folder, NAME, "12");
    make_file(folder, NAME "-wal", "123");
    make_file(folder, "segment-00000000000000000003.db.damaged", "1");
    assert_int_equal(segment_set_aside(folder->path, 7, &fault), RESULT_OK);
    assert_int_equal(segment_set_aside(folder->path, 7, &fault), RESULT_OK);
    assert_int_equal(folder_file_size(folder, NAME), -1);
    assert_int_equal(segment_list(folder->path, &ids, &n, &fault), RESULT_OK);
    assert_int_equal(n, 0);
    free(ids);
    assert_int_equal(segment_list_aside(folder->path, &ids, &n, &fault), RESULT_OK);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], 3);
    assert_int_equal(ids[1], 7);
    free(ids);
    make_file(folder, NAME, "1234");
    assert_int_not_equal(segment_set_aside(folder->path, 7, &fault), RESULT_OK);
    assert_non_null(strstr(fault.text, NAME ".damaged"));
    assert_int_equal(folder_file_size(folder, NAME), 4);
    assert_int_equal(folder_file_size(folder, NAME ".damaged"), 2);
    assert_int_equal(folder_file_size(folder, NAME ".damaged-wal"), 3);
}

static void preparing_again_begins_anew(void **state)
{
    const folder_t *folder = *state;
    fault_t fault;
    close(open(folder_file(folder, "segment-next.new"), O_CREAT | O_WRONLY, 0600));
    close(open(folder_file(folder, "segment-next.new-wal"), O_CREAT | O_WRONLY, 0600));
    db_t *db = make_segment(folder->path, 5);
    db_close(&db);
    assert_int_equal(folder_file_size(folder, "segment-next.new"), -1);
    assert_int_equal(folder_file_size(folder, "segment-next.new-wal"), -1);
    assert_int_equal(folder_file_mode(folder, "segment-00000000000000000005.db"), 0600);
    assert_int_equal(segment_name(folder->path, 6, &fault), RESULT_NOT_FOUND);
    assert_int_equal(segment_sync_dir(folder->path, NULL), RESULT_OK);
    assert_int_equal(segment_sync_dir("/nowhere", NULL), RESULT_IO);
}

static void a_newer_one_is_refused(void **state)
{
    const folder_t *folder = *state;
    tail_t tail;
    bool indexed;
    tail_init(&tail);
    db_t *db = make_segment(folder->path, 1);
    assert_int_equal(db_begin(db), RESULT_OK);
    commit(db, &tail);
    assert_int_equal(db_exec(db, "UPDATE state SET version = 99", NULL), RESULT_OK);
    assert_int_equal(segment_load(db, &tail, &indexed, NULL), RESULT_VERSION);
    db_close(&db);
}

static void index_and_die(void *argument)
{
    setenv("PROVISOR_CRASH", "auditor.sealing:2", 1);
    folder_hush();
    crash_init();
    db_t *db = open_segment(argument, 1, DB_WRITE);
    while (segment_index_step(db, NULL) == RESULT_OK)
        ;
}

static void indexing_survives_a_kill(void **state)
{
    folder_t *folder = *state;
    tail_t tail;
    bool indexed = false;
    tail_init(&tail);
    db_t *db = make_segment(folder->path, 1);
    assert_int_equal(db_begin(db), RESULT_OK);
    commit(db, &tail);
    db_close(&db);
    int status = folder_in_child(index_and_die, folder->path);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    db = open_segment(folder->path, 1, DB_WRITE);
    while (segment_index_step(db, NULL) == RESULT_OK)
        ;
    assert_int_equal(segment_load(db, &tail, &indexed, NULL), RESULT_OK);
    assert_true(indexed);
    db_close(&db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records_and_the_tail_come_back, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(an_event_is_found_by_topic, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(marks_come_back, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_sealed_one_gets_its_indexes_in_steps, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(the_folder_is_listed_and_tidied, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(a_damaged_one_is_set_aside_and_never_over_another,
                                        folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(preparing_again_begins_anew, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_newer_one_is_refused, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(indexing_survives_a_kill, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
