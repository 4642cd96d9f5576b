#include "common/service/handler.h"
#include "common/base/clk.h"
#include "common/base/cleanup.h"
#include "common/base/utf8.h"
#include "common/service/filter.h"

#include <ctype.h>
#include <strings.h>

enum {
    PATTERN_MAX_BYTES = 128,
    TASK_MAX_BYTES = 2048,
    TEXT_MAX_BYTES = 4096, /* description, filter */
    HEADERS_MAX_BYTES = 8192,
    FILE_MAX_BYTES = 1024,
    SHOWN = 60, /* of what was given, in a message */
};

#define DAY_MS       INT64_C(86400000)
#define PRIORITY_MAX 1000000

/* printf ("%.*s", SHORT (slice)) */
#define SHORT(s) (int)((s).size > SHOWN ? SHOWN : (s).size), (s).data ? (s).data : ""

static bool has_control(slice_t text, const char *allowed)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool c1 = c == 0xc2 && i + 1 < text.size && (unsigned char)text.data[i + 1] < 0xa0;
        if (((c < 0x20 || c == 0x7f) && !(c && strchr(allowed, c))) || c1)
            return true;
    }
    return false;
}

static size_t characters(slice_t text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.size; i++)
        n += ((unsigned char)text.data[i] & 0xc0) != 0x80;
    return n;
}

/* Cuts the text up to the separator off *rest; rest->data is NULL after the last piece. */
static slice_t next_piece(slice_t *rest, char separator)
{
    const char *end = memchr(rest->data, separator, rest->size);
    slice_t piece = *rest;
    if (!end) {
        *rest = (slice_t){0};
        return piece;
    }
    piece.size = (size_t)(end - rest->data);
    *rest = (slice_t){end + 1, rest->size - piece.size - 1};
    return piece;
}

/* Characters that nobody sees, and those that reorder what is seen: two names that look alike would
 * be two. Ranges, rising. */
static bool has_invisible(slice_t text)
{
    static const uint32_t ranges[][2] = {
        {0xad, 0xad},     {0x34f, 0x34f},   {0x61c, 0x61c},   {0x115f, 0x1160}, {0x17b4, 0x17b5},
        {0x180b, 0x180f}, {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0x3164, 0x3164},
        {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff},
    };
    for (size_t at = 0; at < text.size;) {
        unsigned char first = (unsigned char)text.data[at++];
        uint32_t c = first < 0xc0   ? first
                     : first < 0xe0 ? first & 0x1f
                     : first < 0xf0 ? first & 0xf
                                    : first & 7;
        while (at < text.size && ((unsigned char)text.data[at] & 0xc0) == 0x80)
            c = c << 6 | ((unsigned char)text.data[at++] & 0x3f);
        for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
            if (c >= ranges[i][0] && c <= ranges[i][1])
                return true;
    }
    return false;
}

static result_t check_name(const handler_t *handler, fault_t *fault)
{
    slice_t name = slice_of(handler->name);
    if (!utf8_valid(name))
        return fault_set(fault, RESULT_INVALID, "name: not valid UTF-8");
    if (name.size == 0 || characters(name) > HANDLER_NAME_MAX)
        return fault_set(fault, RESULT_INVALID, "name: 1 to %d characters, this has %zu",
                         HANDLER_NAME_MAX, characters(name));
    if (has_control(name, ""))
        return fault_set(fault, RESULT_INVALID, "name: control characters are not allowed");
    if (has_invisible(name))
        return fault_set(fault, RESULT_INVALID,
                         "name: invisible characters and those that turn the direction of text are "
                         "not allowed");
    return RESULT_OK;
}

static bool is_events_id(slice_t text)
{
    bool segment_begins = true;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && !strchr("_.-", c))
            return false;
        if (segment_begins && c == '.')
            return false;
        segment_begins = c == '.';
    }
    return !segment_begins;
}

static bool is_pattern(slice_t text)
{
    if (slice_is(text, "*"))
        return true;
    if (text.size > 2 && memcmp(text.data + text.size - 2, ".*", 2) == 0)
        text.size -= 2;
    return text.size <= PATTERN_MAX_BYTES && memchr(text.data, 0, text.size) == NULL &&
           is_events_id(text);
}

static result_t check_events(const handler_t *handler, fault_t *fault)
{
    slice_t rest = slice_of(handler->events);
    int n = 0;
    while (rest.data) {
        slice_t pattern = next_piece(&rest, ' ');
        if (pattern.size == 0)
            continue;
        if (!is_pattern(pattern))
            return fault_set(fault, RESULT_INVALID,
                             "events: \"%.*s\" is not a pattern; write an exact id "
                             "(clients.create), a prefix (clients.*) or *",
                             SHORT(pattern));
        if (++n > HANDLER_EVENTS_MAX)
            return fault_set(fault, RESULT_INVALID, "events: more than %d patterns",
                             HANDLER_EVENTS_MAX);
    }
    if (n == 0)
        return fault_set(fault, RESULT_INVALID,
                         "events: at least one pattern, for example clients.* or *");
    return RESULT_OK;
}

/* Size of "scheme://" at the start; 0: there is none ("localhost:80/x?y=http://z" has none). */
static size_t scheme_size(slice_t task)
{
    size_t i = 0;
    while (i < task.size && (isalnum((unsigned char)task.data[i]) || strchr("+.-", task.data[i])))
        i++;
    return i > 0 && i + 3 <= task.size && memcmp(task.data + i, "://", 3) == 0 ? i + 3 : 0;
}

static result_t check_port(slice_t port, fault_t *fault)
{
    long value = 0;
    for (size_t i = 0; i < port.size && value <= 65535; i++)
        value = isdigit((unsigned char)port.data[i]) ? value * 10 + (port.data[i] - '0') : 65536;
    if (value < 1 || value > 65535)
        return fault_set(fault, RESULT_INVALID, "task: \"%.*s\" is not a port (1 to 65535)",
                         SHORT(port));
    return RESULT_OK;
}

static result_t check_authority(slice_t authority, fault_t *fault)
{
    if (memchr(authority.data, '@', authority.size))
        return fault_set(fault, RESULT_INVALID,
                         "task: a password in the URL would be shown to everybody; use a header: "
                         "Authorization: Basic ...");
    size_t host = 0; /* its size */
    if (authority.size && authority.data[0] == '[') {
        const char *end = memchr(authority.data, ']', authority.size);
        host = end ? (size_t)(end - authority.data) + 1 : 0;
    } else {
        host = strcspn(authority.data, ":");
        host = host < authority.size ? host : authority.size;
    }
    slice_t port = {authority.data + host, authority.size - host};
    if (host == 0 || (port.size && port.data[0] != ':'))
        return fault_set(fault, RESULT_INVALID, "task: \"%.*s\" has no host name",
                         SHORT(authority));
    if (port.size == 0)
        return RESULT_OK;
    return check_port((slice_t){port.data + 1, port.size - 1}, fault);
}

static result_t check_url(const handler_t *handler, slice_t task, fault_t *fault)
{
    const char *type = handler_type_str(handler->type);
    size_t scheme = scheme_size(task);
    size_t name = scheme ? scheme - 3 : 0;
    if (scheme && (strlen(type) != name || strncasecmp(task.data, type, name) != 0))
        return fault_set(fault, RESULT_INVALID,
                         "task: the URL says %.*s, the type says %s; change one of them", (int)name,
                         task.data, type);
    for (size_t i = 0; i < task.size; i++)
        if (!isgraph((unsigned char)task.data[i]) || strchr("\"<>\\^`{|}", task.data[i]))
            return fault_set(fault, RESULT_INVALID,
                             "task: character %zu of the URL must be percent-encoded", i + 1);
    slice_t authority = {task.data + scheme, 0};
    authority.size = strcspn(authority.data, "/?#");
    return check_authority(authority, fault);
}

static result_t check_task(const handler_t *handler, fault_t *fault)
{
    slice_t task = slice_of(handler->task);
    if (task.size == 0 || task.size > TASK_MAX_BYTES)
        return fault_set(fault, RESULT_INVALID, "task: 1 to %d bytes, this has %zu", TASK_MAX_BYTES,
                         task.size);
    if (handler->type != HANDLER_SCRIPT)
        return check_url(handler, task, fault);
    if (scheme_size(task))
        return fault_set(fault, RESULT_INVALID,
                         "task: this is a URL, the type says script; change one of them");
    if (!utf8_valid(task) || has_control(task, ""))
        return fault_set(fault, RESULT_INVALID,
                         "task: a script's path is UTF-8 without control characters");
    return RESULT_OK;
}

static result_t check_text(const char *name, const char *text, size_t max_bytes, fault_t *fault)
{
    slice_t value = slice_of(text);
    if (value.size > max_bytes)
        return fault_set(fault, RESULT_INVALID, "%s: at most %zu bytes, this has %zu", name,
                         max_bytes, value.size);
    if (!utf8_valid(value) || has_control(value, "\t\n"))
        return fault_set(fault, RESULT_INVALID, "%s: must be UTF-8 without control characters",
                         name);
    return RESULT_OK;
}

static result_t check_filter(const handler_t *handler, fault_t *fault)
{
    AUTO(filter) filter = NULL;
    result_t r = check_text("filter", handler->filter, TEXT_MAX_BYTES, fault);
    if (r != RESULT_OK || !handler->filter)
        return r;
    return filter_parse(slice_of(handler->filter), &filter, fault);
}

static result_t check_secrets(const handler_t *handler, fault_t *fault)
{
    slice_t rest = slice_of(handler->secrets);
    int n = 0;
    while (rest.data) {
        AUTO_BUF key = {0};
        slice_t secret = next_piece(&rest, ' ');
        if (secret.size == 0)
            continue;
        result_t r = handler_secret_decode(secret, &key, fault);
        if (r != RESULT_OK)
            return r;
        if (++n > HANDLER_SECRETS_MAX)
            return fault_set(fault, RESULT_INVALID, "secrets: at most %d at a time",
                             HANDLER_SECRETS_MAX);
    }
    return RESULT_OK;
}

static bool is_token(slice_t text)
{
    for (size_t i = 0; i < text.size; i++)
        if (!isalnum((unsigned char)text.data[i]) &&
            (!text.data[i] || !strchr("!#$%&'*+-.^_`|~", text.data[i])))
            return false;
    return text.size > 0;
}

/* A name that ends with '-' stands for every name that begins so. */
static bool is_reserved(slice_t name)
{
    static const char *const reserved[] = {
        "content-type", "content-length", "transfer-encoding", "connection", "keep-alive",
        "te",           "trailer",        "upgrade",           "expect",     "host",
        "user-agent",   "webhook-",       "provisor-",         "proxy-",
    };
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        size_t size = strlen(reserved[i]);
        bool prefix = reserved[i][size - 1] == '-';
        if ((prefix ? name.size >= size : name.size == size) &&
            strncasecmp(name.data, reserved[i], size) == 0)
            return true;
    }
    return false;
}

static result_t check_header(slice_t line, fault_t *fault)
{
    const char *colon = memchr(line.data, ':', line.size);
    slice_t name = {line.data, colon ? (size_t)(colon - line.data) : 0};
    if (!is_token(name))
        return fault_set(fault, RESULT_INVALID,
                         "headers: a line is \"Name: value\" with a name of letters, digits and -");
    if (is_reserved(name))
        return fault_set(fault, RESULT_INVALID, "headers: %.*s is set by Provisor itself",
                         SHORT(name));
    slice_t value = {colon + 1, line.size - name.size - 1};
    while (value.size && value.data[0] == ' ')
        value.data++, value.size--;
    if (value.size == 0)
        return fault_set(fault, RESULT_INVALID, "headers: %.*s has no value", SHORT(name));
    if (!utf8_valid(value) || has_control(value, "\t"))
        return fault_set(fault, RESULT_INVALID,
                         "headers: the value of %.*s must be UTF-8 without control characters",
                         SHORT(name));
    return RESULT_OK;
}

static result_t check_headers(const handler_t *handler, fault_t *fault)
{
    slice_t rest = slice_of(handler->headers);
    int n = 0;
    if (rest.size > HEADERS_MAX_BYTES)
        return fault_set(fault, RESULT_INVALID, "headers: at most %d bytes in all",
                         HEADERS_MAX_BYTES);
    while (rest.data) {
        slice_t line = next_piece(&rest, '\n');
        result_t r = line.size ? check_header(line, fault) : RESULT_OK;
        if (r != RESULT_OK)
            return r;
        if (line.size && ++n > HANDLER_HEADERS_MAX)
            return fault_set(fault, RESULT_INVALID, "headers: at most %d", HANDLER_HEADERS_MAX);
    }
    return RESULT_OK;
}

/* The same list as the deliverer's retry_parse takes. */
static result_t check_retry(const handler_t *handler, fault_t *fault)
{
    slice_t rest = slice_of(handler->retry);
    int n = 0;
    if (rest.size == 0)
        return RESULT_OK;
    while (rest.data) {
        int64_t ms = 0;
        slice_t delay = next_piece(&rest, ',');
        while (delay.size && delay.data[0] == ' ')
            delay.data++, delay.size--;
        while (delay.size && delay.data[delay.size - 1] == ' ')
            delay.size--;
        if (clk_parse_duration(delay, &ms) != RESULT_OK || ms > 366 * DAY_MS)
            return fault_set(fault, RESULT_INVALID,
                             "retry: delay %d, \"%.*s\", is not a duration of at most 366 days; "
                             "write for example 5s,5m,30m",
                             n + 1, SHORT(delay));
        if (++n > HANDLER_RETRY_MAX)
            return fault_set(fault, RESULT_INVALID,
                             "retry: more than %d delays; write fewer, and longer ones",
                             HANDLER_RETRY_MAX);
    }
    return RESULT_OK;
}

static result_t check_numbers(const handler_t *handler, fault_t *fault)
{
    const struct {
        const char *name;
        int64_t value, min, max;
        bool optional; /* -1: default */
    } numbers[] = {
        {"type", handler->type, HANDLER_HTTPS, HANDLER_SCRIPT, false},
        {"status", handler->status, HANDLER_ENABLED, HANDLER_DELETED, false},
        {"priority", handler->priority, -PRIORITY_MAX, PRIORITY_MAX, false},
        {"timeout in ms", handler->timeout_ms, 10, 600000, true},
        {"max-age in ms", handler->max_age_ms, 0, 3660 * DAY_MS, true},
        {"hold in ms", handler->hold_ms, 0, 3660 * DAY_MS, true},
        {"window", handler->window, 1, 1000, true},
        {"rate per second", handler->rate, 0, 1000000, false},
        {"ordering", handler->ordering, HANDLER_ORDER_OBJECT, HANDLER_ORDER_NONE, false},
        {"http2", handler->http2, 0, 1, false},
        {"tls", handler->tls, HANDLER_TLS_VERIFY, HANDLER_TLS_INSECURE, false},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if ((numbers[i].value < numbers[i].min || numbers[i].value > numbers[i].max) &&
            !(numbers[i].optional && numbers[i].value == -1))
            return fault_set(fault, RESULT_INVALID, "%s: %lld is not between %lld and %lld",
                             numbers[i].name, (long long)numbers[i].value,
                             (long long)numbers[i].min, (long long)numbers[i].max);
    return RESULT_OK;
}

static result_t check_files(const handler_t *handler, fault_t *fault)
{
    const char *names[] = {"ca-file", "cert-file", "key-file"};
    const char *files[] = {handler->ca_file, handler->cert_file, handler->key_file};
    for (size_t i = 0; i < 3; i++) {
        result_t r = check_text(names[i], files[i], FILE_MAX_BYTES, fault);
        if (r != RESULT_OK)
            return r;
        if (files[i] && files[i][0] != '/')
            return fault_set(fault, RESULT_INVALID,
                             "%s: an absolute path is needed, the deliverer runs elsewhere",
                             names[i]);
    }
    if (!handler->cert_file != !handler->key_file)
        return fault_set(fault, RESULT_INVALID, "cert-file and key-file go together");
    return RESULT_OK;
}

result_t handler_check(const handler_t *handler, fault_t *fault)
{
    static result_t (*const checks[])(const handler_t *, fault_t *) = {
        check_name,    check_numbers, check_events, check_task,  check_filter,
        check_secrets, check_headers, check_retry,  check_files,
    };
    result_t r = RESULT_OK;
    for (size_t i = 0; i < sizeof checks / sizeof *checks && r == RESULT_OK; i++)
        r = checks[i](handler, fault);
    return r == RESULT_OK ? check_text("description", handler->description, TEXT_MAX_BYTES, fault)
                          : r;
}
