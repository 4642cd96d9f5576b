#include "tests/support/folder.h"
#include "common/base/cleanup.h"
#include "services/deliverer/script_path.h"

static void put(const char *path, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

/* scripts/{good, plain, below/, below/deep, in -> good, out -> ../outside}, outside, linked ->
 * scripts */
static int setup(void **state)
{
    if (folder_setup(state) != 0)
        return -1;
    const folder_t *folder = *state;
    mkdir(folder_file(folder, "scripts"), 0700);
    mkdir(folder_file(folder, "scripts/below"), 0700);
    put(folder_file(folder, "scripts/good"), 0700);
    put(folder_file(folder, "scripts/plain"), 0600);
    put(folder_file(folder, "scripts/below/deep"), 0700);
    put(folder_file(folder, "outside"), 0700);
    if (symlink("good", folder_file(folder, "scripts/in")) != 0 ||
        symlink("../outside", folder_file(folder, "scripts/out")) != 0)
        return -1;
    return symlink("scripts", folder_file(folder, "linked"));
}

static void what_may_be_run(void **state)
{
    static const struct {
        const char *dir, *task;
        const char *path; /* NULL: refused */
        const char *why;
    } cases[] = {
        {"scripts", "good", "scripts/good", NULL},
        {"scripts", "./good", "scripts/good", NULL},
        {"scripts", "below/../good", "scripts/good", NULL},
        {"scripts", "in", "scripts/good", NULL},
        {"linked", "good", "scripts/good", NULL},
        {"scripts", "plain", NULL, "not executable"},
        {"scripts", "none", NULL, "No such file or directory"},
        {"scripts", "below", NULL, "not a regular file"},
        {"scripts", "below/deep", NULL, "not in the folder"},
        {"scripts", "../outside", NULL, "not in the folder"},
        {"scripts", "out", NULL, "not in the folder"},
        {"scripts", ".", NULL, "not in the folder"},
        {"gone", "good", NULL, "script folder"},
    };
    const folder_t *folder = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF path = {0};
        fault_t fault = {""};
        result_t r =
            script_path_resolve(folder_file(folder, cases[i].dir), cases[i].task, &path, &fault);
        if (cases[i].path) {
            assert_int_equal(r, RESULT_OK);
            assert_string_equal(path.data, folder_file(folder, cases[i].path));
            continue;
        }
        if (r != RESULT_INVALID || !strstr(fault.text, cases[i].why) || path.size)
            fail_msg("%s: %s", cases[i].task, fault.text);
    }
}

static void absolute_paths_are_taken_as_they_are(void **state)
{
    const folder_t *folder = *state;
    const char *dir = folder_file(folder, "scripts");
    AUTO_BUF path = {0};
    fault_t fault = {""};
    assert_int_equal(script_path_resolve(dir, folder_file(folder, "scripts/good"), &path, &fault),
                     RESULT_OK);
    assert_int_equal(script_path_resolve(dir, folder_file(folder, "outside"), &path, &fault),
                     RESULT_INVALID);
    assert_int_equal(script_path_resolve(dir, "/bin/sh", &path, &fault), RESULT_INVALID);
    assert_int_equal(script_path_resolve("", "/bin/sh", &path, &fault), RESULT_INVALID);
    assert_non_null(strstr(fault.text, "script_dir"));
}

/* A folder whose name only begins like the configured one is another one. */
static void a_longer_name_is_another_folder(void **state)
{
    const folder_t *folder = *state;
    AUTO_BUF path = {0};
    fault_t fault = {""};
    mkdir(folder_file(folder, "scripts2"), 0700);
    put(folder_file(folder, "scripts2/good"), 0700);
    assert_int_equal(script_path_resolve(folder_file(folder, "scripts"),
                                         folder_file(folder, "scripts2/good"), &path, &fault),
                     RESULT_INVALID);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, setup, folder_teardown)
    const struct CMUnitTest tests[] = {
        test(what_may_be_run),
        test(absolute_paths_are_taken_as_they_are),
        test(a_longer_name_is_another_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
