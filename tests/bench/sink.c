/* sink: the least that can be called an HTTP handler, for the benchmark. One thread, epoll, every
 * POST is answered 200.
 *
 * Usage: sink [--delay-us N] [--tls CERT KEY] [--port N]; prints its port, runs until its standard
 * input ends. GET /report answers JSON: requests, first and last arrival (ns, monotonic clock), and
 * quantiles of the time since the "t" (ns) in the body was written; GET /count the same without the
 * quantiles, which cost time. GET /reset forgets them. After GET /fail each POST is answered 503
 * and not counted, until GET /ok. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/samples.h"

enum { FDS_MAX = 65536, BUFFER_BYTES = 65536, EVENTS = 256, WAITING_MAX = 65536 };

typedef struct {
    char *data; /* BUFFER_BYTES; kept for the next connection of this descriptor */
    size_t used;
    SSL *ssl;
    unsigned generation; /* an answer that waits is not for a later connection */
} connection_t;

typedef struct {
    int fd;
    unsigned generation;
    int64_t due_ns;
} waiting_t;

typedef struct {
    int epoll_fd, listen_fd;
    SSL_CTX *tls;
    int64_t delay_ns;
    bool failing;
    connection_t connections[FDS_MAX];
    waiting_t waiting[WAITING_MAX]; /* a ring: the delay is the same for all */
    size_t first, n_waiting;
    int64_t requests, first_ns, last_ns;
    samples_t samples;
} sink_t;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static ssize_t sink_read(connection_t *c, int fd)
{
    size_t room = BUFFER_BYTES - c->used;
    if (!c->ssl)
        return recv(fd, c->data + c->used, room, MSG_DONTWAIT);
    ERR_clear_error(); /* of another connection */
    int n = SSL_read(c->ssl, c->data + c->used, (int)room);
    if (n > 0)
        return n;
    errno = SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ ? EAGAIN : EPIPE;
    return errno == EAGAIN ? -1 : 0;
}

/* Answers are small: the socket's buffer takes them whole. */
static void sink_write(connection_t *c, int fd, const char *text, size_t size)
{
    ssize_t n = c->ssl ? SSL_write(c->ssl, text, (int)size) : send(fd, text, size, MSG_NOSIGNAL);
    (void)n; /* the peer is gone: the next read tells */
}

static void answer_ok(connection_t *c, int fd)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    sink_write(c, fd, ok, sizeof ok - 1);
}

static void answer_failed(connection_t *c, int fd)
{
    static const char failed[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    sink_write(c, fd, failed, sizeof failed - 1);
}

/* All of them answer the report as it was before. */
static void on_get(sink_t *sink, int fd, const char *path)
{
    char quantiles[160] = "\"p50_us\":null", body[400], text[512];
    if (strncmp(path, "/count", 6) != 0)
        samples_print(&sink->samples, quantiles, sizeof quantiles);
    int size = snprintf(
        body, sizeof body, "{\"requests\":%lld,\"first_ns\":%lld,\"last_ns\":%lld,%s}",
        (long long)sink->requests, (long long)sink->first_ns, (long long)sink->last_ns, quantiles);
    if (strncmp(path, "/fail", 5) == 0 || strncmp(path, "/ok", 3) == 0)
        sink->failing = path[1] == 'f';
    if (strncmp(path, "/reset", 6) == 0)
        sink->requests = sink->first_ns = sink->last_ns = (int64_t)(sink->samples.n = 0);
    size =
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, body);
    sink_write(&sink->connections[fd], fd, text, (size_t)size);
}

static void answer_later(sink_t *sink, int fd, int64_t at_ns)
{
    if (sink->n_waiting == WAITING_MAX)
        fail("too many requests wait");
    sink->waiting[(sink->first + sink->n_waiting++) % WAITING_MAX] =
        (waiting_t){fd, sink->connections[fd].generation, at_ns + sink->delay_ns};
}

static void on_post(sink_t *sink, int fd, const char *body, size_t size, int64_t at_ns)
{
    const char *t = memmem(body, size, "\"t\":", 4);
    if (sink->failing) {
        answer_failed(&sink->connections[fd], fd);
        return;
    }
    if (sink->requests++ == 0)
        sink->first_ns = at_ns;
    sink->last_ns = at_ns;
    if (t)
        samples_add(&sink->samples, at_ns - strtoll(t + 4, NULL, 10));
    if (sink->delay_ns)
        answer_later(sink, fd, at_ns);
    else
        answer_ok(&sink->connections[fd], fd);
}

/* The size of the first request in the buffer; 0: it is not complete. */
static size_t take_request(sink_t *sink, int fd, char *data, size_t size, int64_t at_ns)
{
    char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head = (size_t)(end - data) + 4;
    if (strncmp(data, "GET ", 4) == 0) {
        on_get(sink, fd, data + 4);
        return head;
    }
    char *length = memmem(data, head, "Content-Length: ", 16);
    size_t body = length ? strtoul(length + 16, NULL, 10) : 0;
    if (head + body > size)
        return 0;
    on_post(sink, fd, data + head, body, at_ns);
    return head + body;
}

static void hang_up(sink_t *sink, int fd)
{
    connection_t *c = &sink->connections[fd];
    SSL_free(c->ssl);
    c->ssl = NULL;
    c->used = 0;
    c->generation++;
    close(fd);
}

static void on_readable(sink_t *sink, int fd)
{
    connection_t *c = &sink->connections[fd];
    ssize_t n;
    do {
        n = sink_read(c, fd);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            hang_up(sink, fd);
            return;
        }
        size_t taken = 0, size;
        c->used += n > 0 ? (size_t)n : 0;
        int64_t at_ns = now_ns();
        while (c->used > taken &&
               (size = take_request(sink, fd, c->data + taken, c->used - taken, at_ns)))
            taken += size;
        c->used -= taken;
        memmove(c->data, c->data + taken, c->used);
    } while (n > 0 && c->ssl); /* what TLS has decrypted already, epoll does not see */
}

static void on_connect(sink_t *sink)
{
    int one = 1, fd = accept4(sink->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (fd >= FDS_MAX) {
        close(fd);
        return;
    }
    connection_t *c = &sink->connections[fd];
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!c->data && !(c->data = malloc(BUFFER_BYTES)))
        fail("malloc");
    if (sink->tls) {
        c->ssl = SSL_new(sink->tls);
        SSL_set_fd(c->ssl, fd);
        SSL_set_accept_state(c->ssl);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(sink->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll_ctl");
}

static void answer_due(sink_t *sink)
{
    while (sink->n_waiting && sink->waiting[sink->first].due_ns <= now_ns()) {
        waiting_t *waiting = &sink->waiting[sink->first];
        connection_t *c = &sink->connections[waiting->fd];
        if (c->generation == waiting->generation)
            answer_ok(c, waiting->fd);
        sink->first = (sink->first + 1) % WAITING_MAX;
        sink->n_waiting--;
    }
}

static void run(sink_t *sink)
{
    struct epoll_event events[EVENTS];
    for (;;) {
        struct timespec rest = {0};
        if (sink->n_waiting) {
            int64_t left_ns = sink->waiting[sink->first].due_ns - now_ns();
            rest.tv_nsec = left_ns > 0 ? left_ns % 1000000000 : 0;
            rest.tv_sec = left_ns > 0 ? left_ns / 1000000000 : 0;
        }
        int n = epoll_pwait2(sink->epoll_fd, events, EVENTS, sink->n_waiting ? &rest : NULL, NULL);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == STDIN_FILENO)
                return;
            if (events[i].data.fd == sink->listen_fd)
                on_connect(sink);
            else
                on_readable(sink, events[i].data.fd);
        }
        answer_due(sink);
    }
}

static SSL_CTX *tls_new(const char *certificate, const char *key)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (!tls || SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
        fprintf(stderr, "sink: cannot use %s and %s\n", certificate, key);
        exit(1);
    }
    return tls;
}

static void sink_listen(sink_t *sink, int port)
{
    int one = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons((uint16_t)port),
    };
    socklen_t size = sizeof address;
    sink->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(sink->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(sink->listen_fd, (struct sockaddr *)&address, size) != 0 ||
        listen(sink->listen_fd, 1024) != 0 ||
        getsockname(sink->listen_fd, (struct sockaddr *)&address, &size) != 0)
        fail("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

static void sink_watch(sink_t *sink)
{
    struct epoll_event on_listen = {.events = EPOLLIN, .data.fd = sink->listen_fd};
    struct epoll_event on_stdin = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    sink->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ctl(sink->epoll_fd, EPOLL_CTL_ADD, sink->listen_fd, &on_listen) != 0 ||
        epoll_ctl(sink->epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &on_stdin) != 0)
        fail("epoll_ctl");
}

int main(int argc, char **argv)
{
    sink_t *sink = calloc(1, sizeof *sink);
    int port = 0;
    if (!sink)
        fail("calloc");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--delay-us") == 0 && i + 1 < argc)
            sink->delay_ns = strtoll(argv[++i], NULL, 10) * 1000;
        else if (strcmp(argv[i], "--port") == 0 && i + 1 < argc)
            port = atoi(argv[++i]);
        else if (strcmp(argv[i], "--tls") == 0 && i + 2 < argc) {
            sink->tls = tls_new(argv[i + 1], argv[i + 2]);
            i += 2;
        }
    }
    struct rlimit files = {FDS_MAX, FDS_MAX};
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    sink_listen(sink, port);
    sink_watch(sink);
    run(sink);
    free(sink);
    return 0;
}
