#include "services/auditor/plan.h"
#include "common/base/cleanup.h"
#include "common/base/crash.h"
#include "common/base/mem.h"
#include "services/auditor/segment.h"

#include <stdio.h>

enum { PAGE_BYTES = 4 << 20 };

static result_t db_fault(desk_t *desk, result_t r, fault_t *fault)
{
    return r == RESULT_OK || r == RESULT_NOT_FOUND
               ? r
               : fault_set(fault, r, "replay jobs: %s", db_error(desk->jobs));
}

/* ---- Progress --------------------------------------------------------------------------- */

static result_t save(db_t *db, job_t *job, const plan_progress_t *progress)
{
    result_t r = RESULT_OK;
    job->sent += progress->sent;
    if (progress->done_id)
        job->done_id = progress->done_id;
    if (*progress->error)
        memcpy(job->error, progress->error, sizeof job->error);
    for (size_t i = 0; i < progress->n_refused && r == RESULT_OK; i++)
        r = jobs_skip(db, job, progress->refused[i]);
    if (job->total < job->sent + job->skipped)
        job->total = job->sent + job->skipped;
    return r == RESULT_OK ? jobs_save(db, job) : r;
}

static result_t get_running(db_t *db, int64_t id, job_t *ret_job)
{
    result_t r = jobs_get(db, id, ret_job);
    return r == RESULT_OK && strcmp(ret_job->state, "running") != 0 ? RESULT_NOT_FOUND : r;
}

static result_t save_all(db_t *db, int64_t id, const plan_progress_t *progress, job_t *ret_job)
{
    result_t r = db_begin(db);
    if (r != RESULT_OK)
        return r;
    r = get_running(db, id, ret_job);
    if (r == RESULT_OK)
        r = save(db, ret_job, progress);
    if (r == RESULT_OK)
        r = db_commit(db);
    if (r != RESULT_OK)
        db_rollback(db);
    return r;
}

result_t plan_save(desk_t *desk, int64_t job, const plan_progress_t *progress, fault_t *fault)
{
    job_t saved;
    return db_fault(desk, save_all(desk->jobs, job, progress, &saved), fault);
}

/* ---- Choosing --------------------------------------------------------------------------- */

static bool is_left_out(const job_t *job, const candidate_t *candidate)
{
    if (job->superseded)
        return false;
    /* Who names an event wants it again although it was delivered; who asks for all that failed
     * does not mean what was replayed since. */
    bool meant = *job->event_id || strcmp(job->status, "delivered") == 0;
    return candidate->superseded || (candidate->delivered && !meant);
}

static result_t write_candidate(db_t *db, job_t *job, candidate_t *candidate)
{
    int64_t last = 0;
    if (is_left_out(job, candidate))
        return jobs_skip(db, job, candidate->item.event_id);
    result_t r =
        jobs_last_replay(db, candidate->item.original_id, candidate->item.handler_id, &last);
    if (r == RESULT_OK && candidate->item.replay <= last)
        candidate->item.replay = last + 1;
    if (r == RESULT_OK)
        r = jobs_add_item(db, job->id, &candidate->item);
    if (r == RESULT_EXISTS) { /* it ended twice, and goes once */
        job->total -= job->total > 0;
        r = RESULT_OK;
    }
    return r;
}

static result_t write_plan(db_t *db, job_t *job, candidates_t *candidates)
{
    result_t r = db_begin(db);
    if (r != RESULT_OK)
        return r;
    for (size_t i = 0; i < candidates->n && r == RESULT_OK; i++)
        r = write_candidate(db, job, &candidates->list[i]);
    job->planned_id = candidates->searched_id;
    if (r == RESULT_OK)
        r = jobs_save(db, job);
    if (r == RESULT_OK)
        r = db_commit(db);
    CRASH_POINT("auditor.planned");
    if (r != RESULT_OK)
        db_rollback(db);
    return r;
}

/* History cannot be read: the job ends, the process does not. */
static result_t fail(desk_t *desk, job_t *job, const fault_t *why)
{
    snprintf(job->error, sizeof job->error, "%.*s", (int)JOBS_ERROR_MAX, why->text);
    result_t r = db_begin(desk->jobs);
    if (r != RESULT_OK)
        return r;
    r = jobs_save(desk->jobs, job);
    if (r == RESULT_OK)
        r = jobs_end(desk->jobs, job->id, "failed", clk_wall_ms());
    if (r == RESULT_OK)
        r = db_commit(desk->jobs);
    if (r != RESULT_OK)
        db_rollback(desk->jobs);
    return r;
}

/* The result of reading history: what passes by itself is tried again, all else ends the job. */
static result_t read_result(desk_t *desk, job_t *job, result_t r, plan_page_t *page, fault_t *fault)
{
    if (r == RESULT_OK || r == RESULT_FULL || r == RESULT_AGAIN)
        return r;
    plan_page_release(page);
    page->finished = true;
    return db_fault(desk, fail(desk, job, fault), fault);
}

static result_t choose(desk_t *desk, job_t *job, plan_page_t *page, fault_t *fault)
{
    AUTO_FREE candidates_t *candidates = MEM_NEW(candidates_t);
    result_t r = candidates_find(desk, job, candidates, fault);
    if (r == RESULT_OK)
        r = candidates_inspect(desk, candidates, !job->superseded, fault);
    if (r != RESULT_OK)
        return read_result(desk, job, r, page, fault);
    return db_fault(desk, write_plan(desk->jobs, job, candidates), fault);
}

/* ---- Loading ---------------------------------------------------------------------------- */

static size_t keep(plan_page_t *page, slice_t slice)
{
    size_t at = page->bytes.size;
    buf_add_slice(&page->bytes, slice);
    return at;
}

static result_t load_event(desk_t *desk, plan_page_t *page, plan_item_t *item, fault_t *fault)
{
    AUTO_BUF bytes = {0};
    entry_t entry;
    result_t r = archive_find(desk->archive, slice_of(item->item.event_id), "event.accepted", 0,
                              &bytes, &entry, fault);
    if (r == RESULT_NOT_FOUND)
        r = archive_find(desk->archive, slice_of(item->item.original_id), "event.accepted", 0,
                         &bytes, &entry, fault);
    item->missing = r == RESULT_NOT_FOUND || (r == RESULT_OK && !entry.record.body.data);
    if (r != RESULT_OK || item->missing)
        return r == RESULT_NOT_FOUND ? RESULT_OK : r;
    const record_t *record = &entry.record;
    item->events_id = record->events_id;
    item->events_at = keep(page, record->events_id);
    item->object_kind = record->object_kind;
    item->kind_at = keep(page, record->object_kind);
    item->object_id = record->object_id;
    item->object_at = keep(page, record->object_id);
    item->body = record->body;
    item->body_at = keep(page, record->body);
    return RESULT_OK;
}

static void point(const plan_page_t *page, slice_t *slice, size_t at)
{
    if (slice->data)
        slice->data = page->bytes.data + at;
}

/* The bytes have grown for the last time. */
static void point_all(plan_page_t *page)
{
    for (size_t i = 0; i < page->n_items; i++) {
        plan_item_t *item = &page->items[i];
        point(page, &item->events_id, item->events_at);
        point(page, &item->object_kind, item->kind_at);
        point(page, &item->object_id, item->object_at);
        point(page, &item->body, item->body_at);
    }
}

/* What was planned and is not done, as much as fits a page. */
static result_t load(desk_t *desk, job_t *job, plan_page_t *page, fault_t *fault)
{
    AUTO_FREE job_item_t *items = mem_alloc(CANDIDATES_MAX * sizeof *items);
    size_t n = 0;
    result_t r = jobs_items(desk->jobs, job->id, job->done_id, items, CANDIDATES_MAX, &n);
    if (r != RESULT_OK)
        return db_fault(desk, r, fault);
    page->items = mem_alloc((n ? n : 1) * sizeof *page->items);
    for (size_t i = 0; i < n && r == RESULT_OK && page->bytes.size < PAGE_BYTES; i++) {
        page->items[i] = (plan_item_t){.item = items[i]};
        r = load_event(desk, page, &page->items[i], fault);
        page->n_items += r == RESULT_OK;
    }
    if (r != RESULT_OK)
        return read_result(desk, job, r, page, fault);
    point_all(page);
    return r;
}

static result_t finish(desk_t *desk, const job_t *job)
{
    job_t ended = *job;
    ended.total = ended.sent + ended.skipped;
    result_t r = db_begin(desk->jobs);
    if (r != RESULT_OK)
        return r;
    r = jobs_save(desk->jobs, &ended);
    if (r == RESULT_OK)
        r = jobs_end(desk->jobs, job->id, "done", clk_wall_ms());
    if (r == RESULT_OK)
        r = db_commit(desk->jobs);
    if (r != RESULT_OK)
        db_rollback(desk->jobs);
    return r;
}

static result_t next_page(desk_t *desk, job_t *job, plan_page_t *page, fault_t *fault)
{
    result_t r = load(desk, job, page, fault);
    if (r != RESULT_OK || page->n_items || page->finished)
        return r;
    if (job->planned_id < job->until_id)
        return choose(desk, job, page, fault); /* the next call loads it */
    page->finished = true;
    return db_fault(desk, finish(desk, job), fault);
}

result_t plan_next(desk_t *desk, int64_t id, const plan_progress_t *progress, plan_page_t *ret_page,
                   fault_t *fault)
{
    job_t job;
    plan_page_t page = {0};
    result_t r = save_all(desk->jobs, id, progress, &job);
    if (r == RESULT_OK) {
        page.rate = job.rate;
        r = next_page(desk, &job, &page, fault);
    }
    if (r == RESULT_NOT_FOUND) { /* cancelled meanwhile */
        page.finished = true;
        r = RESULT_OK;
    }
    if (r != RESULT_OK) {
        plan_page_release(&page);
        return fault_set(fault, r, "replay jobs: %s", db_error(desk->jobs));
    }
    *ret_page = page;
    return RESULT_OK;
}

void plan_page_release(plan_page_t *page)
{
    free(page->items);
    buf_release(&page->bytes);
    *page = (plan_page_t){0};
}
