#include "services/emitter/intake_json.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "common/base/utf8.h"
#include "services/emitter/intake_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_parse.h>

/* Where in an event an open object or array stands. */
typedef enum { PLACE_OUTER, PLACE_EVENT, PLACE_DATA } place_t;

typedef struct {
    place_t place;
    bool is_array;
    size_t index;           /* array: of the value that is being read */
    slice_t key;            /* object: of the value that is being read, without escapes */
    const member_t *member; /* not in data: what the key is */
    size_t first_key;       /* object: its keys are keys [first_key ...] */
} frame_t;

struct intake_json_t {
    const catalogue_t *catalogue;
    intake_limits_t limits;
    int64_t now_wall_ms;
    arena_t *arena; /* of the request */

    /* the text that is being read */
    yajl_handle parser;
    slice_t text;
    bool is_ascii;
    bool may_be_array, is_array;
    size_t token_end;     /* where the last token ended */
    intake_error_t error; /* of the text as a whole */

    /* the event that is being read; frames hold while it has not failed */
    draft_t draft;
    bool failed;
    size_t event_start, data_start;
    int depth; /* open objects and arrays of it; 0: between events */
    frame_t frames[INTAKE_DEPTH_MAX];
    slice_t *keys; /* of its open objects, the innermost last */
    size_t n_keys, keys_capacity;
    arena_t unescaped; /* keys that were written with escapes */

    intake_event_t *events; /* of the request */
    size_t n_events, events_capacity, text_first_event;
};

/* Beyond this, what one request needed is not kept for the next. */
enum { KEEP_KEYS = 4096 };

/* A character cut in half at the limit does not leave here. */
static slice_t keep_text(arena_t *arena, slice_t text)
{
    if (utf8_valid(text))
        return arena_copy(arena, text);
    AUTO_BUF repaired = {0};
    utf8_repair(&repaired, text);
    return arena_copy(arena, buf_slice(&repaired));
}

static intake_error_t make_error(arena_t *arena, intake_code_t code, slice_t message, slice_t path)
{
    return (intake_error_t){code, keep_text(arena, message), keep_text(arena, path)};
}

static void fail_at(intake_json_t *json, intake_code_t code, const char *message, slice_t below)
{
    AUTO_BUF path = {0};
    for (int i = 0; i < json->depth && i < INTAKE_DEPTH_MAX; i++) {
        const frame_t *frame = &json->frames[i];
        char index[24];
        snprintf(index, sizeof index, "%zu", frame->index);
        if (frame->is_array)
            intake_path_add(&path, slice_of(index));
        else if (frame->key.data)
            intake_path_add(&path, frame->key);
    }
    if (below.data)
        intake_path_add(&path, below);
    json->failed = true;
    json->draft.event.error = make_error(json->arena, code, slice_of(message), buf_slice(&path));
}

static void fail(intake_json_t *json, intake_code_t code, const char *message)
{
    fail_at(json, code, message, (slice_t){0});
}

static void begin_event(intake_json_t *json, size_t start)
{
    json->draft = (draft_t){0};
    json->failed = false;
    json->event_start = start;
    json->n_keys = 0;
}

static void add_event(intake_json_t *json, const intake_event_t *event)
{
    if (json->n_events == json->events_capacity) {
        json->events_capacity = json->events_capacity ? json->events_capacity * 2 : 16;
        json->events = mem_realloc(json->events, json->events_capacity * sizeof *json->events);
    }
    json->events[json->n_events++] = *event;
}

static void check_complete(intake_json_t *json, size_t size)
{
    const member_t *missing = intake_missing(&json->draft);
    fault_t fault;
    if ((int64_t)size > json->limits.event_max_bytes) {
        (void)fault_set(&fault, RESULT_TOO_LARGE, "the event has %zu bytes, at most %lld are taken",
                        size, (long long)json->limits.event_max_bytes);
        fail(json, INTAKE_TOO_LARGE, fault.text);
    } else if (missing) {
        (void)fault_set(&fault, RESULT_INVALID, "\"%s\" is missing", missing->name);
        json->frames[0] = (frame_t){.key = SLICE("event")};
        json->depth = missing->in_event;
        fail_at(json, INTAKE_MISSING_MEMBER, fault.text, slice_of(missing->name));
        json->depth = 0;
    }
}

/* Returns 0, which ends the parser, when there are too many. */
static int end_event(intake_json_t *json)
{
    draft_t *draft = &json->draft;
    draft->event.text =
        (slice_t){json->text.data + json->event_start, json->token_end - json->event_start};
    if (!json->failed)
        check_complete(json, draft->event.text.size);
    if (!json->failed)
        intake_finish(draft, json->now_wall_ms, json->arena);
    arena_clear(&json->unescaped);
    add_event(json, &draft->event);
    if ((int64_t)(json->n_events - json->text_first_event) <= json->limits.array_max)
        return 1;
    fault_t fault;
    (void)fault_set(&fault, RESULT_TOO_LARGE, "at most %lld events are taken in one array",
                    (long long)json->limits.array_max);
    json->error = make_error(json->arena, INTAKE_TOO_MANY, slice_of(fault.text), SLICE(""));
    return 0;
}

static frame_t *top(intake_json_t *json)
{
    return &json->frames[json->depth - 1];
}

/* A value inside an event begins. */
static void check_value_type(intake_json_t *json, value_type_t type)
{
    frame_t *frame = top(json);
    fault_t fault;
    if (frame->place == PLACE_DATA)
        return;
    json->draft.seen |= 1u << frame->member->id;
    intake_code_t code = intake_check_type(frame->member, type, &fault);
    if (code != INTAKE_OK)
        fail(json, code, fault.text);
}

static void refuse_outer(intake_json_t *json)
{
    fail(json, INTAKE_WRONG_TYPE, "an event must be an object");
}

static int outer_scalar(intake_json_t *json, slice_t raw)
{
    begin_event(json, json->is_array ? (size_t)(raw.data - json->text.data) : 0);
    if (!json->is_array)
        json->token_end = json->text.size; /* a number at the end ends in yajl_complete_parse */
    refuse_outer(json);
    return end_event(json);
}

static int scalar(intake_json_t *json, value_type_t type, slice_t text, slice_t raw)
{
    if (json->depth == 0)
        return outer_scalar(json, raw);
    if (json->failed)
        return 1;
    check_value_type(json, type);
    frame_t *frame = top(json);
    fault_t fault;
    if (!json->failed && frame->place != PLACE_DATA) {
        intake_code_t code = intake_take_value(&json->draft, frame->member, type, text, raw,
                                               json->catalogue, &fault);
        if (code != INTAKE_OK)
            fail(json, code, fault.text);
    }
    frame->index++;
    return 1;
}

/* Notes where the parser is; every callback does. Returns where the token ends. */
static size_t pass_token(intake_json_t *json)
{
    json->token_end = yajl_get_bytes_consumed(json->parser);
    return json->token_end;
}

static slice_t raw_before(intake_json_t *json, size_t size)
{
    size_t end = pass_token(json);
    return end < size ? (slice_t){json->text.data, 0}
                      : (slice_t){json->text.data + end - size, size};
}

static int on_null(void *self)
{
    return scalar(self, VALUE_NULL, SLICE("null"), raw_before(self, 4));
}

static int on_boolean(void *self, int value)
{
    return scalar(self, VALUE_BOOL, SLICE("bool"), raw_before(self, value ? 4 : 5));
}

static int on_number(void *self, const char *number, size_t size)
{
    (void)number; /* the same bytes as in the text */
    slice_t raw = raw_before(self, size);
    return scalar(self, VALUE_NUMBER, raw, raw);
}

/* The string token that has just been read, with its quotes; text is what yajl made of it. */
static slice_t raw_string(intake_json_t *json, slice_t text, bool *ret_has_escapes)
{
    size_t previous_end = json->token_end, end = pass_token(json);
    *ret_has_escapes = text.data + text.size + 1 != json->text.data + end;
    if (!*ret_has_escapes)
        return (slice_t){text.data - 1, text.size + 2};
    const char *start = memchr(json->text.data + previous_end, '"', end - previous_end);
    return (slice_t){start, (size_t)(json->text.data + end - start)};
}

static bool check_string(intake_json_t *json, slice_t text, slice_t raw, bool has_escapes)
{
    if (has_escapes && intake_has_lone_surrogate(raw)) {
        fail(json, INTAKE_BAD_UTF8, "half of a surrogate pair is not a character");
        return false;
    }
    if (!json->is_ascii && !utf8_valid(text)) {
        fail(json, INTAKE_BAD_UTF8, "a string is not UTF-8");
        return false;
    }
    return true;
}

static int on_string(void *self, const unsigned char *value, size_t size)
{
    intake_json_t *json = self;
    bool has_escapes;
    slice_t text = {(const char *)value, size}, raw = raw_string(json, text, &has_escapes);
    if (json->depth > 0 && !json->failed)
        (void)check_string(json, text, raw, has_escapes);
    if (json->depth > 0 && has_escapes)
        text = arena_copy(&json->unescaped, text); /* yajl uses its buffer again */
    return scalar(json, VALUE_STRING, text, raw);
}

static void push_key(intake_json_t *json, slice_t key)
{
    if (json->n_keys == json->keys_capacity) {
        json->keys_capacity = json->keys_capacity ? json->keys_capacity * 2 : 64;
        json->keys = mem_realloc(json->keys, json->keys_capacity * sizeof *json->keys);
    }
    json->keys[json->n_keys++] = key;
}

static int on_key(void *self, const unsigned char *value, size_t size)
{
    intake_json_t *json = self;
    bool has_escapes;
    slice_t key = {(const char *)value, size}, raw = raw_string(json, key, &has_escapes);
    if (json->failed)
        return 1;
    frame_t *frame = top(json);
    frame->key = (slice_t){0};
    if (!check_string(json, key, raw, has_escapes))
        return 1;
    frame->key = has_escapes ? arena_copy(&json->unescaped, key) : key;
    push_key(json, frame->key);
    if (frame->place == PLACE_DATA)
        return 1;
    frame->member = intake_member(frame->place == PLACE_EVENT, key);
    if (!frame->member)
        fail(json, INTAKE_UNKNOWN_MEMBER,
             frame->place == PLACE_EVENT ? "\"event\" has only \"dt\", \"events_id\", \"object_id\""
                                         : "there are only \"id\", \"event\" and \"data\"");
    return 1;
}

static place_t place_below(const intake_json_t *json)
{
    if (json->depth == 0)
        return PLACE_OUTER;
    const frame_t *parent = &json->frames[json->depth - 1];
    bool is_event = parent->place == PLACE_OUTER && parent->member->id == MEMBER_EVENT;
    return is_event ? PLACE_EVENT : PLACE_DATA;
}

/* Told before whatever else is wrong: msgpack is checked in this order too. */
static void refuse_depth(intake_json_t *json)
{
    if (json->failed && json->draft.event.error.code == INTAKE_TOO_DEEP)
        return;
    if (json->failed)
        json->depth = 0; /* there are no frames to make a path of */
    fail(json, INTAKE_TOO_DEEP, "nested deeper than 32 levels");
    json->depth = INTAKE_DEPTH_MAX;
}

static int open(intake_json_t *json, value_type_t type)
{
    size_t start = pass_token(json) - 1;
    if (json->depth == 0) {
        if (type == VALUE_ARRAY && json->may_be_array && !json->is_array) {
            json->is_array = true;
            return 1;
        }
        begin_event(json, start);
        if (type != VALUE_OBJECT)
            refuse_outer(json);
    } else if (!json->failed) {
        check_value_type(json, type);
    }
    if (json->depth == INTAKE_DEPTH_MAX)
        refuse_depth(json);
    if (!json->failed) {
        if (json->depth == 1)
            json->data_start = start;
        place_t place = place_below(json);
        json->frames[json->depth] =
            (frame_t){place, .is_array = type == VALUE_ARRAY, .first_key = json->n_keys};
    }
    json->depth++;
    return 1;
}

static int on_object(void *self)
{
    return open(self, VALUE_OBJECT);
}

static int on_array(void *self)
{
    return open(self, VALUE_ARRAY);
}

static void close_frame(intake_json_t *json)
{
    frame_t *frame = top(json);
    size_t n_keys = frame->is_array ? 0 : json->n_keys - frame->first_key;
    const slice_t *duplicate =
        n_keys > 1 ? intake_duplicate_key(json->keys + frame->first_key, n_keys) : NULL;
    if (duplicate) {
        frame->key = *duplicate;
        fail(json, INTAKE_DUPLICATE_KEY, "this member stands twice");
        return;
    }
    if (!frame->is_array)
        json->n_keys = frame->first_key;
    if (json->depth < 2)
        return;
    frame_t *parent = frame - 1;
    if (parent->place == PLACE_OUTER && parent->member->id == MEMBER_DATA)
        json->draft.data =
            (slice_t){json->text.data + json->data_start, json->token_end - json->data_start};
    parent->index++;
}

static int on_close(void *self)
{
    intake_json_t *json = self;
    pass_token(json);
    if (json->depth == 0)
        return 1; /* the array of events */
    if (!json->failed)
        close_frame(json);
    return --json->depth == 0 ? end_event(json) : 1;
}

intake_json_t *intake_json_new(const catalogue_t *catalogue, const intake_limits_t *limits)
{
    intake_json_t *json = MEM_NEW(intake_json_t);
    json->catalogue = catalogue;
    json->limits = *limits;
    return json;
}

void intake_json_destroy(intake_json_t **json)
{
    if (!*json)
        return;
    arena_release(&(*json)->unescaped);
    free((*json)->keys);
    free((*json)->events);
    free(*json);
    *json = NULL;
}

void intake_json_begin(intake_json_t *json, int64_t now_wall_ms, arena_t *arena)
{
    json->now_wall_ms = now_wall_ms;
    json->arena = arena;
    json->n_events = 0;
}

static intake_error_t not_json(intake_json_t *json, size_t at)
{
    unsigned char *why = yajl_get_error(json->parser, 0, NULL, 0);
    char *line = (char *)why;
    line[strcspn(line, "\n")] = 0;
    fault_t fault;
    (void)fault_set(&fault, RESULT_INVALID, "not JSON: %s near byte %zu", line, at);
    yajl_free_error(json->parser, why);
    return make_error(json->arena, INTAKE_BAD_JSON, slice_of(fault.text), SLICE(""));
}

static void trim(intake_json_t *json)
{
    if (json->keys_capacity <= KEEP_KEYS)
        return;
    free(json->keys);
    json->keys = NULL;
    json->keys_capacity = 0;
}

intake_error_t intake_json_read(intake_json_t *json, slice_t text, bool may_be_array,
                                bool *ret_is_array)
{
    static const yajl_callbacks callbacks = {on_null,   on_boolean, NULL,      NULL,
                                             on_number, on_string,  on_object, on_key,
                                             on_close,  on_array,   on_close};
    json->text = text;
    json->is_ascii = intake_is_ascii(text);
    json->may_be_array = may_be_array;
    json->is_array = false;
    json->token_end = 0;
    json->depth = 0;
    json->error = (intake_error_t){0};
    json->text_first_event = json->n_events;
    json->parser = yajl_alloc(&callbacks, NULL, json);
    yajl_config(json->parser, yajl_dont_validate_strings, 1); /* check_string does, strictly */
    yajl_status status = yajl_parse(json->parser, (const unsigned char *)text.data, text.size);
    size_t at = yajl_get_bytes_consumed(json->parser);
    if (status == yajl_status_ok)
        status = yajl_complete_parse(json->parser);
    if (status != yajl_status_ok && json->error.code == INTAKE_OK)
        json->error = not_json(json, at);
    yajl_free(json->parser);
    json->parser = NULL;
    arena_clear(&json->unescaped);
    trim(json);
    if (json->error.code != INTAKE_OK)
        json->n_events = json->text_first_event;
    *ret_is_array = json->is_array;
    return json->error;
}

void intake_json_add_refused(intake_json_t *json, intake_code_t code, slice_t message, slice_t path)
{
    intake_event_t event = {.error = make_error(json->arena, code, message, path)};
    add_event(json, &event);
}

void intake_json_set_text(intake_json_t *json, slice_t text)
{
    ENSURE(json->n_events > 0);
    json->events[json->n_events - 1].text = text;
}

const intake_event_t *intake_json_events(intake_json_t *json, size_t *ret_n)
{
    size_t bytes = json->n_events * sizeof *json->events;
    intake_event_t *events = arena_alloc(json->arena, bytes);
    if (bytes)
        memcpy(events, json->events, bytes);
    *ret_n = json->n_events;
    return events;
}
