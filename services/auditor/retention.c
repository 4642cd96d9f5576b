#include "services/auditor/retention.h"

size_t retention_choose(const retention_t *retention, const shelf_segment_t *segments, size_t n,
                        int64_t live_bytes, int64_t wall_ms)
{
    int64_t bytes = live_bytes;
    for (size_t i = 0; i < n; i++)
        bytes += segments[i].bytes;
    size_t gone = 0;
    /* A segment was sealed when the one after it began. */
    while (gone + 1 < n && !segments[gone].live &&
           (bytes > retention->bytes ||
            segments[gone + 1].span.created_ms < wall_ms - retention->age_ms))
        bytes -= segments[gone++].bytes;
    return gone;
}
