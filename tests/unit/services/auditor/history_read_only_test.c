/* History whose folder becomes read-only at any moment, for a moment: each operation that changes a
 * file is refused in turn, in a process of its own. It waits, loses nothing and goes on by itself.
 */
#include "tests/support/history_world.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>

enum { SEGMENT_RECORDS = 3, RECORDS = 7, AT_A_TIME = 64, MOST_OPERATIONS = 1000, NOT_SO_MANY = 77 };

/* Operations are counted; those from first on are refused, so many. Atomic: several threads. */
static int first_refused, n_refused, operations;
static int done; /* operations, before the history is opened again */

static bool is_refused(void)
{
    int n = __atomic_add_fetch(&operations, 1, __ATOMIC_RELAXED);
    if (!first_refused || n < first_refused || n >= first_refused + n_refused)
        return false;
    errno = EROFS;
    return true;
}

/* In place of the C library's, for sqlite too. */

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    bool writes = (flags & O_ACCMODE) != O_RDONLY && strstr(path, "/segment-");
    return writes && is_refused() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open64(path, flags, mode);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset)
{
    return is_refused() ? -1 : syscall(SYS_pwrite64, fd, bytes, size, offset);
}

int ftruncate64(int fd, off64_t size)
{
    return is_refused() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int unlink(const char *path)
{
    return is_refused() ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int rename(const char *from, const char *to)
{
    return is_refused() ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

static bool is_written(void *self)
{
    history_world_t *world = self;
    history_tick(world->history);
    return world->failed || (world->told == world->number && history_idle(world->history));
}

/* Whether history knows it already is looked for in every segment. */
static void say_unmatched(history_world_t *world, int event)
{
    world_id_t id = world_event(event);
    record_t record = {.topic = SLICE("event.unmatched"), .event_id = slice_of(id.text)};
    world_send(world, &record);
}

static void write_one(history_world_t *world, int n)
{
    if (n < 2)
        world_accept(world, n * 1000, "1"); /* all others are between them */
    else
        say_unmatched(world, n);
    world_run(world, is_written);
    if (world->failed)
        fail_msg("%s", world->why_failed);
}

/* Several segments: prepared, named, opened, sealed, searched, given indexes and, with retention,
 * removed. */
static void write_history(history_world_t *world, int first)
{
    world->loop = zloop_new();
    world->settings.segment_records = SEGMENT_RECORDS;
    world_open(world);
    operations = 0;
    first_refused = first;
    for (int n = 0; n < RECORDS; n++)
        write_one(world, n);
    world_close(world);
    done = operations;
    first_refused = 0;
    world_open(world);
    assert_int_equal(history_tail(world->history)->next_id, RECORDS + 1);
    world_close(world);
}

typedef struct {
    history_world_t *world;
    folder_t folder;
    pid_t pid;
} attempt_t;

static void begin(attempt_t *attempt, int first)
{
    assert_int_equal(folder_make(&attempt->folder), 0);
    fflush(NULL);
    attempt->pid = fork();
    assert_true(attempt->pid >= 0);
    if (attempt->pid)
        return;
    attempt->world->folder = attempt->folder;
    write_history(attempt->world, first);
    _exit(done < first ? NOT_SO_MANY : 0);
}

/* Adds to *failed. False: it did not do so much. */
static bool end(attempt_t *attempt, int first, int *failed)
{
    int status;
    assert_int_equal(waitpid(attempt->pid, &status, 0), attempt->pid);
    folder_remove(&attempt->folder);
    bool did_less = WIFEXITED(status) && WEXITSTATUS(status) == NOT_SO_MANY;
    if (status && !did_less) {
        print_error("%d operations from number %d on were refused: status %x\n", n_refused, first,
                    status);
        ++*failed;
    }
    return !did_less;
}

static int refuse_each(history_world_t *world)
{
    attempt_t attempts[AT_A_TIME];
    bool more = true;
    int failed = 0;
    for (int first = 1; more && first < MOST_OPERATIONS; first += AT_A_TIME) {
        for (int k = 0; k < AT_A_TIME; k++) {
            attempts[k].world = world;
            begin(&attempts[k], first + k);
        }
        for (int k = 0; k < AT_A_TIME; k++)
            more = end(&attempts[k], first + k, &failed);
    }
    assert_false(more);
    return failed;
}

static void a_read_only_folder_is_waited_out_at_any_moment(void **state)
{
    static const struct {
        int n_refused;
        int64_t retention_bytes;
    } cases[] = {{1, 1 << 30}, {3, 1}};
    history_world_t *world = *state;
    world_close(world);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        n_refused = cases[i].n_refused;
        world->settings.retention.bytes = cases[i].retention_bytes;
        assert_int_equal(refuse_each(world), 0);
    }
    world_open(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_read_only_folder_is_waited_out_at_any_moment, world_setup,
                                        world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
