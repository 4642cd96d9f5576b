#include "tests/support/unit.h"

#include <signal.h>

#include "common/base/result.h"
#include "tests/support/folder.h"

static void every_result_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int a = RESULT_OK; a <= RESULT_CORRUPT; a++) {
        assert_string_not_equal(result_str((result_t)a), "unknown");
        for (int b = RESULT_OK; b < a; b++)
            assert_string_not_equal(result_str((result_t)a), result_str((result_t)b));
    }
    assert_string_equal(result_str(RESULT_NOT_FOUND), "not_found");
    assert_string_equal(result_str((result_t)(RESULT_CORRUPT + 1)), "unknown");
    assert_string_equal(result_str((result_t)-1), "unknown");
}

static void a_fault_is_set_in_one_line(void **state)
{
    (void)state;
    fault_t fault = {"before"};
    assert_int_equal(fault_set(&fault, RESULT_FULL, "%s at %d", "full", 7), RESULT_FULL);
    assert_string_equal(fault.text, "full at 7");
    assert_int_equal(fault_set(NULL, RESULT_IO, "nobody asks"), RESULT_IO);
}

static void a_long_fault_is_cut_and_ended(void **state)
{
    (void)state;
    char text[2000];
    fault_t fault;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    assert_int_equal(fault_set(&fault, RESULT_INVALID, "%s", text), RESULT_INVALID);
    assert_int_equal(strlen(fault.text), sizeof fault.text - 1);
}

static void break_an_invariant(void *argument)
{
    folder_hush();
    ENSURE(argument != NULL);
}

static void a_broken_invariant_aborts(void **state)
{
    (void)state;
    int status = folder_in_child(break_an_invariant, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_int_equal(folder_in_child(break_an_invariant, &status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_result_has_a_name_of_its_own),
        cmocka_unit_test(a_fault_is_set_in_one_line),
        cmocka_unit_test(a_long_fault_is_cut_and_ended),
        cmocka_unit_test(a_broken_invariant_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
