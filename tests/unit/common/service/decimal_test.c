#include "tests/support/unit.h"

#include "common/service/decimal.h"

static const struct {
    const char *a, *b;
    int order; /* of a to b */
} cases[] = {
    {"0", "-0", 0},
    {"0", "0.000e99", 0},
    {"1", "1.000", 0},
    {"100", "1e2", 0},
    {"100", "1E+2", 0},
    {"0.10", "0.1", 0},
    {"12.5e-1", "1.25", 0},
    {"0.0012", "1.2e-3", 0},
    {"10.50", "10.5", 0},
    {"10.5", "10.49", 1},
    {"9", "10", -1},
    {"99.9", "100", -1},
    {"0.09", "0.1", -1},
    {"-1", "1", -1},
    {"-1", "0", -1},
    {"-2", "-1", -1},
    {"-10", "-9.99", -1},
    {"1", "1.0000000000000001", -1},
    {"9007199254740993", "9007199254740992", 1},
    {"18446744073709551616", "18446744073709551615", 1},
    {"1e400", "1e399", 1},
    {"1e-400", "0", 1},
    {"-1e-400", "0", -1},
    {"1e99999999999999999999", "1", 1},
    {"1e-99999999999999999999", "1", -1},
    {"12", "123", -1},
    {"1.2", "1.23", -1},
    {"102", "12", 1},
};

static int order_of(const char *a, const char *b)
{
    decimal_t x = decimal_of(slice_of(a)), y = decimal_of(slice_of(b));
    return decimal_compare(&x, &y);
}

static void numbers_are_compared_as_they_are_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (order_of(cases[i].a, cases[i].b) != cases[i].order ||
            order_of(cases[i].b, cases[i].a) != -cases[i].order ||
            order_of(cases[i].a, cases[i].a) != 0)
            fail_msg("%s to %s: %d", cases[i].a, cases[i].b, order_of(cases[i].a, cases[i].b));
}

static void the_empty_decimal_is_zero(void **state)
{
    (void)state;
    decimal_t zero = {0}, also = decimal_of(SLICE("0.0")), more = decimal_of(SLICE("0.1"));
    assert_int_equal(decimal_compare(&zero, &also), 0);
    assert_int_equal(decimal_compare(&zero, &more), -1);
}

static void what_is_no_number_is_read_inside_its_bounds(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "-", "e", "1e", "1e+", ".", "-.", "x", "1x", "--1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t size = strlen(texts[i]);
        char *exact = malloc(size + 1); /* a sanitizer sees the end */
        char *end = exact + 1;
        memcpy(end, texts[i], size);
        decimal_t decimal = decimal_of((slice_t){end, size});
        assert_int_equal(decimal_compare(&decimal, &decimal), 0);
        free(exact);
    }
}

/* Numbers small enough for a double to be right about. */
static void they_agree_with_doubles(void **state)
{
    (void)state;
    unsigned seed = unit_seed();
    for (int i = 0; i < 20000; i++) {
        char a[32], b[32];
        int x = (int)unit_chance(&seed, 2001) - 1000, y = (int)unit_chance(&seed, 2001) - 1000;
        int p = (int)unit_chance(&seed, 7) - 3, q = (int)unit_chance(&seed, 7) - 3;
        snprintf(a, sizeof a, "%de%d", x, p);
        snprintf(b, sizeof b, "%de%d", y, q);
        int64_t scale[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
        int64_t left = x * scale[p + 3], right = y * scale[q + 3];
        if (order_of(a, b) != (left > right) - (left < right))
            fail_msg("%s to %s: %d", a, b, order_of(a, b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_compared_as_they_are_written),
        cmocka_unit_test(the_empty_decimal_is_zero),
        cmocka_unit_test(what_is_no_number_is_read_inside_its_bounds),
        cmocka_unit_test(they_agree_with_doubles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
