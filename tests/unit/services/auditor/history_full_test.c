/* History on a disk that is full: nothing is lost, nothing is told before it is written, and it
 * goes on by itself when there is room, whatever was under way. */
#include "tests/support/history_world.h"

enum { CANNOT_MOUNT = 77, SEGMENT_RECORDS = 20, OPENING_BYTES = 112 << 10 };

static bool is_full(void *self)
{
    history_world_t *world = self;
    history_kick(world->history);
    return world->full;
}

static bool has_room(void *self)
{
    return !((history_world_t *)self)->full && world_is_idle(self);
}

/* Sends until the disk is full; returns the last event. */
static int send_until_full(history_world_t *world, int event)
{
    static char response[20000];
    memset(response, 'x', sizeof response - 1);
    while (!world->full && history_room(world->history)) {
        world_deliver(world, "delivered", ++event, "1", 7, response);
        history_kick(world->history);
    }
    world_run(world, is_full);
    return event;
}

static void fill_and_make_room(void *argument)
{
    history_world_t *world = argument;
    int event = 0;
    if (!folder_mount_small(&world->folder, "32m"))
        _exit(CANNOT_MOUNT);
    world->loop = zloop_new();
    world->settings.segment_records = SEGMENT_RECORDS;
    world_open(world);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < SEGMENT_RECORDS + 5; i++) {
            world_accept(world, ++event, "1");
            world_commit(world);
            history_tick(world->history);
        }
        int64_t told = world->told;
        folder_fill(&world->folder);
        event = send_until_full(world, event);
        assert_true(history_full(world->history));
        assert_true(world->told >= told);
        assert_false(world->failed);
        folder_make_room(&world->folder);
        world_run(world, has_room);
        assert_int_equal(world->told, event);
    }
    world_close(world);
    world_open(world);
    assert_int_equal(history_tail(world->history)->next_id, event + 1);
    world_close(world);
}

static void a_full_disk_is_waited_out(void **state)
{
    history_world_t *world = *state;
    world_close(world);
    int status = folder_in_child(fill_and_make_room, world);
    world_open(world);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_MOUNT)
        skip();
    assert_int_equal(status, 0);
}

static bool is_one_left(void *self)
{
    history_world_t *world = self;
    AUTO_FREE shelf_segment_t *segments = NULL;
    history_tick(world->history);
    return shelf_copy(history_shelf(world->history), &segments) == 1 &&
           folder_file_size(&world->folder, "segment-00000000000000000001.db") == -1;
}

/* Without a prepared segment, and with no room for one. */
static void remove_on_a_full_disk(void *argument)
{
    history_world_t *world = argument;
    if (!folder_mount_small(&world->folder, "32m"))
        _exit(CANNOT_MOUNT);
    world->loop = zloop_new();
    world->settings.segment_records = SEGMENT_RECORDS;
    world_open(world);
    for (int event = 1; event <= 3 * SEGMENT_RECORDS; event++) {
        world_accept(world, event, "1");
        world_commit(world);
        history_tick(world->history);
    }
    world_close(world);
    folder_fill(&world->folder);
    off_t size = folder_file_size(&world->folder, "filler"); /* room to open them */
    assert_int_equal(truncate(folder_file(&world->folder, "filler"), size - OPENING_BYTES), 0);
    world->settings.retention.bytes = 1;
    world_open(world);
    world_run(world, is_one_left);
    assert_false(world->failed);
    world_close(world);
}

static void a_full_disk_does_not_stop_what_makes_room(void **state)
{
    history_world_t *world = *state;
    world_close(world);
    int status = folder_in_child(remove_on_a_full_disk, world);
    world_open(world);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_MOUNT)
        skip();
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_disk_is_waited_out, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_does_not_stop_what_makes_room, world_setup,
                                        world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
