#include "tests/support/unit.h"

#include "common/base/mem.h"
#include "services/auditor/run.h"

/* A run with a page of n items, audit ids 1 .. n. */
static run_t *new_run(size_t n, int64_t rate)
{
    plan_page_t page = {.items = mem_alloc((n + 1) * sizeof(plan_item_t)), .n_items = n};
    run_t *run = run_new(3, 1000);
    page.rate = rate;
    for (size_t i = 0; i < n; i++) {
        page.items[i].item.audit_id = (int64_t)i + 1;
        snprintf(page.items[i].item.event_id, sizeof page.items[i].item.event_id, "E%zu", i + 1);
    }
    run_turn_page(run, &page);
    assert_null(page.items);
    return run;
}

static void without_a_rate_everything_may_go(void **state)
{
    (void)state;
    int64_t wait_ms = -1;
    run_t *run = new_run(50, 0);
    assert_int_equal(run_allowed(run, 1000, 32, &wait_ms), 32);
    assert_int_equal(run_allowed(run, 1000, 100, &wait_ms), 50);
    run_destroy(&run);
}

/* Takes all that it may at each millisecond for a while. */
static int sent_in(int64_t rate, int64_t ms)
{
    enum { ITEMS = 5000 };
    int sent = 0;
    run_t *run = new_run(ITEMS, rate);
    for (int64_t now_ms = 1000; now_ms <= 1000 + ms; now_ms++) {
        int64_t wait_ms;
        size_t n = run_allowed(run, now_ms, 32, &wait_ms);
        for (size_t i = 0; i < n; i++)
            run_accepted(run);
        sent += (int)n;
    }
    run_destroy(&run);
    return sent;
}

static void the_rate_is_kept(void **state)
{
    (void)state;
    static const struct {
        int64_t rate, ms;
        int least, most;
    } cases[] = {{1, 900, 1, 1},        {1, 5000, 5, 6},          {3, 10000, 30, 31},
                 {100, 1000, 100, 110}, {1000, 2000, 2000, 2100}, {999, 1000, 999, 1099}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int sent = sent_in(cases[i].rate, cases[i].ms);
        if (sent < cases[i].least || sent > cases[i].most)
            fail_msg("%lld/s for %lld ms: %d", (long long)cases[i].rate, (long long)cases[i].ms,
                     sent);
    }
}

static void the_wait_is_long_enough(void **state)
{
    (void)state;
    static const int64_t rates[] = {1, 3, 7, 999, 1000000};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        int64_t wait_ms = 0, now_ms = 1000;
        run_t *run = new_run(2000, rates[i]);
        size_t n;
        while ((n = run_allowed(run, now_ms, 32, &wait_ms)) > 0 && run_has_items(run))
            while (n--)
                run_accepted(run);
        if (run_has_items(run)) {
            assert_true(wait_ms >= 1);
            int64_t wait_again_ms;
            if (wait_ms > 1)
                assert_int_equal(run_allowed(run, now_ms + wait_ms - 1, 32, &wait_again_ms), 0);
            assert_true(run_allowed(run, now_ms + wait_ms, 32, &wait_again_ms) > 0);
        }
        run_destroy(&run);
    }
}

static void a_pause_earns_no_more_than_a_burst(void **state)
{
    (void)state;
    int64_t wait_ms;
    run_t *run = new_run(4000, 100);
    assert_int_equal(run_allowed(run, 1000 + 3600000, 1000, &wait_ms), 10);
    run_destroy(&run);
}

static void progress_is_handed_over_and_comes_back(void **state)
{
    (void)state;
    plan_progress_t taken;
    char refused[RUN_REFUSED_MAX][ENTRY_EVENT_ID_MAX + 1];
    run_t *run = new_run(5, 0);
    assert_false(run_is_dirty(run));
    run_accepted(run);
    run_refused(run, SLICE("unknown"));
    assert_true(run_is_dirty(run));
    run_take_progress(run, &taken, refused);
    assert_false(run_is_dirty(run));
    assert_int_equal(taken.sent, 1);
    assert_int_equal(taken.done_id, 2);
    assert_int_equal(taken.n_refused, 1);
    assert_string_equal(taken.refused[0], "E2");
    assert_string_equal(taken.error, "E2: unknown");
    run_accepted(run);
    run_give_back(run, &taken);
    run_take_progress(run, &taken, refused);
    assert_int_equal(taken.sent, 2);
    assert_int_equal(taken.done_id, 3);
    assert_int_equal(taken.n_refused, 1);
    assert_true(run_has_items(run));
    run_destroy(&run);
}

static void keys_tell_jobs_apart(void **state)
{
    (void)state;
    char key[RUN_KEY_SIZE];
    run_key(INT64_MAX, INT64_MAX, key);
    assert_string_equal(key, "replay:9223372036854775807:9223372036854775807");
    assert_true(strlen(key) <= 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rate_everything_may_go),
        cmocka_unit_test(the_rate_is_kept),
        cmocka_unit_test(the_wait_is_long_enough),
        cmocka_unit_test(a_pause_earns_no_more_than_a_burst),
        cmocka_unit_test(progress_is_handed_over_and_comes_back),
        cmocka_unit_test(keys_tell_jobs_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
