#include "tests/support/folder.h"

#include <sqlite3.h>

#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "services/deliverer/roster.h"

/* A roster, and the command line's side of the same table. */
typedef struct {
    folder_t folder;
    roster_t *roster;
    handlers_t *table;
    log_t log;
    buf_t calls; /* "changed:1 released:1 gone:2 " since the last look */
} world_t;

static void on_changed(void *owner, roster_handler_t *handler, bool released)
{
    world_t *world = owner;
    assert_non_null(handler->settings);
    buf_printf(&world->calls, "%s:%lld ", released ? "released" : "changed",
               (long long)handler->id);
}

static void on_gone(void *owner, roster_handler_t *handler)
{
    world_t *world = owner;
    assert_true(roster_gone(handler));
    buf_printf(&world->calls, "gone:%lld ", (long long)handler->id);
}

static settings_defaults_t defaults_with(const char *retry, int64_t window)
{
    return (settings_defaults_t){.window = window,
                                 .timeout_ms = 15000,
                                 .connect_timeout_ms = 5000,
                                 .response_max_bytes = 16384,
                                 .retry = retry,
                                 .breaker = {.failures_max = 5, .probe_ms = 1000}};
}

static int64_t add(world_t *world, const char *name)
{
    handler_t handler;
    fault_t fault = {""};
    handler_init(&handler);
    free(handler.name);
    free(handler.events);
    free(handler.task);
    handler.name = mem_strdup(name);
    handler.events = mem_strdup("clients.*");
    handler.task = mem_strdup("https://my-domain.org/api");
    if (handlers_add(world->table, &handler, &fault) != RESULT_OK)
        fail_msg("%s", fault.text);
    int64_t id = handler.id;
    handler_release(&handler);
    return id;
}

static void set_status(world_t *world, int64_t id, handler_status_t status)
{
    fault_t fault = {""};
    if (handlers_set_status(world->table, id, status, NULL, &fault) != RESULT_OK)
        fail_msg("%s", fault.text);
}

static handler_status_t stored_status(world_t *world, int64_t id)
{
    assert_int_equal(handlers_poll(world->table, NULL), RESULT_OK);
    return handlers_find(world->table, id)->status;
}

static int set_up(void **state)
{
    static const roster_calls_t calls = {on_changed, on_gone};
    world_t *world = calloc(1, sizeof *world);
    settings_defaults_t defaults = defaults_with("5s", 16);
    fault_t fault = {""};
    world->log = (log_t){.service = "test", .level = LEVEL_ERROR};
    if (folder_make(&world->folder) != 0 ||
        handlers_open(world->folder.path, &world->table, &fault) != RESULT_OK ||
        roster_open(world->folder.path, &defaults, &world->log, &calls, world, &world->roster,
                    &fault) != RESULT_OK)
        return -1;
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    world_t *world = *state;
    roster_close(&world->roster);
    handlers_close(&world->table);
    buf_release(&world->calls);
    folder_remove(&world->folder);
    free(world);
    return 0;
}

static void assert_calls(world_t *world, const char *expected)
{
    assert_string_equal(buf_slice(&world->calls).size ? world->calls.data : "", expected);
    buf_clear(&world->calls);
}

static void assert_polled(world_t *world, const char *expected)
{
    assert_true(roster_poll(world->roster));
    assert_calls(world, expected);
}

static void each_change_is_told_once(void **state)
{
    world_t *world = *state;
    assert_polled(world, "");
    (void)add(world, "one");
    (void)add(world, "two");
    assert_calls(world, ""); /* not before a poll */
    assert_polled(world, "changed:1 changed:2 ");
    assert_polled(world, "");
    set_status(world, 2, HANDLER_DISABLED);
    assert_polled(world, "changed:2 ");
    assert_true(roster_paused(roster_find(world->roster, 2)));
    set_status(world, 2, HANDLER_ENABLED);
    assert_polled(world, "released:2 ");
    assert_false(roster_paused(roster_find(world->roster, 2)));
    assert_int_equal(roster_version(world->roster), handlers_version(world->table));
    assert_true(roster_readable(world->roster));
}

static void handlers_are_found_by_id_and_place(void **state)
{
    world_t *world = *state;
    for (int i = 0; i < 5; i++)
        (void)add(world, (char[]){(char)('a' + i), 0});
    assert_true(roster_poll(world->roster));
    for (int64_t id = 1; id <= 5; id++) {
        assert_int_equal(roster_find(world->roster, id)->id, id);
        assert_int_equal(roster_at(world->roster, (size_t)id - 1)->id, id);
    }
    assert_null(roster_find(world->roster, 0));
    assert_null(roster_find(world->roster, 6));
    assert_null(roster_at(world->roster, 5));
}

static void who_is_gone_is_told_once(void **state)
{
    world_t *world = *state;
    (void)add(world, "one");
    (void)add(world, "two");
    assert_polled(world, "changed:1 changed:2 ");
    set_status(world, 1, HANDLER_ARCHIVED);
    assert_polled(world, "gone:1 ");
    assert_string_equal(roster_gone_reason(roster_find(world->roster, 1)), "archived");
    set_status(world, 1, HANDLER_DELETED);
    assert_polled(world, "");
    assert_string_equal(roster_gone_reason(roster_find(world->roster, 1)), "deleted");
    assert_false(roster_gone(roster_find(world->roster, 2)));
    assert_true(roster_gone(NULL));
    assert_string_equal(roster_gone_reason(NULL), "deleted");
}

static void who_was_gone_before_the_start_is_told(void **state)
{
    world_t *world = *state;
    (void)add(world, "one");
    set_status(world, 1, HANDLER_DELETED);
    assert_polled(world, "gone:1 ");
}

static void a_suspended_handler_parks_until_it_is_enabled(void **state)
{
    world_t *world = *state;
    (void)add(world, "one");
    assert_polled(world, "changed:1 ");
    roster_handler_t *handler = roster_find(world->roster, 1);
    roster_suspend(world->roster, handler, "410 Gone");
    assert_true(roster_paused(handler));
    assert_int_equal(stored_status(world, 1), HANDLER_SUSPENDED);
    assert_string_equal(handlers_find(world->table, 1)->status_reason, "410 Gone");
    buf_clear(&world->calls);
    roster_suspend(world->roster, handler, "again"); /* it is */
    assert_calls(world, "");
    set_status(world, 1, HANDLER_ENABLED);
    assert_polled(world, "released:1 ");
}

/* Somebody else writes and takes his time. */
static sqlite3 *hold_table(world_t *world)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(folder_file(&world->folder, "handlers.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static void a_suspension_follows_when_the_table_was_busy(void **state)
{
    world_t *world = *state;
    (void)add(world, "one");
    assert_polled(world, "changed:1 ");
    roster_handler_t *handler = roster_find(world->roster, 1);
    sqlite3 *other = hold_table(world);
    roster_suspend(world->roster, handler, "410 Gone");
    assert_calls(world, "changed:1 "); /* it parks here */
    assert_true(roster_paused(handler));
    assert_int_equal(stored_status(world, 1), HANDLER_ENABLED);
    assert_polled(world, "");
    assert_true(roster_paused(handler));
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_true(roster_poll(world->roster));
    assert_int_equal(stored_status(world, 1), HANDLER_SUSPENDED);
    assert_true(roster_paused(handler));
    assert_null(handler->suspend_reason);
}

static void what_an_operator_did_meanwhile_counts_more(void **state)
{
    world_t *world = *state;
    (void)add(world, "one");
    (void)add(world, "two");
    assert_polled(world, "changed:1 changed:2 ");
    sqlite3 *other = hold_table(world);
    roster_suspend(world->roster, roster_find(world->roster, 1), "410 Gone");
    roster_suspend(world->roster, roster_find(world->roster, 2), "410 Gone");
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    buf_clear(&world->calls);
    set_status(world, 1, HANDLER_DISABLED);
    set_status(world, 2, HANDLER_DELETED);
    assert_polled(world, "changed:1 gone:2 ");
    assert_int_equal(stored_status(world, 1), HANDLER_DISABLED);
    assert_int_equal(stored_status(world, 2), HANDLER_DELETED);
    assert_polled(world, "");
}

static void new_defaults_are_new_settings(void **state)
{
    world_t *world = *state;
    (void)add(world, "one");
    assert_polled(world, "changed:1 ");
    assert_int_equal(roster_find(world->roster, 1)->settings->lanes.window, 16);
    char *retry = mem_strdup("1s,2s");
    settings_defaults_t defaults = defaults_with(retry, 3);
    roster_reload(world->roster, &defaults);
    memset(retry, 'x', strlen(retry)); /* it was copied */
    free(retry);
    assert_calls(world, "changed:1 ");
    assert_int_equal(roster_find(world->roster, 1)->settings->lanes.window, 3);
    (void)add(world, "two");
    assert_polled(world, "changed:2 ");
    assert_string_equal(roster_find(world->roster, 2)->settings->fault.text, "");
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        test(each_change_is_told_once),
        test(handlers_are_found_by_id_and_place),
        test(who_is_gone_is_told_once),
        test(who_was_gone_before_the_start_is_told),
        test(a_suspended_handler_parks_until_it_is_enabled),
        test(a_suspension_follows_when_the_table_was_busy),
        test(what_an_operator_did_meanwhile_counts_more),
        test(new_defaults_are_new_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
