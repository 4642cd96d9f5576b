/* ulid: event ids. 26 characters of Crockford's base 32: 48 bits of milliseconds, 80 of chance
 * (the ULID specification), time-ordered as text. A generator only ever rises, whatever the clock
 * does and over restarts, when it is started from the last id that was stored. */
#ifndef PROVISOR_ULID_H
#define PROVISOR_ULID_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

enum { ULID_SIZE = 26 };

/* Terminated text; compares with strcmp (). "" = none, below every id. */
typedef struct {
    char text[ULID_SIZE + 1];
} ulid_t;

typedef struct {
    ulid_t last; /* the greatest id given out so far */
} ulid_gen_t;

/* Continues above last ("" at the very first start). */
void ulid_gen_init(ulid_gen_t *gen, const ulid_t *last);
/* The next id: above every one before it, with wall_ms as its time unless that would fall. */
ulid_t ulid_next(ulid_gen_t *gen, int64_t wall_ms);
/* RESULT_INVALID unless the text is 26 characters of the alphabet, the first at most '7'. */
result_t ulid_parse(slice_t text, ulid_t *ret_id) MUST_CHECK;
int64_t ulid_wall_ms(const ulid_t *id);

#endif
