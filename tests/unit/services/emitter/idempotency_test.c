#include "tests/support/unit.h"

#include "services/emitter/idempotency.h"

static slice_t key_of(char text[static 24], int n)
{
    return (slice_t){text, (size_t)snprintf(text, 24, "c-order-%d", n)};
}

/* Is there a place of this table and row among those of the key? */
static bool finds(const idempotency_t *index, slice_t key, int table, int64_t row)
{
    idempotency_place_t place;
    idempotency_probe_t probe = idempotency_probe(index, key);
    while (idempotency_next(index, &probe, &place))
        if (place.table == table && place.row == row)
            return true;
    return false;
}

static void what_was_added_is_found(void **state)
{
    (void)state;
    idempotency_t *index = idempotency_new();
    char text[24];
    int others = 0;
    idempotency_place_t place;
    for (int i = 1; i <= 20000; i++)
        idempotency_add(index, key_of(text, i), (idempotency_place_t){i % 8, i});
    assert_int_equal(idempotency_size(index), 20000);
    for (int i = 1; i <= 20000; i++)
        assert_true(finds(index, key_of(text, i), i % 8, i));
    for (int i = 20001; i <= 40000; i++) {
        idempotency_probe_t probe = idempotency_probe(index, key_of(text, i));
        others += idempotency_next(index, &probe, &place);
    }
    assert_in_range(others, 0, 5); /* 32 bits of fingerprint */
    idempotency_destroy(&index);
}

/* The same commit may be written twice. */
static void adding_twice_is_adding_once(void **state)
{
    (void)state;
    idempotency_t *index = idempotency_new();
    idempotency_add(index, SLICE("c1"), (idempotency_place_t){2, 7});
    idempotency_add(index, SLICE("c1"), (idempotency_place_t){2, 7});
    assert_int_equal(idempotency_size(index), 1);
    idempotency_add(index, SLICE("c1"), (idempotency_place_t){3, 7});
    assert_int_equal(idempotency_size(index), 2);
    assert_true(finds(index, SLICE("c1"), 2, 7));
    assert_true(finds(index, SLICE("c1"), 3, 7));
    idempotency_destroy(&index);
}

static void a_dropped_table_is_gone_and_no_other(void **state)
{
    (void)state;
    idempotency_t *index = idempotency_new();
    char text[24];
    for (int i = 1; i <= 5000; i++)
        idempotency_add(index, key_of(text, i), (idempotency_place_t){i % 8, i});
    idempotency_drop(index, 3);
    assert_int_equal(idempotency_size(index), 5000 - 625);
    for (int i = 1; i <= 5000; i++)
        assert_int_equal(finds(index, key_of(text, i), i % 8, i), i % 8 != 3);
    for (int table = 0; table < IDEMPOTENCY_TABLES; table++)
        idempotency_drop(index, table);
    assert_int_equal(idempotency_size(index), 0);
    idempotency_destroy(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_found),
        cmocka_unit_test(adding_twice_is_adding_once),
        cmocka_unit_test(a_dropped_table_is_gone_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
