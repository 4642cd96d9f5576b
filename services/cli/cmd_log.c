/* provisor log: the execution log, one row per attempt; --follow goes on live from the stream. */
#include "services/cli/cmd.h"

#include <czmq.h>

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/service/handlers.h"
#include "services/cli/follow.h"
#include "services/cli/print.h"
#include "services/cli/table.h"

static const char *const titles[] = {"AUDIT",  "DATE (UTC)", "STATUS", "EVENT", "HANDLER",
                                     "OBJECT", "TRY",        "HTTP",   "MS",    "RESPONSE / ERROR"};
enum { COLUMNS = sizeof titles / sizeof *titles };

static void add_row(table_t *table, const json_tree_t *record)
{
    AUTO_BUF date = {0}, object = {0}, duration = {0};
    const char *error = json_get_str(record, "error"), *response = json_get_str(record, "response");
    const char *reason = json_get_str(record, "reason"), *outcome = json_get_str(record, "outcome");
    int64_t http_status = json_get_int(record, "http_status", 0);
    print_date(json_get_str(record, "at"), &date);
    print_tree(json_get(record, "object_id"), &object);
    print_number(json_get(record, "duration_ms"), &duration);
    table_cellf(table, "%lld", (long long)json_get_int(record, "audit_id", 0));
    table_cell(table, date.data);
    table_cellf(table, "%s%s%s", json_get_str(record, "status"),
                outcome && strcmp(outcome, "delivered") != 0 ? " " : "",
                outcome && strcmp(outcome, "delivered") != 0 ? outcome : "");
    table_cell(table, json_get_str(record, "events_id"));
    table_cellf(table, "%s (%lld)", json_get_str(record, "handler"),
                (long long)json_get_int(record, "handler_id", 0));
    table_cell(table, object.data);
    table_cellf(table, "%lld", (long long)json_get_int(record, "attempt", 0));
    table_cellf(table, http_status ? "%lld" : "-", (long long)http_status);
    table_cell(table, duration.data);
    table_cell(table, error ? error : reason && !response ? reason : response);
}

/* Oldest first, as people read a log; the answer has the newest first. */
static void print_rows(const cli_t *cli, const json_tree_t *records)
{
    AUTO(table) table = table_new(titles, COLUMNS);
    AUTO_BUF text = {0};
    size_t n = YAJL_IS_ARRAY(records) ? records->u.array.len : 0;
    for (size_t i = n; i-- > 0;) {
        if (!cli_json(cli)) {
            add_row(table, records->u.array.values[i]);
            continue;
        }
        AUTO_BUF line = {0};
        print_tree(records->u.array.values[i], &line);
        cli_print(&line);
    }
    table_print(table, table_terminal_width(), &text);
    if (!cli_json(cli))
        fwrite(text.data, 1, text.size, stdout);
    fflush(stdout);
}

static int build_question(const cli_t *cli, buf_t *ret_question)
{
    static const char *const texts[][2] = {
        {"event", "event"}, {"status", "status"}, {"object", "object_id"}, {"text", "text"}};
    int64_t handler_id, limit, since_ms, until_ms;
    int code = cli_flag_int(cli, "handler", 0, &handler_id);
    code = code ? code : cli_flag_int(cli, "limit", 50, &limit);
    code = code ? code : cli_flag_time(cli, "since", 0, &since_ms);
    code = code ? code : cli_flag_time(cli, "until", 0, &until_ms);
    const char *status = cli_flag(cli, "status");
    if (!code && status && strcmp(status, "success") != 0 && strcmp(status, "fail") != 0)
        code = cli_fail(cli, EXIT_USAGE, "--status is success or fail, not \"%s\"", status);
    if (code != EXIT_OK)
        return code;
    json_writer_t w;
    json_begin(&w, ret_question);
    json_open_object(&w);
    json_key_str(&w, "op", "log");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (cli_flag(cli, texts[i][0]))
            json_key_str(&w, texts[i][1], cli_flag(cli, texts[i][0]));
    if (handler_id)
        json_key_int(&w, "handler_id", handler_id);
    if (since_ms)
        json_key_int(&w, "since_ms", since_ms);
    if (until_ms)
        json_key_int(&w, "until_ms", until_ms);
    json_key_int(&w, "limit", limit);
    json_close_object(&w);
    return EXIT_OK;
}

static bool contains(const char *text, const char *part)
{
    return text && strcasestr(text, part);
}

/* The same conditions as the question's, on a record of the stream. */
static bool wanted(const cli_t *cli, const json_tree_t *record)
{
    AUTO_BUF object = {0};
    const char *event = cli_flag(cli, "event"), *status = cli_flag(cli, "status");
    const char *handler = cli_flag(cli, "handler"), *text = cli_flag(cli, "text");
    const char *id = json_get_str(record, "events_id"), *is = json_get_str(record, "status");
    const char *wants_object = cli_flag(cli, "object");
    const json_tree_t *object_id = json_get(record, "object_id");
    print_tree(object_id, &object);
    if (event && !(id && handler_pattern_covers(slice_of(event), slice_of(id))))
        return false;
    if (status && !(is && strcmp(status, is) == 0))
        return false;
    if (handler && strtoll(handler, NULL, 10) != json_get_int(record, "handler_id", 0))
        return false;
    const char *has_object = YAJL_IS_STRING(object_id) ? object_id->u.string : object.data;
    if (wants_object && !(has_object && strcmp(wants_object, has_object) == 0))
        return false;
    return !text || contains(json_get_str(record, "response"), text) ||
           contains(json_get_str(record, "error"), text);
}

static void follow_row(const cli_t *cli, const json_tree_t *record)
{
    if (!wanted(cli, record))
        return;
    AUTO(table) table = table_new(titles, COLUMNS);
    AUTO_BUF text = {0};
    if (cli_json(cli)) {
        print_tree(record, &text);
        cli_print(&text);
        return;
    }
    add_row(table, record);
    table_print(table, table_terminal_width(), &text);
    const char *row = strchr(text.data, '\n') + 1; /* without the titles */
    fwrite(row, 1, strlen(row), stdout);
    fflush(stdout);
}

static int log_run(cli_t *cli)
{
    AUTO_BUF question = {0};
    AUTO(json_tree) answer = NULL;
    AUTO(zsock) stream = NULL;
    int64_t seen_id = 0; /* what history has now is not followed, shown or not */
    int code = build_question(cli, &question);
    if (code != EXIT_OK)
        return code;
    if (cli_flag(cli, "follow") && !(stream = follow_subscribe(cli)))
        return cli_fail(cli, EXIT_CONFIG, "cannot connect to the audit stream");
    if (stream && (code = follow_newest(cli, &seen_id)) != EXIT_OK)
        return code;
    code = cli_ask_history(cli, &question, &answer);
    if (code != EXIT_OK)
        return code;
    const json_tree_t *records = json_get(answer, "records");
    print_rows(cli, records);
    cli_say_damaged(answer);
    if (!stream && json_get_bool(answer, "more", false) && !cli_json(cli)) {
        char date[CLK_ISO_SIZE];
        clk_iso_millis(json_get_int(answer, "searched_to_ms", 0), date);
        fprintf(stderr, "(there may be more: looked back to %s; --since and --limit go further)\n",
                date);
    }
    if (!stream)
        return EXIT_OK;
    bool any = YAJL_IS_ARRAY(records) && records->u.array.len;
    int64_t shown_id = any ? json_get_int(records->u.array.values[0], "audit_id", 0) : 0;
    return follow_run(cli, stream, shown_id > seen_id ? shown_id : seen_id, follow_row);
}

static const cli_flag_t flags[] = {
    {"event", "PATTERN", "clients.create, clients.*"},
    {"status", "S", "success or fail"},
    {"handler", "ID", "of this handler"},
    {"object", "ID", "of this object"},
    {"text", "TEXT", "in the response or the error"},
    {"since", "T", "from this time on, or how long ago; default 24h"},
    {"until", "T", "up to this time"},
    {"limit", "N", "newest N rows; default 50"},
    {"follow", NULL, "goes on with what happens now"},
    {NULL},
};

const cli_command_t cmd_log[] = {
    {"log", "", "Shows the execution log: one row per attempt",
     "  provisor log --status fail --since 2h\n"
     "  provisor log --object 12 --event 'clients.*'\n"
     "  provisor log --follow\n",
     flags, 0, 0, log_run},
    {NULL},
};
