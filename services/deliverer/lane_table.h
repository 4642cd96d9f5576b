/* lane_table: (handler, object) -> index of the lane; (handler, object, seq) -> index of an aside.
 * Open addressing over 4-byte indexes, at most three quarters full; the keys stay in the lanes. */
#ifndef PROVISOR_LANE_TABLE_H
#define PROVISOR_LANE_TABLE_H

#include "services/deliverer/lane.h"

typedef struct {
    uint32_t *slots; /* 0: free */
    size_t capacity; /* a power of two; 0: nothing allocated yet */
    size_t count;
} lane_table_t;

void lane_table_release(lane_table_t *table);
/* seq 0: the main lane. 0: there is none. */
uint32_t lane_table_find(const lane_table_t *table, const slab_t *lanes, uint32_t handler,
                         uint64_t object, int64_t seq);
/* The lane's handler, object, is_aside and (of an aside) seq are its key: they stay while it is in
 * the table, and no other lane there has the same. */
void lane_table_add(lane_table_t *table, const slab_t *lanes, uint32_t index);
void lane_table_remove(lane_table_t *table, const slab_t *lanes, uint32_t index);

#endif
