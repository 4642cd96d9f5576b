#include "common/service/handler.h"
#include "common/base/clk.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

void handler_init(handler_t *handler)
{
    *handler = (handler_t){
        .status = HANDLER_ENABLED,
        .priority = 100,
        .timeout_ms = -1,
        .max_age_ms = -1,
        .hold_ms = -1,
        .window = -1,
    };
}

void handler_release(handler_t *handler)
{
    char *texts[] = {handler->name,    handler->status_reason, handler->events,
                     handler->task,    handler->description,   handler->filter,
                     handler->secrets, handler->headers,       handler->retry,
                     handler->ca_file, handler->cert_file,     handler->key_file};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    handler_init(handler);
}

const char *handler_type_str(handler_type_t type)
{
    static const char *const names[] = {"https", "http", "script"};
    return (size_t)type < sizeof names / sizeof *names ? names[type] : "unknown";
}

const char *handler_status_str(handler_status_t status)
{
    static const char *const names[] = {"enabled", "disabled", "suspended", "archived", "deleted"};
    return (size_t)status < sizeof names / sizeof *names ? names[status] : "unknown";
}

/* The next word up to the separator; *at moves behind it. Empty words are skipped; an absent slice
 * at the end. */
static slice_t next_word(const char **at, char separator)
{
    while (**at == separator)
        (*at)++;
    const char *end = strchrnul(*at, separator);
    slice_t word = {*at < end ? *at : NULL, (size_t)(end - *at)};
    *at = end;
    return word;
}

static void add_words(json_writer_t *w, const char *key, const char *text)
{
    json_key(w, key);
    json_open_array(w);
    for (const char *at = text ? text : ""; *at;) {
        slice_t word = next_word(&at, ' ');
        if (word.data)
            json_slice(w, word);
    }
    json_close_array(w);
}

static void add_fingerprint(json_writer_t *w, slice_t secret)
{
    AUTO_BUF key = {0};
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char text[sizeof "sha256:" + 8];
    if (handler_secret_decode(secret, &key, NULL) != RESULT_OK)
        buf_add_slice(&key, secret);
    SHA256((const unsigned char *)key.data, key.size, digest);
    snprintf(text, sizeof text, "sha256:%02x%02x%02x%02x", digest[0], digest[1], digest[2],
             digest[3]);
    json_str(w, text);
}

static void add_secrets(json_writer_t *w, const char *secrets)
{
    json_key(w, "secrets");
    json_open_array(w);
    for (const char *at = secrets ? secrets : ""; *at;) {
        slice_t secret = next_word(&at, ' ');
        if (secret.data)
            add_fingerprint(w, secret);
    }
    json_close_array(w);
}

static void add_headers(json_writer_t *w, const char *headers)
{
    json_key(w, "headers");
    json_open_array(w);
    for (const char *at = headers ? headers : ""; *at;) {
        slice_t line = next_word(&at, '\n');
        AUTO_BUF shown = {0};
        const char *colon = line.data ? memchr(line.data, ':', line.size) : NULL;
        buf_add(&shown, line.data, colon ? (size_t)(colon - line.data) : 0);
        buf_add_str(&shown, ": ***");
        if (line.data)
            json_slice(w, buf_slice(&shown));
    }
    json_close_array(w);
}

static void add_number(json_writer_t *w, const char *key, int64_t value)
{
    json_key(w, key);
    if (value < 0)
        json_null(w);
    else
        json_int(w, value);
}

static void add_time(json_writer_t *w, const char *key, int64_t wall_ms)
{
    char text[CLK_ISO_SIZE];
    clk_iso_millis(wall_ms, text);
    json_key_str(w, key, wall_ms ? text : NULL);
}

static void add_sending(const handler_t *handler, json_writer_t *w)
{
    json_key_str(w, "filter", handler->filter);
    add_secrets(w, handler->secrets);
    add_headers(w, handler->headers);
    add_number(w, "timeout_ms", handler->timeout_ms);
    json_key_str(w, "retry", handler->retry);
    add_number(w, "max_age_ms", handler->max_age_ms);
    add_number(w, "hold_ms", handler->hold_ms);
    add_number(w, "window", handler->window);
    add_number(w, "rate", handler->rate);
    json_key_str(w, "ordering", handler->ordering == HANDLER_ORDER_NONE ? "none" : "object");
    json_key_bool(w, "http2", handler->http2 != 0);
    json_key_str(w, "tls", handler->tls == HANDLER_TLS_INSECURE ? "insecure" : "verify");
    json_key_str(w, "ca_file", handler->ca_file);
    json_key_str(w, "cert_file", handler->cert_file);
    json_key_str(w, "key_file", handler->key_file);
}

void handler_json(const handler_t *handler, json_writer_t *w)
{
    AUTO_BUF url = {0};
    handler_url(handler, &url);
    json_open_object(w);
    json_key_int(w, "id", handler->id);
    json_key_str(w, "name", handler->name);
    json_key_str(w, "type", handler_type_str(handler->type));
    json_key_str(w, "status", handler_status_str(handler->status));
    json_key_str(w, "status_reason", handler->status_reason);
    add_words(w, "events", handler->events);
    json_key_str(w, "task", handler->task);
    json_key_slice(w, "url", buf_slice(&url));
    json_key_int(w, "priority", handler->priority);
    json_key_str(w, "description", handler->description);
    add_sending(handler, w);
    add_time(w, "created_at", handler->created_ms);
    add_time(w, "updated_at", handler->updated_ms);
    json_key_int(w, "version", handler->version);
    json_close_object(w);
}

void handler_url(const handler_t *handler, buf_t *ret_url)
{
    const char *task = handler->task ? handler->task : "";
    buf_clear(ret_url);
    if (handler->type != HANDLER_SCRIPT && strncasecmp(task, "http://", 7) != 0 &&
        strncasecmp(task, "https://", 8) != 0)
        buf_printf(ret_url, "%s://", handler_type_str(handler->type));
    buf_add_str(ret_url, task);
}

bool handler_pattern_covers(slice_t pattern, slice_t events_id)
{
    if (slice_is(pattern, "*"))
        return true;
    if (pattern.size < 2 || memcmp(pattern.data + pattern.size - 2, ".*", 2) != 0)
        return slice_equal(pattern, events_id);
    size_t prefix = pattern.size - 1; /* with the dot */
    return events_id.size > prefix && memcmp(pattern.data, events_id.data, prefix) == 0;
}
