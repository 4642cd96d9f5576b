#include "services/deliverer/storage.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/crash.h"
#include "services/deliverer/cancel.h"
#include "services/deliverer/intake.h"
#include "services/deliverer/refill.h"

enum {
    OUTCOMES_WAIT_MS = 20, /* for a commit of events; nobody waits for them, and each has a price */
    OUTCOMES_WAIT_MAX = 512, /* or until there are so many */
    CUSTODY_WAIT_MS = 50,    /* for outcomes, while requests are the bottleneck */
    CUSTODY_SOON = 128,      /* they are not when fewer wait for theirs */
};

static result_t on_apply(void *owner, db_t *db, void *batch, fault_t *fault)
{
    (void)fault;
    (void)owner;
    return commit_apply(batch, db);
}

/* Can the handler start nothing for now, whatever waits for it? */
static bool rests(const deliverer_t *d, int64_t handler_id)
{
    const roster_handler_t *handler = roster_find(d->roster, handler_id);
    lanes_stats_t stats;
    lanes_stats(d->lanes, handler_id, &stats);
    return !handler || roster_paused(handler) || stats.circuit != BREAKER_CLOSED;
}

/* What is on disk and will wait there costs no memory beyond its lane: not what waits for a dead
 * handler, so that bodies of the others stay, and nothing when bodies have no room any more. */
static void let_go(deliverer_t *d, const commit_t *commit, const commit_event_t *event)
{
    for (size_t i = event->first; i < event->first + event->n; i++) {
        const queue_delivery_t *delivery = &commit->deliveries[i];
        if (delivery->handler_id && (cache_full(d->cache) || rests(d, delivery->handler_id)))
            (void)lanes_let_go(d->lanes, delivery->handler_id, delivery->object, delivery->seq);
    }
}

static void receipt_events(deliverer_t *d, const commit_t *commit)
{
    if (!commit->n_events)
        return;
    CRASH_POINT("deliverer.custody");
    for (size_t i = 0; i < commit->n_events; i++) {
        const commit_event_t *event = &commit->events[i];
        ulid_t id;
        if (ulid_parse(event->event->id, &id) == RESULT_OK)
            custody_committed(d->custody, slice_of(event->node), event->partition, &id);
        intake_receipt(d->intake, slice_of(event->node), event->partition, event->event->id,
                       event->unmatched);
        cache_stored(d->cache, event->entry);
        let_go(d, commit, event);
        d->committed_seq = event->entry->seq;
    }
    intake_send_receipts(d->intake);
}

static void tell_outcomes(deliverer_t *d, const commit_t *commit)
{
    for (size_t i = 0; i < commit->n_outcomes; i++) {
        const commit_outcome_t *outcome = &commit->outcomes[i];
        outbox_committed(d->outbox, outcome->outbox_seq, commit_record(commit, outcome));
        if (outcome->final)
            busy_remove(d->busy, outcome->delivery.seq, outcome->delivery.handler_id);
    }
}

static void on_done(void *owner, void *batch)
{
    deliverer_t *d = owner;
    commit_t *commit = batch;
    ENSURE(commit == d->running);
    d->running = NULL;
    if (commit->test_boot)
        d->open = true;
    receipt_events(d, commit);
    tell_outcomes(d, commit);
    commit_destroy(&commit, d->cache);
    refill_committed(d->refill);
    cancel_step(d->cancel);
    deliverer_turn(d);
}

static void on_full(void *owner, const char *why)
{
    deliverer_t *d = owner;
    d->full = why != NULL;
    snprintf(d->full_why, sizeof d->full_why, "%s", why ? why : "");
    if (why)
        log_line(d->log, LEVEL_ERROR,
                 "event=store_unwritable store=queue error=\"%s\" next=\"nothing new starts; tried "
                 "each second\"",
                 why);
    else
        log_line(d->log, LEVEL_INFO, "event=store_writable store=queue");
    deliverer_turn(d);
}

static void on_failed(void *owner, result_t result, const char *text)
{
    deliverer_fail(owner, result, text);
}

static const writer_calls_t writer_calls = {on_apply, on_done, on_full, on_failed};

void storage_start(deliverer_t *d)
{
    d->next = commit_new();
    d->next->test_boot = service_boot(d->service);
    d->storage_timer = -1;
    d->writer = writer_new(d->loop, queue_db(d->queue), &writer_calls, d);
}

void storage_stop(deliverer_t *d)
{
    if (d->writer && d->storage_timer >= 0)
        zloop_timer_end(d->loop, d->storage_timer);
    writer_destroy(&d->writer);
    commit_destroy(&d->running, d->cache);
    commit_destroy(&d->next, d->cache);
}

static int on_timer(zloop_t *loop, int timer_id, void *self)
{
    deliverer_t *d = self;
    (void)loop;
    (void)timer_id;
    d->storage_timer = -1;
    deliverer_turn(d);
    return 0;
}

/* How long what is collected waits for more of its kind. Events wait for their outcomes: those that
 * are over need no rows. Outcomes alone ride along with the next events; only when none come they
 * get a commit of their own. */
static int64_t wait_of(const commit_t *next)
{
    if (next->n_events)
        return next->soon_left >= CUSTODY_SOON ? CUSTODY_WAIT_MS : 0;
    return next->n_outcomes < OUTCOMES_WAIT_MAX ? OUTCOMES_WAIT_MS : 0;
}

static bool may_wait(deliverer_t *d)
{
    const commit_t *next = d->next;
    int64_t wait_ms = next->began_ms + wait_of(next) - clk_mono_ms();
    if (next->test_boot || next->n_cancels || d->draining || wait_ms <= 0 ||
        next->bytes >= COMMIT_BYTES_MAX)
        return false;
    if (d->storage_timer < 0)
        d->storage_timer = zloop_timer(d->loop, (size_t)wait_ms, 1, on_timer, d);
    return true;
}

static void submit(deliverer_t *d)
{
    if (d->failed || commit_empty(d->next) || !writer_idle(d->writer))
        return;
    commit_seal(d->next);
    d->running = TAKE(d->next);
    d->next = commit_new();
    writer_submit(d->writer, d->running);
}

void storage_submit(deliverer_t *d)
{
    if (writer_idle(d->writer) && !commit_empty(d->next) && !may_wait(d))
        submit(d);
}

result_t storage_wait(deliverer_t *d, int64_t timeout_ms)
{
    if (!d->open || d->full || d->failed)
        return RESULT_AGAIN;
    submit(d);
    bool behind = !commit_empty(d->next); /* the writer has the batch before it */
    result_t r = writer_wait(d->writer, timeout_ms);
    if (r != RESULT_OK || !behind)
        return r;
    submit(d);
    return writer_wait(d->writer, timeout_ms);
}

bool storage_idle(const deliverer_t *d)
{
    return !d->running && commit_empty(d->next);
}
