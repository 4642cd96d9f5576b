#include "services/deliverer/rate.h"
#include "tests/support/unit.h"

static int takes(rate_t *rate, int64_t now_ms, int max)
{
    int n = 0;
    while (n < max && rate_take(rate, now_ms))
        n++;
    return n;
}

static void no_rate_is_no_limit(void **state)
{
    rate_t rate;
    (void)state;
    rate_init(&rate, 0);
    assert_int_equal(takes(&rate, 0, 1000), 1000);
    assert_int_equal(rate_due_ms(&rate), 0);
    assert_int_equal(rate_room(&rate, 0), INT64_MAX);
}

static void a_burst_and_then_one_by_one(void **state)
{
    static const struct {
        int64_t per_second;
        int burst;
        int64_t then_ms;
    } cases[] = {
        {1, 1, 1000}, {3, 3, 334}, {10, 10, 100}, {1000, 1000, 1}, {5000, 5000, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rate_t rate;
        print_message("  %lld per second\n", (long long)cases[i].per_second);
        rate_init(&rate, cases[i].per_second);
        assert_int_equal(takes(&rate, 7777, 10000), cases[i].burst);
        assert_int_equal(rate_room(&rate, 7777), 0);
        assert_int_equal(rate_due_ms(&rate), 7777 + cases[i].then_ms);
        assert_false(rate_take(&rate, 7777 + cases[i].then_ms - 1));
        assert_true(rate_take(&rate, 7777 + cases[i].then_ms));
    }
}

static void a_pause_fills_no_more_than_the_burst(void **state)
{
    rate_t rate;
    (void)state;
    rate_init(&rate, 10);
    assert_int_equal(takes(&rate, 0, 100), 10);
    assert_int_equal(takes(&rate, INT64_MAX / 2, 100), 10);
}

static void over_a_minute_it_is_the_rate(void **state)
{
    rate_t rate;
    int n = 0;
    (void)state;
    rate_init(&rate, 7);
    for (int64_t now_ms = 0; now_ms <= 60000; now_ms += 13)
        n += takes(&rate, now_ms, 100);
    assert_in_range(n, 7 * 60, 7 * 60 + 7);
}

static void given_back_is_there_again(void **state)
{
    rate_t rate;
    (void)state;
    rate_init(&rate, 2);
    assert_int_equal(takes(&rate, 0, 100), 2);
    rate_give_back(&rate);
    assert_int_equal(takes(&rate, 0, 100), 1);
    for (int i = 0; i < 10; i++)
        rate_give_back(&rate);
    assert_int_equal(takes(&rate, 0, 100), 2);
}

static void another_limit_keeps_what_fits(void **state)
{
    rate_t rate;
    (void)state;
    rate_init(&rate, 100);
    rate_set(&rate, 4);
    assert_int_equal(takes(&rate, 0, 1000), 4);
    rate_set(&rate, 100);
    assert_int_equal(takes(&rate, 0, 1000), 0);
    rate_set(&rate, 0);
    rate_set(&rate, 5);
    assert_int_equal(takes(&rate, 0, 1000), 5);
    rate_set(&rate, INT64_MAX);
    assert_true(takes(&rate, 500, 10) == 10);
    rate_set(&rate, -1);
    assert_int_equal(takes(&rate, 500, 10), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_rate_is_no_limit),
        cmocka_unit_test(a_burst_and_then_one_by_one),
        cmocka_unit_test(a_pause_fills_no_more_than_the_burst),
        cmocka_unit_test(over_a_minute_it_is_the_rate),
        cmocka_unit_test(given_back_is_there_again),
        cmocka_unit_test(another_limit_keeps_what_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
