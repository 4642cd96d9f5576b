/* provisor status: is every stage ready, and how is each handler doing? */
#include "services/cli/cmd.h"

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/service/endpoint.h"
#include "common/service/handlers.h"
#include "common/wire/messages.h"
#include "services/cli/open_handlers.h"
#include "services/cli/print.h"
#include "services/cli/table.h"

enum { PING_TIMEOUT_MS = 2000 };

typedef struct {
    const cli_t *cli;
    table_t *stages;
    bool all_ready;
    json_writer_t w; /* --json: {"ready":..,"stages":[..],"handlers":[..]} */
} status_t;

static void add_stage(status_t *self, const char *kind, const char *endpoint)
{
    AUTO_BUF answer = {0}, question = {0};
    AUTO(json_tree) ping = NULL;
    buf_add_str(&question, "{\"op\":\"ping\"}");
    result_t r = cli_ask_control(endpoint, buf_slice(&question), PING_TIMEOUT_MS, &answer);
    bool named = r != RESULT_NOT_FOUND;
    if (r == RESULT_OK)
        r = json_parse(buf_slice(&answer), &ping, NULL);
    bool ready = r == RESULT_OK && json_get_bool(ping, "ready", false);
    const char *why = r == RESULT_OK ? json_get_str(ping, "why")
                      : named        ? "does not answer"
                                     : "does not answer: its name is not known";
    self->all_ready &= ready;
    table_cell(self->stages, kind);
    table_cell(self->stages, endpoint);
    table_cell(self->stages, ready ? "ready" : "NOT READY");
    table_cellf(self->stages, "%lld", (long long)json_get_int(ping, "pid", 0));
    table_cell(self->stages, json_get_str(ping, "version"));
    table_cell(self->stages, ready ? "" : why);
    json_open_object(&self->w);
    json_key_str(&self->w, "stage", kind);
    json_key_str(&self->w, "endpoint", endpoint);
    json_key_bool(&self->w, "ready", ready);
    json_key_str(&self->w, "why", ready ? NULL : why);
    json_key_int(&self->w, "pid", json_get_int(ping, "pid", 0));
    json_key_str(&self->w, "node", json_get_str(ping, "node"));
    json_key_str(&self->w, "version", json_get_str(ping, "version"));
    json_close_object(&self->w);
}

static void add_stages(status_t *self, const char *kind, const char *key)
{
    AUTO_BUF list = {0}, one = {0};
    cli_controls(self->cli, key, kind, &list);
    for (const char *at = list.data; endpoint_next(&at, &one);)
        add_stage(self, kind, one.data);
}

enum { DELIVERERS_MAX = PARTITIONS };

/* What the deliverers say about one handler, taken together. */
typedef struct {
    int64_t pending, lanes, blocked_lanes, in_flight;
    int64_t oldest_ms, last_success_ms, last_error_ms;
    const char *circuit, *last_error; /* borrowed from the answers */
} load_t;

typedef struct {
    json_tree_t *answers[DELIVERERS_MAX];
    size_t n;
    bool complete; /* every deliverer answered; else no sum is known */
} loads_t;

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void add_load(const json_tree_t *part, load_t *sum)
{
    const char *circuit = json_get_str(part, "circuit");
    sum->pending += json_get_int(part, "pending", 0);
    sum->lanes += json_get_int(part, "lanes", 0);
    sum->blocked_lanes += json_get_int(part, "blocked_lanes", 0);
    sum->in_flight += json_get_int(part, "in_flight", 0);
    sum->oldest_ms = greater(sum->oldest_ms, json_get_int(part, "oldest_ms", 0));
    sum->last_success_ms = greater(sum->last_success_ms, json_get_int(part, "last_success_ms", 0));
    if (!sum->circuit || (circuit && strcmp(circuit, "closed") != 0))
        sum->circuit = circuit;
    if (json_get_int(part, "last_error_ms", 0) >= sum->last_error_ms &&
        json_get_str(part, "last_error")) {
        sum->last_error_ms = json_get_int(part, "last_error_ms", 0);
        sum->last_error = json_get_str(part, "last_error");
    }
}

static load_t load_of(const loads_t *loads, int64_t handler_id)
{
    load_t sum = {0};
    for (size_t i = 0; i < loads->n; i++) {
        const json_tree_t *list = json_get(loads->answers[i], "handlers");
        for (size_t j = 0; YAJL_IS_ARRAY(list) && j < list->u.array.len; j++)
            if (json_get_int(list->u.array.values[j], "handler_id", 0) == handler_id)
                add_load(list->u.array.values[j], &sum);
    }
    return sum;
}

static void ask_loads(const cli_t *cli, loads_t *loads)
{
    AUTO_BUF list = {0}, one = {0};
    cli_controls(cli, "deliverers", "deliverer", &list);
    for (const char *at = list.data; loads->n < DELIVERERS_MAX && endpoint_next(&at, &one);) {
        AUTO_BUF answer = {0};
        AUTO(json_tree) tree = NULL;
        if (cli_ask_control(one.data, SLICE("{\"op\":\"handlers\"}"), PING_TIMEOUT_MS, &answer) ==
                RESULT_OK &&
            json_parse(buf_slice(&answer), &tree, NULL) == RESULT_OK &&
            json_get_bool(tree, "ok", false))
            loads->answers[loads->n++] = TAKE(tree);
        else
            loads->complete = false;
    }
}

/* load: NULL when not all of it is known. */
static void add_load_cells(table_t *table, const load_t *load)
{
    AUTO_BUF oldest = {0}, success = {0};
    if (!load) {
        for (int i = 0; i < 5; i++)
            table_cell(table, "-");
        return;
    }
    if (load->oldest_ms)
        print_age(load->oldest_ms, &oldest);
    if (load->last_success_ms) {
        print_age(clk_wall_ms() - load->last_success_ms, &success);
        buf_add_str(&success, " ago");
    }
    table_cellf(table, "%lld", (long long)load->pending);
    table_cellf(table, "%lld", (long long)load->blocked_lanes);
    table_cell(table, oldest.data);
    table_cell(table, load->circuit);
    table_cell(table, success.data);
}

/* Why it is suspended tells more than its last error, and names that too. */
static void add_why_cell(table_t *table, const handler_t *handler, const load_t *load)
{
    AUTO_BUF why = {0};
    if (handler->status == HANDLER_SUSPENDED)
        buf_printf(&why, "suspended: %s",
                   handler->status_reason ? handler->status_reason : "no reason was given");
    else
        buf_add_str(&why, !load ? "-" : load->last_error ? load->last_error : "");
    table_cell(table, why.data);
}

static void add_handler_row(table_t *table, const handler_t *handler, const load_t *load)
{
    table_cellf(table, "%lld", (long long)handler->id);
    table_cell(table, handler->name);
    table_cell(table, handler_status_str(handler->status));
    add_load_cells(table, load);
    add_why_cell(table, handler, load);
}

/* null where the value is not known */
static void key_int(json_writer_t *w, const char *key, const int64_t *value)
{
    json_key(w, key);
    if (value)
        json_int(w, *value);
    else
        json_null(w);
}

static void add_handler_json(json_writer_t *w, const handler_t *handler, const load_t *load)
{
    json_open_object(w);
    json_key_int(w, "handler_id", handler->id);
    json_key_str(w, "name", handler->name);
    json_key_str(w, "status", handler_status_str(handler->status));
    json_key_str(w, "status_reason", handler->status_reason);
    key_int(w, "pending", load ? &load->pending : NULL);
    key_int(w, "lanes", load ? &load->lanes : NULL);
    key_int(w, "blocked_lanes", load ? &load->blocked_lanes : NULL);
    key_int(w, "in_flight", load ? &load->in_flight : NULL);
    key_int(w, "oldest_ms", load ? &load->oldest_ms : NULL);
    json_key_str(w, "circuit", load ? load->circuit : NULL);
    key_int(w, "last_success_ms", load ? &load->last_success_ms : NULL);
    json_key_str(w, "last_error", load ? load->last_error : NULL);
    key_int(w, "last_error_ms", load ? &load->last_error_ms : NULL);
    json_close_object(w);
}

static void add_handlers(status_t *self, table_t *table)
{
    __attribute__((cleanup(handlers_close))) handlers_t *handlers = NULL;
    loads_t loads = {.complete = true};
    if (open_handlers(self->cli, &handlers) != EXIT_OK) {
        self->all_ready = false;
        return;
    }
    ask_loads(self->cli, &loads);
    for (size_t i = 0; i < handlers_count(handlers); i++) {
        const handler_t *handler = handlers_at(handlers, i);
        if (handler->status >= HANDLER_ARCHIVED)
            continue;
        load_t load = load_of(&loads, handler->id);
        add_handler_row(table, handler, loads.complete ? &load : NULL);
        add_handler_json(&self->w, handler, loads.complete ? &load : NULL);
    }
    while (loads.n)
        json_tree_destroy(&loads.answers[--loads.n]);
}

static void print_table(const table_t *table)
{
    AUTO_BUF text = {0};
    table_print(table, table_terminal_width(), &text);
    fwrite(text.data, 1, text.size, stdout);
}

static int status_run(cli_t *cli)
{
    static const char *const stage_titles[] = {"STAGE", "CONTROL", "STATE",
                                               "PID",   "VERSION", "WHY"};
    static const char *const handler_titles[] = {"ID",      "HANDLER",      "STATUS",
                                                 "PENDING", "BLOCKED",      "OLDEST",
                                                 "CIRCUIT", "LAST SUCCESS", "LAST ERROR"};
    AUTO(table) stages = table_new(stage_titles, 6);
    AUTO(table) handlers = table_new(handler_titles, 9);
    AUTO_BUF json = {0};
    status_t self = {.cli = cli, .stages = stages, .all_ready = true};
    json_begin(&self.w, &json);
    json_open_object(&self.w);
    json_key(&self.w, "stages");
    json_open_array(&self.w);
    add_stages(&self, "emitter", "emitters");
    add_stages(&self, "router", "routers");
    add_stages(&self, "deliverer", "deliverers");
    add_stages(&self, "auditor", "auditor");
    json_close_array(&self.w);
    json_key(&self.w, "handlers");
    json_open_array(&self.w);
    add_handlers(&self, handlers);
    json_close_array(&self.w);
    json_key_bool(&self.w, "ready", self.all_ready);
    json_close_object(&self.w);
    if (cli_json(cli)) {
        cli_print(&json);
    } else {
        print_table(stages);
        printf("\n");
        print_table(handlers);
    }
    return self.all_ready ? EXIT_OK : EXIT_FAILED;
}

const cli_command_t cmd_status[] = {
    {"status", "", "Shows every stage and handler; exits 0 only when every stage is ready",
     "  provisor status && echo fine\n", NULL, 0, 0, status_run},
    {NULL},
};
