#include "tests/support/unit.h"
#include "services/deliverer/partitions.h"

static const struct {
    const char *text;
    partitions_t set; /* 0: refused */
    const char *shown;
} cases[] = {
    {"0-63", UINT64_MAX, "0-63"},
    {"5", UINT64_C(1) << 5, "5"},
    {" 3  1 2 ", 14, "1-3"},
    {"0 2 4-6", 0x75, "0 2 4-6"},
    {"63", UINT64_C(1) << 63, "63"},
    {"0-31 40", 0xffffffff | 1ull << 40, "0-31 40"},
    {"1-1", 2, "1"},
    {"", 0, ""},
    {"  ", 0, ""},
    {"64", 0, ""},
    {"5-3", 0, ""},
    {"-3", 0, ""},
    {"3-", 0, ""},
    {"1,2", 0, ""},
    {"a", 0, ""},
    {"100", 0, ""},
    {"1-2-3", 0, ""},
    {"00000001", 0, ""},
};

static void lists_are_parsed_and_shown(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF shown = {0};
        partitions_t set = 0;
        fault_t fault = {""};
        result_t r = partitions_parse(slice_of(cases[i].text), &set, &fault);
        partitions_format(set, &shown);
        print_message("%s\n", cases[i].text);
        assert_int_equal(r, cases[i].set ? RESULT_OK : RESULT_INVALID);
        assert_true(set == cases[i].set);
        assert_string_equal(shown.data ? shown.data : "", cases[i].shown);
        assert_true((r == RESULT_OK) == (fault.text[0] == 0));
    }
}

static void outside_of_the_64_there_is_nothing(void **state)
{
    (void)state;
    assert_true(partitions_has(UINT64_MAX, 0) && partitions_has(UINT64_MAX, 63));
    assert_false(partitions_has(UINT64_MAX, 64));
    assert_false(partitions_has(UINT64_MAX, -1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_parsed_and_shown),
        cmocka_unit_test(outside_of_the_64_there_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
