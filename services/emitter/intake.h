/* intake: the bytes of one request to validated events. Pure: knows no socket, no store, no clock.
 *
 * JSON text or msgpack, told apart by the first byte. A request is one event or an array of events;
 * each event is valid or carries an error, and a bad one does not harm the others of its array.
 * What is wrong with the request as a whole (not JSON, too many events) is the request's error.
 *
 *     {"id"?: "key", "event": {"dt"?, "events_id", "object_id"?}, "data"?: {...}}
 *
 * JSON data, dt and object_id pass byte for byte. msgpack becomes JSON once. */
#ifndef PROVISOR_INTAKE_H
#define PROVISOR_INTAKE_H

#include "common/service/catalogue.h"
#include "services/emitter/arena.h"

/* Append-only: cores know their names. */
typedef enum {
    INTAKE_OK = 0,
    INTAKE_BAD_JSON,
    INTAKE_BAD_MSGPACK,
    INTAKE_BAD_UTF8,
    INTAKE_TOO_DEEP,
    INTAKE_TOO_LARGE,
    INTAKE_TOO_MANY,
    INTAKE_DUPLICATE_KEY,
    INTAKE_UNKNOWN_MEMBER,
    INTAKE_MISSING_MEMBER,
    INTAKE_WRONG_TYPE,
    INTAKE_BAD_DT,
    INTAKE_UNKNOWN_EVENT,
    INTAKE_BAD_ID,
    INTAKE_ID_CONFLICT, /* never from here: known only where idempotency keys are looked up */
} intake_code_t;

/* "bad_json", ... */
const char *intake_code_str(intake_code_t code);

enum { INTAKE_DEPTH_MAX = 32, INTAKE_KEY_MAX = 64, INTAKE_OBJECT_ID_MAX = 256 };

typedef struct {
    intake_code_t code; /* INTAKE_OK: there is no error */
    slice_t message;    /* for people */
    slice_t path;       /* JSON pointer into the event, at most 256 bytes; "" = the whole */
} intake_error_t;

/* Two hashes of what the core wrote, to tell a repeated event from another one of the same key.
 * Stored, so it never changes. */
typedef struct {
    uint64_t words[2];
} intake_digest_t;

typedef struct {
    intake_error_t error; /* when set, only text holds beside it */
    slice_t text;         /* as it stands in the request, borrowed from there */
    slice_t key;          /* idempotency key; absent: none */
    const catalogue_event_t *kind;
    slice_t object_id; /* JSON as written; absent for none and for null */
    slice_t body;      /* exactly what handlers receive */
    intake_digest_t digest;
} intake_event_t;

typedef enum { INTAKE_JSON, INTAKE_MSGPACK } intake_encoding_t;

typedef struct {
    intake_encoding_t encoding; /* answers use it too */
    intake_error_t error;       /* of the request as a whole: there are no events then */
    bool is_array;
    const intake_event_t *events;
    size_t n_events;
} intake_request_t;

typedef struct {
    int64_t event_max_bytes;
    int64_t request_max_bytes;
    int64_t array_max;
} intake_limits_t;

/* Buffers that decoding uses again and again; one per thread. */
typedef struct intake_t intake_t;

/* The catalogue is borrowed. */
intake_t *intake_new(const catalogue_t *catalogue, const intake_limits_t *limits);
void intake_destroy(intake_t **intake);
/* Never fails: what is wrong stands in the request or in its events. A missing dt becomes
 * now_wall_ms. Everything in the request but the events' text lives in the arena. */
void intake_decode(intake_t *intake, slice_t bytes, int64_t now_wall_ms, arena_t *arena,
                   intake_request_t *ret_request);

#endif
