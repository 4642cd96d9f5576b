#include "tests/support/unit.h"

#include "services/auditor/subscriptions.h"

static void take(subscriptions_t *subscriptions, char what, const char *prefix)
{
    AUTO_BUF message = {0};
    buf_add_char(&message, what);
    buf_add_str(&message, prefix);
    subscriptions_take(subscriptions, buf_slice(&message));
}

static void a_prefix_covers_its_topics(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *topic;
        bool wanted;
    } cases[] = {
        {"", "a.b", true},       {"a.", "a.b", true}, {"a.b", "a.b", true},
        {"a.b.c", "a.b", false}, {"b", "a.b", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        subscriptions_t *subscriptions = subscriptions_new();
        assert_false(subscriptions_want(subscriptions, slice_of(cases[i].topic)));
        take(subscriptions, 1, cases[i].prefix);
        assert_int_equal(subscriptions_want(subscriptions, slice_of(cases[i].topic)),
                         cases[i].wanted);
        take(subscriptions, 0, cases[i].prefix);
        assert_false(subscriptions_want(subscriptions, slice_of(cases[i].topic)));
        subscriptions_destroy(&subscriptions);
    }
}

static void the_last_one_who_leaves_ends_it(void **state)
{
    (void)state;
    subscriptions_t *subscriptions = subscriptions_new();
    take(subscriptions, 1, "a");
    take(subscriptions, 1, "a");
    take(subscriptions, 1, "b");
    assert_int_equal(subscriptions_count(subscriptions), 3);
    take(subscriptions, 0, "a");
    assert_true(subscriptions_want(subscriptions, SLICE("a")));
    take(subscriptions, 0, "a");
    assert_false(subscriptions_want(subscriptions, SLICE("a")));
    assert_true(subscriptions_want(subscriptions, SLICE("b")));
    subscriptions_destroy(&subscriptions);
}

static void nonsense_is_ignored(void **state)
{
    (void)state;
    subscriptions_t *subscriptions = subscriptions_new();
    subscriptions_take(subscriptions, (slice_t){0});
    take(subscriptions, 7, "a");
    take(subscriptions, 0, "never");
    assert_int_equal(subscriptions_count(subscriptions), 0);
    subscriptions_destroy(&subscriptions);
}

static void beyond_the_bound_everything_is_wanted(void **state)
{
    (void)state;
    subscriptions_t *subscriptions = subscriptions_new();
    char prefix[16];
    for (int i = 0; i <= SUBSCRIPTIONS_MAX; i++) {
        assert_false(subscriptions_want(subscriptions, SLICE("other")));
        snprintf(prefix, sizeof prefix, "p%d", i);
        take(subscriptions, 1, prefix);
    }
    assert_true(subscriptions_want(subscriptions, SLICE("other")));
    assert_int_equal(subscriptions_count(subscriptions), SUBSCRIPTIONS_MAX + 1);
    take(subscriptions, 0, prefix);
    assert_false(subscriptions_want(subscriptions, SLICE("other")));
    subscriptions_destroy(&subscriptions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefix_covers_its_topics),
        cmocka_unit_test(the_last_one_who_leaves_ends_it),
        cmocka_unit_test(nonsense_is_ignored),
        cmocka_unit_test(beyond_the_bound_everything_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
