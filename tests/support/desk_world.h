/* desk_world: a history with what answers questions about it, asked without sockets or threads. */
#ifndef PROVISOR_DESK_WORLD_H
#define PROVISOR_DESK_WORLD_H

#include "tests/support/history_world.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/db/store.h"
#include "services/auditor/answers.h"
#include "services/auditor/jobs.h"

typedef struct {
    history_world_t *history;
    store_t *store;
    desk_t desk;
    answers_effect_t effect; /* of the last question */
} desk_world_t;

enum { DESK_HANDLERS = 9 }; /* handlers 1 to 9 exist */

static inline void desk_add_handlers(handlers_t *handlers)
{
    for (size_t i = handlers_count(handlers); i < DESK_HANDLERS; i++) {
        handler_t handler;
        handler_init(&handler);
        handler.name = mem_strdup("handler");
        handler.events = mem_strdup("*");
        handler.task = mem_strdup("example.org/");
        result_t r = handlers_add(handlers, &handler, NULL);
        handler_release(&handler);
        assert_int_equal(r, RESULT_OK);
    }
}

static inline void desk_open(desk_world_t *world)
{
    store_spec_t spec = {.dir = world->history->folder.path,
                         .name = "jobs",
                         .migrations = jobs_migrations,
                         .service = "test"};
    assert_int_equal(store_open(&spec, &world->store, NULL), RESULT_OK);
    world->desk = (desk_t){
        .archive = archive_new(world->history->folder.path, history_shelf(world->history->history)),
        .jobs = store_db(world->store)};
    assert_int_equal(handlers_open(world->history->folder.path, &world->desk.handlers, NULL),
                     RESULT_OK);
    desk_add_handlers(world->desk.handlers);
}

static inline void desk_close(desk_world_t *world)
{
    archive_destroy(&world->desk.archive);
    handlers_close(&world->desk.handlers);
    store_close(&world->store);
}

static inline int desk_setup(void **state)
{
    void *history = NULL;
    if (world_setup(&history) != 0)
        return -1;
    desk_world_t *world = MEM_NEW(desk_world_t);
    world->history = history;
    desk_open(world);
    *state = world;
    return 0;
}

static inline int desk_teardown(void **state)
{
    desk_world_t *world = *state;
    void *history = world->history;
    desk_close(world);
    free(world);
    return world_teardown(&history);
}

/* The answer, whether ok or not. */
static inline json_tree_t *desk_ask(desk_world_t *world, const char *question)
{
    AUTO_BUF answer = {0};
    json_tree_t *tree = NULL;
    answers_give(&world->desk, slice_of(question), &answer, &world->effect);
    if (json_parse(buf_slice(&answer), &tree, NULL) != RESULT_OK)
        fail_msg("no JSON: %s", answer.data);
    return tree;
}

/* Asks what must be answered. */
static inline json_tree_t *desk_ask_ok(desk_world_t *world, const char *question)
{
    json_tree_t *tree = desk_ask(world, question);
    if (!json_get_bool(tree, "ok", false))
        fail_msg("%s: %s", question, json_get_str(tree, "error"));
    return tree;
}

/* The answer's records as "1 2 3" (audit ids). */
static inline void desk_ids(const json_tree_t *answer, buf_t *ret_ids)
{
    const json_tree_t *records = json_get(answer, "records");
    buf_clear(ret_ids);
    buf_add_str(ret_ids, "");
    for (size_t i = 0; i < records->u.array.len; i++)
        buf_printf(ret_ids, "%s%lld", i ? " " : "",
                   (long long)json_get_int(records->u.array.values[i], "audit_id", 0));
}

static inline void desk_assert_ids(desk_world_t *world, const char *question, const char *expected)
{
    AUTO_BUF ids = {0};
    AUTO(json_tree) answer = desk_ask_ok(world, question);
    desk_ids(answer, &ids);
    if (strcmp(buf_slice(&ids).data ? ids.data : "", expected) != 0)
        fail_msg("%s\n  gave     %s\n  expected %s", question, ids.data, expected);
}

/* The live segment was full, and the next record begins a new one. */
static inline bool desk_has_turned(void *self)
{
    history_world_t *world = self;
    const tail_t *tail = history_tail(world->history);
    history_tick(world->history);
    return tail->span.first_id == tail->next_id;
}

/* Every sealed segment has its indexes. */
static inline bool desk_is_sealed(void *self)
{
    history_world_t *world = self;
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = shelf_copy(history_shelf(world->history), &segments);
    history_tick(world->history);
    for (size_t i = 0; i + 1 < n; i++)
        if (!segments[i].indexed)
            return false;
    return history_idle(world->history);
}

#endif
