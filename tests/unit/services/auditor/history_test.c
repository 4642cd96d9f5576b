#include "tests/support/history_world.h"

#include "common/base/crash.h"
#include "services/auditor/archive.h"
#include "services/auditor/segment.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* In place of the C library's, for sqlite too: a disk whose fsync fails. */
static int sync_errno;

int fdatasync(int fd)
{
    int failure = __atomic_load_n(&sync_errno, __ATOMIC_RELAXED);
    if (failure) {
        errno = failure;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return fdatasync(fd);
}

/* Every record there is, by the archive: ids without a hole, topics chained. Returns how many. */
static int64_t check_all(history_world_t *world, const char *topic)
{
    archive_t *archive = archive_new(world->folder.path, history_shelf(world->history));
    AUTO_FREE shelf_segment_t *segments = NULL;
    AUTO_BUF bytes = {0};
    fault_t fault;
    int64_t found = 0;
    size_t n = archive_segments(archive, &segments);
    int64_t id = segments[0].span.first_id, last = history_tail(world->history)->next_id - 1;
    for (size_t i = 0; i < n; i++) {
        db_t *db;
        entry_t entry;
        assert_int_equal(segments[i].span.first_id, id);
        assert_int_equal(archive_open(archive, &segments[i], &db, &fault), RESULT_OK);
        for (; id <= last && id <= segments[i].last_id; id++) {
            assert_int_equal(segment_read(db, id, &bytes, &entry), RESULT_OK);
            found += slice_is(entry.record.topic, topic);
        }
    }
    assert_int_equal(id, last + 1);
    archive_destroy(&archive);
    return found;
}

static size_t count_segments(history_world_t *world)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    return shelf_copy(history_shelf(world->history), &segments);
}

static void what_is_committed_is_there_after_a_restart(void **state)
{
    history_world_t *world = *state;
    for (int i = 1; i <= 10; i++)
        world_accept(world, i, "1");
    assert_false(history_idle(world->history));
    world_commit(world);
    assert_int_equal(world->told, 10);
    world_close(world);
    world_open(world);
    assert_int_equal(history_tail(world->history)->next_id, 11);
    assert_int_equal(check_all(world, "event.accepted"), 10);
    marks_verdict_t verdict;
    audit_t again = {AUDIT_VERSION, SLICE("node"), SLICE("emitter"), 1, 1, 1, 12};
    assert_int_equal(marks_offer(world->marks, &again, 1, 1, &verdict), RESULT_OK);
    assert_int_equal(verdict.skip, 10);
}

static void what_arrives_meanwhile_is_one_commit(void **state)
{
    history_world_t *world = *state;
    world_accept(world, 1, "1");
    history_kick(world->history);
    const commit_t *next = history_next(world->history);
    for (int i = 2; i <= 50; i++) {
        world_accept(world, i, "1");
        history_kick(world->history);
        assert_ptr_equal(history_next(world->history), next);
    }
    assert_int_equal(next->n_items, 49);
    world_commit(world);
    assert_int_equal(world->told, 50);
}

static void a_commit_waits_a_little_for_more(void **state)
{
    history_world_t *world = *state;
    world_close(world);
    world->settings.gather_ms = 100;
    world_open(world);
    int64_t before_ms = clk_mono_ms();
    world_accept(world, 1, "1");
    history_kick(world->history);
    const commit_t *next = history_next(world->history);
    assert_int_equal(next->n_items, 1); /* not handed over */
    world_accept(world, 2, "1");
    history_kick(world->history);
    assert_ptr_equal(history_next(world->history), next);
    world_commit(world);
    assert_int_equal(world->told, 2);
    assert_true(clk_mono_ms() - before_ms >= 100);
    world->settings.gather_ms = 0;
}

static bool has_sealed(void *self)
{
    history_world_t *world = self;
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = shelf_copy(history_shelf(world->history), &segments);
    history_tick(world->history);
    return n >= 2 && segments[0].indexed && history_idle(world->history);
}

/* Fills segments until there are n; each of segment_records or more. */
static void fill_segments(history_world_t *world, size_t n, int *event)
{
    while (count_segments(world) < n) {
        world_accept(world, ++*event, "1");
        world_commit(world);
        history_tick(world->history);
    }
}

static bool is_full_segment(const history_world_t *world)
{
    const tail_t *tail = history_tail(world->history);
    return tail->next_id - tail->span.first_id >= world->settings.segment_records;
}

static void a_full_segment_is_sealed_and_indexed(void **state)
{
    history_world_t *world = *state;
    int event = 0;
    world_close(world);
    world->settings.segment_records = 10;
    world_open(world);
    fill_segments(world, 4, &event);
    world_run(world, has_sealed);
    assert_int_equal(check_all(world, "event.accepted"), event);
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = shelf_copy(history_shelf(world->history), &segments);
    assert_true(segments[n - 1].live);
    for (size_t i = 0; i + 1 < n; i++) {
        assert_true(segments[i].last_id - segments[i].span.first_id + 1 >= 10);
        assert_true(segments[i].bytes > 0);
    }
    world_close(world);
    world_open(world);
    assert_int_equal(count_segments(world), n);
    assert_int_equal(check_all(world, "event.accepted"), event);
}

static bool one_turn(void *self)
{
    history_kick(((history_world_t *)self)->history);
    return true;
}

/* At each turn of the loop while the new segment is prepared and opened. */
static void it_can_be_closed_before_it_turns(void **state)
{
    history_world_t *world = *state;
    int event = 0;
    world_close(world);
    world->settings.segment_records = 10;
    world_open(world);
    for (int turns = 1; turns <= 30; turns++) {
        while (!is_full_segment(world)) {
            world_accept(world, ++event, "1");
            world_commit(world);
        }
        history_tick(world->history);
        for (int i = 0; i < turns; i++)
            world_run(world, one_turn);
        world_close(world);
        world_open(world);
        world_run(world, one_turn);
    }
    assert_int_equal(check_all(world, "event.accepted"), event);
}

static bool has_turned(void *self)
{
    history_world_t *world = self;
    const tail_t *tail = history_tail(world->history);
    history_tick(world->history);
    return tail->span.first_id == tail->next_id;
}

/* What is counted is there after a restart too. */
static void attempts_fill_a_segment(void **state)
{
    history_world_t *world = *state;
    int event = 0;
    world_close(world);
    world->settings.segment_attempts = 3;
    world_open(world);
    for (int i = 0; i < 20; i++) {
        world_accept(world, ++event, "1");
        world_commit(world);
        history_tick(world->history);
    }
    assert_int_equal(count_segments(world), 1);
    for (int i = 0; i < 2; i++)
        world_deliver(world, "delivered", event, "1", 1, "ok");
    world_commit(world);
    world_close(world);
    world_open(world);
    assert_int_equal(count_segments(world), 1);
    world_deliver(world, "retrying", event, "1", 1, "no");
    world_commit(world);
    world_run(world, has_turned);
}

static int64_t last_id_of(history_world_t *world, const char *topic)
{
    const tail_t *tail = history_tail(world->history);
    for (size_t i = 0; i < tail->n_topics; i++)
        if (strcmp(tail->topics[i].topic, topic) == 0)
            return tail->topics[i].last_id;
    return 0;
}

/* The old one may be gone by the time of the next start: the new one says it all. */
static void a_new_segment_carries_on(void **state)
{
    history_world_t *world = *state;
    world_close(world);
    world->settings.segment_records = 2;
    world_open(world);
    record_t durable = {.topic = SLICE("event.accepted"), .origin = 40};
    record_t own = {.topic = SLICE("handler.created"), .at_ms = 1};
    world_send(world, &durable);
    world_accept(world, 1, "1");
    world_commit(world);
    world_run(world, has_turned);
    commit_add_own(history_next(world->history), SLICE("x"), SLICE("auditor"), &own);
    world_commit(world);
    world_close(world);
    assert_int_equal(segment_remove(world->folder.path, 1), RESULT_OK);
    world_open(world);
    assert_int_equal(history_tail(world->history)->next_id, 4);
    assert_int_equal(last_id_of(world, "event.accepted"), 2);
    assert_int_equal(last_id_of(world, "handler.created"), 3);
    marks_verdict_t verdict;
    audit_t again = {AUDIT_VERSION, SLICE("node"), SLICE("emitter"), 1, 1, 1, 2};
    assert_int_equal(marks_offer(world->marks, &again, 1, 1, &verdict), RESULT_OK);
    assert_int_equal(verdict.take, 0);
    assert_false(marks_take_origin(verdict.node, 40));
    assert_true(marks_take_origin(verdict.node, 41));
}

static void a_segment_ends_by_age_too(void **state)
{
    history_world_t *world = *state;
    int event = 0;
    world_close(world);
    world->settings.segment_age_ms = 1;
    world_open(world);
    fill_segments(world, 3, &event);
    assert_int_equal(check_all(world, "event.accepted"), event);
}

static bool one_is_left(void *self)
{
    history_tick(((history_world_t *)self)->history);
    return count_segments(self) == 1;
}

static void old_segments_go_and_the_live_one_stays(void **state)
{
    history_world_t *world = *state;
    int event = 0;
    world_close(world);
    world->settings.segment_records = 10;
    world_open(world);
    fill_segments(world, 4, &event);
    history_set_retention(world->history, &(retention_t){.age_ms = 86400000, .bytes = 1});
    world_run(world, one_is_left);
    int64_t next_id = history_tail(world->history)->next_id;
    check_all(world, "event.accepted");
    world_close(world);
    world_open(world);
    assert_int_equal(history_tail(world->history)->next_id, next_id);
    world_accept(world, ++event, "1");
    world_commit(world);
    assert_int_equal(world->last_told, next_id);
}

static void send_unmatched(history_world_t *world, int event)
{
    world_id_t id = world_event(event);
    record_t record = {.topic = SLICE("event.unmatched"), .event_id = slice_of(id.text)};
    world_send(world, &record);
}

static void unmatched_is_kept_once(void **state)
{
    history_world_t *world = *state;
    int event = 10;
    world_close(world);
    world->settings.segment_records = 10;
    world_open(world);
    send_unmatched(world, 1);
    send_unmatched(world, 1); /* in one commit */
    send_unmatched(world, 2);
    world_commit(world);
    send_unmatched(world, 1);
    world_commit(world);
    assert_int_equal(world->told, 2);
    assert_int_equal(history_tail(world->history)->next_id, 3);
    fill_segments(world, 3, &event);
    int64_t told = world->told;
    send_unmatched(world, 2); /* it is in a sealed one by now */
    world_commit(world);
    assert_int_equal(world->told, told);
    world->boot++;
    world->number = 0;
    send_unmatched(world, 3);
    world_commit(world);
    assert_int_equal(check_all(world, "event.unmatched"), 3);
}

static void stats_are_told_and_not_kept(void **state)
{
    history_world_t *world = *state;
    record_t record = {.topic = SLICE("stage.stats"), .stats = SLICE("{}")};
    world_send(world, &record);
    world_commit(world);
    assert_int_equal(world->passed, 1);
    assert_int_equal(world->told, 0);
    assert_int_equal(history_tail(world->history)->next_id, 1);
}

static void the_change_logs_cursor_is_part_of_the_commit(void **state)
{
    history_world_t *world = *state;
    history_next(world->history)->handlers_seq = 9;
    world_commit(world);
    assert_int_equal(history_tail(world->history)->handlers_seq, 9);
    world_accept(world, 1, "1");
    world_commit(world);
    world_close(world);
    world_open(world);
    assert_int_equal(history_tail(world->history)->handlers_seq, 9);
}

static void too_much_waiting_is_told(void **state)
{
    history_world_t *world = *state;
    static char response[100000];
    memset(response, 'x', sizeof response - 1);
    world_accept(world, 1, "1");
    history_kick(world->history);
    int n = 0;
    for (; history_room(world->history); n++)
        world_deliver(world, "delivered", 1, "1", 1, response);
    assert_in_range(n, 8, 11);
    world_commit(world);
    assert_true(history_room(world->history));
}

static bool has_failed(void *self)
{
    return ((history_world_t *)self)->failed;
}

static void after_a_failed_fsync_nothing_is_told(void **state)
{
    history_world_t *world = *state;
    world_accept(world, 1, "1");
    world_commit(world);
    __atomic_store_n(&sync_errno, EIO, __ATOMIC_RELAXED);
    world_accept(world, 2, "1");
    history_kick(world->history);
    world_run(world, has_failed);
    __atomic_store_n(&sync_errno, 0, __ATOMIC_RELAXED);
    assert_int_equal(world->told, 1);
    history_kick(world->history);
    assert_false(history_idle(world->history));
}

/* The process is killed at a point while segments turn; what it had told must be there. */
typedef struct {
    history_world_t *world;
    const char *point;
    int64_t *told; /* shared */
} crash_t;

static void fill_and_die(void *argument)
{
    crash_t *crash = argument;
    history_world_t world = *crash->world;
    int event = 0;
    setenv("PROVISOR_CRASH", crash->point, 1);
    folder_hush();
    crash_init();
    world.loop = zloop_new();
    world.settings.retention.bytes = 3200000; /* a few segments */
    world_open(&world);
    while (event < 20000) {
        world_accept(&world, ++event, "1");
        world_commit(&world);
        history_tick(world.history);
        *crash->told = world.last_told;
    }
}

static void a_kill_loses_nothing_that_was_told(void **state)
{
    static const char *const points[] = {
        "auditor.committed:7", "auditor.turning:1",   "auditor.turning:3",
        "auditor.sealing:1",   "auditor.sealing:4",   "auditor.retention:1",
        "auditor.retention:3", "writer.committed:12", "writer.before_commit:12"};
    history_world_t *world = *state;
    int64_t *told =
        mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(told, MAP_FAILED);
    world_close(world);
    world->settings.segment_records = 10;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        crash_t crash = {world, points[i], told};
        int status = folder_in_child(fill_and_die, &crash);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            fail_msg("%s: %x", points[i], (unsigned)status);
        world_open(world);
        assert_true(history_tail(world->history)->next_id > *told);
        check_all(world, "event.accepted");
        world_close(world);
    }
    world_open(world);
    munmap(told, sizeof *told);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_kill_loses_nothing_that_was_told), /* forks: before there are threads */
        TEST(what_is_committed_is_there_after_a_restart),
        TEST(what_arrives_meanwhile_is_one_commit),
        TEST(a_commit_waits_a_little_for_more),
        TEST(a_full_segment_is_sealed_and_indexed),
        TEST(it_can_be_closed_before_it_turns),
        TEST(attempts_fill_a_segment),
        TEST(a_new_segment_carries_on),
        TEST(a_segment_ends_by_age_too),
        TEST(old_segments_go_and_the_live_one_stays),
        TEST(unmatched_is_kept_once),
        TEST(stats_are_told_and_not_kept),
        TEST(the_change_logs_cursor_is_part_of_the_commit),
        TEST(too_much_waiting_is_told),
        TEST(after_a_failed_fsync_nothing_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
