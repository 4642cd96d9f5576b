#include "common/base/clk.h"
#include "common/base/utf8.h"
#include "common/wire/codec.h"
#include "services/emitter/digest.h"
#include "services/emitter/emitter_self.h"

#include <yajl/yajl_parse.h>

enum { REPLAY_KEY_MAX = 128, REPLAY_NAME_MAX = 128, BODY_HEAD_BYTES = 256 };

/* ---- Events of cores -------------------------------------------------------------------- */

static void add_refusal(emitter_t *self, source_t source, const intake_error_t *error)
{
    entry_t *entry = commit_add_entry(self->next);
    entry->source = source;
    entry->answer = (answer_t){.status = ANSWER_REJECTED, .error = *error};
    self->counts.rejected++;
}

static void add_event(emitter_t *self, source_t source, const intake_event_t *event,
                      int64_t now_wall_ms)
{
    entry_t *entry = commit_add_entry(self->next);
    entry->source = source;
    entry->is_event = true;
    entry->key = event->key;
    entry->digest = event->digest;
    entry->events_id = slice_of(event->kind->id);
    entry->object_kind = slice_of(event->kind->kind);
    entry->object_id = event->object_id;
    entry->body = event->body;
    entry->accepted_ms = now_wall_ms;
    self->next->n_events++;
}

/* Nobody waits for an answer: the audit is told at once. */
static void refuse_push(emitter_t *self, const intake_error_t *error, slice_t body)
{
    self->counts.rejected++;
    recording_rejected(self, SOURCE_PUSH, error, body);
}

void requests_take_push(emitter_t *self, slice_t bytes)
{
    intake_request_t request;
    int64_t now_wall_ms = clk_wall_ms();
    intake_decode(self->intake, bytes, now_wall_ms, &self->next->arena, &request);
    intake_error_t array = {INTAKE_WRONG_TYPE,
                            SLICE("an array is taken on the intake socket only; here each part of "
                                  "a message is one event"),
                            SLICE("")};
    if (request.error.code != INTAKE_OK)
        refuse_push(self, &request.error, bytes);
    else if (request.is_array)
        refuse_push(self, &array, bytes);
    else if (request.events[0].error.code != INTAKE_OK)
        refuse_push(self, &request.events[0].error, bytes);
    else
        add_event(self, SOURCE_PUSH, &request.events[0], now_wall_ms);
}

static void take_events(emitter_t *self, request_t *request, slice_t bytes)
{
    intake_request_t decoded;
    int64_t now_wall_ms = clk_wall_ms();
    intake_decode(self->intake, bytes, now_wall_ms, &self->next->arena, &decoded);
    request->encoding = decoded.encoding;
    request->is_array = decoded.is_array && decoded.error.code == INTAKE_OK;
    request->n = request->is_array ? decoded.n_events : 1;
    if (decoded.error.code != INTAKE_OK) {
        add_refusal(self, SOURCE_INTAKE, &decoded.error);
        recording_rejected(self, SOURCE_INTAKE, &decoded.error, (slice_t){0});
    }
    for (size_t i = 0; i < decoded.n_events; i++) {
        const intake_event_t *event = &decoded.events[i];
        if (event->error.code == INTAKE_OK) {
            add_event(self, SOURCE_INTAKE, event, now_wall_ms);
            continue;
        }
        add_refusal(self, SOURCE_INTAKE, &event->error);
        recording_rejected(self, SOURCE_INTAKE, &event->error, (slice_t){0});
    }
}

/* ---- Replays ---------------------------------------------------------------------------- */

static bool is_printable(slice_t text, size_t max)
{
    if (text.size < 1 || text.size > max)
        return false;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] <= 0x20 || text.data[i] > 0x7e)
            return false;
    return true;
}

/* History holds what this service made; the command line's test sends its own. */
static bool is_json(slice_t text)
{
    yajl_handle parser = yajl_alloc(NULL, NULL, NULL);
    bool is = yajl_parse(parser, (const unsigned char *)text.data, text.size) == yajl_status_ok &&
              yajl_complete_parse(parser) == yajl_status_ok && utf8_valid(text);
    yajl_free(parser);
    return is;
}

/* What is wrong with it, NULL when nothing is. */
static const char *check_replay(const emitter_t *self, const replay_t *replay)
{
    if (!is_printable(replay->key, REPLAY_KEY_MAX))
        return "key is not 1-128 printable characters";
    if (!is_printable(replay->events_id, REPLAY_NAME_MAX) ||
        !is_printable(replay->object_kind, REPLAY_NAME_MAX))
        return "events_id or object_kind is not 1-128 printable characters";
    if (!is_printable(replay->webhook_id, INTAKE_KEY_MAX))
        return "webhook_id is not 1-64 printable characters";
    if (replay->handler_id <= 0 || replay->replay < 0)
        return "handler_id or replay is out of range";
    if ((int64_t)replay->body.size > self->event_max_bytes + BODY_HEAD_BYTES)
        return "body is too large";
    if (!is_json(replay->body) || (replay->object_id.data && !is_json(replay->object_id)))
        return "body or object_id is not JSON";
    return NULL;
}

static void refuse_replay(emitter_t *self, slice_t key, const char *why)
{
    intake_error_t error = {INTAKE_WRONG_TYPE, slice_of(why), SLICE("")};
    add_refusal(self, SOURCE_REPLAY, &error);
    self->next->entries[self->next->n_entries - 1].key = arena_copy(&self->next->arena, key);
}

static intake_digest_t replay_digest(const replay_t *replay)
{
    intake_digest_t digest = {
        {1, 2}
    };
    const uint64_t numbers[] = {htole64((uint64_t)replay->handler_id),
                                htole64((uint64_t)replay->replay)};
    slice_t fields[] = {
        {(const char *)numbers, sizeof numbers},
        replay->events_id,
        replay->webhook_id,
        replay->object_id,
        replay->body
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        for (size_t w = 0; w < 2; w++)
            digest.words[w] = digest_add(digest.words[w], fields[i]);
    return digest;
}

static void add_replay(emitter_t *self, const replay_t *replay)
{
    arena_t *arena = &self->next->arena;
    entry_t *entry = commit_add_entry(self->next);
    entry->source = SOURCE_REPLAY;
    entry->is_event = true;
    entry->key = arena_copy(arena, replay->key);
    entry->digest = replay_digest(replay);
    entry->events_id = arena_copy(arena, replay->events_id);
    entry->object_kind = arena_copy(arena, replay->object_kind);
    entry->object_id = arena_copy(arena, replay->object_id);
    entry->body = arena_copy(arena, replay->body);
    entry->webhook_id = arena_copy(arena, replay->webhook_id);
    entry->replay_handler = replay->handler_id;
    entry->replay = replay->replay;
    entry->accepted_ms = clk_wall_ms();
    self->next->n_events++;
}

static void add_busy_replay(emitter_t *self, const replay_t *replay)
{
    entry_t *entry = commit_add_entry(self->next);
    entry->source = SOURCE_REPLAY;
    entry->answer.status = ANSWER_BUSY;
    entry->key = arena_copy(&self->next->arena, replay->key);
    self->counts.busy++;
}

static void take_replays(emitter_t *self, request_t *request, slice_t bytes, bool admitted)
{
    codec_reader_t reader;
    replay_t replay;
    result_t r;
    codec_reader_init(&reader, bytes);
    while ((r = codec_next(&reader, &replay_table, &replay)) == RESULT_OK &&
           (int64_t)(self->next->n_entries - request->first) < self->array_max) {
        const char *why = check_replay(self, &replay);
        if (why)
            refuse_replay(self, replay.key, why);
        else if (!admitted)
            add_busy_replay(self, &replay);
        else
            add_replay(self, &replay);
    }
    if (r != RESULT_NOT_FOUND)
        refuse_replay(self, SLICE(""), "the frame is malformed or has too many replays");
    request->n = self->next->n_entries - request->first;
}

/* ---- Requests --------------------------------------------------------------------------- */

static uint64_t peer_of(const input_t *input)
{
    uint32_t size = 0;
    if (input->envelope.size >= sizeof size)
        memcpy(&size, input->envelope.data, sizeof size);
    return digest_add((uint64_t)input->source,
                      (slice_t){buf_slice(&input->envelope).data, sizeof size + size});
}

static request_t *add_request(emitter_t *self, const input_t *input, uint64_t peer)
{
    request_t *request = commit_add_request(self->next);
    request->source = input->source;
    request->peer = peer;
    request->envelope = arena_copy(&self->next->arena, buf_slice(&input->envelope));
    request->n_frames = input->n_frames;
    self->counts.requests++;
    return request;
}

/* One answer, also to an array: nothing of it was taken. */
static void add_busy(emitter_t *self, request_t *request, slice_t bytes)
{
    unsigned char first = bytes.size ? (unsigned char)bytes.data[0] : 0;
    bool is_msgpack = (first >= 0x80 && first <= 0x9f) || (first >= 0xdc && first <= 0xdf);
    request->encoding = is_msgpack ? INTAKE_MSGPACK : INTAKE_JSON;
    request->n = 1;
    entry_t *entry = commit_add_entry(self->next);
    entry->source = request->source;
    entry->answer = (answer_t){.status = ANSWER_BUSY, .retry_after_ms = GATE_RETRY_AFTER_MS};
    self->counts.busy++;
}

static bool waits_in(const commit_t *commit, uint64_t peer)
{
    for (size_t i = 0; commit && i < commit->n_requests; i++)
        if (commit->requests[i].peer == peer)
            return true;
    return false;
}

/* While the disk is full a commit may take for ever; who waits for nothing hears busy at once. The
 * others hear it in their turn. */
static void answer_early(emitter_t *self)
{
    commit_t *next = self->next;
    request_t request = next->requests[--next->n_requests];
    if (waits_in(self->current, request.peer) || waits_in(next, request.peer)) {
        next->n_requests++;
        return;
    }
    answers_send_one(self, next, &request);
    next->n_entries = request.first;
}

static void refuse_envelope(emitter_t *self, request_t *request)
{
    intake_error_t error = {INTAKE_TOO_LARGE,
                            SLICE("too many frames before the last one, which is the request"),
                            SLICE("")};
    request->n = 1;
    if (request->source == SOURCE_REPLAY)
        refuse_replay(self, SLICE(""), error.message.data);
    else
        add_refusal(self, request->source, &error);
}

void requests_take(emitter_t *self, input_t *input, slice_t bytes)
{
    uint64_t peer = peer_of(input);
    request_t *request = add_request(self, input, peer);
    bool admitted = !input->overflow && gate_admits(&self->gate, peer, clk_mono_ms());
    if (input->overflow)
        refuse_envelope(self, request);
    else if (input->source == SOURCE_REPLAY)
        take_replays(self, request, bytes, admitted);
    else if (admitted)
        take_events(self, request, bytes);
    else
        add_busy(self, request, bytes);
    if (!admitted && self->disk_full)
        answer_early(self);
}
