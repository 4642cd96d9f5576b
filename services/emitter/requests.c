#include "common/base/clk.h"
#include "common/base/hash.h"
#include "services/emitter/digest.h"
#include "services/emitter/emitter_self.h"

/* ---- Events of cores -------------------------------------------------------------------- */

void requests_add_refusal(emitter_t *self, source_t source, const intake_error_t *error)
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

/* Whatever it is: nothing of it is looked at. */
static void refuse_large_push(emitter_t *self, slice_t bytes)
{
    fault_t fault;
    (void)fault_set(&fault, RESULT_TOO_LARGE, "the event has %zu bytes, at most %lld are taken",
                    bytes.size, (long long)self->event_max_bytes);
    intake_error_t error = {INTAKE_TOO_LARGE, slice_of(fault.text), SLICE("")};
    refuse_push(self, &error, bytes);
}

void requests_take_push(emitter_t *self, slice_t bytes)
{
    if ((int64_t)bytes.size > self->event_max_bytes) {
        refuse_large_push(self, bytes);
        return;
    }
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
        requests_add_refusal(self, SOURCE_INTAKE, &decoded.error);
        recording_rejected(self, SOURCE_INTAKE, &decoded.error, (slice_t){0});
    }
    for (size_t i = 0; i < decoded.n_events; i++) {
        const intake_event_t *event = &decoded.events[i];
        if (event->error.code == INTAKE_OK) {
            add_event(self, SOURCE_INTAKE, event, now_wall_ms);
            continue;
        }
        requests_add_refusal(self, SOURCE_INTAKE, &event->error);
        recording_rejected(self, SOURCE_INTAKE, &event->error, (slice_t){0});
    }
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
 * others hear it in their turn. What is answered leaves nothing behind, however often it comes:
 * otherwise the room for requests would be used up, and everybody would hear nothing. */
static void answer_early(emitter_t *self, const arena_mark_t *before)
{
    commit_t *next = self->next;
    request_t request = next->requests[--next->n_requests];
    if (waits_in(self->current, request.peer) || waits_in(next, request.peer)) {
        next->n_requests++;
        return;
    }
    answers_send_one(self, next, &request);
    next->n_entries = request.first;
    arena_rewind(&next->arena, before);
}

static void refuse_envelope(emitter_t *self, request_t *request)
{
    intake_error_t error = {INTAKE_TOO_LARGE,
                            SLICE("too many frames before the last one, which is the request"),
                            SLICE("")};
    request->n = 1;
    requests_add_refusal(self, request->source, &error);
}

static bool may_be_taken(emitter_t *self, uint64_t peer, slice_t bytes)
{
    gate_t *gate = &self->gate;
    bool asks = gate->closed || gate->n_refused > 0;
    uint64_t request = asks ? hash_bytes(bytes.data, bytes.size) : 0;
    return gate_admits(gate, peer, request, clk_mono_ms());
}

void requests_take(emitter_t *self, input_t *input, slice_t bytes)
{
    uint64_t peer = peer_of(input);
    arena_mark_t before = arena_mark(&self->next->arena);
    request_t *request = add_request(self, input, peer);
    bool admitted = !input->overflow && may_be_taken(self, peer, bytes);
    if (input->overflow)
        refuse_envelope(self, request);
    else if (input->source == SOURCE_REPLAY)
        replays_take(self, request, bytes, admitted);
    else if (admitted)
        take_events(self, request, bytes);
    else
        add_busy(self, request, bytes);
    if (!admitted && self->disk_full)
        answer_early(self, &before);
}
