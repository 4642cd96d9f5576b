#include "services/deliverer/retry.h"
#include "tests/support/unit.h"

#define DEFAULT_SCHEDULE "5s,5m,30m,2h,5h,10h,14h,20h,24h"
#define MINUTE           INT64_C(60000)

static retry_schedule_t parsed(const char *text, int64_t max_age_ms)
{
    retry_schedule_t schedule;
    fault_t fault;
    assert_int_equal(retry_parse(slice_of(text), max_age_ms, &schedule, &fault), RESULT_OK);
    return schedule;
}

static void parse_takes_lists_of_durations(void **state)
{
    static const struct {
        const char *text;
        int n;
        int64_t first_ms, last_ms;
    } cases[] = {
        {"", 0, 0, 0},
        {"  ", 0, 0, 0},
        {"5s", 1, 5000, 5000},
        {"10ms,20ms", 2, 10, 20},
        {" 5s , 5m,  30m ", 3, 5000, 1800000},
        {"0", 1, 0, 0},
        {DEFAULT_SCHEDULE, 9, 5000, 86400000},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        retry_schedule_t schedule = parsed(cases[i].text, 1234);
        print_message("  \"%s\"\n", cases[i].text);
        assert_int_equal(schedule.n_delays, cases[i].n);
        assert_int_equal(schedule.max_age_ms, 1234);
        if (schedule.n_delays == 0)
            continue;
        assert_int_equal(schedule.delays_ms[0], cases[i].first_ms);
        assert_int_equal(schedule.delays_ms[schedule.n_delays - 1], cases[i].last_ms);
    }
}

static void parse_refuses_everything_else(void **state)
{
    static const char *const cases[] = {
        "5",
        ",",
        "5s,",
        ",5s",
        "5s,,5m",
        "-5s",
        "5s;5m",
        "5s 5m",
        "1.5s",
        "s",
        "never",
        "367d",
        "999999999999999999999d",
        "1000000000000d",
        "5s,5m,\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        retry_schedule_t schedule = {.n_delays = 77};
        fault_t fault = {""};
        print_message("  \"%s\"\n", cases[i]);
        assert_int_equal(retry_parse(slice_of(cases[i]), -1, &schedule, &fault), RESULT_INVALID);
        assert_int_equal(schedule.n_delays, 77);
        assert_non_null(strstr(fault.text, "retry: delay"));
    }
}

static void parse_bounds_the_number_of_delays(void **state)
{
    AUTO_BUF text = {0};
    retry_schedule_t schedule;
    fault_t fault;
    (void)state;
    for (int i = 0; i < RETRY_DELAYS_MAX; i++)
        buf_add_str(&text, i ? ",1s" : "1s");
    assert_int_equal(retry_parse(buf_slice(&text), -1, &schedule, &fault), RESULT_OK);
    assert_int_equal(schedule.n_delays, RETRY_DELAYS_MAX);
    buf_add_str(&text, ",1s");
    assert_int_equal(retry_parse(buf_slice(&text), -1, &schedule, &fault), RESULT_INVALID);
    assert_non_null(strstr(fault.text, "more than 32 delays; write fewer"));
}

static void default_age_is_the_sum_with_jitter_and_a_minute_per_attempt(void **state)
{
    (void)state;
    assert_int_equal(parsed("10s,20s", -1).max_age_ms, 33000 + 3 * MINUTE);
    assert_int_equal(parsed("", -1).max_age_ms, MINUTE);
}

static void next_follows_the_schedule(void **state)
{
    static const struct {
        const char *name, *schedule;
        int64_t max_age_ms;
        int64_t attempt;
        int64_t age_ms, retry_after_ms;
        double chance;
        retry_verdict_t verdict;
        int64_t delay_ms;
    } cases[] = {
        {"first delay", "5s,5m", -1, 1, 0, 0, 0.5, RETRY_AT, 5000},
        {"second delay", "5s,5m", -1, 2, 5000, 0, 0.5, RETRY_AT, 300000},
        {"least jitter", "10s", -1, 1, 0, 0, 0.0, RETRY_AT, 9000},
        {"most jitter", "10s", -1, 1, 0, 0, 1.0, RETRY_AT, 11000},
        {"a delay of 0", "0,1s", -1, 1, 0, 0, 1.0, RETRY_AT, 0},
        {"n delays are n + 1 attempts", "5s,5m", -1, 3, 0, 0, 0.5, RETRY_EXHAUSTED_ATTEMPTS, 0},
        {"more attempts than an edited schedule", "5s", -1, 9, 0, 0, 0.5, RETRY_EXHAUSTED_ATTEMPTS,
         0},
        {"no retries", "", -1, 1, 0, 0, 0.5, RETRY_EXHAUSTED_ATTEMPTS, 0},
        {"no retries, old", "", -1, 1, 99 * MINUTE, 0, 0.5, RETRY_EXHAUSTED_ATTEMPTS, 0},
        {"slow first attempt of a short schedule", "10ms,10ms", -1, 1, 15000, 0, 0.5, RETRY_AT, 10},
        {"too old", "5s,5m", 60000, 1, 60000, 0, 0.5, RETRY_EXHAUSTED_AGE, 0},
        {"too old and used up", "5s,5m", 60000, 3, 60000, 0, 0.5, RETRY_EXHAUSTED_AGE, 0},
        {"last attempt just before it is too old", "5s,5m", 60000, 2, 20000, 0, 0.5, RETRY_AT,
         40000},
        {"no age at all", "5s", 0, 1, 0, 0, 0.5, RETRY_EXHAUSTED_AGE, 0},
        {"stepped clock: negative age", "5s", 60000, 1, -99999, 0, 0.5, RETRY_AT, 5000},
        {"Retry-After later than the schedule", "5s,5m", -1, 1, 0, 60000, 0.5, RETRY_AT, 60000},
        {"Retry-After earlier than the schedule", "5s,5m", -1, 2, 0, 1000, 0.5, RETRY_AT, 300000},
        {"Retry-After beyond the longest step", "5s,5m", -1, 1, 0, 86400000, 0.5, RETRY_AT, 300000},
        {"Retry-After without end", "5s,5m", -1, 1, 0, INT64_MAX, 0.5, RETRY_AT, 300000},
        {"Retry-After beyond max_age", "5s,5m", 60000, 1, 1000, 300000, 0.5, RETRY_AT, 59000},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        retry_schedule_t schedule = parsed(cases[i].schedule, cases[i].max_age_ms);
        int64_t delay_ms = 0;
        print_message("  %s\n", cases[i].name);
        assert_int_equal(retry_next(&schedule, (int)cases[i].attempt, cases[i].age_ms,
                                    cases[i].retry_after_ms, cases[i].chance, &delay_ms),
                         cases[i].verdict);
        assert_int_equal(delay_ms, cases[i].delay_ms);
    }
}

static void due_time_is_cut_to_the_longest_step(void **state)
{
    retry_schedule_t schedule = parsed("5s,5m,1m", -1);
    retry_schedule_t none = parsed("", -1);
    (void)state;
    assert_int_equal(retry_clamp_due(&schedule, 1000, 2000), 1000);
    assert_int_equal(retry_clamp_due(&schedule, 302000, 2000), 302000);
    assert_int_equal(retry_clamp_due(&schedule, 302001, 2000), 302000);
    assert_int_equal(retry_clamp_due(&schedule, INT64_MAX, 2000), 302000);
    assert_int_equal(retry_clamp_due(&none, 5000, 2000), 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_takes_lists_of_durations),
        cmocka_unit_test(parse_refuses_everything_else),
        cmocka_unit_test(parse_bounds_the_number_of_delays),
        cmocka_unit_test(default_age_is_the_sum_with_jitter_and_a_minute_per_attempt),
        cmocka_unit_test(next_follows_the_schedule),
        cmocka_unit_test(due_time_is_cut_to_the_longest_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
