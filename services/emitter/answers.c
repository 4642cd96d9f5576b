#include "common/base/cleanup.h"
#include "common/wire/codec.h"
#include "services/emitter/emitter_self.h"

enum { REASONS_MAX = 100 }; /* in the answer to one array */

static zsock_t *socket_of(const emitter_t *self, source_t source)
{
    for (size_t i = 0; i < sizeof self->inputs / sizeof *self->inputs; i++)
        if (self->inputs[i].source == source)
            return self->inputs[i].socket;
    return NULL;
}

/* A small array can be refused in a thousand places: what is said of the later ones is short, for
 * libzmq holds the answers of a core that does not read. */
static answer_t shorten(const answer_t *answer, size_t *n_rejected)
{
    answer_t shown = *answer;
    if (shown.status == ANSWER_REJECTED && ++*n_rejected > REASONS_MAX)
        shown.error.message = shown.error.path = SLICE("");
    return shown;
}

static void make_core_answer(const commit_t *commit, const request_t *request, buf_t *text)
{
    const entry_t *entries = commit->entries + request->first;
    size_t n_rejected = 0;
    if (request->is_array)
        answer_open_array(request->encoding, request->n, text);
    for (size_t i = 0; i < request->n; i++) {
        answer_t answer = shorten(&entries[i].answer, &n_rejected);
        answer_add(request->encoding, i, &answer, text);
    }
    if (request->is_array)
        answer_close_array(request->encoding, text);
}

static void make_replay_answer(const commit_t *commit, const request_t *request, buf_t *frame)
{
    for (size_t i = 0; i < request->n; i++) {
        const entry_t *entry = &commit->entries[request->first + i];
        const answer_t *answer = &entry->answer;
        bool has_id = answer->status == ANSWER_ACCEPTED || answer->status == ANSWER_DUPLICATE;
        replayed_t replayed = {.key = entry->key.data ? entry->key : SLICE(""),
                               .status = slice_of(answer_status_str(answer->status)),
                               .event_id = has_id ? slice_of(answer->id.text) : (slice_t){0},
                               .message = answer->status == ANSWER_REJECTED ? answer->error.message
                                                                            : (slice_t){0}};
        codec_add(&replayed_table, &replayed, frame);
    }
}

/* A ROUTER drops what is for a peer that has gone or never reads. */
static void send_frame(void *socket, slice_t frame, bool more)
{
    (void)zmq_send(socket, frame.data, frame.size, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
}

static void send_envelope(void *socket, const request_t *request)
{
    const char *at = request->envelope.data;
    for (size_t i = 0; i < request->n_frames; i++) {
        uint32_t size;
        memcpy(&size, at, sizeof size);
        send_frame(socket, (slice_t){at + sizeof size, size}, true);
        at += sizeof size + size;
    }
}

static void send_answer(emitter_t *self, const commit_t *commit, const request_t *request,
                        buf_t *text)
{
    void *socket = zsock_resolve(socket_of(self, request->source));
    buf_clear(text);
    if (request->source == SOURCE_REPLAY)
        make_replay_answer(commit, request, text);
    else
        make_core_answer(commit, request, text);
    send_envelope(socket, request);
    send_frame(socket, buf_slice(text), false);
}

void answers_send_one(emitter_t *self, const commit_t *commit, const request_t *request)
{
    AUTO_BUF text = {0};
    send_answer(self, commit, request, &text);
}

void answers_send(emitter_t *self, const commit_t *commit)
{
    AUTO_BUF text = {0};
    for (size_t i = 0; i < commit->n_requests; i++)
        send_answer(self, commit, &commit->requests[i], &text);
}
