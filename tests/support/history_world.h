/* history_world: a history in a folder of its own, fed by messages as stages send them. */
#ifndef PROVISOR_HISTORY_WORLD_H
#define PROVISOR_HISTORY_WORLD_H

#include "tests/support/folder.h"

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/wire/codec.h"
#include "services/auditor/history.h"
#include "services/auditor/intake.h"

enum { WORLD_DEADLINE_MS = 20000 };

typedef struct {
    folder_t folder;
    zloop_t *loop;
    log_t log;
    marks_t *marks;
    history_settings_t settings;
    history_t *history;
    int64_t number;    /* of the last record that the one stage sent */
    int64_t boot;      /* of that stage */
    int64_t told;      /* records that were told as committed */
    int64_t passed;    /* and those that only passed through */
    int64_t last_told; /* the greatest id told */
    bool full, failed;
    char why_failed[256];
    int n_damaged;           /* segments told as damaged */
    shelf_segment_t damaged; /* the last one */
    bool (*until)(void *world);
    int64_t deadline_ms;
} history_world_t;

static inline void world_on_committed(void *self, const commit_t *commit)
{
    history_world_t *world = self;
    for (size_t i = 0; i < commit->n_items; i++) {
        const commit_item_t *item = &commit->items[i];
        world->passed += item->passes;
        if (!item->entry.audit_id)
            continue;
        assert_int_equal(item->entry.audit_id, world->last_told + 1);
        world->last_told++;
        world->told++;
    }
}

static inline void world_on_full(void *self, const char *why)
{
    ((history_world_t *)self)->full = why != NULL;
}

static inline void world_on_failed(void *self, const char *text)
{
    history_world_t *world = self;
    world->failed = true;
    snprintf(world->why_failed, sizeof world->why_failed, "%s", text);
}

static inline void world_on_damaged(void *self, const shelf_segment_t *segment)
{
    history_world_t *world = self;
    record_t gap = {.topic = SLICE("stage.audit_gap"), .at_ms = clk_wall_ms()};
    world->n_damaged++;
    world->damaged = *segment;
    commit_add_own(history_next(world->history), SLICE("node"), SLICE("auditor"), &gap);
}

static inline void world_open(history_world_t *world)
{
    static const history_calls_t calls = {.on_committed = world_on_committed,
                                          .on_full = world_on_full,
                                          .on_failed = world_on_failed,
                                          .on_damaged = world_on_damaged};
    fault_t fault = {""};
    world->marks = marks_new();
    world->settings.dir = world->folder.path;
    result_t r = history_open(world->loop, &world->settings, &world->log, world->marks, &calls,
                              world, &world->history, &fault);
    if (r != RESULT_OK)
        print_error("%s\n", fault.text);
    assert_int_equal(r, RESULT_OK);
    world->last_told = history_tail(world->history)->next_id - 1;
}

static inline void world_close(history_world_t *world)
{
    history_close(&world->history);
    marks_destroy(&world->marks);
}

static inline int world_setup(void **state)
{
    history_world_t *world = calloc(1, sizeof *world);
    if (!world || folder_make(&world->folder) != 0)
        return -1;
    zsys_init();
    zsys_handler_set(NULL);
    world->loop = zloop_new();
    world->log = (log_t){.service = "test", .level = LEVEL_ERROR};
    world->boot = 1;
    world->settings = (history_settings_t){.segment_attempts = 1000000,
                                           .segment_records = 1000000,
                                           .segment_age_ms = 86400000,
                                           .retention = {.age_ms = 86400000, .bytes = 1 << 30},
                                           .room_bytes = 1 << 20};
    world_open(world);
    *state = world;
    return 0;
}

static inline int world_teardown(void **state)
{
    history_world_t *world = *state;
    world_close(world);
    zloop_destroy(&world->loop);
    folder_remove(&world->folder);
    free(world);
    return 0;
}

static inline int world_on_turn(zloop_t *loop, int timer, void *self)
{
    (void)loop, (void)timer;
    history_world_t *world = self;
    if (clk_mono_ms() > world->deadline_ms)
        fail_msg("waited too long");
    return world->until(world) ? -1 : 0;
}

/* Runs the loop until the condition holds. */
static inline void world_run(history_world_t *world, bool (*until)(void *world))
{
    world->until = until;
    world->deadline_ms = clk_mono_ms() + WORLD_DEADLINE_MS;
    int timer = zloop_timer(world->loop, 1, 0, world_on_turn, world);
    zloop_set_nonstop(world->loop, true);
    zloop_start(world->loop);
    zloop_timer_end(world->loop, timer);
}

static inline bool world_is_idle(void *self)
{
    history_world_t *world = self;
    history_kick(world->history);
    return history_idle(world->history);
}

static inline void world_commit(history_world_t *world)
{
    world_run(world, world_is_idle);
}

/* A damaged segment has been set aside. */
static inline bool world_has_set_aside(void *self)
{
    history_world_t *world = self;
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = shelf_copy(history_shelf(world->history), &segments), n_aside = 0;
    for (size_t i = 0; i < n; i++)
        n_aside += segments[i].aside;
    history_tick(world->history);
    return n_aside > 0;
}

/* A message of n records from first on. */
static inline zmsg_t *world_message(const char *node, const char *service, int64_t boot,
                                    int64_t first, int64_t oldest, const record_t *records,
                                    size_t n)
{
    AUTO_BUF head = {0}, body = {0};
    audit_t audit = {.version = AUDIT_VERSION,
                     .node = slice_of(node),
                     .service = slice_of(service),
                     .boot = boot,
                     .first = first,
                     .oldest = oldest,
                     .count = (int64_t)n};
    codec_add(&audit_table, &audit, &head);
    for (size_t i = 0; i < n; i++)
        codec_add(&record_table, &records[i], &body);
    zmsg_t *msg = zmsg_new();
    zmsg_addstr(msg, node);
    zmsg_addmem(msg, head.data, head.size);
    zmsg_addmem(msg, body.data, body.size);
    return msg;
}

/* The world's one stage sends a record; nothing is committed yet. */
static inline void world_send(history_world_t *world, const record_t *record)
{
    record_t sent = *record;
    fault_t fault = {""};
    int64_t number = ++world->number;
    if (!sent.at_ms)
        sent.at_ms = clk_wall_ms();
    zmsg_t *msg = world_message("node", "emitter", world->boot, number, number, &sent, 1);
    result_t r = intake_message(world->marks, history_next(world->history), &msg, clk_wall_ms(),
                                clk_mono_ms(), &fault);
    if (r != RESULT_OK)
        print_error("%s\n", fault.text);
    assert_int_equal(r, RESULT_OK);
}

/* "01EVENT00000000000000000042" */
typedef struct {
    char text[27];
} world_id_t;

static inline world_id_t world_event(int n)
{
    world_id_t id;
    snprintf(id.text, sizeof id.text, "01EVENT%019d", n);
    return id;
}

static inline void world_accept(history_world_t *world, int event, const char *object_id)
{
    world_id_t id = world_event(event);
    record_t record = {
        .topic = SLICE("event.accepted"),
        .event_id = slice_of(id.text),
        .events_id = SLICE("clients.update"),
        .object_kind = SLICE("client"),
        .object_id = slice_of(object_id),
        .body = SLICE("{\"event\":{},\"data\":{\"n\":0.10}}"),
        .source = SLICE("push"),
    };
    world_send(world, &record);
}

/* topic: the part after "delivery." */
static inline void world_deliver(history_world_t *world, const char *outcome, int event,
                                 const char *object_id, int64_t handler_id, const char *response)
{
    world_id_t id = world_event(event);
    char topic[64];
    snprintf(topic, sizeof topic, "delivery.%s", outcome);
    record_t record = {
        .topic = slice_of(topic),
        .event_id = slice_of(id.text),
        .events_id = SLICE("clients.update"),
        .object_kind = SLICE("client"),
        .object_id = slice_of(object_id),
        .handler_id = handler_id,
        .handler = SLICE("crm"),
        .attempt = 1,
        .http_status = strcmp(outcome, "delivered") == 0 ? 200 : 500,
        .response = slice_of(response),
        .request = SLICE("POST /api HTTP/1.1"),
        .duration_us = 1500,
    };
    world_send(world, &record);
}

#endif
