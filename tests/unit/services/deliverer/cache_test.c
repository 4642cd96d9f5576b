#include "tests/support/unit.h"
#include "common/base/cleanup.h"
#include "services/deliverer/cache.h"

static event_t event_with(slice_t body)
{
    return (event_t){.id = SLICE("01M86F6QRC0000000000000001"),
                     .events_id = SLICE("clients.update"),
                     .object_kind = SLICE("client"),
                     .object_id = SLICE("12"),
                     .body = body,
                     .accepted_ms = 77};
}

static void content_is_a_copy(void **state)
{
    AUTO(cache) cache = cache_new(1000000);
    char body[] = "{\"n\":1}";
    event_t event = event_with(slice_of(body));
    cache_entry_t *entry = cache_put(cache, 5, &event, false);
    (void)state;
    body[0] = 'x';
    const event_t *copy = cache_use(entry);
    assert_true(slice_is(copy->body, "{\"n\":1}"));
    assert_true(slice_is(copy->events_id, "clients.update"));
    assert_true(slice_is(copy->object_id, "12"));
    assert_null(copy->webhook_id.data);
    assert_int_equal(copy->accepted_ms, 77);
    assert_int_equal(entry->seq, 5);
    cache_unuse(cache, entry);
    cache_unref(cache, entry);
    assert_int_equal(cache_bytes(cache), 0);
}

static void content_goes_only_when_stored_unused_and_over(void **state)
{
    static const struct {
        const char *name;
        int64_t max;
        bool stored, used, kept;
    } cases[] = {
        {"room", 1000000, true, false, true},
        {"over", 0, true, false, false},
        {"not stored", 0, false, false, true},
        {"over and used", 0, true, true, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO(cache) cache = cache_new(cases[i].max);
        event_t event = event_with(SLICE("{}"));
        cache_entry_t *entry = cache_put(cache, 1, &event, false);
        print_message("%s\n", cases[i].name);
        if (cases[i].used)
            assert_non_null(cache_use(entry));
        if (cases[i].stored)
            cache_stored(cache, entry);
        if (cache_use(entry))
            cache_unuse(cache, entry); /* a moment when it may go */
        assert_int_equal(cache_bytes(cache) > 0, cases[i].kept);
        if (cases[i].used)
            cache_unuse(cache, entry);
        const event_t *content = cache_use(entry);
        assert_int_equal(content != NULL, cases[i].kept && !cases[i].used);
        if (content)
            cache_unuse(cache, entry);
        cache_unref(cache, entry);
    }
}

static void what_is_only_in_the_store_is_filled(void **state)
{
    AUTO(cache) cache = cache_new(0);
    event_t event = event_with(SLICE("{}"));
    cache_entry_t *entry = cache_put(cache, 9, NULL, true);
    (void)state;
    assert_null(cache_use(entry));
    cache_fill(cache, entry, &event);
    assert_non_null(cache_use(entry));
    cache_unuse(cache, entry); /* over: dropped */
    assert_null(cache_use(entry));
    cache_unref(cache, entry);
}

static void the_last_reference_ends_it(void **state)
{
    AUTO(cache) cache = cache_new(1000);
    event_t event = event_with(SLICE("{}"));
    cache_entry_t *entry = cache_put(cache, 1, &event, false);
    (void)state;
    cache_ref(entry);
    cache_unref(cache, entry);
    assert_true(cache_bytes(cache) > 0);
    cache_unref(cache, entry);
    assert_int_equal(cache_bytes(cache), 0);
}

static void the_end_of_the_cache_ends_all(void **state)
{
    AUTO(cache) cache = cache_new(1000);
    event_t event = event_with(SLICE("{}"));
    (void)state;
    for (int i = 0; i < 5; i++)
        (void)cache_put(cache, i, &event, i & 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_is_a_copy),
        cmocka_unit_test(content_goes_only_when_stored_unused_and_over),
        cmocka_unit_test(what_is_only_in_the_store_is_filled),
        cmocka_unit_test(the_last_reference_ends_it),
        cmocka_unit_test(the_end_of_the_cache_ends_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
