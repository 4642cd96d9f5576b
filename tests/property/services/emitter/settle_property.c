/* Random records, receipts, marks, an auditor that is away and restarts, against what the contract
 * says: a row goes when its receipt is there and the auditor has its records, and always then. */
#include "tests/support/unit.h"

#include "services/emitter/settle.h"

enum { ROWS = 3000, LAST_ROWS = 500, WINDOW = 40, STEPS = 40000 };

typedef struct {
    bool exists;
    int64_t accepted, unmatched; /* numbers of its records; 0: not added */
    receipt_kind_t receipt;      /* has come */
    receipt_kind_t stored;       /* in the row */
    bool waits;                  /* for room, to record that it is unmatched */
} row_t;

typedef struct {
    unsigned random;
    settle_t *settle;
    row_t rows[ROWS + 1]; /* by seq */
    int64_t last_seq, number, mark;
} world_t;

static bool has_room(const world_t *w)
{
    return w->number - w->mark < WINDOW;
}

static void delete_row(world_t *w, int64_t seq)
{
    row_t *row = &w->rows[seq];
    assert_true(row->exists);
    assert_int_not_equal(row->receipt, RECEIPT_NONE);
    assert_in_range(row->accepted, 1, w->mark);
    if (row->receipt == RECEIPT_UNMATCHED)
        assert_in_range(row->unmatched, 1, w->mark);
    row->exists = false;
}

static void add_unmatched(world_t *w, int64_t seq)
{
    row_t *row = &w->rows[seq];
    row->waits = !has_room(w);
    if (row->waits)
        return;
    assert_int_equal(row->unmatched, 0);
    row->unmatched = ++w->number;
    settle_unmatched(w->settle, seq, row->unmatched);
}

static void take(world_t *w, int64_t seq, settle_next_t next)
{
    row_t *row = &w->rows[seq];
    if (next == SETTLE_DELETE)
        delete_row(w, seq);
    else if (next == SETTLE_STORE)
        row->stored = row->receipt;
    else if (next == SETTLE_UNMATCHED)
        add_unmatched(w, seq);
}

static void record_next(world_t *w)
{
    int64_t seq = settle_last(w->settle) + 1;
    while (seq <= w->last_seq && !w->rows[seq].exists)
        seq++;
    if (seq > w->last_seq || !has_room(w))
        return;
    row_t *row = &w->rows[seq];
    row->accepted = ++w->number;
    take(w, seq, settle_accepted(w->settle, seq, row->accepted, row->stored));
}

static void receipt(world_t *w)
{
    int64_t seq = 1 + unit_chance(&w->random, (unsigned)w->last_seq + 1);
    if (seq > w->last_seq || !w->rows[seq].exists || w->rows[seq].receipt != RECEIPT_NONE)
        return;
    row_t *row = &w->rows[seq];
    row->receipt = unit_chance(&w->random, 4) ? RECEIPT_MATCHED : RECEIPT_UNMATCHED;
    take(w, seq, settle_receipt(w->settle, seq, row->receipt));
}

static void mark(world_t *w, int64_t number)
{
    int64_t seq;
    w->mark = number;
    while (settle_mark(w->settle, number, &seq))
        delete_row(w, seq);
    for (seq = 1; seq <= w->last_seq && has_room(w); seq++)
        if (w->rows[seq].exists && w->rows[seq].waits)
            add_unmatched(w, seq);
    assert_true(settle_size(w->settle) <= WINDOW + 1);
}

/* Numbers begin anew, and what was not stored is forgotten. */
static void restart(world_t *w)
{
    settle_destroy(&w->settle);
    w->settle = settle_new();
    w->number = w->mark = 0;
    for (int64_t seq = 1; seq <= w->last_seq; seq++) {
        row_t *row = &w->rows[seq];
        *row = (row_t){row->exists, .receipt = row->stored, .stored = row->stored};
    }
}

static void step(world_t *w)
{
    unsigned what = unit_chance(&w->random, 1000);
    if (what < 200 && w->last_seq < ROWS - LAST_ROWS)
        w->rows[++w->last_seq].exists = true;
    else if (what < 500)
        record_next(w);
    else if (what < 900)
        receipt(w);
    else if (what < 999)
        mark(w, w->mark + unit_chance(&w->random, (unsigned)(w->number - w->mark) + 1));
    else
        restart(w);
}

static int rows_left(const world_t *w)
{
    int n = 0;
    for (int64_t seq = 1; seq <= w->last_seq; seq++)
        n += w->rows[seq].exists;
    return n;
}

static void rows_go_when_they_may_and_always_then(void **state)
{
    (void)state;
    world_t *w = calloc(1, sizeof *w);
    w->random = unit_seed();
    w->settle = settle_new();
    for (int i = 0; i < STEPS; i++)
        step(w);
    /* without restarts, which heal what was forgotten: everything arrives in the end */
    for (int i = 0; w->last_seq < ROWS || rows_left(w) > 0; i++) {
        assert_true(i < 10 * ROWS);
        for (int n = 0; n < 100; n++) {
            if (w->last_seq < ROWS && n % 10 == 0)
                w->rows[++w->last_seq].exists = true;
            record_next(w);
            receipt(w);
        }
        mark(w, w->number);
    }
    settle_destroy(&w->settle);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_go_when_they_may_and_always_then)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
