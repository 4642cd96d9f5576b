#include "tests/support/unit.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/service/flags.h"

enum { ARGS_MAX = 8 };

/* stdout and stderr of one reading are nobody's business. */
static bool read_quietly(char **argv, flags_t *ret_flags, int *ret_code)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    fflush(NULL);
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    bool go_on = flags_read(argc, argv, "small", "Does little.", ret_flags, ret_code);
    fflush(NULL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(out), close(err), close(null);
    return go_on;
}

static const struct {
    const char *name;
    const char *args[ARGS_MAX];
    bool go_on;
    int code;
    const char *config, *data;
    bool check;
} cases[] = {
    {"nothing", {NULL}, true, 0, NULL, NULL, false},
    {"all", {"--config", "a", "--data=b", "--check"}, true, 0, "a", "b", true},
    {"the last one wins", {"--data", "a", "--data", "b"}, true, 0, NULL, "b", false},
    {"an empty value", {"--data", ""}, true, 0, NULL, "", false},
    {"version", {"--version"}, false, 0},
    {"help", {"--help"}, false, 0},
    {"help comes first", {"--help", "--nonsense"}, false, 0},
    {"unknown", {"--nonsense"}, false, FLAGS_USAGE},
    {"a letter", {"-c", "a"}, false, FLAGS_USAGE},
    {"a value is missing", {"--config"}, false, FLAGS_USAGE},
    {"a value too many", {"--check=1"}, false, FLAGS_USAGE},
    {"an argument", {"a"}, false, FLAGS_USAGE},
    {"behind the flags", {"--check", "--", "a"}, false, FLAGS_USAGE},
};

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void the_command_line_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *argv[ARGS_MAX + 2] = {(char *)"provisor-small"};
        for (size_t k = 0; k < ARGS_MAX && cases[i].args[k]; k++)
            argv[k + 1] = (char *)cases[i].args[k];
        flags_t flags = {"untouched", NULL, false};
        int code = -1;
        bool go_on = read_quietly(argv, &flags, &code);
        if (go_on != cases[i].go_on || (!go_on && code != cases[i].code))
            fail_msg("%s: %d, code %d", cases[i].name, go_on, code);
        if (go_on && (!same(flags.config, cases[i].config) || !same(flags.data, cases[i].data) ||
                      flags.check != cases[i].check))
            fail_msg("%s: config %s, data %s", cases[i].name, flags.config, flags.data);
        if (!go_on && !same(flags.config, "untouched"))
            fail_msg("%s: the flags were set", cases[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_command_line_is_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
