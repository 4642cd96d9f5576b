/* What history finds in its folder when it starts: what a crash leaves is cleared by itself, a
 * damaged sealed segment is set aside, what else is damaged or foreign is named and left as it is.
 */
#include "tests/support/history_world.h"

#include "common/base/crash.h"
#include "common/db/db.h"
#include "services/auditor/segment.h"

#define NEWEST "segment-00000000000000000003.db"

static void write_file(const folder_t *folder, const char *name, const char *text)
{
    FILE *file = fopen(folder_file(folder, name), "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void read_all(const char *path, buf_t *ret_text)
{
    char text[4096];
    FILE *file = fopen(path, "re");
    size_t size = 0;
    while (file && (size = fread(text, 1, sizeof text, file)) > 0)
        buf_add(ret_text, text, size);
    if (file)
        fclose(file);
}

static void write_db(const folder_t *folder, const char *name, const char *sql)
{
    db_t *db = NULL;
    assert_int_equal(db_open(folder_file(folder, name), DB_WRITE, &db, NULL), RESULT_OK);
    assert_int_equal(db_exec(db, sql, NULL), RESULT_OK);
    db_close(&db);
}

/* Two records in segment 1, and closed. */
static void fill(history_world_t *world)
{
    world_accept(world, 1, "1");
    world_accept(world, 2, "1");
    world_commit(world);
    world_close(world);
}

static void goes_on(history_world_t *world)
{
    world_open(world);
    assert_int_equal(history_tail(world->history)->next_id, 3);
    world_accept(world, 3, "1");
    world_commit(world);
    assert_int_equal(world->last_told, 3);
}

static void an_empty_segment_is_removed(void **state)
{
    history_world_t *world = *state;
    fill(world);
    write_file(&world->folder, NEWEST, "");
    goes_on(world);
    assert_int_equal(folder_file_size(&world->folder, NEWEST), -1);
}

/* As a start that was killed leaves an empty file: it is a database already, without a table. */
static void one_without_a_table_is_removed(void **state)
{
    history_world_t *world = *state;
    fill(world);
    write_db(&world->folder, NEWEST, "");
    assert_true(folder_file_size(&world->folder, NEWEST) > 0);
    goes_on(world);
    assert_int_equal(folder_file_size(&world->folder, NEWEST), -1);
}

static void the_only_one_is_empty(void **state)
{
    history_world_t *world = *state;
    world_close(world);
    assert_int_equal(segment_remove(world->folder.path, 1), RESULT_OK);
    write_file(&world->folder, "segment-00000000000000000001.db", "");
    world_open(world);
    world_accept(world, 1, "1");
    world_commit(world);
    assert_int_equal(world->last_told, 1);
}

static void make_and_die(void *argument)
{
    history_world_t *world = argument;
    setenv("PROVISOR_CRASH", "auditor.turning", 1);
    folder_hush();
    crash_init();
    world->loop = zloop_new();
    world->settings.segment_records = 2;
    world_open(world);
    for (int event = 3;; event++) {
        world_accept(world, event, "1");
        world_commit(world);
        history_tick(world->history);
    }
}

static void a_kill_while_one_is_made_is_survived(void **state)
{
    history_world_t *world = *state;
    fill(world);
    int status = folder_in_child(make_and_die, world);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
    world_open(world);
    int64_t next_id = history_tail(world->history)->next_id;
    world->boot++; /* its numbers were given */
    world->number = 0;
    world_accept(world, 1000, "1");
    world_commit(world);
    assert_int_equal(world->last_told, next_id);
}

typedef void make_t(const folder_t *folder, const char *name);

static void make_text(const folder_t *folder, const char *name)
{
    write_file(folder, name,
               "this is a text of somebody, longer than a header of a database is: "
               "sixty, seventy, eighty, ninety, one hundred bytes");
}

static void make_other(const folder_t *folder, const char *name)
{
    write_db(folder, name, "CREATE TABLE theirs (a TEXT); INSERT INTO theirs (a) VALUES ('b')");
}

static void make_marked(const folder_t *folder, const char *name)
{
    write_db(folder, name, "PRAGMA application_id=77; CREATE TABLE state (id ${key})");
}

static void make_wal(const folder_t *folder, const char *name)
{
    AUTO_BUF wal = {0};
    buf_printf(&wal, "%s-wal", name);
    write_file(folder, name, "");
    write_file(folder, wal.data, "records");
}

static void make_folder(const folder_t *folder, const char *name)
{
    assert_int_equal(mkdir(folder_file(folder, name), 0700), 0);
}

static void write_all(const folder_t *folder, const char *name, const buf_t *bytes)
{
    FILE *file = fopen(folder_file(folder, name), "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes->data, 1, bytes->size, file), bytes->size);
    fclose(file);
}

static void copy(const folder_t *folder, const char *from, const char *name)
{
    AUTO_BUF bytes = {0};
    read_all(folder_file(folder, from), &bytes);
    write_all(folder, name, &bytes);
}

#define FIRST "segment-00000000000000000001.db"

static void copy_first(const folder_t *folder, const char *name)
{
    copy(folder, FIRST, name);
}

static void what_is_not_ours_is_named_and_left(void **state)
{
    static const struct {
        const char *name, *text;
        make_t *make;
    } cases[] = {
        {NEWEST, "not a database", make_text},
        {NEWEST, "belongs to another program", make_other},
        {NEWEST, "belongs to another program", make_marked},
        {NEWEST, "-wal beside it is not", make_wal},
        {NEWEST, "is not a file", make_folder},
        {NEWEST, "is a copy of segment 1", copy_first},
        {"segment-99999999999999999999.db", "no record can have", copy_first},
        {"segment-09223372036854775808.db", "no record can have", make_text},
    };
    static const history_calls_t calls = {
        .on_committed = world_on_committed, .on_full = world_on_full, .on_failed = world_on_failed};
    history_world_t *world = *state;
    fill(world);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fault_t fault = {""};
        history_t *history = NULL;
        AUTO_BUF before = {0}, after = {0};
        marks_t *marks = marks_new();
        char path[FOLDER_SIZE + 64];
        snprintf(path, sizeof path, "%s", folder_file(&world->folder, cases[i].name));
        cases[i].make(&world->folder, cases[i].name);
        read_all(path, &before);
        result_t r = history_open(world->loop, &world->settings, &world->log, marks, &calls, world,
                                  &history, &fault);
        marks_destroy(&marks);
        read_all(path, &after);
        if (r != RESULT_CORRUPT || !strstr(fault.text, cases[i].text) ||
            !strstr(fault.text, cases[i].name) ||
            !slice_equal(buf_slice(&before), buf_slice(&after)))
            fail_msg("%s (%zu): %s: %s", cases[i].name, i, result_str(r), fault.text);
        assert_int_equal(remove(path), 0);
        (void)unlink(folder_file(&world->folder, NEWEST "-wal"));
    }
    goes_on(world);
}

/* So many segments of three records each; of the last, which is the live one, one record. */
static void fill_segments(history_world_t *world, size_t n_wanted)
{
    int event = 2;
    fill(world);
    world->settings.segment_records = 3;
    world_open(world);
    for (size_t n = 1; n < n_wanted;) {
        AUTO_FREE shelf_segment_t *segments = NULL;
        const tail_t *tail = history_tail(world->history);
        if (tail->next_id < tail->span.first_id + 3)
            world_accept(world, ++event, "1");
        world_commit(world);
        history_tick(world->history);
        n = shelf_copy(history_shelf(world->history), &segments);
    }
    world_close(world);
    world->settings.segment_records = 1000;
}

static void make_empty(const folder_t *folder, const char *name)
{
    write_file(folder, name, "");
}

static void make_half(const folder_t *folder, const char *name)
{
    FILE *file = fopen(folder_file(folder, name), "r+");
    assert_non_null(file);
    fseek(file, 100, SEEK_SET);
    for (int i = 0; i < 20000; i++)
        fputc('x', file);
    fclose(file);
}

static void is_known_as_damaged(history_world_t *world)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    assert_int_equal(shelf_copy(history_shelf(world->history), &segments), 2);
    assert_true(segments[0].damaged);
    assert_int_equal(segments[0].span.first_id, 1);
    assert_int_equal(segments[0].last_id, 3);
    assert_true(segments[0].span.created_ms > 0);
    assert_false(segments[1].damaged);
}

/* It is told once; the others go on, and it may come back. */
static void a_damaged_sealed_one_is_set_aside(void **state)
{
    static make_t *const spoils[] = {make_empty, make_text, make_half, make_other};
    history_world_t *world = *state;
    AUTO_BUF whole = {0};
    fill_segments(world, 2);
    read_all(folder_file(&world->folder, FIRST), &whole);
    for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
        AUTO_BUF spoilt = {0}, kept = {0};
        if (spoils[i] == make_other)
            assert_int_equal(unlink(folder_file(&world->folder, FIRST)), 0);
        spoils[i](&world->folder, FIRST);
        read_all(folder_file(&world->folder, FIRST), &spoilt);
        world->n_damaged = 0;
        world_open(world);
        is_known_as_damaged(world);
        world_run(world, world_has_set_aside);
        assert_int_equal(world->damaged.span.first_id, 1);
        assert_int_equal(world->damaged.last_id, 3);
        assert_int_equal(folder_file_size(&world->folder, FIRST), -1);
        read_all(folder_file(&world->folder, FIRST ".damaged"), &kept);
        assert_true(slice_equal(buf_slice(&spoilt), buf_slice(&kept)));
        world_close(world);
        world_open(world);
        is_known_as_damaged(world);
        world_commit(world);
        history_tick(world->history);
        world_close(world);
        assert_int_equal(world->n_damaged, 1);
        assert_int_equal(unlink(folder_file(&world->folder, FIRST ".damaged")), 0);
        (void)unlink(folder_file(&world->folder, FIRST ".damaged-wal"));
        write_all(&world->folder, FIRST, &whole);
    }
    write_file(&world->folder, FIRST ".damaged", "restored");
    world_open(world);
    AUTO_FREE shelf_segment_t *segments = NULL;
    assert_int_equal(shelf_copy(history_shelf(world->history), &segments), 2);
    assert_false(segments[0].damaged);
    assert_int_equal(segments[0].last_id, 3);
}

/* Of the three, only this one is damaged. */
static void is_the_damaged_one(history_world_t *world, int64_t first_id)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    assert_int_equal(shelf_copy(history_shelf(world->history), &segments), 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(segments[i].span.first_id, 1 + 3 * i);
        assert_int_equal(segments[i].damaged, segments[i].span.first_id == first_id);
        assert_int_equal(segments[i].live, i == 2);
    }
}

/* Whatever a copy says of itself, the one that it is a copy of stays. */
static void a_copy_is_set_aside_and_not_what_it_is_a_copy_of(void **state)
{
    static const char *const names[] = {FIRST, "segment-00000000000000000004.db",
                                        "segment-00000000000000000007.db"};
    static const struct {
        int from, to;
    } cases[] = {{0, 1}, {1, 0}, {2, 0}, {2, 1}};
    history_world_t *world = *state;
    fill_segments(world, 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *name = names[cases[i].to];
        int64_t first_id = 1 + 3 * cases[i].to;
        AUTO_BUF whole = {0}, aside = {0};
        read_all(folder_file(&world->folder, name), &whole);
        copy(&world->folder, names[cases[i].from], name);
        world->n_damaged = 0;
        world_open(world);
        is_the_damaged_one(world, first_id);
        world_run(world, world_has_set_aside);
        world_close(world);
        world_open(world);
        is_the_damaged_one(world, first_id);
        history_tick(world->history);
        world_commit(world);
        world_close(world);
        assert_int_equal(world->n_damaged, 1);
        assert_int_equal(world->damaged.span.first_id, first_id);
        assert_int_equal(world->damaged.last_id, first_id + 2);
        for (int other = 0; other < 3; other++)
            assert_int_equal(folder_file_size(&world->folder, names[other]) < 0,
                             other == cases[i].to);
        buf_printf(&aside, "%s.damaged", name);
        assert_int_equal(unlink(folder_file(&world->folder, aside.data)), 0);
        buf_add_str(&aside, "-wal");
        (void)unlink(folder_file(&world->folder, aside.data));
        write_all(&world->folder, name, &whole);
    }
    world_open(world);
    is_the_damaged_one(world, 0);
}

/* Killed between two renames: what is left may look whole, but lacks its WAL. */
static void one_that_was_half_set_aside_is_set_aside(void **state)
{
    history_world_t *world = *state;
    fill_segments(world, 2);
    write_file(&world->folder, FIRST ".damaged-wal", "records");
    world_open(world);
    is_known_as_damaged(world);
    world_run(world, world_has_set_aside);
    assert_int_equal(world->n_damaged, 1);
    assert_int_equal(folder_file_size(&world->folder, FIRST), -1);
    assert_true(folder_file_size(&world->folder, FIRST ".damaged") > 0);
    assert_int_equal(folder_file_size(&world->folder, FIRST ".damaged-wal"), 7);
}

static bool is_first_gone(void *self)
{
    history_world_t *world = self;
    return folder_file_size(&world->folder, FIRST) == -1;
}

/* Telling takes a commit, and on a full disk there is none. */
static void one_that_is_to_go_need_not_be_told_of(void **state)
{
    history_world_t *world = *state;
    AUTO_FREE shelf_segment_t *segments = NULL;
    fill_segments(world, 3);
    make_half(&world->folder, FIRST);
    world->settings.retention.bytes = 1;
    world_open(world);
    world_run(world, is_first_gone);
    assert_int_equal(world->n_damaged, 0);
    assert_int_equal(folder_file_size(&world->folder, FIRST ".damaged"), -1);
    assert_true(shelf_copy(history_shelf(world->history), &segments) < 3);
}

/* Only who has read a segment may say that it is damaged. */
static void an_update_makes_none_damaged(void **state)
{
    (void)state;
    AUTO_FREE shelf_segment_t *segments = NULL;
    shelf_t *shelf = shelf_new();
    for (int64_t first_id = 1; first_id <= 2; first_id++) {
        shelf_segment_t good = {.span.first_id = first_id, .live = first_id == 2};
        shelf_segment_t damaged = {.span.first_id = first_id, .damaged = true, .told = true};
        shelf_add(shelf, &good);
        shelf_update(shelf, &damaged);
        assert_true(shelf_has(shelf, first_id));
    }
    shelf_set_damaged(shelf, 1);
    shelf_update(shelf, &(shelf_segment_t){.span.first_id = 1});
    assert_int_equal(shelf_copy(shelf, &segments), 2);
    assert_true(segments[0].damaged);
    assert_true(segments[1].live);
    shelf_update(shelf, &(shelf_segment_t){.span.first_id = 1, .damaged = true, .told = true});
    assert_int_equal(shelf_copy(shelf, (free(segments), &segments)), 2);
    assert_true(segments[0].told);
    shelf_destroy(&shelf);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_segment_is_removed),
        TEST(one_without_a_table_is_removed),
        TEST(the_only_one_is_empty),
        TEST(a_kill_while_one_is_made_is_survived),
        TEST(what_is_not_ours_is_named_and_left),
        TEST(a_damaged_sealed_one_is_set_aside),
        TEST(a_copy_is_set_aside_and_not_what_it_is_a_copy_of),
        TEST(one_that_was_half_set_aside_is_set_aside),
        TEST(one_that_is_to_go_need_not_be_told_of),
        cmocka_unit_test(an_update_makes_none_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
