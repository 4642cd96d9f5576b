#include "services/deliverer/restart.h"
#include "common/base/clk.h"

lanes_delivery_t restart_delivery(const deliverer_t *d, const queue_delivery_t *row)
{
    const roster_handler_t *handler = roster_find(d->roster, row->handler_id);
    int64_t now_ms = clk_wall_ms();
    int64_t due_ms = row->due_ms;
    if (handler && handler->settings)
        due_ms = retry_clamp_due(&handler->settings->schedule, due_ms, now_ms);
    return (lanes_delivery_t){.seq = row->seq,
                              .handler_id = row->handler_id,
                              .object = row->object,
                              .attempts = (int)row->attempts,
                              .first_wall_ms = row->first_ms,
                              .due_ms = due_ms > now_ms ? clk_mono_ms() + due_ms - now_ms : 0};
}

static void on_known(void *owner, slice_t node, int partition, slice_t id, bool unmatched)
{
    deliverer_t *d = owner;
    ulid_t parsed;
    if (ulid_parse(id, &parsed) == RESULT_OK)
        custody_restore(d->custody, node, partition, &parsed, unmatched);
}

static void on_low_water(void *owner, slice_t node, int partition, slice_t id)
{
    deliverer_t *d = owner;
    ulid_t low_water = {""};
    if (id.size == 0 || ulid_parse(id, &low_water) == RESULT_OK)
        (void)custody_raise(d->custody, node, partition, &low_water);
}

static result_t load_known(deliverer_t *d)
{
    slice_t node;
    int partition;
    result_t r = backlog_low_waters(d->backlog, on_low_water, d);
    for (size_t i = 0; r == RESULT_OK && custody_source(d->custody, i, &node, &partition); i++) {
        ulid_t low_water = custody_low_water(d->custody, node, partition);
        r = backlog_known(d->backlog, node, partition, slice_of(low_water.text), on_known, d);
    }
    return r;
}

static void on_failing(void *owner, int64_t handler_id, int64_t since_ms)
{
    deliverer_t *d = owner;
    roster_handler_t *handler = roster_find(d->roster, handler_id);
    if (roster_gone(handler))
        return;
    int64_t for_ms = clk_wall_ms() - since_ms;
    handler->failing_since_ms = since_ms;
    handler->failing_from_ms = clk_mono_ms() - (for_ms > 0 ? for_ms : 0);
}

typedef struct {
    deliverer_t *deliverer;
    int64_t unknown_id; /* a handler that the table does not know; 0: it knows all */
} loading_t;

static void on_waiting(void *owner, const queue_delivery_t *row)
{
    loading_t *loading = owner;
    deliverer_t *d = loading->deliverer;
    roster_handler_t *handler = roster_find(d->roster, row->handler_id);
    d->pending++;
    if (handler)
        handler->pending++;
    if (!handler)
        loading->unknown_id = row->handler_id;
    if (roster_gone(handler))
        return;
    lanes_delivery_t delivery = restart_delivery(d, row);
    lanes_restore(d->lanes, &delivery, delivery.due_ms, 1);
}

static result_t load_numbers(deliverer_t *d)
{
    int64_t first = 0;
    int64_t newest = 0;
    int64_t last = 0;
    result_t r = backlog_last_seq(d->backlog, &d->last_seq);
    d->committed_seq = d->last_seq;
    if (r == RESULT_OK)
        r = backlog_outbox_first(d->backlog, &first);
    if (r == RESULT_OK)
        r = backlog_outbox_newest(d->backlog, &newest);
    if (r == RESULT_OK)
        r = backlog_outbox_last(d->backlog, &last);
    if (r == RESULT_OK)
        d->outbox = outbox_new(d->backlog, first, newest, last);
    return r;
}

static result_t unreadable(const deliverer_t *d, result_t r, fault_t *fault)
{
    return fault_set(fault, r, "queue.db cannot be read: %s", backlog_error(d->backlog));
}

static const char *handlers_dir(const deliverer_t *d)
{
    return config_handlers_dir(service_config(d->service));
}

static result_t load_lanes(deliverer_t *d, fault_t *fault)
{
    loading_t loading = {.deliverer = d};
    result_t r = backlog_waiting(d->backlog, on_waiting, &loading);
    if (r != RESULT_OK)
        return unreadable(d, r, fault);
    if (!loading.unknown_id)
        return RESULT_OK;
    return fault_set(fault, RESULT_INVALID,
                     "queue.db has deliveries to handler %lld, which handlers.db in %s does not "
                     "know; check provisor.handlers, or restore handlers.db",
                     (long long)loading.unknown_id, handlers_dir(d));
}

static void forget_failing(void *owner, int64_t handler_id, int64_t since_ms)
{
    (void)since_ms;
    deliverer_t *d = owner;
    roster_handler_t *handler = roster_find(d->roster, handler_id);
    if (handler)
        handler->failing_since_ms = 0;
    commit_failing(d->next, handler_id, 0);
}

/* Nothing waits, so nothing can be cancelled or go to another handler of the same number. */
static result_t take_older(deliverer_t *d, int64_t version, int64_t found)
{
    log_line(d->log, LEVEL_WARN,
             "event=handler_table_replaced version=%lld before=%lld next=\"the queue is empty: the "
             "table in %s is taken; replays of older events may name other handlers\"",
             (long long)found, (long long)version, handlers_dir(d));
    d->next->table_version = found;
    return backlog_failing(d->backlog, forget_failing, d);
}

/* Rows of the table never go and its version only rises. With another one, or a lost one, pending
 * deliveries would be cancelled as if an operator had deleted their handlers. */
static result_t check_version(deliverer_t *d, fault_t *fault)
{
    int64_t version = 0;
    int64_t found = roster_version(d->roster);
    result_t r = backlog_table_version(d->backlog, &version);
    if (r == RESULT_OK && version > found && !d->pending)
        r = take_older(d, version, found);
    if (r != RESULT_OK)
        return unreadable(d, r, fault);
    if (version <= found || !d->pending)
        return RESULT_OK;
    return fault_set(fault, RESULT_INVALID,
                     "handlers.db in %s is older (version %lld) than what this queue was filled "
                     "with (version %lld), and %lld deliveries wait in it; check "
                     "provisor.handlers, or restore handlers.db",
                     handlers_dir(d), (long long)found, (long long)version, (long long)d->pending);
}

result_t restart_load(deliverer_t *d, fault_t *fault)
{
    result_t r = load_numbers(d);
    (void)roster_poll(d->roster); /* what is gone is cancelled up to the last number */
    if (r == RESULT_OK)
        r = load_known(d);
    if (r == RESULT_OK)
        r = backlog_failing(d->backlog, on_failing, d);
    if (r != RESULT_OK)
        return unreadable(d, r, fault);
    r = load_lanes(d, fault);
    return r == RESULT_OK ? check_version(d, fault) : r;
}
