#include "tests/support/unit.h"

#include "services/cli/print.h"

static void numbers_stay_as_they_came(void **state)
{
    (void)state;
    json_tree_t *tree = NULL;
    AUTO_BUF text = {0};
    slice_t json =
        SLICE("{\"a\":0.10,\"b\":[12345678901234567890,true,null,\"\xc3\xa9\"],\"c\":{}}");
    assert_int_equal(json_parse(json, &tree, NULL), RESULT_OK);
    print_tree(tree, &text);
    assert_true(slice_equal(buf_slice(&text), json));
    json_tree_destroy(&tree);
}

static void ages_are_short(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{0, "0 ms"},       {999, "999 ms"},     {1000, "1 s"},
                 {119999, "119 s"}, {120000, "2 min"},   {7199999, "119 min"},
                 {7200000, "2 h"},  {172799999, "47 h"}, {172800000, "2 d"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF text = {0};
        print_age(cases[i].ms, &text);
        assert_string_equal(text.data, cases[i].text);
    }
}

static void dates_lose_what_a_table_does_not_need(void **state)
{
    (void)state;
    AUTO_BUF text = {0};
    print_date("2026-01-01T02:03:04.567Z", &text);
    assert_string_equal(text.data, "2026-01-01 02:03:04");
    buf_clear(&text);
    print_date(NULL, &text);
    print_date("short", &text);
    assert_int_equal(text.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_stay_as_they_came),
        cmocka_unit_test(ages_are_short),
        cmocka_unit_test(dates_lose_what_a_table_does_not_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
