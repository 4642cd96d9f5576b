/* provisor ping: is the stage that runs here ready? For health checks. */
#include "services/cli/cmd.h"

#include "common/base/cleanup.h"
#include "services/cli/print.h"

enum { ANSWER_MS = 2000 };

static bool is_stage(const char *name)
{
    static const char *const stages[] = {"emitter", "router", "deliverer", "auditor"};
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        if (strcmp(stages[i], name) == 0)
            return true;
    return false;
}

/* The stage's own socket, never cli.*: those may name many, on other machines. */
static int ping_run(cli_t *cli)
{
    const char *stage = cli_argument(cli, 0);
    AUTO_BUF question = {0}, line = {0};
    AUTO(json_tree) answer = NULL;
    if (!is_stage(stage))
        return cli_fail(cli, EXIT_USAGE, "there is no stage %s", stage);
    buf_add_slice(&question, SLICE("{\"op\":\"ping\"}"));
    int code = cli_ask(cli, stage, config_text(cli_config(cli), stage, "control"), &question,
                       ANSWER_MS, &answer);
    if (code != EXIT_OK)
        return code;
    bool ready = json_get_bool(answer, "ready", false);
    if (cli_json(cli))
        print_tree(answer, &line);
    else if (ready)
        buf_add_str(&line, "ready");
    else
        buf_printf(&line, "not ready: %s", json_get_str(answer, "why"));
    cli_print(&line);
    return ready ? EXIT_OK : EXIT_FAILED;
}

const cli_command_t cmd_ping[] = {
    {"ping", "STAGE",
     "Asks the emitter, router, deliverer or auditor of this machine whether it is ready; exits 0 "
     "when it is",
     "  provisor ping router\n", NULL, 1, 1, ping_run},
    {NULL},
};
