#include "tests/support/unit.h"

#include "services/emitter/slices.h"

enum { KEEP_MS = 7000 }; /* a slice is 1000 ms */

/* Places a key; returns how many slices were emptied for it. */
static int place(slices_t *slices, int64_t now_ms, idempotency_place_t *ret_place)
{
    int emptied = 0;
    while (slices_expire(slices, now_ms) >= 0)
        emptied++;
    *ret_place = slices_place(slices, now_ms);
    return emptied;
}

static void rows_of_a_slice_count_up(void **state)
{
    (void)state;
    slices_t slices;
    idempotency_place_t at;
    slices_init(&slices, KEEP_MS, 1000000);
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(place(&slices, 100 + i, &at), 0);
        assert_int_equal(at.table, 0);
        assert_int_equal(at.row, i);
    }
    assert_int_equal(slices_rows(&slices), 5);
}

static void a_key_is_kept_long_enough_and_not_much_longer(void **state)
{
    (void)state;
    slices_t slices;
    idempotency_place_t at;
    slices_init(&slices, KEEP_MS, 1000000);
    for (int64_t now_ms = 1; now_ms < 60000; now_ms += 10) {
        place(&slices, now_ms, &at);
        for (int i = 0; i < IDEMPOTENCY_TABLES; i++)
            if (slices.slices[i].rows > 0) /* its first key is the oldest */
                assert_true(now_ms - slices.slices[i].started_ms <= KEEP_MS + 1010);
        if (now_ms > KEEP_MS) /* 100 keys a slice: none of the last KEEP_MS is missing */
            assert_true(slices_rows(&slices) >= KEEP_MS / 10);
    }
}

static void idle_keys_go_too(void **state)
{
    (void)state;
    slices_t slices;
    idempotency_place_t at;
    slices_init(&slices, KEEP_MS, 1000000);
    place(&slices, 1, &at);
    assert_int_equal(slices_expire(&slices, KEEP_MS + 1000), -1);
    assert_int_equal(slices_expire(&slices, KEEP_MS + 1001), 0);
    assert_int_equal(slices_expire(&slices, KEEP_MS + 1001), -1);
    assert_int_equal(slices_rows(&slices), 0);
}

static void there_are_never_more_than_the_limit(void **state)
{
    (void)state;
    static const int64_t limits[] = {1, 3, 8, 9, 100};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        slices_t slices;
        idempotency_place_t at;
        slices_init(&slices, KEEP_MS, limits[i]);
        for (int n = 0; n < 1000; n++) {
            place(&slices, 1, &at);
            assert_in_range(slices_rows(&slices), 1, limits[i]);
        }
        assert_true(slices_rows(&slices) > limits[i] / 2);
    }
}

static void a_limit_of_0_forgets_what_is_there(void **state)
{
    (void)state;
    slices_t slices;
    slices_init(&slices, KEEP_MS, 0);
    slices.slices[3] = (slice_state_t){1, 17};
    assert_int_equal(slices_expire(&slices, 2), 3);
    assert_int_equal(slices_expire(&slices, 2), -1);
}

static void a_clock_that_steps_back_does_no_harm(void **state)
{
    (void)state;
    slices_t slices;
    idempotency_place_t at;
    slices_init(&slices, KEEP_MS, 100);
    for (int64_t now_ms = 100000; now_ms > 0; now_ms -= 500) {
        place(&slices, now_ms, &at);
        assert_in_range(slices_rows(&slices), 1, 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_a_slice_count_up),
        cmocka_unit_test(a_key_is_kept_long_enough_and_not_much_longer),
        cmocka_unit_test(idle_keys_go_too),
        cmocka_unit_test(there_are_never_more_than_the_limit),
        cmocka_unit_test(a_limit_of_0_forgets_what_is_there),
        cmocka_unit_test(a_clock_that_steps_back_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
