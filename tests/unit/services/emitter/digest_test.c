#include "tests/support/unit.h"

#include "services/emitter/digest.h"

/* The journal holds such values: they never change. */
static void values_are_fixed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } cases[] = {
        {"", 0x9c5f1337b535d106ull},
        {"a", 0x83aa65543810e69full},
        {"0123456789abcdef", 0x9195efd6c360ee84ull},
        {"0123456789abcdefg", 0x67d7ade99174bd14ull},
        {"clients.update and more than two rounds", 0xc2b1d988fbbc46f5ull},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t value = digest_add(1, slice_of(cases[i].text));
        if (value != cases[i].value)
            fail_msg("\"%s\": 0x%016llx", cases[i].text, (unsigned long long)value);
    }
}

static void where_a_field_ends_counts(void **state)
{
    (void)state;
    uint64_t ab_c = digest_add(digest_add(1, SLICE("ab")), SLICE("c"));
    uint64_t a_bc = digest_add(digest_add(1, SLICE("a")), SLICE("bc"));
    assert_true(ab_c != a_bc);
    assert_true(digest_add(1, SLICE("")) != digest_add(1, (slice_t){"\0", 1}));
    assert_true(digest_add(1, SLICE("a")) != digest_add(2, SLICE("a")));
}

static void every_bit_counts(void **state)
{
    (void)state;
    char text[40];
    for (size_t size = 1; size <= sizeof text; size++) {
        memset(text, 'x', size);
        uint64_t whole = digest_add(7, (slice_t){text, size});
        for (size_t bit = 0; bit < size * 8; bit++) {
            text[bit / 8] ^= (char)(1 << bit % 8);
            assert_true(digest_add(7, (slice_t){text, size}) != whole);
            text[bit / 8] ^= (char)(1 << bit % 8);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_fixed),
        cmocka_unit_test(where_a_field_ends_counts),
        cmocka_unit_test(every_bit_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
