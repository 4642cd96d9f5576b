/* intake_event: the members of an event: which there are, what each may hold, and the body that
 * they make. Shared by the parts of intake only. */
#ifndef PROVISOR_INTAKE_EVENT_H
#define PROVISOR_INTAKE_EVENT_H

#include "services/emitter/intake.h"

typedef enum {
    VALUE_NULL = 1,
    VALUE_BOOL = 2,
    VALUE_NUMBER = 4,
    VALUE_STRING = 8,
    VALUE_OBJECT = 16,
    VALUE_ARRAY = 32,
} value_type_t;

typedef enum {
    MEMBER_ID,
    MEMBER_EVENT,
    MEMBER_DATA,
    MEMBER_DT,
    MEMBER_EVENTS_ID,
    MEMBER_OBJECT_ID,
} member_id_t;

typedef struct {
    member_id_t id;
    const char *name;
    bool in_event; /* a member of "event"; otherwise of the outermost object */
    bool required;
    unsigned types;   /* value_type_t, or-ed */
    const char *must; /* what it must be, for people */
} member_t;

/* An event while it is being read. */
typedef struct {
    intake_event_t event;
    slice_t dt;    /* as written, with quotes; absent: to be stamped */
    slice_t data;  /* as written; absent: {} */
    unsigned seen; /* 1 << member_id_t, or-ed */
} draft_t;

/* NULL: there is no such member. */
const member_t *intake_member(bool in_event, slice_t name);
/* Is a value of this type allowed there? Otherwise the fault is the message. */
intake_code_t intake_check_type(const member_t *member, value_type_t type,
                                fault_t *fault) MUST_CHECK;
/* A value other than an object, of a type that was checked. text is a string's content without
 * escapes, or a number; raw is the value as written. */
intake_code_t intake_take_value(draft_t *draft, const member_t *member, value_type_t type,
                                slice_t text, slice_t raw, const catalogue_t *catalogue,
                                fault_t *fault) MUST_CHECK;
/* The first required member that was not seen, NULL when none is missing. */
const member_t *intake_missing(const draft_t *draft);
/* Makes body and digest of a draft without errors; what the event points to moves to the arena. */
void intake_finish(draft_t *draft, int64_t now_wall_ms, arena_t *arena);

#endif
