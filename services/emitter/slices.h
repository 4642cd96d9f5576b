/* slices: which table a new idempotency key goes to, and which tables are to be emptied. The tables
 * are a ring; each holds the keys of one slice of time, so that forgetting is emptying a table. A
 * key is remembered for at least keep_ms, unless keys_max makes it less. Pure. */
#ifndef PROVISOR_SLICES_H
#define PROVISOR_SLICES_H

#include "services/emitter/idempotency.h"

typedef struct {
    int64_t started_ms; /* wall clock of its first key; 0: empty */
    int64_t rows;
} slice_state_t;

typedef struct {
    int64_t keep_ms;
    int64_t keys_max; /* 0: none is remembered */
    int current;      /* index of the slice that new keys go to */
    slice_state_t slices[IDEMPOTENCY_TABLES];
} slices_t;

void slices_init(slices_t *slices, int64_t keep_ms, int64_t keys_max);
/* A slice that has to be emptied before the next key can be placed; -1: none. It counts as empty
 * from then on. Call until -1. */
int slices_expire(slices_t *slices, int64_t now_ms);
/* The place for a new key. Requires that slices_expire () said -1 for the same time, and
 * keys_max > 0. */
idempotency_place_t slices_place(slices_t *slices, int64_t now_ms);
int64_t slices_rows(const slices_t *slices);

#endif
