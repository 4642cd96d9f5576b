#include "services/auditor/record_json.h"
#include "common/base/clk.h"

#include <stdio.h>

static void add_text(json_writer_t *w, const char *key, slice_t text)
{
    if (text.data)
        json_key_slice(w, key, text);
}

static void add_int(json_writer_t *w, const char *key, int64_t value)
{
    if (value)
        json_key_int(w, key, value);
}

static void add_raw(json_writer_t *w, const char *key, slice_t json)
{
    if (!json.size)
        return;
    json_key(w, key);
    json_raw(w, json);
}

static void add_time(json_writer_t *w, const char *key, int64_t wall_ms)
{
    char text[CLK_ISO_SIZE];
    clk_iso_millis(wall_ms, text);
    json_key_str(w, key, text);
}

/* At most max bytes, and no half character at the end. */
static slice_t cut(slice_t text, size_t max)
{
    if (text.size <= max)
        return text;
    size_t size = max;
    while (size > 0 && ((unsigned char)text.data[size] & 0xc0) == 0x80)
        size--;
    return (slice_t){text.data, size};
}

static void add_delivery_id(json_writer_t *w, const record_t *record)
{
    AUTO_BUF id = {0};
    buf_add_slice(&id, record->event_id);
    buf_printf(&id, "-%lld", (long long)record->handler_id);
    json_key_slice(w, "delivery_id", buf_slice(&id));
}

static void add_duration(json_writer_t *w, int64_t duration_us)
{
    char text[32];
    snprintf(text, sizeof text, "%lld.%03lld", (long long)(duration_us / 1000),
             (long long)(duration_us % 1000));
    add_raw(w, "duration_ms", slice_of(text));
}

static void add_attempt(json_writer_t *w, const record_t *record, bool details)
{
    json_key_str(w, "status", entry_status_str(entry_status(record->topic)));
    json_key_slice(w, "outcome", entry_outcome(record->topic));
    add_int(w, "attempt", record->attempt);
    add_int(w, "http_status", record->http_status);
    add_text(w, "error", record->error);
    add_text(w, "response", cut(record->response, details ? SIZE_MAX : RECORD_JSON_RESPONSE_MAX));
    if (record->attempt && record->duration_us >= 0)
        add_duration(w, record->duration_us);
    if (record->next_ms)
        add_time(w, "next_at", record->next_ms);
}

/* What was refused is shown as text: it need not be JSON. */
static void add_body(json_writer_t *w, const record_t *record, bool details)
{
    if (slice_is(record->topic, "event.rejected"))
        add_text(w, "body", record->body);
    else if (details)
        add_raw(w, "body", record->body);
}

static void add_event(json_writer_t *w, const record_t *record)
{
    add_text(w, "event_id", record->event_id);
    add_text(w, "webhook_id", record->webhook_id);
    add_text(w, "events_id", record->events_id);
    add_text(w, "object_kind", record->object_kind);
    add_raw(w, "object_id", record->object_id);
    if (entry_outcome(record->topic).data)
        add_delivery_id(w, record);
    add_int(w, "handler_id", record->handler_id ? record->handler_id : record->replay_handler);
    add_text(w, "handler", record->handler);
}

static void add_rest(json_writer_t *w, const record_t *record)
{
    add_text(w, "reason", record->reason);
    add_int(w, "replay", record->replay);
    add_text(w, "code", record->code);
    add_text(w, "path", record->path);
    add_text(w, "message", record->message);
    add_text(w, "source", record->source);
    add_text(w, "idempotency_key", record->idempotency_key);
    add_int(w, "count", record->count);
    add_text(w, "url", record->url);
    add_raw(w, "stats", record->stats);
}

void record_json(const entry_t *entry, bool details, json_writer_t *w)
{
    const record_t *record = &entry->record;
    json_open_object(w);
    if (entry->audit_id) {
        json_key_int(w, "audit_id", entry->audit_id);
        json_key_int(w, "prev_id", entry->prev_id);
    }
    json_key_slice(w, "topic", record->topic);
    add_time(w, "at", record->at_ms);
    add_text(w, "node", entry->node);
    add_text(w, "service", entry->service);
    add_event(w, record);
    if (entry_outcome(record->topic).data)
        add_attempt(w, record, details);
    add_rest(w, record);
    if (details) {
        add_text(w, "request", record->request);
        add_text(w, "response_headers", record->response_headers);
    }
    add_body(w, record, details);
    json_close_object(w);
}
