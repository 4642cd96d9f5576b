#include "tests/support/folder.h"
#include "common/base/cleanup.h"
#include "common/wire/codec.h"
#include "services/deliverer/backlog.h"

#define NODE SLICE("e3f1c05a9b2d4c66")

enum { PARTITION = 5 };

/* queue.db with both of its connections. */
typedef struct {
    queue_t *queue;
    backlog_t *backlog;
    db_t *db;
} open_t;

static open_t open_queue(const folder_t *folder)
{
    open_t it = {NULL};
    fault_t fault = {""};
    result_t r = queue_open(folder->path, UINT64_MAX, &it.queue, &fault);
    if (r == RESULT_OK)
        r = backlog_open(it.queue, &it.backlog, &fault);
    if (r != RESULT_OK)
        print_error("%s\n", fault.text);
    assert_int_equal(r, RESULT_OK);
    it.db = queue_db(it.queue);
    return it;
}

static void close_queue(open_t *it)
{
    backlog_close(&it->backlog);
    queue_close(&it->queue);
}

/* What follows is one transaction. */
#define COMMIT(it, ...)                                                                            \
    do {                                                                                           \
        assert_int_equal(db_begin((it)->db), RESULT_OK);                                           \
        __VA_ARGS__;                                                                               \
        assert_int_equal(db_commit((it)->db), RESULT_OK);                                          \
    } while (0)

static const char *id_text(int64_t n)
{
    static char texts[4][32];
    static unsigned next;
    char *text = texts[next++ % 4];
    snprintf(text, sizeof texts[0], "01M86F6QRC%016lld", (long long)n);
    return text;
}

static void put_event(open_t *it, int64_t seq, const int64_t *handlers, size_t n)
{
    event_t event = {.id = slice_of(id_text(seq)),
                     .events_id = SLICE("clients.update"),
                     .object_kind = SLICE("client"),
                     .object_id = SLICE("12"),
                     .body = SLICE("{\"n\":1}"),
                     .accepted_ms = 1000 + seq};
    assert_int_equal(queue_put_event(it->db, seq, &event, NODE, PARTITION), RESULT_OK);
    for (size_t i = 0; i < n; i++) {
        queue_delivery_t delivery = {.seq = seq, .handler_id = handlers[i], .object = 77};
        assert_int_equal(queue_put_delivery(it->db, &delivery), RESULT_OK);
    }
}

static int64_t count(open_t *it, const char *sql)
{
    db_stmt_t *stmt = db_stmt(it->db, sql);
    assert_int_equal(db_step(stmt), RESULT_OK);
    int64_t n = db_int(stmt, 0);
    db_reset(stmt);
    return n;
}

static void put_known(open_t *it, slice_t node, int partition, int64_t first, int64_t last)
{
    AUTO_BUF ids = {0};
    ulid_t last_id = {""};
    for (int64_t n = first; n <= last; n++)
        buf_printf(&ids, "%s%d", id_text(n), n % 2 == 0);
    memcpy(last_id.text, id_text(last), ULID_SIZE);
    assert_int_equal(queue_put_known(it->db, node, partition, &last_id, buf_slice(&ids)),
                     RESULT_OK);
}

static void raise_low_water(open_t *it, int64_t to)
{
    assert_int_equal(queue_raise_low_water(it->db, NODE, PARTITION, slice_of(id_text(to))),
                     RESULT_OK);
}

static void finish(open_t *it, int64_t seq, int64_t handler)
{
    assert_int_equal(queue_finish(it->db, seq, handler), RESULT_OK);
}

static void an_event_goes_with_its_last_delivery(void **state)
{
    static const int64_t handlers[] = {1, 2};
    open_t it = open_queue(*state);
    COMMIT(&it, put_event(&it, 10, handlers, 2); put_event(&it, 11, handlers, 1));
    COMMIT(&it, raise_low_water(&it, 50));
    COMMIT(&it, finish(&it, 10, 2));
    assert_int_equal(count(&it, "SELECT COUNT(*) FROM events"), 2);
    COMMIT(&it, finish(&it, 10, 1));
    assert_int_equal(count(&it, "SELECT SUM(seq) FROM events"), 11);
    assert_int_equal(count(&it, "SELECT COUNT(*) FROM deliveries"), 1);
    close_queue(&it);
}

/* The last two digits of the ids that were given, and + if nothing matched. */
static void on_known(void *owner, slice_t node, int partition, slice_t id, bool unmatched)
{
    assert_true(slice_equal(node, NODE));
    assert_int_equal(partition, PARTITION);
    buf_printf(owner, "%.2s%s ", id.data + ULID_SIZE - 2, unmatched ? "+" : "");
}

static void expect_known(open_t *it, const char *low_water, const char *expected)
{
    AUTO_BUF text = {0};
    assert_int_equal(
        backlog_known(it->backlog, NODE, PARTITION, slice_of(low_water), on_known, &text),
        RESULT_OK);
    assert_true(slice_is(buf_slice(&text), expected));
}

static void ids_are_known_until_low_water_passes_them(void **state)
{
    open_t it = open_queue(*state);
    COMMIT(&it, put_known(&it, NODE, PARTITION, 10, 12); put_known(&it, NODE, PARTITION, 13, 14);
           put_known(&it, NODE, PARTITION + 1, 10, 11);
           put_known(&it, SLICE("other"), PARTITION, 10, 11));
    expect_known(&it, "", "10+ 11 12+ 13 14+ ");
    COMMIT(&it, raise_low_water(&it, 12)); /* in the middle of a row */
    assert_int_equal(count(&it, "SELECT COUNT(*) FROM known"), 4);
    expect_known(&it, id_text(12), "12+ 13 14+ ");
    COMMIT(&it, raise_low_water(&it, 13));
    assert_int_equal(count(&it, "SELECT COUNT(*) FROM known"), 3);
    COMMIT(&it, raise_low_water(&it, 15));
    expect_known(&it, id_text(15), "");
    assert_int_equal(count(&it, "SELECT COUNT(*) FROM known"), 2); /* of other sources */
    close_queue(&it);
}

static void an_event_is_found_by_its_id(void **state)
{
    static const int64_t handlers[] = {1};
    open_t it = open_queue(*state);
    int64_t seq = 0;
    COMMIT(&it, put_event(&it, 10, handlers, 1));
    assert_int_equal(backlog_find_event(it.backlog, slice_of(id_text(10)), &seq), RESULT_OK);
    assert_int_equal(seq, 10);
    assert_int_equal(backlog_find_event(it.backlog, slice_of(id_text(11)), &seq), RESULT_NOT_FOUND);
    close_queue(&it);
}

static void on_event(void *owner, const event_t *event)
{
    assert_true(slice_is(event->body, "{\"n\":1}"));
    assert_true(slice_is(event->events_id, "clients.update"));
    assert_true(slice_is(event->object_kind, "client"));
    assert_true(slice_is(event->object_id, "12"));
    assert_null(event->webhook_id.data);
    assert_int_equal(event->accepted_ms, 1010);
    (*(int *)owner)++;
}

static void rows_come_back_as_they_were(void **state)
{
    static const int64_t handlers[] = {4};
    open_t it = open_queue(*state);
    queue_delivery_t retry = {10, 4, 77, 3, 5000, 6000};
    queue_delivery_t row;
    int64_t before = -1;
    int called = 0;
    COMMIT(&it, put_event(&it, 10, handlers, 1); put_event(&it, 12, handlers, 1));
    COMMIT(&it, assert_int_equal(queue_retry(it.db, &retry), RESULT_OK));
    assert_int_equal(backlog_delivery(it.backlog, 10, 4, &row, &before), RESULT_OK);
    assert_memory_equal(&row, &retry, sizeof row);
    assert_int_equal(before, 0);
    assert_int_equal(backlog_delivery(it.backlog, 12, 4, &row, &before), RESULT_OK);
    assert_int_equal(before, 1);
    assert_int_equal(backlog_delivery(it.backlog, 12, 5, &row, &before), RESULT_NOT_FOUND);
    assert_int_equal(backlog_event(it.backlog, 10, on_event, &called), RESULT_OK);
    assert_int_equal(called, 1);
    close_queue(&it);
}

typedef struct {
    int64_t n, last_seq;
} waiting_t;

static void on_waiting(void *owner, const queue_delivery_t *delivery)
{
    waiting_t *waiting = owner;
    assert_true(delivery->seq >= waiting->last_seq);
    assert_int_equal(delivery->attempts, delivery->seq == 10 && delivery->handler_id == 1 ? 2 : 0);
    waiting->last_seq = delivery->seq;
    waiting->n++;
}

static void what_waits_is_read_in_order(void **state)
{
    static const int64_t handlers[] = {1, 2};
    open_t it = open_queue(*state);
    waiting_t waiting = {0};
    queue_delivery_t rows[4];
    size_t n = 0;
    queue_delivery_t retry = {10, 1, 77, 2, 5, 6};
    for (int64_t seq = 10; seq < 20; seq++)
        COMMIT(&it, put_event(&it, seq, handlers, seq < 15 ? 2 : 1));
    COMMIT(&it, assert_int_equal(queue_retry(it.db, &retry), RESULT_OK));
    assert_int_equal(backlog_waiting(it.backlog, on_waiting, &waiting), RESULT_OK);
    assert_int_equal(waiting.n, 15);
    assert_int_equal(backlog_lane(it.backlog, 1, 77, 12, 4, rows, &n), RESULT_OK);
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(rows[i].seq, 13 + i);
    assert_int_equal(backlog_lane(it.backlog, 2, 77, 13, 4, rows, &n), RESULT_OK);
    assert_int_equal(n, 1);
    assert_int_equal(backlog_lane(it.backlog, 3, 77, 0, 4, rows, &n), RESULT_OK);
    assert_int_equal(n, 0);
    close_queue(&it);
}

static void on_cancel(void *owner, const queue_delivery_t *delivery, const event_t *event)
{
    int64_t *last = owner;
    assert_true(delivery->seq > *last);
    assert_null(event->body.data);
    assert_true(slice_is(event->id, id_text(delivery->seq)));
    *last = delivery->seq;
}

static void the_backlog_of_a_handler_is_read_in_steps(void **state)
{
    static const int64_t handlers[] = {1, 2};
    open_t it = open_queue(*state);
    backlog_cursor_t cursor = {.started = false};
    int64_t last = 0;
    int64_t n = -1;
    COMMIT(&it, for (int64_t seq = 1; seq <= 25; seq++) put_event(&it, seq, handlers, 2));
    for (int step = 0; step < 3; step++)
        assert_int_equal(backlog_deliveries(it.backlog, 2, NULL, 10, &cursor, on_cancel, &last, &n),
                         RESULT_OK);
    assert_int_equal(n, 5);
    assert_int_equal(last, 25);
    uint64_t object = 78;
    cursor = (backlog_cursor_t){.started = false};
    assert_int_equal(backlog_deliveries(it.backlog, 2, &object, 10, &cursor, on_cancel, &last, &n),
                     RESULT_OK);
    assert_int_equal(n, 0);
    close_queue(&it);
}

static void the_oldest_is_found_a_piece_at_a_time(void **state)
{
    static const int64_t handlers[] = {1, 2};
    open_t it = open_queue(*state);
    int64_t seq = 0;
    int64_t accepted_ms = 0;
    COMMIT(&it, for (int64_t s = 1; s <= 25; s++) put_event(&it, s, handlers + (s == 25), 1));
    int64_t left = 10;
    assert_int_equal(backlog_oldest(it.backlog, 2, &left, &seq, &accepted_ms), RESULT_AGAIN);
    assert_int_equal(left, 0); /* another handler gets no rows either */
    assert_int_equal(backlog_oldest(it.backlog, 1, &left, &seq, &accepted_ms), RESULT_AGAIN);
    left = 10;
    assert_int_equal(backlog_oldest(it.backlog, 2, &left, &seq, &accepted_ms), RESULT_AGAIN);
    left = 20;
    assert_int_equal(backlog_oldest(it.backlog, 2, &left, &seq, &accepted_ms), RESULT_OK);
    assert_in_range(left, 10, 19);
    assert_int_equal(accepted_ms, 1025);
    assert_int_equal(seq, 25);
    seq = 0;
    left = 1000;
    assert_int_equal(backlog_oldest(it.backlog, 3, &left, &seq, &accepted_ms), RESULT_NOT_FOUND);
    close_queue(&it);
}

static bool on_record(void *owner, int64_t seq, const record_t *record)
{
    int64_t *expected = owner;
    assert_int_equal(seq, *expected);
    assert_int_equal(record->at_ms, seq);
    return ++*expected < 8;
}

/* A row with the records first .. last. */
static void put_records(db_t *db, int64_t first, int64_t last)
{
    AUTO_BUF records = {0};
    for (int64_t seq = first; seq <= last; seq++)
        codec_add(&record_table, &(record_t){.topic = SLICE("delivery.x"), .at_ms = seq}, &records);
    assert_int_equal(queue_put_outbox(db, last, last - first + 1, buf_slice(&records)), RESULT_OK);
}

static void the_outbox_is_read_from_a_number_and_settled_by_range(void **state)
{
    open_t it = open_queue(*state);
    int64_t expected = 4;
    int64_t first = -1;
    int64_t last = -1;
    COMMIT(&it, put_records(it.db, 1, 2); put_records(it.db, 3, 5); put_records(it.db, 6, 9);
           assert_int_equal(queue_set_outbox_last(it.db, 9), RESULT_OK));
    assert_int_equal(backlog_outbox(it.backlog, 4, on_record, &expected), RESULT_OK);
    assert_int_equal(expected, 8);
    COMMIT(&it, assert_int_equal(queue_settle_outbox(it.db, 4), RESULT_OK));
    assert_int_equal(backlog_outbox_first(it.backlog, &first), RESULT_OK);
    assert_int_equal(first, 3); /* its row holds 5, which is not settled */
    first = -1;
    COMMIT(&it, assert_int_equal(queue_settle_outbox(it.db, 9), RESULT_OK));
    assert_int_equal(backlog_outbox_first(it.backlog, &first), RESULT_OK);
    assert_int_equal(backlog_outbox_last(it.backlog, &last), RESULT_OK);
    assert_int_equal(first, 0);
    assert_int_equal(last, 9); /* numbers only rise, also when all rows are gone */
    close_queue(&it);
}

static void on_failing(void *owner, int64_t handler_id, int64_t since_ms)
{
    int64_t *sum = owner;
    *sum += handler_id * 1000 + since_ms;
}

static void failing_is_set_changed_and_taken_back(void **state)
{
    open_t it = open_queue(*state);
    int64_t sum = 0;
    COMMIT(&it, assert_int_equal(queue_set_failing(it.db, 1, 5), RESULT_OK);
           assert_int_equal(queue_set_failing(it.db, 2, 6), RESULT_OK);
           assert_int_equal(queue_set_failing(it.db, 2, 7), RESULT_OK);
           assert_int_equal(queue_set_failing(it.db, 1, 0), RESULT_OK);
           assert_int_equal(queue_set_failing(it.db, 3, 0), RESULT_OK));
    assert_int_equal(backlog_failing(it.backlog, on_failing, &sum), RESULT_OK);
    assert_int_equal(sum, 2007);
    close_queue(&it);
}

static void lost_partitions_with_rows_are_refused(void **state)
{
    static const int64_t handlers[] = {1};
    const folder_t *folder = *state;
    open_t it = open_queue(folder);
    queue_t *queue = NULL;
    fault_t fault = {""};
    partitions_t without = ~(UINT64_C(1) << PARTITION);
    COMMIT(&it, put_event(&it, 10, handlers, 1));
    close_queue(&it);
    assert_int_equal(queue_open(folder->path, without, &queue, &fault), RESULT_INVALID);
    assert_non_null(strstr(fault.text, "partition 5"));
    it = open_queue(folder); /* the map that is stored did not change */
    COMMIT(&it, finish(&it, 10, 1); put_known(&it, NODE, PARTITION, 10, 12));
    close_queue(&it);
    assert_int_equal(queue_open(folder->path, without, &queue, &fault), RESULT_INVALID);
    assert_non_null(strstr(fault.text, "holds 3 events")); /* that their emitter may ask for */
    it = open_queue(folder);
    COMMIT(&it, raise_low_water(&it, 13); put_known(&it, NODE, PARTITION, 10, 12)); /* stale */
    close_queue(&it);
    assert_int_equal(queue_open(folder->path, without, &queue, &fault), RESULT_OK);
    queue_close(&queue);
    assert_int_equal(queue_open(folder->path, UINT64_MAX, &queue, &fault), RESULT_OK);
    queue_close(&queue);
}

/* Version 2 had one table of events, those of which only the id was known among them. */
static void ids_of_an_older_queue_stay_known(void **state)
{
    static const char older[] =
        "DROP TABLE known; DROP INDEX events_id;"
        "ALTER TABLE events ADD COLUMN unmatched BIGINT NOT NULL DEFAULT 0;"
        "CREATE UNIQUE INDEX events_source ON events (node, partition, id);"
        "INSERT INTO events (seq, id, node, partition, unmatched, object, body)"
        " VALUES (1, '01M86F6QRC0000000000000010', 'e3f1c05a9b2d4c66', 5, 1, 0, NULL),"
        " (2, '01M86F6QRC0000000000000011', 'e3f1c05a9b2d4c66', 5, 0, 0, x'7b7d'),"
        " (3, '01M86F6QRC0000000000000012', 'e3f1c05a9b2d4c66', 5, 0, 0, x'7b7d');"
        "INSERT INTO events (seq, id, node, partition, unmatched, object, body)"
        " VALUES (4, '01M86F6QRC0000000000000009', 'e3f1c05a9b2d4c66', 5, 0, 0, x'7b7d');"
        "INSERT INTO low_water VALUES ('e3f1c05a9b2d4c66', 5, '01M86F6QRC0000000000000010');"
        "INSERT INTO deliveries VALUES (3, 1, 77, 0, 0, 0), (4, 1, 77, 0, 0, 0);";
    fault_t fault = {""};
    open_t it = open_queue(*state);
    COMMIT(&it, assert_int_equal(db_exec(it.db, older, &fault), RESULT_OK);
           assert_int_equal(store_meta_set_int(it.db, "version", 2), RESULT_OK));
    close_queue(&it);
    it = open_queue(*state);
    expect_known(&it, "", "10+ 11 12 ");
    assert_int_equal(count(&it, "SELECT COUNT(*) FROM known"), 3);  /* low_water has passed one */
    assert_int_equal(count(&it, "SELECT SUM(seq) FROM events"), 7); /* they wait */
    close_queue(&it);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)
    const struct CMUnitTest tests[] = {
        test(an_event_goes_with_its_last_delivery),
        test(ids_are_known_until_low_water_passes_them),
        test(an_event_is_found_by_its_id),
        test(rows_come_back_as_they_were),
        test(what_waits_is_read_in_order),
        test(the_backlog_of_a_handler_is_read_in_steps),
        test(the_oldest_is_found_a_piece_at_a_time),
        test(the_outbox_is_read_from_a_number_and_settled_by_range),
        test(failing_is_set_changed_and_taken_back),
        test(lost_partitions_with_rows_are_refused),
        test(ids_of_an_older_queue_stay_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
