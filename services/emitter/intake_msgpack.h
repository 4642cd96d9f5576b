/* intake_msgpack: one msgpack value to JSON text. String keys only; bin, ext, NaN and Inf are
 * refused; floats in the shortest form that reads back as the same number. */
#ifndef PROVISOR_INTAKE_MSGPACK_H
#define PROVISOR_INTAKE_MSGPACK_H

#include <msgpack.h>

#include "services/emitter/intake.h"

/* Appends the JSON of the one value that msgpack is. The zone is working memory. Otherwise returns
 * what is wrong, where (ret_path) and why (fault); json then holds a part. */
intake_code_t intake_msgpack_to_json(slice_t msgpack, msgpack_zone *zone, buf_t *json,
                                     buf_t *ret_path, fault_t *fault) MUST_CHECK;

/* The elements of a msgpack array, one after the other. */
typedef struct {
    slice_t msgpack;
    size_t at;
    uint32_t left;
} intake_msgpack_array_t;

bool intake_msgpack_is_map(slice_t msgpack);
bool intake_msgpack_is_array(slice_t msgpack);
/* RESULT_INVALID: the array's head is incomplete. Requires intake_msgpack_is_array (). */
result_t intake_msgpack_open(slice_t msgpack, intake_msgpack_array_t *ret_array) MUST_CHECK;
/* RESULT_NOT_FOUND at the end; RESULT_INVALID: malformed, or something follows the array;
 * RESULT_TOO_LARGE: nested so deeply that its end is not looked for. */
result_t intake_msgpack_next(intake_msgpack_array_t *array, slice_t *ret_element) MUST_CHECK;

#endif
