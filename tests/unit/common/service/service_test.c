/* service_main from outside: this program starts itself again as a small service (--serve), asks
 * it, signals it, and looks at how it ends and what it wrote. */
#include "tests/support/small_service.h"

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/service/endpoint.h"

#include <signal.h>
#include <sys/wait.h>

enum { DEADLINE_MS = 20000, KILLED = 1000 };

/* ---- Help ------------------------------------------------------------------------------- */

typedef struct {
    char dir[64], before[4096], control[96];
    pid_t pid; /* 0: none runs */
} place_t;

static const char *const settings[] = {"PROVISOR_CONFIG",
                                       "PROVISOR_DATA",
                                       "PROVISOR_CRASH",
                                       "SMALL_BUSY",
                                       "SMALL_FAILS",
                                       "SMALL_CHECK_FAILS",
                                       "SMALL_NOT_READY",
                                       "PROVISOR_ROUTER_INTAKE",
                                       "PROVISOR_PROVISOR_STOP_DEADLINE"};

static int enter(void **state)
{
    place_t *place = calloc(1, sizeof *place);
    assert_non_null(getcwd(place->before, sizeof place->before));
    snprintf(place->dir, sizeof place->dir, "/tmp/service_test.XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    assert_int_equal(chdir(place->dir), 0);
    snprintf(place->control, sizeof place->control, "ipc://%s/control", place->dir);
    setenv("PROVISOR_ROUTER_CONTROL", place->control, 1);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        unsetenv(settings[i]);
    *state = place;
    return 0;
}

static int leave(void **state)
{
    static const char *const files[] = {"out", "err", "control", "provisor.conf", "made"};
    place_t *place = *state;
    if (place->pid) {
        kill(place->pid, SIGKILL);
        waitpid(place->pid, NULL, 0);
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(files[i]);
    assert_int_equal(chdir(place->before), 0);
    assert_int_equal(rmdir(place->dir), 0);
    free(place);
    return 0;
}

static void redirect(const char *path, int to)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    dup2(fd, to);
}

/* flags: separated by spaces. */
static void serve(place_t *place, const char *flags)
{
    char text[256];
    char *argv[16] = {"service_test", "--serve"};
    int argc = 2;
    snprintf(text, sizeof text, "%s", flags);
    for (char *flag = strtok(text, " "); flag && argc < 15; flag = strtok(NULL, " "))
        argv[argc++] = flag;
    place->pid = fork();
    if (place->pid == 0) {
        redirect("out", STDOUT_FILENO);
        redirect("err", STDERR_FILENO);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    assert_true(place->pid > 0);
}

/* The exit code, or KILLED + signal. */
static int wait_exit(place_t *place)
{
    int status = 0;
    for (int64_t until_ms = clk_mono_ms() + DEADLINE_MS; clk_mono_ms() < until_ms; usleep(1000))
        if (waitpid(place->pid, &status, WNOHANG) == place->pid) {
            place->pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : KILLED + WTERMSIG(status);
        }
    fail_msg("it does not end");
    return -1;
}

static int run_to_end(place_t *place, const char *flags)
{
    serve(place, flags);
    return wait_exit(place);
}

static bool file_has(const char *path, const char *text)
{
    char all[16384] = "";
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    all[fread(all, 1, sizeof all - 1, file)] = 0;
    fclose(file);
    return *text ? strstr(all, text) != NULL : *all == 0;
}

static void expect_in(const char *path, const char *text)
{
    if (!file_has(path, text))
        fail_msg("%s has no \"%s\"", path, text);
}

static void wait_for_line(const char *text)
{
    int64_t until_ms = clk_mono_ms() + DEADLINE_MS;
    while (!file_has("err", text)) {
        if (clk_mono_ms() > until_ms)
            fail_msg("no line with %s", text);
        usleep(1000);
    }
}

/* A question waits 2 s for a connection; on a busy machine the start may take longer. */
static void wait_until_it_listens(void)
{
    int64_t until_ms = clk_mono_ms() + DEADLINE_MS;
    while (access("control", F_OK) != 0) {
        if (clk_mono_ms() > until_ms)
            fail_msg("it does not listen");
        usleep(1000);
    }
}

static json_tree_t *ask(const place_t *place, const char *question)
{
    AUTO_BUF answer = {0};
    fault_t fault = {""};
    json_tree_t *tree = NULL;
    wait_until_it_listens();
    assert_int_equal(endpoint_ask(place->control, slice_of(question), DEADLINE_MS, &answer),
                     RESULT_OK);
    if (json_parse(buf_slice(&answer), &tree, &fault) != RESULT_OK)
        fail_msg("%s: %s", answer.data, fault.text);
    return tree;
}

/* A question that ends the process: nobody answers it, and it is asked until the process has ended.
 * Returns as wait_exit does. */
static int ask_the_last(place_t *place, const char *question)
{
    AUTO(zsock) dealer = zsock_new_dealer(place->control);
    zstr_send(dealer, question);
    return wait_exit(place);
}

static void write_config(const char *text)
{
    FILE *file = fopen("provisor.conf", "w");
    fputs(text, file);
    fclose(file);
}

static int64_t stat_of(const place_t *place, const char *name)
{
    AUTO(json_tree) answer = ask(place, "{\"op\":\"stats\"}");
    return json_get_int(json_get(answer, "stats"), name, -1);
}

static void expect_stopped(place_t *place)
{
    assert_int_equal(wait_exit(place), 0);
    expect_in("err", "event=destroyed");
    expect_in("err", "event=stopped");
    expect_in("out", "");
}

/* ---- Tests ------------------------------------------------------------------------------ */

static void flags_and_settings_decide_the_exit_code(void **state)
{
    place_t *place = *state;
    static const struct {
        const char *name, *flags, *env, *value;
        int code;
        const char *out, *err; /* "": nothing */
    } cases[] = {
        {"help", "--help", NULL, NULL, 0, "A small service for tests.\n\n  --config FILE", ""},
        {"version", "--version", NULL, NULL, 0, "provisor-router 0.", ""},
        {"unknown flag", "--frob", NULL, NULL, 64, "", "Try provisor-router --help."},
        {"argument", "now", NULL, NULL, 64, "", "unexpected \"now\"; try --help."},
        {"flag without value", "--config", NULL, NULL, 64, "", "--help"},
        {"check", "--check", NULL, NULL, 0, "ok\n", ""},
        {"check of a bad setting", "--check", "PROVISOR_ROUTER_INTAKE", "x", 78, "",
         "level=error service=router event=start_failed code=78 reason=\"PROVISOR_ROUTER_INTAKE: "
         "'x' is not an endpoint"},
        {"check of an open address", "--check", "PROVISOR_ROUTER_INTAKE", "tcp://0.0.0.0:1", 78, "",
         "is not a loopback address"},
        {"check by the service", "--check", "SMALL_CHECK_FAILS", "1", 78, "",
         "deliverer.retry: not a retry list"},
        {"no such file", "--config nowhere.conf", NULL, NULL, 78, "",
         "cannot read the configuration file nowhere.conf"},
        {"no such file by environment", "--check", "PROVISOR_CONFIG", "gone.conf", 78, "",
         "cannot read the configuration file gone.conf"},
        {"empty environment", "--check", "PROVISOR_CONFIG", "", 0, "ok\n", ""},
        {"port that cannot be", "", "PROVISOR_ROUTER_CONTROL", "ipc:///nowhere/control", 78, "",
         "cannot bind ipc:///nowhere/control"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].env)
            setenv(cases[i].env, cases[i].value, 1);
        int code = run_to_end(place, cases[i].flags);
        if (cases[i].env)
            unsetenv(cases[i].env);
        setenv("PROVISOR_ROUTER_CONTROL", place->control, 1);
        if (code != cases[i].code || !file_has("out", cases[i].out) ||
            !file_has("err", cases[i].err))
            fail_msg("%s: %d", cases[i].name, code);
    }
}

static void a_failed_start_says_whether_to_try_again(void **state)
{
    place_t *place = *state;
    static const struct {
        result_t result;
        int code;
    } cases[] = {
        {RESULT_LOCKED, 75},  {RESULT_FULL, 75},    {RESULT_IO, 70},
        {RESULT_INVALID, 78}, {RESULT_VERSION, 78}, {RESULT_NOT_FOUND, 78},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char number[8];
        snprintf(number, sizeof number, "%d", cases[i].result);
        setenv("SMALL_FAILS", number, 1);
        if (run_to_end(place, "") != cases[i].code)
            fail_msg("%s", result_str(cases[i].result));
        expect_in("err", "reason=\"cannot 'open' it\"");
    }
}

static void a_second_one_is_refused(void **state)
{
    place_t *place = *state;
    serve(place, "");
    AUTO(json_tree) ping = ask(place, "{\"op\":\"ping\"}");
    assert_true(json_get_bool(ping, "ok", false));
    pid_t first = place->pid;
    assert_int_equal(run_to_end(place, ""), 75);
    expect_in("err", "(router.control): address in use; stop the other process or set "
                     "PROVISOR_ROUTER_CONTROL");
    place->pid = first;
    AUTO(json_tree) again = ask(place, "{\"op\":\"ping\"}");
    assert_true(json_get_bool(again, "ok", false));
}

static void ping_tells_who_it_is(void **state)
{
    place_t *place = *state;
    serve(place, "--data d");
    AUTO(json_tree) answer = ask(place, "{\"op\":\"ping\"}");
    assert_true(json_get_bool(answer, "ok", false));
    assert_string_equal(json_get_str(answer, "service"), "router");
    assert_string_equal(json_get_str(answer, "version"), PROVISOR_VERSION);
    assert_string_equal(json_get_str(answer, "node"), "0123456789abcdef");
    assert_true(json_get_int(answer, "boot", 0) > 0);
    assert_int_equal(json_get_int(answer, "pid", 0), place->pid);
    assert_true(json_get_bool(answer, "ready", false));
    assert_null(json_get(answer, "why"));
    char line[256];
    snprintf(line, sizeof line,
             "level=info service=router event=started version=%s pid=%d control=%s",
             PROVISOR_VERSION, (int)place->pid, place->control);
    expect_in("err", line);
}

static void one_that_cannot_work_says_why(void **state)
{
    place_t *place = *state;
    setenv("SMALL_NOT_READY", "1", 1);
    serve(place, "");
    AUTO(json_tree) answer = ask(place, "{\"op\":\"ping\"}");
    assert_false(json_get_bool(answer, "ready", true));
    assert_string_equal(json_get_str(answer, "why"), "no deliverer seen");
}

static void bad_questions_get_an_error(void **state)
{
    place_t *place = *state;
    static const struct {
        const char *question, *error;
    } cases[] = {
        {"", "premature EOF"},
        {"{", "premature EOF"},
        {"\xff\xfe", ""},
        {"[]", "expected an object with a text \"op\""},
        {"\"ping\"", "expected an object with a text \"op\""},
        {"{}", "expected an object with a text \"op\""},
        {"{\"op\":1}", "expected an object with a text \"op\""},
        {"{\"op\":\"ping\",\"op\":\"x\"}", "stands twice"},
        {"{\"op\":\"frob\"}",
         "router has no op \"frob\"; it has ping stats drain finish fail refuse crash system"},
        {"{\"op\":\"refuse\"}", "delivery_id is missing"},
        {"{\"op\":\"refuse\",\"why\":false}", "not_found"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "nested deeper"},
    };
    serve(place, "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO(json_tree) answer = ask(place, cases[i].question);
        const char *error = json_get_str(answer, "error");
        if (json_get_bool(answer, "ok", true) || !error || !strstr(error, cases[i].error) ||
            json_get(answer, "half"))
            fail_msg("%s: %s", cases[i].question, error ? error : "no error");
    }
}

static void every_kind_of_client_is_answered(void **state)
{
    place_t *place = *state;
    serve(place, "");
    AUTO(zsock) req = zsock_new_req(place->control);
    AUTO(zsock) dealer = zsock_new_dealer(place->control);
    zsock_set_rcvtimeo(req, DEADLINE_MS);
    zsock_set_rcvtimeo(dealer, DEADLINE_MS);
    zstr_send(req, "{\"op\":\"stats\"}");
    AUTO_FREE char *answer = zstr_recv(req);
    assert_non_null(strstr(answer, "\"ok\":true"));
    for (int i = 0; i < 100; i++) /* pipelined: as many answers, in order */
        zstr_sendf(dealer, "{\"op\":\"op%d\"}", i);
    for (int i = 0; i < 100; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "\\\"op%d\\\"", i);
        AUTO_FREE char *one = zstr_recv(dealer);
        assert_non_null(one);
        assert_non_null(strstr(one, expected));
    }
}

static void hostile_questions_hurt_nobody_else(void **state)
{
    place_t *place = *state;
    serve(place, "");
    AUTO(zsock) hostile = zsock_new_dealer(place->control);
    AUTO_BUF big = {0};
    for (int i = 0; i < (64 << 10) + 1; i++)
        buf_add_char(&big, ' ');
    AUTO(zmsg) many = zmsg_new();
    for (int i = 0; i < 1000; i++)
        zmsg_addstr(many, "{\"op\":\"ping\"}");
    zmsg_send(&many, hostile);
    zmq_send(zsock_resolve(hostile), big.data, big.size, 0);
    AUTO(json_tree) answer = ask(place, "{\"op\":\"ping\"}");
    assert_true(json_get_bool(answer, "ok", false));
    big.size = 64 << 10; /* the largest one that is read */
    memcpy(big.data, "{\"op\":\"ping\"}", 13);
    AUTO_BUF largest = {0};
    assert_int_equal(endpoint_ask(place->control, buf_slice(&big), DEADLINE_MS, &largest),
                     RESULT_OK);
    assert_non_null(strstr(largest.data, "\"ok\":true"));
}

static void sigterm_drains(void **state)
{
    place_t *place = *state;
    setenv("SMALL_BUSY", "1", 1);
    serve(place, "");
    assert_int_equal(stat_of(place, "drains"), 0);
    kill(place->pid, SIGTERM);
    wait_for_line("event=draining");
    AUTO(json_tree) ping = ask(place, "{\"op\":\"ping\"}");
    assert_false(json_get_bool(ping, "ready", true));
    assert_string_equal(json_get_str(ping, "why"), "draining");
    kill(place->pid, SIGHUP); /* not now */
    AUTO(json_tree) drain_answer = ask(place, "{\"op\":\"drain\"}");
    assert_true(json_get_bool(drain_answer, "ok", false));
    AUTO(json_tree) finish = ask(place, "{\"op\":\"finish\"}");
    assert_int_equal(json_get_int(finish, "drains", 0), 1);
    expect_stopped(place);
}

static void sigint_and_the_question_drain_too(void **state)
{
    place_t *place = *state;
    serve(place, "");
    assert_int_equal(stat_of(place, "drains"), 0);
    kill(place->pid, SIGINT);
    expect_stopped(place);
    serve(place, "");
    AUTO(json_tree) answer = ask(place, "{\"op\":\"drain\"}");
    assert_true(json_get_bool(answer, "ok", false));
    expect_stopped(place);
}

static void a_drain_ends_at_its_deadline(void **state)
{
    place_t *place = *state;
    setenv("SMALL_BUSY", "1", 1);
    setenv("PROVISOR_PROVISOR_STOP_DEADLINE", "30ms", 1);
    serve(place, "");
    assert_int_equal(stat_of(place, "drains"), 0);
    kill(place->pid, SIGTERM);
    expect_stopped(place);
    expect_in("err", "level=warn service=router event=drain_deadline");
}

static bool has_ended(const place_t *place)
{
    siginfo_t info = {0};
    assert_int_equal(waitid(P_PID, (id_t)place->pid, &info, WEXITED | WNOWAIT | WNOHANG), 0);
    return info.si_pid != 0;
}

static void a_second_signal_ends_it_at_once(void **state)
{
    place_t *place = *state;
    setenv("SMALL_BUSY", "1", 1);
    serve(place, "");
    assert_int_equal(stat_of(place, "drains"), 0);
    kill(place->pid, SIGTERM);
    wait_for_line("event=draining");
    int64_t until_ms = clk_mono_ms() + DEADLINE_MS;
    while (!has_ended(place) && clk_mono_ms() < until_ms) {
        kill(place->pid, SIGTERM);
        usleep(20000);
    }
    expect_stopped(place);
}

static void signals_that_come_together_are_one(void **state)
{
    place_t *place = *state;
    setenv("SMALL_BUSY", "1", 1);
    serve(place, "");
    assert_int_equal(stat_of(place, "drains"), 0);
    kill(place->pid, SIGSTOP); /* so that it sees both at once */
    kill(place->pid, SIGTERM);
    kill(place->pid, SIGINT);
    kill(place->pid, SIGCONT);
    wait_for_line("event=draining");
    AUTO(json_tree) finish = ask(place, "{\"op\":\"finish\"}"); /* it is still there */
    assert_int_equal(json_get_int(finish, "drains", 0), 1);
    expect_stopped(place);
}

static void sighup_reloads(void **state)
{
    place_t *place = *state;
    write_config("deliverer\n    window = 3\nprovisor\n    log_level = info\n");
    serve(place, "--config provisor.conf");
    assert_int_equal(stat_of(place, "window"), 3);
    write_config(
        "deliverer\n    window = 4\n    script_dir = /x\nprovisor\n    log_level = warn\n");
    kill(place->pid, SIGHUP);
    wait_for_line("event=restart_needed for=\"deliverer.script_dir \"");
    assert_int_equal(stat_of(place, "window"), 4);
    assert_int_equal(stat_of(place, "level"), LEVEL_WARN);
    assert_int_equal(stat_of(place, "reloads"), 1);
    write_config("deliverer\n    window = 0\n");
    kill(place->pid, SIGHUP);
    wait_for_line("event=reload_failed next=\"unchanged\"");
    assert_int_equal(stat_of(place, "window"), 4);
    assert_int_equal(stat_of(place, "reloads"), 1);
    kill(place->pid, SIGTERM);
    assert_int_equal(wait_exit(place), 0);
}

static void a_failure_ends_it_as_a_crash_would(void **state)
{
    place_t *place = *state;
    serve(place, "");
    assert_int_equal(ask_the_last(place, "{\"op\":\"fail\"}"), 70);
    expect_in("err", "level=error service=router event=failed reason=\"disk 7 is gone\"");
    assert_false(file_has("err", "event=destroyed"));
}

static void a_crash_point_kills(void **state)
{
    place_t *place = *state;
    setenv("PROVISOR_CRASH", "small.point:2", 1);
    serve(place, "");
    AUTO(json_tree) first = ask(place, "{\"op\":\"crash\"}");
    assert_true(json_get_bool(first, "ok", false));
    assert_int_equal(ask_the_last(place, "{\"op\":\"crash\"}"), KILLED + SIGKILL);
}

static void the_process_is_set_up(void **state)
{
    place_t *place = *state;
    serve(place, "");
    AUTO(json_tree) answer = ask(place, "{\"op\":\"system\",\"path\":\"made\"}");
    assert_true(json_get_bool(answer, "epipe", false));
    assert_int_equal(json_get_int(answer, "mode", 0), 0600);
    AUTO(json_tree) all = ask(place, "{\"op\":\"stats\"}");
    assert_true(json_get_bool(json_get(all, "stats"), "descriptors_raised", false));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--serve") == 0)
        return service_main(argc - 1, argv + 1, &small_spec);
    zsys_init();
    zsys_handler_set(NULL);
    const struct CMUnitTest tests[] = {
        TEST(flags_and_settings_decide_the_exit_code),
        TEST(a_failed_start_says_whether_to_try_again),
        TEST(a_second_one_is_refused),
        TEST(ping_tells_who_it_is),
        TEST(one_that_cannot_work_says_why),
        TEST(bad_questions_get_an_error),
        TEST(every_kind_of_client_is_answered),
        TEST(hostile_questions_hurt_nobody_else),
        TEST(sigterm_drains),
        TEST(sigint_and_the_question_drain_too),
        TEST(a_drain_ends_at_its_deadline),
        TEST(a_second_signal_ends_it_at_once),
        TEST(signals_that_come_together_are_one),
        TEST(sighup_reloads),
        TEST(a_failure_ends_it_as_a_crash_would),
        TEST(a_crash_point_kills),
        TEST(the_process_is_set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
