#include "services/deliverer/deliverer.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/crash.h"
#include "common/base/mem.h"
#include "services/deliverer/cancel.h"
#include "services/deliverer/control.h"
#include "services/deliverer/intake.h"
#include "services/deliverer/refill.h"
#include "services/deliverer/restart.h"
#include "services/deliverer/sending.h"
#include "services/deliverer/storage.h"

enum { POLL_MS = 500 };

bool deliverer_working(const deliverer_t *d)
{
    return d->open && !d->full && !d->unreadable && !d->failed && !d->draining &&
           d->next->bytes < COMMIT_BYTES_MAX;
}

void deliverer_turn(deliverer_t *d)
{
    if (d->failed)
        return;
    if (storage_idle(d))
        cancel_step(d->cancel);
    sending_start(d->sending);
    storage_submit(d);
    intake_gate(d->intake);
    sending_arm(d->sending);
}

void deliverer_fail(deliverer_t *d, result_t result, const char *what)
{
    if (d->failed)
        return;
    d->failed = true;
    service_fail(d->service, "event=store_failed store=queue result=%s error=\"%s\"",
                 result_str(result), what);
}

void deliverer_unread(deliverer_t *d, result_t result, const char *what)
{
    if (result != RESULT_FULL && result != RESULT_AGAIN) {
        deliverer_fail(d, result, what);
        return;
    }
    if (!d->told_unreadable)
        log_line(d->log, LEVEL_WARN,
                 "event=store_unreadable store=queue result=%s error=\"%s: %s\" "
                 "next=\"nothing new starts; tried each %d ms\"",
                 result_str(result), what, backlog_error(d->backlog), POLL_MS);
    d->unreadable = d->told_unreadable = true;
}

static void take_limits(deliverer_t *d)
{
    const config_t *config = service_config(d->service);
    int64_t queue_max = config_int(config, "deliverer", "queue_max");
    int64_t share = config_int(config, "deliverer", "backlog_share");
    d->limits = (deliverer_limits_t){
        .queue_max = queue_max,
        .share_max = queue_max / 100 * share + queue_max % 100 * share / 100,
        .block = strcmp(config_text(config, "deliverer", "on_full"), "block") == 0,
        .free_min = config_int(config, "disk", "min_free") / 2,
        .suspend_ms = config_int(config, "deliverer", "suspend_after"),
        .priority_ms = config_int(config, "deliverer", "priority_wait"),
    };
    settings_defaults(config, &d->limits.defaults);
}

static void on_changed(void *owner, roster_handler_t *handler, bool released)
{
    deliverer_t *d = owner;
    lanes_handler_t lanes = handler->settings->lanes;
    lanes.paused = roster_paused(handler);
    lanes_set_handler(d->lanes, &lanes);
    if (!released || !handler->failing_since_ms)
        return;
    handler->failing_since_ms = 0; /* an operator enabled it: its time of failing starts again */
    commit_failing(d->next, handler->id, 0);
}

static void on_gone(void *owner, roster_handler_t *handler)
{
    deliverer_t *d = owner;
    if (handler->pending)
        log_line(d->log, LEVEL_INFO, "event=handler_gone handler_id=%lld reason=%s pending=%lld",
                 (long long)handler->id, roster_gone_reason(handler), (long long)handler->pending);
    cancel_handler(d->cancel, handler->id, roster_gone_reason(handler));
}

static const roster_calls_t roster_calls = {on_changed, on_gone};

static void on_refill(void *owner, int64_t handler_id, uint64_t object, int64_t after_seq)
{
    deliverer_t *d = owner;
    refill_want(d->refill, handler_id, object, after_seq);
}

static void on_release(void *owner, void *event)
{
    deliverer_t *d = owner;
    cache_unref(d->cache, event);
}

static void on_circuit(void *owner, int64_t handler_id, breaker_state_t state)
{
    deliverer_t *d = owner;
    const roster_handler_t *handler = roster_find(d->roster, handler_id);
    if (state == BREAKER_OPEN)
        log_line(d->log, LEVEL_WARN,
                 "event=circuit_open handler_id=%lld error=\"%s\" next=\"one probe at a time\"",
                 (long long)handler_id, handler ? handler->last_error : "");
    else
        log_line(d->log, LEVEL_INFO, "event=circuit_closed handler_id=%lld", (long long)handler_id);
}

static const lanes_calls_t lanes_calls = {on_refill, on_release, on_circuit};

static void on_mark(void *owner, int64_t number)
{
    deliverer_t *d = owner;
    int64_t seq = outbox_marked(d->outbox, number);
    if (!seq)
        return;
    CRASH_POINT("deliverer.marked");
    d->next->settle_seq = seq;
    deliverer_turn(d);
}

static void on_room(void *owner)
{
    deliverer_t *d = owner;
    result_t r = outbox_pump(d->outbox);
    if (r != RESULT_OK)
        deliverer_unread(d, r, "the outbox cannot be read");
}

static const audit_calls_t audit_calls = {on_mark, on_room};

/* What could not be read before is tried again. */
static void read_again(deliverer_t *d)
{
    if (!d->unreadable && d->told_unreadable) {
        d->told_unreadable = false;
        log_line(d->log, LEVEL_INFO, "event=store_readable store=queue");
    }
    if (!d->unreadable)
        return;
    d->unreadable = false;
    on_room(d);
}

static int on_poll(zloop_t *loop, int timer_id, void *self)
{
    deliverer_t *d = self;
    (void)loop;
    (void)timer_id;
    if (d->failed)
        return 0;
    lanes_set_wall_offset(d->lanes, clk_wall_ms() - clk_mono_ms());
    (void)roster_poll(d->roster);
    intake_poll(d->intake);
    read_again(d);
    sending_poll(d->sending);
    deliverer_turn(d);
    return 0;
}

/* What needs no outside resource. */
static void create_parts(deliverer_t *d)
{
    const config_t *config = service_config(d->service);
    int concurrency = (int)config_int(config, "deliverer", "concurrency");
    d->cache = cache_new(config_int(config, "deliverer", "body_cache"));
    d->custody = custody_new();
    d->lanes = lanes_new(concurrency, &lanes_calls, d);
    d->busy = busy_new();
    d->refill = refill_new(d);
    d->cancel = cancel_new(d);
    d->sending = sending_new(d);
    sending_set_max(d->sending, concurrency);
    d->http = http_new(d->loop, concurrency, sending_done, d);
    d->script =
        script_new(d->loop, config_text(config, "deliverer", "script_dir"), sending_done, d);
    lanes_set_wall_offset(d->lanes, clk_wall_ms() - clk_mono_ms());
}

static result_t open_stores(deliverer_t *d, fault_t *fault)
{
    const config_t *config = service_config(d->service);
    result_t r = queue_open(config_data(config), d->partitions, &d->queue, fault);
    if (r == RESULT_OK)
        r = backlog_open(d->queue, &d->backlog, fault);
    if (r == RESULT_OK)
        r = roster_open(config_handlers_dir(config), &d->limits.defaults, d->log, &roster_calls, d,
                        &d->roster, fault);
    return r;
}

static result_t open_sockets(deliverer_t *d, fault_t *fault)
{
    result_t r =
        audit_new(d->service, "deliverer", queue_node(d->queue), &audit_calls, d, &d->audit, fault);
    if (r == RESULT_OK)
        r = intake_open(d, &d->intake, fault);
    return r;
}

static result_t start(deliverer_t *d, fault_t *fault)
{
    storage_start(d);
    result_t r = restart_load(d, fault);
    if (r == RESULT_OK)
        r = open_sockets(d, fault);
    if (r != RESULT_OK)
        return r;
    outbox_set_audit(d->outbox, d->audit);
    r = cancel_load(d->cancel);
    if (r == RESULT_OK)
        r = outbox_pump(d->outbox);
    if (r != RESULT_OK)
        return fault_set(fault, r, "queue.db cannot be read: %s", backlog_error(d->backlog));
    log_line(d->log, LEVEL_INFO, "event=queue_loaded pending=%lld known=%zu outbox=%lld",
             (long long)d->pending, custody_size(d->custody), (long long)outbox_size(d->outbox));
    intake_poll(d->intake);
    zloop_timer(d->loop, POLL_MS, 0, on_poll, d);
    deliverer_turn(d);
    return RESULT_OK;
}

static void deliverer_destroy(void **self)
{
    deliverer_t *d = TAKE(*self);
    if (!d)
        return;
    http_destroy(&d->http);
    script_destroy(&d->script);
    intake_close(&d->intake);
    audit_destroy(&d->audit);
    sending_destroy(&d->sending);
    storage_stop(d);
    lanes_destroy(&d->lanes);
    cancel_destroy(&d->cancel);
    refill_destroy(&d->refill);
    outbox_destroy(&d->outbox);
    busy_destroy(&d->busy);
    custody_destroy(&d->custody);
    cache_destroy(&d->cache);
    roster_close(&d->roster);
    backlog_close(&d->backlog);
    queue_close(&d->queue);
    free(d);
}

static result_t deliverer_create(service_t *service, void **ret_self, fault_t *fault)
{
    deliverer_t *d = MEM_NEW(deliverer_t);
    d->service = service;
    d->loop = service_loop(service);
    d->log = service_log(service);
    take_limits(d);
    slice_t map = slice_of(config_text(service_config(service), "deliverer", "partitions"));
    result_t r = partitions_parse(map, &d->partitions, fault);
    if (r == RESULT_OK)
        r = open_stores(d, fault);
    if (r == RESULT_OK) {
        create_parts(d);
        r = start(d, fault);
    }
    void *self = d;
    if (r == RESULT_OK)
        *ret_self = self;
    else
        deliverer_destroy(&self);
    return r;
}

static void deliverer_drain(void *self)
{
    deliverer_t *d = self;
    d->draining = true;
    deliverer_turn(d);
}

static bool deliverer_drained(void *self)
{
    const deliverer_t *d = self;
    return sending_in_flight(d->sending) == 0 && storage_idle(d);
}

static void deliverer_reload(void *self)
{
    deliverer_t *d = self;
    const config_t *config = service_config(d->service);
    take_limits(d);
    cache_set_max(d->cache, config_int(config, "deliverer", "body_cache"));
    sending_set_max(d->sending, (int)config_int(config, "deliverer", "concurrency"));
    roster_reload(d->roster, &d->limits.defaults);
    deliverer_turn(d);
}

/* How long the oldest event that is not in custody yet waits for its commit; 0: none does. */
static int64_t custody_lag_ms(const deliverer_t *d)
{
    const commit_t *oldest = d->running && d->running->n_events ? d->running : d->next;
    return oldest->n_events ? clk_mono_ms() - oldest->began_ms : 0;
}

static void deliverer_stats(void *self, json_writer_t *w)
{
    const deliverer_t *d = self;
    const deliverer_counts_t *counts = &d->counts;
    json_key_int(w, "table_version", roster_version(d->roster));
    json_key_int(w, "pending", d->pending);
    json_key_int(w, "in_flight", (int64_t)sending_in_flight(d->sending));
    json_key_int(w, "known_events", (int64_t)custody_size(d->custody));
    json_key_int(w, "outbox", outbox_size(d->outbox));
    json_key_int(w, "custody_lag_ms", custody_lag_ms(d));
    json_key_int(w, "events", counts->events);
    json_key_int(w, "duplicates", counts->duplicates);
    json_key_int(w, "receipts", intake_receipts(d->intake));
    json_key_int(w, "foreign", counts->foreign);
    json_key_int(w, "malformed", counts->malformed);
    json_key_int(w, "sent", counts->attempts);
    json_key_int(w, "delivered", counts->delivered);
    json_key_int(w, "failed", counts->failed);
    json_key_int(w, "exhausted", counts->exhausted);
    json_key_int(w, "cancelled", counts->cancelled);
    json_key_int(w, "starved", counts->starved);
    json_key_int(w, "body_cache_bytes", cache_bytes(d->cache));
    json_key_int(w, "store_bytes", backlog_size_bytes(d->backlog));
    audit_stats(d->audit, w);
}

static bool deliverer_ready(void *self, char *ret_why, size_t size)
{
    const deliverer_t *d = self;
    const char *stopped = intake_stopped(d->intake);
    const char *why = NULL;
    if (d->full) {
        snprintf(ret_why, size, "the queue cannot be written: %s", d->full_why);
        return false;
    }
    if (!d->open)
        why = "the queue has not been written yet";
    else if (d->told_unreadable)
        why = "the queue cannot be read";
    else if (!roster_readable(d->roster))
        why = "the handler table cannot be read";
    else if (stopped)
        why = stopped;
    else if (intake_routers(d->intake) == 0)
        why = "no router connected";
    else if (!audit_alive(d->audit))
        why = "no auditor is heard";
    if (why)
        snprintf(ret_why, size, "%s", why);
    return !why;
}

static result_t check_partitions(slice_t text, fault_t *fault)
{
    partitions_t partitions;
    return partitions_parse(text, &partitions, fault);
}

static result_t check_retry(slice_t text, fault_t *fault)
{
    retry_schedule_t schedule;
    return retry_parse(text, -1, &schedule, fault);
}

static result_t check_on_full(slice_t text, fault_t *fault)
{
    if (slice_is(text, "block") || slice_is(text, "exhaust"))
        return RESULT_OK;
    return fault_set(fault, RESULT_INVALID, "\"%.*s\" is neither exhaust nor block",
                     SLICE_ARG(text));
}

static result_t deliverer_check(const config_t *config, fault_t *fault)
{
    static const struct {
        const char *key;
        result_t (*check)(slice_t text, fault_t *fault);
    } checks[] = {
        {"partitions", check_partitions},
        {"retry", check_retry},
        {"on_full", check_on_full},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        fault_t why;
        slice_t text = slice_of(config_text(config, "deliverer", checks[i].key));
        result_t r = checks[i].check(text, &why);
        if (r != RESULT_OK)
            return fault_set(fault, r, "%s: %.400s",
                             config_source(config, "deliverer", checks[i].key), why.text);
    }
    return RESULT_OK;
}

static result_t copy_queue(void *self, backup_t *backup, const char *dir, fault_t *fault)
{
    const deliverer_t *d = self;
    return queue_backup(d->queue, backup, dir, fault);
}

static const backup_part_t parts[] = {
    {"queue", copy_queue},
    {NULL, NULL},
};

const service_spec_t deliverer_spec = {
    .name = "deliverer",
    .help =
        "Takes matched events into custody (queue.db) and POSTs each to its handlers, in order\n"
        "per object, until they have it or are given up.",
    .create = deliverer_create,
    .destroy = deliverer_destroy,
    .drain = deliverer_drain,
    .drained = deliverer_drained,
    .reload = deliverer_reload,
    .stats = deliverer_stats,
    .ready = deliverer_ready,
    .check = deliverer_check,
    .ops = control_ops,
    .backup = parts,
};
