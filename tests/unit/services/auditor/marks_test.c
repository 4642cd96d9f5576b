#include "tests/support/unit.h"

#include "services/auditor/marks.h"

/* One message: what it says, and what is to become of it. */
typedef struct {
    int64_t boot, first, oldest, count;
    int64_t lost, skip, take;
} step_t;

typedef struct {
    const char *name;
    step_t steps[6];
} case_t;

static const case_t cases[] = {
    {"in order", {{1, 1, 1, 3, 0, 0, 3}, {1, 4, 1, 2, 0, 0, 2}}},
    {"a repetition is skipped", {{1, 1, 1, 3, 0, 0, 3}, {1, 1, 1, 3, 0, 3, 0}}},
    {"an overlap is taken from where it is new", {{1, 1, 1, 3, 0, 0, 3}, {1, 2, 1, 4, 0, 2, 2}}},
    {"too early waits", {{1, 1, 1, 1, 0, 0, 1}, {1, 3, 1, 2, 0, 2, 0}, {1, 2, 1, 3, 0, 0, 3}}},
    {"a hole that nobody can fill", {{1, 1, 1, 1, 0, 0, 1}, {1, 7, 7, 2, 5, 0, 2}}},
    {"a hole that can be filled in part", {{1, 8, 5, 2, 4, 2, 0}, {1, 5, 5, 5, 0, 0, 5}}},
    {"a message without records tells a hole too", {{1, 4, 4, 0, 3, 0, 0}, {1, 4, 4, 1, 0, 0, 1}}},
    {"a message without records is nothing", {{1, 1, 1, 0, 0, 0, 0}, {1, 1, 1, 1, 0, 0, 1}}},
    {"each boot has its own numbers", {{1, 1, 1, 3, 0, 0, 3}, {2, 1, 1, 3, 0, 0, 3}}},
    {"an old boot may still come",
     {{1, 1, 1, 1, 0, 0, 1}, {2, 1, 1, 1, 0, 0, 1}, {1, 2, 1, 1, 0, 0, 1}}},
};

static audit_t message(const step_t *step)
{
    return (audit_t){.version = AUDIT_VERSION,
                     .node = SLICE("node"),
                     .service = SLICE("emitter"),
                     .boot = step->boot,
                     .first = step->first,
                     .oldest = step->oldest,
                     .count = step->count};
}

static void messages_are_accepted_without_holes(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        marks_t *marks = marks_new();
        for (const step_t *step = cases[c].steps; step->boot; step++) {
            marks_verdict_t verdict;
            audit_t audit = message(step);
            assert_int_equal(marks_offer(marks, &audit, 1, 1, &verdict), RESULT_OK);
            if (verdict.lost != step->lost || verdict.skip != step->skip ||
                verdict.take != step->take)
                fail_msg("%s, step %d: lost %d skip %d take %d", cases[c].name,
                         (int)(step - cases[c].steps), (int)verdict.lost, (int)verdict.skip,
                         (int)verdict.take);
        }
        marks_destroy(&marks);
    }
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        audit_t audit;
    } bad[] = {
        {"version", {0, SLICE("n"), SLICE("s"), 1, 1, 1, 1}},
        {"no node", {1, {0}, SLICE("s"), 1, 1, 1, 1}},
        {"a zero in the node", {1, SLICE("n\0x"), SLICE("s"), 1, 1, 1, 1}},
        {"a long node",
         {1, SLICE("0123456789012345678901234567890123456789012345678901234567890123"), SLICE("s"),
          1, 1, 1, 1}},
        {"no service", {1, SLICE("n"), {0}, 1, 1, 1, 1}},
        {"boot 0", {1, SLICE("n"), SLICE("s"), 0, 1, 1, 1}},
        {"first 0", {1, SLICE("n"), SLICE("s"), 1, 0, 0, 1}},
        {"oldest after first", {1, SLICE("n"), SLICE("s"), 1, 1, 2, 1}},
        {"a negative count", {1, SLICE("n"), SLICE("s"), 1, 1, 1, -1}},
        {"numbers without end", {1, SLICE("n"), SLICE("s"), 1, INT64_MAX, 1, 1}},
    };
    marks_t *marks = marks_new();
    marks_verdict_t verdict;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (marks_offer(marks, &bad[i].audit, 1, 1, &verdict) != RESULT_INVALID)
            fail_msg("%s was taken", bad[i].name);
    marks_destroy(&marks);
}

static void offer(marks_t *marks, const char *node, int64_t boot, int64_t first, int64_t count,
                  int64_t mono_ms, marks_verdict_t *ret_verdict)
{
    audit_t audit = {AUDIT_VERSION, slice_of(node), SLICE("router"), boot, first, 1, count};
    assert_int_equal(marks_offer(marks, &audit, mono_ms, mono_ms, ret_verdict), RESULT_OK);
}

static void count_row(void *owner, const marks_row_t *row)
{
    int64_t *last = owner;
    *last = row->number;
}

static void a_mark_is_told_only_when_it_is_committed(void **state)
{
    (void)state;
    marks_t *marks = marks_new();
    marks_rows_t rows, none;
    marks_verdict_t verdict;
    int64_t told = -1;
    offer(marks, "n", 1, 1, 5, 100, &verdict);
    marks_each(marks, 0, count_row, &told);
    assert_int_equal(told, 0);
    marks_collect(marks, &rows);
    assert_int_equal(rows.n_rows, 1);
    assert_int_equal(rows.rows[0].number, 5);
    offer(marks, "n", 1, 6, 1, 100, &verdict);
    marks_committed(marks, &rows);
    marks_each(marks, 0, count_row, &told);
    assert_int_equal(told, 5);
    marks_rows_release(&rows);
    marks_collect(marks, &rows);
    assert_int_equal(rows.rows[0].number, 6);
    marks_collect(marks, &none);
    assert_int_equal(none.n_rows, 0);
    marks_rows_release(&rows);
    marks_destroy(&marks);
}

/* A stage that repeats has not heard its mark. */
static void a_repetition_is_answered(void **state)
{
    (void)state;
    marks_t *marks = marks_new();
    marks_rows_t rows;
    marks_verdict_t verdict;
    offer(marks, "n", 1, 1, 5, 100, &verdict);
    marks_collect(marks, &rows);
    marks_committed(marks, &rows);
    marks_rows_release(&rows);
    offer(marks, "n", 1, 1, 5, 100, &verdict);
    assert_int_equal(verdict.take, 0);
    marks_collect(marks, &rows);
    assert_int_equal(rows.n_rows, 1);
    assert_int_equal(rows.rows[0].number, 5);
    marks_rows_release(&rows);
    marks_destroy(&marks);
}

static void origins_hold_over_boots(void **state)
{
    (void)state;
    marks_t *marks = marks_new();
    marks_verdict_t a, b;
    offer(marks, "n", 1, 1, 1, 100, &a);
    assert_true(marks_take_origin(a.node, 7));
    assert_false(marks_take_origin(a.node, 7));
    assert_false(marks_take_origin(a.node, 3));
    offer(marks, "n", 2, 1, 1, 100, &b);
    assert_ptr_equal(a.node, b.node);
    assert_false(marks_take_origin(b.node, 7));
    assert_true(marks_take_origin(b.node, 9));
    offer(marks, "m", 3, 1, 1, 100, &b);
    assert_true(marks_take_origin(b.node, 1));
    marks_destroy(&marks);
}

static void what_is_committed_is_restored(void **state)
{
    (void)state;
    marks_t *marks = marks_new(), *again = marks_new();
    marks_rows_t rows;
    marks_verdict_t verdict;
    offer(marks, "n", 1, 1, 5, 100, &verdict);
    marks_take_origin(verdict.node, 42);
    marks_collect(marks, &rows);
    marks_committed(marks, &rows);
    marks_rows_release(&rows);
    offer(marks, "n", 1, 6, 5, 100, &verdict); /* accepted, and lost with the process */
    marks_take_origin(verdict.node, 50);
    marks_snapshot(marks, 0, &rows);
    for (size_t i = 0; i < rows.n_rows; i++)
        marks_restore(again, &rows.rows[i]);
    marks_rows_release(&rows);
    offer(again, "n", 1, 1, 10, 100, &verdict);
    assert_int_equal(verdict.skip, 5);
    assert_int_equal(verdict.take, 5);
    assert_false(marks_take_origin(verdict.node, 42));
    assert_true(marks_take_origin(verdict.node, 43));
    marks_destroy(&marks);
    marks_destroy(&again);
}

static void an_old_boot_is_left_behind_but_not_its_origin(void **state)
{
    (void)state;
    marks_t *marks = marks_new();
    marks_rows_t rows;
    marks_verdict_t verdict;
    offer(marks, "n", 1, 1, 5, 100, &verdict);
    marks_take_origin(verdict.node, 42);
    marks_collect(marks, &rows);
    marks_committed(marks, &rows);
    marks_rows_release(&rows);
    marks_snapshot(marks, 101, &rows);
    assert_int_equal(rows.n_rows, 1);
    assert_int_equal(rows.rows[0].boot, 0);
    assert_int_equal(rows.rows[0].origin, 42);
    marks_rows_release(&rows);
    marks_destroy(&marks);
}

static void commit_all(marks_t *marks)
{
    marks_rows_t rows;
    marks_collect(marks, &rows);
    marks_committed(marks, &rows);
    marks_rows_release(&rows);
}

static void memory_is_bounded(void **state)
{
    (void)state;
    marks_t *marks = marks_new();
    marks_verdict_t verdict;
    char node[32];
    audit_t audit = {AUDIT_VERSION, SLICE("late"), SLICE("router"), 1, 1, 1, 1};
    for (int i = 0; i < MARKS_STAGES_MAX; i++) {
        snprintf(node, sizeof node, "node%d", i);
        offer(marks, node, 1, 1, 1, 100 + i, &verdict);
    }
    /* all of them have something on its way */
    assert_int_equal(marks_offer(marks, &audit, 1, 1, &verdict), RESULT_TOO_LARGE);
    commit_all(marks);
    assert_int_equal(marks_offer(marks, &audit, 1, 1, &verdict), RESULT_OK);
    offer(marks, "node0", 1, 1, 1, 100, &verdict); /* it was silent for longest: forgotten */
    assert_int_equal(verdict.take, 1);
    offer(marks, "node5", 1, 1, 1, 100, &verdict);
    assert_int_equal(verdict.take, 0);
    marks_destroy(&marks);
}

static void a_boot_that_was_forgotten_during_its_commit_is_passed_by(void **state)
{
    (void)state;
    marks_t *marks = marks_new();
    marks_rows_t rows;
    marks_verdict_t verdict;
    char node[32];
    for (int i = 0; i < MARKS_STAGES_MAX; i++) {
        snprintf(node, sizeof node, "node%d", i);
        offer(marks, node, 1, 1, 1, 100 + i, &verdict);
    }
    commit_all(marks);
    offer(marks, "node0", 1, 1, 1, 100, &verdict); /* a repetition: nothing of it is under way */
    marks_collect(marks, &rows);
    assert_int_equal(rows.n_rows, 1);
    offer(marks, "late", 1, 1, 1, 200, &verdict); /* takes its place */
    marks_committed(marks, &rows);
    marks_rows_release(&rows);
    offer(marks, "node0", 1, 1, 1, 300, &verdict);
    assert_int_equal(verdict.take, 1);
    marks_destroy(&marks);
}

static void who_was_heard(void **state)
{
    (void)state;
    marks_t *marks = marks_new();
    marks_verdict_t verdict;
    offer(marks, "n", 1, 1, 0, 100, &verdict);
    assert_true(marks_heard(marks, "router", 100));
    assert_false(marks_heard(marks, "router", 101));
    assert_false(marks_heard(marks, "emitter", 0));
    marks_destroy(&marks);
}

static void a_node_is_found_by_its_name(void **state)
{
    (void)state;
    marks_t *marks = marks_new();
    marks_row_t row = {.node = "n", .service = "router", .boot = 4, .number = 9};
    int64_t told = -1;
    marks_restore(marks, &row);
    marks_each(marks, 0, count_row, &told); /* it was not heard since the start */
    assert_int_equal(told, -1);
    marks_of_node(marks, SLICE("m"), count_row, &told);
    assert_int_equal(told, -1);
    marks_of_node(marks, SLICE("n"), count_row, &told);
    assert_int_equal(told, 9);
    marks_destroy(&marks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_accepted_without_holes),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(a_mark_is_told_only_when_it_is_committed),
        cmocka_unit_test(a_repetition_is_answered),
        cmocka_unit_test(origins_hold_over_boots),
        cmocka_unit_test(what_is_committed_is_restored),
        cmocka_unit_test(an_old_boot_is_left_behind_but_not_its_origin),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(a_boot_that_was_forgotten_during_its_commit_is_passed_by),
        cmocka_unit_test(who_was_heard),
        cmocka_unit_test(a_node_is_found_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
