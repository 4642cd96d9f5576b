#include "tests/support/unit.h"
#include "common/base/cleanup.h"
#include "services/deliverer/custody.h"

/* The n-th id. */
static ulid_t id_of(int n)
{
    ulid_t id = {"01M86F6QRC0000000000000000"};
    for (int i = ULID_SIZE - 1; n; i--, n /= 10)
        id.text[i] = (char)('0' + n % 10);
    return id;
}

static custody_verdict_t take(custody_t *custody, const char *node, int partition, int n,
                              bool unmatched)
{
    ulid_t id = id_of(n);
    return custody_take(custody, slice_of(node), partition, &id, &unmatched);
}

static bool raise_to(custody_t *custody, const char *node, int partition, int n)
{
    ulid_t low_water = id_of(n);
    return custody_raise(custody, slice_of(node), partition, &low_water);
}

static void committed(custody_t *custody, const char *node, int partition, int n)
{
    ulid_t id = id_of(n);
    custody_committed(custody, slice_of(node), partition, &id);
}

static void an_id_is_new_once(void **state)
{
    AUTO(custody) custody = custody_new();
    (void)state;
    assert_int_equal(take(custody, "a", 1, 5, false), CUSTODY_NEW);
    assert_int_equal(take(custody, "a", 1, 5, false), CUSTODY_RUNNING);
    committed(custody, "a", 1, 5);
    assert_int_equal(take(custody, "a", 1, 5, false), CUSTODY_KNOWN);
    assert_int_equal(custody_size(custody), 1);
}

static void nodes_and_partitions_are_apart(void **state)
{
    AUTO(custody) custody = custody_new();
    (void)state;
    assert_int_equal(take(custody, "a", 1, 5, false), CUSTODY_NEW);
    assert_int_equal(take(custody, "a", 2, 5, false), CUSTODY_NEW);
    assert_int_equal(take(custody, "b", 1, 5, false), CUSTODY_NEW);
    assert_int_equal(take(custody, "ab", 1, 5, false), CUSTODY_NEW);
    assert_int_equal(custody_size(custody), 4);
}

static void the_first_copy_says_whether_it_matched(void **state)
{
    AUTO(custody) custody = custody_new();
    ulid_t id = id_of(5);
    bool unmatched = true;
    (void)state;
    assert_int_equal(custody_take(custody, slice_of("a"), 1, &id, &unmatched), CUSTODY_NEW);
    unmatched = false;
    assert_int_equal(custody_take(custody, slice_of("a"), 1, &id, &unmatched), CUSTODY_RUNNING);
    assert_true(unmatched);
    id = id_of(6);
    unmatched = false;
    assert_int_equal(custody_take(custody, slice_of("a"), 1, &id, &unmatched), CUSTODY_NEW);
    unmatched = true;
    assert_int_equal(custody_take(custody, slice_of("a"), 1, &id, &unmatched), CUSTODY_RUNNING);
    assert_false(unmatched);
}

static void low_water_forgets_what_is_below(void **state)
{
    AUTO(custody) custody = custody_new();
    (void)state;
    for (int n = 1; n <= 9; n++)
        assert_int_equal(take(custody, "a", 1, n, false), CUSTODY_NEW);
    assert_true(raise_to(custody, "a", 1, 4));
    assert_int_equal(custody_size(custody), 6);
    assert_int_equal(take(custody, "a", 1, 3, false), CUSTODY_BELOW);
    assert_int_equal(take(custody, "a", 1, 4, false), CUSTODY_RUNNING);
    assert_true(raise_to(custody, "a", 1, 100));
    assert_int_equal(custody_size(custody), 0);
    assert_int_equal(take(custody, "a", 1, 100, false), CUSTODY_NEW);
}

static void low_water_never_falls(void **state)
{
    AUTO(custody) custody = custody_new();
    ulid_t none = {""};
    (void)state;
    assert_true(custody_raise(custody, slice_of("a"), 1, &none)); /* never seen */
    assert_false(custody_raise(custody, slice_of("a"), 1, &none));
    assert_true(raise_to(custody, "a", 1, 50));
    assert_false(raise_to(custody, "a", 1, 50));
    assert_false(raise_to(custody, "a", 1, 20));
    assert_false(custody_raise(custody, slice_of("a"), 1, &none));
    assert_int_equal(take(custody, "a", 1, 30, false), CUSTODY_BELOW);
    assert_string_equal(custody_low_water(custody, slice_of("a"), 1).text, id_of(50).text);
    assert_string_equal(custody_low_water(custody, slice_of("a"), 2).text, "");
}

static void ids_may_come_in_any_order(void **state)
{
    static const int order[] = {50, 10, 90, 30, 70, 20, 80, 40, 60};
    AUTO(custody) custody = custody_new();
    (void)state;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        assert_int_equal(take(custody, "a", 1, order[i], false), CUSTODY_NEW);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        assert_int_equal(take(custody, "a", 1, order[i], false), CUSTODY_RUNNING);
    (void)raise_to(custody, "a", 1, 45);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        assert_int_equal(take(custody, "a", 1, order[i], false),
                         order[i] < 45 ? CUSTODY_BELOW : CUSTODY_RUNNING);
}

static void a_commit_after_low_water_passed_changes_nothing(void **state)
{
    AUTO(custody) custody = custody_new();
    (void)state;
    (void)take(custody, "a", 1, 5, false);
    (void)raise_to(custody, "a", 1, 9);
    committed(custody, "a", 1, 5);
    committed(custody, "b", 1, 5);
    assert_int_equal(custody_size(custody), 0);
}

static void what_is_restored_is_known(void **state)
{
    AUTO(custody) custody = custody_new();
    ulid_t id = id_of(7);
    slice_t node;
    int partition = 0;
    bool unmatched = false;
    (void)state;
    custody_restore(custody, slice_of("a"), 3, &id, true);
    assert_int_equal(custody_take(custody, slice_of("a"), 3, &id, &unmatched), CUSTODY_KNOWN);
    assert_true(unmatched);
    assert_true(custody_source(custody, 0, &node, &partition));
    assert_true(slice_is(node, "a"));
    assert_int_equal(partition, 3);
    assert_false(custody_source(custody, 1, &node, &partition));
}

static void ids_up_to_the_last_one_taken_are_expected(void **state)
{
    AUTO(custody) custody = custody_new();
    ulid_t ids[10];
    (void)state;
    for (int n = 0; n < 10; n++)
        ids[n] = id_of(n);
    assert_false(custody_expects(custody, slice_of("a"), 1, &ids[1]));
    (void)take(custody, "a", 1, 3, false);
    (void)take(custody, "a", 1, 7, false);
    for (int n = 1; n < 10; n++)
        assert_int_equal(custody_expects(custody, slice_of("a"), 1, &ids[n]), n <= 7);
    assert_false(custody_expects(custody, slice_of("a"), 2, &ids[1]));
    assert_false(custody_expects(custody, slice_of("b"), 1, &ids[1]));
    (void)raise_to(custody, "a", 1, 8);
    for (int n = 1; n < 10; n++)
        assert_int_equal(custody_expects(custody, slice_of("a"), 1, &ids[n]), n <= 7);
    assert_int_equal(custody_size(custody), 0); /* asking takes nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_new_once),
        cmocka_unit_test(nodes_and_partitions_are_apart),
        cmocka_unit_test(the_first_copy_says_whether_it_matched),
        cmocka_unit_test(low_water_forgets_what_is_below),
        cmocka_unit_test(low_water_never_falls),
        cmocka_unit_test(ids_may_come_in_any_order),
        cmocka_unit_test(a_commit_after_low_water_passed_changes_nothing),
        cmocka_unit_test(what_is_restored_is_known),
        cmocka_unit_test(ids_up_to_the_last_one_taken_are_expected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
