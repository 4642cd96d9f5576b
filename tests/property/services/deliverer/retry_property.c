/* Random schedules and failures: a delivery's whole life, against what the schedule promises. */
#include "services/deliverer/retry.h"
#include "tests/support/unit.h"

enum { ROUNDS = 20000 };

/* Writes a schedule as text, n delays, and keeps them. */
static void random_schedule(unsigned *random, buf_t *text, int64_t *delays_ms, int n)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {
        {"ms", 1},
        {"s", 1000},
        {"m", 60000},
        {"h", 3600000},
    };
    for (int i = 0; i < n; i++) {
        int64_t unit = unit_chance(random, 4);
        int64_t value = unit_chance(random, 100);
        delays_ms[i] = value * units[unit].ms;
        buf_printf(text, "%s%lld%s", i ? "," : "", (long long)value, units[unit].unit);
    }
}

static int64_t longest(const int64_t *delays_ms, int n)
{
    int64_t ms = 0;
    for (int i = 0; i < n; i++)
        ms = delays_ms[i] > ms ? delays_ms[i] : ms;
    return ms;
}

/* One step of a life: what must hold for the delay after this attempt. */
static void check_delay(const retry_schedule_t *schedule, const int64_t *delays_ms, int attempt,
                        int64_t age_ms, int64_t asked_ms, int64_t delay_ms)
{
    int64_t step_ms = delays_ms[attempt - 1];
    int64_t honoured_ms = longest(delays_ms, schedule->n_delays);
    if (asked_ms < honoured_ms)
        honoured_ms = asked_ms;
    int64_t left_ms = schedule->max_age_ms - age_ms;
    int64_t least_ms = step_ms * 9 / 10 > honoured_ms ? step_ms * 9 / 10 : honoured_ms;
    int64_t most_ms = step_ms * 11 / 10 + 1 > honoured_ms ? step_ms * 11 / 10 + 1 : honoured_ms;
    assert_true(delay_ms >= 0);
    assert_true(delay_ms >= (least_ms < left_ms ? least_ms : left_ms));
    assert_true(delay_ms <= most_ms);
    assert_true(delay_ms <= left_ms);
}

/* Fails until it is given up. */
static void live(unsigned *random, const retry_schedule_t *schedule, const int64_t *delays_ms)
{
    int64_t age_ms = 0;
    for (int attempt = 1;; attempt++) {
        int64_t asked_ms = unit_chance(random, 3) ? 0 : unit_chance(random, 10000000);
        double chance = (double)unit_chance(random, 1001) / 1000;
        int64_t delay_ms = -1;
        age_ms += unit_chance(random, 30000); /* what the attempt takes */
        retry_verdict_t verdict =
            retry_next(schedule, attempt, age_ms, asked_ms, chance, &delay_ms);
        if (verdict == RETRY_EXHAUSTED_ATTEMPTS) {
            assert_int_equal(attempt, schedule->n_delays + 1);
            return;
        }
        if (verdict == RETRY_EXHAUSTED_AGE) {
            assert_true(age_ms >= schedule->max_age_ms);
            return;
        }
        assert_int_equal(verdict, RETRY_AT);
        assert_true(attempt <= schedule->n_delays);
        check_delay(schedule, delays_ms, attempt, age_ms, asked_ms, delay_ms);
        age_ms += delay_ms;
    }
}

/* Without Retry-After and with attempts of up to 30 s the default age costs no attempt. */
static void default_age_costs_nothing(unsigned *random, const retry_schedule_t *schedule)
{
    int64_t age_ms = 0;
    int64_t delay_ms = 0;
    for (int attempt = 1; attempt <= schedule->n_delays; attempt++) {
        double chance = (double)unit_chance(random, 1001) / 1000;
        age_ms += unit_chance(random, 30000);
        assert_int_equal(retry_next(schedule, attempt, age_ms, 0, chance, &delay_ms), RETRY_AT);
        age_ms += delay_ms;
    }
    assert_int_equal(retry_next(schedule, schedule->n_delays + 1, age_ms, 0, 0.5, &delay_ms),
                     RETRY_EXHAUSTED_ATTEMPTS);
}

static void one_round(unsigned seed)
{
    unsigned random = seed;
    AUTO_BUF text = {0};
    retry_schedule_t schedule;
    fault_t fault;
    int64_t delays_ms[RETRY_DELAYS_MAX] = {0};
    int n = (int)unit_chance(&random, RETRY_DELAYS_MAX + 1);
    bool own_age = unit_chance(&random, 2);
    random_schedule(&random, &text, delays_ms, n);
    int64_t max_age_ms = own_age ? (int64_t)unit_chance(&random, 100000000) : -1;
    slice_t slice = n ? buf_slice(&text) : SLICE("");
    assert_int_equal(retry_parse(slice, max_age_ms, &schedule, &fault), RESULT_OK);
    assert_int_equal(schedule.n_delays, n);
    if (n)
        assert_memory_equal(schedule.delays_ms, delays_ms, (size_t)n * sizeof *delays_ms);
    live(&random, &schedule, delays_ms);
    if (!own_age)
        default_age_costs_nothing(&random, &schedule);
    int64_t due_ms = unit_chance(&random, 1000000000);
    int64_t now_ms = unit_chance(&random, 1000000000);
    int64_t cut_ms = retry_clamp_due(&schedule, due_ms, now_ms);
    assert_true(cut_ms <= due_ms && cut_ms - now_ms <= longest(delays_ms, n));
    assert_true(cut_ms == due_ms || cut_ms - now_ms == longest(delays_ms, n));
}

static void lives_follow_their_schedule(void **state)
{
    unsigned seed = unit_seed();
    (void)state;
    fflush(stdout);
    for (unsigned i = 0; i < ROUNDS; i++)
        one_round(seed + i * 2654435761u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lives_follow_their_schedule)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
