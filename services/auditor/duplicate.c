#include "services/auditor/duplicate.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "services/auditor/jobs.h"
#include "services/auditor/segment.h"

#include <stdlib.h>
#include <string.h>

/* One that retention has removed meanwhile is not missed. */
static result_t copy_segment(const char *history, shelf_t *shelf, int64_t first_id,
                             backup_t *backup, const char *dir, fault_t *fault)
{
    char path[PATH_MAX];
    segment_path(history, first_id, path);
    result_t r = backup_file(backup, path, dir, strrchr(path, '/') + 1, NULL, fault);
    return r == RESULT_NOT_FOUND && !shelf_has(shelf, first_id) ? RESULT_OK : r;
}

static result_t load(const char *dir, int64_t first_id, tail_t *ret_tail, marks_t *marks,
                     fault_t *fault)
{
    char path[PATH_MAX];
    db_t *db = NULL;
    bool indexed;
    segment_path(dir, first_id, path);
    result_t r = db_open(path, DB_WRITE, &db, fault);
    if (r != RESULT_OK)
        return r;
    r = segment_load(db, ret_tail, &indexed, marks);
    if (r != RESULT_OK)
        fault_set(fault, r, "%s: %s", path, db_error(db));
    db_close(&db);
    return r;
}

static result_t save(const char *dir, const tail_t *tail, const marks_rows_t *marks, fault_t *fault)
{
    char path[PATH_MAX];
    db_t *db = NULL;
    segment_path(dir, tail->next_id, path);
    result_t r = db_open(path, DB_WRITE, &db, fault);
    if (r != RESULT_OK)
        return r;
    r = db_begin(db);
    if (r == RESULT_OK)
        r = segment_save_marks(db, marks);
    if (r == RESULT_OK)
        r = segment_save_tail(db, tail, 0);
    if (r == RESULT_OK)
        r = db_commit(db);
    if (r != RESULT_OK) {
        db_rollback(db);
        fault_set(fault, r, "%s: %s", path, db_error(db));
    }
    db_close(&db);
    return r;
}

/* The segment that the copy goes on with. */
static result_t add_next(const char *dir, int64_t newest_id, fault_t *fault)
{
    tail_t tail;
    marks_rows_t rows = {0};
    marks_t *marks = marks_new();
    tail_init(&tail);
    result_t r = load(dir, newest_id, &tail, marks, fault);
    if (r == RESULT_OK) {
        tail.next_id += BACKUP_JUMP;
        tail_start_segment(&tail, clk_wall_ms());
        marks_snapshot(marks, 0, &rows);
        r = segment_prepare(dir, fault);
    }
    if (r == RESULT_OK)
        r = segment_name(dir, tail.next_id, fault);
    if (r == RESULT_OK)
        r = save(dir, &tail, &rows, fault);
    marks_rows_release(&rows);
    marks_destroy(&marks);
    return r;
}

result_t duplicate_history(const char *history, shelf_t *shelf, backup_t *backup, const char *dir,
                           fault_t *fault)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = shelf_copy(shelf, &segments);
    result_t r = RESULT_OK;
    for (size_t i = 0; i < n && r == RESULT_OK; i++)
        if (!segments[i].damaged)
            r = copy_segment(history, shelf, segments[i].span.first_id, backup, dir, fault);
    return r == RESULT_OK ? add_next(dir, segments[n - 1].span.first_id, fault) : r;
}

result_t duplicate_jobs(const char *jobs, backup_t *backup, const char *dir, fault_t *fault)
{
    return backup_file(backup, jobs, dir, "jobs.db", jobs_move_on, fault);
}
