/* provisor handler enable | disable | archive | delete | test. */
#include "services/cli/cmd.h"

#include <czmq.h>

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/ulid.h"
#include "common/service/catalogue.h"
#include "common/service/endpoint.h"
#include "common/service/handlers.h"
#include "common/wire/codec.h"
#include "common/wire/messages.h"
#include "services/cli/in_force.h"
#include "services/cli/open_handlers.h"
#include "services/cli/print.h"
#include "services/cli/terminal.h"

static int set_status(cli_t *cli, handler_status_t status, const char *says)
{
    __attribute__((cleanup(handlers_close))) handlers_t *handlers = NULL;
    fault_t fault;
    char *end;
    const char *text = cli_argument(cli, 0);
    int64_t id = strtoll(text, &end, 10);
    if (*end)
        return cli_fail(cli, EXIT_USAGE, "the id is a number, not \"%s\"", text);
    int code = open_handlers(cli, &handlers);
    if (code != EXIT_OK)
        return code;
    if (handlers_set_status(handlers, id, status, NULL, &fault) != RESULT_OK)
        return cli_fail(cli, EXIT_FAILED, "%s", fault.text);
    in_force_wait(cli, handlers_version(handlers));
    if (cli_json(cli))
        printf("{\"id\":%lld,\"status\":\"%s\"}\n", (long long)id, handler_status_str(status));
    else
        printf("handler %lld is %s\n", (long long)id, says);
    return EXIT_OK;
}

static int enable_run(cli_t *cli)
{
    return set_status(cli, HANDLER_ENABLED, "enabled; what was parked for it goes on");
}

static int disable_run(cli_t *cli)
{
    return set_status(cli, HANDLER_DISABLED,
                      "disabled; what is pending waits, nothing new is matched");
}

static int archive_run(cli_t *cli)
{
    return set_status(cli, HANDLER_ARCHIVED, "archived; what was pending is cancelled");
}

static int delete_run(cli_t *cli)
{
    return set_status(cli, HANDLER_DELETED, "deleted; what was pending is cancelled");
}

/* The first event of the catalogue that the handler's patterns cover, or the one of --event. */
static const catalogue_event_t *choose_event(const cli_t *cli, const catalogue_t *catalogue,
                                             const handler_t *handler)
{
    const char *wanted = cli_flag(cli, "event");
    if (wanted)
        return catalogue_find(catalogue, slice_of(wanted));
    for (size_t i = 0; i < catalogue_size(catalogue); i++)
        for (const char *at = handler->events; *at;) {
            slice_t pattern = {at, strcspn(at, " ")};
            if (handler_pattern_covers(pattern, slice_of(catalogue_at(catalogue, i)->id)))
                return catalogue_at(catalogue, i);
            at += pattern.size + (at[pattern.size] == ' ');
        }
    return catalogue_at(catalogue, 0);
}

/* The sample goes the whole way: through journal, router, queue and history, to this handler only.
 */
static int send_sample(const cli_t *cli, int64_t handler_id, const catalogue_event_t *event,
                       buf_t *ret_event_id)
{
    AUTO_BUF body = {0}, frame = {0}, answer = {0};
    ulid_gen_t gen = {{""}};
    ulid_t key = ulid_next(&gen, clk_wall_ms());
    char dt[CLK_ISO_SIZE];
    clk_iso_seconds(clk_wall_ms(), dt);
    buf_printf(&body,
               "{\"event\":{\"dt\":\"%s\",\"events_id\":\"%s\",\"object_id\":%s},\"data\":%s}", dt,
               event->id, event->object_id, event->data);
    replay_t sample = {.key = slice_of(key.text),
                       .events_id = slice_of(event->id),
                       .object_kind = slice_of(event->kind),
                       .object_id = slice_of(event->object_id),
                       .body = buf_slice(&body),
                       .webhook_id = slice_of(key.text),
                       .handler_id = handler_id};
    codec_add(&replay_table, &sample, &frame);
    const char *endpoint = cli_endpoint(cli, "replay", "emitter", "replay");
    replayed_t replayed;
    if (endpoint_ask(endpoint, buf_slice(&frame), 5000, &answer) != RESULT_OK)
        return cli_fail(cli, EXIT_UNAVAILABLE, "the emitter does not answer at %s; is it running?",
                        endpoint);
    if (codec_decode(buf_slice(&answer), &replayed_table, &replayed) != RESULT_OK)
        return cli_fail(cli, EXIT_FAILED, "the emitter gave a malformed answer");
    if (!slice_is(replayed.status, "accepted"))
        return cli_fail(cli, EXIT_FAILED, "the emitter answered %.*s: %.*s",
                        SLICE_ARG(replayed.status), SLICE_ARG(replayed.message));
    buf_add_slice(ret_event_id, replayed.event_id);
    return EXIT_OK;
}

/* What becomes of a test that failed. */
static void print_failure(const json_tree_t *record)
{
    const char *outcome = json_get_str(record, "outcome"), *error = json_get_str(record, "error");
    const char *reason = json_get_str(record, "reason");
    int64_t http_status = json_get_int(record, "http_status", 0);
    printf("failed:");
    terminal_print(" ", error, "");
    if (http_status)
        printf(" HTTP %lld", (long long)http_status);
    terminal_print(" (", reason, ")");
    if (outcome && strcmp(outcome, "retrying") == 0)
        printf(" (it is retried on the handler's schedule;");
    else if (outcome && strcmp(outcome, "exhausted") == 0)
        printf(" (it is given up and not retried;");
    else
        printf(" (it is not retried;");
    terminal_print(" provisor show ", json_get_str(record, "event_id"), ")\n");
}

static int print_outcome(const cli_t *cli, const json_tree_t *record)
{
    bool success =
        json_get_str(record, "status") && !strcmp(json_get_str(record, "status"), "success");
    AUTO_BUF line = {0}, duration = {0};
    print_tree(record, &line);
    print_number(json_get(record, "duration_ms"), &duration);
    if (cli_json(cli))
        cli_print(&line);
    else if (success)
        printf("delivered: HTTP %lld in %s ms\n", (long long)json_get_int(record, "http_status", 0),
               duration.data ? duration.data : "?");
    else
        print_failure(record);
    return success ? EXIT_OK : EXIT_FAILED;
}

/* Asks history until the first attempt is there. */
static int await_outcome(const cli_t *cli, const char *event_id, int64_t timeout_ms)
{
    int64_t deadline_ms = clk_mono_ms() + timeout_ms;
    while (clk_mono_ms() < deadline_ms) {
        AUTO_BUF question = {0}, answer = {0};
        AUTO(json_tree) tree = NULL;
        buf_printf(&question, "{\"op\":\"event\",\"event_id\":\"%s\"}", event_id);
        const char *endpoint = cli_endpoint(cli, "questions", "auditor", "questions");
        if (endpoint_ask(endpoint, buf_slice(&question), 5000, &answer) != RESULT_OK)
            return cli_fail(cli, EXIT_UNAVAILABLE, "the auditor does not answer at %s", endpoint);
        const json_tree_t *records = NULL;
        if (json_parse(buf_slice(&answer), &tree, NULL) == RESULT_OK)
            records = json_get(tree, "records");
        for (size_t i = 0; YAJL_IS_ARRAY(records) && i < records->u.array.len; i++)
            if (json_get_str(records->u.array.values[i], "delivery_id"))
                return print_outcome(cli, records->u.array.values[i]);
        zclock_sleep(50);
    }
    return cli_fail(cli, EXIT_FAILED,
                    "no outcome yet (a test waits for its turn behind the object's other events); "
                    "see provisor show %s",
                    event_id);
}

static int test_run(cli_t *cli)
{
    __attribute__((cleanup(handlers_close))) handlers_t *handlers = NULL;
    AUTO(catalogue) catalogue = NULL;
    AUTO_BUF event_id = {0};
    fault_t fault;
    const char *extra = config_text(cli_config(cli), "catalogue", "extra");
    int code = open_handlers(cli, &handlers);
    if (code != EXIT_OK)
        return code;
    if (catalogue_new(extra, &catalogue, &fault) != RESULT_OK)
        return cli_fail(cli, EXIT_FAILED, "%s", fault.text);
    const handler_t *handler = handlers_find(handlers, strtoll(cli_argument(cli, 0), NULL, 10));
    if (!handler || handler->status >= HANDLER_ARCHIVED)
        return cli_fail(cli, EXIT_FAILED, "there is no handler %s that could be tested",
                        cli_argument(cli, 0));
    const catalogue_event_t *event = choose_event(cli, catalogue, handler);
    if (!event)
        return cli_fail(cli, EXIT_FAILED, "there is no event \"%s\"; see provisor events",
                        cli_flag(cli, "event"));
    code = send_sample(cli, handler->id, event, &event_id);
    return code ? code : await_outcome(cli, event_id.data, 30000);
}

static const cli_flag_t test_flags[] = {
    {"event", "ID", "which sample to send; default: the first that the handler takes"},
    {NULL},
};

const cli_command_t cmd_handler_state[] = {
    {"handler enable", "ID", "Starts or resumes a handler", "  provisor handler enable 3\n", NULL,
     1, 1, enable_run},
    {"handler disable", "ID", "Parks a handler: nothing is sent, nothing new is matched",
     "  provisor handler disable 3\n", NULL, 1, 1, disable_run},
    {"handler archive", "ID", "Ends a handler and keeps it for history",
     "  provisor handler archive 3\n", NULL, 1, 1, archive_run},
    {"handler delete", "ID", "Ends a handler; its id is never used again",
     "  provisor handler delete 3\n", NULL, 1, 1, delete_run},
    {"handler test", "ID", "Sends a sample event to this handler only and shows what it answered",
     "  provisor handler test 3 --event clients.balance_zero\n", test_flags, 1, 1, test_run},
    {NULL},
};
