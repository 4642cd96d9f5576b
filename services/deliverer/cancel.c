#include "services/deliverer/cancel.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "services/deliverer/ended.h"
#include "services/deliverer/refill.h"

enum { STEP = 1000 }; /* deliveries of one commit */

typedef struct {
    int64_t handler_id;
    bool one_lane;
    uint64_t object;
    int64_t max_seq; /* later events are not meant */
    const char *reason;
    backlog_cursor_t cursor;
    int64_t seen_seq; /* what was committed when the pass over the rows began */
} job_t;

struct cancel_t {
    deliverer_t *deliverer;
    job_t *jobs; /* oldest first */
    size_t n, capacity;
};

cancel_t *cancel_new(deliverer_t *deliverer)
{
    cancel_t *cancel = MEM_NEW(cancel_t);
    cancel->deliverer = deliverer;
    return cancel;
}

void cancel_destroy(cancel_t **cancel)
{
    if (!*cancel)
        return;
    free((*cancel)->jobs);
    free(TAKE(*cancel));
}

static void add_job(cancel_t *cancel, const job_t *job)
{
    if (cancel->n == cancel->capacity) {
        cancel->capacity = cancel->capacity * 2 + 8;
        cancel->jobs = mem_realloc(cancel->jobs, cancel->capacity * sizeof *cancel->jobs);
    }
    cancel->jobs[cancel->n++] = *job;
}

void cancel_handler(cancel_t *cancel, int64_t handler_id, const char *reason)
{
    deliverer_t *d = cancel->deliverer;
    if (cancel_covers(cancel, handler_id, 0, d->last_seq))
        return; /* a job that covers all of it runs already */
    lanes_drop_handler(d->lanes, handler_id);
    refill_drop(d->refill, handler_id);
    sending_cancel(d->sending, handler_id, NULL, reason);
    add_job(cancel, &(job_t){.handler_id = handler_id,
                             .max_seq = d->last_seq,
                             .reason = reason,
                             .seen_seq = d->committed_seq});
}

void cancel_lane(cancel_t *cancel, int64_t handler_id, uint64_t object, const char *reason)
{
    deliverer_t *d = cancel->deliverer;
    sending_cancel(d->sending, handler_id, &object, reason);
    add_job(cancel, &(job_t){.handler_id = handler_id,
                             .one_lane = true,
                             .object = object,
                             .max_seq = d->last_seq,
                             .reason = reason,
                             .seen_seq = d->committed_seq});
}

static void on_delivery(void *owner, const queue_delivery_t *delivery, const event_t *event)
{
    cancel_t *cancel = owner;
    deliverer_t *d = cancel->deliverer;
    const job_t *job = &cancel->jobs[0];
    if (delivery->seq > job->max_seq ||
        busy_find(d->busy, delivery->seq, delivery->handler_id, NULL))
        return;
    (void)lanes_drop(d->lanes, delivery->handler_id, delivery->object, delivery->seq,
                     clk_mono_ms());
    ended_untried(d, ENDED_CANCELLED, job->reason, NULL, event, delivery, true);
}

/* The pass came to the end. Rows that were not committed when it began may be behind it. */
static void end_pass(cancel_t *cancel)
{
    job_t *job = &cancel->jobs[0];
    if (job->seen_seq < job->max_seq) {
        job->cursor = (backlog_cursor_t){.started = false};
        job->seen_seq = cancel->deliverer->committed_seq;
        return;
    }
    memmove(cancel->jobs, cancel->jobs + 1, --cancel->n * sizeof *cancel->jobs);
}

void cancel_step(cancel_t *cancel)
{
    deliverer_t *d = cancel->deliverer;
    int64_t n = 0;
    for (int64_t left = STEP; cancel->n && left > 0; left -= n) {
        job_t *job = &cancel->jobs[0];
        bool ends_early = job->seen_seq < job->max_seq;
        result_t r =
            backlog_deliveries(d->backlog, job->handler_id, job->one_lane ? &job->object : NULL,
                               left, &job->cursor, on_delivery, cancel, &n);
        if (r != RESULT_OK) {
            deliverer_fail(d, r, "the queue cannot be read");
            return;
        }
        if (n < left)
            end_pass(cancel);
        if (ends_early)
            return; /* go on after the next commit */
    }
}

const char *cancel_covers(const cancel_t *cancel, int64_t handler_id, uint64_t object, int64_t seq)
{
    for (size_t i = 0; i < cancel->n; i++) {
        const job_t *job = &cancel->jobs[i];
        if (job->handler_id == handler_id && seq <= job->max_seq &&
            (!job->one_lane || job->object == object))
            return job->reason;
    }
    return NULL;
}
