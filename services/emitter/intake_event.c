#include "services/emitter/intake_event.h"
#include "common/base/clk.h"
#include "services/emitter/digest.h"

enum { SHOWN_SIZE_MAX = 64 }; /* of an unknown id in a message */

static const member_t members[] = {
    {MEMBER_ID, "id", false, false, VALUE_STRING, "a string"},
    {MEMBER_EVENT, "event", false, true, VALUE_OBJECT, "an object"},
    {MEMBER_DATA, "data", false, false, VALUE_OBJECT, "an object"},
    {MEMBER_DT, "dt", true, false, VALUE_STRING, "a string"},
    {MEMBER_EVENTS_ID, "events_id", true, true, VALUE_STRING, "a string"},
    {MEMBER_OBJECT_ID, "object_id", true, false, VALUE_NUMBER | VALUE_STRING | VALUE_NULL,
     "an integer, a string or null"},
};
enum { N_MEMBERS = sizeof members / sizeof *members };

const member_t *intake_member(bool in_event, slice_t name)
{
    for (size_t i = 0; i < N_MEMBERS; i++)
        if (members[i].in_event == in_event && slice_is(name, members[i].name))
            return &members[i];
    return NULL;
}

intake_code_t intake_check_type(const member_t *member, value_type_t type, fault_t *fault)
{
    if (member->types & type)
        return INTAKE_OK;
    (void)fault_set(fault, RESULT_INVALID, "\"%s\" must be %s", member->name, member->must);
    return INTAKE_WRONG_TYPE;
}

static intake_code_t take_id(draft_t *draft, slice_t text, fault_t *fault)
{
    bool good = text.size >= 1 && text.size <= INTAKE_KEY_MAX;
    for (size_t i = 0; i < text.size && good; i++)
        good = text.data[i] >= 0x20 && text.data[i] <= 0x7e;
    if (!good) {
        (void)fault_set(fault, RESULT_INVALID, "\"id\" must be 1-%d printable ASCII characters",
                        INTAKE_KEY_MAX);
        return INTAKE_BAD_ID;
    }
    draft->event.key = text;
    return INTAKE_OK;
}

static intake_code_t take_dt(draft_t *draft, slice_t text, slice_t raw, fault_t *fault)
{
    int64_t wall_ms;
    if (clk_parse_iso(text, &wall_ms) != RESULT_OK) {
        (void)fault_set(fault, RESULT_INVALID,
                        "\"dt\" must be an ISO 8601 date-time with offset, "
                        "like 2026-01-01T00:00:00+00:00");
        return INTAKE_BAD_DT;
    }
    draft->dt = raw;
    return INTAKE_OK;
}

static intake_code_t take_events_id(draft_t *draft, slice_t text, const catalogue_t *catalogue,
                                    fault_t *fault)
{
    draft->event.kind = catalogue_find(catalogue, text);
    if (draft->event.kind)
        return INTAKE_OK;
    const catalogue_event_t *nearest = catalogue_nearest(catalogue, text);
    slice_t shown = {text.data, text.size < SHOWN_SIZE_MAX ? text.size : SHOWN_SIZE_MAX};
    (void)fault_set(fault, RESULT_INVALID, "there is no event \"%.*s\"%s; did you mean \"%s\"?",
                    SLICE_ARG(shown), shown.size < text.size ? "..." : "", nearest->id);
    return INTAKE_UNKNOWN_EVENT;
}

static bool is_integer(slice_t number)
{
    for (size_t i = number.data[0] == '-'; i < number.size; i++)
        if (number.data[i] < '0' || number.data[i] > '9')
            return false;
    return true;
}

static intake_code_t take_object_id(draft_t *draft, const member_t *member, value_type_t type,
                                    slice_t text, slice_t raw, fault_t *fault)
{
    if (type == VALUE_NULL)
        return INTAKE_OK;
    if (type == VALUE_NUMBER && !is_integer(text)) {
        (void)fault_set(fault, RESULT_INVALID, "\"%s\" must be %s", member->name, member->must);
        return INTAKE_WRONG_TYPE;
    }
    if (text.size > INTAKE_OBJECT_ID_MAX) {
        (void)fault_set(fault, RESULT_TOO_LARGE, "\"object_id\" is longer than %d bytes",
                        INTAKE_OBJECT_ID_MAX);
        return INTAKE_TOO_LARGE;
    }
    draft->event.object_id = raw;
    return INTAKE_OK;
}

intake_code_t intake_take_value(draft_t *draft, const member_t *member, value_type_t type,
                                slice_t text, slice_t raw, const catalogue_t *catalogue,
                                fault_t *fault)
{
    switch (member->id) {
    case MEMBER_ID:
        return take_id(draft, text, fault);
    case MEMBER_DT:
        return take_dt(draft, text, raw, fault);
    case MEMBER_EVENTS_ID:
        return take_events_id(draft, text, catalogue, fault);
    case MEMBER_OBJECT_ID:
        return take_object_id(draft, member, type, text, raw, fault);
    case MEMBER_EVENT:
    case MEMBER_DATA:
        break;
    }
    return INTAKE_OK;
}

const member_t *intake_missing(const draft_t *draft)
{
    for (size_t i = 0; i < N_MEMBERS; i++)
        if (members[i].required && !(draft->seen >> members[i].id & 1))
            return &members[i];
    return NULL;
}

static char *put(char *to, slice_t bytes)
{
    memcpy(to, bytes.data, bytes.size);
    return to + bytes.size;
}

static slice_t make_body(const draft_t *draft, slice_t dt, slice_t object_id, slice_t data,
                         arena_t *arena)
{
    slice_t events_id = slice_of(draft->event.kind->id);
    slice_t parts[] = {SLICE("{\"event\":{\"dt\":"),
                       dt,
                       SLICE(",\"events_id\":\""),
                       events_id,
                       SLICE("\",\"object_id\":"),
                       object_id,
                       SLICE("},\"data\":"),
                       data,
                       SLICE("}")};
    size_t size = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        size += parts[i].size;
    char *body = arena_alloc(arena, size), *end = body;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        end = put(end, parts[i]);
    return (slice_t){body, size};
}

static intake_digest_t make_digest(const draft_t *draft, slice_t data)
{
    slice_t events_id = slice_of(draft->event.kind->id);
    slice_t fields[] = {draft->dt, events_id, draft->event.object_id, data};
    intake_digest_t digest = {{1, 2}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        for (size_t w = 0; w < 2; w++)
            digest.words[w] = digest_add(digest.words[w], fields[i]);
    return digest;
}

void intake_finish(draft_t *draft, int64_t now_wall_ms, arena_t *arena)
{
    char stamp[CLK_ISO_SIZE + 2] = "\"";
    slice_t dt = draft->dt;
    if (!dt.data) {
        clk_iso_seconds(now_wall_ms, stamp + 1);
        dt = (slice_t){stamp, strlen(stamp) + 1};
        stamp[dt.size - 1] = '"';
    }
    intake_event_t *event = &draft->event;
    slice_t data = draft->data.data ? draft->data : SLICE("{}");
    slice_t object_id = event->object_id.data ? event->object_id : SLICE("null");
    event->body = make_body(draft, dt, object_id, data, arena);
    if (event->key.data)
        event->digest = make_digest(draft, data);
    event->key = arena_copy(arena, event->key);
    event->object_id = arena_copy(arena, event->object_id);
}
