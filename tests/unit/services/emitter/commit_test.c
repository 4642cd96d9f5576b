#include "tests/support/unit.h"

#include "services/emitter/commit.h"

static void fill(commit_t *commit, int n)
{
    for (int i = 0; i < n; i++) {
        request_t *request = commit_add_request(commit);
        assert_int_equal(request->first, i);
        request->n = 1;
        entry_t *entry = commit_add_entry(commit);
        assert_false(entry->is_event);
        entry->body = arena_copy(&commit->arena, SLICE("body"));
    }
}

static void requests_go_without_what_is_to_be_written(void **state)
{
    (void)state;
    commit_t *commit = commit_new();
    assert_false(commit_writes(commit));
    fill(commit, 300);
    assert_false(commit_writes(commit)); /* only answers */
    assert_true(commit_bytes(commit) > 300 * sizeof(entry_t));
    commit_add_delete(commit, 7);
    commit_clear_requests(commit);
    assert_int_equal(commit->n_entries + commit->n_requests, 0);
    assert_int_equal(commit_bytes(commit), 0);
    assert_true(commit_writes(commit));
    assert_int_equal(commit->deletes[0], 7);
    commit_clear(commit);
    assert_false(commit_writes(commit));
    fill(commit, 10); /* it is used again */
    commit_destroy(&commit);
    assert_null(commit);
}

static void each_of_the_three_is_something_to_write(void **state)
{
    (void)state;
    commit_t *commit = commit_new();
    commit_add_receipt(commit, &(stored_receipt_t){.seq = 1, .receipt = RECEIPT_MATCHED});
    assert_true(commit_writes(commit));
    commit_clear(commit);
    commit_add_entry(commit)->is_event = true;
    commit->n_events++;
    assert_true(commit_writes(commit));
    commit_destroy(&commit);
}

static void a_burst_is_not_kept(void **state)
{
    (void)state;
    commit_t *commit = commit_new();
    fill(commit, 20000);
    commit_clear(commit);
    assert_int_equal(commit->entries_capacity, 0);
    assert_null(commit->entries);
    fill(commit, 1);
    commit_destroy(&commit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_go_without_what_is_to_be_written),
        cmocka_unit_test(each_of_the_three_is_something_to_write),
        cmocka_unit_test(a_burst_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
