#include "services/deliverer/lanes_core.h"
#include "common/base/result.h"

/* Where memory holds a delivery. */
typedef struct {
    turns_handler_t *handler; /* NULL: unknown */
    uint32_t lane;            /* 0: not known as a head; the main lane if is_head is false */
    bool is_head;
    uint32_t kept; /* 0: not behind the head */
    uint32_t prev; /* of kept: the one before it, 0: the head */
} spot_t;

static bool has_head(const lane_t *lane)
{
    return lane->state != LANE_EMPTY && lane->state != LANE_REFILL;
}

static spot_t find(const lanes_t *lanes, int64_t handler_id, uint64_t object, int64_t seq)
{
    spot_t spot = {.handler = turns_find(&lanes->turns, handler_id)};
    if (!spot.handler)
        return spot;
    uint32_t handler = spot.handler->index;
    spot.lane = seq ? lane_table_find(&lanes->table, &lanes->lanes, handler, object, seq) : 0;
    spot.is_head = spot.lane != 0;
    if (spot.is_head)
        return spot;
    spot.lane = lane_table_find(&lanes->table, &lanes->lanes, handler, object, 0);
    if (!spot.lane)
        return spot;
    const lane_t *lane = lane_at(&lanes->lanes, spot.lane);
    spot.is_head = has_head(lane) && lane->seq == seq;
    if (spot.is_head)
        return spot;
    spot.kept = lane->kept;
    while (spot.kept && lanes_kept(lanes, spot.kept)->seq != seq) {
        spot.prev = spot.kept;
        spot.kept = lanes_kept(lanes, spot.kept)->next;
    }
    return spot;
}

void lanes_restore(lanes_t *lanes, const lanes_delivery_t *head, int64_t due_ms, int64_t count)
{
    turns_handler_t *handler = turns_find_or_add(&lanes->turns, head->handler_id);
    uint32_t index = lane_table_find(&lanes->table, &lanes->lanes, handler->index, head->object, 0);
    ENSURE(count >= 1);
    handler->pending += count;
    if (index) {
        lane_at(&lanes->lanes, index)->stored += (uint32_t)count;
        lanes_rekey(lanes, index);
        turns_place(&lanes->turns, handler);
        return;
    }
    index = lanes_make(lanes, handler, head->object);
    lane_t *lane = lane_at(&lanes->lanes, index);
    lane->seq = head->seq;
    lane->event = head->event;
    lane->attempts = (uint16_t)head->attempts;
    lane->first_wall_ms = head->first_wall_ms;
    lane->due_ms = due_ms;
    lane->stored = (uint32_t)(count - 1);
    lanes_settle(lanes, index);
    turns_place(&lanes->turns, handler);
}

static void take_refill(lanes_t *lanes, lane_t *lane, const lanes_delivery_t *deliveries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        void *event = deliveries[i].event;
        if (i < LANES_KEEP && lane->stored && deliveries[i].seq > lane->seq) {
            lane_kept_t *kept = lanes_append(lanes, lane, deliveries[i].seq, event);
            kept->attempts = (uint16_t)deliveries[i].attempts;
            kept->first_wall_ms = deliveries[i].first_wall_ms;
            kept->due_ms = deliveries[i].due_ms;
            lane->stored--;
        } else {
            lanes_set_event(lanes, &event, NULL);
        }
    }
}

void lanes_refill(lanes_t *lanes, int64_t handler_id, uint64_t object,
                  const lanes_delivery_t *deliveries, size_t n, int64_t now_ms)
{
    spot_t spot = find(lanes, handler_id, object, 0);
    ENSURE(spot.lane && lane_at(&lanes->lanes, spot.lane)->state == LANE_REFILL);
    lane_t *lane = lane_at(&lanes->lanes, spot.lane);
    lanes_tell_time(lanes, now_ms);
    lanes_leave(lanes, spot.lane);
    take_refill(lanes, lane, deliveries, n);
    if (!lane->kept) {
        spot.handler->pending -= lane->asked;
        lane->stored -= (uint32_t)lane->asked;
    }
    bool refill = lanes_advance(lanes, spot.lane);
    turns_place(&lanes->turns, spot.handler);
    if (refill)
        lanes_ask(lanes, spot.lane);
}

static int64_t last_held_seq(const lanes_t *lanes, const lane_t *lane)
{
    int64_t seq = lane->seq;
    for (uint32_t i = lane->kept; i; i = lanes_kept(lanes, i)->next)
        seq = lanes_kept(lanes, i)->seq;
    return seq;
}

static void drop_stored(turns_handler_t *handler, lane_t *lane)
{
    lane->stored--;
    handler->pending--;
    if (lane->state == LANE_REFILL && lane->asked > 0)
        lane->asked--;
}

bool lanes_drop(lanes_t *lanes, int64_t handler_id, uint64_t object, int64_t seq, int64_t now_ms)
{
    spot_t spot = find(lanes, handler_id, object, seq);
    if (!spot.lane)
        return true;
    lane_t *lane = lane_at(&lanes->lanes, spot.lane);
    if (spot.is_head && lane->state == LANE_FLIGHT)
        return false;
    lanes_tell_time(lanes, now_ms);
    bool refill = false;
    if (spot.is_head) {
        lanes_leave(lanes, spot.lane);
        refill = lanes_finish(lanes, spot.lane);
    } else if (spot.kept) {
        lanes_unkeep(lanes, lane, spot.prev);
        lanes_rekey(lanes, spot.lane);
    } else if (lane->stored && seq > last_held_seq(lanes, lane)) {
        drop_stored(spot.handler, lane);
        lanes_rekey(lanes, spot.lane);
    }
    turns_place(&lanes->turns, spot.handler);
    if (refill)
        lanes_ask(lanes, spot.lane);
    return true;
}

static void drop_lane(lanes_t *lanes, uint32_t index)
{
    lane_t *lane = lane_at(&lanes->lanes, index);
    if (!lane->is_aside)
        lanes_cut(lanes, lane);
    if (lane->state == LANE_READY || lane->state == LANE_WAITING || lane->state == LANE_GATED) {
        lanes_leave(lanes, index);
        (void)lanes_finish(lanes, index);
    } else if (lane->state == LANE_REFILL) {
        lane->asked = 0; /* it goes when the answer has come */
    }
}

void lanes_drop_handler(lanes_t *lanes, int64_t handler_id)
{
    turns_handler_t *handler = turns_find(&lanes->turns, handler_id);
    if (!handler)
        return;
    while (handler->ready.first)
        drop_lane(lanes, handler->ready.first);
    while (handler->retries.count) /* from the end: nothing has to move */
        drop_lane(lanes, handler->retries.items[handler->retries.count]);
    for (uint32_t index = handler->other.first, next; index; index = next) {
        next = lane_at(&lanes->lanes, index)->next;
        drop_lane(lanes, index);
    }
    turns_place(&lanes->turns, handler);
}

static size_t hurry_lane(lanes_t *lanes, uint32_t index)
{
    if (lane_at(&lanes->lanes, index)->state != LANE_WAITING)
        return 0;
    lanes_leave(lanes, index);
    lanes_enter(lanes, index, LANE_READY);
    return 1;
}

static size_t hurry_object(lanes_t *lanes, uint32_t main_index)
{
    size_t n = 0;
    if (!main_index)
        return 0;
    uint32_t index = lane_at(&lanes->lanes, main_index)->first_aside;
    for (; index; index = lane_at(&lanes->lanes, index)->next_aside)
        n += hurry_lane(lanes, index);
    return n + hurry_lane(lanes, main_index);
}

/* Empties the heap in one go: taking them out one by one would sort what needs no order. */
static size_t hurry_all(lanes_t *lanes, turns_handler_t *handler)
{
    lane_heap_t retries = handler->retries;
    handler->retries = (lane_heap_t){0};
    handler->blocked = 0;
    for (uint32_t place = 1; place <= retries.count; place++)
        lanes_enter(lanes, retries.items[place], LANE_READY);
    size_t n = retries.count;
    lane_heap_release(&retries);
    return n;
}

size_t lanes_hurry(lanes_t *lanes, int64_t handler_id, uint64_t object, int64_t now_ms)
{
    spot_t spot = find(lanes, handler_id, object, 0);
    if (!spot.handler)
        return 0;
    lanes_tell_time(lanes, now_ms);
    size_t n = object ? hurry_object(lanes, spot.lane) : hurry_all(lanes, spot.handler);
    breaker_hurry(&spot.handler->breaker, now_ms);
    turns_place(&lanes->turns, spot.handler);
    return n;
}

bool lanes_let_go(lanes_t *lanes, int64_t handler_id, uint64_t object, int64_t seq)
{
    spot_t spot = find(lanes, handler_id, object, seq);
    void **event = NULL;
    if (spot.is_head && lane_at(&lanes->lanes, spot.lane)->state != LANE_FLIGHT)
        event = &lane_at(&lanes->lanes, spot.lane)->event;
    else if (spot.kept)
        event = &lanes_kept(lanes, spot.kept)->event;
    if (!event || !*event)
        return false;
    lanes_set_event(lanes, event, NULL);
    return true;
}

void lanes_stats(const lanes_t *lanes, int64_t handler_id, lanes_stats_t *ret_stats)
{
    const turns_handler_t *handler = turns_find(&lanes->turns, handler_id);
    *ret_stats = (lanes_stats_t){.circuit = BREAKER_CLOSED};
    if (!handler)
        return;
    *ret_stats = (lanes_stats_t){
        .pending = handler->pending,
        .lanes = handler->lanes,
        .blocked_lanes = handler->blocked,
        .in_flight = handler->in_flight,
        .circuit = handler->breaker.state,
    };
}

lanes_place_t lanes_place(const lanes_t *lanes, int64_t handler_id, uint64_t object, int64_t seq)
{
    spot_t spot = find(lanes, handler_id, object, seq);
    if (!spot.is_head)
        return spot.kept ? LANES_PLACE_BEHIND : LANES_PLACE_UNKNOWN;
    switch (lane_at(&lanes->lanes, spot.lane)->state) {
    case LANE_FLIGHT:
        return LANES_PLACE_IN_FLIGHT;
    case LANE_WAITING:
        return LANES_PLACE_RETRYING;
    default:
        return LANES_PLACE_READY;
    }
}
