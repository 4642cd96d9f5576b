#include "tests/support/unit.h"

#include "services/emitter/window.h"

static const window_limits_t limits = {8, 100};

typedef struct {
    window_t window;
    ulid_gen_t ids;
    ulid_t pushed[64];
    size_t n;
} fixture_t;

static int set_up(void **state)
{
    *state = calloc(1, sizeof(fixture_t));
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    fixture_t *f = *state;
    window_release(&f->window);
    free(f);
    return 0;
}

static void push(fixture_t *f, size_t size)
{
    f->pushed[f->n] = ulid_next(&f->ids, 1000);
    window_push(&f->window, &f->pushed[f->n], &f->pushed[f->n], size);
    f->n++;
}

static bool take(fixture_t *f, size_t i)
{
    void *event = window_take(&f->window, slice_of(f->pushed[i].text), false);
    assert_true(!event || event == &f->pushed[i]);
    return event;
}

static void the_oldest_without_receipt_holds_the_window(void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 8; i++)
        push(f, 1);
    assert_false(window_fits(&f->window, &limits, 1));
    for (size_t i = 1; i < 8; i++)
        assert_true(take(f, i));
    assert_int_equal(f->window.n_waiting, 1);
    assert_false(window_fits(&f->window, &limits, 1)); /* by position, not by count */
    assert_string_equal(window_oldest(&f->window)->text, f->pushed[0].text);
    assert_true(take(f, 0));
    assert_null(window_oldest(&f->window));
    assert_true(window_fits(&f->window, &limits, 1));
}

static void bytes_are_those_without_receipt(void **state)
{
    fixture_t *f = *state;
    push(f, 60);
    push(f, 40);
    assert_false(window_fits(&f->window, &limits, 1));
    assert_false(window_is_low(&f->window, &limits));
    assert_true(take(f, 1));
    assert_true(window_fits(&f->window, &limits, 40));
    assert_false(window_fits(&f->window, &limits, 41));
}

static void one_event_fits_always(void **state)
{
    fixture_t *f = *state;
    assert_true(window_fits(&f->window, &limits, 1000000));
    push(f, 1000000);
    assert_false(window_fits(&f->window, &limits, 1));
}

static void a_receipt_counts_once(void **state)
{
    fixture_t *f = *state;
    push(f, 1);
    push(f, 1);
    assert_true(take(f, 1));
    assert_false(take(f, 1));
    assert_null(window_take(&f->window, SLICE("00000000000000000000000000"), false));
    assert_null(window_take(&f->window, SLICE("short"), false));
    assert_true(take(f, 0));
    assert_false(take(f, 0));
}

static void a_held_one_stays_until_it_is_let_go(void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 3; i++)
        push(f, 60);
    slice_t first = slice_of(f->pushed[0].text);
    assert_ptr_equal(window_take(&f->window, first, true), &f->pushed[0]);
    assert_null(window_take(&f->window, first, true));
    assert_true(take(f, 1));
    assert_string_equal(window_oldest(&f->window)->text, f->pushed[0].text);
    assert_int_equal(f->window.n, 3);
    assert_int_equal(f->window.bytes, 60); /* it is a place, not memory of an event */
    window_let_go(&f->window, slice_of(f->pushed[2].text)); /* not held: no receipt */
    window_let_go(&f->window, SLICE("00000000000000000000000000"));
    assert_int_equal(f->window.n, 3);
    window_let_go(&f->window, first);
    assert_string_equal(window_oldest(&f->window)->text, f->pushed[2].text);
    window_let_go(&f->window, first);
    assert_true(take(f, 2));
    assert_null(window_oldest(&f->window));
}

static void it_goes_round(void **state)
{
    fixture_t *f = *state;
    for (size_t i = 0; i < 64; i++) {
        push(f, 1);
        if (i >= 20)
            assert_true(take(f, i - 20));
        assert_string_equal(window_oldest(&f->window)->text, f->pushed[i >= 20 ? i - 19 : 0].text);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_oldest_without_receipt_holds_the_window),
        TEST(bytes_are_those_without_receipt),
        TEST(one_event_fits_always),
        TEST(a_receipt_counts_once),
        TEST(a_held_one_stays_until_it_is_let_go),
        TEST(it_goes_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
