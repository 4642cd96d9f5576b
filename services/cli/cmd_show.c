/* provisor show: the story of one event as a timeline. */
#include "services/cli/cmd.h"

#include "common/base/cleanup.h"
#include "common/service/endpoint.h"
#include "services/cli/print.h"
#include "services/cli/terminal.h"

static const char *words(const char *topic)
{
    static const struct {
        const char *topic, *words;
    } table[] = {
        {"event.accepted", "accepted"},
        {"event.unmatched", "matched no handler"},
        {"event.duplicate", "sent again by the core (duplicate)"},
        {"delivery.delivered", "delivered"},
        {"delivery.retrying", "failed, tried again later"},
        {"delivery.exhausted", "given up"},
        {"delivery.cancelled", "cancelled"},
    };
    for (size_t i = 0; topic && i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].topic, topic) == 0)
            return table[i].words;
    return topic ? topic : "?";
}

static void print_indented(const char *title, const char *text)
{
    if (!text || !*text)
        return;
    AUTO_BUF clean = {0};
    terminal_add_lines(&clean, slice_of(text));
    printf("      %s:\n", title);
    for (const char *line = clean.data; *line;) {
        size_t size = strcspn(line, "\n");
        printf("        %.*s\n", (int)size, line);
        line += size + (line[size] == '\n');
    }
}

static void print_record(const json_tree_t *record, bool details)
{
    const char *handler = json_get_str(record, "handler"), *reason = json_get_str(record, "reason");
    const char *error = json_get_str(record, "error");
    int64_t status = json_get_int(record, "http_status", 0);
    terminal_print("  ", json_get_str(record, "at"), "  ");
    terminal_print("", words(json_get_str(record, "topic")), "");
    terminal_print("  to ", handler, "");
    if (handler)
        printf(" (%lld)", (long long)json_get_int(record, "handler_id", 0));
    if (json_get_int(record, "attempt", 0))
        printf("  attempt %lld", (long long)json_get_int(record, "attempt", 0));
    if (status)
        printf("  HTTP %lld", (long long)status);
    AUTO_BUF duration = {0};
    if (print_number(json_get(record, "duration_ms"), &duration))
        printf("  %s ms", duration.data);
    terminal_print("  (", reason, ")");
    printf("\n");
    terminal_print("      error: ", error, "\n");
    terminal_print("      next attempt: ", json_get_str(record, "next_at"), "\n");
    if (details) {
        print_indented("request", json_get_str(record, "request"));
        print_indented("response headers", json_get_str(record, "response_headers"));
    }
    print_indented("response", json_get_str(record, "response"));
}

static void print_pending_at(const cli_t *cli, const char *endpoint, const buf_t *question)
{
    AUTO(json_tree) answer = NULL;
    if (cli_ask(cli, "deliverer", endpoint, question, 5000, &answer) != EXIT_OK)
        return;
    const json_tree_t *deliveries = json_get(answer, "deliveries");
    for (size_t i = 0; YAJL_IS_ARRAY(deliveries) && i < deliveries->u.array.len; i++) {
        const json_tree_t *delivery = deliveries->u.array.values[i];
        printf("  now: handler %lld is %s after %lld attempts\n",
               (long long)json_get_int(delivery, "handler_id", 0), json_get_str(delivery, "state"),
               (long long)json_get_int(delivery, "attempts", 0));
    }
}

static void print_pending(const cli_t *cli, const char *event_id)
{
    AUTO_BUF question = {0}, list = {0}, one = {0};
    buf_printf(&question, "{\"op\":\"deliveries\",\"event_id\":\"%s\"}", event_id);
    cli_controls(cli, "deliverers", "deliverer", &list);
    for (const char *at = list.data; endpoint_next(&at, &one);)
        print_pending_at(cli, one.data, &question);
}

static int show_run(cli_t *cli)
{
    const char *id = cli_argument(cli, 0);
    AUTO_BUF question = {0};
    AUTO(json_tree) answer = NULL;
    json_writer_t w;
    json_begin(&w, &question);
    json_open_object(&w);
    json_key_str(&w, "op", "event");
    json_key_str(&w, "event_id", id);
    json_close_object(&w);
    int code = cli_ask_history(cli, &question, &answer);
    if (code != EXIT_OK)
        return code;
    cli_say_damaged(answer);
    const json_tree_t *event = json_get(answer, "event"), *records = json_get(answer, "records");
    if (cli_json(cli)) {
        AUTO_BUF line = {0};
        print_tree(answer, &line);
        cli_print(&line);
        return EXIT_OK;
    }
    AUTO_BUF body = {0}, object = {0};
    print_tree(json_get(event, "body"), &body);
    print_tree(json_get(event, "object_id"), &object);
    terminal_print("event ", id, "");
    terminal_print("  ", json_get_str(event, "events_id"), "");
    terminal_print("  object ", object.data ? object.data : "-", "\n");
    terminal_print("  body: ", body.data ? body.data : "", "\n");
    for (size_t i = 0; YAJL_IS_ARRAY(records) && i < records->u.array.len; i++)
        print_record(records->u.array.values[i], cli_flag(cli, "details") != NULL);
    print_pending(cli, id);
    return EXIT_OK;
}

static const cli_flag_t flags[] = {
    {"details", NULL, "also the requests and response headers"},
    {NULL},
};

const cli_command_t cmd_show[] = {
    {"show", "EVENT_ID",
     "Tells the story of one event: when it came, who got it, what they answered",
     "  provisor show 01JGFJJZ00ABCDEFGHJKMNPQRS\n"
     "  provisor show 01JGFJJZ00ABCDEFGHJKMNPQRS --details\n",
     flags, 1, 1, show_run},
    {NULL},
};
