/* archive: history as one thread reads it: connections to segments, opened when they are needed, a
 * few kept. Each thread that reads has its own.
 *
 *     n = archive_segments (archive, &segments)          what there is now, oldest first
 *     archive_open (archive, &segments[i], &db, &fault)  RESULT_NOT_FOUND: there is nothing to read
 *     archive_end (archive, &segments[i], db, r, &fault)
 */
#ifndef PROVISOR_ARCHIVE_H
#define PROVISOR_ARCHIVE_H

#include "common/db/db.h"
#include "services/auditor/shelf.h"

enum { ARCHIVE_KEPT = 4 };

typedef struct archive_t archive_t;

/* shelf is borrowed and outlives it. */
archive_t *archive_new(const char *dir, shelf_t *shelf);
void archive_destroy(archive_t **archive);
/* *ret_segments for free (). */
size_t archive_segments(archive_t *archive, shelf_segment_t **ret_segments);
/* The connection is the archive's, valid until the next open. */
result_t archive_open(archive_t *archive, const shelf_segment_t *segment, db_t **ret_db,
                      fault_t *fault) MUST_CHECK;
/* How opening and reading of the segment ended: RESULT_OK, also when it was removed meanwhile;
 * RESULT_NOT_FOUND: it is damaged, or turned out to be, which the shelf is told: go on without it;
 * else fault says why. db may be NULL. */
result_t archive_end(archive_t *archive, const shelf_segment_t *segment, db_t *db, result_t result,
                     fault_t *fault) MUST_CHECK;
/* Closes what is kept open: of segments that are gone, or all when nothing was asked lately. */
void archive_rest(archive_t *archive, bool all);
shelf_t *archive_shelf(const archive_t *archive);

/* The first record of this topic of the event, wherever it is; it borrows from bytes (NULL: only
 * whether there is one). Looks only into segments that may have it, and not into the one that
 * begins at except_id (0: all). RESULT_NOT_FOUND. */
result_t archive_find(archive_t *archive, slice_t event_id, const char *topic, int64_t except_id,
                      buf_t *bytes, entry_t *ret_entry, fault_t *fault) MUST_CHECK;

#endif
