#include "services/auditor/jobs.h"
#include "common/base/mem.h"
#include "common/db/store.h"

#include <stdio.h>
#include <stdlib.h>

enum { PRUNE_STEP = 1000, LIST_MAX = 100, BACKUP_JOBS = 100 };

const char *const jobs_migrations[] = {
    "CREATE TABLE job (id ${key}, event_id TEXT NOT NULL, handler_id BIGINT NOT NULL,"
    " status TEXT NOT NULL, since_ms BIGINT NOT NULL, until_ms BIGINT NOT NULL,"
    " until_id BIGINT NOT NULL, rate BIGINT NOT NULL, superseded BIGINT NOT NULL,"
    " state TEXT NOT NULL, total BIGINT NOT NULL, sent BIGINT NOT NULL, skipped BIGINT NOT NULL,"
    " planned_id BIGINT NOT NULL, done_id BIGINT NOT NULL, error TEXT NOT NULL,"
    " created_ms BIGINT NOT NULL, ended_ms BIGINT NOT NULL);"
    "CREATE TABLE item (job BIGINT NOT NULL, audit_id BIGINT NOT NULL, event_id TEXT NOT NULL,"
    " original_id TEXT NOT NULL, handler_id BIGINT NOT NULL, replay BIGINT NOT NULL,"
    " PRIMARY KEY (job, audit_id)) ${clustered};"
    "CREATE UNIQUE INDEX item_delivery ON item (original_id, handler_id, job);"
    "CREATE TABLE skipped (job BIGINT NOT NULL, n BIGINT NOT NULL, event_id TEXT NOT NULL,"
    " PRIMARY KEY (job, n)) ${clustered};",
    NULL};

#define COLUMNS                                                                                    \
    "id, event_id, handler_id, status, since_ms, until_ms, until_id, rate, superseded, state,"     \
    " total, sent, skipped, planned_id, done_id, error, created_ms, ended_ms"

static void copy_text(char *to, size_t size, slice_t text)
{
    snprintf(to, size, "%.*s", SLICE_ARG(text));
}

static void read_job(db_stmt_t *row, job_t *job)
{
    *job = (job_t){
        .id = db_int(row, 0),
        .handler_id = db_int(row, 2),
        .since_ms = db_int(row, 4),
        .until_ms = db_int(row, 5),
        .until_id = db_int(row, 6),
        .rate = db_int(row, 7),
        .superseded = db_int(row, 8) != 0,
        .total = db_int(row, 10),
        .sent = db_int(row, 11),
        .skipped = db_int(row, 12),
        .planned_id = db_int(row, 13),
        .done_id = db_int(row, 14),
        .created_ms = db_int(row, 16),
        .ended_ms = db_int(row, 17),
    };
    copy_text(job->event_id, sizeof job->event_id, db_slice(row, 1));
    copy_text(job->status, sizeof job->status, db_slice(row, 3));
    copy_text(job->state, sizeof job->state, db_slice(row, 9));
    copy_text(job->error, sizeof job->error, db_slice(row, 15));
}

static result_t count_running(db_t *db, int64_t *ret_n)
{
    db_stmt_t *stmt = db_stmt(db, "SELECT COUNT(*) FROM job WHERE state = 'running'");
    result_t r = db_step(stmt);
    if (r == RESULT_OK)
        *ret_n = db_int(stmt, 0);
    db_reset(stmt);
    return r;
}

static result_t insert(db_t *db, const job_t *job)
{
    db_stmt_t *stmt = db_stmt(db, "INSERT INTO job (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6,"
                                  " $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)");
    db_bind_int(stmt, 1, job->id);
    db_bind_text(stmt, 2, slice_of(job->event_id));
    db_bind_int(stmt, 3, job->handler_id);
    db_bind_text(stmt, 4, slice_of(job->status));
    db_bind_int(stmt, 5, job->since_ms);
    db_bind_int(stmt, 6, job->until_ms);
    db_bind_int(stmt, 7, job->until_id);
    db_bind_int(stmt, 8, job->rate);
    db_bind_int(stmt, 9, job->superseded);
    db_bind_text(stmt, 10, slice_of(job->state));
    db_bind_int(stmt, 11, job->total);
    db_bind_int(stmt, 12, job->sent);
    db_bind_int(stmt, 13, job->skipped);
    db_bind_int(stmt, 14, job->planned_id);
    db_bind_int(stmt, 15, job->done_id);
    db_bind_text(stmt, 16, slice_of(job->error));
    db_bind_int(stmt, 17, job->created_ms);
    db_bind_int(stmt, 18, job->ended_ms);
    return db_run(stmt);
}

result_t jobs_add(db_t *db, job_t *job)
{
    int64_t running = 0;
    result_t r = count_running(db, &running);
    if (r == RESULT_OK && running >= JOBS_RUNNING_MAX)
        return RESULT_AGAIN;
    if (r == RESULT_OK)
        r = store_meta_int(db, "last_job", &job->id);
    job->id++;
    if (r == RESULT_OK)
        r = store_meta_set_int(db, "last_job", job->id);
    return r == RESULT_OK ? insert(db, job) : r;
}

result_t jobs_move_on(db_t *copy)
{
    int64_t last = 0;
    result_t r = store_meta_int(copy, "last_job", &last);
    return r == RESULT_OK ? store_meta_set_int(copy, "last_job", last + BACKUP_JOBS) : r;
}

result_t jobs_get(db_t *db, int64_t id, job_t *ret_job)
{
    db_stmt_t *stmt = db_stmt(db, "SELECT " COLUMNS " FROM job WHERE id = $1");
    db_bind_int(stmt, 1, id);
    result_t r = db_step(stmt);
    if (r == RESULT_OK)
        read_job(stmt, ret_job);
    db_reset(stmt);
    return r;
}

result_t jobs_list(db_t *db, bool running, job_t **ret_jobs, size_t *ret_n)
{
    db_stmt_t *stmt =
        running ? db_stmt(db, "SELECT " COLUMNS " FROM job WHERE state = 'running' ORDER BY id")
                : db_stmt(db, "SELECT " COLUMNS " FROM job ORDER BY id DESC");
    job_t *jobs = mem_alloc(LIST_MAX * sizeof *jobs);
    size_t n = 0;
    result_t r = RESULT_OK;
    while (n < LIST_MAX && (r = db_step(stmt)) == RESULT_OK)
        read_job(stmt, &jobs[n++]);
    db_reset(stmt);
    if (r != RESULT_OK && r != RESULT_NOT_FOUND) {
        free(jobs);
        return r;
    }
    *ret_jobs = jobs;
    *ret_n = n;
    return RESULT_OK;
}

result_t jobs_save(db_t *db, const job_t *job)
{
    db_stmt_t *stmt = db_stmt(db, "UPDATE job SET total = $2, sent = $3, skipped = $4,"
                                  " planned_id = $5, done_id = $6, error = $7 WHERE id = $1");
    db_bind_int(stmt, 1, job->id);
    db_bind_int(stmt, 2, job->total);
    db_bind_int(stmt, 3, job->sent);
    db_bind_int(stmt, 4, job->skipped);
    db_bind_int(stmt, 5, job->planned_id);
    db_bind_int(stmt, 6, job->done_id);
    db_bind_text(stmt, 7, slice_of(job->error));
    return db_run(stmt);
}

result_t jobs_end(db_t *db, int64_t id, const char *state, int64_t wall_ms)
{
    db_stmt_t *stmt = db_stmt(db, "UPDATE job SET state = $2, ended_ms = $3"
                                  " WHERE id = $1 AND state = 'running'");
    db_bind_int(stmt, 1, id);
    db_bind_text(stmt, 2, slice_of(state));
    db_bind_int(stmt, 3, wall_ms);
    result_t r = db_run(stmt);
    return r == RESULT_OK && db_changes(db) == 0 ? RESULT_NOT_FOUND : r;
}

static result_t count_skipped(db_t *db, int64_t id, int64_t *ret_n)
{
    db_stmt_t *stmt = db_stmt(db, "SELECT COUNT(*) FROM skipped WHERE job = $1");
    db_bind_int(stmt, 1, id);
    result_t r = db_step(stmt);
    if (r == RESULT_OK)
        *ret_n = db_int(stmt, 0);
    db_reset(stmt);
    return r;
}

result_t jobs_skip(db_t *db, job_t *job, const char *event_id)
{
    int64_t n = JOBS_SKIPPED_MAX;
    job->skipped++;
    result_t r = count_skipped(db, job->id, &n);
    if (r != RESULT_OK || n >= JOBS_SKIPPED_MAX)
        return r;
    db_stmt_t *stmt = db_stmt(db, "INSERT INTO skipped (job, n, event_id) VALUES ($1, $2, $3)");
    db_bind_int(stmt, 1, job->id);
    db_bind_int(stmt, 2, n);
    db_bind_text(stmt, 3, slice_of(event_id));
    return db_run(stmt);
}

result_t jobs_skipped(db_t *db, int64_t id, jobs_skipped_fn *call, void *owner)
{
    result_t r;
    db_stmt_t *stmt = db_stmt(db, "SELECT event_id FROM skipped WHERE job = $1 ORDER BY n");
    db_bind_int(stmt, 1, id);
    while ((r = db_step(stmt)) == RESULT_OK)
        call(owner, db_slice(stmt, 0));
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

result_t jobs_add_item(db_t *db, int64_t job, const job_item_t *item)
{
    db_stmt_t *stmt = db_stmt(db, "INSERT INTO item (job, audit_id, event_id, original_id,"
                                  " handler_id, replay) VALUES ($1, $2, $3, $4, $5, $6)"
                                  " ON CONFLICT DO NOTHING");
    db_bind_int(stmt, 1, job);
    db_bind_int(stmt, 2, item->audit_id);
    db_bind_text(stmt, 3, slice_of(item->event_id));
    db_bind_text(stmt, 4, slice_of(item->original_id));
    db_bind_int(stmt, 5, item->handler_id);
    db_bind_int(stmt, 6, item->replay);
    result_t r = db_run(stmt);
    return r == RESULT_OK && db_changes(db) == 0 ? RESULT_EXISTS : r;
}

result_t jobs_items(db_t *db, int64_t job, int64_t done_id, job_item_t *items, size_t max,
                    size_t *ret_n)
{
    result_t r = RESULT_OK;
    size_t n = 0;
    db_stmt_t *stmt = db_stmt(db, "SELECT audit_id, event_id, original_id, handler_id, replay"
                                  " FROM item WHERE job = $1 AND audit_id > $2 ORDER BY audit_id");
    db_bind_int(stmt, 1, job);
    db_bind_int(stmt, 2, done_id);
    while (n < max && (r = db_step(stmt)) == RESULT_OK) {
        job_item_t *item = &items[n++];
        *item = (job_item_t){
            .audit_id = db_int(stmt, 0), .handler_id = db_int(stmt, 3), .replay = db_int(stmt, 4)};
        copy_text(item->event_id, sizeof item->event_id, db_slice(stmt, 1));
        copy_text(item->original_id, sizeof item->original_id, db_slice(stmt, 2));
    }
    db_reset(stmt);
    *ret_n = n;
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

result_t jobs_last_replay(db_t *db, const char *original_id, int64_t handler_id,
                          int64_t *ret_replay)
{
    db_stmt_t *stmt = db_stmt(db, "SELECT MAX(replay) FROM item"
                                  " WHERE original_id = $1 AND handler_id = $2");
    db_bind_text(stmt, 1, slice_of(original_id));
    db_bind_int(stmt, 2, handler_id);
    result_t r = db_step(stmt);
    if (r == RESULT_OK)
        *ret_replay = db_int(stmt, 0);
    db_reset(stmt);
    return r;
}

static result_t run_bounded(db_t *db, const char *sql, int64_t bound)
{
    db_stmt_t *stmt = db_stmt(db, sql);
    db_bind_int(stmt, 1, bound);
    db_bind_int(stmt, 2, PRUNE_STEP);
    return db_run(stmt);
}

result_t jobs_prune(db_t *db, int64_t ended_ms)
{
    int64_t last = 0;
    result_t r = run_bounded(db,
                             "DELETE FROM item WHERE (job, audit_id) IN (SELECT i.job, i.audit_id"
                             " FROM item i JOIN job j ON j.id = i.job"
                             " WHERE j.state <> 'running' AND j.ended_ms < $1 LIMIT $2)",
                             ended_ms);
    if (r == RESULT_OK)
        r = store_meta_int(db, "last_job", &last);
    if (r == RESULT_OK)
        r = run_bounded(db,
                        "DELETE FROM skipped WHERE (job, n) IN (SELECT s.job, s.n FROM skipped s"
                        " JOIN job j ON j.id = s.job WHERE j.state <> 'running' AND j.id <= $1"
                        " LIMIT $2)",
                        last - JOBS_KEPT);
    if (r == RESULT_OK)
        r = run_bounded(db,
                        "DELETE FROM job WHERE id IN (SELECT id FROM job WHERE state <> 'running'"
                        " AND id <= $1 AND NOT EXISTS (SELECT 1 FROM item i WHERE i.job = job.id)"
                        " AND NOT EXISTS (SELECT 1 FROM skipped s WHERE s.job = job.id)"
                        " LIMIT $2)",
                        last - JOBS_KEPT);
    return r;
}
