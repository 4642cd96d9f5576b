#include "services/deliverer/settings.h"
#include "common/base/cleanup.h"
#include "tests/support/unit.h"

static const settings_defaults_t defaults = {.window = 16,
                                             .timeout_ms = 15000,
                                             .connect_timeout_ms = 5000,
                                             .response_max_bytes = 16384,
                                             .retry = "5s,1m",
                                             .breaker = {10, 10000}};

static void begin(handler_t *handler, handler_type_t type, const char *task)
{
    handler_init(handler);
    handler->id = 7;
    handler->version = 3;
    handler->name = strdup("crm");
    handler->type = type;
    handler->task = strdup(task);
}

static settings_t *end(handler_t *handler)
{
    settings_t *settings = settings_new(handler, &defaults);
    handler_release(handler);
    return settings;
}

static void what_is_not_set_is_the_default(void **state)
{
    handler_t handler;
    (void)state;
    begin(&handler, HANDLER_HTTPS, "my-domain.org/api");
    AUTO(settings) settings = end(&handler);
    assert_int_equal(settings->handler_id, 7);
    assert_int_equal(settings->version, 3);
    assert_string_equal(settings->name, "crm");
    assert_string_equal(settings->url, "https://my-domain.org/api");
    assert_int_equal(settings->timeout_ms, 15000);
    assert_int_equal(settings->connect_timeout_ms, 5000);
    assert_int_equal(settings->response_max_bytes, 16384);
    assert_int_equal(settings->lanes.window, 16);
    assert_int_equal(settings->lanes.rate, 0);
    assert_int_equal(settings->lanes.hold_ms, -1);
    assert_int_equal(settings->lanes.breaker.failures_max, 10);
    assert_int_equal(settings->schedule.n_delays, 2);
    assert_true(settings->ordered && !settings->script && !settings->http2);
    assert_null(settings->signature);
    assert_null(settings->ca_file);
    assert_int_equal(settings->n_headers, 0);
    assert_string_equal(settings->fault.text, "");
}

static void what_the_handler_sets_wins(void **state)
{
    handler_t handler;
    (void)state;
    begin(&handler, HANDLER_SCRIPT, "notify");
    handler.timeout_ms = 0;
    handler.window = 2;
    handler.rate = 9;
    handler.hold_ms = 1000;
    handler.retry = strdup("");
    handler.ordering = HANDLER_ORDER_NONE;
    handler.tls = HANDLER_TLS_INSECURE;
    handler.http2 = 1;
    handler.ca_file = strdup("/ca.pem");
    handler.cert_file = strdup("");
    handler.secrets = strdup("a-secret-of-more-than-24-bytes");
    AUTO(settings) settings = end(&handler);
    assert_string_equal(settings->url, "notify");
    assert_int_equal(settings->timeout_ms, 0);
    assert_int_equal(settings->lanes.window, 2);
    assert_int_equal(settings->lanes.rate, 9);
    assert_int_equal(settings->lanes.hold_ms, 1000);
    assert_int_equal(settings->schedule.n_delays, 0);
    assert_true(settings->script && !settings->ordered && settings->tls_insecure);
    assert_true(settings->http2);
    assert_string_equal(settings->ca_file, "/ca.pem");
    assert_null(settings->cert_file); /* empty is none */
    assert_non_null(settings->signature);
    assert_string_equal(settings->fault.text, "");
}

static void passwords_are_not_shown(void **state)
{
    static const struct {
        const char *task, *shown;
    } cases[] = {
        {"a.org/x", "https://a.org/x"},
        {"https://u:p@a.org:8/x?y", "https://***@a.org:8/x?y"},
        {"https://u:p@q@a.org", "https://***@a.org"},
        {"https://a.org/x@y", "https://a.org/x@y"},
        {"https://a.org?x@y", "https://a.org?x@y"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        handler_t handler;
        begin(&handler, HANDLER_HTTPS, cases[i].task);
        AUTO(settings) settings = end(&handler);
        assert_string_equal(settings->shown_url, cases[i].shown);
    }
}

static void header_lines_are_split(void **state)
{
    handler_t handler;
    (void)state;
    begin(&handler, HANDLER_HTTPS, "a.org");
    handler.headers = strdup("A: 1\r\n\nB: 2\n\r\nC: 3");
    AUTO(settings) settings = end(&handler);
    assert_int_equal(settings->n_headers, 3);
    assert_string_equal(settings->headers[0], "A: 1");
    assert_string_equal(settings->headers[1], "B: 2");
    assert_string_equal(settings->headers[2], "C: 3");
    assert_null(settings->headers[3]);
}

static void what_cannot_be_called_has_a_fault(void **state)
{
    handler_t handler;
    (void)state;
    begin(&handler, HANDLER_HTTPS, "a.org");
    handler.retry = strdup("soon");
    AUTO(settings) no_schedule = end(&handler);
    assert_string_not_equal(no_schedule->fault.text, "");
    begin(&handler, HANDLER_HTTPS, "a.org");
    handler.secrets = strdup("whsec_short");
    AUTO(settings) no_secret = end(&handler);
    assert_string_not_equal(no_secret->fault.text, "");
}

/* Under a sanitizer this shows that it is neither freed too early nor never. */
static void the_last_reference_ends_it(void **state)
{
    handler_t handler;
    (void)state;
    begin(&handler, HANDLER_HTTPS, "a.org");
    settings_t *first = end(&handler);
    settings_t *second = settings_ref(first);
    settings_destroy(&first);
    assert_null(first);
    assert_string_equal(second->name, "crm");
    settings_destroy(&second);
    settings_destroy(&second); /* nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_set_is_the_default),
        cmocka_unit_test(what_the_handler_sets_wins),
        cmocka_unit_test(passwords_are_not_shown),
        cmocka_unit_test(header_lines_are_split),
        cmocka_unit_test(what_cannot_be_called_has_a_fault),
        cmocka_unit_test(the_last_reference_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
