/* Random operations on lanes against a naive model (lanes_model.h). */
#include "tests/property/services/deliverer/lanes_owner.h"

enum { ROUNDS = 1500, ROWS_MAX = 300, DRAIN_TURNS = 20000 };

static const lanes_calls_t calls = {on_refill, on_release, on_circuit};

static void set_handler(world_t *world, int index)
{
    static const int64_t rates[] = {0, 0, 1, 10, 100};
    static const int64_t holds[] = {-1, -1, 0, 20, 100};
    model_handler_t *handler = &world->model.handlers[index];
    int64_t rate = rates[pick(world, 5)];
    if (rate != handler->settings.rate)
        handler->n_starts = 0;
    handler->settings = (lanes_handler_t){
        .id = index + 1,
        .window = 1 + (int)pick(world, 4),
        .rate = rate,
        .hold_ms = holds[pick(world, 5)],
        .paused = chance(world, 20),
        .breaker = {.failures_max = 1 + (int)pick(world, 5), .probe_ms = 1 + pick(world, 30)},
    };
    rate_set(&handler->rate, rate);
    lanes_set_handler(world->lanes, &handler->settings);
}

static bool is_lowest(const lanes_target_t *targets, size_t n, size_t i)
{
    for (size_t k = 0; k < n; k++)
        if (targets[k].priority < targets[i].priority)
            return false;
    return true;
}

static void check_kept(const model_t *model, const row_t *row)
{
    int held = row->held;
    for (int i = 0; i < model->n_rows; i++) {
        const row_t *other = &model->rows[i];
        if (same_lane(other, row) && !other->held)
            assert_false(row->held);
        held += same_lane(other, row) && other->held && !other->hold_from_ms;
    }
    assert_in_range(held, 0, LANES_KEEP);
    if (model->asked[row->handler][row->object])
        assert_false(row->held);
}

static void do_add(world_t *world)
{
    model_t *model = &world->model;
    lanes_target_t targets[MODEL_HANDLERS];
    bool kept[MODEL_HANDLERS], could_start[MODEL_HANDLERS];
    int64_t wait_ms = pick(world, 3) * 40;
    void *event = NULL;
    size_t n = 0;
    if (model->n_rows > ROWS_MAX)
        return;
    int64_t seq = ++world->last_seq;
    if (chance(world, 90))
        event = &world->holds[seq];
    uint64_t object = 1 + (uint64_t)pick(world, MODEL_OBJECTS);
    for (int i = 0; i < MODEL_HANDLERS; i++)
        if (chance(world, 50)) {
            could_start[n] = model_could_start(model, i, object);
            targets[n++] = (lanes_target_t){i + 1, object, pick(world, 3)};
        }
    lanes_add(world->lanes, seq, event, targets, n, wait_ms, model->now_ms, kept);
    for (size_t i = 0; i < n; i++) {
        bool lowest = is_lowest(targets, n, i);
        row_t row = {.seq = seq,
                     .handler = (int)targets[i].handler_id - 1,
                     .object = object,
                     .priority = targets[i].priority,
                     .until_ms = lowest || !kept[i] || !wait_ms ? 0 : model->now_ms + wait_ms,
                     .held = kept[i],
                     .blocks = lowest && could_start[i]};
        check_kept(model, &row);
        if (event && kept[i])
            (void)hold_event(world, &row);
        model->rows[model->n_rows++] = row;
    }
}

/* After lanes said that nothing may start now. */
static void check_idle(world_t *world)
{
    model_t *model = &world->model;
    int64_t due_ms = lanes_due_ms(world->lanes, model->now_ms);
    int64_t must_ms = model_due_ms(model);
    assert_true(must_ms > model->now_ms);
    assert_true(due_ms == -1 || due_ms > model->now_ms);
    if (must_ms != MODEL_NEVER_MS)
        assert_true(due_ms != -1 && due_ms <= must_ms);
    for (int i = 0; i < model->n_rows; i++)
        if (model_must_ask(model, &model->rows[i]))
            assert_true(model->asked[model->rows[i].handler][model->rows[i].object]);
}

static bool do_take(world_t *world)
{
    model_t *model = &world->model;
    lanes_delivery_t delivery;
    model_note_holds(model);
    if (!lanes_take(world->lanes, model->now_ms, &delivery)) {
        check_idle(world);
        return false;
    }
    row_t *row = model_find(model, (int)delivery.handler_id - 1, delivery.seq);
    assert_non_null(row);
    model_check_start(model, row);
    assert_int_equal(delivery.object, row->object);
    assert_int_equal(delivery.attempts, row->attempts);
    assert_int_equal(delivery.first_wall_ms, row->first_wall_ms);
    assert_ptr_equal(delivery.event, row->has_event ? &world->holds[row->seq] : NULL);
    model_start(model, row);
    assert_int_equal(delivery.probe, row->probe != 0);
    row->lane = delivery;
    return true;
}

static row_t *any_row(world_t *world, bool in_flight)
{
    model_t *model = &world->model;
    int64_t skip = model->n_rows ? pick(world, model->n_rows) : 0;
    for (int i = 0; i < model->n_rows; i++) {
        row_t *row = &model->rows[(i + skip) % model->n_rows];
        if (row->in_flight == in_flight)
            return row;
    }
    return NULL;
}

static void end_row(world_t *world, row_t *row, const lanes_verdict_t *verdict)
{
    model_t *model = &world->model;
    lanes_delivery_t delivery = row->lane;
    model_end(model, row, verdict);
    if (!row->first_wall_ms)
        delivery.first_wall_ms = model->now_ms + model->wall_offset_ms;
    if (verdict->next == LANES_FINAL) {
        model_remove(model, row);
    } else {
        row->first_wall_ms = delivery.first_wall_ms;
        row->attempts += verdict->next == LANES_RETRY;
        row->due_ms = verdict->next == LANES_RETRY ? verdict->due_ms : 0;
        row->retrying = verdict->next == LANES_RETRY;
        if (row->has_event && chance(world, 20)) {
            delivery.event = NULL;
            expect_release(row);
        } else if (!row->has_event && chance(world, 20)) {
            delivery.event = hold_event(world, row);
        }
    }
    lanes_done(world->lanes, &delivery, verdict, model->now_ms);
}

static void do_done(world_t *world)
{
    row_t *row = any_row(world, true);
    lanes_verdict_t verdict = {.next = LANES_RETRY};
    if (!row)
        return;
    if (chance(world, 60))
        verdict.next = chance(world, 85) ? LANES_FINAL : LANES_BACK;
    verdict.due_ms = world->model.now_ms + pick(world, 80);
    verdict.health = chance(world, 50) ? LANES_HEALTHY : (lanes_health_t)(1 + pick(world, 2));
    verdict.timed_out = verdict.health == LANES_UNHEALTHY && chance(world, 30);
    end_row(world, row, &verdict);
}

static void do_drop(world_t *world)
{
    model_t *model = &world->model;
    row_t *row = any_row(world, chance(world, 10));
    if (!row)
        return;
    row_t gone = *row;
    if (!gone.in_flight)
        model_remove(model, row);
    assert_int_equal(
        lanes_drop(world->lanes, gone.handler + 1, gone.object, gone.seq, model->now_ms),
        !gone.in_flight);
}

static void do_drop_handler(world_t *world)
{
    model_t *model = &world->model;
    int handler = (int)pick(world, MODEL_HANDLERS);
    if (!chance(world, 10))
        return;
    for (int i = model->n_rows - 1; i >= 0; i--)
        if (model->rows[i].handler == handler && !model->rows[i].in_flight)
            model_remove(model, &model->rows[i]);
    lanes_drop_handler(world->lanes, handler + 1);
}

static void do_hurry(world_t *world)
{
    model_t *model = &world->model;
    int handler = (int)pick(world, MODEL_HANDLERS);
    uint64_t object = (uint64_t)pick(world, MODEL_OBJECTS + 1);
    size_t least = 0, most = 0;
    for (int i = 0; i < model->n_rows; i++) {
        row_t *row = &model->rows[i];
        if (row->handler != handler || (object && row->object != object) || row->in_flight ||
            !row->held || !row->due_ms)
            continue;
        least += row->retrying;
        most++;
        row->may_be_due = true;
        if (row->retrying)
            row->due_ms = 0;
        row->retrying = false;
    }
    breaker_hurry(&model->handlers[handler].breaker, model->now_ms);
    size_t n = lanes_hurry(world->lanes, handler + 1, object, model->now_ms);
    assert_in_range(n, least, most);
}

static void do_set_handler(world_t *world)
{
    if (chance(world, 30))
        set_handler(world, (int)pick(world, MODEL_HANDLERS));
}

static void do_set_global(world_t *world)
{
    world->model.global_max = 1 + (int)pick(world, 12);
    lanes_set_global_max(world->lanes, world->model.global_max);
}

static void do_step_clock(world_t *world)
{
    if (!chance(world, 10))
        return;
    world->model.wall_offset_ms += chance(world, 50) ? 5000 : -5000;
    lanes_set_wall_offset(world->lanes, world->model.wall_offset_ms);
}

static void do_let_go(world_t *world)
{
    row_t *row = any_row(world, chance(world, 10));
    if (!row)
        return;
    bool expected = row->has_event && !row->in_flight;
    if (expected)
        expect_release(row);
    assert_int_equal(lanes_let_go(world->lanes, row->handler + 1, row->object, row->seq), expected);
}

static void do_answer(world_t *world)
{
    int handler = (int)pick(world, MODEL_HANDLERS);
    for (uint64_t object = 1; object <= MODEL_OBJECTS; object++)
        if (world->model.asked[handler][object])
            answer(world, handler, object);
}

static void do_pass_time(world_t *world)
{
    model_t *model = &world->model;
    int64_t due_ms = lanes_due_ms(world->lanes, model->now_ms);
    int64_t step_ms = pick(world, 20);
    if (due_ms > model->now_ms && chance(world, 50))
        step_ms = due_ms - model->now_ms;
    model->now_ms += step_ms;
}

static void do_take_some(world_t *world)
{
    for (int64_t n = pick(world, 8); n >= 0 && do_take(world); n--)
        ;
}

static void open_lanes(world_t *world)
{
    world->lanes = lanes_new(world->model.global_max, &calls, world);
    lanes_set_wall_offset(world->lanes, world->model.wall_offset_ms);
}

static bool is_first_of_lane(const model_t *model, const row_t *row, int64_t *ret_count)
{
    *ret_count = 0;
    for (int i = 0; i < model->n_rows; i++) {
        if (same_lane(&model->rows[i], row) && model->rows[i].seq < row->seq)
            return false;
        *ret_count += same_lane(&model->rows[i], row);
    }
    return true;
}

static void restore_rows(world_t *world)
{
    model_t *model = &world->model;
    for (int i = 0; i < model->n_rows; i++) {
        row_t *row = &model->rows[i];
        int64_t count = 0;
        if (!is_first_of_lane(model, row, &count))
            continue;
        lanes_delivery_t head = {.seq = row->seq,
                                 .handler_id = row->handler + 1,
                                 .object = row->object,
                                 .attempts = row->attempts,
                                 .first_wall_ms = row->first_wall_ms};
        row->held = true;
        row->retrying = row->due_ms != 0;
        int64_t at_first = 1 + pick(world, count);
        lanes_restore(world->lanes, &head, row->due_ms, at_first);
        if (at_first < count)
            lanes_restore(world->lanes, &head, 0, count - at_first);
    }
}

/* What memory knew is lost: the store has every row that is not final. */
static void do_restart(world_t *world)
{
    model_t *model = &world->model;
    if (!chance(world, 5))
        return;
    lanes_destroy(&world->lanes);
    memset(world->holds, 0, sizeof world->holds);
    memset(model->asked, 0, sizeof model->asked);
    for (int i = 0; i < model->n_rows; i++) {
        row_t *row = &model->rows[i];
        row->in_flight = row->held = row->has_event = row->retrying = row->may_be_due = false;
        row->probe = 0;
        row->until_ms = row->hold_from_ms = 0;
        row->tried = true;
    }
    model->in_flight = 0;
    open_lanes(world);
    for (int i = 0; i < MODEL_HANDLERS; i++) {
        model_handler_t *handler = &model->handlers[i];
        breaker_init(&handler->breaker);
        rate_init(&handler->rate, handler->settings.rate);
        handler->in_flight = handler->n_starts = handler->probes = 0;
        handler->slow = false;
        lanes_set_handler(world->lanes, &handler->settings);
    }
    restore_rows(world);
}

static const struct {
    void (*run)(world_t *);
    int weight;
} operations[] = {
    {do_add, 25},       {do_take_some, 20}, {do_done, 30},        {do_pass_time, 10},
    {do_answer, 5},     {do_drop, 3},       {do_let_go, 2},       {do_set_handler, 2},
    {do_set_global, 1}, {do_hurry, 1},      {do_drop_handler, 1}, {do_step_clock, 1},
    {do_restart, 1},
};

static void step(world_t *world)
{
    int64_t at = pick(world, 102);
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        at -= operations[i].weight;
        if (at < 0) {
            operations[i].run(world);
            return;
        }
    }
}

static void check_counts(const world_t *world)
{
    const model_t *model = &world->model;
    int64_t pending[MODEL_HANDLERS] = {0};
    bool is_lane[MODEL_HANDLERS][MODEL_OBJECTS + 1];
    int holds[EVENTS] = {0};
    for (int i = 0; i < MODEL_HANDLERS; i++)
        for (int object = 0; object <= MODEL_OBJECTS; object++)
            is_lane[i][object] = model->asked[i][object];
    for (int i = 0; i < model->n_rows; i++) {
        pending[model->rows[i].handler]++;
        is_lane[model->rows[i].handler][model->rows[i].object] = true;
        holds[model->rows[i].seq] += model->rows[i].has_event;
    }
    assert_memory_equal(holds, world->holds, sizeof holds);
    assert_int_equal(lanes_in_flight(world->lanes), model->in_flight);
    for (int i = 0; i < MODEL_HANDLERS; i++) {
        lanes_stats_t stats;
        lanes_stats(world->lanes, i + 1, &stats);
        int64_t n_lanes = 0;
        for (int object = 0; object <= MODEL_OBJECTS; object++)
            n_lanes += is_lane[i][object];
        assert_int_equal(stats.lanes, n_lanes);
        assert_int_equal(stats.pending, pending[i]);
        assert_int_equal(stats.in_flight, model->handlers[i].in_flight);
        assert_int_equal(stats.circuit, model->handlers[i].breaker.state);
    }
}

/* Everything that is left comes to its end, and lanes keeps nothing. */
static void drain(world_t *world)
{
    static const lanes_verdict_t delivered = {.next = LANES_FINAL, .health = LANES_HEALTHY};
    model_t *model = &world->model;
    for (int i = 0; i < MODEL_HANDLERS; i++) {
        model->handlers[i].settings.paused = false;
        lanes_set_handler(world->lanes, &model->handlers[i].settings);
    }
    for (int turn = 0; turn < DRAIN_TURNS && model->n_rows; turn++) {
        while (do_take(world))
            ;
        row_t *row = any_row(world, true);
        if (row)
            end_row(world, row, &delivered);
        else if (lanes_due_ms(world->lanes, model->now_ms) > model->now_ms)
            model->now_ms = lanes_due_ms(world->lanes, model->now_ms);
        do_answer(world);
    }
    for (int i = 0; i < MODEL_HANDLERS * 100; i++)
        do_answer(world);
    assert_int_equal(model->n_rows, 0);
    check_counts(world);
    assert_int_equal(world->lanes->lanes.live, 0);
    assert_int_equal(world->lanes->kept.live, 0);
    assert_int_equal(world->lanes->table.count, 0);
    assert_int_equal(gates_groups(world->lanes->gates), 0);
    assert_int_equal(lanes_due_ms(world->lanes, model->now_ms), -1);
}

static void one_round(unsigned seed)
{
    world_t *world = calloc(1, sizeof *world);
    world->random = seed;
    world->model.now_ms = 1000;
    world->model.wall_offset_ms = 100000;
    world->model.global_max = 1 + (int)pick(world, 12);
    open_lanes(world);
    for (int i = 0; i < MODEL_HANDLERS; i++)
        set_handler(world, i);
    for (int i = 0; i < STEPS; i++) {
        step(world);
        check_counts(world);
    }
    drain(world);
    lanes_destroy(&world->lanes);
    free(world);
}

static void lanes_do_what_the_model_allows(void **state)
{
    unsigned seed = unit_seed();
    (void)state;
    fflush(stdout);
    for (unsigned i = 0; i < ROUNDS; i++)
        one_round(seed + i * 2654435761u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lanes_do_what_the_model_allows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
