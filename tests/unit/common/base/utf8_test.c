#include "tests/support/unit.h"

#include "common/base/utf8.h"

static void what_is_well_formed(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        bool valid;
    } cases[] = {
        {"ascii", "abc", true},
        {"two bytes", "\xc3\xa9", true},
        {"three bytes", "\xe2\x82\xac", true},
        {"four bytes", "\xf0\x9f\x93\x9e", true},
        {"the last one", "\xf4\x8f\xbf\xbf", true},
        {"overlong slash", "\xc0\xaf", false},
        {"overlong three", "\xe0\x80\xaf", false},
        {"overlong four", "\xf0\x80\x80\xaf", false},
        {"surrogate", "\xed\xa0\x80", false},
        {"above the last", "\xf4\x90\x80\x80", false},
        {"lone continuation", "a\x80", false},
        {"truncated", "\xe2\x82", false},
        {"latin-1", "caf\xe9", false},
        {"0xff", "\xff", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (utf8_valid(slice_of(cases[i].text)) != cases[i].valid)
            fail_msg("%s", cases[i].name);
}

static void repair_replaces_each_bad_byte(void **state)
{
    (void)state;
    AUTO_BUF buf = {0};
    utf8_repair(&buf, SLICE("caf\xe9 \xe2\x82\xac \xe2\x82"));
    assert_string_equal(buf.data, "caf\xef\xbf\xbd \xe2\x82\xac \xef\xbf\xbd\xef\xbf\xbd");
    assert_true(utf8_valid(buf_slice(&buf)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_well_formed),
        cmocka_unit_test(repair_replaces_each_bad_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
