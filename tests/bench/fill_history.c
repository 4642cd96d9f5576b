/* fill_history: makes a history as the auditor would have from deliveries of the last hours, for
 * the benchmark: by the auditor's own modules, from messages as stages send them, with its default
 * sizes. Each event is two records: event.accepted with a body of 400 bytes, delivery.delivered.
 *
 * Usage: fill_history DIR RECORDS OBJECTS HANDLER_ID; DIR exists, nobody else has it open. It ends
 * when everything is committed and each sealed segment has its indexes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/ulid.h"
#include "common/wire/codec.h"
#include "services/auditor/history.h"
#include "services/auditor/intake.h"

enum {
    BATCH = 1000,
    SEGMENT_ATTEMPTS = 200000,
    ROOM_BYTES = 16 << 20,
    HOURS = 12,
    BODY_BYTES = 400
};

typedef struct {
    history_t *history;
    marks_t *marks;
    ulid_gen_t ids;
    int64_t n_records, objects, handler_id;
    int64_t sent; /* records */
    int64_t begin_ms;
    int64_t ticked_ms;
    ulid_t event_id; /* of the last event */
    char object_id[24];
    char body[BODY_BYTES + 1];
    bool failed;
} fill_t;

static void make_accepted(fill_t *fill, int64_t at_ms, record_t *ret_record)
{
    fill->event_id = ulid_next(&fill->ids, at_ms);
    snprintf(fill->object_id, sizeof fill->object_id, "%" PRId64,
             fill->sent / 2 % fill->objects + 1);
    int size =
        snprintf(fill->body, sizeof fill->body,
                 "{\"event\":{\"dt\":\"2026-01-01T00:00:00+00:00\",\"events_id\":"
                 "\"clients.update\",\"object_id\":%s},\"data\":{\"n\":%" PRId64 ",\"pad\":\"",
                 fill->object_id, fill->sent);
    memset(fill->body + size, 'x', BODY_BYTES - (size_t)size);
    memcpy(fill->body + BODY_BYTES - 3, "\"}}", 3);
    *ret_record = (record_t){.topic = SLICE("event.accepted"),
                             .accepted_ms = at_ms,
                             .source = SLICE("intake"),
                             .body = {fill->body, BODY_BYTES}};
}

static void make_delivered(const fill_t *fill, record_t *ret_record)
{
    *ret_record = (record_t){
        .topic = SLICE("delivery.delivered"),
        .handler_id = fill->handler_id,
        .handler = SLICE("handler"),
        .url = SLICE("http://127.0.0.1:8080/api"),
        .attempt = 1,
        .http_status = 200,
        .duration_us = 400,
        .request = SLICE("POST /api HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: "
                         "application/json\r\nUser-Agent: provisor/0.1.0\r\nwebhook-id: "
                         "01JGFJJZ000000000000000000\r\nwebhook-timestamp: 1767225600\r\n"
                         "webhook-signature: ***\r\nContent-Length: 400\r\n"),
        .response_headers = SLICE("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"),
    };
}

static void add_record(fill_t *fill, buf_t *to)
{
    record_t record;
    int64_t at_ms = fill->begin_ms + HOURS * 3600000ll * fill->sent / fill->n_records;
    if (fill->sent % 2 == 0)
        make_accepted(fill, at_ms, &record);
    else
        make_delivered(fill, &record);
    fill->sent++;
    record.at_ms = at_ms;
    record.origin = fill->sent;
    record.event_id = record.webhook_id = slice_of(fill->event_id.text);
    record.events_id = SLICE("clients.update");
    record.object_kind = SLICE("client");
    record.object_id = slice_of(fill->object_id);
    codec_add(&record_table, &record, to);
}

static zmsg_t *next_message(fill_t *fill)
{
    AUTO_BUF head = {0}, body = {0};
    audit_t audit = {.version = AUDIT_VERSION,
                     .node = SLICE("filler"),
                     .service = SLICE("emitter"),
                     .boot = 1,
                     .first = fill->sent + 1,
                     .oldest = fill->sent + 1};
    for (; audit.count < BATCH && fill->sent < fill->n_records; audit.count++)
        add_record(fill, &body);
    codec_add(&audit_table, &audit, &head);
    zmsg_t *msg = zmsg_new();
    zmsg_addstr(msg, "filler");
    zmsg_addmem(msg, head.data, head.size);
    zmsg_addmem(msg, body.data, body.size);
    return msg;
}

static bool is_indexed(fill_t *fill)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = shelf_copy(history_shelf(fill->history), &segments);
    for (size_t i = 0; i < n; i++)
        if (!segments[i].live && !segments[i].indexed)
            return false;
    return true;
}

static void send_some(fill_t *fill)
{
    fault_t fault = {""};
    while (fill->sent < fill->n_records && history_room(fill->history)) {
        zmsg_t *msg = next_message(fill);
        if (intake_message(fill->marks, history_next(fill->history), &msg, clk_wall_ms(),
                           clk_mono_ms(), &fault) != RESULT_OK) {
            fprintf(stderr, "fill_history: %s\n", fault.text);
            fill->failed = true;
            return;
        }
    }
}

static int on_turn(zloop_t *loop, int timer, void *self)
{
    (void)loop;
    (void)timer;
    fill_t *fill = self;
    send_some(fill);
    history_kick(fill->history);
    if (clk_mono_ms() - fill->ticked_ms >= 100) {
        fill->ticked_ms = clk_mono_ms();
        history_tick(fill->history);
    }
    bool done = fill->sent == fill->n_records && history_idle(fill->history) && is_indexed(fill);
    return done || fill->failed ? -1 : 0;
}

static void on_committed(void *self, const commit_t *commit)
{
    (void)self;
    (void)commit;
}

static void on_full(void *self, const char *why)
{
    if (why)
        fprintf(stderr, "fill_history: %s\n", why);
    ((fill_t *)self)->failed = why != NULL;
}

static void on_failed(void *self, const char *text)
{
    on_full(self, text);
}

static result_t fill_run(fill_t *fill, const char *dir, zloop_t *loop, fault_t *fault)
{
    static const history_calls_t calls = {on_committed, on_full, on_failed};
    static const log_t log = {.service = "fill_history", .level = LEVEL_WARN};
    history_settings_t settings = {
        .dir = dir,
        .segment_attempts = SEGMENT_ATTEMPTS,
        .segment_records = 4 * SEGMENT_ATTEMPTS,
        .segment_age_ms = 86400000,
        .retention = {.age_ms = 30 * 86400000ll, .bytes = INT64_MAX},
        .room_bytes = ROOM_BYTES,
    };
    result_t r =
        history_open(loop, &settings, &log, fill->marks, &calls, fill, &fill->history, fault);
    if (r != RESULT_OK)
        return r;
    zloop_timer(loop, 1, 0, on_turn, fill);
    zloop_start(loop);
    history_close(&fill->history);
    return RESULT_OK;
}

int main(int argc, char **argv)
{
    fault_t fault = {""};
    if (argc != 5) {
        fprintf(stderr, "fill_history DIR RECORDS OBJECTS HANDLER_ID\n");
        return 1;
    }
    zsys_init();
    zloop_t *loop = zloop_new();
    fill_t fill = {.n_records = strtoll(argv[2], NULL, 10),
                   .objects = strtoll(argv[3], NULL, 10),
                   .handler_id = strtoll(argv[4], NULL, 10),
                   .begin_ms = clk_wall_ms() - HOURS * 3600000ll - 60000,
                   .marks = marks_new()};
    ulid_gen_init(&fill.ids, &(ulid_t){""});
    if (fill_run(&fill, argv[1], loop, &fault) != RESULT_OK) {
        fprintf(stderr, "fill_history: %s\n", fault.text);
        fill.failed = true;
    }
    marks_destroy(&fill.marks);
    zloop_destroy(&loop);
    return fill.failed ? 1 : 0;
}
