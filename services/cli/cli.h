/* cli: what all commands share: flags by table, help, errors, JSON or text.
 *
 * A command is a row of a table: name, flags, help with examples, and a function. Exit codes: 0
 * done; 1 the thing asked for failed or was refused; 64 usage; 69 a stage does not answer; 78
 * configuration. */
#ifndef PROVISOR_CLI_H
#define PROVISOR_CLI_H

#include <stdio.h>

#include "common/base/json.h"
#include "common/service/config.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 64, EXIT_UNAVAILABLE = 69, EXIT_CONFIG = 78 };

typedef struct {
    const char *name;  /* "event": --event */
    const char *value; /* placeholder in the help; NULL: a switch */
    const char *help;
} cli_flag_t;

typedef struct cli_t cli_t;

typedef struct {
    const char *name;        /* "handler add" */
    const char *arguments;   /* "ID" or "" */
    const char *summary;     /* one line */
    const char *examples;    /* printed by --help, may be NULL */
    const cli_flag_t *flags; /* beyond --config --data --json --help; ends with {NULL} */
    int min_arguments, max_arguments;
    int (*run)(cli_t *cli);
} cli_command_t;

/* Every command; ends with {NULL}. */
extern const cli_command_t *const cli_commands[];

int cli_main(int argc, char **argv);

/* For commands */
const config_t *cli_config(const cli_t *cli);
bool cli_json(const cli_t *cli);
/* Positional arguments. */
size_t cli_arguments(const cli_t *cli);
const char *cli_argument(const cli_t *cli, size_t i);
/* A flag's last value, NULL when it was not given; a switch that was given is "". */
const char *cli_flag(const cli_t *cli, const char *name);
/* All of its values. */
size_t cli_flag_count(const cli_t *cli, const char *name);
const char *cli_flag_at(const cli_t *cli, const char *name, size_t i);
/* A number or a duration from a flag; otherwise when not given. EXIT_USAGE and a message when
 * malformed. */
int cli_flag_int(const cli_t *cli, const char *name, int64_t otherwise,
                 int64_t *ret_value) MUST_CHECK;
int cli_flag_duration(const cli_t *cli, const char *name, int64_t otherwise,
                      int64_t *ret_ms) MUST_CHECK;
/* A point in time: ISO 8601, or a duration before now ("24h"). Wall ms. */
int cli_flag_time(const cli_t *cli, const char *name, int64_t otherwise,
                  int64_t *ret_wall_ms) MUST_CHECK;
/* Message to stderr ("provisor handler add: ..."); returns code. */
int cli_fail(const cli_t *cli, int code, const char *format, ...) PRINTF_LIKE(3, 4);
/* Prints a buffer and a line feed to stdout. */
void cli_print(const buf_t *text);

/* The value of cli.<key>, or, where that is empty, of <section>.<otherwise>. Space separated for
 * lists. */
const char *cli_endpoint(const cli_t *cli, const char *key, const char *section,
                         const char *otherwise);
/* The control sockets of cli.<key>, or of this service on this machine; a name that stands for
 * several machines is one for each. Space separated:
 *
 *     cli_controls (cli, "routers", "router", &list);
 *     for (const char *at = list.data; endpoint_next (&at, &one);) ... one.data */
void cli_controls(const cli_t *cli, const char *key, const char *section, buf_t *ret_list);
/* endpoint_ask, to one of these: a name among them was just looked up in vain, so it is
 * RESULT_NOT_FOUND at once. */
result_t cli_ask_control(const char *control, slice_t question, int64_t timeout_ms,
                         buf_t *ret_answer) MUST_CHECK;
/* Asks; EXIT_OK and a tree with "ok":true, or a message and an exit code. */
int cli_ask(const cli_t *cli, const char *who, const char *endpoint, const buf_t *question,
            int64_t timeout_ms, json_tree_t **ret_answer) MUST_CHECK;
/* cli_ask to the auditor's questions. */
int cli_ask_history(const cli_t *cli, const buf_t *question, json_tree_t **ret_answer) MUST_CHECK;
/* Says on stderr what the answer may lack because history is damaged, if anything. A failure has
 * said so itself. */
void cli_say_damaged(const json_tree_t *answer);

#endif
