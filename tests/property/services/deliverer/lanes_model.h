/* The naive model of lanes: one row per delivery that is not final, and O(n) scans. It does not say
 * which delivery comes next (that is lanes' choice), but which may, and from when on one must. */
#ifndef PROVISOR_LANES_MODEL_H
#define PROVISOR_LANES_MODEL_H

#include "services/deliverer/lanes.h"
#include "services/deliverer/rate.h"
#include "tests/support/unit.h"

enum {
    MODEL_HANDLERS = 5,
    MODEL_OBJECTS = 6,
    MODEL_ROWS = 400,
    MODEL_STARTS = 4096,
    MODEL_NEVER_MS = 0x7fffffff,
};

typedef struct {
    int64_t seq;
    int handler; /* index; id = index + 1 */
    uint64_t object;
    int64_t priority;
    int64_t until_ms; /* of its gate; 0: none */
    int64_t due_ms;   /* 0: now */
    int64_t first_wall_ms;
    int64_t hold_from_ms; /* when it could have been set aside; 0: not known yet */
    int attempts;
    bool in_flight;
    bool held;             /* by memory */
    bool has_event;        /* so is its event */
    bool tried;            /* nobody waits for it any more */
    bool blocks;           /* could start when it came, for certain */
    bool retrying;         /* waits for due_ms, and nothing but time is before it */
    bool may_be_due;       /* hurried, if it was a head then */
    int probe;             /* in flight: number of the probe; 0: none */
    lanes_delivery_t lane; /* in flight: as lanes gave it */
} row_t;

typedef struct {
    lanes_handler_t settings;
    breaker_t breaker;
    rate_t rate;
    int in_flight;
    bool slow;
    int probes;
    int64_t starts_ms[MODEL_STARTS]; /* since the rate was set, without what came back */
    int n_starts;
} model_handler_t;

typedef struct {
    model_handler_t handlers[MODEL_HANDLERS];
    row_t rows[MODEL_ROWS];
    int n_rows;
    int asked[MODEL_HANDLERS][MODEL_OBJECTS + 1]; /* on_refill without its answer */
    int64_t asked_after[MODEL_HANDLERS][MODEL_OBJECTS + 1];
    int64_t asked_at[MODEL_HANDLERS][MODEL_OBJECTS + 1]; /* last seq that there was then */
    int global_max;
    int in_flight;
    int64_t now_ms;
    int64_t wall_offset_ms;
} model_t;

static inline bool same_lane(const row_t *a, const row_t *b)
{
    return a->handler == b->handler && a->object == b->object;
}

static inline row_t *model_find(model_t *model, int handler, int64_t seq)
{
    for (int i = 0; i < model->n_rows; i++)
        if (model->rows[i].handler == handler && model->rows[i].seq == seq)
            return &model->rows[i];
    return NULL;
}

static inline void model_remove(model_t *model, row_t *row)
{
    *row = model->rows[--model->n_rows];
}

static inline int model_window(const model_handler_t *handler)
{
    return handler->slow ? 1 : handler->settings.window;
}

/* Does the handler leave as many slots free as it then holds, or is it its first; and do slow ones
 * hold less than half? */
static inline bool model_has_slot(const model_t *model, const model_handler_t *handler,
                                  int in_flight)
{
    int vacant = model->global_max - model->in_flight;
    int slow = 0;
    for (int i = 0; i < MODEL_HANDLERS; i++)
        slow += model->handlers[i].slow ? model->handlers[i].in_flight : 0;
    if (vacant < 1 || (handler->slow && slow * 2 >= model->global_max))
        return false;
    return in_flight == 0 || in_flight + 1 < vacant;
}

/* When the retried row is old enough to be set aside. */
static inline int64_t hold_ends_ms(const model_t *model, const row_t *row)
{
    int64_t hold_ms = model->handlers[row->handler].settings.hold_ms;
    if (hold_ms < 0 || row->attempts == 0)
        return MODEL_NEVER_MS;
    return row->first_wall_ms - model->wall_offset_ms + hold_ms;
}

/* Notes which rows may have been set aside by now: from then on nobody waits for them. */
static inline void model_note_holds(model_t *model)
{
    for (int i = 0; i < model->n_rows; i++) {
        row_t *row = &model->rows[i];
        if (!row->in_flight && !row->hold_from_ms && hold_ends_ms(model, row) <= model->now_ms)
            row->hold_from_ms = model->now_ms;
    }
}

/* Must somebody of the lane end before this row may start? */
static inline bool must_wait_for(const row_t *earlier, const row_t *row)
{
    return same_lane(earlier, row) && earlier->seq < row->seq && !earlier->hold_from_ms;
}

/* From when on lanes must give something if this row still waits; MODEL_NEVER_MS: no promise. */
static inline int64_t model_must_start_ms(const model_t *model, const row_t *row)
{
    const model_handler_t *handler = &model->handlers[row->handler];
    int64_t at_ms = row->due_ms;
    if (row->in_flight || !row->held || handler->settings.paused ||
        handler->in_flight >= model_window(handler) ||
        !model_has_slot(model, handler, handler->in_flight))
        return MODEL_NEVER_MS;
    for (int i = 0; i < model->n_rows; i++) {
        const row_t *other = &model->rows[i];
        if (same_lane(other, row) && other->seq < row->seq) {
            int64_t end_ms =
                other->in_flight || !other->held ? MODEL_NEVER_MS : hold_ends_ms(model, other);
            at_ms = end_ms > at_ms ? end_ms : at_ms;
        }
        if (other->seq == row->seq && other->priority < row->priority && !other->tried &&
            row->until_ms > at_ms)
            at_ms = row->until_ms;
    }
    if (handler->breaker.state != BREAKER_CLOSED && breaker_due_ms(&handler->breaker) > at_ms)
        at_ms = breaker_due_ms(&handler->breaker);
    if (rate_room(&handler->rate, model->now_ms) == 0 && rate_due_ms(&handler->rate) > at_ms)
        at_ms = rate_due_ms(&handler->rate);
    return at_ms;
}

/* Is this row only in the store, and next in its lane, but for what may be set aside now? */
static inline bool model_must_ask(const model_t *model, const row_t *row)
{
    row_t like_held = *row;
    like_held.held = true;
    if (row->held || row->in_flight)
        return false;
    like_held.due_ms = 0;
    return model_must_start_ms(model, &like_held) <= model->now_ms;
}

/* The smallest of them all. */
static inline int64_t model_due_ms(const model_t *model)
{
    int64_t due_ms = MODEL_NEVER_MS;
    for (int i = 0; i < model->n_rows; i++) {
        int64_t at_ms = model_must_start_ms(model, &model->rows[i]);
        due_ms = at_ms < due_ms ? at_ms : due_ms;
    }
    return due_ms;
}

/* Would a row that comes now for an idle lane start at once, whatever lanes counts? A lane whose
 * refill has no answer yet is not idle, though all its rows were dropped: what comes waits in the
 * store. */
static inline bool model_could_start(const model_t *model, int handler_index, uint64_t object)
{
    const model_handler_t *handler = &model->handlers[handler_index];
    int waiting = 0;
    if (model->asked[handler_index][object])
        return false;
    for (int i = 0; i < model->n_rows; i++) {
        const row_t *row = &model->rows[i];
        if (row->handler == handler_index && row->object == object)
            return false;
        waiting += row->handler == handler_index && !row->in_flight;
    }
    return !handler->settings.paused && handler->breaker.state == BREAKER_CLOSED &&
           handler->in_flight + waiting < model_window(handler) &&
           model_has_slot(model, handler, handler->in_flight + waiting) &&
           rate_room(&handler->rate, model->now_ms) > waiting;
}

/* The rate as promised: in no interval more than the burst and what the interval brings. */
static inline void model_check_rate(const model_handler_t *handler, int64_t now_ms)
{
    int64_t rate = handler->settings.rate;
    for (int i = 0; rate && i < handler->n_starts; i++) {
        int64_t allowed_milli = rate * 1000 + rate * (now_ms - handler->starts_ms[i]);
        assert_true((handler->n_starts - i) * INT64_C(1000) <= allowed_milli);
    }
}

/* Everything that a start must respect. */
static inline void model_check_start(model_t *model, const row_t *row)
{
    const model_handler_t *handler = &model->handlers[row->handler];
    assert_false(row->in_flight);
    assert_true(row->held);
    assert_false(handler->settings.paused);
    assert_true(handler->in_flight < model_window(handler));
    assert_true(model_has_slot(model, handler, handler->in_flight));
    assert_true(row->due_ms <= model->now_ms || row->may_be_due);
    for (int i = 0; i < model->n_rows; i++) {
        const row_t *other = &model->rows[i];
        assert_false(must_wait_for(other, row));
        assert_false(other->seq == row->seq && other->priority < row->priority && other->blocks &&
                     !other->tried && row->until_ms > model->now_ms);
    }
}

static inline void model_start(model_t *model, row_t *row)
{
    model_handler_t *handler = &model->handlers[row->handler];
    row->probe = handler->breaker.state != BREAKER_CLOSED ? ++handler->probes : 0;
    assert_true(breaker_take(&handler->breaker, model->now_ms));
    assert_true(rate_take(&handler->rate, model->now_ms));
    if (handler->n_starts == MODEL_STARTS)
        handler->n_starts = 0;
    handler->starts_ms[handler->n_starts++] = model->now_ms;
    model_check_rate(handler, model->now_ms);
    row->in_flight = true;
    row->retrying = false;
    row->may_be_due = false;
    handler->in_flight++;
    model->in_flight++;
}

/* The circuit, the slot and the rate, as they follow from the end of a request. */
static inline void model_end(model_t *model, row_t *row, const lanes_verdict_t *verdict)
{
    model_handler_t *handler = &model->handlers[row->handler];
    breaker_t *breaker = &handler->breaker;
    bool probe = row->probe && row->probe == handler->probes && breaker->state == BREAKER_PROBING;
    bool neutral = verdict->health == LANES_NEUTRAL;
    row->in_flight = false;
    row->probe = 0;
    row->tried = true;
    handler->in_flight--;
    model->in_flight--;
    if (verdict->next == LANES_BACK || (verdict->next == LANES_FINAL && neutral)) {
        rate_give_back(&handler->rate);
        handler->n_starts -= handler->n_starts > 0;
        if (probe)
            breaker_give_back(breaker);
        return;
    }
    if (!neutral)
        handler->slow = verdict->timed_out;
    if (verdict->health == LANES_HEALTHY)
        (void)breaker_success(breaker);
    else if (neutral && probe)
        breaker_postpone(breaker, model->now_ms);
    else if (!neutral && (probe || breaker->state == BREAKER_CLOSED))
        (void)breaker_failure(breaker, &handler->settings.breaker, model->now_ms);
}

#endif
