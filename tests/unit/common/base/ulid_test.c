#include "tests/support/unit.h"

#include "common/base/ulid.h"

static const ulid_t none = {""};

static void ids_only_rise_whatever_the_clock_does(void **state)
{
    (void)state;
    static const int64_t clock[] = {1000, 1000, 1000, 5000, 2000, 0, 5000, 5001, -7};
    ulid_gen_t gen;
    ulid_gen_init(&gen, &none);
    ulid_t before = none;
    for (size_t round = 0; round < 1000; round++) {
        ulid_t id = ulid_next(&gen, clock[round % (sizeof clock / sizeof *clock)]);
        assert_true(strcmp(id.text, before.text) > 0);
        assert_int_equal(strlen(id.text), ULID_SIZE);
        before = id;
    }
}

static void a_generator_goes_on_above_the_stored_id(void **state)
{
    (void)state;
    ulid_gen_t first, second;
    ulid_gen_init(&first, &none);
    ulid_t last = ulid_next(&first, 900000);
    ulid_gen_init(&second, &last);
    ulid_t next = ulid_next(&second, 100); /* the clock was stepped back over the restart */
    assert_true(strcmp(next.text, last.text) > 0);
    assert_int_equal(ulid_wall_ms(&next), 900000);
}

static void counting_up_carries(void **state)
{
    (void)state;
    ulid_t last = {"0000000001000000000000ZZZZ"};
    ulid_gen_t gen;
    ulid_gen_init(&gen, &last);
    assert_string_equal(ulid_next(&gen, 0).text, "00000000010000000000010000");
}

static void the_time_is_in_it(void **state)
{
    (void)state;
    ulid_gen_t gen;
    ulid_gen_init(&gen, &none);
    ulid_t id = ulid_next(&gen, 1767225600123);
    assert_int_equal(ulid_wall_ms(&id), 1767225600123);
}

static void what_is_no_id_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "0000000001000000000000ZZZ",
                                      "0000000001000000000000ZZZZZ",
                                      "8000000001000000000000ZZZZ",
                                      "0000000001000000000000ZZZI",
                                      "0000000001000000000000zzzz",
                                      "0000000001-00000000000ZZZZ"};
    ulid_t id;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (ulid_parse(slice_of(bad[i]), &id) != RESULT_INVALID)
            fail_msg("%s was taken", bad[i]);
    assert_int_equal(ulid_parse(SLICE("0000000001000000000000ZZZZ"), &id), RESULT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_only_rise_whatever_the_clock_does),
        cmocka_unit_test(a_generator_goes_on_above_the_stored_id),
        cmocka_unit_test(counting_up_carries),
        cmocka_unit_test(the_time_is_in_it),
        cmocka_unit_test(what_is_no_id_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
