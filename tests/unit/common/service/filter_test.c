#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/service/filter.h"

static const char body[] =
    "{\"event\":{\"dt\":\"2026-01-01T00:00:00+00:00\",\"events_id\":\"accounting.charges.create\","
    "\"object_id\":12},\"data\":{ \"amount\" : 10.50 ,\"currency\":\"EUR\",\"vip\":true,"
    "\"closed\":false,\"note\":null,\"number\":\"+4930123\",\"empty\":\"\",\"big\":"
    "12345678901234567890,\"tags\":[\"a\",\"b\",{\"deep\":[1,2,[3]]}],\"obj\":{},\"none\":[],"
    "\"caf\\u00e9\":\"na\\u00efve \\ud83d\\ude00 \\\"q\\\\\",\"a/b\":1,\"m~n\":2,\"two words\":3,"
    "\"0\":\"zero\",\"\":4,\"skip\":{\"amount\":99,\"s\":\"}]\\\"\"},\"tiny\":1e-9,\"neg\":-3}}";

static bool passes(const char *text, const char *json)
{
    AUTO(filter) filter = NULL;
    fault_t fault = {""};
    if (filter_parse(slice_of(text), &filter, &fault) != RESULT_OK)
        fail_msg("%s: %s", text, fault.text);
    AUTO(filter_body) one = filter_body_new();
    filter_body_set(one, slice_of(json));
    bool passed = filter_pass(filter, one);
    assert_int_equal(filter_pass(filter, one), passed);
    return passed;
}

static void conditions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool passes;
    } cases[] = {
        {"", true},
        {"  \t\n ", true},
        {"/data/currency = \"EUR\"", true},
        {"/data/currency=\"EUR\"", true},
        {"/data/currency = \"eur\"", false},
        {"/data/currency != \"USD\"", true},
        {"/data/currency != \"EUR\"", false},
        {"/data/amount = 10.5", true},
        {"/data/amount = 1.05e1", true},
        {"/data/amount >= 10.50 and /data/amount <= 10.50", true},
        {"/data/amount > 10.5", false},
        {"/data/amount < 10.500000000000000000000000000001", true},
        {"/data/big = 12345678901234567890", true},
        {"/data/big = 12345678901234567891", false},
        {"/data/big > 12345678901234567889", true},
        {"/data/tiny > 0 and /data/tiny < 1e-8", true},
        {"/data/neg < -2 and /data/neg > -4", true},
        {"/data/vip = true", true},
        {"/data/vip = false", false},
        {"/data/vip != false", true},
        {"/data/closed = false", true},
        {"/data/note = null", true},
        {"/data/note exists", true},
        {"/data/note != null", false},
        {"/data/missing exists", false},
        {"/data/missing = null", false},
        {"/data/missing != 1", true},
        {"/data/missing < 1", false},
        {"/data/missing in (1, null)", false},
        {"/data/missing prefix \"\"", false},
        {"/data/number prefix \"+49\"", true},
        {"/data/number prefix\"+4930123\"", true},
        {"/data/number prefix \"+49301234\"", false},
        {"/data/amount prefix \"10\"", false},
        {"/data/empty prefix \"\"", true},
        {"/data/empty = \"\"", true},
        {"/data/currency in (\"USD\", \"EUR\")", true},
        {"/data/currency in(\"USD\",\"CHF\")", false},
        {"/data/amount in (\"10.5\", 10.5, null)", true},
        {"/data/amount != \"10.50\"", true},
        {"/data/amount = \"10.50\"", false},
        {"/data/amount < \"20\"", false},
        {"/data/currency > \"ABC\" and /data/currency < \"EURO\"", true},
        {"/data/currency >= \"EUR\"", true},
        {"/event/object_id != 12", false},
        {"/event/object_id = 12", true},
        {"/event/object_id = \"12\"", false},
        {"/event/dt >= \"2026\" and /event/dt < \"2027\"", true},
        {"/event/events_id prefix \"accounting.\"", true},
        {"/data exists", true},
        {"/data = 1", false},
        {"/data != 1", true},
        {"/data/obj exists", true},
        {"/data/obj != null", true},
        {"/data/none/0 exists", false},
        {"/data/tags/0 = \"a\"", true},
        {"/data/tags/1 = \"b\"", true},
        {"/data/tags/3 exists", false},
        {"/data/tags/01 exists", false},
        {"/data/tags/- exists", false},
        {"/data/tags/2/deep/1 = 2", true},
        {"/data/tags/2/deep/2/0 = 3", true},
        {"/data/0 = \"zero\"", true},
        {"/data/ = 4", true},
        {"/data/a~1b = 1", true},
        {"/data/m~0n = 2", true},
        {"\"/data/two words\" = 3", true},
        {"\"/data/caf\\u00e9\" exists", true},
        {"/data/caf\xc3\xa9 = \"na\xc3\xafve \xf0\x9f\x98\x80 \\\"q\\\\\"", true},
        {"/data/caf\xc3\xa9 = \"na\\u00EFve \\uD83D\\uDE00 \\u0022q\\u005c\"", true},
        {"/data/skip/amount = 99", true},
        {"/data/skip/s = \"}]\\\"\"", true},
        {"/data/amount/x exists", false},
        {"/data/amount = 10.5 and /data/vip = false", false},
        {"/data/currency = \"EUR\" and /data/amount >= 10.50 and /data/vip exists and "
         "/data/number prefix \"+49\" and /event/object_id != 13",
         true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (passes(cases[i].text, body) != cases[i].passes)
            fail_msg("%s", cases[i].text);
}

static void a_bad_filter_is_shown_where(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t column; /* of the caret */
        const char *expected;
    } cases[] = {
        {"data/x = 1", 0, "a path"},
        {"/data/x", 7, "an operator"},
        {"/data/x ~ 1", 8, "an operator"},
        {"/data/x existsand", 8, "an operator"},
        {"/data/x = ", 10, "a value"},
        {"/data/x == 1", 9, "a value"},
        {"/data/x = EUR", 10, "a value"},
        {"/data/x = 01", 10, "leading zeros"},
        {"/data/x = 1.", 12, "a digit"},
        {"/data/x = 1e", 12, "a digit"},
        {"/data/x = -", 11, "a digit"},
        {"/data/x = .5", 10, "a value"},
        {"/data/x = \"abc", 10, "a closing"},
        {"/data/x = \"a\\x\"", 13, "an escape"},
        {"/data/x = \"\\u12g4\"", 12, "an escape"},
        {"/data/x = \"a\\ud800\"", 12, "both halves"},
        {"/data/x = \"\\uDC00\"", 11, "both halves"},
        {"/data/x = \"\\ud83d\\u0041\"", 11, "both halves"},
        {"/data/x = \"\\ud83d\\ude00\\ud83d\"", 23, "both halves"},
        {"/data/x = \"a\nb\"", 12, "control character"},
        {"/data/x in 1", 11, "'('"},
        {"/data/x in (1", 13, "',' or ')'"},
        {"/data/x in ()", 12, "a value"},
        {"/data/x in (1,)", 14, "a value"},
        {"/data/x prefix 1", 15, "a string"},
        {"/data/x < true", 10, "a number or a string"},
        {"/data/x >= null", 11, "a number or a string"},
        {"/data/x = 1 or /data/y = 2", 12, "\"and\""},
        {"/data/x = 1and /data/y = 2", 11, "\"and\""},
        {"/data/x = 1 and", 15, "a path"},
        {"/data/x = 1 and /amount = 2", 16, "/data or a path"},
        {"/event/id = 2", 0, "/data or a path"},
        {"/event/object_id/x = 2", 0, "/data or a path"},
        {"/datax = 2", 0, "/data or a path"},
        {"/data/a~2b = 1", 0, "~0"},
        {"/data/a~ = 1", 0, "~0"},
        {"/data/\xc3\xa9 = \"\xc3\xa9\" ?", 14, "\"and\""},
        {"\"/data/x = 1", 0, "a closing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        filter_t *filter = NULL;
        fault_t fault = {""};
        result_t r = filter_parse(slice_of(cases[i].text), &filter, &fault);
        if (r != RESULT_INVALID || filter)
            fail_msg("%s: is taken", cases[i].text);
        const char *caret = strrchr(fault.text, '\n');
        assert_non_null(caret);
        if (strspn(caret + 1, " ") != cases[i].column + 2 ||
            strcmp(strrchr(caret, ' ') + 1, "^") != 0)
            fail_msg("%s:\n%s", cases[i].text, fault.text);
        if (!strstr(fault.text, cases[i].expected))
            fail_msg("%s:\n%s", cases[i].text, fault.text);
    }
}

static void a_long_filter_is_shown_in_part(void **state)
{
    (void)state;
    AUTO_BUF text = {0};
    for (int i = 0; i < 100; i++)
        buf_printf(&text, "/data/x%d = \"\xe2\x82\xac\" and ", i);
    buf_add_str(&text, "? and /data/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa = 1");
    filter_t *filter = NULL;
    fault_t fault = {""};
    assert_int_equal(filter_parse(buf_slice(&text), &filter, &fault), RESULT_INVALID);
    const char *shown = strchr(fault.text, '\n') + 1, *caret = strrchr(fault.text, '\n') + 1;
    assert_memory_equal(shown, "  .../", 6);
    assert_true(caret - shown < 200);
    assert_int_equal(strlen(caret), 2 + 3 + 40 + 1);
}

static void a_filter_is_bounded(void **state)
{
    (void)state;
    AUTO_BUF text = {0}, deep = {0};
    fault_t fault = {""};
    filter_t *filter = NULL;
    while (text.size < 20000)
        buf_add_str(&text, "/data/x = 1 and ");
    assert_int_equal(filter_parse(buf_slice(&text), &filter, &fault), RESULT_INVALID);
    buf_add_str(&deep, "/data");
    for (int i = 0; i < 40; i++)
        buf_add_str(&deep, "/a");
    buf_add_str(&deep, " = 1");
    assert_int_equal(filter_parse(buf_slice(&deep), &filter, &fault), RESULT_INVALID);
    assert_int_equal(filter_parse(SLICE("/data/x = \"\xff\""), &filter, &fault), RESULT_INVALID);
    assert_null(filter);
}

static void numbers_are_decimals(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int order;
    } cases[] = {
        {"0.10", "0.1", 0},
        {"1e2", "100", 0},
        {"1E+2", "100.000", 0},
        {"0", "-0", 0},
        {"0e99999", "0.000", 0},
        {"10", "9", 1},
        {"0.09", "0.1", -1},
        {"-0.09", "-0.1", 1},
        {"-1", "1", -1},
        {"0", "1e-999999999", -1},
        {"0", "-1e-999999999", 1},
        {"1e999999999", "1e999999998", 1},
        {"-1e999999999", "-1e999999998", -1},
        {"1e999999999999999999999999999", "9", 1},
        {"1e-999999999999999999999999999", "1e-9", -1},
        {"9007199254740993", "9007199254740992", 1},
        {"0.1000000000000000055511151231257827", "0.1", 1},
        {"123.456e-3", "0.123456", 0},
        {"0.00123e5", "123", 0},
        {"1.5", "15e-1", 0},
        {"1.05", "1.5", -1},
        {"100", "1000", -1},
        {"1001", "1.01e3", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        slice_t a = slice_of(cases[i].a), b = slice_of(cases[i].b);
        if (filter_compare_numbers(a, b) != cases[i].order ||
            filter_compare_numbers(b, a) != -cases[i].order)
            fail_msg("%s %s", cases[i].a, cases[i].b);
    }
}

static void one_body_serves_many_filters(void **state)
{
    (void)state;
    enum { FILTERS = 500 };
    filter_t *filters[FILTERS] = {NULL};
    fault_t fault;
    AUTO_BUF json = {0};
    AUTO(filter_body) one = filter_body_new();
    buf_add_str(&json, "{\"event\":{\"object_id\":1},\"data\":{\"x\":[");
    for (int i = 0; i < FILTERS; i++)
        buf_printf(&json, "%s%d", i ? "," : "", i);
    buf_add_str(&json, "],\"x\":7}}");
    for (int i = 0; i < FILTERS; i++) {
        AUTO_BUF text = {0};
        buf_printf(&text, "/data/x/%d = %d", i, i);
        assert_int_equal(filter_parse(buf_slice(&text), &filters[i], &fault), RESULT_OK);
        if (i % 2)
            filter_body_want(one, filters[i]);
    }
    for (int round = 0; round < 3; round++) {
        filter_body_set(one, round == 1 ? SLICE("{\"data\":{\"x\":[0]}}") : buf_slice(&json));
        for (int i = 0; i < FILTERS; i++)
            assert_int_equal(filter_pass(filters[i], one), round != 1 || i == 0);
    }
    for (int i = 0; i < FILTERS; i++)
        filter_destroy(&filters[i]);
}

/* The emitter lets none of these through; a stray message must not hurt all the same. */
static void malformed_bodies_are_read_safely(void **state)
{
    (void)state;
    AUTO(filter) filter = NULL;
    fault_t fault;
    slice_t text =
        SLICE("/data/caf\xc3\xa9 exists and /data/tags/2/deep/2/0 exists and /data/neg = -3");
    assert_int_equal(filter_parse(text, &filter, &fault), RESULT_OK);
    AUTO(filter_body) one = filter_body_new();
    for (size_t size = 0; size < sizeof body - 1; size++) {
        char *cut = malloc(size + 1); /* so that a sanitizer sees one byte too far */
        memcpy(cut, body, size);
        filter_body_set(one, (slice_t){cut, size});
        filter_pass(filter, one);
        for (size_t i = 0; i < 4 && size > 60; i++) {
            cut[size - 1 - i * 7] = "\\\"{["[i];
            filter_body_set(one, (slice_t){cut, size});
            filter_pass(filter, one);
        }
        free(cut);
    }
    filter_body_set(one, (slice_t){NULL, 0});
    assert_false(filter_pass(filter, one));
    filter_body_set(one, SLICE(body));
    assert_true(filter_pass(filter, one));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions),
        cmocka_unit_test(a_bad_filter_is_shown_where),
        cmocka_unit_test(a_long_filter_is_shown_in_part),
        cmocka_unit_test(a_filter_is_bounded),
        cmocka_unit_test(numbers_are_decimals),
        cmocka_unit_test(one_body_serves_many_filters),
        cmocka_unit_test(malformed_bodies_are_read_safely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
