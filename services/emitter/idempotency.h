/* idempotency: which idempotency keys may have been seen before, and where on disk they stand.
 * Memory holds 8 bytes per key, not the key: every place that is found is looked up there before
 * it counts, so a place that has gone, or was never committed, does no harm. Pure.
 *
 * Keys stand in tables, one per slice of time (slices.h), which are dropped as a whole. */
#ifndef PROVISOR_IDEMPOTENCY_H
#define PROVISOR_IDEMPOTENCY_H

#include "common/base/buf.h"

enum { IDEMPOTENCY_TABLES = 8 };

typedef struct {
    int table;   /* 0 .. IDEMPOTENCY_TABLES - 1 */
    int64_t row; /* from 1 */
} idempotency_place_t;

typedef struct idempotency_t idempotency_t;

idempotency_t *idempotency_new(void);
void idempotency_destroy(idempotency_t **index);
/* No effect when it is there already. */
void idempotency_add(idempotency_t *index, slice_t key, idempotency_place_t place);
void idempotency_drop(idempotency_t *index, int table);
size_t idempotency_size(const idempotency_t *index);

/* Where a key may stand:
 *     idempotency_probe_t probe = idempotency_probe (index, key);
 *     while (idempotency_next (index, &probe, &place)) look there;
 * The index must not change in between. */
typedef struct {
    uint32_t print;
    size_t at;
} idempotency_probe_t;
idempotency_probe_t idempotency_probe(const idempotency_t *index, slice_t key);
bool idempotency_next(const idempotency_t *index, idempotency_probe_t *probe,
                      idempotency_place_t *ret_place);

#endif
