#include "tests/support/unit.h"

#include "common/wire/object.h"

static uint64_t key(const char *kind, const char *object_id, const char *event_id)
{
    return object_hash(slice_of(kind), slice_of(object_id), slice_of(event_id));
}

static void one_client_is_one_object(void **state)
{
    (void)state;
    assert_int_equal(key("client", "12", "A"), key("client", "12", "B"));
    assert_int_equal(key("client", "12", "A"), key("client", "\"12\"", "A"));
    assert_int_not_equal(key("client", "12", "A"), key("account", "12", "A"));
    assert_int_not_equal(key("client", "12", "A"), key("client", "13", "A"));
    assert_int_not_equal(key("a", "b1", "A"), key("ab", "1", "A"));
}

static void without_an_object_the_event_is_alone(void **state)
{
    (void)state;
    assert_int_not_equal(key("client", NULL, "A"), key("client", NULL, "B"));
    assert_int_equal(key("client", NULL, "A"), key("client", "null", "A"));
    assert_false(object_is_ordered(SLICE("null")));
    assert_true(object_is_ordered(SLICE("\"null\"")));
}

/* Stored in every journal and queue: these values are for ever. */
static void values_never_change(void **state)
{
    (void)state;
    assert_int_equal(object_partition(key("client", "12", "A")), 12);
    assert_int_equal(object_partition(key("did", "\"4930123\"", "A")), 28);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_client_is_one_object),
        cmocka_unit_test(without_an_object_the_event_is_alone),
        cmocka_unit_test(values_never_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
