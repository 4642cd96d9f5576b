#include "services/deliverer/lanes_core.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "common/base/result.h"

#include <stdlib.h>

/* Handlers that one lanes_take looks at; only setting heads aside needs more than one. */
enum { TURNS_MAX = 64 };
/* A wall clock that was moved by more than this changes when heads are set aside. */
enum { CLOCK_STEP_MS = 1000 };

lanes_t *lanes_new(int global_max, const lanes_calls_t *calls, void *owner)
{
    lanes_t *lanes = MEM_NEW(lanes_t);
    slab_init(&lanes->lanes, sizeof(lane_t));
    slab_init(&lanes->kept, sizeof(lane_kept_t));
    lanes->gates = gates_new(lanes_on_open, lanes);
    turns_init(&lanes->turns, &lanes->lanes);
    lanes->calls = *calls;
    lanes->owner = owner;
    lanes_set_global_max(lanes, global_max);
    return lanes;
}

void lanes_destroy(lanes_t **lanes)
{
    if (!*lanes)
        return;
    turns_release(&(*lanes)->turns);
    gates_destroy(&(*lanes)->gates);
    lane_table_release(&(*lanes)->table);
    slab_release(&(*lanes)->kept);
    slab_release(&(*lanes)->lanes);
    free(*lanes);
    *lanes = NULL;
}

void lanes_set_global_max(lanes_t *lanes, int global_max)
{
    turns_set_slots(&lanes->turns, global_max > 1 ? global_max : 1);
}

static void hold_changed(lanes_t *lanes, turns_handler_t *handler)
{
    lanes_rekey_all(lanes, handler);
    turns_place(&lanes->turns, handler);
}

void lanes_set_wall_offset(lanes_t *lanes, int64_t wall_minus_mono_ms)
{
    int64_t step_ms = wall_minus_mono_ms - lanes->wall_offset_ms;
    bool stepped = !lanes->wall_known || step_ms > CLOCK_STEP_MS || step_ms < -CLOCK_STEP_MS;
    if (!stepped)
        return;
    lanes->wall_offset_ms = wall_minus_mono_ms;
    lanes->wall_known = true;
    for (uint32_t i = 0; i < lanes->turns.count; i++)
        if (turns_at(&lanes->turns, i)->settings.hold_ms >= 0)
            hold_changed(lanes, turns_at(&lanes->turns, i));
}

void lanes_set_handler(lanes_t *lanes, const lanes_handler_t *settings)
{
    turns_handler_t *handler = turns_find_or_add(&lanes->turns, settings->id);
    bool other_hold = handler->settings.hold_ms != settings->hold_ms;
    handler->settings = *settings;
    rate_set(&handler->rate, settings->rate);
    if (other_hold)
        lanes_rekey_all(lanes, handler);
    turns_place(&lanes->turns, handler);
}

/* The gates of one event while its deliveries are added, in the order of priority. */
typedef struct {
    int64_t until_ms;
    int64_t last_priority; /* nobody waits for these */
    uint32_t group;        /* 0: nobody waits so far */
    int64_t priority;      /* of those in the group that may start now */
} opening_t;

static bool is_closed(const opening_t *opening, const lanes_target_t *target)
{
    return opening && opening->group && target->priority > opening->priority;
}

static uint32_t gate_of_head(lanes_t *lanes, opening_t *opening, const lanes_target_t *target,
                             uint32_t index, const turns_handler_t *handler)
{
    if (is_closed(opening, target))
        return gates_wait(lanes->gates, opening->group, target->priority, index);
    if (!opening || target->priority == opening->last_priority ||
        !turns_could_start(&lanes->turns, handler))
        return 0;
    if (!opening->group)
        opening->group = gates_begin(lanes->gates, opening->until_ms);
    opening->priority = target->priority;
    return gates_count(lanes->gates, opening->group);
}

/* Opening NULL: no gates. True: memory holds it. */
static bool add_one(lanes_t *lanes, int64_t seq, void *event, const lanes_target_t *target,
                    opening_t *opening)
{
    turns_handler_t *handler = turns_find_or_add(&lanes->turns, target->handler_id);
    uint32_t index =
        lane_table_find(&lanes->table, &lanes->lanes, handler->index, target->object, 0);
    bool is_new = index == 0;
    if (is_new)
        index = lanes_make(lanes, handler, target->object);
    lane_t *lane = lane_at(&lanes->lanes, index);
    bool kept = true;
    handler->pending++;
    if (is_new || lane->state == LANE_EMPTY) {
        if (!is_new)
            lanes_leave(lanes, index);
        lane->seq = seq;
        lane->event = event;
        lane->gate = gate_of_head(lanes, opening, target, index, handler);
        lanes_enter(lanes, index, is_closed(opening, target) ? LANE_GATED : LANE_READY);
    } else if (lanes_has_room(lanes, lane)) {
        lane_kept_t *behind = lanes_append(lanes, lane, seq, event);
        if (is_closed(opening, target))
            behind->gate = gates_wait(lanes->gates, opening->group, target->priority, index);
        lanes_rekey(lanes, index);
    } else {
        lane->stored++;
        kept = false;
        lanes_rekey(lanes, index);
    }
    turns_place(&lanes->turns, handler);
    return kept;
}

static int by_priority(const void *a, const void *b)
{
    const lanes_target_t *one = *(const lanes_target_t *const *)a;
    const lanes_target_t *other = *(const lanes_target_t *const *)b;
    if (one->priority != other->priority)
        return one->priority < other->priority ? -1 : 1;
    return one < other ? -1 : one > other;
}

static void add_gated(lanes_t *lanes, int64_t seq, void *event, const lanes_target_t *targets,
                      size_t n, int64_t until_ms, bool *ret_kept)
{
    AUTO_FREE const lanes_target_t **order = mem_alloc(n * sizeof(*order));
    for (size_t i = 0; i < n; i++)
        order[i] = &targets[i];
    qsort(order, n, sizeof(*order), by_priority);
    opening_t opening = {.until_ms = until_ms, .last_priority = order[n - 1]->priority};
    for (size_t i = 0; i < n; i++) {
        bool kept = add_one(lanes, seq, event, order[i], &opening);
        if (ret_kept)
            ret_kept[order[i] - targets] = kept;
    }
}

static bool has_one_priority(const lanes_target_t *targets, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (targets[i].priority != targets[0].priority)
            return false;
    return true;
}

void lanes_add(lanes_t *lanes, int64_t seq, void *event, const lanes_target_t *targets, size_t n,
               int64_t priority_wait_ms, int64_t now_ms, bool *ret_kept)
{
    lanes_tell_time(lanes, now_ms);
    if (priority_wait_ms > 0 && !has_one_priority(targets, n)) {
        add_gated(lanes, seq, event, targets, n, now_ms + priority_wait_ms, ret_kept);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        bool kept = add_one(lanes, seq, event, &targets[i], NULL);
        if (ret_kept)
            ret_kept[i] = kept;
    }
}

/* The lane whose head is to start; 0: none yet, because a head was set aside instead. */
static uint32_t pick(lanes_t *lanes, turns_handler_t *handler)
{
    int64_t now_ms = lanes->turns.now_ms;
    uint32_t ready = handler->ready.first;
    uint32_t retry = lane_heap_first(&handler->retries);
    if (retry && lane_at(&lanes->lanes, retry)->key_ms > now_ms)
        retry = 0;
    if (ready && !(retry && handler->retry_next))
        return ready;
    if (!retry || lane_at(&lanes->lanes, retry)->due_ms <= now_ms)
        return retry;
    handler->retry_next = false;
    if (lanes_set_aside(lanes, retry))
        lanes_ask(lanes, retry);
    return 0;
}

static void start(lanes_t *lanes, turns_handler_t *handler, uint32_t index, bool probe,
                  lanes_delivery_t *ret_delivery)
{
    const lane_t *lane = lane_at(&lanes->lanes, index);
    handler->retry_next = lane->state == LANE_READY;
    handler->probes += probe;
    turns_started(&lanes->turns, handler);
    lanes_leave(lanes, index);
    lanes_enter(lanes, index, LANE_FLIGHT);
    *ret_delivery = (lanes_delivery_t){
        .seq = lane->seq,
        .handler_id = handler->settings.id,
        .object = lane->object,
        .attempts = lane->attempts,
        .first_wall_ms = lane->first_wall_ms,
        .event = lane->event,
        .probe = probe,
        .lane = index,
        .flight = handler->probes,
    };
}

/* Takes a token and, of an open circuit, the probe. */
static bool may_start(turns_handler_t *handler, int64_t now_ms, bool *ret_probe)
{
    bool probe = handler->breaker.state != BREAKER_CLOSED;
    if (rate_room(&handler->rate, now_ms) == 0 || !breaker_take(&handler->breaker, now_ms))
        return false;
    *ret_probe = probe;
    return rate_take(&handler->rate, now_ms);
}

bool lanes_take(lanes_t *lanes, int64_t now_ms, lanes_delivery_t *ret_delivery)
{
    lanes_tell_time(lanes, now_ms);
    gates_expire(lanes->gates, now_ms);
    for (int turn = 0; turn < TURNS_MAX && !turns_full(&lanes->turns); turn++) {
        turns_handler_t *handler = turns_next(&lanes->turns);
        if (!handler)
            return false;
        bool probe = false;
        uint32_t index = pick(lanes, handler);
        bool started = index && may_start(handler, now_ms, &probe);
        if (started)
            start(lanes, handler, index, probe, ret_delivery);
        turns_place(&lanes->turns, handler);
        if (started)
            return true;
    }
    return false;
}

static void note_result(lanes_t *lanes, turns_handler_t *handler, const lanes_delivery_t *delivery,
                        const lanes_verdict_t *verdict)
{
    breaker_t *breaker = &handler->breaker;
    bool is_probe =
        delivery->probe && delivery->flight == handler->probes && breaker->state == BREAKER_PROBING;
    bool is_neutral = verdict->health == LANES_NEUTRAL;
    bool changed = false;
    if (verdict->next == LANES_BACK || (verdict->next == LANES_FINAL && is_neutral)) {
        rate_give_back(&handler->rate);
        if (is_probe)
            breaker_give_back(breaker);
        return;
    }
    if (!is_neutral)
        turns_set_slow(&lanes->turns, handler, verdict->timed_out);
    if (verdict->health == LANES_HEALTHY)
        changed = breaker_success(breaker);
    else if (is_neutral && is_probe)
        breaker_postpone(breaker, lanes->turns.now_ms);
    else if (!is_neutral && (is_probe || breaker->state == BREAKER_CLOSED))
        changed = breaker_failure(breaker, &handler->settings.breaker, lanes->turns.now_ms);
    if (changed)
        lanes->calls.on_circuit(lanes->owner, handler->settings.id, breaker->state);
}

static void again(lanes_t *lanes, uint32_t index, const lanes_delivery_t *delivery,
                  const lanes_verdict_t *verdict)
{
    lane_t *lane = lane_at(&lanes->lanes, index);
    bool retry = verdict->next == LANES_RETRY;
    lane->first_wall_ms = delivery->first_wall_ms;
    lane->attempts += retry && lane->attempts < UINT16_MAX;
    lane->due_ms = retry ? verdict->due_ms : 0;
    lanes_set_event(lanes, &lane->event, delivery->event);
    lanes_leave_gate(lanes, &lane->gate);
    lanes_enter(lanes, index, retry ? LANE_WAITING : LANE_READY);
}

void lanes_done(lanes_t *lanes, const lanes_delivery_t *delivery, const lanes_verdict_t *verdict,
                int64_t now_ms)
{
    uint32_t index = delivery->lane;
    const lane_t *lane = lane_at(&lanes->lanes, index);
    turns_handler_t *handler = lanes_handler(lanes, lane);
    ENSURE(lane->state == LANE_FLIGHT && lane->seq == delivery->seq);
    lanes_tell_time(lanes, now_ms);
    turns_ended(&lanes->turns, handler);
    note_result(lanes, handler, delivery, verdict);
    lanes_leave(lanes, index);
    bool refill = false;
    if (verdict->next == LANES_FINAL)
        refill = lanes_finish(lanes, index);
    else
        again(lanes, index, delivery, verdict);
    turns_place(&lanes->turns, handler);
    if (refill)
        lanes_ask(lanes, index);
}

int64_t lanes_due_ms(const lanes_t *lanes, int64_t now_ms)
{
    int64_t turn_ms = turns_due_ms(&lanes->turns);
    int64_t gate_ms = gates_due_ms(lanes->gates);
    int64_t due_ms = turn_ms < gate_ms ? turn_ms : gate_ms;
    if (turns_full(&lanes->turns) || due_ms == INT64_MAX)
        return -1;
    return due_ms > now_ms ? due_ms : now_ms;
}

size_t lanes_in_flight(const lanes_t *lanes)
{
    return (size_t)lanes->turns.in_flight;
}
