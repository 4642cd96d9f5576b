/* object: what orders events. The object key is (kind of the catalogue, object_id as written,
 * without quotes): 12 and "12" are the same client. Events without an object_id are not ordered,
 * and their own id spreads them. */
#ifndef PROVISOR_OBJECT_H
#define PROVISOR_OBJECT_H

#include "common/wire/messages.h"

/* False for an absent object_id and for null. */
bool object_is_ordered(slice_t object_id);
/* "12" for 12 and for "12"; borrowed from object_id. */
slice_t object_unquoted(slice_t object_id);
/* Stable for ever: partitions and lanes are stored with it. */
uint64_t object_hash(slice_t kind, slice_t object_id, slice_t event_id);
/* 0..63 */
int object_partition(uint64_t hash);

#endif
