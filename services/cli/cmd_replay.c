/* provisor replay: sends events out of history once more. The auditor does it; this starts the job
 * and watches it. */
#include "services/cli/cmd.h"

#include <czmq.h>

#include "common/base/cleanup.h"
#include "services/cli/print.h"
#include "services/cli/terminal.h"

static int build_question(const cli_t *cli, buf_t *ret_question)
{
    const char *event_id = cli_flag(cli, "event-id"), *status = cli_flag(cli, "status");
    int64_t handler_id, rate, since_ms, until_ms;
    int code = cli_flag_int(cli, "handler", 0, &handler_id);
    code = code ? code : cli_flag_int(cli, "rate", 0, &rate);
    code = code ? code : cli_flag_time(cli, "since", 0, &since_ms);
    code = code ? code : cli_flag_time(cli, "until", 0, &until_ms);
    if (code != EXIT_OK)
        return code;
    if (!event_id && !handler_id)
        return cli_fail(cli, EXIT_USAGE, "say what: --event-id ID, --handler H, or both");
    json_writer_t w;
    json_begin(&w, ret_question);
    json_open_object(&w);
    json_key_str(&w, "op", "replay");
    if (event_id)
        json_key_str(&w, "event_id", event_id);
    if (handler_id)
        json_key_int(&w, "handler_id", handler_id);
    if (status)
        json_key_str(&w, "status", status);
    if (since_ms)
        json_key_int(&w, "since_ms", since_ms);
    if (until_ms)
        json_key_int(&w, "until_ms", until_ms);
    if (rate)
        json_key_int(&w, "rate", rate);
    json_key_bool(&w, "superseded", cli_flag(cli, "superseded") != NULL);
    json_close_object(&w);
    return EXIT_OK;
}

static void print_result(const cli_t *cli, const json_tree_t *job)
{
    if (cli_json(cli)) {
        AUTO_BUF line = {0};
        print_tree(job, &line);
        cli_print(&line);
        return;
    }
    printf("%s: %lld of %lld sent, %lld skipped\n", json_get_str(job, "state"),
           (long long)json_get_int(job, "sent", 0), (long long)json_get_int(job, "total", 0),
           (long long)json_get_int(job, "skipped", 0));
    const json_tree_t *skipped = json_get(job, "skipped_events");
    if (YAJL_IS_ARRAY(skipped) && skipped->u.array.len)
        printf("skipped, because a later event of the same object was delivered (--superseded "
               "sends them too):\n");
    for (size_t i = 0; YAJL_IS_ARRAY(skipped) && i < skipped->u.array.len; i++)
        terminal_print("  ", YAJL_GET_STRING(skipped->u.array.values[i]), "\n");
    terminal_print("", json_get_str(job, "error"), "\n");
}

static int watch(const cli_t *cli, int64_t id)
{
    bool progress = isatty(STDERR_FILENO) && !cli_json(cli);
    AUTO_BUF question = {0};
    buf_printf(&question, "{\"op\":\"replay_status\",\"job\":%lld}", (long long)id);
    for (;;) {
        AUTO(json_tree) job = NULL;
        int code = cli_ask_history(cli, &question, &job);
        if (code != EXIT_OK)
            return code;
        const char *state = json_get_str(job, "state");
        if (progress)
            fprintf(stderr, "\rreplay %lld: %lld of %lld sent, %lld skipped ", (long long)id,
                    (long long)json_get_int(job, "sent", 0),
                    (long long)json_get_int(job, "total", 0),
                    (long long)json_get_int(job, "skipped", 0));
        if (state && strcmp(state, "running") != 0) {
            if (progress)
                fputc('\n', stderr);
            print_result(cli, job);
            return strcmp(state, "done") == 0 ? EXIT_OK : EXIT_FAILED;
        }
        zclock_sleep(100);
    }
}

static int replay_run(cli_t *cli)
{
    AUTO_BUF question = {0};
    AUTO(json_tree) answer = NULL;
    int64_t job;
    int code = cli_flag_int(cli, "job", 0, &job);
    if (code != EXIT_OK)
        return code;
    if (job && cli_flag(cli, "cancel")) {
        buf_printf(&question, "{\"op\":\"replay_cancel\",\"job\":%lld}", (long long)job);
        code = cli_ask_history(cli, &question, &answer);
        return code ? code : watch(cli, job);
    }
    if (job)
        return watch(cli, job);
    code = build_question(cli, &question);
    code = code ? code : cli_ask_history(cli, &question, &answer);
    if (code != EXIT_OK)
        return code;
    job = json_get_int(answer, "job", 0);
    if (!cli_json(cli))
        fprintf(stderr,
                "replay %lld goes on by itself, also over a restart; provisor replay --job "
                "%lld watches it again, with --cancel ends it\n",
                (long long)job, (long long)job);
    return watch(cli, job);
}

static const cli_flag_t flags[] = {
    {"event-id", "ID", "one event; with --handler only to that one"},
    {"handler", "ID", "what ended for this handler"},
    {"status", "S", "exhausted (default), cancelled, delivered or all"},
    {"since", "T", "from this time on, or how long ago"},
    {"until", "T", "up to this time"},
    {"rate", "N", "events per second; default: as fast as it goes"},
    {"superseded", NULL, "also events that a later delivered one of the same object supersedes"},
    {"job", "N", "watches a replay that was started before"},
    {"cancel", NULL, "with --job: ends it"},
    {NULL},
};

const cli_command_t cmd_replay[] = {
    {"replay", "", "Sends events out of history once more, with their original webhook-id",
     "  provisor replay --handler 3 --since 24h\n"
     "  provisor replay --event-id 01JGFJJZ00ABCDEFGHJKMNPQRS --handler 3\n",
     flags, 0, 0, replay_run},
    {NULL},
};
