#include "common/base/clk.h"
#include "common/base/utf8.h"
#include "common/wire/codec.h"
#include "services/emitter/digest.h"
#include "services/emitter/emitter_self.h"

#include <yajl/yajl_parse.h>

enum {
    KEY_MAX = 128,
    NAME_MAX_BYTES = 128,
    BODY_HEAD_BYTES = 256,
    OBJECT_ID_MAX = 6 * INTAKE_OBJECT_ID_MAX + 2, /* each byte escaped, and quotes */
};

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

/* JSON as the intake stores it: no white space, and only that has control characters. */
static bool is_object_id(slice_t text)
{
    return text.size <= OBJECT_ID_MAX && !slice_has_control(text) && is_json(text);
}

/* What is wrong with it, NULL when nothing is. */
static const char *check_replay(const emitter_t *self, const replay_t *replay)
{
    if (!is_printable(replay->key, KEY_MAX))
        return "key is not 1-128 printable characters";
    if (!is_printable(replay->events_id, NAME_MAX_BYTES) ||
        !is_printable(replay->object_kind, NAME_MAX_BYTES))
        return "events_id or object_kind is not 1-128 printable characters";
    if (!is_printable(replay->webhook_id, INTAKE_KEY_MAX))
        return "webhook_id is not 1-64 printable characters";
    if (replay->handler_id <= 0 || replay->replay < 0)
        return "handler_id or replay is out of range";
    if ((int64_t)replay->body.size > self->event_max_bytes + BODY_HEAD_BYTES)
        return "body is too large";
    if (!is_json(replay->body))
        return "body is not JSON";
    if (replay->object_id.data && !is_object_id(replay->object_id))
        return "object_id is not JSON in one line, or too long";
    return NULL;
}

static void refuse_replay(emitter_t *self, slice_t key, const char *why)
{
    intake_error_t error = {INTAKE_WRONG_TYPE, slice_of(why), SLICE("")};
    requests_add_refusal(self, SOURCE_REPLAY, &error);
    self->next->entries[self->next->n_entries - 1].key = arena_copy(&self->next->arena, key);
}

static intake_digest_t replay_digest(const replay_t *replay)
{
    intake_digest_t digest = {{1, 2}};
    const uint64_t numbers[] = {htole64((uint64_t)replay->handler_id),
                                htole64((uint64_t)replay->replay)};
    slice_t fields[] = {{(const char *)numbers, sizeof numbers},
                        replay->events_id,
                        replay->webhook_id,
                        replay->object_id,
                        replay->body};
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

void replays_take(emitter_t *self, request_t *request, slice_t bytes, bool admitted)
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
