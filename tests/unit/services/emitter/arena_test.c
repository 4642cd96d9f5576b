#include "tests/support/unit.h"

#include "services/emitter/arena.h"

static void what_comes_out_stays_where_it_is(void **state)
{
    (void)state;
    arena_t arena = {0};
    slice_t copies[2000];
    for (int i = 0; i < 2000; i++) {
        char text[32];
        int size = snprintf(text, sizeof text, "number %d", i);
        copies[i] = arena_copy(&arena, (slice_t){text, (size_t)size});
        assert_int_equal((uintptr_t)copies[i].data % 16, 0);
        if (i % 500 == 0)
            memset(arena_alloc(&arena, 100000), 0xff, 100000); /* more than a block */
    }
    for (int i = 0; i < 2000; i++) {
        char text[32];
        snprintf(text, sizeof text, "number %d", i);
        assert_true(slice_is(copies[i], text));
    }
    assert_true(arena.bytes >= 4 * 100000);
    arena_clear(&arena);
    assert_int_equal(arena.bytes, 0);
    memset(arena_alloc(&arena, 1000), 1, 1000);
    arena_release(&arena);
}

static void absent_stays_absent_and_empty_stays_empty(void **state)
{
    (void)state;
    arena_t arena = {0};
    assert_null(arena_copy(&arena, (slice_t){0}).data);
    slice_t empty = arena_copy(&arena, SLICE(""));
    assert_non_null(empty.data);
    assert_int_equal(empty.size, 0);
    arena_release(&arena);
}

static void what_came_after_a_mark_is_taken_back(void **state)
{
    (void)state;
    arena_t arena = {0};
    arena_mark_t empty = arena_mark(&arena);
    (void)arena_copy(&arena, SLICE("a"));
    arena_rewind(&arena, &empty);
    assert_int_equal(arena.bytes, 0);
    slice_t kept = arena_copy(&arena, SLICE("kept"));
    arena_mark_t mark = arena_mark(&arena);
    const char *next = arena_copy(&arena, SLICE("next")).data;
    for (int i = 0; i < 5; i++) {
        memset(arena_alloc(&arena, 100000), 1, 100000);
        arena_rewind(&arena, &mark);
        assert_int_equal(arena.bytes, 16);
        assert_ptr_equal(arena_copy(&arena, SLICE("same")).data, next);
    }
    assert_true(slice_is(kept, "kept"));
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_out_stays_where_it_is),
        cmocka_unit_test(what_came_after_a_mark_is_taken_back),
        cmocka_unit_test(absent_stays_absent_and_empty_stays_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
