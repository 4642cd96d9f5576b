#include "tests/support/folder.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/db/store.h"
#include "common/service/handlers.h"

#define AUTO_HANDLER  __attribute__((cleanup(handler_release))) handler_t
#define AUTO_HANDLERS __attribute__((cleanup(handlers_close))) handlers_t

static handlers_t *open_handlers(const folder_t *folder)
{
    handlers_t *handlers = NULL;
    fault_t fault = {""};
    if (handlers_open(folder->path, &handlers, &fault) != RESULT_OK)
        fail_msg("%s", fault.text);
    return handlers;
}

static void set(char **member, const char *text)
{
    free(*member);
    *member = text ? mem_strdup(text) : NULL;
}

static void make_handler(handler_t *handler, const char *name)
{
    handler_init(handler);
    set(&handler->name, name);
    set(&handler->events, "clients.*");
    set(&handler->task, "https://my-domain.org/api");
}

static int64_t add(handlers_t *handlers, const char *name)
{
    AUTO_HANDLER handler;
    fault_t fault = {""};
    make_handler(&handler, name);
    if (handlers_add(handlers, &handler, &fault) != RESULT_OK)
        fail_msg("%s", fault.text);
    return handler.id;
}

static void set_status(handlers_t *handlers, int64_t id, handler_status_t status)
{
    fault_t fault = {""};
    if (handlers_set_status(handlers, id, status, NULL, &fault) != RESULT_OK)
        fail_msg("%s", fault.text);
}

static bool poll_changed(handlers_t *handlers)
{
    bool changed = false;
    assert_int_equal(handlers_poll(handlers, &changed), RESULT_OK);
    return changed;
}

/* The change log after seq as "1:created 2:updated", seq counted on. */
static void expect_changes(handlers_t *handlers, int64_t after, const char *expected)
{
    AUTO_BUF log = {0};
    handler_change_t change;
    result_t r;
    while ((r = handlers_next_change(handlers, after, &change)) == RESULT_OK) {
        assert_int_equal(change.seq, after + 1);
        after = change.seq;
        buf_printf(&log, "%s%lld:%s", log.size ? " " : "", (long long)change.handler_id,
                   change.what);
    }
    assert_int_equal(r, RESULT_NOT_FOUND);
    assert_string_equal(log.data ? log.data : "", expected);
}

static void a_new_table_is_empty(void **state)
{
    AUTO_HANDLERS *handlers = open_handlers(*state);
    assert_int_equal(handlers_count(handlers), 0);
    assert_int_equal(handlers_version(handlers), 0);
    assert_null(handlers_find(handlers, 1));
    assert_false(poll_changed(handlers));
    expect_changes(handlers, 0, "");
    assert_int_equal(folder_file_mode(*state, "handlers.db"), 0600);
}

static void every_setting_comes_back(void **state)
{
    AUTO_HANDLER handler;
    make_handler(&handler, "ünï");
    handler.type = HANDLER_HTTPS;
    handler.status = HANDLER_DISABLED;
    handler.priority = -5;
    handler.timeout_ms = 1500;
    handler.max_age_ms = 60000;
    handler.hold_ms = 0;
    handler.window = 3;
    handler.rate = 7;
    handler.ordering = HANDLER_ORDER_NONE;
    handler.http2 = 1;
    handler.tls = HANDLER_TLS_INSECURE;
    set(&handler.description, "lines\nof text");
    set(&handler.filter, "/data/vip exists");
    set(&handler.secrets, "123456789012345678901234");
    set(&handler.headers, "X-A: 1\nX-B: 2");
    set(&handler.retry, "");
    set(&handler.ca_file, "/ca.pem");
    set(&handler.cert_file, "/cert.pem");
    set(&handler.key_file, "/key.pem");
    handlers_t *handlers = open_handlers(*state);
    int64_t before_ms = clk_wall_ms();
    assert_int_equal(handlers_add(handlers, &handler, NULL), RESULT_OK);
    assert_int_equal(handler.id, 1);
    assert_int_equal(handler.version, 1);
    assert_true(handler.created_ms >= before_ms && handler.updated_ms == handler.created_ms);
    for (int again = 0; again < 2; again++) {
        const handler_t *got = handlers_find(handlers, 1);
        assert_non_null(got);
        AUTO_BUF expected = {0}, shown = {0};
        json_writer_t w;
        json_begin(&w, &expected);
        handler_json(&handler, &w);
        json_begin(&w, &shown);
        handler_json(got, &w);
        assert_string_equal(shown.data, expected.data);
        /* What json hides: */
        assert_string_equal(got->secrets, handler.secrets);
        assert_string_equal(got->headers, handler.headers);
        handlers_close(&handlers);
        handlers = open_handlers(*state);
    }
    handlers_close(&handlers);
}

static void what_is_absent_stays_absent(void **state)
{
    AUTO_HANDLERS *handlers = open_handlers(*state);
    const handler_t *got = handlers_find(handlers, add(handlers, "a"));
    assert_null(got->description);
    assert_null(got->filter);
    assert_null(got->secrets);
    assert_null(got->headers);
    assert_null(got->retry);
    assert_null(got->status_reason);
    assert_int_equal(got->timeout_ms, -1);
    assert_int_equal(got->window, -1);
}

static void an_invalid_handler_is_not_stored(void **state)
{
    AUTO_HANDLERS *handlers = open_handlers(*state);
    AUTO_HANDLER handler;
    fault_t fault;
    make_handler(&handler, "");
    assert_int_equal(handlers_add(handlers, &handler, &fault), RESULT_INVALID);
    assert_non_null(strstr(fault.text, "name: "));
    set(&handler.name, "a");
    handler.status = HANDLER_SUSPENDED;
    assert_int_equal(handlers_add(handlers, &handler, &fault), RESULT_INVALID);
    assert_string_equal(fault.text, "a new handler is enabled or disabled, not suspended");
    assert_int_equal(handler.id, 0);
    assert_int_equal(handlers_count(handlers), 0);
    assert_int_equal(handlers_version(handlers), 0);
    handler.id = add(handlers, "b");
    set(&handler.task, "http://a/");
    handler.status = HANDLER_ENABLED;
    assert_int_equal(handlers_update(handlers, &handler, &fault), RESULT_INVALID);
    assert_string_equal(handlers_find(handlers, handler.id)->name, "b");
    expect_changes(handlers, 0, "1:created");
}

static void each_change_raises_the_version_and_is_logged(void **state)
{
    AUTO_HANDLERS *handlers = open_handlers(*state);
    AUTO_HANDLER handler;
    add(handlers, "a");
    make_handler(&handler, "b");
    assert_int_equal(handlers_add(handlers, &handler, NULL), RESULT_OK);
    set(&handler.name, "bb");
    handler.status = HANDLER_ARCHIVED; /* not a setting: ignored */
    handler.created_ms = 5;
    assert_int_equal(handlers_update(handlers, &handler, NULL), RESULT_OK);
    set_status(handlers, 2, HANDLER_DISABLED);
    set_status(handlers, 2, HANDLER_ENABLED);
    set_status(handlers, 1, HANDLER_ARCHIVED);
    set_status(handlers, 1, HANDLER_DELETED);
    assert_int_equal(handlers_set_status(handlers, 2, HANDLER_SUSPENDED, "HTTP 410", NULL),
                     RESULT_OK);
    expect_changes(handlers, 0,
                   "1:created 2:created 2:updated 2:disabled 2:enabled 1:archived 1:deleted "
                   "2:suspended");
    expect_changes(handlers, 6, "1:deleted 2:suspended");
    assert_int_equal(handlers_version(handlers), 8);
    const handler_t *got = handlers_find(handlers, 2);
    assert_int_equal(got->version, 8);
    assert_string_equal(got->name, "bb");
    assert_int_equal(got->status, HANDLER_SUSPENDED);
    assert_string_equal(got->status_reason, "HTTP 410");
    assert_true(got->created_ms > 5);
    assert_int_equal(handlers_find(handlers, 1)->version, 7);

    handler_change_t change;
    assert_int_equal(handlers_next_change(handlers, 7, &change), RESULT_OK);
    assert_string_equal(change.name, "bb");
    assert_string_equal(change.reason, "HTTP 410");
    assert_true(change.at_ms == got->updated_ms);
    assert_int_equal(handlers_next_change(handlers, 2, &change), RESULT_OK);
    assert_string_equal(change.reason, "");
}

static void a_status_changes_only_as_it_may(void **state)
{
    enum { E = HANDLER_ENABLED, D, S, A, X, REFUSED = 10 };
    /* [from][to]: the status afterwards */
    static const int after[5][5] = {
        {E, D, S, A, X},
        {E, D, D, A, X}, /* an operator's word counts more */
        {E, D, S, A, X},
        {REFUSED, REFUSED, REFUSED, A, X},
        {REFUSED, REFUSED, REFUSED, REFUSED, REFUSED},
    };
    AUTO_HANDLERS *handlers = open_handlers(*state);
    for (int from = E; from <= X; from++)
        for (int to = E; to <= X; to++) {
            fault_t fault = {""};
            int64_t id = add(handlers, "a");
            set_status(handlers, id, (handler_status_t)from);
            int64_t version = handlers_version(handlers);
            result_t r = handlers_set_status(handlers, id, (handler_status_t)to, "because", &fault);
            const handler_t *got = handlers_find(handlers, id);
            bool refused = after[from][to] == REFUSED;
            int expected = refused ? from : after[from][to];
            if (r != (refused ? RESULT_INVALID : RESULT_OK) || (int)got->status != expected)
                fail_msg("%s to %s: %s, %s", handler_status_str(from), handler_status_str(to),
                         result_str(r), handler_status_str(got->status));
            if (refused)
                assert_non_null(strstr(fault.text, "which is for ever"));
            /* Nothing changed: nothing is said. */
            assert_int_equal(handlers_version(handlers), version + (expected != from));
            bool kept = expected == S && from != S;
            assert_int_equal(got->status_reason != NULL, kept);
        }
}

static void what_does_not_exist_is_not_found(void **state)
{
    AUTO_HANDLERS *handlers = open_handlers(*state);
    AUTO_HANDLER handler;
    fault_t fault;
    make_handler(&handler, "a");
    handler.id = 4;
    assert_int_equal(handlers_update(handlers, &handler, &fault), RESULT_NOT_FOUND);
    assert_string_equal(fault.text, "there is no handler 4");
    assert_int_equal(handlers_set_status(handlers, 4, HANDLER_DELETED, NULL, &fault),
                     RESULT_NOT_FOUND);
    assert_int_equal(handlers_count(handlers), 0);
}

static void what_has_ended_is_not_updated(void **state)
{
    AUTO_HANDLERS *handlers = open_handlers(*state);
    AUTO_HANDLER handler;
    fault_t fault;
    make_handler(&handler, "new");
    handler.id = add(handlers, "a");
    set_status(handlers, handler.id, HANDLER_ARCHIVED);
    assert_int_equal(handlers_update(handlers, &handler, &fault), RESULT_INVALID);
    assert_string_equal(fault.text, "handler 1 is archived, which is for ever; add a new one");
    assert_string_equal(handlers_find(handlers, 1)->name, "a");
}

static void an_update_of_what_was_changed_meanwhile_is_refused(void **state)
{
    AUTO_HANDLERS *handlers = open_handlers(*state);
    AUTO_HANDLERS *others = open_handlers(*state);
    AUTO_HANDLER handler;
    fault_t fault;
    make_handler(&handler, "a");
    assert_int_equal(handlers_add(handlers, &handler, NULL), RESULT_OK);
    set_status(others, handler.id, HANDLER_SUSPENDED);
    set(&handler.name, "b");
    assert_int_equal(handlers_update(handlers, &handler, &fault), RESULT_INVALID);
    assert_string_equal(fault.text, "handler 1 was changed meanwhile, try again");
    assert_string_equal(handlers_find(handlers, 1)->name, "a");
    handler.version = handlers_find(handlers, 1)->version;
    assert_int_equal(handlers_update(handlers, &handler, &fault), RESULT_OK);
    assert_string_equal(handlers_find(handlers, 1)->name, "b");
    assert_int_equal(handlers_find(handlers, 1)->status, HANDLER_SUSPENDED);
    expect_changes(handlers, 0, "1:created 1:suspended 1:updated");
}

static void ids_are_never_used_again(void **state)
{
    handlers_t *handlers = open_handlers(*state);
    for (int64_t id = 1; id <= 5; id++) {
        assert_int_equal(add(handlers, "a"), id);
        set_status(handlers, id, HANDLER_DELETED);
        handlers_close(&handlers);
        handlers = open_handlers(*state);
        assert_int_equal(handlers_count(handlers), id);
        assert_int_equal(handlers_find(handlers, id)->status, HANDLER_DELETED);
    }
    handlers_close(&handlers);
}

static void poll_sees_what_others_wrote(void **state)
{
    AUTO_HANDLERS *reader = open_handlers(*state);
    AUTO_HANDLERS *writer = open_handlers(*state);
    for (int i = 0; i < 40; i++) /* beyond the first room of the snapshot */
        add(writer, "a");
    assert_int_equal(handlers_count(reader), 0);
    assert_true(poll_changed(reader));
    assert_false(poll_changed(reader));
    assert_int_equal(handlers_count(reader), 40);
    set_status(writer, 7, HANDLER_DISABLED);
    assert_int_equal(handlers_find(reader, 7)->status, HANDLER_ENABLED);
    assert_true(poll_changed(reader));
    assert_int_equal(handlers_find(reader, 7)->status, HANDLER_DISABLED);
    for (size_t i = 0; i < handlers_count(reader); i++) {
        assert_int_equal(handlers_at(reader, i)->id, i + 1);
        assert_ptr_equal(handlers_find(reader, (int64_t)i + 1), handlers_at(reader, i));
    }
    assert_null(handlers_find(reader, 0));
    assert_null(handlers_find(reader, 41));
    assert_int_equal(handlers_version(reader), 41);
}

/* A write reads what others changed first; the next poll must still say so. */
static void a_write_hides_no_change_from_poll(void **state)
{
    AUTO_HANDLERS *mine = open_handlers(*state);
    AUTO_HANDLERS *others = open_handlers(*state);
    add(others, "a");
    add(mine, "b");
    assert_int_equal(handlers_count(mine), 2);
    assert_true(poll_changed(mine));
    assert_false(poll_changed(mine));
    add(mine, "c"); /* own writes count as well */
    assert_true(poll_changed(mine));
}

/* Writers in several processes: every id and every version is given once. */
enum { WRITERS = 4, EACH = 15 };

static void write_some(const folder_t *folder, int start)
{
    char c;
    handlers_t *handlers = NULL;
    while (read(start, &c, 1) > 0)
        ;
    fault_t fault = {""};
    result_t r = handlers_open(folder->path, &handlers, &fault);
    for (int i = 0; i < EACH && r == RESULT_OK; i++) {
        AUTO_HANDLER handler;
        make_handler(&handler, "a");
        r = handlers_add(handlers, &handler, &fault);
        if (r == RESULT_OK && i % 3 == 0)
            r = handlers_set_status(handlers, handler.id, HANDLER_DELETED, NULL, &fault);
    }
    if (r != RESULT_OK)
        print_error("%s\n", fault.text);
    handlers_close(&handlers);
    _exit(r == RESULT_OK ? 0 : 1);
}

static void processes_write_at_once(void **state)
{
    int start[2];
    pid_t pids[WRITERS];
    assert_int_equal(pipe(start), 0);
    fflush(NULL);
    for (int i = 0; i < WRITERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            close(start[1]);
            write_some(*state, start[0]);
        }
    }
    close(start[0]);
    close(start[1]);
    for (int i = 0; i < WRITERS; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    AUTO_HANDLERS *handlers = open_handlers(*state);
    assert_int_equal(handlers_count(handlers), WRITERS * EACH);
    for (size_t i = 0; i < handlers_count(handlers); i++)
        assert_int_equal(handlers_at(handlers, i)->id, i + 1);
    int64_t changes = 0;
    handler_change_t change;
    while (handlers_next_change(handlers, changes, &change) == RESULT_OK)
        assert_int_equal(change.seq, ++changes);
    assert_int_equal(changes, WRITERS * (EACH + EACH / 3));
    assert_int_equal(handlers_version(handlers), changes);
}

static void the_change_log_is_bounded(void **state)
{
    AUTO_HANDLERS *handlers = open_handlers(*state);
    add(handlers, "a");
    add(handlers, "b");
    __attribute__((cleanup(db_close))) db_t *db = NULL;
    assert_int_equal(db_open(folder_file(*state, "handlers.db"), DB_WRITE, &db, NULL), RESULT_OK);
    assert_int_equal(store_meta_set_int(db, "table_version", 100001), RESULT_OK);
    add(handlers, "c"); /* number 100,002: the first two are more than 100,000 changes ago */
    handler_change_t change;
    assert_int_equal(handlers_next_change(handlers, 0, &change), RESULT_OK);
    assert_int_equal(change.seq, 100002);
}

static void long_texts_of_changes_are_cut_between_characters(void **state)
{
    AUTO_HANDLERS *handlers = open_handlers(*state);
    AUTO_BUF reason = {0}, name = {0};
    while (reason.size < 300)
        buf_add_str(&reason, "ü"); /* 2 bytes; 255 is in the middle of one */
    while (name.size < 512)
        buf_add_str(&name, "\xf0\x9f\x98\x80"); /* 128 characters of 4 bytes */
    int64_t id = add(handlers, name.data);
    handler_change_t change;
    assert_int_equal(handlers_set_status(handlers, id, HANDLER_SUSPENDED, reason.data, NULL),
                     RESULT_OK);
    assert_int_equal(handlers_next_change(handlers, 1, &change), RESULT_OK);
    assert_int_equal(strlen(change.reason), 254);
    assert_int_equal(strncmp(change.reason, reason.data, 254), 0);
    assert_string_equal(change.name, name.data);
}

static void a_busy_table_is_said(void **state)
{
    AUTO_HANDLERS *handlers = open_handlers(*state);
    AUTO_HANDLER handler;
    fault_t fault;
    make_handler(&handler, "a");
    __attribute__((cleanup(db_close))) db_t *db = NULL;
    assert_int_equal(db_open(folder_file(*state, "handlers.db"), DB_WRITE, &db, NULL), RESULT_OK);
    assert_int_equal(db_begin(db), RESULT_OK);
    assert_int_equal(handlers_poll(handlers, NULL), RESULT_OK); /* readers do not wait */
    assert_int_equal(handlers_add(handlers, &handler, &fault), RESULT_AGAIN);
    assert_non_null(strstr(fault.text, "handlers.db is busy; try again"));
    handlers_never_wait(handlers);
    int64_t began_ms = clk_mono_ms();
    assert_int_equal(handlers_add(handlers, &handler, &fault), RESULT_AGAIN);
    assert_in_range(clk_mono_ms() - began_ms, 0, 4000);
    db_rollback(db);
    assert_int_equal(handlers_add(handlers, &handler, &fault), RESULT_OK);
}

static void a_table_that_cannot_be_opened_is_said(void **state)
{
    handlers_t *handlers = NULL;
    fault_t fault;
    int fd = open(folder_file(*state, "handlers.db"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    char noise[4096];
    memset(noise, 'x', sizeof noise);
    assert_int_equal(write(fd, noise, sizeof noise), sizeof noise);
    close(fd);
    assert_int_equal(handlers_open(((folder_t *)*state)->path, &handlers, &fault), RESULT_CORRUPT);
    assert_non_null(strstr(fault.text, "handlers.db"));
    assert_null(handlers);
}

#define test(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_new_table_is_empty),
        test(every_setting_comes_back),
        test(what_is_absent_stays_absent),
        test(an_invalid_handler_is_not_stored),
        test(each_change_raises_the_version_and_is_logged),
        test(a_status_changes_only_as_it_may),
        test(what_does_not_exist_is_not_found),
        test(what_has_ended_is_not_updated),
        test(an_update_of_what_was_changed_meanwhile_is_refused),
        test(ids_are_never_used_again),
        test(poll_sees_what_others_wrote),
        test(a_write_hides_no_change_from_poll),
        test(processes_write_at_once),
        test(the_change_log_is_bounded),
        test(long_texts_of_changes_are_cut_between_characters),
        test(a_busy_table_is_said),
        test(a_table_that_cannot_be_opened_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
