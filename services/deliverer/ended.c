#include "services/deliverer/ended.h"
#include "common/base/clk.h"
#include "common/base/hash.h"
#include "services/deliverer/outcome.h"

#define REASON_GONE "answered 410 Gone"
enum { HOLD_EVENT_MS = 10000 };

/* What an attempt comes to. */
typedef struct {
    const char *topic;
    const char *reason;
    bool final;
    int64_t delay_ms; /* not final: until the next attempt */
    bool timed;       /* not final: the next attempt is due after delay_ms, not when released */
} end_t;

static const char topic_delivered[] = "delivery.delivered";
static const char topic_retrying[] = "delivery.retrying";
static const char topic_exhausted[] = "delivery.exhausted";
static const char topic_cancelled[] = "delivery.cancelled";

static record_t record_of(const char *topic, const event_t *event, int64_t handler_id,
                          const settings_t *settings, int64_t now_ms)
{
    return (record_t){.topic = slice_of(topic),
                      .at_ms = now_ms,
                      .event_id = event->id,
                      .webhook_id = event->webhook_id,
                      .events_id = event->events_id,
                      .object_kind = event->object_kind,
                      .object_id = event->object_id,
                      .replay = event->replay,
                      .handler_id = handler_id,
                      .handler = settings ? slice_of(settings->name) : (slice_t){0},
                      .url = settings ? slice_of(settings->shown_url) : (slice_t){0}};
}

/* Into the batch that is collected; counts follow. */
static void commit_end(deliverer_t *d, const cache_entry_t *entry, const queue_delivery_t *delivery,
                       bool final, bool has_row, const record_t *record)
{
    roster_handler_t *handler = roster_find(d->roster, delivery->handler_id);
    commit_outcome(d->next, entry, delivery, final, has_row, outbox_next_seq(d->outbox), record);
    if (!final) {
        busy_remove(d->busy, delivery->seq, delivery->handler_id);
        return;
    }
    if (has_row) {
        busy_set(d->busy, delivery->seq, delivery->handler_id, NULL);
        d->pending--;
        if (handler) {
            handler->pending--;
            handler->ended++;
        }
    }
    d->counts.delivered += record->topic.data == topic_delivered;
    d->counts.exhausted += record->topic.data == topic_exhausted;
    d->counts.cancelled += record->topic.data == topic_cancelled;
}

void ended_untried(deliverer_t *d, ended_how_t how, const char *reason, const cache_entry_t *entry,
                   const event_t *event, const queue_delivery_t *delivery, bool has_row)
{
    const roster_handler_t *handler = roster_find(d->roster, delivery->handler_id);
    record_t record =
        record_of(how == ENDED_EXHAUSTED ? topic_exhausted : topic_cancelled, event,
                  delivery->handler_id, handler ? handler->settings : NULL, clk_wall_ms());
    record.attempt = delivery->attempts;
    record.reason = slice_of(reason);
    commit_end(d, entry, delivery, true, has_row, &record);
}

/* 0..1, the same for the same attempt of one process. */
static double jitter(const deliverer_t *d, const queue_delivery_t *delivery)
{
    uint64_t state = hash_end((uint64_t)service_boot(d->service));
    state = hash_end(state ^ (uint64_t)delivery->seq);
    state = hash_end(state ^ (uint64_t)delivery->handler_id);
    state = hash_end(state ^ (uint64_t)delivery->attempts);
    return (double)(state >> 11) / (double)(UINT64_C(1) << 53);
}

static end_t try_again(const deliverer_t *d, const settings_t *settings, const event_t *event,
                       const queue_delivery_t *delivery, const exchange_result_t *result,
                       int64_t now_ms)
{
    int64_t delay_ms = 0;
    int64_t age_ms = now_ms > event->accepted_ms ? now_ms - event->accepted_ms : 0;
    switch (retry_next(&settings->schedule, (int)delivery->attempts, age_ms,
                       outcome_retry_after_ms(result, now_ms), jitter(d, delivery), &delay_ms)) {
    case RETRY_AT:
        return (end_t){topic_retrying, NULL, false, delay_ms, true};
    case RETRY_EXHAUSTED_ATTEMPTS:
        return (end_t){topic_exhausted, "attempts", true, 0, false};
    case RETRY_EXHAUSTED_AGE:
        break;
    }
    return (end_t){topic_exhausted, "max_age", true, 0, false};
}

static end_t end_of(const deliverer_t *d, const flight_t *flight, const roster_handler_t *handler,
                    const queue_delivery_t *delivery, const exchange_result_t *result,
                    int64_t now_ms)
{
    outcome_t outcome = outcome_of(result);
    if (outcome == OUTCOME_DELIVERED)
        return (end_t){topic_delivered, NULL, true, 0, false};
    if (flight->cancel)
        return (end_t){topic_cancelled, flight->cancel, true, 0, false};
    if (roster_gone(handler))
        return (end_t){topic_cancelled, roster_gone_reason(handler), true, 0, false};
    if (outcome == OUTCOME_GONE)
        return (end_t){topic_retrying, REASON_GONE, false, 0, false};
    return try_again(d, handler->settings, flight->event, delivery, result, now_ms);
}

static void note_success(deliverer_t *d, roster_handler_t *handler, int64_t now_ms)
{
    handler->last_success_ms = now_ms;
    if (!handler->failing_since_ms)
        return;
    handler->failing_since_ms = 0;
    commit_failing(d->next, handler->id, 0);
}

static void note_failure(deliverer_t *d, roster_handler_t *handler, const exchange_result_t *result,
                         int64_t now_ms)
{
    handler->last_error_ms = now_ms;
    if (result->end == EXCHANGE_ANSWERED)
        snprintf(handler->last_error, sizeof handler->last_error, "status %lld",
                 (long long)result->status);
    else
        snprintf(handler->last_error, sizeof handler->last_error, "%.*s", SLICE_ARG(result->error));
    if (!handler->failing_since_ms) {
        handler->failing_since_ms = now_ms;
        handler->failing_from_ms = clk_mono_ms();
        commit_failing(d->next, handler->id, now_ms);
    }
}

/* Suspends a handler that said it is gone, or that has only failed for too long. Its time of
 * failing starts again when an operator enables it. */
static void suspend_if_due(deliverer_t *d, roster_handler_t *handler,
                           const exchange_result_t *result)
{
    char since[CLK_ISO_SIZE];
    char reason[256];
    bool gone = outcome_of(result) == OUTCOME_GONE;
    bool failed_long = d->limits.suspend_ms > 0 &&
                       clk_mono_ms() - handler->failing_from_ms >= d->limits.suspend_ms;
    if ((!gone && !failed_long) || handler->status != HANDLER_ENABLED)
        return;
    clk_iso_seconds(handler->failing_since_ms, since);
    snprintf(reason, sizeof reason, "only failed since %s: %.180s", since, handler->last_error);
    handler->failing_since_ms = 0;
    commit_failing(d->next, handler->id, 0);
    roster_suspend(d->roster, handler, gone ? REASON_GONE : reason);
}

static void note_handler(deliverer_t *d, int64_t handler_id, const exchange_result_t *result,
                         int64_t now_ms)
{
    roster_handler_t *handler = roster_find(d->roster, handler_id);
    if (outcome_of(result) != OUTCOME_DELIVERED)
        d->counts.failed++;
    if (roster_gone(handler))
        return;
    if (outcome_of(result) == OUTCOME_DELIVERED) {
        note_success(d, handler, now_ms);
        return;
    }
    note_failure(d, handler, result, now_ms);
    suspend_if_due(d, handler, result);
}

static void record_attempt(deliverer_t *d, const flight_t *flight, const end_t *end,
                           const queue_delivery_t *delivery, const exchange_result_t *result,
                           int64_t now_ms)
{
    AUTO_BUF request = {0};
    record_t record =
        record_of(end->topic, flight->event, delivery->handler_id, flight->settings, now_ms);
    if (flight->request.pointers)
        request_show(&flight->request, flight->settings, &request);
    record.attempt = delivery->attempts;
    record.http_status = result->status;
    record.error = result->error;
    record.request = buf_slice(&request);
    record.response_headers = result->response_headers;
    record.response = result->response;
    record.duration_us = result->duration_us;
    record.next_ms = end->timed ? delivery->due_ms : 0;
    record.reason = slice_of(end->reason);
    commit_end(d, flight->entry, delivery, end->final, true, &record);
}

/* For a retry soon the event stays in memory; for one far off its row is enough, once there is one.
 */
static void hold_event(flight_t *flight, int64_t delay_ms)
{
    if (delay_ms > HOLD_EVENT_MS && flight->entry->stored) {
        flight->delivery.event = NULL;
    } else if (!flight->delivery.event) {
        cache_ref(flight->entry);
        flight->delivery.event = flight->entry;
    }
}

void ended_attempt(deliverer_t *d, flight_t *flight, const exchange_result_t *result)
{
    int64_t now_ms = clk_wall_ms();
    int64_t mono_ms = clk_mono_ms();
    int64_t handler_id = flight->delivery.handler_id;
    queue_delivery_t delivery = {.seq = flight->delivery.seq,
                                 .handler_id = handler_id,
                                 .object = flight->delivery.object,
                                 .attempts = flight->delivery.attempts + 1,
                                 .first_ms = flight->delivery.first_wall_ms};
    d->counts.attempts++;
    end_t end = end_of(d, flight, roster_find(d->roster, handler_id), &delivery, result, now_ms);
    if (!end.final)
        delivery.due_ms = now_ms + end.delay_ms;
    record_attempt(d, flight, &end, &delivery, result, now_ms);
    note_handler(d, handler_id, result, now_ms);
    lanes_verdict_t verdict = {.next = end.final ? LANES_FINAL : LANES_RETRY,
                               .due_ms = mono_ms + end.delay_ms,
                               .health = outcome_health(result),
                               .timed_out = result->end == EXCHANGE_TIMEOUT};
    if (!end.final)
        hold_event(flight, end.delay_ms);
    lanes_done(d->lanes, &flight->delivery, &verdict, mono_ms);
}
