#include "services/auditor/archive.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "services/auditor/segment.h"

#include <stdio.h>

typedef struct {
    db_t *db; /* NULL: empty */
    int64_t first_id;
    int64_t used; /* the archive's count when it was asked for last */
} kept_t;

struct archive_t {
    char *dir;
    shelf_t *shelf;
    kept_t kept[ARCHIVE_KEPT];
    int64_t uses;
};

archive_t *archive_new(const char *dir, shelf_t *shelf)
{
    archive_t *archive = MEM_NEW(archive_t);
    archive->dir = mem_strdup(dir);
    archive->shelf = shelf;
    return archive;
}

void archive_destroy(archive_t **archive_ref)
{
    archive_t *archive = *archive_ref;
    if (!archive)
        return;
    archive_rest(archive, true);
    free(archive->dir);
    free(archive);
    *archive_ref = NULL;
}

size_t archive_segments(archive_t *archive, shelf_segment_t **ret_segments)
{
    return shelf_copy(archive->shelf, ret_segments);
}

void archive_rest(archive_t *archive, bool all)
{
    for (size_t i = 0; i < ARCHIVE_KEPT; i++) {
        kept_t *kept = &archive->kept[i];
        if (kept->db && (all || !shelf_has(archive->shelf, kept->first_id)))
            db_close(&kept->db);
    }
}

/* The one of the segment, else an empty one, else the one unused for longest. */
static kept_t *choose(archive_t *archive, int64_t first_id)
{
    kept_t *oldest = &archive->kept[0];
    for (size_t i = 0; i < ARCHIVE_KEPT; i++) {
        kept_t *kept = &archive->kept[i];
        if (kept->db && kept->first_id == first_id)
            return kept;
        if (oldest->db && (!kept->db || kept->used < oldest->used))
            oldest = kept;
    }
    return oldest;
}

result_t archive_open(archive_t *archive, const shelf_segment_t *segment, db_t **ret_db,
                      fault_t *fault)
{
    int64_t first_id = segment->span.first_id;
    if (segment->damaged)
        return RESULT_NOT_FOUND;
    kept_t *kept = choose(archive, first_id);
    if (!kept->db || kept->first_id != first_id) {
        char path[PATH_MAX];
        db_t *db = NULL;
        segment_path(archive->dir, first_id, path);
        result_t r = db_open(path, DB_READ, &db, fault);
        if (r != RESULT_OK)
            return shelf_has(archive->shelf, first_id) ? r : RESULT_NOT_FOUND;
        db_close(&kept->db);
        *kept = (kept_t){.db = db, .first_id = first_id};
    }
    kept->used = ++archive->uses;
    *ret_db = kept->db;
    return RESULT_OK;
}

result_t archive_end(archive_t *archive, const shelf_segment_t *segment, db_t *db, result_t r,
                     fault_t *fault)
{
    fault_t why;
    int64_t first_id = segment->span.first_id;
    if (r == RESULT_OK)
        return r;
    if (r == RESULT_NOT_FOUND)
        return shelf_is_damaged(archive->shelf, first_id) ? r : RESULT_OK;
    if (r == RESULT_CORRUPT && !segment->live) {
        shelf_set_damaged(archive->shelf, first_id);
        return RESULT_NOT_FOUND;
    }
    snprintf(why.text, sizeof why.text, "%s", db ? db_error(db) : fault->text);
    return fault_set(fault, r, "cannot read history: %.400s", *why.text ? why.text : result_str(r));
}

shelf_t *archive_shelf(const archive_t *archive)
{
    return archive->shelf;
}

/* Every record has its bytes. */
static result_t find(db_t *db, slice_t event_id, const char *topic, buf_t *bytes,
                     entry_t *ret_entry)
{
    int64_t audit_id;
    result_t r = segment_find(db, event_id, topic, &audit_id);
    if (r != RESULT_OK || !bytes)
        return r;
    r = segment_read(db, audit_id, bytes, ret_entry);
    return r == RESULT_NOT_FOUND ? RESULT_CORRUPT : r;
}

result_t archive_find(archive_t *archive, slice_t event_id, const char *topic, int64_t except_id,
                      buf_t *bytes, entry_t *ret_entry, fault_t *fault)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = archive_segments(archive, &segments);
    for (size_t i = 0; i < n; i++) {
        db_t *db = NULL;
        const tail_span_t *span = &segments[i].span;
        if (span->first_id == except_id || (!segments[i].live && !tail_span_covers(span, event_id)))
            continue;
        result_t r = archive_open(archive, &segments[i], &db, fault);
        if (r == RESULT_OK && (r = find(db, event_id, topic, bytes, ret_entry)) == RESULT_OK)
            return r;
        r = archive_end(archive, &segments[i], db, r, fault);
        if (r != RESULT_OK && r != RESULT_NOT_FOUND)
            return r;
    }
    return RESULT_NOT_FOUND;
}
