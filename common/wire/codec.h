/* codec: structs described by a field table to msgpack and back.
 *
 * A struct is a msgpack map from field number to value; INTs that are 0 and absent slices are left
 * out unless required. A frame holds one struct or several, one after the other:
 *
 *     codec_add (&receipted_table, &item, &frame);          as often as needed
 *
 *     codec_reader_t reader;
 *     codec_reader_init (&reader, frame);
 *     while ((r = codec_next (&reader, &receipted_table, &item)) == RESULT_OK) ...
 *     r == RESULT_NOT_FOUND at the end, RESULT_INVALID when the frame is malformed
 */
#ifndef PROVISOR_CODEC_H
#define PROVISOR_CODEC_H

#include "common/base/field.h"

/* Appends one struct. */
void codec_add(const field_table_t *table, const void *object, buf_t *frame);

typedef struct {
    slice_t frame; /* must outlive the slices that were decoded from it */
    size_t at;
} codec_reader_t;

void codec_reader_init(codec_reader_t *reader, slice_t frame);
/* RESULT_OK, RESULT_NOT_FOUND at the end, RESULT_INVALID: malformed, a missing required field or a
 * wrong type. Unknown fields are skipped. ret_object is zeroed first and untouched on failure. */
result_t codec_next(codec_reader_t *reader, const field_table_t *table,
                    void *ret_object) MUST_CHECK;
/* A frame that must hold exactly one. */
result_t codec_decode(slice_t frame, const field_table_t *table, void *ret_object) MUST_CHECK;

/* Walks one msgpack value at *at without allocating: RESULT_OK and *at behind it, RESULT_INVALID
 * when truncated or malformed, RESULT_TOO_LARGE when nested deeper than depth. After this,
 * msgpack-c may unpack it: no count in it promises more than there are bytes. */
result_t codec_skip(slice_t data, int depth, size_t *at) MUST_CHECK;

#endif
