/* provisor drain: empties deliverers, so that their partitions can go to others. */
#include "services/cli/cmd.h"

#include <czmq.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/service/endpoint.h"

enum { ASK_EVERY_MS = 100, ANSWER_MS = 10000 };

/* What all of them still hold. */
typedef struct {
    int64_t pending;
    int64_t ids;    /* not passed by low_water */
    int64_t outbox; /* records that the auditor has not marked */
    bool empty;
} left_t;

/* Adds what one holds. The first question makes it stop taking; so does the next one if it was
 * started again in between. */
static int ask_one(const cli_t *cli, const char *endpoint, left_t *left)
{
    AUTO_BUF question = {0};
    AUTO(json_tree) answer = NULL;
    buf_add_slice(&question, SLICE("{\"op\":\"empty\"}"));
    int code = cli_ask(cli, "deliverer", endpoint, &question, ANSWER_MS, &answer);
    if (code != EXIT_OK)
        return code;
    left->pending += json_get_int(answer, "pending", 0);
    left->ids += json_get_int(answer, "ids", 0);
    left->outbox += json_get_int(answer, "outbox", 0);
    left->empty = left->empty && json_get_bool(answer, "empty", false);
    return EXIT_OK;
}

static int ask_all(const cli_t *cli, const char *endpoints, left_t *ret_left)
{
    left_t left = {.empty = true};
    AUTO_BUF one = {0};
    while (endpoint_next(&endpoints, &one)) {
        int code = ask_one(cli, one.data, &left);
        if (code != EXIT_OK)
            return code;
    }
    *ret_left = left;
    return EXIT_OK;
}

static void show(const left_t *left)
{
    fprintf(stderr, "\rpending %lld, ids %lld, records %lld   ", (long long)left->pending,
            (long long)left->ids, (long long)left->outbox);
}

static void print_left(const cli_t *cli, const left_t *left)
{
    if (cli_json(cli))
        printf("{\"pending\":%lld,\"ids\":%lld,\"outbox\":%lld,\"empty\":%s}\n",
               (long long)left->pending, (long long)left->ids, (long long)left->outbox,
               left->empty ? "true" : "false");
    else if (left->empty)
        printf("empty; takes nothing new until it is restarted\n");
    else
        printf("not empty yet: %lld deliveries pending, %lld ids that an emitter has not let go, "
               "%lld records that the auditor has not marked\n",
               (long long)left->pending, (long long)left->ids, (long long)left->outbox);
}

static int watch(const cli_t *cli, const char *endpoints, int64_t timeout_ms)
{
    bool progress = isatty(STDERR_FILENO) && !cli_json(cli);
    int64_t began_ms = clk_mono_ms();
    for (;;) {
        left_t left;
        int code = ask_all(cli, endpoints, &left);
        if (code != EXIT_OK)
            return code;
        if (progress)
            show(&left);
        bool late = timeout_ms && clk_mono_ms() - began_ms >= timeout_ms;
        if (left.empty || late) {
            if (progress)
                fputc('\n', stderr);
            print_left(cli, &left);
            return left.empty ? EXIT_OK : EXIT_FAILED;
        }
        zclock_sleep(ASK_EVERY_MS);
    }
}

static int drain_run(cli_t *cli)
{
    const char *endpoint = cli_flag(cli, "deliverer");
    AUTO_BUF list = {0};
    int64_t timeout_ms;
    int code = cli_flag_duration(cli, "timeout", 0, &timeout_ms);
    if (code != EXIT_OK)
        return code;
    cli_controls(cli, "deliverers", "deliverer", &list);
    return watch(cli, endpoint ? endpoint : list.data, timeout_ms);
}

/* clang-format off */
static const cli_flag_t flags[] = {
    {"deliverer", "ENDPOINT", "the control socket of one; default: all of cli.deliverers"},
    {"timeout", "DURATION", "gives up waiting after this long; the deliverer goes on emptying"},
    {NULL},
};

const cli_command_t cmd_drain[] = {
    {"drain", "", "Empties deliverers before their partitions change: they deliver what they have "
     "and take nothing new until they are restarted. Emitters and the auditor must run",
     "  provisor drain --deliverer tcp://127.0.0.1:5582\n", flags, 0, 0, drain_run},
    {NULL},
};
/* clang-format on */
