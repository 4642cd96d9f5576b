#include "tests/support/unit.h"
#include "services/deliverer/request.h"

#define ID    "01M86F6QRC0000000000000001"
#define FIRST "01M86F6QRC0000000000000000"
#define BODY                                                                                       \
    "{\"event\":{\"dt\":\"2026-01-01T00:00:00+00:00\",\"events_id\":\"clients.update\"},\"data\":" \
    "{}}"

static const settings_defaults_t defaults = {.window = 16,
                                             .timeout_ms = 15000,
                                             .connect_timeout_ms = 5000,
                                             .response_max_bytes = 16384,
                                             .retry = "5s",
                                             .breaker = {10, 10000}};

static event_t an_event(void)
{
    return (event_t){.id = SLICE(ID),
                     .events_id = SLICE("clients.update"),
                     .object_kind = SLICE("client"),
                     .object_id = SLICE("\"a12\""),
                     .body = SLICE(BODY)};
}

/* Settings of a handler with these; NULL: none. */
static settings_t *settings_with(handler_type_t type, const char *task, const char *headers,
                                 const char *secrets)
{
    handler_t handler;
    handler_init(&handler);
    handler.id = 7;
    handler.name = strdup("crm");
    handler.type = type;
    handler.task = strdup(task);
    handler.headers = headers ? strdup(headers) : NULL;
    handler.secrets = secrets ? strdup(secrets) : NULL;
    settings_t *settings = settings_new(&handler, &defaults);
    handler_release(&handler);
    return settings;
}

static const char *header(const request_t *request, const char *name)
{
    for (const char **line = request->pointers; *line; line++)
        if (strncmp(*line, name, strlen(name)) == 0 && (*line)[strlen(name)] == ':')
            return *line + strlen(name) + 2;
    return NULL;
}

static void headers_stand_in_their_order(void **state)
{
    settings_t *settings = settings_with(HANDLER_HTTPS, "my-domain.org/api", "X-Key: k\nX-Two: t",
                                         "0123456789012345678901234567");
    event_t event = an_event();
    request_t request;
    static const char *const names[] = {
        "Content-Type",      "User-Agent", "webhook-id", "webhook-timestamp",
        "webhook-signature", "X-Key",      "X-Two"};
    (void)state;
    request_init(&request, settings, &event, 1, 1700000000999);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_memory_equal(request.exchange.headers[i], names[i], strlen(names[i]));
    assert_null(request.exchange.headers[sizeof names / sizeof *names]);
    assert_string_equal(header(&request, "Content-Type"), "application/json");
    assert_string_equal(header(&request, "User-Agent"), "provisor/" PROVISOR_VERSION);
    assert_string_equal(header(&request, "webhook-id"), ID);
    assert_string_equal(header(&request, "webhook-timestamp"), "1700000000");
    assert_memory_equal(header(&request, "webhook-signature"), "v1,", 3);
    assert_string_equal(request.exchange.url, "https://my-domain.org/api");
    assert_true(slice_is(request.exchange.body, BODY));
    assert_null(request.exchange.environment);
    assert_int_equal(request.exchange.timeout_ms, 15000);
    request_release(&request);
    settings_destroy(&settings);
}

static void replays_and_tests_are_marked(void **state)
{
    static const struct {
        const char *name;
        const char *webhook_id;
        int64_t replay_handler, replay;
        const char *id, *replay_header, *test_header;
    } cases[] = {
        {"an event", NULL, 0, 0, ID, NULL, NULL},
        {"a replay", FIRST, 7, 3, FIRST, "3", NULL},
        {"handler test", NULL, 7, 0, ID, NULL, "1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        settings_t *settings = settings_with(HANDLER_HTTP, "http://a/", NULL, NULL);
        event_t event = an_event();
        request_t request;
        print_message("%s\n", cases[i].name);
        event.webhook_id = slice_of(cases[i].webhook_id);
        event.replay_handler = cases[i].replay_handler;
        event.replay = cases[i].replay;
        request_init(&request, settings, &event, 1, 0);
        assert_string_equal(header(&request, "webhook-id"), cases[i].id);
        const char *replay = header(&request, "provisor-replay");
        const char *test = header(&request, "provisor-test");
        assert_string_equal(replay ? replay : "-",
                            cases[i].replay_header ? cases[i].replay_header : "-");
        assert_string_equal(test ? test : "-", cases[i].test_header ? cases[i].test_header : "-");
        assert_null(header(&request, "webhook-signature"));
        request_release(&request);
        settings_destroy(&settings);
    }
}

static void own_headers_win_but_for_the_reserved_ones(void **state)
{
    settings_t *settings =
        settings_with(HANDLER_HTTP, "http://a/",
                      "content-type: application/x\nUSER-AGENT: mine\nWebhook-Id: forged", NULL);
    event_t event = an_event();
    request_t request;
    int lines = 0;
    (void)state;
    request_init(&request, settings, &event, 1, 0);
    for (const char **line = request.pointers; *line; line++)
        lines++;
    assert_int_equal(lines, 4);
    assert_string_equal(header(&request, "content-type"), "application/x");
    assert_string_equal(header(&request, "USER-AGENT"), "mine");
    assert_string_equal(header(&request, "webhook-id"), ID);
    assert_null(header(&request, "Webhook-Id"));
    request_release(&request);
    settings_destroy(&settings);
}

static void history_shows_no_secret(void **state)
{
    settings_t *settings =
        settings_with(HANDLER_HTTPS, "https://me:pass@my-domain.org:8443/api?x=1#f",
                      "Authorization: Bearer geheim", "0123456789012345678901234567");
    event_t event = an_event();
    request_t request;
    AUTO_BUF shown = {0};
    (void)state;
    request_init(&request, settings, &event, 1, 1700000000000);
    request_show(&request, settings, &shown);
    assert_null(strstr(shown.data, "geheim"));
    assert_null(strstr(shown.data, "pass"));
    assert_ptr_equal(strstr(shown.data, "POST /api?x=1 HTTP/1.1\nHost: my-domain.org:8443\n"),
                     shown.data);
    assert_non_null(strstr(shown.data, "\nAuthorization: ***\n"));
    assert_non_null(strstr(shown.data, "\nwebhook-signature: v1,"));
    assert_string_equal(settings->shown_url, "https://***@my-domain.org:8443/api?x=1#f");
    request_release(&request);
    settings_destroy(&settings);
}

static void a_zero_byte_begins_no_other_line(void **state)
{
    settings_t *http = settings_with(HANDLER_HTTPS, "my-domain.org/api", NULL, NULL);
    settings_t *script = settings_with(HANDLER_SCRIPT, "/opt/scripts/a.sh", NULL, NULL);
    event_t event = an_event();
    request_t request;
    (void)state;
    event.webhook_id = SLICE("w1\0X-Key: mine");
    event.object_id = SLICE("12\0LD_PRELOAD=/tmp/mine.so");
    request_init(&request, http, &event, 1, 1700000000999);
    assert_string_equal(header(&request, "webhook-id"), "w1");
    assert_null(header(&request, "X-Key"));
    request_release(&request);
    request_init(&request, script, &event, 1, 1700000000999);
    for (const char **line = request.pointers; *line; line++)
        assert_memory_not_equal(*line, "LD_", 3);
    request_release(&request);
    settings_destroy(&http);
    settings_destroy(&script);
}

static void a_script_gets_an_environment_and_nothing_else(void **state)
{
    settings_t *settings = settings_with(HANDLER_SCRIPT, "/opt/scripts/a.sh", "X: y", NULL);
    event_t event = an_event();
    request_t request;
    AUTO_BUF shown = {0};
    static const char *const lines[] = {"PATH=/usr/local/bin:/usr/bin:/bin",
                                        "PROVISOR_EVENTS_ID=clients.update",
                                        "PROVISOR_OBJECT_ID=a12",
                                        "PROVISOR_DT=2026-01-01T00:00:00+00:00",
                                        "PROVISOR_WEBHOOK_ID=01M86F6QRC0000000000000001",
                                        "PROVISOR_ATTEMPT=4",
                                        NULL};
    (void)state;
    request_init(&request, settings, &event, 4, 0);
    assert_null(request.exchange.headers);
    for (size_t i = 0; lines[i]; i++)
        assert_string_equal(request.exchange.environment[i], lines[i]);
    assert_null(request.exchange.environment[6]);
    assert_string_equal(request.exchange.url, "/opt/scripts/a.sh");
    request_show(&request, settings, &shown);
    assert_memory_equal(shown.data, "/opt/scripts/a.sh\nPATH=", 23);
    request_release(&request);
    settings_destroy(&settings);
}

static void dt_is_read_from_the_body(void **state)
{
    static const struct {
        const char *body, *dt;
    } cases[] = {
        {BODY, "2026-01-01T00:00:00+00:00"},
        {"{\"event\":{\"dt\":\"x\"", "x"},
        {"{\"event\":{\"dt\":\"", ""},
        {"{\"event\":{\"events_id\":\"a\"}}", ""},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(slice_is(request_dt(slice_of(cases[i].body)), cases[i].dt));
}

static void settings_take_defaults_and_tell_faults(void **state)
{
    handler_t handler;
    (void)state;
    handler_init(&handler);
    handler.type = HANDLER_HTTP;
    handler.task = strdup("http://a/");
    settings_t *settings = settings_new(&handler, &defaults);
    assert_int_equal(settings->lanes.window, 16);
    assert_int_equal(settings->lanes.hold_ms, -1);
    assert_int_equal(settings->schedule.n_delays, 1);
    assert_true(settings->ordered);
    assert_string_equal(settings->fault.text, "");
    settings_destroy(&settings);
    handler.retry = strdup("soon");
    handler.window = 3;
    settings = settings_new(&handler, &defaults);
    assert_int_equal(settings->lanes.window, 3);
    assert_string_not_equal(settings->fault.text, "");
    settings_t *shared = settings_ref(settings);
    settings_destroy(&settings);
    assert_int_equal(shared->lanes.window, 3);
    settings_destroy(&shared);
    handler_release(&handler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_stand_in_their_order),
        cmocka_unit_test(replays_and_tests_are_marked),
        cmocka_unit_test(own_headers_win_but_for_the_reserved_ones),
        cmocka_unit_test(history_shows_no_secret),
        cmocka_unit_test(a_zero_byte_begins_no_other_line),
        cmocka_unit_test(a_script_gets_an_environment_and_nothing_else),
        cmocka_unit_test(dt_is_read_from_the_body),
        cmocka_unit_test(settings_take_defaults_and_tell_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
