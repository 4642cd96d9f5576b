#include "tests/support/folder.h"

#include "common/wire/codec.h"
#include "services/emitter/emitter_self.h"

/* An auditor with as much room as a test says, and a loop that a test turns. */
static struct {
    int64_t room;
    int64_t number;
    size_t n_accepted, n_unmatched;
    unsigned char *told; /* event.unmatched of each seq */
} auditor;

bool audit_room(const audit_publisher_t *audit)
{
    (void)audit;
    return auditor.room > 0;
}

static int64_t seq_of(emitter_t *self, slice_t id);

int64_t audit_add(audit_publisher_t *audit, const record_t *record)
{
    emitter_t *self = (emitter_t *)audit;
    assert_true(auditor.room-- > 0);
    if (slice_is(record->topic, "event.accepted")) {
        auditor.n_accepted++;
    } else {
        assert_true(slice_is(record->topic, "event.unmatched"));
        auditor.n_unmatched++;
        auditor.told[seq_of(self, record->event_id)]++;
    }
    return ++auditor.number;
}

void emitter_turn(emitter_t *self)
{
    (void)self;
}

void emitter_read_failed(emitter_t *self, result_t result)
{
    (void)self;
    fail_msg("the journal cannot be read: %s", result_str(result));
}

enum { EVENTS = 5 * UNMATCHED_MAX };

typedef struct {
    folder_t folder;
    emitter_t emitter;
    outgoing_event_t events[EVENTS + 1]; /* by seq */
    buf_t frames;
} world_t;

static int64_t seq_of(emitter_t *self, slice_t id)
{
    const world_t *world =
        (const world_t *)(const void *)((const char *)self - offsetof(world_t, emitter));
    size_t low = 1, high = EVENTS;
    while (low < high) { /* ids rise with seq */
        size_t middle = (low + high) / 2;
        if (memcmp(world->events[middle].id.text, id.data, ULID_SIZE) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    assert_true(slice_is(id, world->events[low].id.text));
    return (int64_t)low;
}

/* What was collected is with the writer, */
static void hand_over(world_t *world)
{
    emitter_t *self = &world->emitter;
    self->current = self->next;
    self->next = commit_new();
    commit_seal(self->current);
}

/* which commits it; the loop does not know yet. */
static void write_commit(world_t *world)
{
    emitter_t *self = &world->emitter;
    if (!self->current)
        hand_over(world);
    db_t *db = journal_db(self->journal);
    assert_int_equal(db_begin(db), RESULT_OK);
    assert_int_equal(journal_apply(self->journal, db, self->current), RESULT_OK);
    assert_int_equal(db_commit(db), RESULT_OK);
}

static void commit_done(world_t *world)
{
    emitter_t *self = &world->emitter;
    journal_committed(self->journal, self->current);
    recording_committed(self, self->current);
    recording_stored(self, self->current);
    commit_destroy(&self->current);
}

static void take_events(world_t *world)
{
    emitter_t *self = &world->emitter;
    for (size_t i = 0; i < EVENTS; i++) {
        entry_t *entry = commit_add_entry(self->next);
        *entry = (entry_t){.source = SOURCE_PUSH,
                           .is_event = true,
                           .events_id = SLICE("clients.update"),
                           .object_kind = SLICE("client"),
                           .object_id = SLICE("12"),
                           .body = SLICE("{}"),
                           .accepted_ms = 1767225600000};
        self->next->n_events++;
    }
    write_commit(world);
    buf_add_slice(&world->frames, buf_slice(&self->current->frames));
    for (size_t i = 0; i < EVENTS; i++) {
        const entry_t *entry = &self->current->entries[i];
        world->events[entry->seq] =
            (outgoing_event_t){.seq = entry->seq,
                               .id = entry->answer.id,
                               .object = entry->object,
                               .frame = {world->frames.data + entry->frame_at, entry->frame_size}};
    }
    commit_done(world);
}

/* Events that the auditor knows as accepted, all without a receipt. */
static int set_up(void **state)
{
    world_t *world = calloc(1, sizeof *world);
    emitter_t *self = &world->emitter;
    fault_t fault = {""};
    memset(&auditor, 0, sizeof auditor);
    auditor.told = calloc(EVENTS + 1, 1);
    auditor.room = EVENTS;
    journal_settings_t settings = {world->folder.path, 86400000, 1000, 0};
    if (folder_make(&world->folder) != 0 ||
        journal_open(&settings, &self->journal, &fault) != RESULT_OK)
        return -1;
    self->audit = (audit_publisher_t *)self;
    self->settle = settle_new();
    self->outgoing = outgoing_new(&(outgoing_limits_t){1, 1, {1, 1}, 1}, &(ulid_t){""}, 0);
    self->next = commit_new();
    take_events(world);
    assert_int_equal(auditor.n_accepted, EVENTS);
    emitter_audit_calls.on_mark(self, auditor.number);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    world_t *world = *state;
    emitter_t *self = &world->emitter;
    commit_destroy(&self->next);
    commit_destroy(&self->current);
    outgoing_destroy(&self->outgoing);
    settle_destroy(&self->settle);
    journal_close(&self->journal);
    buf_release(&world->frames);
    free(auditor.told);
    folder_remove(&world->folder);
    free(world);
    return 0;
}

static void turn(world_t *world, int64_t room)
{
    auditor.room = room;
    while (recording_is_due(&world->emitter))
        recording_turn(&world->emitter);
}

/* Until everything is told and deleted. */
static void come_to_an_end(world_t *world, int64_t room)
{
    emitter_t *self = &world->emitter;
    for (int i = 0; i < EVENTS && journal_rows(self->journal) > 0; i++) {
        turn(world, room);
        emitter_audit_calls.on_mark(self, auditor.number);
        turn(world, room);
        hand_over(world);
        turn(world, room);
        write_commit(world);
        turn(world, room);
        commit_done(world);
    }
    assert_int_equal(journal_rows(self->journal), 0);
    for (size_t seq = 1; seq <= EVENTS; seq++)
        if (auditor.told[seq] != 1)
            fail_msg("event.unmatched of %zu was told %d times", seq, auditor.told[seq]);
    assert_int_equal(settle_size(self->settle), 0);
}

static void receipt(world_t *world, size_t seq)
{
    recording_receipt(&world->emitter, &world->events[seq], RECEIPT_UNMATCHED);
}

static void without_an_auditor_all_turn_out_unmatched(void **state)
{
    world_t *world = *state;
    emitter_t *self = &world->emitter;
    auditor.room = 0;
    for (size_t seq = EVENTS; seq >= 1; seq--) {
        receipt(world, seq);
        if (seq == EVENTS / 2) {
            write_commit(world);
            commit_done(world);
        }
    }
    assert_false(recording_is_due(self));
    assert_int_equal(auditor.n_unmatched, 0);
    come_to_an_end(world, 1000);
    assert_int_equal(auditor.n_accepted, EVENTS);
}

enum { FIRST = EVENTS / 2 }; /* of the rows whose receipts come later than the others' */

/* Rows from FIRST on wait to be read again, and those up to about FIRST + n were. */
static void begin_to_read_again(world_t *world, int64_t n)
{
    auditor.room = 0;
    for (size_t seq = FIRST; seq <= EVENTS; seq += 2)
        receipt(world, seq);
    assert_int_equal(world->emitter.unmatched.again_from, FIRST);
    turn(world, n / 2);
    assert_int_equal(auditor.n_unmatched, n / 2);
    assert_in_range(world->emitter.unmatched.again_from, FIRST + n - 2, FIRST + n);
}

static void receipts(world_t *world, size_t from, size_t to, size_t step)
{
    for (size_t seq = from; seq <= to; seq += step)
        receipt(world, seq);
}

static void a_receipt_for_a_row_that_will_be_read_is_left_to_that(void **state)
{
    world_t *world = *state;
    begin_to_read_again(world, 100);
    auditor.room = 1000;
    receipts(world, EVENTS / 4 * 3 + 1, EVENTS, 2);
    assert_int_equal(auditor.n_unmatched, 50);
    turn(world, EVENTS);
    receipts(world, FIRST + 1, EVENTS / 4 * 3, 2);
    receipts(world, 1, FIRST - 1, 1);
    come_to_an_end(world, 1000);
}

static void a_receipt_for_a_row_that_was_passed_is_told_at_once(void **state)
{
    world_t *world = *state;
    begin_to_read_again(world, 200);
    auditor.room = 1000;
    receipts(world, FIRST + 1, FIRST + 99, 2);
    assert_int_equal(auditor.n_unmatched, 150);
    receipts(world, FIRST + 101, EVENTS, 2);
    receipts(world, 1, FIRST - 1, 1);
    come_to_an_end(world, 1000);
}

/* From further in front, while the auditor has not marked what was told of the rows behind. */
static void rows_are_read_again_once_more(void **state)
{
    world_t *world = *state;
    begin_to_read_again(world, 200);
    auditor.room = 0;
    receipts(world, 1, FIRST - 1, 1);
    assert_int_equal(world->emitter.unmatched.again_from, 1);
    auditor.room = 1000;
    assert_false(recording_is_due(&world->emitter));
    receipts(world, FIRST + 1, EVENTS, 2);
    come_to_an_end(world, 1000);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        test(without_an_auditor_all_turn_out_unmatched),
        test(a_receipt_for_a_row_that_will_be_read_is_left_to_that),
        test(a_receipt_for_a_row_that_was_passed_is_told_at_once),
        test(rows_are_read_again_once_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
