/* The owner of lanes in the property test: the model as its store, what it is told checked against
 * it, refills answered at once or later. */
#ifndef PROVISOR_LANES_OWNER_H
#define PROVISOR_LANES_OWNER_H

#include "services/deliverer/lanes_core.h"
#include "tests/property/services/deliverer/lanes_model.h"

enum { STEPS = 400, EVENTS = STEPS + 1 };

typedef struct {
    lanes_t *lanes;
    model_t model;
    unsigned random;
    int64_t last_seq;
    int holds[EVENTS]; /* by seq: how many deliveries lanes holds its pointer for */
} world_t;

/* 0 .. below - 1 */
static inline int64_t pick(world_t *world, int64_t below)
{
    return unit_chance(&world->random, (unsigned)below);
}

static inline bool chance(world_t *world, int percent)
{
    return pick(world, 100) < percent;
}

static inline int64_t seq_of(const world_t *world, const void *event)
{
    return (const int *)event - world->holds;
}

static inline void *hold_event(world_t *world, row_t *row)
{
    row->has_event = true;
    world->holds[row->seq]++;
    return &world->holds[row->seq];
}

/* Lanes is expected to release the event of the row in the call that follows. */
static inline void expect_release(row_t *row)
{
    row->has_event = false;
}

static inline void on_release(void *owner, void *event)
{
    world_t *world = owner;
    assert_in_range(seq_of(world, event), 1, world->last_seq);
    assert_true(world->holds[seq_of(world, event)]-- > 0);
}

static inline void on_circuit(void *owner, int64_t handler_id, breaker_state_t state)
{
    const world_t *world = owner;
    bool is_open = world->model.handlers[handler_id - 1].breaker.state != BREAKER_CLOSED;
    assert_int_equal(state, is_open ? BREAKER_OPEN : BREAKER_CLOSED);
}

/* The oldest rows of the lane that lanes does not hold, in the order of seq. Those that came after
 * it was asked may not be in the store yet. */
static inline size_t rows_in_store(world_t *world, int handler, uint64_t object, row_t **ret_rows,
                                   size_t max)
{
    model_t *model = &world->model;
    int64_t newest = chance(world, 50) ? model->asked_at[handler][object] : world->last_seq;
    size_t n = 0;
    for (int64_t last = model->asked_after[handler][object]; n < max; n++) {
        row_t *next = NULL;
        for (int i = 0; i < model->n_rows; i++) {
            row_t *row = &model->rows[i];
            if (row->handler == handler && row->object == object && !row->held && row->seq > last &&
                row->seq <= newest && (!next || row->seq < next->seq))
                next = row;
        }
        if (!next)
            break;
        ret_rows[n] = next;
        last = next->seq;
    }
    return n;
}

static inline void answer(world_t *world, int handler, uint64_t object)
{
    row_t *rows[LANES_KEEP + 2];
    lanes_delivery_t deliveries[LANES_KEEP + 2];
    size_t max = 1 + (size_t)pick(world, LANES_KEEP + 2);
    size_t n = rows_in_store(world, handler, object, rows, max);
    world->model.asked[handler][object] = 0;
    for (size_t i = 0; i < n; i++) {
        row_t *row = rows[i];
        deliveries[i] = (lanes_delivery_t){.seq = row->seq,
                                           .attempts = row->attempts,
                                           .first_wall_ms = row->first_wall_ms,
                                           .due_ms = row->due_ms};
        if (chance(world, 50))
            deliveries[i].event = hold_event(world, row);
        row->held = i < LANES_KEEP;
        row->retrying = i == 0 && row->due_ms;
        if (!row->held)
            expect_release(row);
    }
    lanes_refill(world->lanes, handler + 1, object, deliveries, n, world->model.now_ms);
}

static inline void on_refill(void *owner, int64_t handler_id, uint64_t object, int64_t after_seq)
{
    world_t *world = owner;
    model_t *model = &world->model;
    int handler = (int)handler_id - 1;
    assert_in_range(object, 1, MODEL_OBJECTS);
    assert_int_equal(model->asked[handler][object]++, 0);
    model->asked_after[handler][object] = after_seq;
    model->asked_at[handler][object] = world->last_seq;
    for (int i = 0; i < model->n_rows; i++) {
        const row_t *row = &model->rows[i];
        if (row->handler != handler || row->object != object)
            continue;
        if (row->held)
            assert_true(row->hold_from_ms != 0);
        else
            assert_true(row->seq > after_seq);
    }
    if (chance(world, 50))
        answer(world, handler, object);
}

#endif
