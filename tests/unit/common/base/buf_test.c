#include "tests/support/unit.h"

#include "common/base/buf.h"

static void grows_and_stays_terminated(void **state)
{
    (void)state;
    AUTO_BUF buf = {0};
    for (int i = 0; i < 1000; i++)
        buf_printf(&buf, "%d,", i);
    buf_add_char(&buf, 'x');
    assert_int_equal(buf.data[buf.size], 0);
    assert_int_equal(buf.size, strlen(buf.data));
    assert_string_equal(buf.data + buf.size - 6, ",999,x");
}

static void clear_keeps_the_memory(void **state)
{
    (void)state;
    AUTO_BUF buf = {0};
    buf_add_str(&buf, "hello");
    size_t capacity = buf.capacity;
    buf_clear(&buf);
    assert_int_equal(buf.size, 0);
    assert_int_equal(buf.capacity, capacity);
    assert_string_equal(buf.data, "");
}

static void take_of_an_empty_one_is_an_empty_text(void **state)
{
    (void)state;
    buf_t buf = {0};
    char *text = buf_take(&buf);
    assert_string_equal(text, "");
    free(text);
}

static void an_absent_slice_is_not_an_empty_one(void **state)
{
    (void)state;
    AUTO_BUF buf = {0};
    assert_null(((slice_t){0}).data);
    assert_non_null(buf_slice(&buf).data);
    assert_true(slice_equal(buf_slice(&buf), SLICE("")));
    assert_false(slice_is(SLICE("abc"), "ab"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_stays_terminated),
        cmocka_unit_test(clear_keeps_the_memory),
        cmocka_unit_test(take_of_an_empty_one_is_an_empty_text),
        cmocka_unit_test(an_absent_slice_is_not_an_empty_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
