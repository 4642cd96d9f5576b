/* provisor handler add | update | list | show: what handlers there are and how they are set. */
#include "services/cli/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/service/catalogue.h"
#include "common/service/handlers.h"
#include "services/cli/in_force.h"
#include "services/cli/open_handlers.h"
#include "services/cli/print.h"
#include "services/cli/table.h"
#include "services/cli/terminal.h"

#define AUTO_HANDLER __attribute__((cleanup(handler_release))) handler_t

enum { SECRET_FILE_MAX = 4096 };

#define HANDLER_FLAGS                                                                              \
    {"name", "N", "title, 1-128 characters"},                                                      \
        {"event", "PATTERN", "clients.create, clients.*, or *; may be repeated"},                  \
        {"task", "URL", "where to POST (scheme optional), or the script's path"},                  \
        {"type", "T", "https, http or script; default: the URL's scheme, else https"},             \
        {"priority", "P", "lower first; default 100"},                                             \
        {"filter", "F", "conditions: /data/amount >= 10.50 and /data/currency = \"EUR\""},         \
        {"secret", "S|@file|generate|none",                                                        \
         "signs requests; repeated while it rotates, newest first"},                               \
        {"header", "\"Name: value\"", "sent with each request; may be repeated"},                  \
        {"timeout", "D", "deadline of one exchange; default 15s"},                                 \
        {"retry", "D,D,...", "at most 32 delays after the first attempt; none: no retries"},       \
        {"max-age", "D",                                                                           \
         "gives up after this long; default: the sum of --retry, 10% and 1 min per attempt"},      \
        {"hold", "D", "later events of an object go on when one was retried this long"},           \
        {"window", "N", "requests at the same time; default 16"},                                  \
        {"rate", "N", "requests per second; 0: not limited"},                                      \
        {"ordering", "object|none", "none: events of one object may overtake each other"},         \
        {"http2", "yes|no", "HTTP/2"}, {"ca-file", "FILE", "CAs to trust, PEM"},                   \
        {"cert-file", "FILE", "client certificate, PEM"}, {"key-file", "FILE", "its key, PEM"},    \
        {"tls", "verify|insecure", "insecure: certificates are not checked"},                      \
        {"description", "TEXT", "free text"}, {NULL},

static const cli_flag_t add_flags[] = {
    {"if-missing", NULL, "does nothing when there is a handler of this name; prints its id"},
    HANDLER_FLAGS};
static const cli_flag_t update_flags[] = {HANDLER_FLAGS};

static void set_text(char **member, const char *text)
{
    free(*member);
    *member = text && *text ? mem_strdup(text) : NULL;
}

/* All values of a flag in one text; NULL flag value list leaves the member as it is. */
static void join_flag(const cli_t *cli, const char *flag, const char *separator, char **member)
{
    AUTO_BUF joined = {0};
    size_t n = cli_flag_count(cli, flag);
    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        const char *value = cli_flag_at(cli, flag, i);
        buf_printf(&joined, "%s%s", joined.size && *value ? separator : "", value);
    }
    set_text(member, joined.data);
}

static void make_secret(buf_t *to)
{
    unsigned char random[32], text[64];
    ENSURE(getrandom(random, sizeof random, 0) == (ssize_t)sizeof random);
    EVP_EncodeBlock(text, random, sizeof random);
    buf_printf(to, "whsec_%s", text);
}

static int read_secret_file(const cli_t *cli, const char *path, buf_t *to)
{
    char text[SECRET_FILE_MAX + 1], *rest = text;
    FILE *file = fopen(path, "re");
    size_t size = file ? fread(text, 1, SECRET_FILE_MAX, file) : 0;
    bool failed = !file || ferror(file);
    if (failed)
        cli_fail(cli, EXIT_USAGE, "--secret: cannot read %s: %s", path, strerror(errno));
    if (file)
        fclose(file);
    if (failed)
        return EXIT_USAGE;
    if (size == SECRET_FILE_MAX)
        return cli_fail(cli, EXIT_USAGE, "--secret: %s is too large for a secret", path);
    text[size] = 0;
    for (char *line; (line = strsep(&rest, "\r\n"));)
        if (*line)
            buf_printf(to, "%s%s", to->size ? " " : "", line);
    return to->size ? EXIT_OK : cli_fail(cli, EXIT_USAGE, "--secret: %s is empty", path);
}

/* --secret S | @file | generate | none; several while a secret rotates, the newest first. A
 * generated one goes into ret_notice, to be shown once the handler is stored. */
static int take_secrets(const cli_t *cli, handler_t *handler, buf_t *ret_notice)
{
    AUTO_BUF secrets = {0};
    size_t n = cli_flag_count(cli, "secret");
    for (size_t i = 0; i < n; i++) {
        const char *value = cli_flag_at(cli, "secret", i);
        AUTO_BUF one = {0};
        if (!*value) /* most likely a variable that is not set */
            return cli_fail(cli, EXIT_USAGE, "--secret is empty; none: requests are not signed");
        if (strcmp(value, "none") == 0)
            continue;
        if (strcmp(value, "generate") == 0) {
            make_secret(&one);
            buf_printf(ret_notice, "secret (shown only now): %s\n", one.data);
        } else if (*value == '@') {
            int code = read_secret_file(cli, value + 1, &one);
            if (code != EXIT_OK)
                return code;
        } else {
            buf_add_str(&one, value);
        }
        buf_printf(&secrets, "%s%s", secrets.size ? " " : "", one.data ? one.data : "");
    }
    if (n)
        set_text(&handler->secrets, secrets.data);
    return EXIT_OK;
}

static int take_type(const cli_t *cli, handler_t *handler, bool is_new)
{
    const char *type = cli_flag(cli, "type"), *task = cli_flag(cli, "task");
    static const char *const names[] = {"https", "http", "script"};
    if (type) {
        for (size_t i = 0; i < 3; i++)
            if (strcmp(type, names[i]) == 0) {
                handler->type = (handler_type_t)i;
                return EXIT_OK;
            }
        return cli_fail(cli, EXIT_USAGE, "--type is https, http or script, not \"%s\"", type);
    }
    if (task && strncmp(task, "http://", 7) == 0)
        handler->type = HANDLER_HTTP;
    else if (task && (is_new || strncmp(task, "https://", 8) == 0))
        handler->type = HANDLER_HTTPS;
    return EXIT_OK;
}

static int take_choice(const cli_t *cli, const char *flag, const char *zero, const char *one,
                       int *ret_value)
{
    const char *value = cli_flag(cli, flag);
    if (!value)
        return EXIT_OK;
    if (strcmp(value, zero) != 0 && strcmp(value, one) != 0)
        return cli_fail(cli, EXIT_USAGE, "--%s is %s or %s, not \"%s\"", flag, zero, one, value);
    *ret_value = strcmp(value, one) == 0;
    return EXIT_OK;
}

static int take_numbers(const cli_t *cli, handler_t *handler)
{
    int ordering = handler->ordering, tls = handler->tls, http2 = handler->http2 != 0;
    int code = cli_flag_int(cli, "priority", handler->priority, &handler->priority);
    code = code ? code : cli_flag_int(cli, "window", handler->window, &handler->window);
    code = code ? code : cli_flag_int(cli, "rate", handler->rate, &handler->rate);
    code =
        code ? code : cli_flag_duration(cli, "timeout", handler->timeout_ms, &handler->timeout_ms);
    code =
        code ? code : cli_flag_duration(cli, "max-age", handler->max_age_ms, &handler->max_age_ms);
    code = code ? code : cli_flag_duration(cli, "hold", handler->hold_ms, &handler->hold_ms);
    code = code ? code : take_choice(cli, "ordering", "object", "none", &ordering);
    code = code ? code : take_choice(cli, "tls", "verify", "insecure", &tls);
    code = code ? code : take_choice(cli, "http2", "no", "yes", &http2);
    handler->ordering = ordering ? HANDLER_ORDER_NONE : HANDLER_ORDER_OBJECT;
    handler->tls = tls ? HANDLER_TLS_INSECURE : HANDLER_TLS_VERIFY;
    handler->http2 = http2;
    return code;
}

/* Patterns from --event (repeated, or several in one text) and, for add, from bare words. */
static void take_events(const cli_t *cli, handler_t *handler, size_t first_word)
{
    AUTO_BUF events = {0};
    for (size_t i = 0; i < cli_flag_count(cli, "event"); i++)
        buf_printf(&events, "%s%s", events.size ? " " : "", cli_flag_at(cli, "event", i));
    for (size_t i = first_word; i < cli_arguments(cli); i++)
        buf_printf(&events, "%s%s", events.size ? " " : "", cli_argument(cli, i));
    for (char *c = events.data; c && *c; c++)
        if (*c == ',')
            *c = ' ';
    if (events.size)
        set_text(&handler->events, events.data);
}

static int take_flags(const cli_t *cli, handler_t *handler, bool is_new, buf_t *ret_notice)
{
    join_flag(cli, "name", " ", &handler->name);
    join_flag(cli, "task", " ", &handler->task);
    join_flag(cli, "description", " ", &handler->description);
    join_flag(cli, "filter", " and ", &handler->filter);
    join_flag(cli, "header", "\n", &handler->headers);
    join_flag(cli, "ca-file", " ", &handler->ca_file);
    join_flag(cli, "cert-file", " ", &handler->cert_file);
    join_flag(cli, "key-file", " ", &handler->key_file);
    take_events(cli, handler, is_new ? 0 : 1);
    const char *retry = cli_flag(cli, "retry");
    if (retry) {
        free(handler->retry);
        handler->retry = mem_strdup(strcmp(retry, "none") == 0 ? "" : retry);
    }
    int code = take_type(cli, handler, is_new);
    code = code ? code : take_numbers(cli, handler);
    return code ? code : take_secrets(cli, handler, ret_notice);
}

/* A pattern that covers no known event is most likely a slip of the pen. */
static int check_events(const cli_t *cli, const handler_t *handler)
{
    AUTO(catalogue) catalogue = NULL;
    fault_t fault;
    const char *extra = config_text(cli_config(cli), "catalogue", "extra");
    if (catalogue_new(extra, &catalogue, &fault) != RESULT_OK)
        return cli_fail(cli, EXIT_CONFIG, "%s", fault.text);
    for (const char *at = handler->events ? handler->events : ""; *at;) {
        slice_t pattern = {at, strcspn(at, " ")};
        if (pattern.size && !catalogue_covers(catalogue, pattern))
            return cli_fail(cli, EXIT_USAGE,
                            "--event %.*s covers no event of the catalogue; did you mean %s? "
                            "(provisor events lists them)",
                            SLICE_ARG(pattern), catalogue_nearest(catalogue, pattern)->id);
        at += pattern.size + (at[pattern.size] == ' ');
    }
    return EXIT_OK;
}

/* Only here: the deliverer may be on another machine, and reads the files there. */
static int check_file(const cli_t *cli, const char *flag, const char *path)
{
    struct stat status;
    if (!cli_flag(cli, flag) || !path || path[0] != '/') /* handler_check tells of the last one */
        return EXIT_OK;
    AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) != 0)
        return cli_fail(cli, EXIT_FAILED, "--%s %s: %s", flag, path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return cli_fail(cli, EXIT_FAILED, "--%s %s: is not a file", flag, path);
    return EXIT_OK;
}

static int check_files(const cli_t *cli, const handler_t *handler)
{
    int code = check_file(cli, "ca-file", handler->ca_file);
    code = code ? code : check_file(cli, "cert-file", handler->cert_file);
    return code ? code : check_file(cli, "key-file", handler->key_file);
}

static void print_handler_json(const handler_t *handler)
{
    AUTO_BUF line = {0};
    json_writer_t w;
    json_begin(&w, &line);
    handler_json(handler, &w);
    cli_print(&line);
}

static const handler_t *find_name(const handlers_t *handlers, const char *name)
{
    for (size_t i = 0; i < handlers_count(handlers); i++) {
        const handler_t *handler = handlers_at(handlers, i);
        if (handler->status != HANDLER_DELETED && strcmp(handler->name, name) == 0)
            return handler;
    }
    return NULL;
}

static void print_added(const cli_t *cli, const handler_t *handler)
{
    if (cli_json(cli))
        print_handler_json(handler);
    else
        printf("%lld\n", (long long)handler->id);
}

static int add_run(cli_t *cli)
{
    AUTO_HANDLER handler;
    AUTO_BUF notice = {0};
    handler_init(&handler);
    int code = take_flags(cli, &handler, true, &notice);
    if (code != EXIT_OK)
        return code;
    if (!handler.name || !handler.events || !handler.task)
        return cli_fail(cli, EXIT_USAGE, "--name, --event and --task are required");
    code = check_events(cli, &handler);
    code = code ? code : check_files(cli, &handler);
    if (code != EXIT_OK)
        return code;
    __attribute__((cleanup(handlers_close))) handlers_t *handlers = NULL;
    fault_t fault;
    code = open_or_make_handlers(cli, &handlers);
    if (code != EXIT_OK)
        return code;
    const handler_t *known = find_name(handlers, handler.name);
    if (known && cli_flag(cli, "if-missing")) {
        print_added(cli, known);
        return EXIT_OK;
    }
    if (handlers_add(handlers, &handler, &fault) != RESULT_OK)
        return cli_fail(cli, EXIT_FAILED, "%s", fault.text);
    fputs(notice.data ? notice.data : "", stderr);
    in_force_wait(cli, handlers_version(handlers));
    print_added(cli, handlers_find(handlers, handler.id));
    return EXIT_OK;
}

static int find_handler(const cli_t *cli, const handlers_t *handlers, const char *text,
                        const handler_t **ret_handler)
{
    char *end;
    int64_t id = strtoll(text, &end, 10);
    const handler_t *handler = *end ? NULL : handlers_find(handlers, id);
    if (!handler)
        return cli_fail(cli, EXIT_FAILED, "there is no handler %s; see provisor handler list --all",
                        text);
    *ret_handler = handler;
    return EXIT_OK;
}

static void copy_text(char **member)
{
    *member = *member ? mem_strdup(*member) : NULL;
}

/* A copy of its own, so that flags can change it. */
static void copy_handler(const handler_t *from, handler_t *to)
{
    ENSURE(from);
    *to = *from;
    char **members[] = {&to->name,   &to->status_reason, &to->events,    &to->task,
                        &to->filter, &to->description,   &to->secrets,   &to->headers,
                        &to->retry,  &to->ca_file,       &to->cert_file, &to->key_file};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        copy_text(members[i]);
}

/* Most likely a variable that is not set, or a flag that was forgotten. */
static int check_changes(const cli_t *cli)
{
    size_t n = cli_arguments(cli) - 1; /* bare words are events */
    for (const cli_flag_t *flag = update_flags; flag->name; flag++)
        n += cli_flag_count(cli, flag->name);
    if (n == 0)
        return cli_fail(cli, EXIT_USAGE,
                        "nothing is to be changed: name a flag, as in provisor "
                        "handler update %s --timeout 20s",
                        cli_argument(cli, 0));
    for (size_t i = 0; i < cli_flag_count(cli, "event"); i++)
        if (strspn(cli_flag_at(cli, "event", i), " ,") == strlen(cli_flag_at(cli, "event", i)))
            return cli_fail(cli, EXIT_USAGE,
                            "--event is empty; provisor events lists what there is");
    return EXIT_OK;
}

static int update_run(cli_t *cli)
{
    __attribute__((cleanup(handlers_close))) handlers_t *handlers = NULL;
    const handler_t *found = NULL;
    fault_t fault;
    int code = check_changes(cli);
    code = code ? code : open_handlers(cli, &handlers);
    code = code ? code : find_handler(cli, handlers, cli_argument(cli, 0), &found);
    if (code != EXIT_OK)
        return code;
    AUTO_HANDLER handler;
    AUTO_BUF notice = {0};
    copy_handler(found, &handler);
    code = take_flags(cli, &handler, false, &notice);
    code = code ? code : check_events(cli, &handler);
    code = code ? code : check_files(cli, &handler);
    if (code != EXIT_OK)
        return code;
    if (handlers_update(handlers, &handler, &fault) != RESULT_OK)
        return cli_fail(cli, EXIT_FAILED, "%s", fault.text);
    fputs(notice.data ? notice.data : "", stderr);
    in_force_wait(cli, handlers_version(handlers));
    if (cli_json(cli))
        print_handler_json(handlers_find(handlers, handler.id));
    else
        printf("handler %lld is updated; pending deliveries use it from their next attempt\n",
               (long long)handler.id);
    return EXIT_OK;
}

static void list_row(table_t *table, const handler_t *handler)
{
    table_cellf(table, "%lld", (long long)handler->id);
    table_cell(table, handler->name);
    table_cell(table, handler_type_str(handler->type));
    table_cell(table, handler_status_str(handler->status));
    table_cellf(table, "%lld", (long long)handler->priority);
    table_cell(table, handler->events);
    table_cell(table, handler->task);
    table_cell(table, handler->status_reason);
}

static int list_run(cli_t *cli)
{
    static const char *const titles[] = {"ID",   "NAME",   "TYPE", "STATUS",
                                         "PRIO", "EVENTS", "TASK", "WHY SUSPENDED"};
    __attribute__((cleanup(handlers_close))) handlers_t *handlers = NULL;
    AUTO(table) table = table_new(titles, 8);
    int code = open_handlers(cli, &handlers);
    if (code != EXIT_OK)
        return code;
    for (size_t i = 0; i < handlers_count(handlers); i++) {
        const handler_t *handler = handlers_at(handlers, i);
        if (handler->status >= HANDLER_ARCHIVED && !cli_flag(cli, "all"))
            continue;
        if (cli_json(cli))
            print_handler_json(handler);
        else
            list_row(table, handler);
    }
    AUTO_BUF text = {0};
    table_print(table, table_terminal_width(), &text);
    if (!cli_json(cli))
        fwrite(text.data, 1, text.size, stdout);
    return EXIT_OK;
}

static int show_run(cli_t *cli)
{
    __attribute__((cleanup(handlers_close))) handlers_t *handlers = NULL;
    const handler_t *handler = NULL;
    int code = open_handlers(cli, &handlers);
    code = code ? code : find_handler(cli, handlers, cli_argument(cli, 0), &handler);
    if (code != EXIT_OK)
        return code;
    if (cli_json(cli)) {
        print_handler_json(handler);
        return EXIT_OK;
    }
    AUTO_BUF json = {0};
    json_writer_t w;
    AUTO(json_tree) tree = NULL;
    fault_t fault;
    json_begin(&w, &json);
    handler_json(handler, &w);
    if (json_parse(buf_slice(&json), &tree, &fault) != RESULT_OK)
        return cli_fail(cli, EXIT_FAILED, "%s", fault.text);
    for (size_t i = 0; i < tree->u.object.len; i++) {
        AUTO_BUF value = {0};
        const json_tree_t *v = tree->u.object.values[i];
        print_tree(v, &value);
        AUTO_BUF clean = {0};
        terminal_add_lines(&clean, YAJL_IS_STRING(v) ? slice_of(v->u.string) : buf_slice(&value));
        printf("%-14s %s\n", tree->u.object.keys[i], clean.data ? clean.data : "");
    }
    return EXIT_OK;
}

static const cli_flag_t list_flags[] = {{"all", NULL, "also archived and deleted ones"}, {NULL}};

const cli_command_t cmd_handler[] = {
    {"handler add", "", "Adds a handler and prints its id",
     "  provisor handler add --name CRM --event 'clients.*' --task https://crm.example/hook "
     "--secret generate\n"
     "  provisor handler add --name Switch --event clients.balance_zero --task "
     "http://127.0.0.1:8080/api --priority 1\n",
     add_flags, 0, -1, add_run},
    {"handler update", "ID",
     "Changes what the flags name; pending deliveries use it from their next attempt",
     "  provisor handler update 3 --timeout 5s --retry 1s,10s,1m\n"
     "  provisor handler update 3 --secret @new.txt --secret @old.txt\n",
     update_flags, 1, -1, update_run},
    {"handler list", "", "Lists the handlers",
     "  provisor handler list --all\n  provisor handler list --json\n", list_flags, 0, 0, list_run},
    {"handler show", "ID", "Shows one handler; secrets as fingerprints",
     "  provisor handler show 3\n", NULL, 1, 1, show_run},
    {NULL},
};
