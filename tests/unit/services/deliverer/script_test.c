#include "services/deliverer/script.h"

#include "tests/support/unit.h"
#include "tests/support/exchanges.h"
#include "tests/support/folder.h"
#include "common/base/clk.h"

typedef struct {
    exchanges_t ex;
    script_t *script;
    folder_t *folder; /* holds "scripts", the folder that scripts may come from */
    char dir[FOLDER_SIZE];
} bench_t;

static int setup(void **state)
{
    bench_t *bench = MEM_NEW(bench_t);
    if (folder_setup(state) != 0)
        return -1;
    bench->folder = *state;
    snprintf(bench->dir, sizeof bench->dir, "%s", folder_file(bench->folder, "scripts"));
    mkdir(bench->dir, 0700);
    exchanges_init(&bench->ex);
    bench->script = script_new(bench->ex.loop, bench->dir, exchanges_done, &bench->ex);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    bench_t *bench = *state;
    script_destroy(&bench->script);
    exchanges_release(&bench->ex);
    *state = bench->folder;
    free(bench);
    return folder_teardown(state);
}

/* Writes scripts/<name> and returns its path. */
static const char *write_file(bench_t *bench, const char *name, const char *text, mode_t mode)
{
    char below[64];
    snprintf(below, sizeof below, "scripts/%s", name);
    const char *path = folder_file(bench->folder, below);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

static exchange_request_t request_to(const char *path)
{
    return (exchange_request_t){
        .url = path,
        .body = SLICE("{\"event\":{}}"),
        .timeout_ms = 20000,
        .response_max_bytes = 16384,
    };
}

static const exchanged_t *run(bench_t *bench, const exchange_request_t *request)
{
    exchanges_clear(&bench->ex);
    bench->ex.sending = true;
    script_send(bench->script, request, bench);
    bench->ex.sending = false;
    assert_true(exchanges_wait(&bench->ex, 1));
    assert_ptr_equal(bench->ex.results[0].tag, bench);
    return &bench->ex.results[0];
}

static const exchanged_t *run_text(bench_t *bench, const char *text)
{
    exchange_request_t request = request_to(write_file(bench, "it", text, 0700));
    return run(bench, &request);
}

/* --- ends ------------------------------------------------------------------------------------ */

static const struct {
    const char *name, *text;
    exchange_end_t end;
    int64_t status;
    const char *error, *response;
} ends[] = {
    {"exit 0", "#!/bin/sh\necho fine\n", EXCHANGE_ANSWERED, 200, "", "fine\n"},
    {"silent", "#!/bin/sh\n", EXCHANGE_ANSWERED, 200, "", ""},
    {"exit 1", "#!/bin/sh\necho out; echo err >&2; exit 1\n", EXCHANGE_ANSWERED, 500,
     "exit status 1", "out\nerr\n"},
    {"exit 255", "#!/bin/sh\nexit 255\n", EXCHANGE_ANSWERED, 500, "exit status 255", ""},
    {"stdout comes first", "#!/bin/sh\necho err >&2; echo out\n", EXCHANGE_ANSWERED, 200, "",
     "out\nerr\n"},
    {"signal", "#!/bin/sh\necho last words; kill -SEGV $$\n", EXCHANGE_BROKEN, 0,
     "killed by signal 11 (Segmentation fault)", "last words\n"},
    {"stdin", "#!/bin/sh\ncat\n", EXCHANGE_ANSWERED, 200, "", "{\"event\":{}}"},
    {"where", "#!/bin/sh\npwd\n", EXCHANGE_ANSWERED, 200, "", "/\n"},
    {"python", "#!/usr/bin/python3\nimport json, sys\nprint(json.load(sys.stdin)['event'])\n",
     EXCHANGE_ANSWERED, 200, "", "{}\n"},
    {"its outputs closed", "#!/bin/sh\nexec >&- 2>&-\nread line\nexit 0\n", EXCHANGE_ANSWERED, 200,
     "", ""},
    {"a pipe that nobody reads ends its writer", "#!/bin/sh\n(yes; echo $? >&2) | head -1\n",
     EXCHANGE_ANSWERED, 200, "", "y\n141\n"},
    {"no descriptors but three", "#!/bin/sh\nls /proc/self/fd | tr '\\n' ' '\n", EXCHANGE_ANSWERED,
     200, "", "0 1 2 3 "},
};

static void test_ends(void **state)
{
    bench_t *bench = *state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        print_message("%s\n", ends[i].name);
        const exchanged_t *got = run_text(bench, ends[i].text);
        assert_string_equal(got->error, ends[i].error);
        assert_string_equal(got->response, ends[i].response);
        assert_int_equal(got->end, ends[i].end);
        assert_int_equal(got->status, ends[i].status);
        assert_in_range(got->duration_us, 1, 20000000);
    }
}

static void test_environment(void **state)
{
    bench_t *bench = *state;
    static const char *const environment[] = {"PROVISOR_EVENTS_ID=clients.create", "B=2 = 2", NULL};
    exchange_request_t request =
        request_to(write_file(bench, "it", "#!/bin/sh\ntr '\\0' '\\n' </proc/$$/environ\n", 0700));
    request.environment = environment;
    const exchanged_t *got = run(bench, &request);
    assert_string_equal(got->response, "PROVISOR_EVENTS_ID=clients.create\nB=2 = 2\n");
    request.environment = NULL;
    assert_string_equal(run(bench, &request)->response, "");
}

/* --- bounds ---------------------------------------------------------------------------------- */

static void test_large_body(void **state)
{
    bench_t *bench = *state;
    enum { SIZE = 3 << 20 };
    char *bytes = mem_alloc(SIZE);
    memset(bytes, 'b', SIZE);
    exchange_request_t request = request_to(write_file(bench, "it", "#!/bin/sh\nwc -c\n", 0700));
    request.body = (slice_t){bytes, SIZE};
    assert_string_equal(run(bench, &request)->response, "3145728\n");
    request.url = write_file(bench, "deaf", "#!/bin/sh\necho fine\n", 0700);
    assert_string_equal(run(bench, &request)->response, "fine\n");
    request.url = write_file(bench, "shut", "#!/bin/sh\nexec <&-\necho fine\n", 0700);
    assert_string_equal(run(bench, &request)->response, "fine\n");
    free(bytes);
}

static void test_large_output(void **state)
{
    bench_t *bench = *state;
    const exchanged_t *got = run_text(bench, "#!/bin/sh\nhead -c 5000000 /dev/zero | tr '\\0' o\n"
                                             "head -c 5000000 /dev/zero | tr '\\0' e >&2\n");
    assert_int_equal(got->status, 200);
    assert_int_equal(got->response_size, 16384);
    assert_int_equal(strspn(got->response, "o"), 16384);
    got = run_text(bench, "#!/bin/sh\necho out\nhead -c 5000000 /dev/zero | tr '\\0' e >&2\n");
    assert_int_equal(got->response_size, 16384);
    assert_memory_equal(got->response, "out\neee", 7);
    exchange_request_t request = request_to(folder_file(bench->folder, "scripts/it"));
    request.response_max_bytes = 0;
    assert_int_equal(run(bench, &request)->response_size, 0);
}

/* The process that the script wrote to scripts/pid is gone (or a zombie that init has not reaped
 * yet). */
static bool is_gone(bench_t *bench)
{
    char path[64], status[256] = "";
    int pid = 0;
    FILE *file = fopen(folder_file(bench->folder, "scripts/pid"), "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &pid), 1);
    fclose(file);
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return true;
    const char *got = fgets(status, sizeof status, file);
    fclose(file);
    return !got || strstr(status, ") Z ");
}

static bool is_gone_soon(bench_t *bench)
{
    for (int64_t until_ms = clk_mono_ms() + EXCHANGES_WAIT_MS; clk_mono_ms() < until_ms;
         zclock_sleep(5))
        if (is_gone(bench))
            return true;
    return false;
}

static void test_deadline(void **state)
{
    bench_t *bench = *state;
    char text[1024];
    snprintf(text, sizeof text,
             "#!/bin/sh\ntrap '' TERM\n(sh -c 'echo $$ >%s/pid; sleep 1000') &\necho begun\nwait\n",
             bench->dir);
    exchange_request_t request = request_to(write_file(bench, "it", text, 0700));
    request.timeout_ms = 1500; /* it must have begun by then */
    const exchanged_t *got = run(bench, &request);
    assert_int_equal(got->end, EXCHANGE_TIMEOUT);
    assert_string_equal(got->error, "timed out after 1500 ms (running)");
    assert_string_equal(got->response, "begun\n");
    assert_in_range(got->duration_us, 1500000, 20000000);
    assert_true(is_gone_soon(bench));
    /* its exit is seen, and nothing is left of it */
    assert_string_equal(run_text(bench, "#!/bin/sh\necho fine\n")->response, "fine\n");
}

/* Endless output is thrown away until the deadline, and others go on meanwhile. */
static void test_endless_output(void **state)
{
    bench_t *bench = *state;
    exchange_request_t request =
        request_to(write_file(bench, "endless", "#!/bin/sh\nexec yes\n", 0700));
    request.timeout_ms = 1500;
    script_send(bench->script, &request, "endless");
    request = request_to(write_file(bench, "other", "#!/bin/sh\necho fine\n", 0700));
    script_send(bench->script, &request, "other");
    assert_true(exchanges_wait(&bench->ex, 2));
    assert_string_equal(bench->ex.results[0].tag, "other");
    assert_string_equal(bench->ex.results[0].response, "fine\n");
    assert_int_equal(bench->ex.results[1].end, EXCHANGE_TIMEOUT);
    assert_int_equal(bench->ex.results[1].response_size, 16384);
}

/* A descendant keeps stdout open, and even writes, after the script's exit. */
static void test_descendants(void **state)
{
    bench_t *bench = *state;
    char text[1024];
    snprintf(text, sizeof text,
             "#!/bin/sh\n(echo first; sh -c 'echo $$ >%s/pid; exec sleep 1000') &\n"
             "while [ ! -s %s/pid ]; do :; done\necho fine\n",
             bench->dir, bench->dir);
    const exchanged_t *got = run_text(bench, text);
    assert_int_equal(got->status, 200);
    assert_string_equal(got->response, "first\nfine\n");
    assert_in_range(got->duration_us, 1, 10000000);
    FILE *file = fopen(folder_file(bench->folder, "scripts/pid"), "re");
    int pid = 0;
    assert_int_equal(fscanf(file, "%d", &pid), 1);
    fclose(file);
    assert_int_equal(kill(pid, SIGKILL), 0); /* it was left alone */
}

static void test_many(void **state)
{
    bench_t *bench = *state;
    exchange_request_t request =
        request_to(write_file(bench, "it", "#!/bin/sh\ncat\nexit 3\n", 0700));
    for (int i = 0; i < 50; i++)
        script_send(bench->script, &request, NULL);
    assert_true(exchanges_wait(&bench->ex, 50));
    for (int i = 0; i < 50; i++)
        assert_string_equal(bench->ex.results[i].error, "exit status 3");
}

static void test_destroy_running(void **state)
{
    bench_t *bench = *state;
    char text[1024];
    snprintf(text, sizeof text, "#!/bin/sh\necho $$ >%s/pid\necho begun\nexec sleep 1000\n",
             bench->dir);
    exchange_request_t request = request_to(write_file(bench, "it", text, 0700));
    script_send(bench->script, &request, NULL);
    while (folder_file_size(bench->folder, "scripts/pid") <= 0)
        zclock_sleep(1);
    bench->ex.sending = true; /* done must not be called any more */
    script_destroy(&bench->script);
    assert_null(bench->script);
    assert_true(is_gone(bench));
}

/* --- which files ----------------------------------------------------------------------------- */

static const struct {
    const char *task;  /* @ is the folder that holds "scripts" */
    const char *error; /* NULL: it may run */
} paths[] = {
    {"@/scripts/good", NULL},
    {"good", NULL},
    {"./good", NULL},
    {"@/scripts/../scripts/good", NULL},
    {"@/scripts/inner-link", NULL},
    {"@/outside", "script @/outside is not in the folder @/scripts"},
    {"@/scripts/../outside", "script @/outside is not in the folder @/scripts"},
    {"../outside", "script @/outside is not in the folder @/scripts"},
    {"@/scripts/link", "script @/outside is not in the folder @/scripts"},
    {"@/scripts/below/good", "script @/scripts/below/good is not in the folder @/scripts"},
    {"@/scripts-too/good", "script @/scripts-too/good is not in the folder @/scripts"},
    {"@/scripts/missing", "script @/scripts/missing: No such file or directory"},
    {"", "script @/scripts is not in the folder @/scripts"},
    {"@/scripts", "script @/scripts is not in the folder @/scripts"},
    {"@/scripts/below", "script @/scripts/below is not a regular file"},
    {"@/scripts/fifo", "script @/scripts/fifo is not a regular file"},
    {"@/scripts/plain", "script @/scripts/plain is not executable (chmod +x)"},
    {"@/scripts/loop", "script @/scripts/loop: Too many levels of symbolic links"},
    {"@/scripts/text", "script @/scripts/text cannot be started: Exec format error (see its first "
                       "line, #!)"},
    {"@/scripts/lost", "script @/scripts/lost cannot be started: No such file or directory (see "
                       "its first line, #!)"},
};

static char *with_folder(const bench_t *bench, const char *text)
{
    AUTO_BUF whole = {0};
    for (; *text; text++)
        if (*text == '@')
            buf_add_str(&whole, bench->folder->path);
        else
            buf_add_char(&whole, *text);
    return buf_take(&whole);
}

static void make_files(bench_t *bench)
{
    static const char fine[] = "#!/bin/sh\necho fine\n";
    mkdir(folder_file(bench->folder, "scripts/below"), 0700);
    mkdir(folder_file(bench->folder, "scripts-too"), 0700);
    write_file(bench, "good", fine, 0700);
    write_file(bench, "below/good", fine, 0700);
    write_file(bench, "../outside", fine, 0700);
    write_file(bench, "../scripts-too/good", fine, 0700);
    write_file(bench, "plain", fine, 0600);
    write_file(bench, "text", "echo without a first line\n", 0700);
    write_file(bench, "lost", "#!/no/such/interpreter\n", 0700);
    mkfifo(folder_file(bench->folder, "scripts/fifo"), 0700);
    assert_int_equal(symlink("../outside", folder_file(bench->folder, "scripts/link")), 0);
    assert_int_equal(symlink("good", folder_file(bench->folder, "scripts/inner-link")), 0);
    assert_int_equal(symlink("loop", folder_file(bench->folder, "scripts/loop")), 0);
}

static void test_paths(void **state)
{
    bench_t *bench = *state;
    make_files(bench);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char *task = with_folder(bench, paths[i].task);
        char *error = with_folder(bench, paths[i].error ? paths[i].error : "");
        exchange_request_t request = request_to(task);
        const exchanged_t *got = run(bench, &request);
        assert_string_equal(got->error, error);
        assert_int_equal(got->end, paths[i].error ? EXCHANGE_INVALID : EXCHANGE_ANSWERED);
        assert_string_equal(got->response, paths[i].error ? "" : "fine\n");
        free(task);
        free(error);
    }
}

static void test_system_program(void **state)
{
    exchange_request_t request = request_to("/bin/sh");
    const exchanged_t *got = run(*state, &request);
    assert_int_equal(got->end, EXCHANGE_INVALID);
    assert_non_null(strstr(got->error, " is not in the folder "));
}

static void test_off(void **state)
{
    bench_t *bench = *state;
    make_files(bench);
    script_destroy(&bench->script);
    bench->script = script_new(bench->ex.loop, "", exchanges_done, &bench->ex);
    exchange_request_t request = request_to(folder_file(bench->folder, "scripts/good"));
    const exchanged_t *got = run(bench, &request);
    assert_int_equal(got->end, EXCHANGE_INVALID);
    assert_string_equal(got->error, "scripts are off: deliverer.script_dir names no folder");
}

static void test_no_folder(void **state)
{
    bench_t *bench = *state;
    script_destroy(&bench->script);
    bench->script = script_new(bench->ex.loop, "/no/such", exchanges_done, &bench->ex);
    exchange_request_t request = request_to("good");
    assert_string_equal(run(bench, &request)->error,
                        "script folder /no/such: No such file or directory");
}

#define SCRIPT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(test_ends),
        SCRIPT_TEST(test_environment),
        SCRIPT_TEST(test_large_body),
        SCRIPT_TEST(test_large_output),
        SCRIPT_TEST(test_deadline),
        SCRIPT_TEST(test_endless_output),
        SCRIPT_TEST(test_descendants),
        SCRIPT_TEST(test_many),
        SCRIPT_TEST(test_destroy_running),
        SCRIPT_TEST(test_paths),
        SCRIPT_TEST(test_system_program),
        SCRIPT_TEST(test_off),
        SCRIPT_TEST(test_no_folder),
    };
    signal(SIGPIPE, SIG_IGN); /* as service_main does */
    return cmocka_run_group_tests_name("script", tests, NULL, NULL);
}
