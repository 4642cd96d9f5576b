#include "services/auditor/run.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { ITEM = 1000 }; /* allowance of one */

run_t *run_new(int64_t job, int64_t mono_ms)
{
    run_t *run = MEM_NEW(run_t);
    run->job = job;
    run->paced_ms = mono_ms;
    run->allowance = ITEM;
    run->progress.refused = run->refused;
    return run;
}

void run_destroy(run_t **run_ref)
{
    run_t *run = *run_ref;
    if (!run)
        return;
    plan_page_release(&run->page);
    free(run);
    *run_ref = NULL;
}

void run_turn_page(run_t *run, plan_page_t *page)
{
    plan_page_release(&run->page);
    run->page = *page;
    run->at = 0;
    *page = (plan_page_t){0};
}

bool run_has_items(const run_t *run)
{
    return run->at < run->page.n_items;
}

bool run_is_dirty(const run_t *run)
{
    return run->progress.done_id != 0;
}

/* A tenth of a second's items may come at once. */
static int64_t burst(int64_t rate)
{
    return rate > 10 ? rate * ITEM / 10 : ITEM;
}

size_t run_allowed(run_t *run, int64_t mono_ms, size_t max, int64_t *ret_wait_ms)
{
    int64_t rate = run->page.rate;
    size_t left = run->page.n_items - run->at;
    size_t n = left < max ? left : max;
    if (rate <= 0)
        return n;
    int64_t earned = (mono_ms - run->paced_ms) * rate; /* thousandths: rate per 1000 ms */
    run->allowance = earned > burst(rate) - run->allowance ? burst(rate) : run->allowance + earned;
    run->paced_ms = mono_ms;
    if (run->allowance < ITEM) {
        *ret_wait_ms = (ITEM - run->allowance + rate - 1) / rate;
        return 0;
    }
    size_t allowed = (size_t)(run->allowance / ITEM);
    return n < allowed ? n : allowed;
}

static void answered(run_t *run)
{
    run->progress.done_id = run->page.items[run->at++].item.audit_id;
    run->allowance -= ITEM;
}

void run_accepted(run_t *run)
{
    run->progress.sent++;
    answered(run);
}

void run_refused(run_t *run, slice_t why)
{
    plan_progress_t *progress = &run->progress;
    const job_item_t *item = &run->page.items[run->at].item;
    snprintf(progress->error, sizeof progress->error, "%s: %.*s", item->event_id, SLICE_ARG(why));
    ENSURE(progress->n_refused < RUN_REFUSED_MAX); /* all of one page */
    memcpy(run->refused[progress->n_refused++], item->event_id, sizeof item->event_id);
    answered(run);
}

void run_take_progress(run_t *run, plan_progress_t *ret_progress,
                       char (*ret_refused)[ENTRY_EVENT_ID_MAX + 1])
{
    *ret_progress = run->progress;
    memcpy(ret_refused, run->refused, run->progress.n_refused * sizeof *run->refused);
    ret_progress->refused = ret_refused;
    run->progress = (plan_progress_t){.refused = run->refused};
}

/* What has happened since is newer. */
void run_give_back(run_t *run, const plan_progress_t *progress)
{
    run->progress.sent += progress->sent;
    if (!run->progress.done_id)
        run->progress.done_id = progress->done_id;
    if (!*run->progress.error)
        memcpy(run->progress.error, progress->error, sizeof run->progress.error);
    for (size_t i = 0; i < progress->n_refused && run->progress.n_refused < RUN_REFUSED_MAX; i++)
        memcpy(run->refused[run->progress.n_refused++], progress->refused[i], sizeof *run->refused);
}

void run_key(int64_t job, int64_t audit_id, char ret_key[static RUN_KEY_SIZE])
{
    snprintf(ret_key, RUN_KEY_SIZE, "replay:%lld:%lld", (long long)job, (long long)audit_id);
}
