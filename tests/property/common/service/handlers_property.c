/* The handler table against a naive model: random operations by two processes' worth of handlers_t,
 * whose snapshots must show the model after each poll, and the change log every change. */
#include "tests/support/folder.h"
#include "common/base/mem.h"
#include "common/service/handlers.h"

enum { SEEDS = 15, STEPS = 120, ROWS = STEPS + 1, STATUSES = 5 };

typedef struct {
    handler_status_t status;
    int64_t priority; /* the one setting that updates change */
    int64_t version;
} row_t;

typedef struct {
    row_t rows[ROWS]; /* [id]; 0 is not used */
    int64_t last_id;
    int64_t version;
    const char *what[STEPS + 1]; /* [seq] */
    int64_t who[STEPS + 1];
} model_t;

static void changed(model_t *model, int64_t id, const char *what)
{
    model->version++;
    model->rows[id].version = model->version;
    model->what[model->version] = what;
    model->who[model->version] = id;
}

static result_t model_set_status(model_t *model, int64_t id, handler_status_t to)
{
    if (id < 1 || id > model->last_id)
        return RESULT_NOT_FOUND;
    handler_status_t from = model->rows[id].status;
    if (from == HANDLER_DELETED)
        return RESULT_INVALID;
    if (from == to || (from == HANDLER_DISABLED && to == HANDLER_SUSPENDED))
        return RESULT_OK;
    if (from == HANDLER_ARCHIVED && to != HANDLER_DELETED)
        return RESULT_INVALID;
    model->rows[id].status = to;
    changed(model, id, handler_status_str(to));
    return RESULT_OK;
}

static result_t model_update(model_t *model, int64_t id, int64_t version, int64_t priority)
{
    if (id < 1 || id > model->last_id)
        return RESULT_NOT_FOUND;
    if (model->rows[id].status >= HANDLER_ARCHIVED || model->rows[id].version != version)
        return RESULT_INVALID;
    model->rows[id].priority = priority;
    changed(model, id, "updated");
    return RESULT_OK;
}

static void make(handler_t *handler, int64_t id, int64_t priority)
{
    handler_init(handler);
    handler->id = id;
    handler->priority = priority;
    handler->name = mem_strdup("a");
    handler->events = mem_strdup("*");
    handler->task = mem_strdup("a.org");
}

static void step(model_t *model, handlers_t *handlers, unsigned *seed)
{
    handler_t handler;
    int64_t id = unit_chance(seed, (unsigned)model->last_id + 2);
    int64_t priority = unit_chance(seed, 1000);
    handler_status_t status = unit_chance(seed, STATUSES);
    make(&handler, id, priority);
    switch (unit_chance(seed, 4)) {
    case 0:
        assert_int_equal(handlers_add(handlers, &handler, NULL), RESULT_OK);
        model->rows[++model->last_id] = (row_t){HANDLER_ENABLED, priority, 0};
        changed(model, model->last_id, "created");
        assert_int_equal(handler.id, model->last_id);
        assert_int_equal(handler.version, model->version);
        break;
    case 1: /* now and then made from what is no more */
        handler.version = model->rows[id].version - (unit_chance(seed, 4) == 0);
        assert_int_equal(handlers_update(handlers, &handler, NULL),
                         model_update(model, id, handler.version, priority));
        break;
    default:
        assert_int_equal(handlers_set_status(handlers, id, status, "why", NULL),
                         model_set_status(model, id, status));
    }
    handler_release(&handler);
}

/* shown: the version that this snapshot showed at its last poll. */
static void compare(const model_t *model, handlers_t *handlers, int64_t *shown)
{
    bool is_changed = false;
    assert_int_equal(handlers_poll(handlers, &is_changed), RESULT_OK);
    assert_int_equal(is_changed, *shown != model->version);
    *shown = model->version;
    assert_int_equal(handlers_version(handlers), model->version);
    assert_int_equal(handlers_count(handlers), model->last_id);
    for (int64_t id = 1; id <= model->last_id; id++) {
        const handler_t *got = handlers_find(handlers, id);
        assert_non_null(got);
        assert_int_equal(got->status, model->rows[id].status);
        assert_int_equal(got->priority, model->rows[id].priority);
        assert_int_equal(got->version, model->rows[id].version);
    }
}

static void compare_log(const model_t *model, handlers_t *handlers)
{
    handler_change_t change;
    int64_t seq = 0;
    while (handlers_next_change(handlers, seq, &change) == RESULT_OK) {
        seq++;
        assert_int_equal(change.seq, seq);
        assert_int_equal(change.handler_id, model->who[seq]);
        assert_string_equal(change.what, model->what[seq]);
    }
    assert_int_equal(seq, model->version);
}

static void run(const folder_t *folder, unsigned seed)
{
    model_t model = {0};
    handlers_t *handlers[2] = {NULL, NULL};
    int64_t shown[2] = {0, 0};
    char name[16];
    snprintf(name, sizeof name, "%08x", seed);
    for (int i = 0; i < 2; i++)
        assert_int_equal(handlers_open(folder_file(folder, name), &handlers[i], NULL), RESULT_OK);
    for (int i = 0; i < STEPS; i++) {
        step(&model, handlers[unit_chance(&seed, 2)], &seed);
        unsigned who = unit_chance(&seed, 4);
        if (who < 2)
            compare(&model, handlers[who], &shown[who]);
    }
    for (int i = 0; i < 2; i++) {
        compare(&model, handlers[i], &shown[i]);
        compare_log(&model, handlers[i]);
        handlers_close(&handlers[i]);
    }
}

static void the_table_is_the_model(void **state)
{
    unsigned seed = unit_seed();
    for (int i = 0; i < SEEDS; i++)
        run(*state, seed + (unsigned)i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_table_is_the_model, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
