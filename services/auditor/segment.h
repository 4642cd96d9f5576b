/* segment: one file of history and all SQL that is spoken to it.
 *
 * history/segment-<its first audit_id, 20 digits>.db. Records stand in two tables: a narrow one
 * that is searched, and their bytes as they came. What history needs to go on (ids, marks, origins)
 * is written with every commit, so the newest segment is all that a start has to read. The live
 * segment has time-ordered indexes only; a sealed one gets those of object and handler.
 *
 * A new segment is prepared under another name (segment-next.new), renamed when it is needed, and
 * counts from the first commit on: one without a state row is unfinished and is removed. */
#ifndef PROVISOR_SEGMENT_H
#define PROVISOR_SEGMENT_H

#include <limits.h>

#include "common/db/db.h"
#include "services/auditor/marks.h"
#include "services/auditor/tail.h"

/* Terminated. */
void segment_path(const char *dir, int64_t first_id, char ret_path[static PATH_MAX]);

/* Makes segment-next.new, durable and closed; one that is there is made anew. */
result_t segment_prepare(const char *dir, fault_t *fault) MUST_CHECK;
/* Gives the prepared file its name. Not durable before segment_sync_dir. RESULT_NOT_FOUND: none is
 * prepared. */
result_t segment_name(const char *dir, int64_t first_id, fault_t *fault) MUST_CHECK;
result_t segment_sync_dir(const char *dir, fault_t *fault) MUST_CHECK;
/* Before one that an earlier process made is opened: see db_probe (). */
result_t segment_probe(const char *dir, int64_t first_id, fault_t *fault) MUST_CHECK;
/* First ids of the segments there are, rising, *ret_ids for free (). Removes what an earlier
 * process left unfinished: files beside no segment. RESULT_CORRUPT: one has an impossible number.
 */
result_t segment_list(const char *dir, int64_t **ret_ids, size_t *ret_n, fault_t *fault) MUST_CHECK;
/* Removes the file and what stands beside it; one that is gone is no failure. */
result_t segment_remove(const char *dir, int64_t first_id) MUST_CHECK;
/* Renames the file of a damaged segment, and what stands beside it, to <name>.damaged, and never
 * over another one. */
result_t segment_set_aside(const char *dir, int64_t first_id, fault_t *fault) MUST_CHECK;
/* Was that cut short? The file is still there, but not what stood beside it. */
bool segment_is_half_aside(const char *dir, int64_t first_id);
/* First ids of those that were set aside, rising, *ret_ids for free (). */
result_t segment_list_aside(const char *dir, int64_t **ret_ids, size_t *ret_n,
                            fault_t *fault) MUST_CHECK;
/* File, WAL and shared memory index. */
int64_t segment_bytes(const char *dir, int64_t first_id);

/* Writing, inside the writer's transaction. */
result_t segment_add(db_t *db, const entry_t *entry, slice_t encoded) MUST_CHECK;
/* Of the topics only those whose last id is since_id or more. */
result_t segment_save_tail(db_t *db, const tail_t *tail, int64_t since_id) MUST_CHECK;
result_t segment_save_marks(db_t *db, const marks_rows_t *rows) MUST_CHECK;

/* RESULT_NOT_FOUND: it has no state row, nothing was ever committed to it. marks may be NULL. */
result_t segment_load(db_t *db, tail_t *ret_tail, bool *ret_indexed, marks_t *marks) MUST_CHECK;

/* One step of giving a sealed segment its indexes; RESULT_NOT_FOUND: they are all there. */
result_t segment_index_step(db_t *db, fault_t *fault) MUST_CHECK;

/* RESULT_NOT_FOUND: it is empty. */
result_t segment_newest_id(db_t *db, int64_t *ret_id) MUST_CHECK;
/* Does the event have a record of this topic here? RESULT_NOT_FOUND: no. */
result_t segment_find(db_t *db, slice_t event_id, const char *topic, int64_t *ret_id) MUST_CHECK;
/* The whole record; it borrows from bytes, which is emptied first. RESULT_NOT_FOUND;
 * RESULT_CORRUPT: also when its bytes are no record. */
result_t segment_read(db_t *db, int64_t audit_id, buf_t *bytes, entry_t *ret_entry) MUST_CHECK;

#endif
