#include "services/deliverer/lane_table.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/result.h"

#include <stdlib.h>

enum { CAPACITY_MIN = 64 };

void lane_table_release(lane_table_t *table)
{
    free(table->slots);
    *table = (lane_table_t){0};
}

static size_t home_of_key(const lane_table_t *table, uint32_t handler, uint64_t object, int64_t seq)
{
    uint64_t mixed =
        object + handler * 0x9e3779b97f4a7c15ull + (uint64_t)seq * 0xd6e8feb86659fd93ull;
    return hash_end(mixed) & (table->capacity - 1);
}

static size_t home_of(const lane_table_t *table, const lane_t *lane)
{
    return home_of_key(table, lane->handler, lane->object, lane->is_aside ? lane->seq : 0);
}

static bool is_key(const lane_t *lane, uint32_t handler, uint64_t object, int64_t seq)
{
    return lane->object == object && lane->handler == handler && lane->is_aside == (seq != 0) &&
           (!lane->is_aside || lane->seq == seq);
}

uint32_t lane_table_find(const lane_table_t *table, const slab_t *lanes, uint32_t handler,
                         uint64_t object, int64_t seq)
{
    if (!table->capacity)
        return 0;
    size_t at = home_of_key(table, handler, object, seq);
    for (; table->slots[at]; at = (at + 1) & (table->capacity - 1))
        if (is_key(lane_at(lanes, table->slots[at]), handler, object, seq))
            return table->slots[at];
    return 0;
}

static void insert(lane_table_t *table, const slab_t *lanes, uint32_t index)
{
    size_t at = home_of(table, lane_at(lanes, index));
    while (table->slots[at])
        at = (at + 1) & (table->capacity - 1);
    table->slots[at] = index;
}

static void resize(lane_table_t *table, const slab_t *lanes, size_t capacity)
{
    uint32_t *old = table->slots;
    size_t old_capacity = table->capacity;
    table->slots = mem_alloc(capacity * sizeof(*table->slots));
    table->capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i])
            insert(table, lanes, old[i]);
    free(old);
}

void lane_table_add(lane_table_t *table, const slab_t *lanes, uint32_t index)
{
    if ((table->count + 1) * 4 > table->capacity * 3)
        resize(table, lanes, table->capacity ? table->capacity * 2 : CAPACITY_MIN);
    table->count++;
    insert(table, lanes, index);
}

/* Closes the gap at a slot: whatever follows and could stand there moves up. */
static void close_gap(lane_table_t *table, const slab_t *lanes, size_t gap)
{
    size_t mask = table->capacity - 1;
    for (size_t at = (gap + 1) & mask; table->slots[at]; at = (at + 1) & mask) {
        size_t home = home_of(table, lane_at(lanes, table->slots[at]));
        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        table->slots[gap] = table->slots[at];
        gap = at;
    }
    table->slots[gap] = 0;
}

void lane_table_remove(lane_table_t *table, const slab_t *lanes, uint32_t index)
{
    size_t at = home_of(table, lane_at(lanes, index));
    for (; table->slots[at] != index; at = (at + 1) & (table->capacity - 1))
        ENSURE(table->slots[at]);
    close_gap(table, lanes, at);
    table->count--;
    if (table->capacity > CAPACITY_MIN && table->count * 8 < table->capacity)
        resize(table, lanes, table->capacity / 2);
}
