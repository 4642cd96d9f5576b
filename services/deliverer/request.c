#include "services/deliverer/request.h"
#include "common/base/mem.h"
#include "common/wire/object.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { USUAL_BYTES = 500 }; /* most requests' headers have fewer */

/* One header or variable; its name with what stands before the value. Lines end with a zero byte,
 * so a value ends at one. */
static void add_line(request_t *request, const char *name, slice_t value)
{
    buf_add_str(&request->lines, name);
    buf_add(&request->lines, value.data, value.data ? strnlen(value.data, value.size) : 0);
    buf_add_char(&request->lines, 0);
}

static void add_number(request_t *request, const char *name, int64_t value)
{
    char digits[24];
    int size = snprintf(digits, sizeof digits, "%lld", (long long)value);
    add_line(request, name, (slice_t){digits, (size_t)size});
}

slice_t request_webhook_id(const event_t *event)
{
    return event->webhook_id.size ? event->webhook_id : event->id;
}

slice_t request_dt(slice_t body)
{
    static const char before[] = "{\"event\":{\"dt\":\"";
    const size_t size = sizeof before - 1;
    if (body.size < size || memcmp(body.data, before, size) != 0)
        return SLICE("");
    const char *end = memchr(body.data + size, '"', body.size - size);
    return end ? (slice_t){body.data + size, (size_t)(end - body.data) - size} : SLICE("");
}

static bool header_is(const char *line, const char *name)
{
    size_t size = strlen(name);
    return strncasecmp(line, name, size) == 0 && line[size] == ':';
}

static bool has_own(const settings_t *settings, const char *name)
{
    for (size_t i = 0; i < settings->n_headers; i++)
        if (header_is(settings->headers[i], name))
            return true;
    return false;
}

/* Headers that receivers rely on are never the handler's own. */
static bool is_reserved(const char *line)
{
    static const char *const reserved[] = {"webhook-id",        "webhook-timestamp",
                                           "webhook-signature", "provisor-test",
                                           "provisor-replay",   "content-length"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (header_is(line, reserved[i]))
            return true;
    return false;
}

static void add_headers(request_t *request, const settings_t *settings, const event_t *event,
                        int64_t now_ms)
{
    slice_t id = request_webhook_id(event);
    if (!has_own(settings, "Content-Type"))
        add_line(request, "Content-Type: ", SLICE("application/json"));
    if (!has_own(settings, "User-Agent"))
        add_line(request, "User-Agent: ", SLICE("provisor/" PROVISOR_VERSION));
    add_line(request, "webhook-id: ", id);
    add_number(request, "webhook-timestamp: ", now_ms / 1000);
    if (settings->signature) {
        buf_add_str(&request->lines, "webhook-signature: ");
        signature_add(settings->signature, id, now_ms / 1000, event->body, &request->lines);
        buf_add_char(&request->lines, 0);
    }
    if (event->replay > 0)
        add_number(request, "provisor-replay: ", event->replay);
    else if (event->replay_handler)
        add_number(request, "provisor-test: ", 1);
    for (size_t i = 0; i < settings->n_headers; i++)
        if (!is_reserved(settings->headers[i]))
            add_line(request, settings->headers[i], (slice_t){0});
}

static void add_environment(request_t *request, const event_t *event, int64_t attempt)
{
    add_line(request, "PATH=", SLICE("/usr/local/bin:/usr/bin:/bin"));
    add_line(request, "PROVISOR_EVENTS_ID=", event->events_id);
    add_line(request, "PROVISOR_OBJECT_ID=", object_unquoted(event->object_id));
    add_line(request, "PROVISOR_DT=", request_dt(event->body));
    add_line(request, "PROVISOR_WEBHOOK_ID=", request_webhook_id(event));
    add_number(request, "PROVISOR_ATTEMPT=", attempt);
}

/* lines does not move any more: pointers into it. */
static void point_at_lines(request_t *request)
{
    size_t n = 0;
    for (size_t i = 0; i < request->lines.size; i++)
        n += request->lines.data[i] == 0;
    request->pointers = mem_alloc((n + 1) * sizeof *request->pointers);
    const char *at = request->lines.data;
    for (size_t i = 0; i < n; i++, at += strlen(at) + 1)
        request->pointers[i] = at;
}

void request_init(request_t *request, const settings_t *settings, const event_t *event,
                  int64_t attempt, int64_t now_ms)
{
    *request = (request_t){.exchange = {.url = settings->url,
                                        .body = event->body,
                                        .timeout_ms = settings->timeout_ms,
                                        .connect_timeout_ms = settings->connect_timeout_ms,
                                        .response_max_bytes = settings->response_max_bytes,
                                        .http2 = settings->http2,
                                        .tls_insecure = settings->tls_insecure,
                                        .ca_file = settings->ca_file,
                                        .cert_file = settings->cert_file,
                                        .key_file = settings->key_file}};
    (void)buf_reserve(&request->lines, USUAL_BYTES);
    if (settings->script)
        add_environment(request, event, attempt);
    else
        add_headers(request, settings, event, now_ms);
    point_at_lines(request);
    if (settings->script)
        request->exchange.environment = request->pointers;
    else
        request->exchange.headers = request->pointers;
}

void request_release(request_t *request)
{
    buf_release(&request->lines);
    free(request->pointers);
    *request = (request_t){.pointers = NULL};
}

/* "https://host:8443/api?x=1" -> "POST /api?x=1 HTTP/1.1", "Host: host:8443" */
static void show_request_line(const char *url, buf_t *ret_text)
{
    const char *authority = strstr(url, "://");
    authority = authority ? authority + 3 : url;
    size_t size = strcspn(authority, "/?#");
    const char *path = authority + size;
    const char *at = memrchr(authority, '@', size);
    const char *host = at ? at + 1 : authority;
    buf_add_str(ret_text, *path == '/' ? "POST " : "POST /");
    buf_add(ret_text, path, strcspn(path, "#"));
    buf_add_str(ret_text, " HTTP/1.1\nHost: ");
    buf_add(ret_text, host, (size_t)(path - host));
    buf_add_char(ret_text, '\n');
}

static bool is_own(const settings_t *settings, const char *line)
{
    for (size_t i = 0; i < settings->n_headers; i++)
        if (strcmp(settings->headers[i], line) == 0)
            return true;
    return false;
}

void request_show(const request_t *request, const settings_t *settings, buf_t *ret_text)
{
    (void)buf_reserve(ret_text, USUAL_BYTES);
    if (settings->script) {
        buf_add_str(ret_text, settings->url);
        buf_add_char(ret_text, '\n');
    } else {
        show_request_line(settings->url, ret_text);
    }
    for (const char **line = request->pointers; *line; line++) {
        bool own = !settings->script && is_own(settings, *line);
        buf_add(ret_text, *line, own ? strcspn(*line, ":") : strlen(*line));
        buf_add_str(ret_text, own ? ": ***\n" : "\n");
    }
}
