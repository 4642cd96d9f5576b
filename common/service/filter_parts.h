/* filter_parts: what the parts of the module filter share: filter_parse.c makes a filter out of its
 * text, filter_body.c reads what it asks for out of a body, filter.c decides. */
#ifndef PROVISOR_FILTER_PARTS_H
#define PROVISOR_FILTER_PARTS_H

#include "common/service/decimal.h"
#include "common/service/filter.h"

enum {
    FILTER_TEXT_MAX = 16384, /* bytes of a filter's text; bounds everything in it */
    FILTER_TOKENS_MAX = 32,  /* of one path; events are not nested deeper */
};

typedef enum {
    FILTER_MISSING,
    FILTER_CONTAINER, /* object or array: counts for exists only */
    FILTER_STRING,
    FILTER_NUMBER,
    FILTER_TRUE,
    FILTER_FALSE,
    FILTER_NULL,
} filter_type_t;

typedef struct {
    filter_type_t type;
    slice_t text;      /* FILTER_STRING: without quotes and escapes */
    decimal_t decimal; /* FILTER_NUMBER; its digits stand in memory, the filter's or the body's */
    char *memory;      /* of a filter's value: what text or decimal borrow from; a body's: NULL */
} filter_value_t;

/* A JSON pointer's tokens without escapes, each followed by FILTER_TOKEN_END. */
typedef struct {
    char *bytes;
    size_t size;
    uint64_t hash; /* hash_bytes () of it */
} filter_path_t;
/* no byte of UTF-8 */
#define FILTER_TOKEN_END '\xff'

typedef enum {
    FILTER_EQUAL,
    FILTER_NOT_EQUAL,
    FILTER_LESS,
    FILTER_LESS_EQUAL,
    FILTER_GREATER,
    FILTER_GREATER_EQUAL,
    FILTER_IN,
    FILTER_EXISTS,
    FILTER_PREFIX,
} filter_op_t;

typedef struct {
    filter_path_t path;
    filter_op_t op;
    filter_value_t *values; /* one; FILTER_IN: one or more; FILTER_EXISTS: none */
    size_t n_values;
} filter_condition_t;

struct filter_t {
    filter_condition_t *conditions;
    size_t n_conditions;
};

/* The body's next reading collects what is at path. */
void filter_body_add_path(filter_body_t *body, const filter_path_t *path);
/* The value at path of the body that was set. Lives until the next call. */
const filter_value_t *filter_body_get(filter_body_t *body, const filter_path_t *path);

#endif
