/* http over real TLS, with certificates made by the openssl command, and against nginx. */
#include "services/deliverer/http.h"

#include "tests/support/unit.h"
#include "tests/support/folder.h"
#include "tests/support/http_bench.h"

typedef struct {
    http_bench_t http;
    folder_t *folder; /* with the certificates */
    child_t nginx;    /* pid 0: not started */
} bench_t;

static int setup_group(void **state)
{
    char *root = child_root();
    AUTO_BUF script = {0};
    if (folder_setup(state) != 0)
        return -1;
    buf_printf(&script, "%s/tests/support/certificates.sh", root);
    free(root);
    child_run((const char *const[]){"/bin/sh", script.data, ((folder_t *)*state)->path, NULL});
    return 0;
}

static int setup(void **state)
{
    bench_t *bench = MEM_NEW(bench_t);
    bench->folder = *state;
    http_bench_init(&bench->http);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    bench_t *bench = *state;
    http_bench_release(&bench->http);
    if (bench->nginx.pid) /* also when a test failed: it does not end by itself */
        child_stop(&bench->nginx);
    *state = bench->folder;
    free(bench);
    return 0;
}

/* http_server.py with the certificate of that name; client_ca may be NULL. */
static int serve(bench_t *bench, child_t *server, const char *name, const char *client_ca)
{
    AUTO_BUF certificate = {0}, key = {0}, ca = {0};
    buf_printf(&certificate, "%s/%s.pem", bench->folder->path, name);
    buf_printf(&key, "%s/%s.key", bench->folder->path, name);
    buf_printf(&ca, "%s/%s.pem", bench->folder->path, client_ca ? client_ca : "");
    const char *const arguments[5] = {"--tls", certificate.data, key.data,
                                      client_ca ? "--client-ca" : NULL, ca.data};
    return http_bench_server(server, arguments);
}

/* --- the server's certificate ---------------------------------------------------------------- */

static const struct {
    const char *name; /* of the server's certificate */
    const char *origin;
    const char *ca; /* NULL: the system's */
    bool insecure;
    const char *error; /* %d: the port; NULL: accepted */
} servers[] = {
    {"good", "https://localhost", "ca.pem", false, NULL},
    {"good", "https://127.0.0.1", "ca.pem", false, NULL},
    {"good", "HTTPS://localhost", "ca.pem", false, NULL},
    {"wrong-name", "https://localhost", "ca.pem", false,
     "certificate is for another name (not for localhost)"},
    {"wrong-name", "https://127.0.0.1", "ca.pem", false,
     "certificate is for another name (not for 127.0.0.1)"},
    {"expired", "https://localhost", "ca.pem", false, "certificate has expired (localhost:%d)"},
    {"future", "https://localhost", "ca.pem", false, "certificate is not valid yet (localhost:%d)"},
    {"self-signed", "https://localhost", "ca.pem", false, "self-signed certificate (localhost:%d)"},
    {"self-signed", "https://localhost", NULL, false, "self-signed certificate (localhost:%d)"},
    {"unknown-ca", "https://localhost", "ca.pem", false,
     "certificate's issuer is not trusted (localhost:%d)"},
    {"good", "https://localhost", NULL, false,
     "certificate's issuer is not trusted (localhost:%d)"},
    {"good", "https://localhost", "other-ca.pem", false,
     "certificate's issuer is not trusted (localhost:%d)"},
    {"wrong-name", "https://localhost", NULL, true, NULL},
    {"expired", "https://localhost", NULL, true, NULL},
    {"self-signed", "https://localhost", NULL, true, NULL},
    /* what was accepted without a look is not accepted later by a kept connection */
    {"self-signed", "https://localhost", NULL, false, "self-signed certificate (localhost:%d)"},
};

static void test_certificates(void **state)
{
    bench_t *bench = *state;
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
        child_t server;
        char wanted[128] = "";
        int port = serve(bench, &server, servers[i].name, NULL);
        exchange_request_t request =
            http_bench_request(http_bench_url(&bench->http, servers[i].origin, port, "ok"));
        request.ca_file = servers[i].ca ? folder_file(bench->folder, servers[i].ca) : NULL;
        request.tls_insecure = servers[i].insecure;
        const exchanged_t *got = http_bench_exchange(&bench->http, &request);
        print_message("%s: %s\n", servers[i].name, got->error);
        const char *at = servers[i].error ? strstr(servers[i].error, "%d") : NULL;
        if (at)
            snprintf(wanted, sizeof wanted, "%.*s%d%s", (int)(at - servers[i].error),
                     servers[i].error, port, at + 2);
        else if (servers[i].error)
            snprintf(wanted, sizeof wanted, "%s", servers[i].error);
        assert_string_equal(got->error, wanted);
        assert_int_equal(got->end, servers[i].error ? EXCHANGE_TLS : EXCHANGE_ANSWERED);
        assert_int_equal(got->status, servers[i].error ? 0 : 200);
        child_stop(&server);
    }
}

/* One connection for all: also over TLS; and none is shared between those that verify and those
 * that don't. */
static void test_reuse(void **state)
{
    bench_t *bench = *state;
    child_t server;
    int port = serve(bench, &server, "good", NULL);
    exchange_request_t request =
        http_bench_request(http_bench_url(&bench->http, "https://localhost", port, "ok"));
    request.tls_insecure = true;
    const exchanged_t *got = http_bench_exchange(&bench->http, &request);
    assert_int_equal(http_bench_number(got, "x-connection: "), 1);
    request.tls_insecure = false;
    request.ca_file = folder_file(bench->folder, "other-ca.pem");
    assert_int_equal(http_bench_exchange(&bench->http, &request)->end, EXCHANGE_TLS);
    request.ca_file = folder_file(bench->folder, "ca.pem");
    for (int i = 1; i <= 20; i++) {
        got = http_bench_exchange(&bench->http, &request);
        assert_int_equal(got->status, 200);
        assert_int_equal(http_bench_number(got, "x-connection: "), 3);
        assert_int_equal(http_bench_number(got, "x-request: "), i);
    }
    child_stop(&server);
}

/* --- handshakes ------------------------------------------------------------------------------ */

static void test_not_tls(void **state)
{
    bench_t *bench = *state;
    child_t server;
    int port = http_bench_server(&server, NULL);
    exchange_request_t request =
        http_bench_request(http_bench_url(&bench->http, "https://127.0.0.1", port, "ok"));
    request.timeout_ms = 500; /* the server waits for the end of our "request" */
    const exchanged_t *got = http_bench_exchange(&bench->http, &request);
    assert_string_equal(got->error, "timed out after 500 ms (connecting)");
    child_stop(&server);
}

static void test_tls_only(void **state)
{
    bench_t *bench = *state;
    child_t server;
    int port = serve(bench, &server, "good", NULL);
    exchange_request_t request =
        http_bench_request(http_bench_url(&bench->http, "http://localhost", port, "ok"));
    const exchanged_t *got = http_bench_exchange(&bench->http, &request);
    assert_int_equal(got->end, EXCHANGE_BROKEN);
    child_stop(&server);
}

static const struct {
    const char *certificate, *key;
    exchange_end_t end;
    const char *error; /* beginning */
} clients[] = {
    {"client.pem", "other-client.key", EXCHANGE_INVALID, "client certificate cannot be used: "},
    {"client.pem", "client.key", EXCHANGE_ANSWERED, ""},
    {NULL, NULL, EXCHANGE_TLS, ""},
    {"missing.pem", "client.key", EXCHANGE_INVALID, "client certificate cannot be used: "},
    {"client.pem", "client.key", EXCHANGE_ANSWERED, ""},
};

/* The server closes at once, so what we see of its alert is a matter of chance. */
static void test_client_certificate_unknown(void **state)
{
    bench_t *bench = *state;
    child_t server;
    int port = serve(bench, &server, "good", "ca");
    exchange_request_t request =
        http_bench_request(http_bench_url(&bench->http, "https://localhost", port, "ok"));
    request.ca_file = folder_file(bench->folder, "ca.pem");
    request.cert_file = folder_file(bench->folder, "other-client.pem");
    request.key_file = folder_file(bench->folder, "other-client.key");
    const exchanged_t *got = http_bench_exchange(&bench->http, &request);
    print_message("%s\n", got->error);
    assert_int_equal(got->end, EXCHANGE_TLS);
    child_stop(&server);
}

static void test_client_certificate(void **state)
{
    bench_t *bench = *state;
    child_t server;
    int port = serve(bench, &server, "good", "ca");
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++) {
        exchange_request_t request =
            http_bench_request(http_bench_url(&bench->http, "https://localhost", port, "ok"));
        request.ca_file = folder_file(bench->folder, "ca.pem");
        if (clients[i].certificate) {
            request.cert_file = folder_file(bench->folder, clients[i].certificate);
            request.key_file = folder_file(bench->folder, clients[i].key);
        }
        const exchanged_t *got = http_bench_exchange(&bench->http, &request);
        print_message("%zu: %s\n", i, got->error);
        assert_int_equal(got->end, clients[i].end);
        assert_memory_equal(got->error, clients[i].error, strlen(clients[i].error));
    }
    child_stop(&server);
}

static void test_ca_file_missing(void **state)
{
    bench_t *bench = *state;
    child_t server;
    int port = serve(bench, &server, "good", NULL);
    exchange_request_t request =
        http_bench_request(http_bench_url(&bench->http, "https://localhost", port, "ok"));
    request.ca_file = "/no/such/ca.pem";
    const exchanged_t *got = http_bench_exchange(&bench->http, &request);
    assert_int_equal(got->end, EXCHANGE_INVALID);
    assert_string_equal(got->error, "CA file cannot be read (/no/such/ca.pem)");
    child_stop(&server);
}

/* --- nginx ----------------------------------------------------------------------------------- */

typedef struct {
    int plain, tls, clear, old; /* ports */
} nginx_t;

static void replace(buf_t *text, const char *what, const char *with)
{
    AUTO_BUF whole = {0};
    ENSURE(text->data);
    for (char *at = text->data, *found;; at = found + strlen(what)) {
        found = strstr(at, what);
        buf_add(&whole, at, found ? (size_t)(found - at) : strlen(at));
        if (!found)
            break;
        buf_add_str(&whole, with);
    }
    buf_clear(text);
    buf_add_slice(text, buf_slice(&whole));
}

static void replace_int(buf_t *text, const char *what, int with)
{
    char number[16];
    snprintf(number, sizeof number, "%d", with);
    replace(text, what, number);
}

static void read_template(buf_t *to)
{
    char *root = child_root(), chunk[4096];
    AUTO_BUF path = {0};
    buf_printf(&path, "%s/tests/support/nginx.conf", root);
    free(root);
    FILE *file = fopen(path.data, "re");
    assert_non_null(file);
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;)
        buf_add(to, chunk, n);
    fclose(file);
}

static bool accepts(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = connect(fd, (struct sockaddr *)&address, sizeof address);
    close(fd);
    return rc == 0;
}

static void nginx_start(bench_t *bench, nginx_t *nginx)
{
    AUTO_BUF text = {0};
    const char *conf = folder_file(bench->folder, "nginx.conf");
    nginx->plain = http_bench_free_port();
    nginx->tls = http_bench_free_port();
    nginx->clear = http_bench_free_port();
    nginx->old = http_bench_free_port();
    read_template(&text);
    replace(&text, "@DIR@", bench->folder->path);
    replace_int(&text, "@PLAIN@", nginx->plain);
    replace_int(&text, "@TLS@", nginx->tls);
    replace_int(&text, "@CLEAR@", nginx->clear);
    replace_int(&text, "@OLD@", nginx->old);
    FILE *file = fopen(conf, "we");
    assert_non_null(file);
    fwrite(text.data, 1, text.size, file);
    fclose(file);
    child_start(&bench->nginx, (const char *const[]){"/usr/sbin/nginx", "-p", bench->folder->path,
                                                     "-c", conf, NULL});
    for (int i = 0; i < 2000 && !accepts(nginx->old); i++) /* listens on all before it accepts */
        zclock_sleep(10);
    assert_true(accepts(nginx->old));
}

static void nginx_plain(bench_t *bench, const nginx_t *nginx)
{
    static const char *const headers[] = {"Content-Type: application/json", "X-Own: mine", NULL};
    exchange_request_t request =
        http_bench_request(http_bench_url(&bench->http, "http://127.0.0.1", nginx->plain, "any"));
    request.headers = headers;
    for (int i = 0; i < 30; i++) { /* nginx closes after ten requests, and says so */
        const exchanged_t *got = http_bench_exchange(&bench->http, &request);
        assert_int_equal(got->status, 200);
        assert_string_equal(got->response, "POST application/json mine"); /* not compressed */
        assert_int_equal(http_bench_number(got, "x-request: "), i % 10 + 1);
    }
    char large[8192];
    memset(large, 'x', sizeof large);
    request.body = (slice_t){large, sizeof large};
    assert_int_equal(http_bench_exchange(&bench->http, &request)->status, 413);
    request =
        http_bench_request(http_bench_url(&bench->http, "http://127.0.0.1", nginx->plain, "cut"));
    assert_string_equal(http_bench_exchange(&bench->http, &request)->error,
                        "connection closed without an answer");
}

static void nginx_tls(bench_t *bench, const nginx_t *nginx)
{
    exchange_request_t request =
        http_bench_request(http_bench_url(&bench->http, "https://localhost", nginx->tls, ""));
    request.ca_file = folder_file(bench->folder, "ca.pem");
    assert_string_equal(http_bench_exchange(&bench->http, &request)->response, "HTTP/1.1 NONE");
    request.cert_file = folder_file(bench->folder, "client.pem");
    request.key_file = folder_file(bench->folder, "client.key");
    assert_string_equal(http_bench_exchange(&bench->http, &request)->response, "HTTP/1.1 SUCCESS");
    request.http2 = true;
    for (int i = 1; i < 5; i++) {
        const exchanged_t *got = http_bench_exchange(&bench->http, &request);
        assert_string_equal(got->response, "HTTP/2.0 SUCCESS");
        assert_memory_equal(got->headers, "HTTP/2 200", 10);
        assert_int_equal(http_bench_number(got, "x-request: "), i);
    }
}

/* HTTP/2 without TLS, also several at a time. */
static void nginx_clear(bench_t *bench, const nginx_t *nginx)
{
    exchange_request_t request =
        http_bench_request(http_bench_url(&bench->http, "http://127.0.0.1", nginx->clear, ""));
    request.http2 = true;
    for (int i = 0; i < 3; i++)
        assert_string_equal(http_bench_exchange(&bench->http, &request)->response, "HTTP/2.0");
    size_t first = bench->http.ex.n;
    for (int i = 0; i < 4; i++)
        http_bench_send(&bench->http, &request, NULL);
    assert_true(exchanges_wait(&bench->http.ex, first + 4));
    for (size_t i = first; i < first + 4; i++)
        assert_string_equal(bench->http.ex.results[i].response, "HTTP/2.0");
}

static void nginx_old(bench_t *bench, const nginx_t *nginx)
{
    exchange_request_t request =
        http_bench_request(http_bench_url(&bench->http, "https://localhost", nginx->old, ""));
    request.ca_file = folder_file(bench->folder, "ca.pem");
    const exchanged_t *got = http_bench_exchange(&bench->http, &request);
    print_message("old: %s\n", got->error);
    assert_int_equal(got->end, EXCHANGE_TLS);
    assert_memory_equal(got->error, "TLS handshake failed: ", 22);
}

static void test_nginx(void **state)
{
    bench_t *bench = *state;
    nginx_t nginx;
    nginx_start(bench, &nginx);
    nginx_plain(bench, &nginx);
    nginx_tls(bench, &nginx);
    nginx_clear(bench, &nginx);
    nginx_old(bench, &nginx);
}

/* The server knows no HTTP/2: what is asked for is not what is spoken. */
static void test_endless_framing_though_http2_was_asked_for(void **state)
{
    bench_t *bench = *state;
    child_t server;
    int port = serve(bench, &server, "good", NULL);
    exchange_request_t request = http_bench_request(
        http_bench_url(&bench->http, "https://localhost", port, "endless-chunk"));
    request.ca_file = folder_file(bench->folder, "ca.pem");
    request.http2 = true;
    const exchanged_t *got = http_bench_exchange(&bench->http, &request);
    assert_string_equal(got->error, "malformed answer: framing without end");
    child_stop(&server);
}

#define TLS_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_TEST(test_certificates),
        TLS_TEST(test_reuse),
        TLS_TEST(test_endless_framing_though_http2_was_asked_for),
        TLS_TEST(test_not_tls),
        TLS_TEST(test_tls_only),
        TLS_TEST(test_client_certificate),
        TLS_TEST(test_client_certificate_unknown),
        TLS_TEST(test_ca_file_missing),
        TLS_TEST(test_nginx),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("http_tls", tests, setup_group, folder_teardown);
}
