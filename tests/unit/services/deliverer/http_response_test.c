#include "services/deliverer/http_response.h"
#include "tests/support/unit.h"

static void lines(http_response_t *response, const char *const *texts)
{
    for (; *texts; texts++)
        (void)http_response_header(response, slice_of(*texts));
}

static void the_last_status_line_counts(void **state)
{
    http_response_t response = {0};
    (void)state;
    http_response_begin(&response, 100);
    lines(&response, (const char *[]){"HTTP/1.1 100 Continue\r\n", "Retry-After: 7\r\n", "\r\n",
                                      "HTTP/1.1 503 Busy\r\n", "X-One: 1\r\n", "\r\n",
                                      "Retry-After: 9\r\n", NULL}); /* a trailer */
    assert_int_equal(response.status, 503);
    assert_string_equal(response.headers.data, "HTTP/1.1 503 Busy\r\nX-One: 1\r\n");
    assert_int_equal(response.retry_after_size, 0);
    assert_int_equal(response.reading, HTTP_READING);
    http_response_release(&response);
}

static void status_lines_are_read(void **state)
{
    static const struct {
        const char *line;
        int64_t status;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n", 200}, {"HTTP/2 204\r\n", 204}, {"http/1.0 404", 404},
        {"HTTP/1.1\r\n", 0},          {"HTTP/1.1 x\r\n", 0},   {"HTTP/1.1 \r\n", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_response_t response = {0};
        http_response_begin(&response, 1);
        assert_true(http_response_header(&response, slice_of(cases[i].line)));
        if (response.status != cases[i].status)
            fail_msg("%s: %lld", cases[i].line, (long long)response.status);
        http_response_release(&response);
    }
}

static void retry_after_is_kept_without_blanks(void **state)
{
    static const struct {
        const char *line, *value;
    } cases[] = {
        {"Retry-After: 120\r\n", "120"},
        {"RETRY-AFTER:\t 5 \r\n", "5"},
        {"retry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n", "Wed, 21 Oct 2026 07:28:00 GMT"},
        {"Retry-After:\r\n", ""},
        {"X-Retry-After: 5\r\n", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_response_t response = {0};
        http_response_begin(&response, 1);
        assert_true(http_response_header(&response, slice_of(cases[i].line)));
        slice_t value = {response.retry_after, response.retry_after_size};
        if (!slice_is(value, cases[i].value))
            fail_msg("%s: %.*s", cases[i].line, SLICE_ARG(value));
        http_response_release(&response);
    }
}

static void a_value_too_long_for_retry_after_is_none(void **state)
{
    http_response_t response = {0};
    char line[HTTP_RETRY_AFTER_MAX + 32] = "Retry-After: ";
    (void)state;
    memset(line + 13, '1', HTTP_RETRY_AFTER_MAX + 1);
    http_response_begin(&response, 1);
    assert_true(http_response_header(&response, slice_of(line)));
    assert_int_equal(response.retry_after_size, 0);
    http_response_release(&response);
}

static void headers_are_kept_and_read_up_to_their_bounds(void **state)
{
    static char line[1025];
    http_response_t response = {0};
    int n = 0;
    (void)state;
    memset(line, 'h', 1024);
    http_response_begin(&response, 1);
    while (n < 100 && http_response_header(&response, slice_of(line)))
        n++;
    assert_int_equal(n, HTTP_HEADERS_MAX / 1024);
    assert_int_equal(response.headers.size, HTTP_HEADERS_KEEP);
    assert_int_equal(response.reading, HTTP_HEADERS_TOO_LARGE);
    http_response_release(&response);
}

static void after_switching_protocols_nothing_is_ours(void **state)
{
    http_response_t response = {0};
    (void)state;
    http_response_begin(&response, 1);
    assert_true(http_response_header(&response, SLICE("HTTP/1.1 101 Switching\r\n")));
    assert_false(http_response_header(&response, SLICE("\r\n")));
    assert_int_equal(response.reading, HTTP_ENOUGH);
    http_response_release(&response);
}

static void the_body_ends_at_its_bound(void **state)
{
    http_response_t response = {0};
    (void)state;
    for (int round = 0; round < 2; round++) { /* the memory is used again */
        http_response_begin(&response, 5);
        assert_int_equal(response.body.size, 0);
        assert_true(http_response_body(&response, SLICE("abc")));
        assert_true(http_response_body(&response, SLICE("de"))); /* full, nothing is missing yet */
        assert_false(http_response_body(&response, SLICE("f")));
        assert_int_equal(response.reading, HTTP_ENOUGH);
        assert_string_equal(response.body.data, "abcde");
    }
    http_response_release(&response);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_status_line_counts),
        cmocka_unit_test(status_lines_are_read),
        cmocka_unit_test(retry_after_is_kept_without_blanks),
        cmocka_unit_test(a_value_too_long_for_retry_after_is_none),
        cmocka_unit_test(headers_are_kept_and_read_up_to_their_bounds),
        cmocka_unit_test(after_switching_protocols_nothing_is_ours),
        cmocka_unit_test(the_body_ends_at_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
