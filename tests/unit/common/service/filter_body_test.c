#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/service/filter_parts.h"

static const char body[] =
    "{\"event\":{\"dt\":1,\"events_id\":\"clients.update\",\"object_id\":12},"
    " \"data\" : { \"name\" : \"a\\u00e9\\\"b\", \"plain\":\"x\", \"empty\":\"\", \"amount\":10.50,"
    "\"yes\":true,\"no\":false,\"nothing\":null,\"two words\":1,\"a/b\":2,\"m~n\":3,\"\":4,"
    "\"lines\":[{\"price\":7},[\"u\",\"v\"],9],\"d\\u0061ta\":5}}";

static filter_t *filter_of(const char *path)
{
    AUTO_BUF text = {0};
    filter_t *filter = NULL;
    fault_t fault = {""};
    buf_printf(&text, "%s exists", path);
    if (filter_parse(buf_slice(&text), &filter, &fault) != RESULT_OK)
        fail_msg("%s: %s", path, fault.text);
    return filter;
}

static const struct {
    const char *path;
    filter_type_t type;
    const char *text;
} cases[] = {
    {"/event/events_id", FILTER_STRING, "clients.update"},
    {"/event/object_id", FILTER_NUMBER, "12"},
    {"/data/name", FILTER_STRING, "a\xc3\xa9\"b"},
    {"/data/plain", FILTER_STRING, "x"},
    {"/data/empty", FILTER_STRING, ""},
    {"/data/amount", FILTER_NUMBER, "10.5"},
    {"/data/yes", FILTER_TRUE, NULL},
    {"/data/no", FILTER_FALSE, NULL},
    {"/data/nothing", FILTER_NULL, NULL},
    {"\"/data/two words\"", FILTER_NUMBER, "1"},
    {"/data/a~1b", FILTER_NUMBER, "2"},
    {"/data/m~0n", FILTER_NUMBER, "3"},
    {"/data/", FILTER_NUMBER, "4"},
    {"/data/data", FILTER_NUMBER, "5"},
    {"/data", FILTER_CONTAINER, NULL},
    {"/data/lines", FILTER_CONTAINER, NULL},
    {"/data/lines/0", FILTER_CONTAINER, NULL},
    {"/data/lines/0/price", FILTER_NUMBER, "7"},
    {"/data/lines/1/1", FILTER_STRING, "v"},
    {"/data/lines/2", FILTER_NUMBER, "9"},
    {"/data/lines/3", FILTER_MISSING, NULL},
    {"/data/lines/00", FILTER_MISSING, NULL},
    {"/data/lines/-", FILTER_MISSING, NULL},
    {"/data/lines/price", FILTER_MISSING, NULL},
    {"/data/amount/0", FILTER_MISSING, NULL},
    {"/data/nam", FILTER_MISSING, NULL},
    {"/data/names", FILTER_MISSING, NULL},
    {"/event/dt", FILTER_NUMBER, "1"},
};

static void check_case(filter_body_t *read, size_t i)
{
    AUTO(filter) filter = filter_of(cases[i].path);
    const filter_value_t *value = filter_body_get(read, &filter->conditions[0].path);
    if (value->type != cases[i].type)
        fail_msg("%s: type %d", cases[i].path, value->type);
    if (value->type == FILTER_STRING && !slice_is(value->text, cases[i].text))
        fail_msg("%s: %.*s", cases[i].path, SLICE_ARG(value->text));
    if (value->type != FILTER_NUMBER)
        return;
    decimal_t expected = decimal_of(slice_of(cases[i].text));
    if (decimal_compare(&value->decimal, &expected) != 0)
        fail_msg("%s: another number", cases[i].path);
}

static void paths_lead_to_values(void **state)
{
    (void)state;
    AUTO(filter_body) read = filter_body_new();
    filter_body_set(read, SLICE(body));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(read, i);
}

static void wanted_paths_are_read_with_the_first_one(void **state)
{
    (void)state;
    AUTO(filter_body) read = filter_body_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO(filter) filter = filter_of(cases[i].path);
        filter_body_want(read, filter);
        filter_body_want(read, filter);
    }
    for (int round = 0; round < 2; round++) {
        filter_body_set(read, SLICE(body));
        for (size_t i = sizeof cases / sizeof *cases; i-- > 0;)
            check_case(read, i);
    }
}

static filter_type_t type_in(filter_body_t *read, const char *json, const char *path)
{
    AUTO(filter) filter = filter_of(path);
    filter_body_set(read, slice_of(json));
    return filter_body_get(read, &filter->conditions[0].path)->type;
}

static void nothing_of_the_last_body_is_left(void **state)
{
    (void)state;
    AUTO(filter_body) read = filter_body_new();
    assert_int_equal(type_in(read, "{\"data\":{\"a\":\"x\"}}", "/data/a"), FILTER_STRING);
    assert_int_equal(type_in(read, "{\"data\":{\"b\":\"x\"}}", "/data/a"), FILTER_MISSING);
    assert_int_equal(type_in(read, "{\"data\":{\"a\":1}}", "/data/a"), FILTER_NUMBER);
    assert_int_equal(type_in(read, "{}", "/data/a"), FILTER_MISSING);
    assert_int_equal(type_in(read, "{\"data\":[]}", "/data/a"), FILTER_MISSING);
    assert_int_equal(type_in(read, "{\"data\":[[]]}", "/data/0"), FILTER_CONTAINER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_lead_to_values),
        cmocka_unit_test(wanted_paths_are_read_with_the_first_one),
        cmocka_unit_test(nothing_of_the_last_body_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
