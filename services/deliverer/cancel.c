#include "services/deliverer/cancel.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "services/deliverer/ended.h"
#include "services/deliverer/refill.h"

enum { STEP = 1000 }; /* deliveries of one commit */

typedef struct {
    queue_cancel_t row; /* id 0: not stored; object 0: the whole handler */
    const char *reason;
    backlog_cursor_t cursor;
    int64_t seen_seq; /* what was committed when the pass over the rows began */
    bool passed;      /* nothing waits any more; what is in flight may still be */
} job_t;

struct cancel_t {
    deliverer_t *deliverer;
    job_t *jobs; /* oldest first */
    size_t n, capacity;
    size_t at; /* the one whose rows are read */
    int64_t last_id;
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

static void put_job(cancel_t *cancel, const job_t *job)
{
    if (cancel->n == cancel->capacity) {
        cancel->capacity = cancel->capacity * 2 + 8;
        cancel->jobs = mem_realloc(cancel->jobs, cancel->capacity * sizeof *cancel->jobs);
    }
    cancel->jobs[cancel->n++] = *job;
}

static void add_job(cancel_t *cancel, job_t job)
{
    deliverer_t *d = cancel->deliverer;
    job.seen_seq = d->committed_seq;
    if (strcmp(job.reason, CANCEL_OPERATOR) == 0) {
        job.row.id = ++cancel->last_id;
        commit_cancel(d->next, &job.row);
    }
    put_job(cancel, &job);
}

/* Numbers of events may be given again after a restart when all later ones are gone: the job must
 * not reach those that come. */
static void on_stored(void *owner, const queue_cancel_t *row)
{
    cancel_t *cancel = owner;
    deliverer_t *d = cancel->deliverer;
    job_t job = {.row = *row, .reason = CANCEL_OPERATOR, .seen_seq = d->committed_seq};
    if (row->last_seq > d->last_seq) {
        job.row.last_seq = d->last_seq;
        commit_cancel(d->next, &job.row);
    }
    cancel->last_id = row->id;
    put_job(cancel, &job);
}

result_t cancel_load(cancel_t *cancel)
{
    return backlog_cancels(cancel->deliverer->backlog, on_stored, cancel);
}

void cancel_handler(cancel_t *cancel, int64_t handler_id, const char *reason)
{
    deliverer_t *d = cancel->deliverer;
    if (cancel_covers(cancel, handler_id, 0, d->last_seq))
        return; /* a job that covers all of it runs already */
    lanes_drop_handler(d->lanes, handler_id);
    refill_drop(d->refill, handler_id);
    sending_cancel(d->sending, handler_id, NULL, reason);
    add_job(cancel,
            (job_t){.row = {.handler_id = handler_id, .last_seq = d->last_seq}, .reason = reason});
}

void cancel_lane(cancel_t *cancel, int64_t handler_id, uint64_t object, const char *reason)
{
    deliverer_t *d = cancel->deliverer;
    sending_cancel(d->sending, handler_id, &object, reason);
    add_job(cancel,
            (job_t){.row = {.handler_id = handler_id, .object = object, .last_seq = d->last_seq},
                    .reason = reason});
}

void cancel_flight(cancel_t *cancel, flight_t *flight)
{
    const lanes_delivery_t *delivery = &flight->delivery;
    if (flight->cancel)
        return;
    flight->cancel = CANCEL_OPERATOR;
    add_job(cancel, (job_t){.row = {.handler_id = delivery->handler_id,
                                    .object = delivery->object,
                                    .first_seq = delivery->seq,
                                    .last_seq = delivery->seq},
                            .reason = CANCEL_OPERATOR,
                            .passed = true});
}

static bool job_covers(const job_t *job, int64_t handler_id, uint64_t object, int64_t seq)
{
    return job->row.handler_id == handler_id && seq >= job->row.first_seq &&
           seq <= job->row.last_seq && (!job->row.object || job->row.object == object);
}

static void on_delivery(void *owner, const queue_delivery_t *delivery, const event_t *event)
{
    cancel_t *cancel = owner;
    deliverer_t *d = cancel->deliverer;
    const job_t *job = &cancel->jobs[cancel->at];
    if (!job_covers(job, delivery->handler_id, delivery->object, delivery->seq) ||
        busy_find(d->busy, delivery->seq, delivery->handler_id, NULL))
        return;
    (void)lanes_drop(d->lanes, delivery->handler_id, delivery->object, delivery->seq,
                     clk_mono_ms());
    ended_untried(d, ENDED_CANCELLED, job->reason, NULL, event, delivery, true);
}

/* The pass came to the end. Rows that were not committed when it began may be behind it. */
static void end_pass(cancel_t *cancel, job_t *job)
{
    job->passed = job->seen_seq >= job->row.last_seq;
    if (job->passed)
        return;
    job->cursor = (backlog_cursor_t){.started = false};
    job->seen_seq = cancel->deliverer->committed_seq;
}

/* The next job with rows to read; false: none. */
static bool find_job(cancel_t *cancel)
{
    for (cancel->at = 0; cancel->at < cancel->n; cancel->at++)
        if (!cancel->jobs[cancel->at].passed)
            return true;
    return false;
}

static result_t read_rows(cancel_t *cancel, int64_t max, int64_t *ret_n)
{
    job_t *job = &cancel->jobs[cancel->at];
    const uint64_t *object = job->row.object ? &job->row.object : NULL;
    result_t r = backlog_deliveries(cancel->deliverer->backlog, job->row.handler_id, object, max,
                                    &job->cursor, on_delivery, cancel, ret_n);
    if (r == RESULT_OK && (*ret_n < max || (object && job->cursor.seq > job->row.last_seq)))
        end_pass(cancel, job);
    return r;
}

static void pass_rows(cancel_t *cancel)
{
    int64_t n = 0;
    for (int64_t left = STEP; left > 0 && find_job(cancel); left -= n) {
        const job_t *job = &cancel->jobs[cancel->at];
        bool ends_early = job->seen_seq < job->row.last_seq;
        result_t r = read_rows(cancel, left, &n);
        if (r != RESULT_OK) {
            deliverer_unread(cancel->deliverer, r, "the queue cannot be read");
            return;
        }
        if (ends_early)
            return; /* go on after the next commit */
    }
}

/* A job is over with the batch that holds its last outcome; until then a crash must find it. */
static void end_jobs(cancel_t *cancel)
{
    const deliverer_t *d = cancel->deliverer;
    size_t kept = 0;
    for (size_t i = 0; i < cancel->n; i++) {
        const job_t *job = &cancel->jobs[i];
        if (!job->passed || sending_cancelling(d->sending, job->row.handler_id,
                                               job->row.object ? &job->row.object : NULL))
            cancel->jobs[kept++] = *job;
        else if (job->row.id)
            commit_cancel_done(d->next, job->row.id);
    }
    cancel->n = kept;
}

void cancel_step(cancel_t *cancel)
{
    if (!cancel->deliverer->unreadable)
        pass_rows(cancel);
    end_jobs(cancel);
}

const char *cancel_covers(const cancel_t *cancel, int64_t handler_id, uint64_t object, int64_t seq)
{
    for (size_t i = 0; i < cancel->n; i++) {
        const job_t *job = &cancel->jobs[i];
        if (job_covers(job, handler_id, object, seq))
            return job->reason;
    }
    return NULL;
}
