#include "services/emitter/idempotency.h"
#include "common/base/mem.h"
#include "services/emitter/digest.h"

#include <stdlib.h>
#include <sys/random.h>

/* 32 bits of fingerprint, 4 of table, 28 of row; 0: free */
typedef uint64_t entry_t;
enum { ROW_BITS = 28, TABLE_BITS = 4, CAPACITY_MIN = 256 };

struct idempotency_t {
    uint64_t seed; /* secret: nobody can choose keys that collide */
    entry_t *entries;
    size_t capacity; /* a power of two; at most three quarters are in use */
    size_t n;
};

static entry_t make_entry(uint32_t print, idempotency_place_t place)
{
    ENSURE(place.table >= 0 && place.table < IDEMPOTENCY_TABLES);
    ENSURE(place.row > 0 && place.row < 1 << ROW_BITS);
    return (entry_t)print << (ROW_BITS + TABLE_BITS) | (entry_t)place.table << ROW_BITS |
           (entry_t)place.row;
}

static uint32_t print_of(entry_t entry)
{
    return (uint32_t)(entry >> (ROW_BITS + TABLE_BITS));
}

static int table_of(entry_t entry)
{
    return (int)(entry >> ROW_BITS & ((1u << TABLE_BITS) - 1));
}

idempotency_t *idempotency_new(void)
{
    idempotency_t *index = MEM_NEW(idempotency_t);
    ENSURE(getrandom(&index->seed, sizeof index->seed, 0) == (ssize_t)sizeof index->seed);
    index->capacity = CAPACITY_MIN;
    index->entries = mem_alloc(index->capacity * sizeof *index->entries);
    return index;
}

void idempotency_destroy(idempotency_t **index)
{
    if (!*index)
        return;
    free((*index)->entries);
    free(*index);
    *index = NULL;
}

static void put(idempotency_t *index, entry_t entry)
{
    size_t at = print_of(entry) & (index->capacity - 1);
    while (index->entries[at]) {
        if (index->entries[at] == entry)
            return;
        at = (at + 1) & (index->capacity - 1);
    }
    index->entries[at] = entry;
    index->n++;
}

/* Builds it anew without one table's entries (-1: with all). */
static void rebuild(idempotency_t *index, size_t n, int without)
{
    idempotency_t old = *index;
    index->capacity = CAPACITY_MIN;
    while (index->capacity / 2 < n)
        index->capacity *= 2;
    index->entries = mem_alloc(index->capacity * sizeof *index->entries);
    index->n = 0;
    for (size_t i = 0; i < old.capacity; i++)
        if (old.entries[i] && table_of(old.entries[i]) != without)
            put(index, old.entries[i]);
    free(old.entries);
}

void idempotency_add(idempotency_t *index, slice_t key, idempotency_place_t place)
{
    if (index->n + 1 > index->capacity / 4 * 3)
        rebuild(index, index->n + 1, -1);
    put(index, make_entry((uint32_t)digest_add(index->seed, key), place));
}

void idempotency_drop(idempotency_t *index, int table)
{
    size_t n = 0;
    for (size_t i = 0; i < index->capacity; i++)
        n += index->entries[i] && table_of(index->entries[i]) != table;
    if (n != index->n)
        rebuild(index, n, table);
}

size_t idempotency_size(const idempotency_t *index)
{
    return index->n;
}

idempotency_probe_t idempotency_probe(const idempotency_t *index, slice_t key)
{
    uint32_t print = (uint32_t)digest_add(index->seed, key);
    return (idempotency_probe_t){print, print & (index->capacity - 1)};
}

bool idempotency_next(const idempotency_t *index, idempotency_probe_t *probe,
                      idempotency_place_t *ret_place)
{
    for (entry_t entry; (entry = index->entries[probe->at]);) {
        probe->at = (probe->at + 1) & (index->capacity - 1);
        if (print_of(entry) != probe->print)
            continue;
        *ret_place = (idempotency_place_t){table_of(entry), entry & ((1u << ROW_BITS) - 1)};
        return true;
    }
    return false;
}
