#include "services/deliverer/sending.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/crash.h"
#include "common/base/mem.h"
#include "services/deliverer/cancel.h"
#include "services/deliverer/ended.h"
#include "services/deliverer/refill.h"

enum {
    STARTS_PER_TURN = 1000, /* then other work has its turn */
    AGE_SLACK_MS = 10000,   /* the last attempt is planned just before max_age; timers are late */
};

struct sending_t {
    deliverer_t *deliverer;
    flight_t *first; /* in flight */
    size_t n;
    int timer_id; /* -1: none */
    int64_t timer_due_ms;
    bool more;   /* the last turn ended before everything was started */
    int max;     /* in flight at once */
    int allowed; /* of these, as far as descriptors go */
    bool paused; /* not even one could start: until the next poll */
    bool tight;  /* starved since the last poll */
};

sending_t *sending_new(deliverer_t *deliverer)
{
    sending_t *sending = MEM_NEW(sending_t);
    *sending = (sending_t){.deliverer = deliverer, .timer_id = -1};
    return sending;
}

static void allow(sending_t *sending, int allowed)
{
    sending->allowed = allowed;
    lanes_set_global_max(sending->deliverer->lanes, allowed);
}

void sending_set_max(sending_t *sending, int max)
{
    sending->max = max;
    allow(sending, max);
}

/* What is in flight now is as much as there can be; more is tried step by step. From now on a new
 * connection takes the place of an idle one. */
static void starve(sending_t *sending)
{
    deliverer_t *d = sending->deliverer;
    d->counts.starved++;
    if (sending->allowed == sending->max)
        log_line(d->log, LEVEL_WARN,
                 "event=descriptors_exhausted next=\"fewer requests at once; raise the limit of "
                 "open files\"");
    sending->paused = sending->n == 0;
    sending->tight = true;
    allow(sending, sending->n ? (int)sending->n : 1);
}

void sending_poll(sending_t *sending)
{
    deliverer_t *d = sending->deliverer;
    sending->paused = false;
    if (sending->allowed == sending->max)
        return;
    if (sending->tight) { /* nothing idle has had to make room yet, if what starved was alone */
        sending->tight = false;
        return;
    }
    http_unstarve(d->http);
    allow(sending, sending->allowed < sending->max / 2 ? sending->allowed * 2 : sending->max);
    if (sending->allowed == sending->max)
        log_line(d->log, LEVEL_INFO, "event=descriptors_free");
}

static bool may_start(const sending_t *sending)
{
    return deliverer_working(sending->deliverer) && !sending->paused;
}

static flight_t *flight_new(sending_t *sending, const lanes_delivery_t *delivery,
                            cache_entry_t *entry, const event_t *event, settings_t *settings)
{
    flight_t *flight = MEM_NEW(flight_t);
    *flight = (flight_t){.deliverer = sending->deliverer,
                         .delivery = *delivery,
                         .entry = entry,
                         .event = event,
                         .settings = settings_ref(settings),
                         .started_ms = clk_wall_ms(),
                         .after = sending->first};
    if (!flight->delivery.first_wall_ms)
        flight->delivery.first_wall_ms = flight->started_ms;
    if (sending->first)
        sending->first->before = flight;
    sending->first = flight;
    sending->n++;
    busy_set(sending->deliverer->busy, delivery->seq, delivery->handler_id, flight);
    return flight;
}

static void flight_release(sending_t *sending, flight_t *flight)
{
    cache_t *cache = sending->deliverer->cache;
    if (flight->before)
        flight->before->after = flight->after;
    else
        sending->first = flight->after;
    if (flight->after)
        flight->after->before = flight->before;
    sending->n--;
    request_release(&flight->request);
    settings_destroy(&flight->settings);
    cache_unuse(cache, flight->entry);
    cache_unref(cache, flight->entry);
    free(flight);
}

void sending_destroy(sending_t **sending)
{
    if (!*sending)
        return;
    if ((*sending)->timer_id >= 0)
        zloop_timer_end((*sending)->deliverer->loop, (*sending)->timer_id);
    for (flight_t *flight = (*sending)->first, *after; flight; flight = after) {
        after = flight->after;
        flight_release(*sending, flight);
    }
    free(TAKE(*sending));
}

/* Where a row of the store goes. */
typedef struct {
    cache_t *cache;
    cache_entry_t *entry;
} load_t;

static void on_event(void *owner, const event_t *event)
{
    load_t *load = owner;
    cache_fill(load->cache, load->entry, event);
}

/* The delivery's event, referred to and in use. NULL: the store cannot give it. */
static const event_t *need_event(deliverer_t *d, const lanes_delivery_t *delivery,
                                 cache_entry_t **ret_entry)
{
    cache_entry_t *entry = delivery->event;
    if (entry)
        cache_ref(entry);
    else
        entry = cache_put(d->cache, delivery->seq, NULL, true);
    const event_t *event = cache_use(entry);
    if (!event) {
        load_t load = {d->cache, entry};
        result_t r = backlog_event(d->backlog, delivery->seq, on_event, &load);
        event = r == RESULT_OK ? cache_use(entry) : NULL;
        if (!event)
            deliverer_unread(d, r, "an event of the queue cannot be read");
    }
    if (!event)
        cache_unref(d->cache, entry);
    else
        *ret_entry = entry;
    return event;
}

static bool too_old(const settings_t *settings, const lanes_delivery_t *delivery,
                    const event_t *event)
{
    int64_t slack_ms = delivery->attempts ? AGE_SLACK_MS : 0;
    return clk_wall_ms() - event->accepted_ms > settings->schedule.max_age_ms + slack_ms;
}

/* Why the delivery ends without an attempt; NULL: it does not. */
static const char *why_not(const deliverer_t *d, const roster_handler_t *handler,
                           const lanes_delivery_t *delivery, const event_t *event,
                           ended_how_t *ret_how)
{
    *ret_how = ENDED_CANCELLED;
    if (roster_gone(handler))
        return roster_gone_reason(handler);
    const char *reason =
        cancel_covers(d->cancel, delivery->handler_id, delivery->object, delivery->seq);
    if (reason || !too_old(handler->settings, delivery, event))
        return reason;
    *ret_how = ENDED_EXHAUSTED;
    return "max_age";
}

static void end_untried(deliverer_t *d, ended_how_t how, const char *reason,
                        const lanes_delivery_t *delivery, const cache_entry_t *entry,
                        const event_t *event)
{
    queue_delivery_t row = {.seq = delivery->seq,
                            .handler_id = delivery->handler_id,
                            .object = delivery->object,
                            .attempts = delivery->attempts};
    lanes_verdict_t verdict = {.next = LANES_FINAL, .health = LANES_NEUTRAL};
    ended_untried(d, how, reason, entry, event, &row, true);
    lanes_done(d->lanes, delivery, &verdict, clk_mono_ms());
}

static void send_flight(deliverer_t *d, flight_t *flight)
{
    const settings_t *settings = flight->settings;
    if (settings->fault.text[0]) {
        exchange_result_t unusable = {.end = EXCHANGE_INVALID,
                                      .error = slice_of(settings->fault.text)};
        ended_attempt(d, flight, &unusable);
        flight_release(d->sending, flight);
        return;
    }
    request_init(&flight->request, settings, flight->event, flight->delivery.attempts + 1,
                 flight->started_ms);
    if (settings->script)
        script_send(d->script, &flight->request.exchange, flight);
    else
        http_send(d->http, &flight->request.exchange, flight);
}

static void start_one(deliverer_t *d, const lanes_delivery_t *delivery)
{
    cache_entry_t *entry = NULL;
    ended_how_t how;
    const roster_handler_t *handler = roster_find(d->roster, delivery->handler_id);
    const event_t *event = need_event(d, delivery, &entry);
    if (!event) {
        lanes_done(d->lanes, delivery, &(lanes_verdict_t){.next = LANES_BACK}, clk_mono_ms());
        return;
    }
    const char *reason = why_not(d, handler, delivery, event, &how);
    if (!reason) {
        send_flight(d, flight_new(d->sending, delivery, entry, event, handler->settings));
        return;
    }
    end_untried(d, how, reason, delivery, entry, event);
    cache_unuse(d->cache, entry);
    cache_unref(d->cache, entry);
}

void sending_start(sending_t *sending)
{
    deliverer_t *d = sending->deliverer;
    lanes_delivery_t delivery;
    int started = 0;
    refill_answer(d->refill);
    while (may_start(sending) && started < STARTS_PER_TURN &&
           lanes_take(d->lanes, clk_mono_ms(), &delivery)) {
        start_one(d, &delivery);
        refill_answer(d->refill);
        started++;
    }
    sending->more = started == STARTS_PER_TURN;
}

static int on_timer(zloop_t *loop, int timer_id, void *self)
{
    sending_t *sending = self;
    (void)loop;
    (void)timer_id;
    sending->timer_id = -1;
    deliverer_turn(sending->deliverer);
    return 0;
}

void sending_arm(sending_t *sending)
{
    deliverer_t *d = sending->deliverer;
    int64_t now_ms = clk_mono_ms();
    int64_t due_ms = -1;
    if (may_start(sending))
        due_ms = sending->more ? now_ms : lanes_due_ms(d->lanes, now_ms);
    if (sending->timer_id >= 0) {
        if (due_ms == sending->timer_due_ms)
            return;
        zloop_timer_end(d->loop, sending->timer_id);
        sending->timer_id = -1;
    }
    if (due_ms < 0)
        return;
    sending->timer_due_ms = due_ms;
    int64_t wait_ms = due_ms > now_ms ? due_ms - now_ms : 1;
    sending->timer_id = zloop_timer(d->loop, (size_t)wait_ms, 1, on_timer, sending);
}

size_t sending_in_flight(const sending_t *sending)
{
    return sending->n;
}

static bool flies_for(const flight_t *flight, int64_t handler_id, const uint64_t *object)
{
    return flight->delivery.handler_id == handler_id &&
           (!object || flight->delivery.object == *object);
}

void sending_cancel(sending_t *sending, int64_t handler_id, const uint64_t *object,
                    const char *reason)
{
    for (flight_t *flight = sending->first; flight; flight = flight->after)
        if (flies_for(flight, handler_id, object))
            flight->cancel = reason;
}

bool sending_cancelling(const sending_t *sending, int64_t handler_id, const uint64_t *object)
{
    for (const flight_t *flight = sending->first; flight; flight = flight->after)
        if (flight->cancel && flies_for(flight, handler_id, object))
            return true;
    return false;
}

/* It was not tried: no attempt is counted, nothing is recorded. */
static void give_back(deliverer_t *d, flight_t *flight)
{
    lanes_delivery_t *delivery = &flight->delivery;
    busy_remove(d->busy, delivery->seq, delivery->handler_id);
    if (flight->cancel) {
        end_untried(d, ENDED_CANCELLED, flight->cancel, delivery, flight->entry, flight->event);
        return;
    }
    if (!delivery->attempts)
        delivery->first_wall_ms = 0;
    lanes_done(d->lanes, delivery, &(lanes_verdict_t){.next = LANES_BACK}, clk_mono_ms());
}

void sending_done(void *owner, void *tag, const exchange_result_t *result)
{
    deliverer_t *d = owner;
    flight_t *flight = tag;
    CRASH_POINT("deliverer.responded");
    if (result->end == EXCHANGE_STARVED)
        give_back(d, flight);
    else
        ended_attempt(d, flight, result);
    flight_release(d->sending, flight);
    if (result->end == EXCHANGE_STARVED)
        starve(d->sending);
    deliverer_turn(d);
}
