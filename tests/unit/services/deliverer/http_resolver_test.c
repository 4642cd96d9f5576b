/* http with a name server that never answers. It needs a file system of its own to say so in
 * /etc/resolv.conf; where that is not allowed the test is skipped. */
#include "services/deliverer/http.h"

#include <arpa/inet.h>

#include "tests/support/unit.h"
#include "tests/support/folder.h"
#include "tests/support/http_bench.h"
#include "common/base/clk.h"

enum { SKIPPED = 77 };

#define NAME_SERVER "127.0.0.99"

/* Takes questions and says nothing. */
static bool open_name_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(53)};
    inet_pton(AF_INET, NAME_SERVER, &address.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
}

static bool use_name_server(const folder_t *folder)
{
    const char *path = folder_file(folder, "resolv.conf");
    FILE *file = fopen(path, "we");
    ENSURE(file);
    fputs("nameserver " NAME_SERVER "\noptions timeout:30 attempts:2\n", file);
    fclose(file);
    return unshare(CLONE_NEWNS) == 0 && mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0;
}

static const exchanged_t *result_of(const http_bench_t *bench, const char *tag)
{
    for (size_t i = 0; i < bench->ex.n; i++)
        if (strcmp(bench->ex.results[i].tag, tag) == 0)
            return &bench->ex.results[i];
    PANIC("%s has no result", tag);
}

/* Neither a deadline nor the end of the process waits for the resolver (60 s); others go on. */
static void ask(void *arg)
{
    http_bench_t bench;
    child_t server;
    if (!use_name_server(arg) || !open_name_server())
        _exit(SKIPPED);
    int64_t begun_ms = clk_mono_ms();
    http_bench_init(&bench);
    int port = http_bench_server(&server, NULL);
    exchange_request_t request = http_bench_request("http://slow.example.org/");
    request.connect_timeout_ms = 100;
    http_bench_send(&bench, &request, "connect");
    request.connect_timeout_ms = 60000;
    request.timeout_ms = 200;
    http_bench_send(&bench, &request, "deadline");
    request.timeout_ms = 60000;
    http_bench_send(&bench, &request, "in flight at the end");
    request = http_bench_request(http_bench_url(&bench, "http://127.0.0.1", port, "ok"));
    http_bench_send(&bench, &request, "other");
    ENSURE(exchanges_wait(&bench.ex, 3));
    ENSURE(result_of(&bench, "other")->status == 200);
    ENSURE(strcmp(result_of(&bench, "connect")->error, "timed out after 100 ms (connecting)") == 0);
    ENSURE(strcmp(result_of(&bench, "deadline")->error, "timed out after 200 ms (connecting)") ==
           0);
    http_bench_release(&bench);
    child_stop(&server);
    ENSURE(clk_mono_ms() - begun_ms < 25000);
}

static void test_slow_resolver(void **state)
{
    int status = folder_in_child(ask, *state);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        skip();
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_slow_resolver, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests_name("http_resolver", tests, NULL, NULL);
}
