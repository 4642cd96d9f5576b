/* partitions: the set of partitions that a deliverer owns. Pure. */
#ifndef PROVISOR_PARTITIONS_H
#define PROVISOR_PARTITIONS_H

#include "common/wire/messages.h"

/* Bit p: partition p. */
typedef uint64_t partitions_t;

/* "0-31 40 42-47"; RESULT_INVALID: empty, not numbers, outside 0..63 or backwards. */
result_t partitions_parse(slice_t text, partitions_t *ret_set, fault_t *fault) MUST_CHECK;
/* The shortest text of the above. */
void partitions_format(partitions_t set, buf_t *ret_text);
static inline bool partitions_has(partitions_t set, int64_t partition)
{
    return partition >= 0 && partition < PARTITIONS && (set >> partition & 1);
}

#endif
