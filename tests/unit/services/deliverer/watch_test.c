#include "services/deliverer/watch.h"
#include "common/base/clk.h"
#include "tests/support/unit.h"

#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MANY = 3000 };

typedef struct {
    zloop_t *loop;
    watch_t *watch;
    int fds[MANY];
    int n;
    int read;        /* descriptors that were read */
    int read_at_due; /* of them before the time fired; -1: it has not */
} world_t;

static void on_ready(void *owner, int fd, void *tag, unsigned ready)
{
    world_t *world = owner;
    uint64_t value;
    assert_ptr_equal(tag, world);
    assert_true(ready & WATCH_IN);
    world->read += read(fd, &value, sizeof value) == sizeof value;
}

static void on_turn(void *owner)
{
    (void)owner;
}

static void on_due(void *owner)
{
    world_t *world = owner;
    world->read_at_due = world->read;
}

static int on_timer(zloop_t *loop, int timer_id, void *owner)
{
    const world_t *world = owner;
    (void)loop;
    (void)timer_id;
    return world->read == world->n && world->read_at_due >= 0 ? -1 : 0;
}

/* n descriptors that are ready, and a time that has come: as after a stall. */
static void open_world(world_t *world, int n)
{
    static const watch_calls_t calls = {.on_ready = on_ready, .on_turn = on_turn, .on_due = on_due};
    world->n = n;
    world->loop = zloop_new();
    world->watch = watch_new(world->loop, &calls, world);
    world->read_at_due = -1;
    for (int i = 0; i < n; i++) {
        world->fds[i] = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
        assert_true(world->fds[i] >= 0);
        watch_set(world->watch, world->fds[i], world, WATCH_IN);
    }
    watch_at(world->watch, clk_mono_us() - 1000);
}

static void close_world(world_t *world)
{
    for (int i = 0; i < world->n; i++) {
        watch_forget(world->watch, world->fds[i]);
        close(world->fds[i]);
    }
    watch_destroy(&world->watch);
    zloop_destroy(&world->loop);
}

static void sockets_are_read_before_deadlines_fire(void **state)
{
    const int counts[] = {0, 1, 63, 64, 65, 1500, MANY};
    struct rlimit files;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        world_t world = {.n = 0};
        if (files.rlim_cur < (rlim_t)counts[i] + 100)
            continue;
        open_world(&world, counts[i]);
        zloop_timer(world.loop, 1, 0, on_timer, &world);
        zloop_start(world.loop);
        assert_int_equal(world.read_at_due, counts[i]);
        close_world(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sockets_are_read_before_deadlines_fire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
