#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/service/filter_index.h"

enum { MAX = 8 };

/* The places of the filters that the body passes, rising, as in "0 2". */
static const char *pass(const char *const *texts, const char *json)
{
    static char shown[MAX * 2 + 1];
    filter_t *filters[MAX] = {NULL};
    uint32_t places[MAX];
    bool passed[MAX] = {false};
    fault_t fault;
    size_t n = 0;
    for (; n < MAX && texts[n]; n++)
        if (filter_parse(slice_of(texts[n]), &filters[n], &fault) != RESULT_OK)
            fail_msg("%s: %s", texts[n], fault.text);
    AUTO(filter_index) index = filter_index_new((const filter_t *const *)filters, n);
    AUTO(filter_body) body = filter_body_new();
    filter_body_set(body, slice_of(json));
    for (size_t n_left = filter_index_pass(index, body, places); n_left > 0; n_left--) {
        assert_false(passed[places[n_left - 1]]);
        passed[places[n_left - 1]] = true;
    }
    shown[0] = 0;
    for (size_t i = 0; i < n; i++)
        if (passed[i])
            sprintf(shown + strlen(shown), "%s%zu", shown[0] ? " " : "", i);
    for (size_t i = 0; i < n; i++)
        filter_destroy(&filters[i]);
    return shown;
}

static void each_value_finds_its_filters(void **state)
{
    (void)state;
    static const char *const filters[] = {"/data/x = 1",
                                          "/data/x = \"1\"",
                                          "/data/x in (1.0, 2, 10e-1)",
                                          "/data/x != 1",
                                          "/data/x = null",
                                          "/data/x = true",
                                          "",
                                          "/data/x = 2.5",
                                          NULL};
    static const struct {
        const char *json, *places;
    } cases[] = {
        {"{\"data\":{\"x\":1}}", "0 2 6"},
        {"{\"data\":{\"x\":1.00}}", "0 2 6"},
        {"{\"data\":{\"x\":100e-2}}", "0 2 6"},
        {"{\"data\":{\"x\":0.1e1}}", "0 2 6"},
        {"{\"data\":{\"x\":2.0}}", "2 3 6"},
        {"{\"data\":{\"x\":-1}}", "3 6"},
        {"{\"data\":{\"x\":10}}", "3 6"},
        {"{\"data\":{\"x\":25e-1}}", "3 6 7"},
        {"{\"data\":{\"x\":\"1\"}}", "1 3 6"},
        {"{\"data\":{\"x\":\"\\u0031\"}}", "1 3 6"},
        {"{\"data\":{\"x\":\"1.0\"}}", "3 6"},
        {"{\"data\":{\"x\":null}}", "3 4 6"},
        {"{\"data\":{\"x\":true}}", "3 5 6"},
        {"{\"data\":{\"x\":false}}", "3 6"},
        {"{\"data\":{\"x\":{}}}", "3 6"},
        {"{\"data\":{\"x\":[1]}}", "3 6"},
        {"{\"data\":{}}", "3 6"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(pass(filters, cases[i].json), cases[i].places) != 0)
            fail_msg("%s: %s", cases[i].json, pass(filters, cases[i].json));
}

static void all_conditions_must_hold(void **state)
{
    (void)state;
    static const char *const filters[] = {
        "/data/x = 1 and /data/y = 1", "/data/x = 1 and /data/y = 2", "/data/y = 1 and /data/x > 0",
        "/data/x = 1 and /data/x = 2", NULL};
    assert_string_equal(pass(filters, "{\"data\":{\"x\":1,\"y\":1}}"), "0 2");
    assert_string_equal(pass(filters, "{\"data\":{\"x\":1,\"y\":2}}"), "1");
    assert_string_equal(pass(filters, "{\"data\":{\"x\":0,\"y\":1}}"), "");
}

static void what_is_not_hashed_counts(void **state)
{
    (void)state;
#define LONG "0123456789012345678901234567890123456789012345678901234567890123456789"
    static const char *const filters[] = {"/data/x = \"" LONG "a\"", "/data/x = \"" LONG "b\"",
                                          "/data/x = 1" LONG "1", "/data/x = 1" LONG "2", NULL};
    assert_string_equal(pass(filters, "{\"data\":{\"x\":\"" LONG "b\"}}"), "1");
    assert_string_equal(pass(filters, "{\"data\":{\"x\":1" LONG "1.0}}"), "2");
}

static void without_filters(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    static const filter_t *const open[] = {NULL, NULL};
    assert_string_equal(pass(none, "{}"), "");
    AUTO(filter_index) index = filter_index_new(open, 2);
    AUTO(filter_body) body = filter_body_new();
    uint32_t places[2];
    filter_body_set(body, SLICE("{}"));
    assert_int_equal(filter_index_pass(index, body, places), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_value_finds_its_filters),
        cmocka_unit_test(all_conditions_must_hold),
        cmocka_unit_test(what_is_not_hashed_counts),
        cmocka_unit_test(without_filters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
