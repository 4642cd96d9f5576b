/* archive: history as one thread reads it: connections to segments, opened when they are needed, a
 * few kept. Each thread that reads has its own.
 *
 *     n = archive_segments (archive, &segments)          what there is now, oldest first
 *     archive_open (archive, &segments[i], &db, &fault)  RESULT_NOT_FOUND: removed meanwhile, go on
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
/* The fault of what was read from db, or of opening it (NULL; fault says why). Returns result. */
result_t archive_fault(db_t *db, result_t result, fault_t *fault);
/* Closes what is kept open: of segments that are gone, or all when nothing was asked lately. */
void archive_rest(archive_t *archive, bool all);
shelf_t *archive_shelf(const archive_t *archive);

/* The first record of this topic of the event, wherever it is, and the connection that has it.
 * Looks only into segments that may have it, and not into the one that begins at except_id (0:
 * all). RESULT_NOT_FOUND. */
result_t archive_find(archive_t *archive, slice_t event_id, const char *topic, int64_t except_id,
                      db_t **ret_db, int64_t *ret_id, fault_t *fault) MUST_CHECK;

#endif
