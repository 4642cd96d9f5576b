/* Random additions over a network that loses, delays and repeats, to an auditor that restarts and
 * forgets what it had not committed. Whatever happens, what the auditor commits is 1, 2, 3, ... in
 * order, each once; and when the network heals everything arrives. */
#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/service/audit_window.h"

enum {
    RUNS = 300,
    STEPS = 2000,
    HEAL_STEPS = 200,
    STEP_MS = 97,
    QUEUE = 4096,
    RECORDS_MAX = 50,
    MESSAGES_MAX = 6,
};

typedef struct {
    int64_t first, oldest, count;
    char *records; /* each "<number>;" */
} message_t;

typedef struct {
    audit_window_t *window;
    unsigned seed;
    unsigned loss; /* percent, both ways */
    int64_t now_ms;
    int64_t added;
    message_t queue[QUEUE]; /* on their way to the auditor */
    size_t n_queue;
    int64_t marks[QUEUE]; /* on their way back */
    size_t n_marks;
    int64_t received, committed; /* the auditor's */
    bool up;                     /* the auditor runs and has subscribed */
    int64_t highest_mark;
} world_t;

static bool chance(world_t *world, unsigned percent)
{
    return unit_chance(&world->seed, 100) < percent;
}

static void stage_adds(world_t *world)
{
    for (unsigned i = unit_chance(&world->seed, 8); i > 0 && audit_window_room(world->window);
         i--) {
        char text[32];
        snprintf(text, sizeof text, "%lld;", (long long)++world->added);
        assert_int_equal(audit_window_add(world->window, slice_of(text)), world->added);
    }
    assert_true(world->added - audit_window_marked(world->window) <= RECORDS_MAX);
}

static void stage_sends(world_t *world)
{
    audit_message_t message;
    (void)audit_window_tick(world->window, world->now_ms);
    while (audit_window_take(world->window, world->now_ms, &message)) {
        assert_true(message.oldest == audit_window_marked(world->window) + 1);
        assert_true(message.first >= message.oldest && message.count > 0);
        assert_true(message.first + message.count - 1 <= world->added);
        if (world->n_queue < QUEUE && world->up && !chance(world, world->loss))
            world->queue[world->n_queue++] = (message_t){message.first, message.oldest,
                                                         message.count, buf_take(&message.records)};
        buf_release(&message.records);
    }
}

/* The go-back-N receiver: takes what follows, skips what it has, ignores what leaves a hole. */
static void auditor_takes(world_t *world, const message_t *message)
{
    char *at = message->records;
    for (int64_t n = message->first; n < message->first + message->count; n++) {
        assert_int_equal(strtoll(at, &at, 10), n); /* the records are those numbers */
        assert_int_equal(*at++, ';');
        if (n == world->received + 1)
            world->received = n;
    }
    assert_int_equal(*at, 0);
    assert_true(message->oldest <= world->committed + 1); /* nothing uncommitted is forgotten */
}

static void auditor_works(world_t *world)
{
    size_t n = unit_chance(&world->seed, (unsigned)world->n_queue + 1);
    for (size_t i = 0; i < n; i++) {
        if (world->up)
            auditor_takes(world, &world->queue[i]);
        free(world->queue[i].records);
    }
    memmove(world->queue, world->queue + n, (world->n_queue - n) * sizeof *world->queue);
    world->n_queue -= n;
    if (!world->up)
        return;
    if (chance(world, 70))
        world->committed = world->received;
    if (world->n_marks < QUEUE && !chance(world, world->loss))
        world->marks[world->n_marks++] = world->committed;
}

static void stage_hears(world_t *world)
{
    size_t n = unit_chance(&world->seed, (unsigned)world->n_marks + 1);
    for (size_t i = 0; i < n; i++) {
        bool news = audit_window_mark(world->window, world->marks[i], world->now_ms);
        assert_true(news == (world->marks[i] > world->highest_mark));
        if (news)
            world->highest_mark = world->marks[i];
    }
    memmove(world->marks, world->marks + n, (world->n_marks - n) * sizeof *world->marks);
    world->n_marks -= n;
    assert_int_equal(audit_window_marked(world->window), world->highest_mark);
}

static void auditor_stops(world_t *world)
{
    if (!world->up)
        return;
    world->up = false;
    world->received = world->committed;
    audit_window_leave(world->window);
}

static void auditor_starts(world_t *world)
{
    if (world->up)
        return;
    world->up = true;
    for (size_t i = 0; i < world->n_queue; i++) /* a new connection begins empty */
        free(world->queue[i].records);
    world->n_queue = 0;
    audit_window_join(world->window);
}

static void step(world_t *world)
{
    world->now_ms += unit_chance(&world->seed, STEP_MS);
    stage_adds(world);
    stage_sends(world);
    auditor_works(world);
    stage_hears(world);
}

static void run(unsigned seed)
{
    static const audit_limits_t limits = {
        .records_max = RECORDS_MAX,
        .bytes_max = 1 << 20,
        .message_bytes = 40,
        .messages_max = MESSAGES_MAX,
        .repeat_ms = 1000,
        .silence_ms = 3000,
    };
    world_t *world = calloc(1, sizeof *world);
    world->window = audit_window_new(&limits);
    world->seed = seed;
    world->loss = unit_chance(&world->seed, 60);
    for (int i = 0; i < STEPS; i++) {
        if (chance(world, 1))
            auditor_stops(world);
        else if (chance(world, 5))
            auditor_starts(world);
        step(world);
    }
    world->loss = 0;
    auditor_starts(world);
    for (int i = 0; i < HEAL_STEPS; i++)
        step(world);
    int64_t added = world->added;
    for (int i = 0; i < 100 * HEAL_STEPS && world->highest_mark < added; i++)
        step(world);
    assert_true(world->highest_mark >= added);
    for (size_t i = 0; i < world->n_queue; i++)
        free(world->queue[i].records);
    audit_window_destroy(&world->window);
    free(world);
}

static void everything_arrives_once_and_in_order(void **state)
{
    (void)state;
    unsigned seed = unit_seed();
    for (unsigned i = 0; i < RUNS; i++)
        run(seed + i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_arrives_once_and_in_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
