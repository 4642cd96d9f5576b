#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/service/config_value.h"

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes; /* -1: refused */
    } cases[] = {
        {"0", 0},
        {"17", 17},
        {"17B", 17},
        {"64KiB", 65536},
        {"8MiB", 8388608},
        {"1GiB", 1073741824},
        {"9999999999999999", 9999999999999999},
        {"10000000000000000", -1},
        {"9999999999GiB", -1},
        {"9999999999999999GiB", -1},
        {"", -1},
        {"KiB", -1},
        {"-1", -1},
        {"1.5MiB", -1},
        {"1 KiB", -1},
        {"1kB", -1},
        {"1kib", -1},
        {"1KiBx", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t bytes = -1;
        result_t r = config_value_parse_size(slice_of(cases[i].text), &bytes);
        if (bytes != cases[i].bytes || (r == RESULT_OK) != (cases[i].bytes >= 0))
            fail_msg("\"%s\": %lld", cases[i].text, (long long)bytes);
    }
}

static const config_key_t small = {.type = CONFIG_INT, .min = 1, .max = 9},
                          whole = {.type = CONFIG_INT}, flag = {.type = CONFIG_BOOL},
                          duration = {.type = CONFIG_DURATION, .min = 10, .max = 600000},
                          size = {.type = CONFIG_SIZE, .min = 1024},
                          choice = {.type = CONFIG_TEXT, .choices = "warn|error"},
                          text = {.type = CONFIG_TEXT}, bound = {.type = CONFIG_BIND},
                          connected = {.type = CONFIG_CONNECT};

static const struct {
    const config_key_t *key;
    const char *text;
    int64_t number;    /* of one that is taken */
    const char *fault; /* NULL: it is taken */
} values[] = {
    {&small, "1", 0, NULL},
    {&small, "0", 0, "0 is out of range (1..9)"},
    {&small, "10", 0, "10 is out of range (1..9)"},
    {&small, "many", 0, "\"many\" is not a whole number"},
    {&small, "", 0, "\"\" is not a whole number"},
    {&small, "2x", 0, "\"2x\" is not a whole number"},
    {&whole, "9999999999999999", 0, NULL},
    {&flag, "0", 0, NULL},
    {&flag, "1", 0, NULL},
    {&flag, "2", 0, "\"2\" is not 0 or 1"},
    {&flag, "yes", 0, "\"yes\" is not 0 or 1"},
    {&duration, "15s", 15000, NULL},
    {&duration, "9ms", 0, "9ms is out of range (10ms..10m)"},
    {&duration, "11m", 0, "11m is out of range (10ms..10m)"},
    {&duration, "15", 0,
     "\"15\" is not a duration such as "
     "500ms, 15s, 5m, 2h or 1d"},
    {&size, "2KiB", 2048, NULL},
    {&size, "1", 0, "1 is out of range (at least 1KiB)"},
    {&choice, "warn", 0, NULL},
    {&choice, "error", 0, NULL},
    {&choice, "err", 0, "\"err\" is none of warn|error"},
    {&choice, "", 0, "\"\" is none of warn|error"},
    {&text, "whatever it is", 0, NULL},
    {&bound, "tcp://127.0.0.1:5550", 0, NULL},
    {&bound, "tcp://[::1]:*", 0, NULL},
    {&bound, "ipc:///run/x", 0, NULL},
    {&bound, "", 0, "\"\" is not one endpoint"},
    {&bound, "tcp://a:1 tcp://b:2", 0,
     "\"tcp://a:1 tcp://b:2\" is not one"
     " endpoint"},
    {&bound, "tcp://a:0", 0,
     "\"tcp://a:0\" is not an endpoint "
     "such as tcp://127.0.0.1:5550"},
    {&bound, "tcp://a:65536", 0,
     "\"tcp://a:65536\" is not an "
     "endpoint such as "
     "tcp://127.0.0.1:5550"},
    {&bound, "tcp://:1", 0,
     "\"tcp://:1\" is not an endpoint "
     "such as tcp://127.0.0.1:5550"},
    {&bound, "udp://a:1", 0,
     "\"udp://a:1\" is not an endpoint "
     "such as tcp://127.0.0.1:5550"},
    {&connected, "", 0, NULL},
    {&connected, " tcp://a:1  tcp://b:2 ", 0, NULL},
    {&connected, "tcp://a:1 b:2", 0,
     "\"b:2\" is not an endpoint such as"
     " tcp://127.0.0.1:5550"},
};

static void values_are_checked_against_their_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        fault_t fault = {""};
        int64_t number = 0;
        result_t r = config_value_parse(values[i].key, values[i].text, &number, &fault);
        if (r != (values[i].fault ? RESULT_INVALID : RESULT_OK) ||
            strcmp(fault.text, values[i].fault ? values[i].fault : "") != 0 ||
            (values[i].number && number != values[i].number))
            fail_msg("\"%s\": %s, %lld", values[i].text, fault.text, (long long)number);
    }
}

static void a_range_is_told_as_it_would_be_written(void **state)
{
    (void)state;
    static const struct {
        const config_key_t *key;
        const char *range;
    } cases[] = {
        {&small, "1..9"},         {&whole, ""}, {&flag, ""}, {&duration, "10ms..10m"},
        {&size, "at least 1KiB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF range = {0};
        config_value_range(cases[i].key, &range);
        assert_string_equal(buf_slice(&range).data, cases[i].range);
    }
}

static void defaults_pass_their_own_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_n_keys; i++) {
        int64_t number;
        fault_t fault;
        if (config_value_parse(&config_keys[i], config_keys[i].value, &number, &fault) != RESULT_OK)
            fail_msg("%s.%s: %s", config_keys[i].section, config_keys[i].key, fault.text);
    }
}

static void the_nearest_name_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *section, *key, *nearest_section, *nearest_key;
    } cases[] = {
        {"emitter", "intak", "emitter", "intake"},
        {"router", "intakes", "router", "intake"},
        {"deliverr", "window", "deliverer", "window"},
        {"auditor", "streem", "auditor", "stream"},
        {"emitter", "max_event", "emitter", "event_max"},
        {"deliverer", "retries", "deliverer", "retry"},
        {"deliverer", "handlers", "provisor", "handlers"},
        {"emitter", "min_free", "disk", "min_free"},
        {"emitter", "data", "provisor", "data"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const config_key_t *key = config_value_nearest(cases[i].section, cases[i].key);
        assert_string_equal(key->section, cases[i].nearest_section);
        assert_string_equal(key->key, cases[i].nearest_key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(values_are_checked_against_their_row),
        cmocka_unit_test(a_range_is_told_as_it_would_be_written),
        cmocka_unit_test(defaults_pass_their_own_check),
        cmocka_unit_test(the_nearest_name_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
