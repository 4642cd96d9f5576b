#include "tests/support/unit.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/base/clk.h"
#include "services/cli/cli.h"

enum { ARGS_MAX = 10, OUTPUT_MAX = 8192, ANSWER = 5 };

/* The commands of this test instead of the real ones: they tell what they were given. */
static int tell_run(cli_t *cli)
{
    printf("tell %zu", cli_arguments(cli));
    for (size_t i = 0; i < cli_arguments(cli); i++)
        printf(" %s", cli_argument(cli, i));
    for (size_t i = 0; i < cli_flag_count(cli, "name"); i++)
        printf(" name=%s", cli_flag_at(cli, "name", i));
    printf(" last=%s yes=%d json=%d beyond=%d data=%s", cli_flag(cli, "name") ? "name" : "none",
           cli_flag(cli, "yes") != NULL, cli_json(cli), cli_argument(cli, 9) != NULL,
           strrchr(config_data(cli_config(cli)), '/') + 1);
    return ANSWER;
}

static int values_run(cli_t *cli)
{
    int64_t number, duration_ms, wall_ms;
    int code = cli_flag_int(cli, "number", -7, &number);
    code = code ? code : cli_flag_duration(cli, "for", -8, &duration_ms);
    code = code ? code : cli_flag_time(cli, "since", -9, &wall_ms);
    if (code != EXIT_OK)
        return code;
    if (wall_ms > 0 && wall_ms <= clk_wall_ms() && cli_flag(cli, "ago"))
        wall_ms = (clk_wall_ms() - wall_ms) / 3600000;
    printf("values %lld %lld %lld", (long long)number, (long long)duration_ms, (long long)wall_ms);
    return EXIT_OK;
}

static int fail_run(cli_t *cli)
{
    return cli_fail(cli, EXIT_UNAVAILABLE, "no %s", "luck");
}

static const cli_flag_t tell_flags[] = {
    {"name", "N", "a name; may be repeated"},
    {"yes", NULL, "a switch"},
    {NULL, NULL, NULL},
};

static const cli_flag_t values_flags[] = {
    {"number", "N", "a number"}, {"for", "D", "a duration"}, {"since", "T", "a time"},
    {"ago", NULL, "in hours"},   {NULL, NULL, NULL},
};

static const cli_command_t commands[] = {
    {"tell", "WHAT", "Tells what it was given", "  provisor tell x\n", tell_flags, 1, 2, tell_run},
    {"tell values", "", "Tells values", NULL, values_flags, 0, 0, values_run},
    {"many", "", "Takes many", NULL, NULL, 0, -1, tell_run},
    {"show values", "", "Tells values", NULL, values_flags, 0, 0, values_run},
    {"fail", "", "Fails", NULL, NULL, 0, 0, fail_run},
    {NULL},
};

const cli_command_t *const cli_commands[] = {commands, NULL};

static int saved(int fd, const char *path)
{
    int copy = dup(fd), file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    dup2(file, fd);
    close(file);
    return copy;
}

static void restored(int fd, int copy, const char *path, char ret_text[static OUTPUT_MAX])
{
    dup2(copy, fd);
    close(copy);
    FILE *file = fopen(path, "r");
    size_t size = fread(ret_text, 1, OUTPUT_MAX - 1, file);
    ret_text[size] = 0;
    fclose(file);
    unlink(path);
}

/* stdout and stderr, one after the other. */
static int run(const char *const *args, char ret_text[static 2 * OUTPUT_MAX])
{
    char *argv[ARGS_MAX + 2] = {(char *)"provisor"}, err_text[OUTPUT_MAX];
    int argc = 1;
    for (; argc <= ARGS_MAX && args[argc - 1]; argc++)
        argv[argc] = (char *)args[argc - 1];
    fflush(NULL);
    int out = saved(STDOUT_FILENO, "cli_test.out"), err = saved(STDERR_FILENO, "cli_test.err");
    int code = cli_main(argc, argv);
    fflush(NULL);
    restored(STDOUT_FILENO, out, "cli_test.out", ret_text);
    restored(STDERR_FILENO, err, "cli_test.err", err_text);
    size_t size = strlen(ret_text);
    snprintf(ret_text + size, 2 * OUTPUT_MAX - size, "%s", err_text);
    return code;
}

static const struct {
    const char *args[ARGS_MAX];
    int code;
    const char *text; /* part of what is printed */
} cases[] = {
    {{NULL}, EXIT_USAGE, "usage: provisor COMMAND"},
    {{"--help"}, EXIT_OK, "tell             Tells what it was given\n"},
    {{"help"}, EXIT_OK, "show values      Tells values\n"},
    {{"--version"}, EXIT_OK, "provisor " PROVISOR_VERSION "\n"},
    {{"tel"}, EXIT_USAGE, "provisor: unknown command \"tel\""},
    {{"-h"}, EXIT_OK, "usage: provisor COMMAND"},
    {{"show"}, EXIT_USAGE, "unknown command \"show\"\n\nusage: provisor show COMMAND"},
    {{"show", "value"},
     EXIT_USAGE,
     "unknown command \"show value\"\n\nusage: provisor show COMMAND"},
    {{"show", "--help"},
     EXIT_OK,
     "usage: provisor show COMMAND [arguments] [flags]\n\n  show values "},
    {{"show", "-h"}, EXIT_OK, "usage: provisor show COMMAND"},
    {{"tell", "a"}, ANSWER, "tell 1 a last=none yes=0 json=0 beyond=0 data=provisor-data"},
    {{"tell", "a", "--name", "x", "b", "--yes", "--name=y", "--json"},
     ANSWER,
     "tell 2 a b name=x name=y last=name yes=1 json=1"},
    {{"tell", "--data", "/tmp/here", "a"}, ANSWER, "data=here"},
    {{"tell", "--", "--name"}, ANSWER, "tell 1 --name"},
    {{"tell"}, EXIT_USAGE, "provisor tell: WHAT is missing; see provisor tell --help\n"},
    {{"tell", "a", "b", "c"}, EXIT_USAGE, "unexpected \"c\""},
    {{"tell", "a", "--nam"}, EXIT_USAGE, "a value is missing after --nam"},
    {{"tell", "a", "--nonsense"}, EXIT_USAGE, "unknown flag --nonsense"},
    {{"tell", "--help"}, EXIT_OK, "usage: provisor tell WHAT [flags]\nTells what it was given."},
    {{"tell", "-h"}, EXIT_OK, "examples:\n  provisor tell x\n"},
    {{"tell", "a", "--help", "b", "c"}, EXIT_OK, "--name N               a name"},
    {{"tell", "a", "--config", "/nowhere.conf"}, EXIT_CONFIG, "/nowhere.conf"},
    {{"many", "1", "2", "3", "4", "5", "6"}, ANSWER, "tell 6 1 2 3 4 5 6"},
    {{"fail"}, EXIT_UNAVAILABLE, "provisor fail: no luck\n"},
    {{"show", "values"}, EXIT_OK, "values -7 -8 -9"},
    {{"show", "values", "--number", "-12", "--for", "5m", "--since", "1970-01-01T00:00:01Z"},
     EXIT_OK,
     "values -12 300000 1000"},
    {{"show", "values", "--since", "24h", "--ago"}, EXIT_OK, "values -7 -8 24"},
    {{"show", "values", "--number", "1x"}, EXIT_USAGE, "--number wants a whole number, not \"1x\""},
    {{"show", "values", "--number", ""}, EXIT_USAGE, "--number wants a whole number"},
    {{"show", "values", "--number", "99999999999999999999"}, EXIT_USAGE, "a whole number"},
    {{"show", "values", "--for", "5"}, EXIT_USAGE, "--for wants a duration"},
    {{"show", "values", "--since", "yesterday"}, EXIT_USAGE, "--since wants a time"},
};

static void the_command_line_finds_its_command(void **state)
{
    (void)state;
    static char text[2 * OUTPUT_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int code = run(cases[i].args, text);
        if (code != cases[i].code || !strstr(text, cases[i].text))
            fail_msg("%s %s: %d\n%s", cases[i].args[0], cases[i].args[1], code, text);
    }
}

int main(void)
{
    unsetenv("PROVISOR_CONFIG");
    unsetenv("PROVISOR_DATA");
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_command_line_finds_its_command)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
