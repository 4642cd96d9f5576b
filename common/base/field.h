/* field: a struct described once by a table, for everything that reads or writes it by name or
 * number: the wire codec, records as JSON, the reference in the documentation, property tests.
 *
 *     static const field_t receipt_fields [] = {
 *         FIELD (1, receipt_t, SLICE, event_id, FIELD_REQUIRED, "the event's id"),
 *         FIELD (2, receipt_t, INT, unmatched, 0, "1: no handler matched"),
 *     };
 *
 * Numbers are append-only: a number is never used for another meaning. */
#ifndef PROVISOR_FIELD_H
#define PROVISOR_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

typedef enum {
    FIELD_INT,   /* int64_t */
    FIELD_SLICE, /* slice_t: text or bytes; an absent one is {NULL, 0} and is not written */
} field_type_t;

enum { FIELD_REQUIRED = 1 };

typedef struct {
    unsigned number; /* 1.. on the wire */
    const char *name;
    field_type_t type;
    size_t offset;
    unsigned flags;
    const char *help;
} field_t;

#define FIELD(number, type, kind, member, flags, help)                                             \
    {                                                                                              \
        number, #member, FIELD_##kind, offsetof(type, member), flags, help                         \
    }

/* A whole struct. */
typedef struct {
    const char *name;
    const field_t *fields;
    size_t n_fields;
    size_t size_bytes; /* of the struct */
} field_table_t;

static inline int64_t *field_int(const field_t *field, const void *object)
{
    return (int64_t *)((char *)object + field->offset);
}

static inline slice_t *field_slice(const field_t *field, const void *object)
{
    return (slice_t *)((char *)object + field->offset);
}

#endif
