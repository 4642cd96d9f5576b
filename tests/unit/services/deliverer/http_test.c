/* http against a small server of its own that behaves well or badly as asked. */
#include "services/deliverer/http.h"

#include "tests/support/unit.h"
#include "tests/support/http_bench.h"
#include "common/base/clk.h"

#include <poll.h>

typedef struct {
    http_bench_t http; /* first: on_result casts */
    child_t server;
    int port;
} bench_t;

static int setup(void **state)
{
    bench_t *bench = MEM_NEW(bench_t);
    bench->port = http_bench_server(&bench->server, NULL);
    http_bench_init(&bench->http);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    bench_t *bench = *state;
    http_bench_release(&bench->http);
    child_stop(&bench->server);
    free(bench);
    return 0;
}

static const char *url_of(bench_t *bench, const char *path)
{
    return http_bench_url(&bench->http, "http://127.0.0.1", bench->port, path);
}

static const exchanged_t *post(bench_t *bench, const char *path)
{
    exchange_request_t request = http_bench_request(url_of(bench, path));
    return http_bench_exchange(&bench->http, &request);
}

/* --- how exchanges end ----------------------------------------------------------------------- */

static const struct {
    const char *path;
    exchange_end_t end;
    int64_t status;
    const char *error;    /* exact; NULL: none */
    const char *response; /* exact; NULL: not looked at */
} ends[] = {
    {"ok", EXCHANGE_ANSWERED, 200, NULL, "fine"},
    {"status/201", EXCHANGE_ANSWERED, 201, NULL, "status 201"},
    {"status/204", EXCHANGE_ANSWERED, 204, NULL, ""},
    {"status/304", EXCHANGE_ANSWERED, 304, NULL, ""},
    {"status/404", EXCHANGE_ANSWERED, 404, NULL, "status 404"},
    {"status/410", EXCHANGE_ANSWERED, 410, NULL, "status 410"},
    {"status/500", EXCHANGE_ANSWERED, 500, NULL, "status 500"},
    {"status/999", EXCHANGE_ANSWERED, 999, NULL, "status 999"},
    {"status/401", EXCHANGE_ANSWERED, 401, NULL, "status 401"},
    {"status/407", EXCHANGE_ANSWERED, 407, NULL, "status 407"},
    {"status/417", EXCHANGE_ANSWERED, 417, NULL, "status 417"},
    {"redirect", EXCHANGE_ANSWERED, 302, NULL, "elsewhere"},
    {"switch", EXCHANGE_ANSWERED, 101, NULL, ""},
    {"interim", EXCHANGE_ANSWERED, 200, NULL, "fine"},
    {"chunked", EXCHANGE_ANSWERED, 200, NULL, "fine"},
    {"headers/60000", EXCHANGE_ANSWERED, 200, NULL, "fine"},
    {"headers/70000", EXCHANGE_BROKEN, 0, "response headers are larger than 64 KiB", ""},
    {"endless-headers", EXCHANGE_BROKEN, 0, "response headers are larger than 64 KiB", ""},
    {"endless-header", EXCHANGE_BROKEN, 0, "response headers are larger than 64 KiB", ""},
    {"endless-status", EXCHANGE_BROKEN, 0, "response headers are larger than 64 KiB", ""},
    {"endless-continue", EXCHANGE_BROKEN, 0, "response headers are larger than 64 KiB", ""},
    {"close", EXCHANGE_BROKEN, 0, "connection closed without an answer", ""},
    {"half", EXCHANGE_BROKEN, 0, "connection closed in the middle of the answer", "half of it"},
    {"malformed", EXCHANGE_BROKEN, 0, "malformed answer: unsupported HTTP version in response", ""},
    {"http09", EXCHANGE_BROKEN, 0, "malformed answer: received HTTP/0.9 when not allowed", ""},
    {"reset", EXCHANGE_BROKEN, 0, "connection lost: recv failure: Connection reset by peer", ""},
};

static void test_ends(void **state)
{
    bench_t *bench = *state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const exchanged_t *got = post(bench, ends[i].path);
        print_message("%s: %s\n", ends[i].path, got->error);
        assert_int_equal(got->end, ends[i].end);
        assert_int_equal(got->status, ends[i].status);
        assert_string_equal(got->error, ends[i].error ? ends[i].error : "");
        if (ends[i].response)
            assert_string_equal(got->response, ends[i].response);
        assert_in_range(got->duration_us, 1, 20000000);
    }
}

/* Whether the servers are faster than the reader depends on the machine: then it is the deadline.
 */
static void framing_ends(bench_t *bench, const char *path)
{
    exchange_request_t request = http_bench_request(url_of(bench, path));
    request.timeout_ms = 1000;
    for (int i = 0; i < 8; i++)
        http_bench_send(&bench->http, &request, NULL);
    assert_true(exchanges_wait(&bench->http.ex, 8));
    for (int i = 0; i < 8; i++) {
        const exchanged_t *got = &bench->http.ex.results[i];
        print_message("%s after %lld us\n", got->error, (long long)got->duration_us);
        assert_in_range(got->duration_us, 1, 4000000); /* all of it takes longer */
        if (got->end == EXCHANGE_TIMEOUT)
            continue;
        assert_int_equal(got->end, EXCHANGE_BROKEN);
        assert_string_equal(got->error, "malformed answer: framing without end");
    }
}

static void test_endless_framing_keeps_nobody(void **state)
{
    framing_ends(*state, "endless-chunk");
}

static void test_framing_around_a_body_keeps_nobody(void **state)
{
    framing_ends(*state, "padded-chunks");
}

static void test_request_as_sent(void **state)
{
    bench_t *bench = *state;
    static const char *const headers[] = {"Content-Type: application/json",
                                          "User-Agent: provisor/0.1.0", "webhook-id: 01J",
                                          "X-Own: a: b;c", NULL};
    exchange_request_t request = http_bench_request(url_of(bench, "echo/a%20b?x=1"));
    AUTO_BUF wanted = {0};
    request.headers = headers;
    buf_printf(&wanted,
               "POST /echo/a%%20b?x=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
               "Content-Type: application/json\r\nUser-Agent: provisor/0.1.0\r\n"
               "webhook-id: 01J\r\nX-Own: a: b;c\r\nContent-Length: 12\r\n\r\n{\"event\":{}}",
               bench->port);
    assert_string_equal(http_bench_exchange(&bench->http, &request)->response, wanted.data);
}

static void test_bodies(void **state)
{
    bench_t *bench = *state;
    size_t sizes[] = {0, 1, 65536, 1 << 20, (1 << 20) + 1};
    char *bytes = mem_alloc((1 << 20) + 1);
    memset(bytes, 'b', (1 << 20) + 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        exchange_request_t request = http_bench_request(url_of(bench, "echo"));
        request.body = (slice_t){sizes[i] ? bytes : NULL, sizes[i]};
        request.response_max_bytes = 2 << 20;
        const exchanged_t *got = http_bench_exchange(&bench->http, &request);
        assert_int_equal(got->status, 200);
        const char *body = strstr(got->response, "\r\n\r\n");
        assert_non_null(body);
        assert_int_equal(strlen(body + 4), sizes[i]);
        assert_null(strcasestr(got->response, "expect:"));
    }
    free(bytes);
}

static void test_headers_kept(void **state)
{
    bench_t *bench = *state;
    const exchanged_t *got = post(bench, "interim");
    assert_memory_equal(got->headers, "HTTP/1.1 200 Said\r\n", 19);
    assert_non_null(strstr(got->headers, "\r\nx-request: "));
    assert_string_equal(got->retry_after, ""); /* the one of the 100 does not count */
    got = post(bench, "headers/60000");
    assert_int_equal(strlen(got->headers), 8192);
    got = post(bench, "chunked");
    assert_string_equal(got->retry_after, ""); /* nor does a trailer */
}

static void test_retry_after(void **state)
{
    bench_t *bench = *state;
    assert_string_equal(post(bench, "retry-after/120")->retry_after, "120");
    assert_string_equal(post(bench, "retry-after/Fri,_31_Dec_1999_23:59:59_GMT")->retry_after,
                        "Fri, 31 Dec 1999 23:59:59 GMT");
    assert_string_equal(post(bench, "ok")->retry_after, "");
}

/* --- bounds ---------------------------------------------------------------------------------- */

static void test_response_bound(void **state)
{
    static const struct {
        const char *path;
        int64_t max;
        size_t kept;
    } cases[] = {
        {"size/16384", 16384, 16384},
        {"size/16385", 16384, 16384},
        {"size/10000000", 16384, 16384},
        {"endless", 16384, 16384},
        {"size/0", 0, 0},
        {"size/1", 0, 0},
        {"endless", 0, 0},
        {"size/300000", 1 << 20, 300000},
        {"small-chunks/16384", 16384, 16384},
    };
    bench_t *bench = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        exchange_request_t request = http_bench_request(url_of(bench, cases[i].path));
        request.response_max_bytes = cases[i].max;
        const exchanged_t *got = http_bench_exchange(&bench->http, &request);
        assert_int_equal(got->end, EXCHANGE_ANSWERED);
        assert_int_equal(got->status, 200);
        assert_int_equal(got->response_size, cases[i].kept);
    }
}

static void test_compressed_stays(void **state)
{
    const exchanged_t *got = post(*state, "bomb");
    assert_int_equal(got->status, 200);
    assert_memory_equal(got->response, "\x1f\x8b", 2);
    assert_int_not_equal(got->response_size, 0);
}

static void test_deadline(void **state)
{
    static const struct {
        const char *path, *error;
    } cases[] = {
        {"stall", "timed out after 1500 ms (waiting for the response)"},
        {"delay/20000", "timed out after 1500 ms (waiting for the response)"},
        {"drip/10", "timed out after 1500 ms (reading it)"},
        {"drip-headers/10", "timed out after 1500 ms (reading it)"},
    };
    enum { N = sizeof cases / sizeof *cases };
    bench_t *bench = *state;
    for (size_t i = 0; i < N; i++) {
        exchange_request_t request = http_bench_request(url_of(bench, cases[i].path));
        request.timeout_ms = 1500;
        http_bench_send(&bench->http, &request, (void *)cases[i].error);
    }
    assert_true(exchanges_wait(&bench->http.ex, N));
    for (size_t i = 0; i < N; i++) {
        const exchanged_t *got = &bench->http.ex.results[i];
        assert_int_equal(got->end, EXCHANGE_TIMEOUT);
        assert_int_equal(got->status, 0);
        assert_string_equal(got->error, got->tag);
        assert_in_range(got->duration_us, 1500000, 20000000);
    }
}

/* --- connections ----------------------------------------------------------------------------- */

static void test_reuse(void **state)
{
    bench_t *bench = *state;
    int connection = 0;
    for (int i = 1; i <= 100; i++) {
        const exchanged_t *got = post(bench, i % 2 ? "ok" : "status/500");
        if (i == 1)
            connection = http_bench_number(got, "x-connection: ");
        assert_int_equal(http_bench_number(got, "x-connection: "), connection);
        assert_int_equal(http_bench_number(got, "x-request: "), i);
    }
}

/* The server closes kept connections as the next request comes. The request is sent once more on a
 * new one, however often it happens, so no exchange fails by that. */
static void test_stale_connection(void **state)
{
    bench_t *bench = *state;
    for (int i = 0; i < 50; i++)
        assert_string_equal(post(bench, "once")->error, "");
}

static void send_again(exchanges_t *ex, exchanged_t *result)
{
    bench_t *bench = ex->more;
    exchange_request_t request = http_bench_request(bench->http.url);
    (void)result;
    if (ex->n + http_in_flight(bench->http.http) < ex->wanted)
        http_send(bench->http.http, &request, NULL);
}

/* Requests sent from within done, sixteen at a time; sixteen connections are enough for all. */
static void test_many(void **state)
{
    bench_t *bench = *state;
    exchange_request_t request = http_bench_request(url_of(bench, "ok"));
    int most = 0;
    bench->http.ex.on_result = send_again;
    bench->http.ex.more = bench;
    bench->http.ex.wanted = 250;
    for (int i = 0; i < 16; i++)
        http_bench_send(&bench->http, &request, NULL);
    assert_true(exchanges_wait(&bench->http.ex, 250));
    for (int i = 0; i < 250; i++) {
        assert_int_equal(bench->http.ex.results[i].status, 200);
        int connection = http_bench_number(&bench->http.ex.results[i], "x-connection: ");
        most = connection > most ? connection : most;
    }
    assert_in_range(most, 1, 16);
}

static int64_t cpu_ms(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

/* With nothing in flight nothing is done: what curl's timer was for has happened. */
static void test_idle(void **state)
{
    bench_t *bench = *state;
    test_many(state);
    int64_t before_ms = cpu_ms();
    zloop_timer(bench->http.ex.loop, 500, 1, exchanges_stop, NULL);
    zloop_start(bench->http.ex.loop);
    assert_in_range(cpu_ms() - before_ms, 0, 50);
}

/* --- no connection --------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    bench_t *bench = *state;
    int port = http_bench_free_port();
    AUTO_BUF url = {0}, error = {0};
    buf_printf(&url, "http://127.0.0.1:%d/path?secret", port);
    buf_printf(&error, "connection refused (127.0.0.1:%d)", port);
    exchange_request_t request = http_bench_request(url.data);
    const exchanged_t *got = http_bench_exchange(&bench->http, &request);
    assert_int_equal(got->end, EXCHANGE_REFUSED);
    assert_string_equal(got->error, error.data);
}

/* Exchanges that end at once, each sending the next: the loop must stay alive and end. */
static void test_refused_again_and_again(void **state)
{
    bench_t *bench = *state;
    snprintf(bench->http.url, sizeof bench->http.url, "http://127.0.0.1:%d/",
             http_bench_free_port());
    exchange_request_t request = http_bench_request(bench->http.url);
    bench->http.ex.on_result = send_again;
    bench->http.ex.more = bench;
    bench->http.ex.wanted = 200;
    http_bench_send(&bench->http, &request, NULL);
    assert_true(exchanges_wait(&bench->http.ex, 200));
}

static void test_bad_urls(void **state)
{
    static const struct {
        const char *url;
        exchange_end_t end;
        const char *error; /* beginning */
    } cases[] = {
        {"http://no-such-host.invalid/", EXCHANGE_REFUSED, "host not found: no-such-host.invalid"},
        {"ftp://127.0.0.1/", EXCHANGE_INVALID, "bad URL: "},
        {"http://", EXCHANGE_INVALID, "bad URL: "},
        {"", EXCHANGE_INVALID, "bad URL: "},
        {"http://127.0.0.1:99999/", EXCHANGE_INVALID, "bad URL: "},
        {"http://a b/", EXCHANGE_INVALID, "bad URL: "},
        {"file:///etc/passwd", EXCHANGE_INVALID, "bad URL: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        exchange_request_t request = http_bench_request(cases[i].url);
        const exchanged_t *got = http_bench_exchange(*state, &request);
        print_message("%s: %s\n", cases[i].url, got->error);
        assert_int_equal(got->end, cases[i].end);
        assert_memory_equal(got->error, cases[i].error, strlen(cases[i].error));
        assert_string_equal(got->response, "");
    }
}

/* A listener whose backlog is full does not take the connection. */
static void test_connect_timeout(void **state)
{
    bench_t *bench = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0), fillers[8];
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    for (int i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&address, size);
    }
    snprintf(bench->http.url, sizeof bench->http.url, "http://127.0.0.1:%d/",
             ntohs(address.sin_port));
    exchange_request_t request = http_bench_request(bench->http.url);
    request.connect_timeout_ms = 100;
    const exchanged_t *got = http_bench_exchange(&bench->http, &request);
    assert_int_equal(got->end, EXCHANGE_TIMEOUT);
    assert_string_equal(got->error, "timed out after 100 ms (connecting)");
    request.connect_timeout_ms = 5000;
    request.timeout_ms = 50;
    assert_string_equal(http_bench_exchange(&bench->http, &request)->error,
                        "timed out after 50 ms (connecting)");
    for (int i = 0; i < 8; i++)
        close(fillers[i]);
    close(fd);
}

/* --- stalls, ends ---------------------------------------------------------------------------- */

static void wait_until(int64_t mono_ms)
{
    while (clk_mono_ms() < mono_ms)
        zclock_sleep((int)(mono_ms - clk_mono_ms()) + 1);
}

/* How many of this process's connections have something to be read. */
static int readable(void)
{
    struct pollfd polls[256];
    int n = 0;
    for (int fd = 0; fd < 256; fd++) {
        int type = 0;
        socklen_t size = sizeof type;
        bool is_stream = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
        polls[fd] = (struct pollfd){is_stream && type == SOCK_STREAM ? fd : -1, POLLIN, 0};
    }
    (void)!poll(polls, 256, 0);
    for (int i = 0; i < 256; i++)
        n += (polls[i].revents & POLLIN) != 0;
    return n;
}

/* The answers came in time, but this process did not run until long after the deadline: what is
 * there to be read counts (P5). */
static void test_stall(void **state)
{
    bench_t *bench = *state;
    exchange_request_t request = http_bench_request(url_of(bench, "delay/20"));
    for (int i = 0; i < 3; i++) /* for connections that are there already */
        http_bench_send(&bench->http, &request, NULL);
    assert_true(exchanges_wait(&bench->http.ex, 3));
    exchanges_clear(&bench->http.ex);
    request.timeout_ms = 100;
    for (int i = 0; i < 3; i++)
        http_bench_send(&bench->http, &request, NULL);
    int64_t deadline_ms = clk_mono_ms() + 100;
    while (readable() < 3 && clk_mono_ms() < deadline_ms + EXCHANGES_WAIT_MS)
        zclock_sleep(1);
    wait_until(deadline_ms);
    assert_true(exchanges_wait(&bench->http.ex, 3));
    for (int i = 0; i < 3; i++)
        assert_string_equal(bench->http.ex.results[i].error, "");
}

/* The stall was while connecting: what has no time left to be answered is not sent any more. */
static void test_stall_connecting(void **state)
{
    bench_t *bench = *state;
    exchange_request_t request = http_bench_request(url_of(bench, "ok"));
    request.timeout_ms = 50;
    http_bench_send(&bench->http, &request, NULL);
    wait_until(clk_mono_ms() + 100);
    assert_true(exchanges_wait(&bench->http.ex, 1));
    assert_string_equal(bench->http.ex.results[0].error, "timed out after 50 ms (connecting)");
}

static void test_destroy_in_flight(void **state)
{
    bench_t *bench = *state;
    exchange_request_t request = http_bench_request(url_of(bench, "stall"));
    for (int i = 0; i < 5; i++)
        http_bench_send(&bench->http, &request, NULL);
    assert_int_equal(http_in_flight(bench->http.http), 5);
    bench->http.ex.sending = true; /* done must not be called any more */
    http_destroy(&bench->http.http);
    assert_null(bench->http.http);
}

#define HTTP_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_ends),
        HTTP_TEST(test_endless_framing_keeps_nobody),
        HTTP_TEST(test_framing_around_a_body_keeps_nobody),
        HTTP_TEST(test_request_as_sent),
        HTTP_TEST(test_bodies),
        HTTP_TEST(test_headers_kept),
        HTTP_TEST(test_retry_after),
        HTTP_TEST(test_response_bound),
        HTTP_TEST(test_compressed_stays),
        HTTP_TEST(test_deadline),
        HTTP_TEST(test_reuse),
        HTTP_TEST(test_stale_connection),
        HTTP_TEST(test_many),
        HTTP_TEST(test_idle),
        HTTP_TEST(test_refused),
        HTTP_TEST(test_refused_again_and_again),
        HTTP_TEST(test_bad_urls),
        HTTP_TEST(test_connect_timeout),
        HTTP_TEST(test_stall),
        HTTP_TEST(test_stall_connecting),
        HTTP_TEST(test_destroy_in_flight),
    };
    signal(SIGPIPE, SIG_IGN);
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* the environment's proxy is not ours */
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
