/* custody: which events are new. Pure: knows no store and no socket.
 *
 * Per emitter (node) and partition it keeps the highest low_water heard and every id at or above it
 * that was taken. An id below low_water has its receipt, so nobody asks for it again and it can be
 * forgotten: no time-out decides what is a duplicate (architecture.md 3.3).
 *
 *     custody_raise (custody, node, partition, &low_water)             each message says it
 *     custody_take (custody, node, partition, &id, &unmatched)         each event of it
 *     custody_committed (custody, node, partition, &id)                it is on disk
 */
#ifndef PROVISOR_CUSTODY_H
#define PROVISOR_CUSTODY_H

#include "common/base/ulid.h"

enum { CUSTODY_NODE_MAX = 64 }; /* characters of a node id */

typedef enum {
    CUSTODY_NEW,     /* never seen: it is known from now on */
    CUSTODY_RUNNING, /* its commit is running; the receipt follows that */
    CUSTODY_KNOWN,   /* committed: only receipt it again */
    CUSTODY_BELOW,   /* below low_water: only receipt it again */
} custody_verdict_t;

typedef struct custody_t custody_t;

custody_t *custody_new(void);
void custody_destroy(custody_t **custody);
/* Takes low_water over when it is higher than the one known and forgets the ids below it. True:
 * it changed or node and partition were never seen. */
bool custody_raise(custody_t *custody, slice_t node, int partition, const ulid_t *low_water);
/* node at most CUSTODY_NODE_MAX characters. unmatched: this copy comes with an empty set of
 * handlers. On return the same of the first copy, which fixed the set (false if BELOW). */
custody_verdict_t custody_take(custody_t *custody, slice_t node, int partition, const ulid_t *id,
                               bool *unmatched);
/* Is there an id at or above this one that was taken, or is it below low_water? Until all of those
 * are taken low_water cannot pass the last one. */
bool custody_expects(custody_t *custody, slice_t node, int partition, const ulid_t *id);
/* Its commit is done. No effect on an id that low_water has passed meanwhile. */
void custody_committed(custody_t *custody, slice_t node, int partition, const ulid_t *id);
/* At the start: an id whose row is on disk. In order of ids this is fast. */
void custody_restore(custody_t *custody, slice_t node, int partition, const ulid_t *id,
                     bool unmatched);
/* "" when never heard of. */
ulid_t custody_low_water(const custody_t *custody, slice_t node, int partition);
/* Ids known over all nodes and partitions. */
size_t custody_size(const custody_t *custody);
/* The nodes and partitions ever heard of, for looking up an id in the store; i from 0; false: no
 * more. */
bool custody_source(const custody_t *custody, size_t i, slice_t *ret_node, int *ret_partition);

#endif
