/* Acceptance of audit records: stages that lose, repeat, reorder and restart against an auditor
 * that restarts too. Every durable record ends in history exactly once and in order, others at most
 * once and in order, each missing number is told as lost, and no mark ever runs ahead of history.
 */
#include "tests/support/history_world.h"

#include "common/base/mem.h"

enum { NODES = 3, ROUNDS = 60, STEPS = 1500, RECORDS_MAX = 2048, BOOTS_MAX = 64, AIR_MAX = 64 };

/* A record as its stage made it, and whether it is in history under this number. */
typedef struct {
    int64_t origin; /* 0: not durable */
    bool present;
} made_t;

/* One boot of a stage. */
typedef struct {
    int64_t id;
    made_t made[RECORDS_MAX]; /* number = index + 1 */
    int64_t n_made;
    int64_t oldest;       /* number; smaller ones are given up or marked */
    int64_t mark;         /* heard */
    int64_t last_present; /* number */
} boot_t;

typedef struct {
    char name[8];
    boot_t *boots[BOOTS_MAX]; /* the last one runs */
    size_t n_boots;
    boot_t *boot;              /* that one */
    int64_t rows[RECORDS_MAX]; /* durable rows that are not marked, rising */
    size_t n_rows;
    int64_t given[RECORDS_MAX]; /* every origin ever */
    size_t n_given;
    int64_t taken[RECORDS_MAX]; /* origins in history, in order */
    size_t n_taken;
    int64_t told_lost; /* by stage.audit_gap */
} stage_t;

typedef struct {
    unsigned seed;
    stage_t stages[NODES];
    zmsg_t *air[AIR_MAX];
    size_t n_air;
    marks_t *marks;
    commit_t *next, *running;
    marks_rows_t saved; /* what a restart finds: the rows of every commit, merged */
    int64_t boots;
} world_t;

static unsigned chance(world_t *world, unsigned below)
{
    return unit_chance(&world->seed, below);
}

/* ---- Stages ----------------------------------------------------------------------------- */

static void make(stage_t *stage, int64_t origin)
{
    if (stage->boot->n_made < RECORDS_MAX)
        stage->boot->made[stage->boot->n_made++] = (made_t){.origin = origin};
}

static void start_stage(world_t *world, stage_t *stage)
{
    if (stage->n_boots == BOOTS_MAX)
        return;
    stage->boot = stage->boots[stage->n_boots++] = MEM_NEW(boot_t);
    stage->boot->id = ++world->boots;
    stage->boot->oldest = 1;
    for (size_t i = 0; i < stage->n_rows; i++)
        make(stage, stage->rows[i]);
}

static void add_record(world_t *world, stage_t *stage)
{
    if (stage->boot->n_made == RECORDS_MAX || stage->n_given == RECORDS_MAX)
        return;
    int64_t origin = 0;
    if (chance(world, 3)) {
        origin = 1 + chance(world, 3) + (stage->n_given ? stage->given[stage->n_given - 1] : 0);
        stage->given[stage->n_given++] = origin;
        stage->rows[stage->n_rows++] = origin;
    }
    make(stage, origin);
}

/* The stage has no room: the oldest ones go, as far as they are not durable. */
static void give_up(world_t *world, stage_t *stage)
{
    boot_t *boot = stage->boot;
    for (unsigned n = chance(world, 4); n > 0 && boot->oldest <= boot->n_made; n--) {
        if (boot->made[boot->oldest - 1].origin)
            return;
        boot->oldest++;
    }
}

/* Rows up to the mark may go. */
static void hear(stage_t *stage, int64_t number)
{
    boot_t *boot = stage->boot;
    int64_t origin = 0;
    size_t gone = 0;
    assert_true(number <= boot->n_made);
    if (number <= boot->mark)
        return;
    boot->mark = number;
    if (boot->oldest <= number)
        boot->oldest = number + 1;
    for (int64_t n = 1; n <= number; n++)
        if (boot->made[n - 1].origin)
            origin = boot->made[n - 1].origin;
    while (gone < stage->n_rows && stage->rows[gone] <= origin)
        gone++;
    stage->n_rows -= gone;
    memmove(stage->rows, stage->rows + gone, stage->n_rows * sizeof *stage->rows);
}

/* For the check, a record's at_ms is its boot and its count its number. */
static void put_into_air(world_t *world, const stage_t *stage, int64_t first, int64_t count)
{
    record_t records[16];
    if (world->n_air == AIR_MAX)
        return;
    for (int64_t i = 0; i < count; i++)
        records[i] = (record_t){.topic = SLICE("a"),
                                .at_ms = stage->boot->id,
                                .count = first + i,
                                .origin = stage->boot->made[first + i - 1].origin};
    world->air[world->n_air++] = world_message(stage->name, "emitter", stage->boot->id, first,
                                               stage->boot->oldest, records, (size_t)count);
}

static void send_some(world_t *world, stage_t *stage)
{
    int64_t waiting = stage->boot->n_made - stage->boot->oldest + 1;
    int64_t first = stage->boot->oldest;
    if (waiting > 0 && chance(world, 3) == 0)
        first += chance(world, (unsigned)waiting);
    int64_t count = stage->boot->n_made - first + 1;
    if (count > 16)
        count = 16;
    if (count > 1)
        count = 1 + chance(world, (unsigned)count);
    put_into_air(world, stage, first, count > 0 ? count : 0);
}

/* ---- The auditor ------------------------------------------------------------------------ */

static void take_message(world_t *world, zmsg_t *msg)
{
    fault_t fault;
    assert_int_equal(intake_message(world->marks, world->next, &msg, 1, 1, &fault), RESULT_OK);
}

/* Any of those in the air arrives, twice, or never. */
static void deliver_one(world_t *world)
{
    if (world->n_air == 0)
        return;
    size_t i = chance(world, 2) ? 0 : chance(world, (unsigned)world->n_air);
    unsigned fate = chance(world, 10);
    if (fate < 7)
        take_message(world, zmsg_dup(world->air[i]));
    if (fate == 0)
        return; /* and it stays in the air */
    zmsg_destroy(&world->air[i]);
    memmove(world->air + i, world->air + i + 1, (--world->n_air - i) * sizeof *world->air);
}

static stage_t *stage_of(world_t *world, slice_t node)
{
    for (size_t i = 0; i < NODES; i++)
        if (slice_is(node, world->stages[i].name))
            return &world->stages[i];
    fail_msg("a node of nobody");
    return NULL;
}

static boot_t *boot_of(stage_t *stage, int64_t id)
{
    for (size_t i = 0; i < stage->n_boots; i++)
        if (stage->boots[i]->id == id)
            return stage->boots[i];
    fail_msg("a boot of nobody");
    return NULL;
}

static void write_history(world_t *world)
{
    for (size_t i = 0; i < world->running->n_items; i++) {
        const entry_t *entry = &world->running->items[i].entry;
        const record_t *record = &entry->record;
        stage_t *stage = stage_of(world, entry->node);
        if (slice_is(record->topic, "stage.audit_gap")) {
            stage->told_lost += record->count;
            continue;
        }
        boot_t *boot = boot_of(stage, record->at_ms);
        assert_true(record->count > boot->last_present);
        boot->last_present = record->count;
        boot->made[record->count - 1].present = true;
        if (!record->origin)
            continue;
        assert_true(stage->n_taken == 0 || record->origin > stage->taken[stage->n_taken - 1]);
        stage->taken[stage->n_taken++] = record->origin;
    }
}

static void merge(marks_rows_t *saved, const marks_row_t *row)
{
    for (size_t i = 0; i < saved->n_rows; i++)
        if (saved->rows[i].boot == row->boot && strcmp(saved->rows[i].node, row->node) == 0) {
            saved->rows[i] = *row;
            return;
        }
    saved->rows = mem_realloc(saved->rows, (saved->n_rows + 1) * sizeof *saved->rows);
    saved->rows[saved->n_rows++] = *row;
}

static void finish_commit(world_t *world, bool told)
{
    if (!world->running)
        return;
    write_history(world);
    for (size_t i = 0; i < world->running->marks.n_rows; i++)
        merge(&world->saved, &world->running->marks.rows[i]);
    if (told)
        marks_committed(world->marks, &world->running->marks);
    commit_destroy(&world->running);
}

static void begin_commit(world_t *world)
{
    if (world->running)
        return;
    marks_collect(world->marks, &world->next->marks);
    world->running = world->next;
    world->next = commit_new();
}

static void kill_auditor(world_t *world)
{
    if (chance(world, 2))
        finish_commit(world, false); /* on disk, and nobody heard of it */
    commit_destroy(&world->running);
    commit_destroy(&world->next);
    marks_destroy(&world->marks);
    world->next = commit_new();
    world->marks = marks_new();
    for (size_t i = 0; i < world->saved.n_rows; i++)
        marks_restore(world->marks, &world->saved.rows[i]);
}

static bool is_taken(const stage_t *stage, int64_t origin)
{
    for (size_t i = stage->n_taken; i-- > 0;)
        if (stage->taken[i] == origin)
            return true;
    return false;
}

/* A mark says that everything up to it is in history, was there before, or is told as lost. */
static void tell(void *owner, const marks_row_t *row)
{
    world_t *world = owner;
    stage_t *stage = stage_of(world, slice_of(row->node));
    boot_t *boot = boot_of(stage, row->boot);
    for (int64_t n = 1; n <= row->number; n++) {
        int64_t origin = boot->made[n - 1].origin;
        if (origin && !is_taken(stage, origin))
            fail_msg("a mark ran ahead: %s, number %lld", row->node, (long long)n);
    }
    if (boot == stage->boot && chance(world, 4)) /* or it is lost on its way */
        hear(stage, row->number);
}

/* ---- The run ---------------------------------------------------------------------------- */

static void step(world_t *world)
{
    stage_t *stage = &world->stages[chance(world, NODES)];
    switch (chance(world, 12)) {
    case 0:
    case 1:
    case 2:
        add_record(world, stage);
        break;
    case 3:
    case 4:
        send_some(world, stage);
        break;
    case 5:
    case 6:
    case 7:
        deliver_one(world);
        break;
    case 8:
        begin_commit(world);
        break;
    case 9:
        finish_commit(world, true);
        break;
    case 10:
        marks_each(world->marks, 0, tell, world);
        break;
    default:
        if (chance(world, 12) == 0)
            kill_auditor(world);
        else if (chance(world, 12) == 0)
            start_stage(world, stage);
        else if (chance(world, 4) == 0)
            give_up(world, stage);
    }
}

/* The weather clears: what is there now arrives. */
static void settle(world_t *world)
{
    while (world->n_air)
        zmsg_destroy(&world->air[--world->n_air]);
    for (size_t i = 0; i < NODES; i++) {
        stage_t *stage = &world->stages[i];
        boot_t *boot = stage->boot;
        for (int round = 0; boot->mark < boot->n_made; round++) {
            assert_true(round < RECORDS_MAX * 2);
            int64_t left = boot->n_made - boot->oldest + 1;
            int64_t first = left > 0 ? boot->oldest : boot->n_made + 1;
            put_into_air(world, stage, first, left > 16 ? 16 : left > 0 ? left : 0);
            take_message(world, world->air[--world->n_air]);
            finish_commit(world, true);
            begin_commit(world);
            finish_commit(world, true);
            marks_each(world->marks, 0, tell, world);
        }
        assert_int_equal(stage->n_rows, 0);
    }
}

static void check_stage(world_t *world, const stage_t *stage)
{
    int64_t missing = 0;
    assert_int_equal(stage->n_taken, stage->n_given);
    assert_memory_equal(stage->taken, stage->given, stage->n_given * sizeof *stage->given);
    for (size_t i = 0; i < world->saved.n_rows; i++) {
        const marks_row_t *row = &world->saved.rows[i];
        if (strcmp(row->node, stage->name) != 0)
            continue;
        const boot_t *boot = boot_of((stage_t *)stage, row->boot);
        for (int64_t n = 0; n < row->number; n++)
            missing += !boot->made[n].present && !boot->made[n].origin;
    }
    assert_int_equal(missing, stage->told_lost);
}

static void run_once(unsigned seed)
{
    world_t *world = MEM_NEW(world_t);
    *world = (world_t){.seed = seed, .marks = marks_new(), .next = commit_new()};
    for (size_t i = 0; i < NODES; i++) {
        snprintf(world->stages[i].name, sizeof world->stages[i].name, "n%zu", i);
        start_stage(world, &world->stages[i]);
    }
    for (int i = 0; i < STEPS; i++)
        step(world);
    settle(world);
    for (size_t i = 0; i < NODES; i++) {
        check_stage(world, &world->stages[i]);
        for (size_t b = 0; b < world->stages[i].n_boots; b++)
            free(world->stages[i].boots[b]);
    }
    marks_rows_release(&world->saved);
    commit_destroy(&world->next);
    marks_destroy(&world->marks);
    free(world);
}

static void every_durable_record_is_there_once_and_in_order(void **state)
{
    (void)state;
    unsigned seed = unit_seed();
    for (unsigned i = 0; i < ROUNDS; i++)
        run_once(seed + i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_durable_record_is_there_once_and_in_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
