#include "tests/support/unit.h"

#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clk.h"
#include "services/cli/supervisor.h"
#include "tests/support/folder.h"

enum { WAIT_MS = 10000 };

static const log_t log_nothing = {"test", LEVEL_ERROR};

typedef struct {
    supervisor_t *supervisor;
    char *argv[2][8];
} world_t;

/* A stage is a shell: its script sees the folder as $1 and its pid as $$. */
static void add(world_t *world, size_t i, const char *name, const char *script, const char *dir)
{
    char **argv = world->argv[i];
    argv[0] = (char *)"/bin/sh";
    argv[1] = (char *)"-c";
    argv[2] = (char *)script;
    argv[3] = (char *)name;
    argv[4] = (char *)dir;
    supervisor_add(world->supervisor, name, argv);
}

/* Until the stages are as wanted: returns what reap returned when it was not 0. */
static int supervise_until(supervisor_t *supervisor, bool (*wanted)(const char *dir),
                           const char *dir)
{
    for (int64_t end_ms = clk_mono_ms() + WAIT_MS; clk_mono_ms() < end_ms;) {
        int code = supervisor_reap(supervisor);
        if (code)
            return code;
        if (wanted && wanted(dir))
            return 0;
        supervisor_restart_due(supervisor);
        usleep(2000);
    }
    fail_msg("the stages did not do what was expected");
    return 0;
}

static size_t lines_of(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "r");
    size_t lines = 0;
    for (int c; file && (c = fgetc(file)) != EOF;)
        lines += c == '\n';
    if (file)
        fclose(file);
    return lines;
}

static bool ran_three_times(const char *dir)
{
    return lines_of(dir, "runs") >= 3;
}

static bool both_run(const char *dir)
{
    return lines_of(dir, "a") == 1 && lines_of(dir, "b") == 1;
}

static bool was_reloaded(const char *dir)
{
    return lines_of(dir, "reloads") == 1;
}

static void a_stage_that_ends_runs_again(void **state)
{
    const char *dir = ((const folder_t *)*state)->path;
    world_t world = {supervisor_new(&log_nothing, 0), {{0}}};
    add(&world, 0, "stage", "echo x >>$1/runs; exit 70", dir);
    supervisor_start(world.supervisor);
    assert_int_equal(supervise_until(world.supervisor, ran_three_times, dir), 0);
    supervisor_stop(world.supervisor, WAIT_MS);
    supervisor_destroy(&world.supervisor);
}

static void codes_that_mean_it_cannot_start_are_told(void **state)
{
    static const char *const scripts[] = {"exit 64", "exit 75", "exit 78"};
    static const int codes[] = {64, 75, 78};
    const char *dir = ((const folder_t *)*state)->path;
    for (size_t i = 0; i < 3; i++) {
        world_t world = {supervisor_new(&log_nothing, 0), {{0}}};
        add(&world, 0, "stage", scripts[i], dir);
        supervisor_start(world.supervisor);
        assert_int_equal(supervise_until(world.supervisor, NULL, dir), codes[i]);
        assert_int_equal(supervisor_wait_ms(world.supervisor), -1);
        supervisor_stop(world.supervisor, WAIT_MS);
        supervisor_destroy(&world.supervisor);
    }
}

static void a_stage_that_was_up_is_started_again_whatever_its_code(void **state)
{
    const char *dir = ((const folder_t *)*state)->path;
    world_t world = {supervisor_new(&log_nothing, 0), {{0}}};
    add(&world, 0, "stage", "echo x >>$1/runs; exit 75", dir);
    supervisor_mark_up(world.supervisor, "stage");
    supervisor_start(world.supervisor);
    assert_int_equal(supervise_until(world.supervisor, ran_three_times, dir), 0);
    supervisor_stop(world.supervisor, WAIT_MS);
    supervisor_destroy(&world.supervisor);
}

static void what_a_killed_supervisor_left_is_waited_for(void **state)
{
    const char *dir = ((const folder_t *)*state)->path;
    world_t world = {supervisor_new(&log_nothing, 0), {{0}}};
    add(&world, 0, "stage",
        "echo x >>$1/runs; test $(wc -l <$1/runs) -lt 3 && exit 75; exec sleep 100", dir);
    supervisor_wait_for_remains(world.supervisor, 1, WAIT_MS);
    supervisor_start(world.supervisor);
    assert_int_equal(supervise_until(world.supervisor, ran_three_times, dir), 0);
    supervisor_stop(world.supervisor, WAIT_MS);
    supervisor_destroy(&world.supervisor);
}

static void what_a_killed_supervisor_left_is_not_waited_for_without_end(void **state)
{
    const char *dir = ((const folder_t *)*state)->path;
    world_t world = {supervisor_new(&log_nothing, 0), {{0}}};
    add(&world, 0, "stage", "echo x >>$1/runs; exit 75", dir);
    supervisor_wait_for_remains(world.supervisor, 1, 3000); /* two starts on a busy machine */
    supervisor_start(world.supervisor);
    assert_int_equal(supervise_until(world.supervisor, NULL, dir), 75);
    assert_true(lines_of(dir, "runs") >= 2);
    supervisor_stop(world.supervisor, WAIT_MS);
    supervisor_destroy(&world.supervisor);
}

static void other_codes_are_final_while_it_waits_for_what_is_left(void **state)
{
    const char *dir = ((const folder_t *)*state)->path;
    world_t world = {supervisor_new(&log_nothing, 0), {{0}}};
    add(&world, 0, "stage", "exit 78", dir);
    supervisor_wait_for_remains(world.supervisor, 1, WAIT_MS);
    supervisor_start(world.supervisor);
    assert_int_equal(supervise_until(world.supervisor, NULL, dir), 78);
    supervisor_stop(world.supervisor, WAIT_MS);
    supervisor_destroy(&world.supervisor);
}

#define WAITER "echo x >>$1/$0; while :; do sleep 0.01; done"

static void stages_stop_in_reverse_order(void **state)
{
    const char *dir = ((const folder_t *)*state)->path;
    world_t world = {supervisor_new(&log_nothing, 0), {{0}}};
    add(&world, 0, "a", "trap 'test -e $1/b_ended && echo x >>$1/order; exit 0' TERM; " WAITER,
        dir);
    add(&world, 1, "b", "trap 'echo x >>$1/b_ended; exit 0' TERM; " WAITER, dir);
    supervisor_start(world.supervisor);
    assert_int_equal(supervise_until(world.supervisor, both_run, dir), 0);
    supervisor_stop(world.supervisor, WAIT_MS);
    assert_int_equal(lines_of(dir, "b_ended"), 1);
    assert_int_equal(lines_of(dir, "order"), 1);
    supervisor_destroy(&world.supervisor);
}

static void a_stage_that_does_not_stop_is_killed(void **state)
{
    const char *dir = ((const folder_t *)*state)->path;
    world_t world = {supervisor_new(&log_nothing, 0), {{0}}};
    add(&world, 0, "a", "trap '' TERM; " WAITER, dir);
    add(&world, 1, "b", WAITER, dir);
    supervisor_start(world.supervisor);
    assert_int_equal(supervise_until(world.supervisor, both_run, dir), 0);
    int64_t start_ms = clk_mono_ms();
    supervisor_stop(world.supervisor, 100);
    assert_in_range(clk_mono_ms() - start_ms, 100, WAIT_MS);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    supervisor_destroy(&world.supervisor);
}

static void a_reload_reaches_the_stages(void **state)
{
    const char *dir = ((const folder_t *)*state)->path;
    world_t world = {supervisor_new(&log_nothing, 0), {{0}}};
    add(&world, 0, "a", "trap 'echo x >>$1/reloads' HUP; " WAITER, dir);
    add(&world, 1, "b", "trap : HUP; " WAITER, dir);
    supervisor_start(world.supervisor);
    assert_int_equal(supervise_until(world.supervisor, both_run, dir), 0);
    supervisor_reload(world.supervisor);
    assert_int_equal(supervise_until(world.supervisor, was_reloaded, dir), 0);
    supervisor_stop(world.supervisor, WAIT_MS);
    supervisor_destroy(&world.supervisor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_stage_that_ends_runs_again, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(codes_that_mean_it_cannot_start_are_told, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(a_stage_that_was_up_is_started_again_whatever_its_code,
                                        folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(what_a_killed_supervisor_left_is_waited_for, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(what_a_killed_supervisor_left_is_not_waited_for_without_end,
                                        folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(other_codes_are_final_while_it_waits_for_what_is_left,
                                        folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(stages_stop_in_reverse_order, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(a_stage_that_does_not_stop_is_killed, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(a_reload_reaches_the_stages, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
