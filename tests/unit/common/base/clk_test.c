#include "tests/support/unit.h"

#include "common/base/clk.h"

static void iso_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t wall_ms; /* -1: refused */
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-01-01T00:00:00+00:00", 1767225600000},
        {"2026-01-01T02:00:00+02:00", 1767225600000},
        {"2025-12-31T18:30:00-0530", 1767225600000},
        {"2026-01-01t00:00:00.5z", 1767225600500},
        {"2026-01-01T00:00:00.123456789Z", 1767225600123},
        {"2024-02-29T00:00:00Z", 1709164800000},
        {"2016-12-31T23:59:60Z", 1483228800000},
        {"2023-02-29T00:00:00Z", -1},
        {"2026-13-01T00:00:00Z", -1},
        {"2026-00-01T00:00:00Z", -1},
        {"2026-01-32T00:00:00Z", -1},
        {"2026-01-01T24:00:00Z", -1},
        {"2026-01-01T00:00:00", -1},
        {"2026-01-01", -1},
        {"2026-01-01 00:00:00Z", -1},
        {"2026-01-01T00:00Z", -1},
        {"2026-01-01T00:00:00.Z", -1},
        {"2026-01-01T00:00:00+2:00", -1},
        {"2026-01-01T00:00:00+25:00", -1},
        {"2026-01-01T00:00:00Zx", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t wall_ms = -1;
        result_t r = clk_parse_iso(slice_of(cases[i].text), &wall_ms);
        if (r != (cases[i].wall_ms < 0 ? RESULT_INVALID : RESULT_OK) || wall_ms != cases[i].wall_ms)
            fail_msg("%s gave %s %lld", cases[i].text, result_str(r), (long long)wall_ms);
    }
}

static void iso_is_written(void **state)
{
    (void)state;
    char text[CLK_ISO_SIZE];
    clk_iso_seconds(1767225600999, text);
    assert_string_equal(text, "2026-01-01T00:00:00+00:00");
    clk_iso_millis(1767225600007, text);
    assert_string_equal(text, "2026-01-01T00:00:00.007Z");
}

static void durations_go_both_ways(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {{"0", 0},       {"500ms", 500},   {"15s", 15000},
                 {"5m", 300000}, {"2h", 7200000},  {"1d", 86400000},
                 {"90s", 90000}, {"1500ms", 1500}, {"49h", 176400000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = -1;
        char text[CLK_ISO_SIZE];
        assert_int_equal(clk_parse_duration(slice_of(cases[i].text), &ms), RESULT_OK);
        assert_int_equal(ms, cases[i].ms);
        clk_format_duration(ms, text);
        assert_string_equal(text, cases[i].text);
    }
    static const char *const bad[] = {"", "s", "5", "5 s", "-5s", "5w", "1.5s", "99999999999999s"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t ms;
        if (clk_parse_duration(slice_of(bad[i]), &ms) != RESULT_INVALID)
            fail_msg("%s was taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(iso_is_read),
        cmocka_unit_test(iso_is_written),
        cmocka_unit_test(durations_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
