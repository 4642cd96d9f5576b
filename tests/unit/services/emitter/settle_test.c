#include "tests/support/unit.h"

#include "services/emitter/settle.h"

static void assert_marked(settle_t *settle, int64_t number, int64_t expected)
{
    int64_t seq;
    assert_true(settle_mark(settle, number, &seq));
    assert_int_equal(seq, expected);
}

static void assert_none(settle_t *settle, int64_t number)
{
    int64_t seq;
    assert_false(settle_mark(settle, number, &seq));
}

static void receipt_then_mark(void **state)
{
    (void)state;
    settle_t *settle = settle_new();
    assert_int_equal(settle_accepted(settle, 10, 100, RECEIPT_NONE), SETTLE_WAIT);
    assert_int_equal(settle_accepted(settle, 11, 101, RECEIPT_NONE), SETTLE_WAIT);
    assert_int_equal(settle_receipt(settle, 11, RECEIPT_MATCHED), SETTLE_WAIT);
    assert_none(settle, 100);
    assert_marked(settle, 101, 11);
    assert_none(settle, 101);
    assert_int_equal(settle_size(settle), 0);
    settle_destroy(&settle);
}

static void mark_then_receipt(void **state)
{
    (void)state;
    settle_t *settle = settle_new();
    assert_int_equal(settle_accepted(settle, 10, 100, RECEIPT_NONE), SETTLE_WAIT);
    assert_none(settle, 100);
    assert_int_equal(settle_receipt(settle, 10, RECEIPT_MATCHED), SETTLE_DELETE);
    settle_destroy(&settle);
}

/* The auditor is down: the receipt comes before the record could be added. */
static void receipt_before_the_record_is_stored(void **state)
{
    (void)state;
    settle_t *settle = settle_new();
    assert_int_equal(settle_accepted(settle, 10, 100, RECEIPT_NONE), SETTLE_WAIT);
    assert_int_equal(settle_receipt(settle, 11, RECEIPT_MATCHED), SETTLE_STORE);
    assert_int_equal(settle_receipt(settle, 12, RECEIPT_UNMATCHED), SETTLE_STORE);
    assert_int_equal(settle_last(settle), 10);
    assert_int_equal(settle_accepted(settle, 11, 101, RECEIPT_MATCHED), SETTLE_WAIT);
    assert_int_equal(settle_accepted(settle, 12, 102, RECEIPT_UNMATCHED), SETTLE_UNMATCHED);
    settle_unmatched(settle, 12, 103);
    assert_marked(settle, 102, 11);
    assert_none(settle, 102);
    assert_marked(settle, 103, 12);
    settle_destroy(&settle);
}

static void unmatched_waits_for_both_records(void **state)
{
    (void)state;
    settle_t *settle = settle_new();
    assert_int_equal(settle_accepted(settle, 10, 100, RECEIPT_NONE), SETTLE_WAIT);
    assert_int_equal(settle_receipt(settle, 10, RECEIPT_UNMATCHED), SETTLE_UNMATCHED);
    assert_none(settle, 100);
    settle_unmatched(settle, 10, 105); /* when there was room again */
    assert_none(settle, 104);
    assert_marked(settle, 105, 10);
    settle_destroy(&settle);
}

static void one_mark_for_many(void **state)
{
    (void)state;
    settle_t *settle = settle_new();
    int64_t seq, expected = 1;
    for (int64_t i = 1; i <= 1000; i++)
        assert_int_equal(settle_accepted(settle, i, 2 * i, RECEIPT_NONE), SETTLE_WAIT);
    for (int64_t i = 1000; i >= 1; i--)
        assert_int_equal(settle_receipt(settle, i, RECEIPT_MATCHED), SETTLE_WAIT);
    while (settle_mark(settle, 1999, &seq))
        assert_int_equal(seq, expected++);
    assert_int_equal(expected, 1000);
    assert_marked(settle, 2000, 1000);
    settle_destroy(&settle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(receipt_then_mark),
        cmocka_unit_test(mark_then_receipt),
        cmocka_unit_test(receipt_before_the_record_is_stored),
        cmocka_unit_test(unmatched_waits_for_both_records),
        cmocka_unit_test(one_mark_for_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
