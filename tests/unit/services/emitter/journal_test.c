#include "tests/support/folder.h"

#include "common/wire/codec.h"
#include "common/wire/object.h"
#include "services/emitter/journal.h"

enum { NOW_MS = 1767225600 };

typedef struct {
    folder_t folder;
    journal_settings_t settings;
    journal_t *journal;
    commit_t *commit;
} fixture_t;

static void reopen(fixture_t *f)
{
    fault_t fault = {""};
    journal_close(&f->journal);
    if (journal_open(&f->settings, &f->journal, &fault) != RESULT_OK)
        fail_msg("%s", fault.text);
}

static int set_up(void **state)
{
    fixture_t *f = calloc(1, sizeof *f);
    if (folder_make(&f->folder) != 0)
        return -1;
    f->settings = (journal_settings_t){f->folder.path, 86400000, 1000, 0};
    f->commit = commit_new();
    reopen(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture_t *f = *state;
    journal_close(&f->journal);
    commit_destroy(&f->commit);
    folder_remove(&f->folder);
    free(f);
    return 0;
}

/* An event with an idempotency key (NULL: none) and content. */
static void add(fixture_t *f, const char *key, const char *body, source_t source)
{
    entry_t *entry = commit_add_entry(f->commit);
    entry->source = source;
    entry->is_event = true;
    entry->key = slice_of(key);
    entry->digest.words[0] = strlen(body) * 256 + (unsigned char)body[0];
    entry->events_id = SLICE("clients.update");
    entry->object_kind = SLICE("client");
    entry->object_id = SLICE("12");
    entry->body = slice_of(body);
    entry->accepted_ms = NOW_MS;
    f->commit->n_events++;
}

static void apply(fixture_t *f)
{
    db_t *db = journal_db(f->journal);
    assert_int_equal(db_begin(db), RESULT_OK);
    assert_int_equal(journal_apply(f->journal, db, f->commit), RESULT_OK);
}

/* Writes what was added; the entries stay until the next commit. */
static const entry_t *commit(fixture_t *f)
{
    apply(f);
    assert_int_equal(db_commit(journal_db(f->journal)), RESULT_OK);
    journal_committed(f->journal, f->commit);
    return f->commit->entries;
}

static answer_t commit_one(fixture_t *f, const char *key, const char *body)
{
    commit_clear(f->commit);
    add(f, key, body, SOURCE_INTAKE);
    return commit(f)->answer;
}

static bool keep_going(void *owner, const journal_row_t *row)
{
    buf_printf(owner, "%lld:%d:%.*s ", (long long)row->seq, (int)row->receipt, SLICE_ARG(row->key));
    return true;
}

static void assert_rows(fixture_t *f, int64_t after_seq, int64_t max, const char *expected,
                        bool expected_end)
{
    AUTO_BUF text = {0};
    bool ended = false;
    assert_int_equal(journal_read_rows(f->journal, after_seq, max, keep_going, &text, &ended),
                     RESULT_OK);
    assert_string_equal(buf_slice(&text).data, expected);
    assert_int_equal(ended, expected_end);
}

static result_t open_with(fixture_t *f, int64_t event_bytes_max, fault_t *fault)
{
    journal_close(&f->journal);
    f->settings.event_bytes_max = event_bytes_max;
    return journal_open(&f->settings, &f->journal, fault);
}

static void an_event_that_cannot_be_sent_is_told(void **state)
{
    fixture_t *f = *state;
    fault_t fault = {""};
    (void)commit_one(f, NULL, "{\"pad\": \"................................\"}");
    const entry_t *entry = &f->commit->entries[0];
    int64_t large = (int64_t)entry->frame_size, seq = entry->seq;
    (void)commit_one(f, NULL, "{}");
    assert_int_equal(open_with(f, large, &fault), RESULT_OK);
    assert_int_equal(open_with(f, large - 1, &fault), RESULT_INVALID);
    assert_non_null(strstr(fault.text, "PROVISOR_EMITTER_EVENT_MAX="));
    assert_int_equal(open_with(f, 0, &fault), RESULT_OK);
    commit_clear(f->commit);
    commit_add_delete(f->commit, seq);
    (void)commit(f);
    assert_int_equal(open_with(f, large - 1, &fault), RESULT_OK); /* it has gone */
    (void)commit_one(f, NULL, "{\"pad\": \"................................\"}");
    assert_int_equal(open_with(f, large - 1, &fault), RESULT_INVALID);
    assert_int_equal(open_with(f, 0, &fault), RESULT_OK);
}

static void a_journal_of_before_is_measured(void **state)
{
    fixture_t *f = *state;
    fault_t fault = {""};
    (void)commit_one(f, NULL, "{}");
    db_t *db = journal_db(f->journal);
    assert_int_equal(db_begin(db), RESULT_OK);
    assert_int_equal(db_run(db_stmt(db, "DELETE FROM store_meta WHERE key = 'largest_event'")),
                     RESULT_OK);
    assert_int_equal(db_commit(db), RESULT_OK);
    assert_int_equal(open_with(f, 10, &fault), RESULT_INVALID);
    assert_int_equal(open_with(f, 0, &fault), RESULT_OK);
}

static void ids_rise_over_restarts_and_clock_steps(void **state)
{
    fixture_t *f = *state;
    ulid_t last = {""};
    for (int i = 0; i < 20; i++) {
        commit_clear(f->commit);
        add(f, NULL, "{}", SOURCE_PUSH);
        add(f, NULL, "{}", SOURCE_PUSH);
        f->commit->entries[0].accepted_ms = NOW_MS - i * 1000000;
        const entry_t *entries = commit(f);
        assert_true(strcmp(entries[0].answer.id.text, last.text) > 0);
        assert_true(strcmp(entries[1].answer.id.text, entries[0].answer.id.text) > 0);
        assert_int_equal(entries[1].seq, 2 * i + 2);
        last = entries[1].answer.id;
        assert_string_equal(journal_last_id(f->journal)->text, last.text);
        reopen(f);
        assert_string_equal(journal_last_id(f->journal)->text, last.text);
    }
}

static void numbers_are_not_used_again(void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 3; i++)
        (void)commit_one(f, NULL, "{}");
    assert_int_equal(journal_rows(f->journal), 3);
    commit_clear(f->commit);
    for (int64_t seq = 1; seq <= 3; seq++)
        commit_add_delete(f->commit, seq);
    (void)commit(f);
    assert_int_equal(journal_rows(f->journal), 0);
    reopen(f);
    assert_int_equal(journal_rows(f->journal), 0);
    (void)commit_one(f, NULL, "{}");
    assert_rows(f, 0, 10, "4:0: ", true);
}

static void the_frame_is_the_event(void **state)
{
    fixture_t *f = *state;
    event_t event;
    commit_clear(f->commit);
    add(f, "k", "{\"a\":1}", SOURCE_REPLAY);
    f->commit->entries[0].webhook_id = SLICE("original");
    f->commit->entries[0].replay_handler = 7;
    f->commit->entries[0].replay = 2;
    const entry_t *entry = commit(f);
    slice_t frame = {f->commit->frames.data + entry->frame_at, entry->frame_size};
    assert_int_equal(codec_decode(frame, &event_table, &event), RESULT_OK);
    assert_true(slice_is(event.id, entry->answer.id.text));
    assert_true(slice_is(event.body, "{\"a\":1}"));
    assert_true(slice_is(event.webhook_id, "original"));
    assert_int_equal(event.replay_handler, 7);
    assert_int_equal(event.replay, 2);
    assert_int_equal(event.accepted_ms, NOW_MS);
    assert_true(entry->object == object_hash(event.object_kind, event.object_id, event.id));
}

static void a_key_counts_once(void **state)
{
    fixture_t *f = *state;
    answer_t first = commit_one(f, "k", "a");
    assert_int_equal(first.status, ANSWER_ACCEPTED);
    for (int i = 0; i < 2; i++) {
        answer_t again = commit_one(f, "k", "a");
        assert_int_equal(again.status, ANSWER_DUPLICATE);
        assert_string_equal(again.id.text, first.id.text);
        answer_t other = commit_one(f, "k", "b");
        assert_int_equal(other.status, ANSWER_REJECTED);
        assert_int_equal(other.error.code, INTAKE_ID_CONFLICT);
        reopen(f);
    }
    assert_int_equal(journal_rows(f->journal), 1);
    assert_int_equal(journal_keys(f->journal), 1);
}

static void a_key_counts_within_a_commit(void **state)
{
    fixture_t *f = *state;
    add(f, "k", "a", SOURCE_INTAKE);
    add(f, "k", "a", SOURCE_PUSH);
    add(f, "k", "b", SOURCE_INTAKE);
    add(f, "k2", "b", SOURCE_INTAKE);
    add(f, "k", "a", SOURCE_REPLAY); /* another space */
    const entry_t *entries = commit(f);
    static const answer_status_t expected[] = {ANSWER_ACCEPTED, ANSWER_DUPLICATE, ANSWER_REJECTED,
                                               ANSWER_ACCEPTED, ANSWER_ACCEPTED};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(entries[i].answer.status, expected[i]);
    assert_string_equal(entries[1].answer.id.text, entries[0].answer.id.text);
    assert_rows(f, 0, 10, "1:0:k 2:0:k2 3:0:k ", true);
}

/* A full disk: the same commit is written again. */
static void a_commit_may_be_written_again(void **state)
{
    fixture_t *f = *state;
    add(f, "k", "a", SOURCE_INTAKE);
    add(f, "k", "a", SOURCE_INTAKE);
    add(f, NULL, "a", SOURCE_INTAKE);
    for (int i = 0; i < 3; i++) {
        apply(f);
        db_rollback(journal_db(f->journal));
    }
    const entry_t *entries = commit(f);
    assert_int_equal(entries[0].answer.status, ANSWER_ACCEPTED);
    assert_int_equal(entries[1].answer.status, ANSWER_DUPLICATE);
    assert_string_equal(entries[1].answer.id.text, entries[0].answer.id.text);
    assert_rows(f, 0, 10, "1:0:k 2:0: ", true);
    assert_int_equal(journal_keys(f->journal), 1);
    assert_int_equal(commit_one(f, "k", "a").status, ANSWER_DUPLICATE);
    assert_int_equal(commit_one(f, "k2", "a").status, ANSWER_ACCEPTED);
}

static void keys_are_forgotten_in_the_end(void **state)
{
    fixture_t *f = *state;
    f->settings.idempotency_max = 16;
    reopen(f);
    char key[16];
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(commit_one(f, key, "a").status, ANSWER_ACCEPTED);
        assert_in_range(journal_keys(f->journal), 1, 16);
        if (i % 7 == 0)
            reopen(f);
    }
    assert_int_equal(commit_one(f, "k99", "a").status, ANSWER_DUPLICATE);
    assert_int_equal(commit_one(f, "k90", "a").status, ANSWER_DUPLICATE);
    assert_int_equal(commit_one(f, "k0", "b").status, ANSWER_ACCEPTED);
}

static void no_keys_at_all(void **state)
{
    fixture_t *f = *state;
    (void)commit_one(f, "k", "a");
    f->settings.idempotency_max = 0;
    reopen(f);
    assert_int_equal(commit_one(f, "k", "a").status, ANSWER_ACCEPTED);
    assert_int_equal(commit_one(f, "k", "b").status, ANSWER_ACCEPTED);
    assert_int_equal(journal_keys(f->journal), 0);
}

static void what_stands_already_is_left_alone(void **state)
{
    fixture_t *f = *state;
    entry_t *busy = commit_add_entry(f->commit);
    busy->answer.status = ANSWER_BUSY;
    add(f, NULL, "a", SOURCE_INTAKE);
    const entry_t *entries = commit(f);
    assert_int_equal(entries[0].answer.status, ANSWER_BUSY);
    assert_int_equal(entries[1].answer.status, ANSWER_ACCEPTED);
    assert_int_equal(journal_rows(f->journal), 1);
}

/* ---- Reading ---------------------------------------------------------------------------- */

typedef struct {
    buf_t text;
    int64_t left;
} reading_t;

static bool take_some(void *owner, const outgoing_event_t *event)
{
    reading_t *reading = owner;
    if (reading->left-- == 0)
        return false;
    buf_printf(&reading->text, "%lld ", (long long)event->seq);
    return true;
}

static void rows_are_read_in_pieces(void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 5; i++)
        add(f, NULL, "{}", SOURCE_PUSH);
    (void)commit(f);
    assert_rows(f, 0, 2, "1:0: 2:0: ", false);
    assert_rows(f, 2, 3, "3:0: 4:0: 5:0: ", false);
    assert_rows(f, 2, 4, "3:0: 4:0: 5:0: ", true);
    assert_rows(f, 5, 4, "", true);
}

static void a_tail_has_its_partition_and_no_receipts(void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 6; i++) {
        add(f, NULL, "{}", SOURCE_PUSH);
        f->commit->entries[i].object_id = i % 2 ? SLICE("12") : SLICE("\"other\"");
    }
    int partition = 0;
    (void)commit(f);
    partition = object_partition(f->commit->entries[1].object);
    assert_int_not_equal(partition, object_partition(f->commit->entries[0].object));
    commit_clear(f->commit);
    commit_add_receipt(f->commit, &(stored_receipt_t){.seq = 4, .receipt = RECEIPT_UNMATCHED});
    commit_seal(f->commit);
    (void)commit(f);
    assert_rows(f, 3, 2, "4:2: 5:0: ", false);
    static const struct {
        int64_t after_seq, max, left;
        const char *expected;
        bool ended;
    } cases[] = {
        {0, 10, 10, "2 6 ", true}, {2, 10, 10, "6 ", true}, {0, 2, 10, "2 6 ", false},
        {0, 10, 1, "2 ", false},   {6, 10, 10, "", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reading_t reading = {.left = cases[i].left};
        outgoing_want_t want = {partition, cases[i].after_seq, cases[i].max};
        bool ended = false;
        assert_int_equal(journal_read_tail(f->journal, &want, take_some, &reading, &ended),
                         RESULT_OK);
        assert_string_equal(buf_slice(&reading.text).data, cases[i].expected);
        assert_int_equal(ended, cases[i].ended);
        buf_release(&reading.text);
    }
}

static void events_are_found_by_id(void **state)
{
    fixture_t *f = *state;
    ulid_t ids[50];
    bool found;
    for (int i = 0; i < 50; i++)
        ids[i] = commit_one(f, NULL, "{}").id;
    commit_clear(f->commit);
    for (int i = 0; i < 50; i++)
        if (i % 3)
            commit_add_delete(f->commit, i + 1);
    (void)commit(f);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(journal_has(f->journal, &ids[i], &found), RESULT_OK);
        assert_int_equal(found, i % 3 == 0);
    }
    assert_int_equal(journal_has(f->journal, &(ulid_t){"7ZZZZZZZZZZZZZZZZZZZZZZZZZ"}, &found),
                     RESULT_OK);
    assert_false(found);
}

static void one_owner(void **state)
{
    fixture_t *f = *state;
    journal_t *second = NULL;
    fault_t fault = {""};
    assert_int_equal(journal_open(&f->settings, &second, &fault), RESULT_LOCKED);
    assert_null(second);
    assert_non_null(strstr(fault.text, "provisor-emitter"));
}

/* ---- What a commit holds ---------------------------------------------------------------- */

static void receipts_under_way_are_found(void **state)
{
    fixture_t *f = *state;
    assert_int_equal(commit_find_receipt(f->commit, 1), RECEIPT_NONE);
    for (int64_t seq = 100; seq > 0; seq -= 3)
        commit_add_receipt(f->commit, &(stored_receipt_t){.seq = seq,
                                                          .receipt = seq % 2 ? RECEIPT_MATCHED
                                                                             : RECEIPT_UNMATCHED});
    for (int64_t seq = 1; seq <= 100; seq++)
        assert_int_equal(commit_find_receipt(f->commit, seq), seq % 3 != 1 ? RECEIPT_NONE
                                                              : seq % 2    ? RECEIPT_MATCHED
                                                                           : RECEIPT_UNMATCHED);
    assert_true(commit_writes(f->commit));
    commit_clear_requests(f->commit);
    assert_true(commit_writes(f->commit));
    commit_clear(f->commit);
    assert_false(commit_writes(f->commit));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ids_rise_over_restarts_and_clock_steps),
        TEST(an_event_that_cannot_be_sent_is_told),
        TEST(a_journal_of_before_is_measured),
        TEST(numbers_are_not_used_again),
        TEST(the_frame_is_the_event),
        TEST(a_key_counts_once),
        TEST(a_key_counts_within_a_commit),
        TEST(a_commit_may_be_written_again),
        TEST(keys_are_forgotten_in_the_end),
        TEST(no_keys_at_all),
        TEST(what_stands_already_is_left_alone),
        TEST(rows_are_read_in_pieces),
        TEST(a_tail_has_its_partition_and_no_receipts),
        TEST(events_are_found_by_id),
        TEST(one_owner),
        TEST(receipts_under_way_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
