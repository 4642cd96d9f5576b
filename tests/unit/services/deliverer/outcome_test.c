#include "services/deliverer/outcome.h"
#include "tests/support/unit.h"

static void outcome_follows_from_end_and_status(void **state)
{
    static const struct {
        exchange_end_t end;
        int64_t status;
        outcome_t outcome;
        lanes_health_t health;
    } cases[] = {
        {EXCHANGE_ANSWERED, 200, OUTCOME_DELIVERED, LANES_HEALTHY},
        {EXCHANGE_ANSWERED, 204, OUTCOME_DELIVERED, LANES_HEALTHY},
        {EXCHANGE_ANSWERED, 299, OUTCOME_DELIVERED, LANES_HEALTHY},
        {EXCHANGE_ANSWERED, 199, OUTCOME_FAILED, LANES_HEALTHY},
        {EXCHANGE_ANSWERED, 301, OUTCOME_FAILED, LANES_HEALTHY},
        {EXCHANGE_ANSWERED, 400, OUTCOME_FAILED, LANES_HEALTHY},
        {EXCHANGE_ANSWERED, 404, OUTCOME_FAILED, LANES_HEALTHY},
        {EXCHANGE_ANSWERED, 408, OUTCOME_FAILED, LANES_UNHEALTHY},
        {EXCHANGE_ANSWERED, 410, OUTCOME_GONE, LANES_HEALTHY},
        {EXCHANGE_ANSWERED, 429, OUTCOME_FAILED, LANES_UNHEALTHY},
        {EXCHANGE_ANSWERED, 500, OUTCOME_FAILED, LANES_UNHEALTHY},
        {EXCHANGE_ANSWERED, 503, OUTCOME_FAILED, LANES_UNHEALTHY},
        {EXCHANGE_TIMEOUT, 200, OUTCOME_FAILED, LANES_UNHEALTHY},
        {EXCHANGE_TIMEOUT, 410, OUTCOME_FAILED, LANES_UNHEALTHY},
        {EXCHANGE_REFUSED, 0, OUTCOME_FAILED, LANES_UNHEALTHY},
        {EXCHANGE_TLS, 0, OUTCOME_FAILED, LANES_UNHEALTHY},
        {EXCHANGE_BROKEN, 200, OUTCOME_FAILED, LANES_UNHEALTHY},
        {EXCHANGE_INVALID, 0, OUTCOME_FAILED, LANES_NEUTRAL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        exchange_result_t result = {.end = cases[i].end, .status = cases[i].status};
        print_message("  end %d status %d\n", (int)cases[i].end, (int)cases[i].status);
        assert_int_equal(outcome_of(&result), cases[i].outcome);
        assert_int_equal(outcome_health(&result), cases[i].health);
    }
}

/* Now is Sun, 06 Nov 1994 08:49:37 GMT and a half. */
#define NOW_WALL_MS INT64_C(784111777500)

static void retry_after_is_seconds_or_a_date(void **state)
{
    static const struct {
        const char *value;
        int64_t ms;
    } cases[] = {
        {"120", 120000},
        {"0", 0},
        {" 7\t", 7000},
        {"007", 7000},
        {"99999999999999999999999999999", INT64_C(1000000000) * 1000},
        {"Sun, 06 Nov 1994 08:49:47 GMT", 9500},
        {"Sunday, 06-Nov-94 08:49:47 GMT", 9500},
        {"Sun Nov  6 08:49:47 1994", 9500},
        {"Mon, 07 Nov 1994 08:49:37 GMT", 86399500},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Fri, 31 Feb 1995 08:49:37 GMT", 0},
        {"Sun, 06 Nov 1994 08:49:47 GMT+1", 0},
        {"Sun, 06 Nov 1994 08:49:47 CET", 0},
        {"Sun, 06 Nov 1994 25:49:47 GMT", 0},
        {"", 0},
        {"   ", 0},
        {"-5", 0},
        {"1.5", 0},
        {"5s", 0},
        {"soon", 0},
        {"1234567890123456789012345678901234567890123456789012345", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("  \"%s\"\n", cases[i].value);
        exchange_result_t result = {.end = EXCHANGE_ANSWERED,
                                    .status = i % 2 ? 429 : 503,
                                    .retry_after = slice_of(cases[i].value)};
        assert_int_equal(outcome_retry_after_ms(&result, NOW_WALL_MS), cases[i].ms);
    }
}

static void retry_after_with_a_zero_byte_is_malformed(void **state)
{
    exchange_result_t result = {.end = EXCHANGE_ANSWERED,
                                .status = 503,
                                .retry_after = {"12\0"
                                                "3",
                                                4}};
    (void)state;
    assert_int_equal(outcome_retry_after_ms(&result, NOW_WALL_MS), 0);
}

static void retry_after_counts_only_with_429_and_503(void **state)
{
    static const struct {
        exchange_end_t end;
        int64_t status, ms;
    } cases[] = {
        {EXCHANGE_ANSWERED, 429, 5000}, {EXCHANGE_ANSWERED, 503, 5000}, {EXCHANGE_ANSWERED, 500, 0},
        {EXCHANGE_ANSWERED, 301, 0},    {EXCHANGE_BROKEN, 503, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        exchange_result_t result = {
            .end = cases[i].end, .status = cases[i].status, .retry_after = SLICE("5")};
        assert_int_equal(outcome_retry_after_ms(&result, NOW_WALL_MS), cases[i].ms);
    }
    exchange_result_t absent = {.end = EXCHANGE_ANSWERED, .status = 503};
    assert_int_equal(outcome_retry_after_ms(&absent, NOW_WALL_MS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcome_follows_from_end_and_status),
        cmocka_unit_test(retry_after_is_seconds_or_a_date),
        cmocka_unit_test(retry_after_with_a_zero_byte_is_malformed),
        cmocka_unit_test(retry_after_counts_only_with_429_and_503),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
