/* retention: which segments are to go. Pure. Only whole sealed segments go, the oldest first. */
#ifndef PROVISOR_RETENTION_H
#define PROVISOR_RETENTION_H

#include "services/auditor/shelf.h"

typedef struct {
    int64_t age_ms; /* since a segment was sealed */
    int64_t bytes;  /* of all segments together */
} retention_t;

/* How many of the oldest are to go. live_bytes: what the live one takes up now. */
size_t retention_choose(const retention_t *retention, const shelf_segment_t *segments, size_t n,
                        int64_t live_bytes, int64_t wall_ms);

#endif
