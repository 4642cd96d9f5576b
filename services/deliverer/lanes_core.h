/* lanes_core: how a lane goes from one state to the next. Private to lanes.c and lanes_edit.c.
 *
 * These keep the lane, its handler's lists and counts, the table and the gates in step; they do not
 * place the handler (turns_place) and call the owner only to release an event. Where true is
 * returned, the lane has become LANE_REFILL and the caller, when it is done with everything else,
 * calls lanes_ask. */
#ifndef PROVISOR_LANES_CORE_H
#define PROVISOR_LANES_CORE_H

#include "services/deliverer/gates.h"
#include "services/deliverer/lane_table.h"
#include "services/deliverer/turns.h"

struct lanes_t {
    slab_t lanes; /* lane_t */
    slab_t kept;  /* lane_kept_t */
    lane_table_t table;
    gates_t *gates;
    turns_t turns;
    lanes_calls_t calls;
    void *owner;
    int64_t wall_offset_ms; /* wall = monotonic + this */
    bool wall_known;
};

static inline void lanes_tell_time(lanes_t *lanes, int64_t now_ms)
{
    lanes->turns.now_ms = now_ms;
}

static inline turns_handler_t *lanes_handler(const lanes_t *lanes, const lane_t *lane)
{
    return turns_at(&lanes->turns, lane->handler);
}

static inline lane_kept_t *lanes_kept(const lanes_t *lanes, uint32_t index)
{
    return slab_at(&lanes->kept, index);
}

/* A main lane that is in the table and stands nowhere. */
uint32_t lanes_make(lanes_t *lanes, turns_handler_t *handler, uint64_t object);
/* Puts a lane that stands nowhere where its new state belongs. */
void lanes_enter(lanes_t *lanes, uint32_t index, lane_state_t state);
/* Takes it from where it stands. */
void lanes_leave(lanes_t *lanes, uint32_t index);
/* A lane that stands nowhere has got a head: ready, waiting or gated. */
void lanes_settle(lanes_t *lanes, uint32_t index);
/* Behind the last one that memory holds. Requires room (lanes_has_room). */
lane_kept_t *lanes_append(lanes_t *lanes, lane_t *lane, int64_t seq, void *event);
bool lanes_has_room(const lanes_t *lanes, const lane_t *lane);
/* The head of a lane that stands nowhere is gone for good or was set aside (its event and gate are
 * dealt with): the next one comes, or the lane goes. */
bool lanes_advance(lanes_t *lanes, uint32_t index);
/* The head goes on as a lane of its own. */
bool lanes_set_aside(lanes_t *lanes, uint32_t index);
/* The head of a lane that stands nowhere is final: releases event and gate, then goes on. */
bool lanes_finish(lanes_t *lanes, uint32_t index);
/* Releases what memory holds behind the head and forgets what it counts. */
void lanes_cut(lanes_t *lanes, lane_t *lane);
/* Takes one of those behind the head out; prev: the one before it, 0: the head. */
void lanes_unkeep(lanes_t *lanes, lane_t *lane, uint32_t prev);
/* A waiting lane's place in the heap, after what it depends on has changed. */
void lanes_rekey(lanes_t *lanes, uint32_t index);
void lanes_rekey_all(lanes_t *lanes, turns_handler_t *handler);
/* The head had its first attempt, or will have none. */
void lanes_leave_gate(lanes_t *lanes, uint32_t *gate);
void lanes_set_event(lanes_t *lanes, void **event, void *new_event);
void lanes_ask(lanes_t *lanes, uint32_t index);
/* gates_open_fn; owner is the lanes_t. */
bool lanes_on_open(void *owner, uint32_t index, uint32_t gate);

#endif
