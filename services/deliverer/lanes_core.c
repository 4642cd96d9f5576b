#include "services/deliverer/lanes_core.h"

uint32_t lanes_make(lanes_t *lanes, turns_handler_t *handler, uint64_t object)
{
    uint32_t index = slab_take(&lanes->lanes);
    lane_t *lane = lane_at(&lanes->lanes, index);
    lane->handler = handler->index;
    lane->object = object;
    lane_table_add(&lanes->table, &lanes->lanes, index);
    handler->lanes++;
    return index;
}

static int64_t earlier(int64_t a_ms, int64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

/* When a waiting head is set aside; INT64_MAX: never. One that nobody waits for is not. */
static int64_t hold_ends_ms(const lanes_t *lanes, const lane_t *lane)
{
    int64_t hold_ms = lanes_handler(lanes, lane)->settings.hold_ms;
    if (hold_ms < 0 || !lanes->wall_known || lane->is_aside || lane->attempts == 0)
        return INT64_MAX;
    if (lane->first_wall_ms == 0 || (!lane->kept && !lane->stored))
        return INT64_MAX;
    return lane->first_wall_ms - lanes->wall_offset_ms + hold_ms;
}

static int64_t key_of(const lanes_t *lanes, const lane_t *lane)
{
    return earlier(lane->due_ms, hold_ends_ms(lanes, lane));
}

void lanes_enter(lanes_t *lanes, uint32_t index, lane_state_t state)
{
    lane_t *lane = lane_at(&lanes->lanes, index);
    turns_handler_t *handler = lanes_handler(lanes, lane);
    lane->state = (uint8_t)state;
    if (state == LANE_READY) {
        lane_list_push(&handler->ready, &lanes->lanes, index);
    } else if (state == LANE_WAITING) {
        handler->blocked += !lane->is_aside;
        lane_heap_push(&handler->retries, &lanes->lanes, index, key_of(lanes, lane));
    } else {
        lane_list_push(&handler->other, &lanes->lanes, index);
    }
}

void lanes_leave(lanes_t *lanes, uint32_t index)
{
    lane_t *lane = lane_at(&lanes->lanes, index);
    turns_handler_t *handler = lanes_handler(lanes, lane);
    if (lane->state == LANE_READY) {
        lane_list_remove(&handler->ready, &lanes->lanes, index);
    } else if (lane->state == LANE_WAITING) {
        handler->blocked -= !lane->is_aside;
        lane_heap_remove(&handler->retries, &lanes->lanes, index);
    } else {
        lane_list_remove(&handler->other, &lanes->lanes, index);
    }
}

void lanes_settle(lanes_t *lanes, uint32_t index)
{
    const lane_t *lane = lane_at(&lanes->lanes, index);
    if (lane->gate)
        lanes_enter(lanes, index, LANE_GATED);
    else
        lanes_enter(lanes, index, lane->due_ms ? LANE_WAITING : LANE_READY);
}

bool lanes_has_room(const lanes_t *lanes, const lane_t *lane)
{
    int held = 1;
    if (lane->stored || lane->state == LANE_REFILL)
        return false; /* what comes now is behind what is only in the store */
    for (uint32_t i = lane->kept; i; i = lanes_kept(lanes, i)->next)
        held++;
    return held < LANES_KEEP;
}

lane_kept_t *lanes_append(lanes_t *lanes, lane_t *lane, int64_t seq, void *event)
{
    uint32_t index = slab_take(&lanes->kept);
    lane_kept_t *kept = lanes_kept(lanes, index);
    uint32_t *end = &lane->kept;
    while (*end)
        end = &lanes_kept(lanes, *end)->next;
    *end = index;
    kept->seq = seq;
    kept->event = event;
    return kept;
}

static void forget(lanes_t *lanes, uint32_t index)
{
    lane_table_remove(&lanes->table, &lanes->lanes, index);
    slab_give(&lanes->lanes, index);
}

static void forget_main(lanes_t *lanes, uint32_t index)
{
    lanes_handler(lanes, lane_at(&lanes->lanes, index))->lanes--;
    forget(lanes, index);
}

static void forget_aside(lanes_t *lanes, uint32_t index)
{
    const lane_t *aside = lane_at(&lanes->lanes, index);
    uint32_t main_index = aside->main;
    lane_t *main_lane = lane_at(&lanes->lanes, main_index);
    if (aside->prev_aside)
        lane_at(&lanes->lanes, aside->prev_aside)->next_aside = aside->next_aside;
    else
        main_lane->first_aside = aside->next_aside;
    if (aside->next_aside)
        lane_at(&lanes->lanes, aside->next_aside)->prev_aside = aside->prev_aside;
    forget(lanes, index);
    if (main_lane->state == LANE_EMPTY && !main_lane->first_aside) {
        lanes_leave(lanes, main_index);
        forget_main(lanes, main_index);
    }
}

static void head_from_kept(lanes_t *lanes, lane_t *lane)
{
    uint32_t index = lane->kept;
    const lane_kept_t *kept = lanes_kept(lanes, index);
    lane->seq = kept->seq;
    lane->event = kept->event;
    lane->first_wall_ms = kept->first_wall_ms;
    lane->due_ms = kept->due_ms;
    lane->attempts = kept->attempts;
    lane->gate = kept->gate;
    lane->kept = kept->next;
    slab_give(&lanes->kept, index);
}

bool lanes_advance(lanes_t *lanes, uint32_t index)
{
    lane_t *lane = lane_at(&lanes->lanes, index);
    if (lane->kept) {
        head_from_kept(lanes, lane);
        lanes_settle(lanes, index);
        return false;
    }
    lane->event = NULL;
    lane->attempts = 0;
    lane->first_wall_ms = 0;
    lane->due_ms = 0;
    if (lane->stored) {
        lanes_enter(lanes, index, LANE_REFILL);
        return true;
    }
    if (lane->first_aside)
        lanes_enter(lanes, index, LANE_EMPTY);
    else
        forget_main(lanes, index);
    return false;
}

bool lanes_set_aside(lanes_t *lanes, uint32_t index)
{
    lanes_leave(lanes, index);
    uint32_t aside_index = slab_take(&lanes->lanes);
    lane_t *lane = lane_at(&lanes->lanes, index);
    lane_t *aside = lane_at(&lanes->lanes, aside_index);
    *aside = *lane;
    aside->is_aside = true;
    aside->main = index;
    aside->prev_aside = 0;
    aside->next_aside = lane->first_aside;
    if (aside->next_aside)
        lane_at(&lanes->lanes, aside->next_aside)->prev_aside = aside_index;
    lane->first_aside = aside_index;
    lane_table_add(&lanes->table, &lanes->lanes, aside_index);
    lanes_enter(lanes, aside_index, LANE_WAITING);
    return lanes_advance(lanes, index);
}

bool lanes_finish(lanes_t *lanes, uint32_t index)
{
    lane_t *lane = lane_at(&lanes->lanes, index);
    lanes_handler(lanes, lane)->pending--;
    lanes_set_event(lanes, &lane->event, NULL);
    lanes_leave_gate(lanes, &lane->gate);
    if (!lane->is_aside)
        return lanes_advance(lanes, index);
    forget_aside(lanes, index);
    return false;
}

void lanes_unkeep(lanes_t *lanes, lane_t *lane, uint32_t prev)
{
    uint32_t *link = prev ? &lanes_kept(lanes, prev)->next : &lane->kept;
    uint32_t index = *link;
    lane_kept_t *kept = lanes_kept(lanes, index);
    lanes_handler(lanes, lane)->pending--;
    lanes_set_event(lanes, &kept->event, NULL);
    lanes_leave_gate(lanes, &kept->gate);
    *link = kept->next;
    slab_give(&lanes->kept, index);
}

void lanes_cut(lanes_t *lanes, lane_t *lane)
{
    while (lane->kept)
        lanes_unkeep(lanes, lane, 0);
    lanes_handler(lanes, lane)->pending -= lane->stored;
    lane->stored = 0;
}

void lanes_rekey(lanes_t *lanes, uint32_t index)
{
    const lane_t *lane = lane_at(&lanes->lanes, index);
    turns_handler_t *handler = lanes_handler(lanes, lane);
    int64_t key_ms = key_of(lanes, lane);
    if (lane->state == LANE_WAITING && key_ms != lane->key_ms)
        lane_heap_change(&handler->retries, &lanes->lanes, index, key_ms);
}

void lanes_rekey_all(lanes_t *lanes, turns_handler_t *handler)
{
    for (uint32_t place = 1; place <= handler->retries.count; place++) {
        lane_t *lane = lane_at(&lanes->lanes, handler->retries.items[place]);
        lane->key_ms = key_of(lanes, lane);
    }
    lane_heap_rebuild(&handler->retries, &lanes->lanes);
}

void lanes_leave_gate(lanes_t *lanes, uint32_t *gate)
{
    uint32_t left = *gate;
    *gate = 0;
    if (left)
        gates_leave(lanes->gates, left);
}

void lanes_set_event(lanes_t *lanes, void **event, void *new_event)
{
    void *old = *event;
    *event = new_event;
    if (old && old != new_event)
        lanes->calls.on_release(lanes->owner, old);
}

void lanes_ask(lanes_t *lanes, uint32_t index)
{
    lane_t *lane = lane_at(&lanes->lanes, index);
    lane->asked = lane->stored;
    lanes->calls.on_refill(lanes->owner, lanes_handler(lanes, lane)->settings.id, lane->object,
                           lane->seq);
}

bool lanes_on_open(void *owner, uint32_t index, uint32_t gate)
{
    lanes_t *lanes = owner;
    lane_t *lane = lane_at(&lanes->lanes, index);
    turns_handler_t *handler = lanes_handler(lanes, lane);
    if (lane->gate != gate) { /* still behind others of its object */
        uint32_t kept = lane->kept;
        while (lanes_kept(lanes, kept)->gate != gate)
            kept = lanes_kept(lanes, kept)->next;
        lanes_kept(lanes, kept)->gate = 0;
        return false;
    }
    bool could_start = turns_could_start(&lanes->turns, handler);
    lane->gate = could_start ? gate : 0;
    lanes_leave(lanes, index);
    lanes_enter(lanes, index, LANE_READY);
    turns_place(&lanes->turns, handler);
    return could_start;
}
