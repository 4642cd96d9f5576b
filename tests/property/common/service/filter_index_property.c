/* Random filters and bodies: the index must give what asking each filter gives. */
#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/service/filter_index.h"

enum { TABLES = 500, BODIES = 40, FILTERS_MAX = 60, LONG_BYTES = 80 };

/* Few paths and values, each value in several notations, so that many are equal. */
static const char *const paths[] = {"/data/x", "/data/y", "/data/z/0", "/event/object_id",
                                    "/data/none"};
enum { PATHS = sizeof paths / sizeof *paths };
static const char *const values[] = {
    "1.5",
    "15e-1",
    "0.150e1",
    "1",
    "1.0",
    "10e-1",
    "100",
    "1e2",
    "0.10e+3",
    "-1",
    "-1.00",
    "0",
    "-0.0",
    "0e7",
    "true",
    "false",
    "null",
    "\"\"",
    "\"1\"",
    "\"1.0\"",
    "\"ab\"",
    "\"\\u0061b\"",
    "\"true\"",
    "12345678901234567890",
    "1234567890123456789e1",
};
enum { VALUES = sizeof values / sizeof *values };

/* Two that differ far behind their beginning, and in size only. */
static void add_long(unsigned *seed, buf_t *to)
{
    bool number = !unit_chance(seed, 2);
    buf_add_str(to, number ? "7" : "\"7");
    for (unsigned n = LONG_BYTES + unit_chance(seed, 2); n > 0; n--)
        buf_add_char(to, '3');
    buf_printf(to, "%u", 1 + unit_chance(seed, 2));
    if (!number)
        buf_add_char(to, '"');
}

static void add_value(unsigned *seed, buf_t *to)
{
    if (unit_chance(seed, 10))
        buf_add_str(to, values[unit_chance(seed, VALUES)]);
    else
        add_long(seed, to);
}

static void add_condition(unsigned *seed, buf_t *to)
{
    buf_add_str(to, paths[unit_chance(seed, PATHS)]);
    switch (unit_chance(seed, 8)) {
    case 0:
        buf_add_str(to, " exists");
        return;
    case 1:
        buf_add_str(to, " != ");
        add_value(seed, to);
        return;
    case 2:
        buf_add_str(to, " < 50");
        return;
    case 3:
    case 4:
        buf_add_str(to, " in (");
        for (unsigned n = 1 + unit_chance(seed, 4); n > 0; n--) {
            add_value(seed, to);
            buf_add_str(to, n > 1 ? "," : ")");
        }
        return;
    default:
        buf_add_str(to, " = ");
        add_value(seed, to);
    }
}

/* NULL now and then: none. */
static filter_t *random_filter(unsigned *seed)
{
    AUTO_BUF text = {0};
    filter_t *filter = NULL;
    fault_t fault;
    if (!unit_chance(seed, 20))
        return NULL;
    for (unsigned n = unit_chance(seed, 12) ? 1 + unit_chance(seed, 3) : 0; n > 0; n--) {
        add_condition(seed, &text);
        buf_add_str(&text, n > 1 ? " and " : "");
    }
    if (filter_parse(buf_slice(&text), &filter, &fault) != RESULT_OK)
        fail_msg("%s: %s", text.data, fault.text);
    return filter;
}

static void add_member(unsigned *seed, const char *name, buf_t *to)
{
    if (!unit_chance(seed, 6))
        return;
    buf_printf(to, "%s\"%s\":", to->data[to->size - 1] == '{' ? "" : ",", name);
    if (!unit_chance(seed, 10))
        buf_add_str(to, unit_chance(seed, 2) ? "{}" : "[1]");
    else
        add_value(seed, to);
}

static void random_body(unsigned *seed, buf_t *to)
{
    buf_clear(to);
    buf_add_str(to, "{\"event\":{");
    add_member(seed, "object_id", to);
    buf_add_str(to, "},\"data\":{");
    add_member(seed, "x", to);
    add_member(seed, "y", to);
    if (unit_chance(seed, 2)) {
        buf_add_str(to, to->data[to->size - 1] == '{' ? "\"z\":[" : ",\"z\":[");
        add_value(seed, to);
        buf_add_char(to, ']');
    }
    buf_add_str(to, "}}");
}

static void assert_same(filter_index_t *index, filter_t **filters, size_t n, slice_t json,
                        filter_body_t *body)
{
    uint32_t places[FILTERS_MAX];
    int passed[FILTERS_MAX] = {0};
    filter_body_set(body, json);
    size_t n_places = filter_index_pass(index, body, places);
    assert_true(n_places <= n);
    for (size_t i = 0; i < n_places; i++)
        passed[places[i]]++;
    AUTO(filter_body) naive = filter_body_new();
    filter_body_set(naive, json);
    for (size_t i = 0; i < n; i++)
        if (passed[i] != (!filters[i] || filter_pass(filters[i], naive)))
            fail_msg("filter %zu is given %d times for %.*s", i, passed[i], (int)json.size,
                     json.data);
}

static void gives_what_asking_each_gives(void **state)
{
    (void)state;
    unsigned seed = unit_seed();
    for (int table = 0; table < TABLES; table++) {
        filter_t *filters[FILTERS_MAX];
        size_t n = unit_chance(&seed, FILTERS_MAX + 1);
        AUTO(filter_body) body = filter_body_new();
        for (size_t i = 0; i < n; i++) {
            filters[i] = random_filter(&seed);
            if (filters[i] && unit_chance(&seed, 2))
                filter_body_want(body, filters[i]);
        }
        AUTO(filter_index) index = filter_index_new((const filter_t *const *)filters, n);
        AUTO_BUF json = {0};
        for (int i = 0; i < BODIES; i++) {
            random_body(&seed, &json);
            assert_same(index, filters, n, buf_slice(&json), body);
        }
        for (size_t i = 0; i < n; i++)
            filter_destroy(&filters[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gives_what_asking_each_gives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
