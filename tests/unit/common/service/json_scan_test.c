#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/service/json_scan.h"

static void white_space_is_passed(void **state)
{
    (void)state;
    const char text[] = " \t\r\n x ";
    const char *end = text + strlen(text);
    assert_ptr_equal(json_scan_space(text, end), text + 5);
    assert_ptr_equal(json_scan_space(text + 6, end), end);
    assert_ptr_equal(json_scan_space(end, end), end);
}

static void a_value_ends_where_it_ends(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int size; /* of the value; -1: none ends */
    } cases[] = {
        {"12,3", 2},
        {"12", 2},
        {"true}", 4},
        {"null ]", 4},
        {"-1.5e+3\n", 7},
        {"\"\"", 2},
        {"\"a\",", 3},
        {"\"a\\\"b\" ", 6},
        {"\"a\\\\\",", 5},
        {"\"a", -1},
        {"\"a\\", -1},
        {"\"a\\\"", -1},
        {"{}x", 2},
        {"[1,[2,{\"a\":[]}]],", 16},
        {"{\"a\":\"}]{\\\"[\"}x", 14},
        {"[1", -1},
        {"{\"a", -1},
        {"", -1},
        {",", -1},
        {"}", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = cases[i].text;
        const char *behind = json_scan_value(text, text + strlen(text));
        const char *expected = cases[i].size < 0 ? NULL : text + cases[i].size;
        if (behind != expected)
            fail_msg("%s: %d", text, behind ? (int)(behind - text) : -1);
    }
}

static void a_string_says_whether_it_has_escapes(void **state)
{
    (void)state;
    bool escaped = true;
    const char plain[] = "\"abc\"", other[] = "\"a\\nc\"";
    assert_ptr_equal(json_scan_string(plain, plain + 5, &escaped), plain + 5);
    assert_false(escaped);
    assert_ptr_equal(json_scan_string(other, other + 6, &escaped), other + 6);
    assert_true(escaped);
}

static void the_bracket_around_is_found(void **state)
{
    (void)state;
    const char text[] = "1,[2,\"]\"],3],4";
    assert_ptr_equal(json_scan_close(text, text + strlen(text)), text + 12);
    assert_null(json_scan_close(text, text + 9));
}

static void escapes_are_resolved(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *text;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t"},
        {"\\u0041\\u00e9\\u20AC", "A\xc3\xa9\xe2\x82\xac"},
        {"\\ud83d\\ude00!", "\xf0\x9f\x98\x80!"},
        {"\\ud83d", "\xed\xa0\xbd"},
        {"\\ud83dx", "\xed\xa0\xbdx"},
        {"\\ude00\\ud83d", "\xed\xb8\x80\xed\xa0\xbd"},
        {"\\ud83d\\u0041", "\xed\xa0\xbd"
                           "A"},
        {"caf\xc3\xa9\\n", "caf\xc3\xa9\n"},
        {"\\", "\\"},
        {"\\u12", "\\u12"},
        {"\\u12g4", "\\u12g4"},
        {"\\x", "\\x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF text = {0};
        json_scan_unescape(slice_of(cases[i].raw), &text);
        assert_true(text.size <= strlen(cases[i].raw));
        assert_string_equal(buf_slice(&text).data, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(white_space_is_passed),
        cmocka_unit_test(a_value_ends_where_it_ends),
        cmocka_unit_test(a_string_says_whether_it_has_escapes),
        cmocka_unit_test(the_bracket_around_is_found),
        cmocka_unit_test(escapes_are_resolved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
