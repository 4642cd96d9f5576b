/* What the unit tests of lanes share: an owner that counts what it is told, and short names. */
#ifndef PROVISOR_LANES_WORLD_H
#define PROVISOR_LANES_WORLD_H

#include "services/deliverer/lanes_core.h"
#include "tests/support/unit.h"

enum { OBJECT = 7, WALL_MS = 100000 };

static const lanes_verdict_t delivered = {.next = LANES_FINAL, .health = LANES_HEALTHY};
static const lanes_verdict_t given_up = {.next = LANES_FINAL, .health = LANES_NEUTRAL};
static const lanes_verdict_t back = {.next = LANES_BACK};

typedef struct {
    lanes_t *lanes;
    int asked; /* on_refill */
    int64_t after_seq;
    int released;
    int opened, closed; /* circuits */
} world_t;

static inline void on_refill(void *owner, int64_t handler_id, uint64_t object, int64_t after_seq)
{
    world_t *world = owner;
    (void)handler_id;
    (void)object;
    world->asked++;
    world->after_seq = after_seq;
}

static inline void on_release(void *owner, void *event)
{
    world_t *world = owner;
    assert_non_null(event);
    world->released++;
}

static inline void on_circuit(void *owner, int64_t handler_id, breaker_state_t state)
{
    world_t *world = owner;
    (void)handler_id;
    world->opened += state == BREAKER_OPEN;
    world->closed += state == BREAKER_CLOSED;
}

static const lanes_handler_t usual = {
    .window = 10, .hold_ms = -1, .breaker = {.failures_max = 100, .probe_ms = 100}};

/* Handlers 1 and 2 as usual. */
static inline void open_world(world_t *world)
{
    static const lanes_calls_t calls = {on_refill, on_release, on_circuit};
    lanes_handler_t handler = usual;
    memset(world, 0, sizeof *world);
    world->lanes = lanes_new(100, &calls, world);
    lanes_set_wall_offset(world->lanes, WALL_MS);
    for (handler.id = 1; handler.id <= 2; handler.id++)
        lanes_set_handler(world->lanes, &handler);
}

static inline void set_handler(world_t *world, int64_t id, lanes_handler_t settings)
{
    settings.id = id;
    lanes_set_handler(world->lanes, &settings);
}

static inline void close_world(world_t *world)
{
    lanes_destroy(&world->lanes);
}

static inline bool add(world_t *world, int64_t handler_id, uint64_t object, int64_t seq,
                       int64_t now_ms)
{
    lanes_target_t target = {handler_id, object, 0};
    bool kept = false;
    lanes_add(world->lanes, seq, world, &target, 1, 0, now_ms, &kept);
    return kept;
}

/* The seq of what starts now; 0: nothing. */
static inline int64_t take(world_t *world, int64_t now_ms, lanes_delivery_t *ret_delivery)
{
    return lanes_take(world->lanes, now_ms, ret_delivery) ? ret_delivery->seq : 0;
}

static inline int count_takes(world_t *world, int64_t now_ms)
{
    lanes_delivery_t delivery;
    int n = 0;
    while (lanes_take(world->lanes, now_ms, &delivery))
        n++;
    return n;
}

static inline lanes_verdict_t retry_at(int64_t due_ms)
{
    return (lanes_verdict_t){.next = LANES_RETRY, .due_ms = due_ms, .health = LANES_UNHEALTHY};
}

static inline void done(world_t *world, lanes_delivery_t *delivery, lanes_verdict_t verdict,
                        int64_t now_ms)
{
    if (!delivery->first_wall_ms)
        delivery->first_wall_ms = now_ms + WALL_MS;
    lanes_done(world->lanes, delivery, &verdict, now_ms);
}

static inline lanes_stats_t stats_of(const world_t *world, int64_t handler_id)
{
    lanes_stats_t stats;
    lanes_stats(world->lanes, handler_id, &stats);
    return stats;
}

/* Circuit of handler 1 open from 0 on, probes each 100 ms; lanes 4.. n wait. */
static inline void open_circuit(world_t *world, int n)
{
    lanes_delivery_t delivery;
    lanes_handler_t fragile = usual;
    open_world(world);
    fragile.breaker.failures_max = 3;
    set_handler(world, 1, fragile);
    for (int i = 1; i <= n; i++)
        add(world, 1, (uint64_t)i, i, 0);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(take(world, 0, &delivery), i);
        done(world, &delivery, retry_at(5000), 0);
    }
    assert_int_equal(world->opened, 1);
}

#endif
