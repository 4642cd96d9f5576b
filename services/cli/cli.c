#include "services/cli/cli.h"

#include <czmq.h>
#include <errno.h>
#include <getopt.h>

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/service/endpoint.h"
#include "services/cli/terminal.h"

typedef struct {
    const char *name;
    const char *value;
} given_t;

struct cli_t {
    const cli_command_t *command;
    config_t *config;
    given_t *given; /* flags in the order in which they were given */
    size_t n_given;
    char **arguments;
    size_t n_arguments;
};

static const cli_flag_t common_flags[] = {
    {"config", "FILE", "configuration file (also PROVISOR_CONFIG)"},
    {"data", "DIR", "data folder (also PROVISOR_DATA; default ./provisor-data)"},
    {"json", NULL, "for machines: JSON, lists one object per line"},
    {"help", NULL, "this text"},
    {NULL},
};

enum { FLAGS_MAX = 64 };

const config_t *cli_config(const cli_t *cli)
{
    return cli->config;
}

bool cli_json(const cli_t *cli)
{
    return cli_flag(cli, "json") != NULL;
}

size_t cli_arguments(const cli_t *cli)
{
    return cli->n_arguments;
}

const char *cli_argument(const cli_t *cli, size_t i)
{
    return i < cli->n_arguments ? cli->arguments[i] : NULL;
}

const char *cli_flag(const cli_t *cli, const char *name)
{
    size_t n = cli_flag_count(cli, name);
    return n ? cli_flag_at(cli, name, n - 1) : NULL;
}

size_t cli_flag_count(const cli_t *cli, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < cli->n_given; i++)
        n += strcmp(cli->given[i].name, name) == 0;
    return n;
}

const char *cli_flag_at(const cli_t *cli, const char *name, size_t at)
{
    for (size_t i = 0; i < cli->n_given; i++)
        if (strcmp(cli->given[i].name, name) == 0 && at-- == 0)
            return cli->given[i].value;
    return NULL;
}

int cli_flag_int(const cli_t *cli, const char *name, int64_t otherwise, int64_t *ret_value)
{
    const char *text = cli_flag(cli, name);
    *ret_value = otherwise;
    if (!text)
        return EXIT_OK;
    char *end;
    errno = 0;
    int64_t value = strtoll(text, &end, 10);
    if (errno || end == text || *end)
        return cli_fail(cli, EXIT_USAGE, "--%s wants a whole number, not \"%s\"", name, text);
    *ret_value = value;
    return EXIT_OK;
}

int cli_flag_duration(const cli_t *cli, const char *name, int64_t otherwise, int64_t *ret_ms)
{
    const char *text = cli_flag(cli, name);
    *ret_ms = otherwise;
    if (text && clk_parse_duration(slice_of(text), ret_ms) != RESULT_OK)
        return cli_fail(cli, EXIT_USAGE,
                        "--%s wants a duration such as 500ms, 15s, 5m, 2h or 1d, not \"%s\"", name,
                        text);
    return EXIT_OK;
}

int cli_flag_time(const cli_t *cli, const char *name, int64_t otherwise, int64_t *ret_wall_ms)
{
    const char *text = cli_flag(cli, name);
    int64_t ago_ms;
    *ret_wall_ms = otherwise;
    if (!text || clk_parse_iso(slice_of(text), ret_wall_ms) == RESULT_OK)
        return EXIT_OK;
    if (clk_parse_duration(slice_of(text), &ago_ms) != RESULT_OK)
        return cli_fail(cli, EXIT_USAGE,
                        "--%s wants a time such as 2026-01-01T00:00:00Z, or how long ago: 24h; "
                        "not \"%s\"",
                        name, text);
    *ret_wall_ms = clk_wall_ms() - ago_ms;
    return EXIT_OK;
}

int cli_fail(const cli_t *cli, int code, const char *format, ...)
{
    va_list args;
    AUTO_FREE char *message = NULL;
    AUTO_BUF clean = {0};
    va_start(args, format);
    ENSURE(vasprintf(&message, format, args) >= 0);
    va_end(args);
    terminal_add_lines(&clean, slice_of(message)); /* a stage's words may hold a handler's */
    fprintf(stderr, "provisor%s%s: %s\n", cli && cli->command ? " " : "",
            cli && cli->command ? cli->command->name : "", clean.data ? clean.data : "");
    return code;
}

void cli_print(const buf_t *text)
{
    if (text->size)
        fwrite(text->data, 1, text->size, stdout);
    fputc('\n', stdout);
    fflush(stdout);
}

const char *cli_endpoint(const cli_t *cli, const char *key, const char *section,
                         const char *otherwise)
{
    const char *own = config_text(cli->config, "cli", key);
    return *own ? own : config_text(cli->config, section, otherwise);
}

void cli_controls(const cli_t *cli, const char *key, const char *section, buf_t *ret_list)
{
    AUTO_BUF one = {0}, resolved = {0};
    buf_clear(ret_list);
    for (const char *at = cli_endpoint(cli, key, section, "control"); endpoint_next(&at, &one);) {
        (void)endpoint_resolve(one.data, &resolved);
        buf_printf(ret_list, "%s ", resolved.data);
    }
}

result_t cli_ask_control(const char *control, slice_t question, int64_t timeout_ms,
                         buf_t *ret_answer)
{
    return endpoint_has_name(control) ? RESULT_NOT_FOUND
                                      : endpoint_ask(control, question, timeout_ms, ret_answer);
}

void cli_say_damaged(const json_tree_t *answer)
{
    const json_tree_t *ranges = json_get(answer, "damaged");
    for (size_t i = 0; YAJL_IS_ARRAY(ranges) && i < ranges->u.array.len; i++)
        fprintf(stderr, "(history lacks audit_id %lld to %lld: that segment is damaged)\n",
                (long long)json_get_int(ranges->u.array.values[i], "from", 0),
                (long long)json_get_int(ranges->u.array.values[i], "to", 0));
}

int cli_ask(const cli_t *cli, const char *who, const char *endpoint, const buf_t *question,
            int64_t timeout_ms, json_tree_t **ret_answer)
{
    AUTO_BUF answer = {0};
    fault_t fault;
    result_t r = endpoint_ask(endpoint, buf_slice(question), timeout_ms, &answer);
    if (r == RESULT_TIMEOUT)
        return cli_fail(cli, EXIT_UNAVAILABLE,
                        "the %s does not answer at %s; is it running? (provisor up, provisor "
                        "status)",
                        who, endpoint);
    if (r == RESULT_ENDED)
        return cli_fail(cli, EXIT_UNAVAILABLE,
                        "the %s at %s stopped before it answered; look at provisor status, then "
                        "try again",
                        who, endpoint);
    if (r == RESULT_NOT_FOUND)
        return cli_fail(cli, EXIT_UNAVAILABLE,
                        "the %s does not answer: its name in %s is not known; is it running?", who,
                        endpoint);
    if (r != RESULT_OK)
        return cli_fail(cli, EXIT_UNAVAILABLE, "cannot reach the %s at %s", who, endpoint);
    AUTO(json_tree) tree = NULL;
    if (json_parse(buf_slice(&answer), &tree, &fault) != RESULT_OK)
        return cli_fail(cli, EXIT_FAILED, "the %s gave a malformed answer: %s", who, fault.text);
    if (!json_get_bool(tree, "ok", false)) {
        const char *why = json_get_str(tree, "error");
        cli_say_damaged(tree);
        return cli_fail(cli, EXIT_FAILED, "%s", why ? why : "refused, without a reason");
    }
    *ret_answer = TAKE(tree);
    return EXIT_OK;
}

int cli_ask_history(const cli_t *cli, const buf_t *question, json_tree_t **ret_answer)
{
    return cli_ask(cli, "auditor", cli_endpoint(cli, "questions", "auditor", "questions"), question,
                   60000, ret_answer);
}

static void print_flags(const cli_flag_t *flags)
{
    for (; flags->name; flags++) {
        char left[64];
        snprintf(left, sizeof left, "--%s %s", flags->name, flags->value ? flags->value : "");
        printf("  %-22s %s\n", left, flags->help);
    }
}

static int print_command_help(const cli_command_t *command)
{
    printf("usage: provisor %s %s%s[flags]\n%s.\n\nflags:\n", command->name, command->arguments,
           *command->arguments ? " " : "", command->summary);
    if (command->flags)
        print_flags(command->flags);
    print_flags(common_flags);
    if (command->examples)
        printf("\nexamples:\n%s", command->examples);
    return EXIT_OK;
}

static bool is_of_group(const cli_command_t *command, const char *group)
{
    size_t size = strlen(group);
    return strncmp(command->name, group, size) == 0 && command->name[size] == ' ';
}

static bool is_group(const char *word)
{
    for (const cli_command_t *const *c = cli_commands; *c; c++)
        for (const cli_command_t *command = *c; command->name; command++)
            if (is_of_group(command, word))
                return true;
    return false;
}

/* All commands, or those of a group such as "handler". */
static void print_help(FILE *to, const char *group)
{
    fprintf(to, "usage: provisor %s%sCOMMAND [arguments] [flags]\n\n", group ? group : "",
            group ? " " : "");
    for (const cli_command_t *const *c = cli_commands; *c; c++)
        for (const cli_command_t *command = *c; command->name; command++)
            if (!group || is_of_group(command, group))
                fprintf(to, "  %-16s %s\n", command->name, command->summary);
    fprintf(to, "\nprovisor COMMAND --help shows a command's flags and examples.\n");
}

/* The command whose name is the first word, or the first two words, of argv. */
static const cli_command_t *find_command(int argc, char **argv, int *ret_words)
{
    for (const cli_command_t *const *c = cli_commands; *c; c++)
        for (const cli_command_t *command = *c; command->name; command++) {
            char two[64] = "";
            if (argc > 2)
                snprintf(two, sizeof two, "%s %s", argv[1], argv[2]);
            if (strcmp(command->name, argv[1]) == 0 || strcmp(command->name, two) == 0) {
                *ret_words = strchr(command->name, ' ') ? 2 : 1;
                return command;
            }
        }
    return NULL;
}

static size_t add_options(const cli_flag_t *flags, struct option *options, size_t n)
{
    for (; flags && flags->name; flags++) {
        ENSURE(n + 1 < FLAGS_MAX);
        options[n++] =
            (struct option){flags->name, flags->value ? required_argument : no_argument, NULL, 0};
    }
    return n;
}

static int read_flags(cli_t *cli, int argc, char **argv)
{
    struct option options[FLAGS_MAX] = {0};
    size_t n = add_options(cli->command->flags, options, 0);
    add_options(common_flags, options, n);
    int at = 0, c;
    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, ":h", options, &at)) != -1) {
        if (c == ':')
            return cli_fail(cli, EXIT_USAGE, "a value is missing after %s; see provisor %s --help",
                            argv[optind - 1], cli->command->name);
        if (c == '?')
            return cli_fail(cli, EXIT_USAGE, "unknown flag %s; see provisor %s --help",
                            argv[optind - 1], cli->command->name);
        const char *name = c == 'h' ? "help" : options[at].name;
        ENSURE(name);
        cli->given[cli->n_given++] = (given_t){name, optarg ? optarg : ""};
    }
    cli->arguments = argv + optind;
    cli->n_arguments = (size_t)(argc - optind);
    return EXIT_OK;
}

static int check_arguments(const cli_t *cli)
{
    const cli_command_t *command = cli->command;
    int n = (int)cli->n_arguments;
    if (n >= command->min_arguments && (command->max_arguments < 0 || n <= command->max_arguments))
        return EXIT_OK;
    if (n < command->min_arguments)
        return cli_fail(cli, EXIT_USAGE, "%s is missing; see provisor %s --help",
                        command->arguments, command->name);
    return cli_fail(cli, EXIT_USAGE, "unexpected \"%s\"; see provisor %s --help",
                    cli->arguments[command->max_arguments], command->name);
}

static int run(cli_t *cli, int argc, char **argv)
{
    fault_t fault;
    int code = read_flags(cli, argc, argv);
    if (code != EXIT_OK)
        return code;
    if (cli_flag(cli, "help"))
        return print_command_help(cli->command);
    code = check_arguments(cli);
    if (code != EXIT_OK)
        return code;
    const char *path = cli_flag(cli, "config");
    if (!path)
        path = getenv("PROVISOR_CONFIG");
    if (config_load(path, cli_flag(cli, "data"), &cli->config, &fault) != RESULT_OK)
        return cli_fail(cli, EXIT_CONFIG, "%s", fault.text);
    return cli->command->run(cli);
}

static bool asks_for_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

static int no_such_command(int argc, char **argv)
{
    const char *group = is_group(argv[1]) ? argv[1] : NULL;
    const char *second = group && argc > 2 ? argv[2] : NULL;
    if (second && asks_for_help(second)) {
        print_help(stdout, group);
        return EXIT_OK;
    }
    cli_fail(NULL, EXIT_USAGE, "unknown command \"%s%s%s\"\n", argv[1], second ? " " : "",
             second ? second : "");
    print_help(stderr, group);
    return EXIT_USAGE;
}

int cli_main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr, NULL);
        return EXIT_USAGE;
    }
    if (asks_for_help(argv[1])) {
        print_help(stdout, NULL);
        return EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("provisor %s\n", PROVISOR_VERSION);
        return EXIT_OK;
    }
    int words = 1;
    cli_t cli = {.command = find_command(argc, argv, &words)};
    if (!cli.command)
        return no_such_command(argc, argv);
    zsys_handler_set(NULL); /* signals keep their default; a command ends at once by them */
    zsys_set_logstream(NULL);
    cli.given = mem_alloc((size_t)argc * sizeof *cli.given);
    int code = run(&cli, argc - words, argv + words);
    config_destroy(&cli.config);
    free(cli.given);
    return code;
}
