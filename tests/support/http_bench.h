/* http_bench: an http_t on a loop with servers for it to talk to. */
#ifndef PROVISOR_HTTP_BENCH_H
#define PROVISOR_HTTP_BENCH_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/support/child.h"
#include "tests/support/exchanges.h"
#include "common/base/cleanup.h"
#include "services/deliverer/http.h"

typedef struct {
    exchanges_t ex;
    http_t *http;
    char url[256];
} http_bench_t;

static const char *const http_bench_headers[] = {"Content-Type: application/json", NULL};

static inline void http_bench_init(http_bench_t *bench)
{
    memset(bench, 0, sizeof *bench);
    exchanges_init(&bench->ex);
    bench->http = http_new(bench->ex.loop, 16, exchanges_done, &bench->ex);
}

static inline void http_bench_release(http_bench_t *bench)
{
    http_destroy(&bench->http);
    exchanges_release(&bench->ex);
}

/* Starts http_server.py with up to five arguments (NULL: none) and returns its port. */
static inline int http_bench_server(child_t *server, const char *const arguments[5])
{
    char *root = child_root();
    AUTO_BUF path = {0};
    buf_printf(&path, "%s/tests/support/http_server.py", root);
    free(root);
    const char *argv[8] = {"/usr/bin/python3", path.data};
    for (int i = 0; arguments && i < 5 && arguments[i]; i++)
        argv[2 + i] = arguments[i];
    child_start(server, argv);
    return child_read_int(server);
}

/* scheme://host:port/path; lives until the next one. */
static inline const char *http_bench_url(http_bench_t *bench, const char *origin, int port,
                                         const char *path)
{
    snprintf(bench->url, sizeof bench->url, "%s:%d/%s", origin, port, path);
    return bench->url;
}

static inline exchange_request_t http_bench_request(const char *url)
{
    return (exchange_request_t){
        .url = url,
        .body = SLICE("{\"event\":{}}"),
        .headers = http_bench_headers,
        .timeout_ms = 20000,
        .connect_timeout_ms = 5000,
        .response_max_bytes = 16384,
    };
}

static inline void http_bench_send(http_bench_t *bench, const exchange_request_t *request,
                                   void *tag)
{
    bench->ex.sending = true;
    http_send(bench->http, request, tag);
    bench->ex.sending = false;
}

/* Sends one request and waits for its result, which lives until the next one. */
static inline const exchanged_t *http_bench_exchange(http_bench_t *bench,
                                                     const exchange_request_t *request)
{
    exchanges_clear(&bench->ex);
    http_bench_send(bench, request, bench);
    ENSURE(http_in_flight(bench->http) == 1);
    ENSURE(exchanges_wait(&bench->ex, 1));
    ENSURE(http_in_flight(bench->http) == 0);
    ENSURE(bench->ex.results[0].tag == bench);
    return &bench->ex.results[0];
}

/* The number behind "name: " in the response's headers; -1: there is none. */
static inline int http_bench_number(const exchanged_t *got, const char *name)
{
    const char *at = strstr(got->headers, name);
    return at ? atoi(at + strlen(name)) : -1;
}

/* A port that nobody listens on: bound and closed again. */
static inline int http_bench_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ENSURE(bind(fd, (struct sockaddr *)&address, size) == 0);
    ENSURE(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    close(fd);
    return ntohs(address.sin_port);
}

#endif
