#include "services/deliverer/busy.h"
#include "common/base/cleanup.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

typedef struct {
    int64_t seq;
    int64_t handler_id; /* 0: the slot is free */
    void *value;
} slot_t;

/* Open addressing, linear probing, at most half full; a removal moves what follows back. */
struct busy_t {
    slot_t *slots;
    size_t capacity; /* a power of two */
    size_t size;
};

enum { CAPACITY_MIN = 64 };

busy_t *busy_new(void)
{
    busy_t *busy = MEM_NEW(busy_t);
    busy->capacity = CAPACITY_MIN;
    busy->slots = mem_alloc(busy->capacity * sizeof *busy->slots);
    return busy;
}

void busy_destroy(busy_t **busy)
{
    if (!*busy)
        return;
    free((*busy)->slots);
    free(TAKE(*busy));
}

static size_t home(const busy_t *busy, int64_t seq, int64_t handler_id)
{
    return hash_end(hash_end((uint64_t)seq) ^ (uint64_t)handler_id) & (busy->capacity - 1);
}

/* Its slot, or the free one where it would go. */
static slot_t *slot_of(const busy_t *busy, int64_t seq, int64_t handler_id)
{
    size_t i = home(busy, seq, handler_id);
    while (busy->slots[i].handler_id &&
           (busy->slots[i].seq != seq || busy->slots[i].handler_id != handler_id))
        i = (i + 1) & (busy->capacity - 1);
    return &busy->slots[i];
}

static void resize(busy_t *busy, size_t capacity)
{
    busy_t bigger = {mem_alloc(capacity * sizeof *busy->slots), capacity, busy->size};
    for (size_t i = 0; i < busy->capacity; i++)
        if (busy->slots[i].handler_id)
            *slot_of(&bigger, busy->slots[i].seq, busy->slots[i].handler_id) = busy->slots[i];
    free(busy->slots);
    *busy = bigger;
}

void busy_set(busy_t *busy, int64_t seq, int64_t handler_id, void *value)
{
    slot_t *slot = slot_of(busy, seq, handler_id);
    if (!slot->handler_id) {
        if (++busy->size * 2 > busy->capacity) {
            resize(busy, busy->capacity * 2);
            slot = slot_of(busy, seq, handler_id);
        }
    }
    *slot = (slot_t){seq, handler_id, value};
}

bool busy_find(const busy_t *busy, int64_t seq, int64_t handler_id, void **ret_value)
{
    const slot_t *slot = slot_of(busy, seq, handler_id);
    if (!slot->handler_id)
        return false;
    if (ret_value)
        *ret_value = slot->value;
    return true;
}

/* May what stands in slot i move to the free slot before it? Only if that is not before its home.
 */
static bool may_move(const busy_t *busy, size_t i, size_t to)
{
    size_t mask = busy->capacity - 1;
    size_t at = home(busy, busy->slots[i].seq, busy->slots[i].handler_id);
    return ((i - at) & mask) >= ((i - to) & mask);
}

void busy_remove(busy_t *busy, int64_t seq, int64_t handler_id)
{
    slot_t *slot = slot_of(busy, seq, handler_id);
    size_t to = (size_t)(slot - busy->slots);
    if (!slot->handler_id)
        return;
    for (size_t i = (to + 1) & (busy->capacity - 1); busy->slots[i].handler_id;
         i = (i + 1) & (busy->capacity - 1))
        if (may_move(busy, i, to)) {
            busy->slots[to] = busy->slots[i];
            to = i;
        }
    busy->slots[to] = (slot_t){.handler_id = 0};
    busy->size--;
    if (busy->capacity > CAPACITY_MIN && busy->size * 8 < busy->capacity)
        resize(busy, busy->capacity / 2);
}

size_t busy_size(const busy_t *busy)
{
    return busy->size;
}
