/* partition: which deliverer owns which partitions (router.deliverers). Pure. */
#ifndef PROVISOR_PARTITION_H
#define PROVISOR_PARTITION_H

#include "common/base/buf.h"

typedef struct partition_t partition_t;

/* "0-31=tcp://a:5561 32-63=tcp://b:5561", or single ones: "7=tcp://c:5561". RESULT_INVALID: an
 * entry is not that, or a partition stands twice or nowhere; the fault says which. */
result_t partition_new(const char *text, partition_t **ret_partition, fault_t *fault) MUST_CHECK;
void partition_destroy(partition_t **partition);
/* How many different deliverers there are. */
size_t partition_deliverers(const partition_t *partition);
const char *partition_endpoint(const partition_t *partition, size_t deliverer);
/* Place of the deliverer that owns the partition (0..63). */
size_t partition_owner(const partition_t *partition, int64_t number);

#endif
