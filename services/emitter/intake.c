#include "services/emitter/intake.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "services/emitter/intake_json.h"
#include "services/emitter/intake_msgpack.h"

#include <stdlib.h>

struct intake_t {
    intake_limits_t limits;
    intake_json_t *json;
    msgpack_zone *zone;
    buf_t text; /* JSON made of msgpack */
};

enum { ZONE_CHUNK_BYTES = 8192, KEEP_TEXT_BYTES = 65536 };

const char *intake_code_str(intake_code_t code)
{
    static const char *const names[] = {
        [INTAKE_OK] = "ok",
        [INTAKE_BAD_JSON] = "bad_json",
        [INTAKE_BAD_MSGPACK] = "bad_msgpack",
        [INTAKE_BAD_UTF8] = "bad_utf8",
        [INTAKE_TOO_DEEP] = "too_deep",
        [INTAKE_TOO_LARGE] = "too_large",
        [INTAKE_TOO_MANY] = "too_many",
        [INTAKE_DUPLICATE_KEY] = "duplicate_key",
        [INTAKE_UNKNOWN_MEMBER] = "unknown_member",
        [INTAKE_MISSING_MEMBER] = "missing_member",
        [INTAKE_WRONG_TYPE] = "wrong_type",
        [INTAKE_BAD_DT] = "bad_dt",
        [INTAKE_UNKNOWN_EVENT] = "unknown_event",
        [INTAKE_BAD_ID] = "bad_id",
        [INTAKE_ID_CONFLICT] = "id_conflict",
    };
    return names[code];
}

intake_t *intake_new(const catalogue_t *catalogue, const intake_limits_t *limits)
{
    intake_t *intake = MEM_NEW(intake_t);
    intake->limits = *limits;
    intake->json = intake_json_new(catalogue, limits);
    intake->zone = msgpack_zone_new(ZONE_CHUNK_BYTES);
    ENSURE(intake->zone);
    return intake;
}

void intake_destroy(intake_t **intake)
{
    if (!*intake)
        return;
    intake_json_destroy(&(*intake)->json);
    msgpack_zone_free((*intake)->zone);
    buf_release(&(*intake)->text);
    free(*intake);
    *intake = NULL;
}

static intake_error_t whole(intake_code_t code, arena_t *arena, const char *message)
{
    return (intake_error_t){code, arena_copy(arena, slice_of(message)), SLICE("")};
}

static intake_error_t too_large(arena_t *arena, const char *what, size_t size, int64_t max)
{
    fault_t fault;
    (void)fault_set(&fault, RESULT_TOO_LARGE, "the %s has %zu bytes, at most %lld are taken", what,
                    size, (long long)max);
    return whole(INTAKE_TOO_LARGE, arena, fault.text);
}

static intake_error_t decode_json(intake_t *intake, slice_t bytes, arena_t *arena,
                                  bool *ret_is_array)
{
    size_t at = 0;
    while (at < bytes.size && strchr(" \t\r\n", bytes.data[at]) && bytes.data[at])
        at++;
    if (at == bytes.size)
        return whole(INTAKE_BAD_JSON, arena, "not JSON: there is nothing in it");
    if (bytes.size >= 3 && memcmp(bytes.data, "\xef\xbb\xbf", 3) == 0)
        return whole(INTAKE_BAD_JSON, arena,
                     "not JSON: begins with a byte order mark; send UTF-8 without one");
    /* refused without reading it: a flood of them must cost little */
    if (bytes.data[at] == '{' && (int64_t)bytes.size > intake->limits.event_max_bytes)
        return too_large(arena, "event", bytes.size, intake->limits.event_max_bytes);
    return intake_json_read(intake->json, bytes, true, ret_is_array);
}

/* Adds the event, or gives the reason why it is none. path and fault hold the reason's texts. */
static intake_error_t read_msgpack(intake_t *intake, slice_t element, arena_t *arena, buf_t *path,
                                   fault_t *fault)
{
    bool is_array;
    if ((int64_t)element.size > intake->limits.event_max_bytes)
        return too_large(arena, "event", element.size, intake->limits.event_max_bytes);
    if (!intake_msgpack_is_map(element))
        return whole(INTAKE_WRONG_TYPE, arena, "an event must be a map");
    buf_clear(&intake->text);
    intake_code_t code = intake_msgpack_to_json(element, intake->zone, &intake->text, path, fault);
    if (code != INTAKE_OK)
        return (intake_error_t){code, slice_of(fault->text), buf_slice(path)};
    return intake_json_read(intake->json, buf_slice(&intake->text), false, &is_array);
}

/* One event of a request in msgpack. */
static void add_msgpack(intake_t *intake, slice_t element, arena_t *arena)
{
    AUTO_BUF path = {0};
    fault_t fault;
    intake_error_t error = read_msgpack(intake, element, arena, &path, &fault);
    if (error.code != INTAKE_OK)
        intake_json_add_refused(intake->json, error.code, error.message, error.path);
    intake_json_set_text(intake->json, element);
}

static intake_error_t decode_msgpack_array(intake_t *intake, slice_t bytes, arena_t *arena)
{
    intake_msgpack_array_t array;
    slice_t element;
    result_t r = intake_msgpack_open(bytes, &array);
    if (r == RESULT_OK && array.left > intake->limits.array_max) {
        fault_t fault;
        (void)fault_set(&fault, RESULT_TOO_LARGE, "at most %lld events are taken in one array",
                        (long long)intake->limits.array_max);
        return whole(INTAKE_TOO_MANY, arena, fault.text);
    }
    while (r == RESULT_OK && (r = intake_msgpack_next(&array, &element)) == RESULT_OK)
        add_msgpack(intake, element, arena);
    if (r == RESULT_TOO_LARGE)
        return whole(INTAKE_TOO_DEEP, arena, "nested deeper than 32 levels");
    if (r == RESULT_INVALID)
        return whole(INTAKE_BAD_MSGPACK, arena, "not msgpack: truncated or malformed");
    return (intake_error_t){0};
}

static intake_error_t decode(intake_t *intake, slice_t bytes, arena_t *arena,
                             intake_request_t *request)
{
    bool is_map = intake_msgpack_is_map(bytes);
    request->is_array = intake_msgpack_is_array(bytes);
    request->encoding = is_map || request->is_array ? INTAKE_MSGPACK : INTAKE_JSON;
    if ((int64_t)bytes.size > intake->limits.request_max_bytes)
        return too_large(arena, "request", bytes.size, intake->limits.request_max_bytes);
    if (request->encoding == INTAKE_JSON)
        return decode_json(intake, bytes, arena, &request->is_array);
    if (request->is_array)
        return decode_msgpack_array(intake, bytes, arena);
    add_msgpack(intake, bytes, arena);
    return (intake_error_t){0};
}

void intake_decode(intake_t *intake, slice_t bytes, int64_t now_wall_ms, arena_t *arena,
                   intake_request_t *ret_request)
{
    intake_request_t request = {0};
    if (!bytes.data)
        bytes = SLICE("");
    intake_json_begin(intake->json, now_wall_ms, arena);
    request.error = decode(intake, bytes, arena, &request);
    if (request.error.code == INTAKE_OK)
        request.events = intake_json_events(intake->json, &request.n_events);
    if (intake->text.capacity > KEEP_TEXT_BYTES)
        buf_release(&intake->text);
    *ret_request = request;
}
