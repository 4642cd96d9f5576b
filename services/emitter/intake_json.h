/* intake_json: a request in JSON, read once by yajl's callbacks: structure, depth, duplicate keys,
 * UTF-8 and where each value stands; what the members may hold is intake_event's. Shared by the
 * parts of intake only. */
#ifndef PROVISOR_INTAKE_JSON_H
#define PROVISOR_INTAKE_JSON_H

#include "services/emitter/intake_event.h"

typedef struct intake_json_t intake_json_t;

intake_json_t *intake_json_new(const catalogue_t *catalogue, const intake_limits_t *limits);
void intake_json_destroy(intake_json_t **json);

/* Starts a request whose results go to the arena. */
void intake_json_begin(intake_json_t *json, int64_t now_wall_ms, arena_t *arena);
/* Reads one text and adds its events: one, or when it is an array and may be one, as many as it
 * has. A text that is not JSON adds none and gives the reason. */
intake_error_t intake_json_read(intake_json_t *json, slice_t text, bool may_be_array,
                                bool *ret_is_array) MUST_CHECK;
/* Adds an event that is refused before it became JSON. path and message are copied. */
void intake_json_add_refused(intake_json_t *json, intake_code_t code, slice_t message,
                             slice_t path);
/* Replaces the text of the last event by what the core sent. */
void intake_json_set_text(intake_json_t *json, slice_t text);
/* What was added since intake_json_begin, in the arena. */
const intake_event_t *intake_json_events(intake_json_t *json, size_t *ret_n);

#endif
