#include "tests/support/unit.h"
#include "common/base/cleanup.h"
#include "services/deliverer/busy.h"

static void what_was_set_is_found(void **state)
{
    AUTO(busy) busy = busy_new();
    int one;
    int two;
    void *value = NULL;
    (void)state;
    assert_false(busy_find(busy, 1, 1, NULL));
    busy_set(busy, 1, 1, &one);
    busy_set(busy, 1, 2, NULL);
    assert_true(busy_find(busy, 1, 1, &value));
    assert_ptr_equal(value, &one);
    assert_true(busy_find(busy, 1, 2, &value));
    assert_null(value);
    assert_false(busy_find(busy, 2, 1, NULL));
    busy_set(busy, 1, 1, &two);
    assert_true(busy_find(busy, 1, 1, &value));
    assert_ptr_equal(value, &two);
    assert_int_equal(busy_size(busy), 2);
    busy_remove(busy, 7, 7);
    busy_remove(busy, 1, 1);
    assert_false(busy_find(busy, 1, 1, NULL));
    assert_int_equal(busy_size(busy), 1);
}

/* Random sets and removals against a table of all keys there are. */
static void it_does_what_a_naive_table_does(void **state)
{
    enum { SEQS = 60, HANDLERS = 40, STEPS = 200000 };
    static bool model[SEQS][HANDLERS];
    AUTO(busy) busy = busy_new();
    unsigned chance = unit_seed();
    size_t size = 0;
    (void)state;
    for (int step = 0; step < STEPS; step++) {
        int64_t seq = unit_chance(&chance, SEQS);
        int64_t handler = unit_chance(&chance, HANDLERS);
        bool grows = step / 20000 % 2 == 0; /* fills and empties in turn */
        bool *there = &model[seq][handler];
        assert_int_equal(busy_find(busy, seq, handler + 1, NULL), *there);
        if (unit_chance(&chance, 4) < (grows ? 3u : 1u)) {
            busy_set(busy, seq, handler + 1, there);
            size += !*there;
            *there = true;
        } else {
            busy_remove(busy, seq, handler + 1);
            size -= *there;
            *there = false;
        }
        assert_int_equal(busy_size(busy), size);
    }
    for (int64_t seq = 0; seq < SEQS; seq++)
        for (int64_t handler = 0; handler < HANDLERS; handler++) {
            void *value = NULL;
            assert_int_equal(busy_find(busy, seq, handler + 1, &value), model[seq][handler]);
            if (model[seq][handler])
                assert_ptr_equal(value, &model[seq][handler]);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_set_is_found),
        cmocka_unit_test(it_does_what_a_naive_table_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
