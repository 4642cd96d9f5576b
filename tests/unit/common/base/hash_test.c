#include "tests/support/unit.h"

#include "common/base/hash.h"

/* Partitions and lanes are stored with these values: a change here is a change of every store. */
static void values_never_change(void **state)
{
    (void)state;
    assert_int_equal(hash_bytes("", 0), 0xefd01f60ba992926ull);
    assert_int_equal(hash_bytes("client", 6), hash_end(hash_add(hash_begin(), "client", 6)));
    assert_int_equal(hash_bytes("12", 2),
                     hash_end(hash_add(hash_add(hash_begin(), "1", 1), "2", 1)));
}

static void spreads_over_partitions(void **state)
{
    (void)state;
    int count[64] = {0};
    for (int i = 0; i < 64000; i++) {
        char key[16];
        int size = snprintf(key, sizeof key, "%d", i);
        count[hash_bytes(key, (size_t)size) % 64]++;
    }
    for (int i = 0; i < 64; i++)
        assert_in_range(count[i], 850, 1150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_never_change),
        cmocka_unit_test(spreads_over_partitions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
