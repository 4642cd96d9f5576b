#include "services/deliverer/breaker.h"
#include "tests/support/unit.h"

static const breaker_settings_t settings = {.failures_max = 3, .probe_ms = 100};

/* Opens at now = 1000: the first probe is due at 1100. */
static breaker_t opened(void)
{
    breaker_t breaker;
    breaker_init(&breaker);
    assert_false(breaker_failure(&breaker, &settings, 1000));
    assert_false(breaker_failure(&breaker, &settings, 1000));
    assert_true(breaker_failure(&breaker, &settings, 1000));
    return breaker;
}

static void closed_lets_everything_through(void **state)
{
    breaker_t breaker;
    (void)state;
    breaker_init(&breaker);
    for (int i = 0; i < 10; i++)
        assert_true(breaker_take(&breaker, i));
    assert_int_equal(breaker_due_ms(&breaker), 0);
    assert_string_equal(breaker_str(&breaker), "closed");
    assert_false(breaker_success(&breaker));
}

static void only_failures_in_a_row_open_it(void **state)
{
    breaker_t breaker;
    (void)state;
    breaker_init(&breaker);
    for (int i = 0; i < 10; i++) {
        assert_false(breaker_failure(&breaker, &settings, 0));
        assert_false(breaker_failure(&breaker, &settings, 0));
        assert_false(breaker_success(&breaker));
    }
    assert_int_equal(breaker.state, BREAKER_CLOSED);
}

static void open_lets_one_probe_through_when_due(void **state)
{
    breaker_t breaker = opened();
    (void)state;
    assert_string_equal(breaker_str(&breaker), "open");
    assert_int_equal(breaker_due_ms(&breaker), 1100);
    assert_false(breaker_take(&breaker, 1099));
    assert_true(breaker_take(&breaker, 1100));
    assert_string_equal(breaker_str(&breaker), "probing");
    assert_int_equal(breaker_due_ms(&breaker), INT64_MAX);
    assert_false(breaker_take(&breaker, 999999));
}

static void probe_that_succeeds_closes_it(void **state)
{
    breaker_t breaker = opened();
    (void)state;
    assert_true(breaker_take(&breaker, 1100));
    assert_true(breaker_success(&breaker));
    assert_int_equal(breaker.state, BREAKER_CLOSED);
    assert_int_equal(breaker.failures, 0);
    assert_true(breaker_take(&breaker, 1100));
}

static void probes_become_rarer_up_to_a_limit(void **state)
{
    static const int64_t intervals_ms[] = {200, 400, 800, 1600, 3200, 3200, 3200};
    breaker_t breaker = opened();
    int64_t now_ms = 1100;
    (void)state;
    for (size_t i = 0; i < sizeof intervals_ms / sizeof *intervals_ms; i++) {
        assert_true(breaker_take(&breaker, now_ms));
        assert_false(breaker_failure(&breaker, &settings, now_ms));
        assert_int_equal(breaker_due_ms(&breaker), now_ms + intervals_ms[i]);
        now_ms = breaker_due_ms(&breaker);
    }
    assert_true(breaker_take(&breaker, now_ms));
    assert_true(breaker_success(&breaker));
    for (int i = 0; i < settings.failures_max; i++)
        (void)breaker_failure(&breaker, &settings, 9000);
    assert_int_equal(breaker_due_ms(&breaker), 9100);
}

static void late_results_of_earlier_requests(void **state)
{
    breaker_t breaker = opened();
    (void)state;
    assert_false(breaker_failure(&breaker, &settings, 1050));
    assert_int_equal(breaker_due_ms(&breaker), 1100);
    assert_true(breaker_success(&breaker));
    assert_int_equal(breaker.state, BREAKER_CLOSED);
}

static void probe_without_a_result(void **state)
{
    breaker_t breaker = opened();
    (void)state;
    assert_true(breaker_take(&breaker, 1500));
    breaker_give_back(&breaker);
    assert_int_equal(breaker_due_ms(&breaker), 1100);
    assert_true(breaker_take(&breaker, 1500));
    breaker_postpone(&breaker, 1600);
    assert_int_equal(breaker_due_ms(&breaker), 1700);
    breaker_hurry(&breaker, 1650);
    assert_int_equal(breaker_due_ms(&breaker), 1650);
    assert_true(breaker_take(&breaker, 1650));
    breaker_hurry(&breaker, 1660);
    assert_int_equal(breaker.state, BREAKER_PROBING);
}

static void what_does_not_apply_changes_nothing(void **state)
{
    breaker_t breaker;
    (void)state;
    breaker_init(&breaker);
    breaker_give_back(&breaker);
    breaker_postpone(&breaker, 5);
    breaker_hurry(&breaker, 5);
    assert_int_equal(breaker.state, BREAKER_CLOSED);
    assert_int_equal(breaker_due_ms(&breaker), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_lets_everything_through),
        cmocka_unit_test(only_failures_in_a_row_open_it),
        cmocka_unit_test(open_lets_one_probe_through_when_due),
        cmocka_unit_test(probe_that_succeeds_closes_it),
        cmocka_unit_test(probes_become_rarer_up_to_a_limit),
        cmocka_unit_test(late_results_of_earlier_requests),
        cmocka_unit_test(probe_without_a_result),
        cmocka_unit_test(what_does_not_apply_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
