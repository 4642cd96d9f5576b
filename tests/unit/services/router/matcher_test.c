#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "services/router/matcher.h"

enum { MAX = 8 };

typedef struct {
    int64_t id, priority;
    handler_status_t status;
    const char *events, *filter;
} row_t;

static matcher_t *make(const row_t *rows, size_t n)
{
    handler_t handlers[MAX] = {0};
    const handler_t *pointers[MAX];
    for (size_t i = 0; i < n; i++) {
        handlers[i] = (handler_t){.id = rows[i].id,
                                  .priority = rows[i].priority,
                                  .status = rows[i].status,
                                  .events = (char *)rows[i].events,
                                  .filter = (char *)rows[i].filter};
        pointers[i] = &handlers[i];
    }
    return matcher_new(pointers, n);
}

/* The targets' ids, as in "3 1". */
static const char *match(matcher_t *matcher, const event_t *event)
{
    static char text[256];
    const target_t *targets;
    size_t n = matcher_match(matcher, event, &targets);
    text[0] = 0;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(targets[i].event, 0);
        sprintf(text + strlen(text), "%s%d", i ? " " : "", (int)targets[i].handler_id);
    }
    return text;
}

static const char *match_id(matcher_t *matcher, const char *events_id)
{
    event_t event = {.events_id = slice_of(events_id), .body = SLICE("{\"data\":{}}")};
    return match(matcher, &event);
}

static void patterns(void **state)
{
    (void)state;
    static const row_t rows[] = {
        {1, 0, HANDLER_ENABLED, "clients.create", NULL},
        {2, 0, HANDLER_ENABLED, "clients.*", NULL},
        {3, 0, HANDLER_ENABLED, "*", NULL},
        {4, 0, HANDLER_ENABLED, "clients.accounts.* dids.create", NULL},
        {5, 0, HANDLER_ENABLED, "  dids.*\tclients ", NULL},
    };
    static const struct {
        const char *events_id, *targets;
    } cases[] = {
        {"clients.create", "1 2 3"},
        {"clients.update", "2 3"},
        {"clients.accounts.create", "2 3 4"},
        {"clients.accounts", "2 3"},
        {"clients", "3 5"},
        {"clients.", "3"},
        {"clientsx.create", "3"},
        {"dids.create", "3 4 5"},
        {"dids.create.x", "3 5"},
        {"", "3"},
        {"...", "3"},
        {"*", "3"},
        {"clients.*", "2 3"},
    };
    AUTO(matcher) matcher = make(rows, sizeof rows / sizeof *rows);
    assert_int_equal(matcher_size(matcher), 5);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(match_id(matcher, cases[i].events_id), cases[i].targets) != 0)
            fail_msg("%s: %s", cases[i].events_id, match_id(matcher, cases[i].events_id));
}

static void a_handler_matches_once(void **state)
{
    (void)state;
    static const row_t rows[] = {
        {1, 0, HANDLER_ENABLED, "clients.create clients.* * clients.create *", NULL},
        {2, 0, HANDLER_ENABLED, "clients.create clients.create", NULL},
        {3, 0, HANDLER_ENABLED, "clients.accounts.* clients.* clients.accounts.create", NULL},
    };
    AUTO(matcher) matcher = make(rows, 3);
    assert_string_equal(match_id(matcher, "clients.create"), "1 2 3");
    assert_string_equal(match_id(matcher, "clients.accounts.create"), "1 3");
    assert_string_equal(match_id(matcher, "clients.*"), "1 3");
    assert_string_equal(match_id(matcher, "*"), "1");
}

static void order_is_by_priority_then_id(void **state)
{
    (void)state;
    static const row_t rows[] = {
        {1, 200, HANDLER_ENABLED, "*", NULL},
        {2, 100, HANDLER_ENABLED, "clients.*", NULL},
        {3, -5, HANDLER_ENABLED, "clients.*", NULL},
        {4, 100, HANDLER_ENABLED, "clients.create", NULL},
        {5, 100, HANDLER_ENABLED, "*", NULL},
        {6, INT64_MAX, HANDLER_ENABLED, "*", NULL},
        {7, INT64_MIN, HANDLER_ENABLED, "*", NULL},
    };
    AUTO(matcher) matcher = make(rows, 7);
    assert_string_equal(match_id(matcher, "clients.create"), "7 3 2 4 5 1 6");
}

static void status_decides(void **state)
{
    (void)state;
    static const row_t rows[] = {
        {1, 0, HANDLER_ENABLED, "*", NULL},   {2, 0, HANDLER_DISABLED, "*", NULL},
        {3, 0, HANDLER_SUSPENDED, "*", NULL}, {4, 0, HANDLER_ARCHIVED, "*", NULL},
        {5, 0, HANDLER_DELETED, "*", NULL},
    };
    AUTO(matcher) matcher = make(rows, 5);
    assert_int_equal(matcher_size(matcher), 2);
    assert_string_equal(match_id(matcher, "dids.hold"), "1 3");
}

static void a_replay_goes_to_its_handler_only(void **state)
{
    (void)state;
    static const row_t rows[] = {
        {9, 0, HANDLER_ENABLED, "*", NULL},
        {2, 1, HANDLER_DISABLED, "dids.*", NULL},
        {3, 2, HANDLER_SUSPENDED, "dids.*", "/data/x = 1"},
        {4, 3, HANDLER_ARCHIVED, "*", NULL},
        {5, 4, HANDLER_DELETED, "*", NULL},
        {7, 5, HANDLER_ENABLED, "dids.*", "not a filter"},
    };
    static const struct {
        int64_t handler;
        const char *targets;
    } cases[] = {{9, "9"}, {2, "2"}, {3, "3"}, {4, ""},  {5, ""},
                 {7, "7"}, {1, ""},  {6, ""},  {10, ""}, {-1, ""}};
    AUTO(matcher) matcher = make(rows, 6);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        event_t event = {.events_id = SLICE("clients.create"),
                         .body = SLICE("{}"),
                         .replay_handler = cases[i].handler};
        if (strcmp(match(matcher, &event), cases[i].targets) != 0)
            fail_msg("%d", (int)cases[i].handler);
    }
    event_t event = {.replay_handler = 3};
    const target_t *targets;
    assert_int_equal(matcher_match(matcher, &event, &targets), 1);
    assert_int_equal(targets[0].priority, 2);
}

static void filters_come_after_patterns(void **state)
{
    (void)state;
    static const row_t rows[] = {
        {1, 0, HANDLER_ENABLED, "clients.*", "/data/currency = \"EUR\""},
        {2, 0, HANDLER_ENABLED, "*", "/data/amount > 10"},
        {3, 0, HANDLER_ENABLED, "dids.*", "/data/currency = \"EUR\""},
        {4, 0, HANDLER_ENABLED, "clients.create", ""},
    };
    AUTO(matcher) matcher = make(rows, 4);
    event_t event = {.events_id = SLICE("clients.create"),
                     .body = SLICE("{\"event\":{},\"data\":{\"currency\":\"EUR\",\"amount\":9}}")};
    assert_string_equal(match(matcher, &event), "1 4");
    event.body = SLICE("{\"event\":{},\"data\":{\"currency\":\"USD\",\"amount\":11}}");
    assert_string_equal(match(matcher, &event), "2 4");
    assert_null(matcher_fault(matcher));
}

static void a_filter_of_a_newer_version_makes_its_events_unsure(void **state)
{
    (void)state;
    static const row_t rows[] = {
        {1, 0, HANDLER_ENABLED, "*", NULL},
        {2, 0, HANDLER_ENABLED, "dids.*", "/data/x matches \"^a\""},
    };
    AUTO(matcher) matcher = make(rows, 2);
    assert_int_equal(matcher_size(matcher), 1);
    assert_string_equal(match_id(matcher, "dids.hold"), "1");
    assert_true(matcher_unsure(matcher));
    assert_string_equal(match_id(matcher, "clients.create"), "1");
    assert_false(matcher_unsure(matcher));
    event_t replay = {.events_id = SLICE("dids.hold"), .replay_handler = 2};
    assert_string_equal(match(matcher, &replay), "2"); /* filters do not matter */
    assert_false(matcher_unsure(matcher));
    assert_non_null(strstr(matcher_fault(matcher), "handler 2: filter: expected an operator"));
}

static void without_handlers(void **state)
{
    (void)state;
    AUTO(matcher) matcher = matcher_new(NULL, 0);
    assert_string_equal(match_id(matcher, "dids.hold"), "");
    assert_int_equal(matcher_size(matcher), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns),
        cmocka_unit_test(a_handler_matches_once),
        cmocka_unit_test(order_is_by_priority_then_id),
        cmocka_unit_test(status_decides),
        cmocka_unit_test(a_replay_goes_to_its_handler_only),
        cmocka_unit_test(filters_come_after_patterns),
        cmocka_unit_test(a_filter_of_a_newer_version_makes_its_events_unsure),
        cmocka_unit_test(without_handlers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
