#include "common/wire/object.h"
#include "common/base/hash.h"

bool object_is_ordered(slice_t object_id)
{
    return object_id.data && !slice_is(object_id, "null");
}

slice_t object_unquoted(slice_t object_id)
{
    if (object_id.size >= 2 && object_id.data[0] == '"')
        return (slice_t){object_id.data + 1, object_id.size - 2};
    return object_id;
}

uint64_t object_hash(slice_t kind, slice_t object_id, slice_t event_id)
{
    if (!object_is_ordered(object_id))
        return hash_bytes(event_id.data, event_id.size);
    slice_t key = object_unquoted(object_id);
    uint64_t state = hash_add(hash_begin(), kind.data, kind.size);
    state = hash_add(state, "\0", 1);
    return hash_end(hash_add(state, key.data, key.size));
}

int object_partition(uint64_t hash)
{
    return (int)(hash % PARTITIONS);
}
