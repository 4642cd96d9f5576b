#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/service/config.h"
#include "common/service/config_value.h"

#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "provisor.conf"

/* Every test runs in an empty folder of its own, with no setting in the environment. */
typedef struct {
    char dir[64];
    char before[4096];
} place_t;

static int enter(void **state)
{
    place_t *place = calloc(1, sizeof *place);
    assert_non_null(getcwd(place->before, sizeof place->before));
    snprintf(place->dir, sizeof place->dir, "/tmp/config_test.XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    assert_int_equal(chdir(place->dir), 0);
    unsetenv("PROVISOR_DATA");
    unsetenv("PROVISOR_CONFIG");
    *state = place;
    return 0;
}

static int leave(void **state)
{
    place_t *place = *state;
    unlink(FILE_NAME);
    assert_int_equal(chdir(place->before), 0);
    assert_int_equal(rmdir(place->dir), 0);
    free(place);
    return 0;
}

static void write_bytes(slice_t text)
{
    FILE *file = fopen(FILE_NAME, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text.data, 1, text.size, file), text.size);
    fclose(file);
}

static void write_file(const char *text)
{
    write_bytes(slice_of(text));
}

static config_t *load(const char *path, const char *data)
{
    config_t *config = NULL;
    fault_t fault = {""};
    if (config_load(path, data, &config, &fault) != RESULT_OK)
        fail_msg("%s", fault.text);
    return config;
}

static void expect_refused(const char *name, result_t expected, const char *message)
{
    config_t *config = NULL;
    fault_t fault = {""};
    result_t r = config_load(FILE_NAME, NULL, &config, &fault);
    if (r != expected || config || strcmp(fault.text, message) != 0)
        fail_msg("%s: %s \"%s\" instead of \"%s\"", name, result_str(r), fault.text, message);
}

static void defaults_stand_without_a_file(void **state)
{
    (void)state;
    AUTO(config) config = load(NULL, NULL);
    assert_int_equal(config_int(config, "emitter", "event_max"), 1 << 20);
    assert_int_equal(config_int(config, "deliverer", "timeout"), 15000);
    assert_int_equal(config_int(config, "provisor", "trusted_network"), 0);
    assert_string_equal(config_text(config, "emitter", "push"), "tcp://127.0.0.1:5550");
    assert_string_equal(config_source(config, "emitter", "push"), "emitter.push");
    assert_null(config_path(config));
}

/* A lane's delivery takes about 100 bytes of a deliverer's memory. */
static void a_full_queue_fits_into_memory_max(void **state)
{
    (void)state;
    AUTO(config) config = load(NULL, NULL);
    assert_true(config_int(config, "deliverer", "queue_max") * 200 <=
                config_int(config, "up", "memory_max") / 2);
}

static void a_file_wins_over_the_default(void **state)
{
    (void)state;
    write_file("# comment\n"
               "emitter\n"
               "    event_max = 2MiB # twice the default\n"
               "\n"
               "    push = \"tcp://127.0.0.1:7000\"\n"
               "deliverer # of this machine\n"
               "    timeout = 7s\r\n"
               "    retry = '1s,2s'");
    AUTO(config) config = load(FILE_NAME, NULL);
    assert_int_equal(config_int(config, "emitter", "event_max"), 2 << 20);
    assert_string_equal(config_text(config, "emitter", "push"), "tcp://127.0.0.1:7000");
    assert_int_equal(config_int(config, "deliverer", "timeout"), 7000);
    assert_string_equal(config_text(config, "deliverer", "retry"), "1s,2s");
    assert_string_equal(config_source(config, "deliverer", "timeout"),
                        "provisor.conf:7: deliverer.timeout");
    assert_string_equal(config_path(config), FILE_NAME);
}

static void an_empty_file_is_a_file(void **state)
{
    (void)state;
    write_file("");
    AUTO(config) config = load(FILE_NAME, NULL);
    assert_int_equal(config_int(config, "deliverer", "timeout"), 15000);
}

static void bad_files_are_refused_with_line_and_reason(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *message;
    } cases[] = {
        {"unknown key", "emitter\n    intak = 1\n",
         "provisor.conf:2: there is no setting emitter.intak; did you mean emitter.intake?"},
        {"key of another section", "router\n\n    mark = 1\n",
         "provisor.conf:3: there is no setting router.mark; did you mean router.marks?"},
        {"unknown section", "emiter\n    intake = 1\n",
         "provisor.conf:1: there is no section \"emiter\"; did you mean \"emitter\"?"},
        {"size", "emitter\n    event_max = 1MB\n",
         "provisor.conf:2: emitter.event_max: \"1MB\" is not a size such as 64KiB, 8MiB or 1GiB"},
        {"range of a size", "emitter\n    event_max = 1\n",
         "provisor.conf:2: emitter.event_max: 1 is out of range (1KiB..64MiB)"},
        {"range with an open end", "auditor\n    retention_age = 5ms\n",
         "provisor.conf:2: auditor.retention_age: 5ms is out of range (at least 1s)"},
        {"range of a number", "deliverer\n    window = 1001\n",
         "provisor.conf:2: deliverer.window: 1001 is out of range (1..1000)"},
        {"duration", "deliverer\n    timeout = 15\n",
         "provisor.conf:2: deliverer.timeout: \"15\" is not a duration such as 500ms, 15s, 5m, 2h "
         "or 1d"},
        {"negative number", "deliverer\n    window = -1\n",
         "provisor.conf:2: deliverer.window: \"-1\" is not a whole number"},
        {"boolean", "provisor\n    trusted_network = yes\n",
         "provisor.conf:2: provisor.trusted_network: \"yes\" is not 0 or 1"},
        {"boolean out of two", "provisor\n    trusted_network = 2\n",
         "provisor.conf:2: provisor.trusted_network: \"2\" is not 0 or 1"},
        {"choice", "provisor\n    log_level = loud\n",
         "provisor.conf:2: provisor.log_level: \"loud\" is none of error|warn|info|debug"},
        {"prefix of a choice", "provisor\n    log_level = err\n",
         "provisor.conf:2: provisor.log_level: \"err\" is none of error|warn|info|debug"},
        {"endpoint", "emitter\n    push = 127.0.0.1:5550\n",
         "provisor.conf:2: emitter.push: \"127.0.0.1:5550\" is not an endpoint such as "
         "tcp://127.0.0.1:5550"},
        {"port", "emitter\n    push = tcp://127.0.0.1:70000\n",
         "provisor.conf:2: emitter.push: \"tcp://127.0.0.1:70000\" is not an endpoint such as "
         "tcp://127.0.0.1:5550"},
        {"two endpoints to bind", "emitter\n    push = tcp://127.0.0.1:1 tcp://127.0.0.1:2\n",
         "provisor.conf:2: emitter.push: \"tcp://127.0.0.1:1 tcp://127.0.0.1:2\" is not one "
         "endpoint"},
        {"nothing to bind", "emitter\n    push = \"\"\n",
         "provisor.conf:2: emitter.push: \"\" is not one endpoint"},
        {"second endpoint of a list", "emitter\n    routers = tcp://a:1 tcp://b\n",
         "provisor.conf:2: emitter.routers: \"tcp://b\" is not an endpoint such as "
         "tcp://127.0.0.1:5550"},
        {"key twice", "emitter\n    batch_events = 1\n    array_max = 1\n    batch_events = 2\n",
         "provisor.conf:4: emitter.batch_events stands in line 2 already"},
        {"key twice in a section twice", "emitter\n    array_max = 1\nemitter\n    array_max = 1\n",
         "provisor.conf:4: emitter.array_max stands in line 2 already"},
        {"no section", "    intake = 1\n", "provisor.conf:1: a key outside of a section"},
        {"key not indented", "intake = 1\n",
         "provisor.conf:1: a key outside of a section; indent it with 4 spaces"},
        {"two spaces", "emitter\n  intake = 1\n", "provisor.conf:2: indent with 4 spaces"},
        {"tab", "emitter\n\tintake = 1\n", "provisor.conf:2: indent with spaces, not tabs"},
        {"too deep", "emitter\n    array_max = 1\n        x = 1\n",
         "provisor.conf:3: sections are one level deep"},
        {"no value", "emitter\n    array_max\n", "provisor.conf:2: expected \"key = value\""},
        {"no name", "emitter\n    = 3\n",
         "provisor.conf:2: expected a section, or 4 spaces and \"key = value\""},
        {"open quote", "emitter\n    push = \"tcp\n",
         "provisor.conf:2: the closing quote is missing"},
        {"text after a quote", "emitter\n    push = \"tcp\" x\n",
         "provisor.conf:2: text after the closing quote"},
        {"value that is a comment", "emitter\n    push = # none\n",
         "provisor.conf:2: a value that starts with # needs quotes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(cases[i].text);
        expect_refused(cases[i].name, RESULT_INVALID, cases[i].message);
    }
}

static void hostile_files_are_refused(void **state)
{
    (void)state;
    AUTO_BUF text = {0};
    buf_add_str(&text, "emitter\n    push = ");
    for (int i = 0; i < 2000; i++)
        buf_add_char(&text, 'x');
    buf_add_char(&text, '\n');
    write_bytes(buf_slice(&text));
    expect_refused("long line", RESULT_INVALID,
                   "provisor.conf:2: the line is longer than 1000 characters");
    for (int i = 0; i < 1 << 20; i++)
        buf_add_char(&text, '#');
    write_bytes(buf_slice(&text));
    expect_refused("long file", RESULT_INVALID, "provisor.conf is longer than 1 MiB");
    write_bytes(SLICE("emitter\n    push\0 = 1\n"));
    expect_refused("zero byte", RESULT_INVALID, "provisor.conf:2: a zero byte");
    unlink(FILE_NAME);
    expect_refused("no file", RESULT_NOT_FOUND,
                   "cannot read the configuration file provisor.conf: No such file or directory");
}

static void the_environment_wins_over_the_file(void **state)
{
    (void)state;
    write_file("emitter\n    array_max = 7\n    batch_events = 8\n");
    setenv("PROVISOR_EMITTER_ARRAY_MAX", "9", 1);
    setenv("PROVISOR_EMITTER_BATCH_EVENTS", "", 1); /* empty: not set */
    AUTO(config) config = load(FILE_NAME, NULL);
    unsetenv("PROVISOR_EMITTER_ARRAY_MAX");
    unsetenv("PROVISOR_EMITTER_BATCH_EVENTS");
    assert_int_equal(config_int(config, "emitter", "array_max"), 9);
    assert_int_equal(config_int(config, "emitter", "batch_events"), 8);
    assert_string_equal(config_source(config, "emitter", "array_max"),
                        "PROVISOR_EMITTER_ARRAY_MAX");
}

static void the_environment_is_checked(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *message; /* NULL: taken or left alone */
    } cases[] = {
        {"PROVISOR_EMITTER_INTAK", "tcp://127.0.0.1:1",
         "PROVISOR_EMITTER_INTAK in the environment: there is no setting emitter.intak; did you "
         "mean PROVISOR_EMITTER_INTAKE?"},
        {"PROVISOR_DELIVERER_TIMEOUT", "soon",
         "PROVISOR_DELIVERER_TIMEOUT: \"soon\" is not a duration such as 500ms, 15s, 5m, 2h or "
         "1d"},
        {"PROVISOR_DELIVERER_TIMEOUT", "3s", NULL},
        {"PROVISOR_HANDLERS", "/x",
         "PROVISOR_HANDLERS in the environment: did you mean PROVISOR_PROVISOR_HANDLERS?"},
        {"PROVISOR_EMITER_INTAKE", "tcp://127.0.0.1:1",
         "PROVISOR_EMITER_INTAKE in the environment: there is no section emiter; did you mean "
         "PROVISOR_EMITTER_INTAKE?"},
        {"PROVISOR_DELIEVRER_WINDO", "1",
         "PROVISOR_DELIEVRER_WINDO in the environment: there is no section delievrer; did you mean "
         "PROVISOR_DELIVERER_WINDOW?"},
        {"PROVISOR_DISC_MIN_FREE", "1",
         "PROVISOR_DISC_MIN_FREE in the environment: there is no section disc; did you mean "
         "PROVISOR_DISK_MIN_FREE?"},
        {"PROVISOR_RUN_ONCE", "1", NULL},
        {"PROVISOR_BENCH_DIR", "/x", NULL},
        {"PROVISOR_EVENTS_ID", "clients.update", NULL}, /* what scripts get */
        {"PROVISOR_EMITTERS_PORT_5551_TCP", "tcp://10.0.0.1:80", NULL},
        {"PROVISOR_SEED", "12", NULL},
        {"PROVISOR_CRASH", "emitter.x:1", NULL},
        {"PROVISOR_EMITTER_PORT", "tcp://10.0.0.1:80", NULL},
        {"PROVISOR_EMITTER_PORT_5551_TCP_ADDR", "10.0.0.1", NULL},
        {"PROVISOR_EMITTER_SERVICE_HOST", "10.0.0.1", NULL},
        {"PROVISORS_EMITTER_X", "1", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO(config) config = NULL;
        fault_t fault = {""};
        setenv(cases[i].name, cases[i].value, 1);
        result_t r = config_load(NULL, NULL, &config, &fault);
        unsetenv(cases[i].name);
        if ((r == RESULT_OK) != !cases[i].message ||
            (cases[i].message && strcmp(fault.text, cases[i].message) != 0))
            fail_msg("%s=%s: %s \"%s\"", cases[i].name, cases[i].value, result_str(r), fault.text);
    }
}

static void every_key_can_be_set_in_the_environment(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_n_keys; i++) {
        AUTO_BUF name = {0};
        config_env_name(config_keys[i].section, config_keys[i].key, &name);
        if (*config_keys[i].value)
            setenv(name.data, config_keys[i].value, 1);
        AUTO(config) config = load(NULL, NULL);
        unsetenv(name.data);
        if (*config_keys[i].value)
            assert_string_equal(config_source(config, config_keys[i].section, config_keys[i].key),
                                name.data);
    }
}

static void expect_folder(const char *name, const char *here, const char *expected,
                          const char *actual)
{
    AUTO_BUF full = {0};
    buf_printf(&full, "%s%s%s", *expected == '/' ? "" : here, *expected == '/' ? "" : "/",
               expected);
    if (strcmp(actual, full.data) != 0)
        fail_msg("%s: %s instead of %s", name, actual, full.data);
}

static void the_data_folder_is_absolute(void **state)
{
    const char *here = ((place_t *)*state)->dir;
    static const struct {
        const char *name, *file, *env, *flag, *handlers, *data, *dir;
    } cases[] = {
        {"default", "", "", NULL, "", "provisor-data", "provisor-data"},
        {"file", "f", "", NULL, "", "f", "f"},
        {"environment", "f", "e/", NULL, "", "e", "e"},
        {"flag", "f", "e", "./g", "", "g", "g"},
        {"absolute", "", "", "/var/x", "", "/var/x", "/var/x"},
        {"handlers apart", "", "", "d", "h", "d", "h"},
        {"handlers absolute", "d", "", NULL, "/h//", "d", "/h"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF text = {0};
        if (*cases[i].file)
            buf_printf(&text, "provisor\n    data = %s\n", cases[i].file);
        write_bytes(buf_slice(&text));
        setenv("PROVISOR_DATA", cases[i].env, 1);
        setenv("PROVISOR_PROVISOR_HANDLERS", cases[i].handlers, 1);
        AUTO(config) config = load(FILE_NAME, cases[i].flag);
        unsetenv("PROVISOR_DATA");
        unsetenv("PROVISOR_PROVISOR_HANDLERS");
        expect_folder(cases[i].name, here, cases[i].data, config_data(config));
        expect_folder(cases[i].name, here, cases[i].dir, config_handlers_dir(config));
    }
}

static void the_largest_batch_holds_the_largest_event(void **state)
{
    const struct {
        const char *name, *text;
        int64_t least;
    } cases[] = {
        {"by default", "", 1 << 20},
        {"large batch", "emitter\n    batch_bytes = 9MiB\n", 9 << 20},
        {"large events", "emitter\n    event_max = 64MiB\n", 64 << 20},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_bytes(slice_of(cases[i].text));
        AUTO(config) config = load(FILE_NAME, NULL);
        int64_t size = config_events_max(config);
        if (size < cases[i].least || size > cases[i].least + (1 << 20))
            fail_msg("%s: %lld", cases[i].name, (long long)size);
    }
}

static void the_printed_defaults_are_a_file_that_changes_nothing(void **state)
{
    (void)state;
    AUTO_BUF text = {0};
    config_print_defaults(&text);
    write_bytes(buf_slice(&text));
    AUTO(config) printed = load(FILE_NAME, NULL);
    AUTO(config) plain = load(NULL, NULL);
    for (size_t i = 0; i < config_n_keys; i++) {
        const config_key_t *key = &config_keys[i];
        assert_non_null(strstr(config_source(printed, key->section, key->key), FILE_NAME));
        if (key->type < CONFIG_TEXT)
            assert_int_equal(config_int(printed, key->section, key->key),
                             config_int(plain, key->section, key->key));
        else
            assert_string_equal(config_text(printed, key->section, key->key),
                                config_text(plain, key->section, key->key));
        assert_non_null(strstr(text.data, key->help));
    }
}

static void a_reload_takes_over_what_may_change(void **state)
{
    (void)state;
    write_file("deliverer\n    window = 3\n    retry = 1s\n    queue_max = 1000\n"
               "router\n    intake = tcp://127.0.0.1:7001\n");
    AUTO(config) config = load(FILE_NAME, NULL);
    const char *old_retry = config_text(config, "deliverer", "retry");
    const char *intake = config_text(config, "router", "intake");
    write_file("deliverer\n    window = 4\n    retry = 2s\n    queue_max = 1000\n"
               "router\n    intake = tcp://127.0.0.1:7002\n");
    AUTO_BUF changed = {0}, ignored = {0};
    fault_t fault = {""};
    assert_int_equal(config_reload(config, &changed, &ignored, &fault), RESULT_OK);
    assert_string_equal(changed.data, "deliverer.window deliverer.retry ");
    assert_string_equal(ignored.data, "router.intake ");
    assert_int_equal(config_int(config, "deliverer", "window"), 4);
    assert_string_equal(config_text(config, "deliverer", "retry"), "2s");
    assert_string_equal(old_retry, "1s"); /* whoever still holds it may read it */
    assert_ptr_equal(config_text(config, "router", "intake"), intake);
    assert_string_equal(intake, "tcp://127.0.0.1:7001");
}

static void a_bad_reload_changes_nothing(void **state)
{
    (void)state;
    write_file("deliverer\n    window = 3\n");
    AUTO(config) config = load(FILE_NAME, NULL);
    write_file("deliverer\n    window = 4\n    timeout = never\n");
    AUTO_BUF changed = {0}, ignored = {0};
    fault_t fault = {""};
    assert_int_equal(config_reload(config, &changed, &ignored, &fault), RESULT_INVALID);
    assert_non_null(strstr(fault.text, "provisor.conf:3: deliverer.timeout"));
    assert_int_equal(config_int(config, "deliverer", "window"), 3);
}

static void the_table_is_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_n_keys; i++) {
        const config_key_t *a = &config_keys[i];
        assert_true(strspn(a->key, "abcdefghijklmnopqrstuvwxyz_") == strlen(a->key));
        assert_true(a->help && a->help[strlen(a->help) - 1] == '.');
        for (size_t j = 0; j < i; j++)
            assert_false(strcmp(a->section, config_keys[j].section) == 0 &&
                         strcmp(a->key, config_keys[j].key) == 0);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_stand_without_a_file),
        TEST(a_full_queue_fits_into_memory_max),
        TEST(a_file_wins_over_the_default),
        TEST(an_empty_file_is_a_file),
        TEST(bad_files_are_refused_with_line_and_reason),
        TEST(hostile_files_are_refused),
        TEST(the_environment_wins_over_the_file),
        TEST(the_environment_is_checked),
        TEST(every_key_can_be_set_in_the_environment),
        TEST(the_data_folder_is_absolute),
        TEST(the_largest_batch_holds_the_largest_event),
        TEST(the_printed_defaults_are_a_file_that_changes_nothing),
        TEST(a_reload_takes_over_what_may_change),
        TEST(a_bad_reload_changes_nothing),
        TEST(the_table_is_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
