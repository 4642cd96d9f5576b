#include "services/deliverer/control.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/service/catalogue.h"
#include "common/wire/object.h"
#include "services/deliverer/cancel.h"
#include "services/deliverer/ended.h"
#include "services/deliverer/locate.h"
#include "services/deliverer/storage.h"

enum {
    OLDEST_ROWS = 20000, /* looked at per question; the next one goes on from there */
    KINDS_MAX = 64,
    COMMIT_WAIT_MS = 2000, /* the loop stands still meanwhile */
};

static void write_oldest(deliverer_t *d, roster_handler_t *handler, int64_t *left, json_writer_t *w)
{
    int64_t accepted_ms = 0;
    json_key(w, "oldest_ms");
    if (!handler->pending || backlog_oldest(d->backlog, handler->id, left, &handler->oldest_seq,
                                            &accepted_ms) != RESULT_OK) {
        json_null(w);
        return;
    }
    int64_t age_ms = clk_wall_ms() - accepted_ms;
    json_int(w, age_ms > 0 ? age_ms : 0);
}

static void write_handler(deliverer_t *d, roster_handler_t *handler, int64_t *left,
                          json_writer_t *w)
{
    lanes_stats_t stats = {0};
    lanes_stats(d->lanes, handler->id, &stats);
    breaker_t circuit = {.state = stats.circuit};
    json_open_object(w);
    json_key_int(w, "handler_id", handler->id);
    json_key_int(w, "pending", handler->pending);
    json_key_int(w, "lanes", stats.lanes);
    json_key_int(w, "blocked_lanes", stats.blocked_lanes);
    json_key_int(w, "in_flight", stats.in_flight);
    write_oldest(d, handler, left, w);
    json_key_str(w, "circuit", breaker_str(&circuit));
    json_key_int(w, "last_success_ms", handler->last_success_ms);
    json_key_str(w, "last_error", handler->last_error);
    json_key_int(w, "last_error_ms", handler->last_error_ms);
    json_close_object(w);
}

static result_t op_handlers(void *self, const json_tree_t *question, json_writer_t *w,
                            fault_t *fault)
{
    deliverer_t *d = self;
    roster_handler_t *handler;
    int64_t left = OLDEST_ROWS;
    (void)question;
    (void)fault;
    json_key(w, "handlers");
    json_open_array(w);
    for (size_t i = 0; (handler = roster_at(d->roster, i)); i++)
        if (!roster_gone(handler) || handler->pending)
            write_handler(d, handler, &left, w);
    json_close_array(w);
    return RESULT_OK;
}

static const char *state_of(const deliverer_t *d, const queue_delivery_t *delivery, int64_t before)
{
    switch (lanes_place(d->lanes, delivery->handler_id, delivery->object, delivery->seq)) {
    case LANES_PLACE_IN_FLIGHT:
        return "in_flight";
    case LANES_PLACE_RETRYING:
        return "retrying";
    case LANES_PLACE_BEHIND:
        return "blocked";
    case LANES_PLACE_READY:
        return "waiting";
    case LANES_PLACE_UNKNOWN:
        break;
    }
    return before ? "blocked" : "waiting";
}

static void write_delivery(const deliverer_t *d, slice_t event_id, const queue_delivery_t *delivery,
                           int64_t before, json_writer_t *w)
{
    AUTO_BUF id = {0};
    buf_printf(&id, "%.*s-%lld", SLICE_ARG(event_id), (long long)delivery->handler_id);
    json_open_object(w);
    json_key_str(w, "delivery_id", id.data);
    json_key_int(w, "handler_id", delivery->handler_id);
    json_key_int(w, "attempts", delivery->attempts);
    json_key_int(w, "due_ms", delivery->due_ms);
    json_key_str(w, "state", state_of(d, delivery, before));
    json_close_object(w);
}

static result_t op_deliveries(void *self, const json_tree_t *question, json_writer_t *w,
                              fault_t *fault)
{
    const deliverer_t *d = self;
    int64_t ids[LOCATE_HANDLERS_MAX];
    size_t n = 0;
    locate_event_t event;
    slice_t event_id = slice_of(json_get_str(question, "event_id"));
    if (!event_id.data)
        return fault_set(fault, RESULT_INVALID, "deliveries needs \"event_id\"");
    result_t r = locate_event(d, event_id, &event);
    if (r == RESULT_OK)
        r = locate_handlers(d, &event, ids, &n);
    if (r != RESULT_OK && r != RESULT_NOT_FOUND)
        return fault_set(fault, r, "the queue cannot be read");
    json_key(w, "deliveries");
    json_open_array(w);
    for (size_t i = 0; i < n; i++) {
        queue_delivery_t delivery;
        int64_t before = 0;
        if (locate_delivery(d, &event, ids[i], &delivery, &before) == RESULT_OK)
            write_delivery(d, event_id, &delivery, before, w);
    }
    json_close_array(w);
    return RESULT_OK;
}

/* What a question about waiting deliveries means: one, a lane per object kind, or all of a
 * handler. */
typedef struct {
    bool one;
    locate_event_t event; /* one */
    queue_delivery_t delivery;
    roster_handler_t *handler;
    uint64_t objects[KINDS_MAX]; /* the object's lanes */
    size_t n_objects;
    bool nothing; /* what was named is not here */
} scope_t;

static bool kind_seen(const catalogue_t *catalogue, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (strcmp(catalogue_at(catalogue, j)->kind, catalogue_at(catalogue, i)->kind) == 0)
            return true;
    return false;
}

/* An object id alone does not say its kind: its lanes are those of every kind. */
static result_t scope_objects(const deliverer_t *d, slice_t object_id, scope_t *scope,
                              fault_t *fault)
{
    AUTO(catalogue) catalogue = NULL;
    const char *extra = config_text(service_config(d->service), "catalogue", "extra");
    result_t r = catalogue_new(extra, &catalogue, fault);
    if (r != RESULT_OK)
        return r;
    for (size_t i = 0; i < catalogue_size(catalogue) && scope->n_objects < KINDS_MAX; i++)
        if (!kind_seen(catalogue, i))
            scope->objects[scope->n_objects++] =
                object_hash(slice_of(catalogue_at(catalogue, i)->kind), object_id, (slice_t){0});
    return RESULT_OK;
}

static result_t scope_handler(const deliverer_t *d, const json_tree_t *question, scope_t *scope,
                              fault_t *fault)
{
    const json_tree_t *object = json_get(question, "object_id");
    int64_t id = json_get_int(question, "handler_id", 0);
    slice_t text = {0};
    scope->handler = roster_find(d->roster, id);
    if (!scope->handler)
        return fault_set(fault, RESULT_NOT_FOUND, "there is no handler %lld", (long long)id);
    if (!object)
        return RESULT_OK;
    if (YAJL_IS_STRING(object))
        text = slice_of(YAJL_GET_STRING(object));
    else if (YAJL_IS_NUMBER(object))
        text = slice_of(YAJL_GET_NUMBER(object));
    if (!object_is_ordered(text))
        return fault_set(fault, RESULT_INVALID, "\"object_id\" is a text or a number");
    if (!scope->handler->settings->ordered)
        return fault_set(fault, RESULT_INVALID,
                         "handler %lld does not order by object; name the delivery instead",
                         (long long)id);
    return scope_objects(d, text, scope, fault);
}

static result_t scope_delivery(const deliverer_t *d, slice_t delivery_id, scope_t *scope,
                               fault_t *fault)
{
    slice_t event_id;
    int64_t handler_id = 0;
    int64_t before = 0;
    scope->one = true;
    if (locate_parse(delivery_id, &event_id, &handler_id) != RESULT_OK)
        return fault_set(fault, RESULT_INVALID,
                         "\"delivery_id\" is an event id, '-' and a handler id");
    result_t r = locate_event(d, event_id, &scope->event);
    if (r == RESULT_OK)
        r = locate_delivery(d, &scope->event, handler_id, &scope->delivery, &before);
    scope->nothing = r == RESULT_NOT_FOUND;
    if (r != RESULT_OK && r != RESULT_NOT_FOUND)
        return fault_set(fault, r, "the queue cannot be read");
    return RESULT_OK;
}

static result_t scope_of(const deliverer_t *d, const json_tree_t *question, scope_t *ret_scope,
                         fault_t *fault)
{
    slice_t delivery_id = slice_of(json_get_str(question, "delivery_id"));
    *ret_scope = (scope_t){.one = false};
    if (delivery_id.data)
        return scope_delivery(d, delivery_id, ret_scope, fault);
    if (json_get(question, "handler_id"))
        return scope_handler(d, question, ret_scope, fault);
    return fault_set(fault, RESULT_INVALID, "\"delivery_id\" or \"handler_id\" is needed");
}

typedef struct {
    deliverer_t *deliverer;
    const scope_t *scope;
} cancel_one_t;

static void on_cancel_one(void *owner, const event_t *event)
{
    const cancel_one_t *one = owner;
    const queue_delivery_t *row = &one->scope->delivery;
    (void)lanes_drop(one->deliverer->lanes, row->handler_id, row->object, row->seq, clk_mono_ms());
    ended_untried(one->deliverer, ENDED_CANCELLED, CANCEL_OPERATOR, one->scope->event.entry, event,
                  row, true);
}

static int64_t cancel_one(deliverer_t *d, const scope_t *scope)
{
    void *flight = NULL;
    const queue_delivery_t *row = &scope->delivery;
    cancel_one_t one = {d, scope};
    if (busy_find(d->busy, row->seq, row->handler_id, &flight)) {
        cancel_flight(d->cancel, flight);
        return 1;
    }
    if (scope->event.entry)
        on_cancel_one(&one, scope->event.event->event);
    else if (backlog_event(d->backlog, row->seq, on_cancel_one, &one) != RESULT_OK)
        return 0;
    return 1;
}

/* All are counted before the first is cancelled: a failure leaves everything as it was. */
static result_t cancel_objects(deliverer_t *d, const scope_t *scope, int64_t *ret_count,
                               fault_t *fault)
{
    int64_t lanes[KINDS_MAX] = {0}, count = 0;
    for (size_t i = 0; i < scope->n_objects; i++) {
        result_t r = locate_lane_count(d, scope->handler->id, scope->objects[i], &lanes[i]);
        if (r != RESULT_OK)
            return fault_set(fault, r, "the queue cannot be read; nothing is cancelled");
        count += lanes[i];
    }
    for (size_t i = 0; i < scope->n_objects; i++)
        if (lanes[i])
            cancel_lane(d->cancel, scope->handler->id, scope->objects[i], CANCEL_OPERATOR);
    *ret_count = count;
    return RESULT_OK;
}

/* What was answered holds over a crash. */
static result_t commit_cancels(deliverer_t *d, fault_t *fault)
{
    result_t r = storage_wait(d, COMMIT_WAIT_MS);
    if (r == RESULT_OK)
        return r;
    return fault_set(fault, r,
                     "the queue cannot be written now, so nothing is certain to be "
                     "cancelled; see `provisor status` and try again");
}

static result_t op_cancel(void *self, const json_tree_t *question, json_writer_t *w, fault_t *fault)
{
    deliverer_t *d = self;
    scope_t scope;
    int64_t count = 0;
    result_t r = scope_of(d, question, &scope, fault);
    if (r != RESULT_OK)
        return r;
    if (scope.one) {
        count = scope.nothing ? 0 : cancel_one(d, &scope);
    } else if (scope.n_objects) {
        r = cancel_objects(d, &scope, &count, fault);
        if (r != RESULT_OK)
            return r;
    } else if (scope.handler) {
        count = scope.handler->pending;
        cancel_handler(d->cancel, scope.handler->id, CANCEL_OPERATOR);
    }
    json_key_int(w, "count", count);
    deliverer_turn(d);
    return count ? commit_cancels(d, fault) : RESULT_OK;
}

static result_t op_retry(void *self, const json_tree_t *question, json_writer_t *w, fault_t *fault)
{
    deliverer_t *d = self;
    scope_t scope;
    size_t count = 0;
    int64_t now_ms = clk_mono_ms();
    result_t r = scope_of(d, question, &scope, fault);
    if (r != RESULT_OK)
        return r;
    if (scope.one && !scope.nothing)
        count = lanes_hurry(d->lanes, scope.delivery.handler_id, scope.delivery.object, now_ms);
    for (size_t i = 0; scope.handler && i < scope.n_objects; i++)
        count += lanes_hurry(d->lanes, scope.handler->id, scope.objects[i], now_ms);
    if (scope.handler && !scope.n_objects)
        count = lanes_hurry(d->lanes, scope.handler->id, 0, now_ms);
    json_key_int(w, "count", (int64_t)count);
    deliverer_turn(d);
    return RESULT_OK;
}

/* What is taken already leaves, nothing new comes; asked again and again it says what is left. Ids
 * are left until their emitter has all receipts below them and says so with its low_water. */
static result_t op_empty(void *self, const json_tree_t *question, json_writer_t *w, fault_t *fault)
{
    deliverer_t *d = self;
    int64_t ids = (int64_t)custody_size(d->custody);
    int64_t outbox = outbox_size(d->outbox);
    (void)question;
    (void)fault;
    if (!d->emptying)
        log_line(d->log, LEVEL_INFO, "event=emptying pending=%lld next=\"takes nothing new\"",
                 (long long)d->pending);
    d->emptying = true;
    json_key_int(w, "pending", d->pending);
    json_key_int(w, "ids", ids);
    json_key_int(w, "outbox", outbox);
    json_key_bool(w, "empty", !d->pending && !ids && !outbox && storage_idle(d));
    return RESULT_OK;
}

const service_op_t control_ops[] = {
    {"handlers", op_handlers}, {"deliveries", op_deliveries}, {"cancel", op_cancel},
    {"retry", op_retry},       {"empty", op_empty},           {NULL, NULL},
};
