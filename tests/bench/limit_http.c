/* limit_http: how many requests libcurl makes when nothing else is done, for the benchmark: the
 * same body and headers again and again, over kept connections.
 *
 * Usage: limit_http URL CONCURRENT SECONDS [BODY_BYTES [CA_FILE]]; prints requests per second. */
#include <curl/curl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>

#include "tests/bench/samples.h"

enum { EVENTS = 256 };

typedef struct {
    CURLM *multi;
    int epoll_fd;
    int64_t due_ns; /* when curl wants to be called; 0: not */
    int64_t done, failed;
} limit_t;

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    limit_t *limit = arg;
    (void)multi;
    limit->due_ns = timeout_ms < 0 ? 0 : now_ns() + timeout_ms * 1000000;
    return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    limit_t *limit = arg;
    struct epoll_event event = {.data.fd = fd};
    (void)easy;
    event.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
    if (what == CURL_POLL_REMOVE)
        epoll_ctl(limit->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    else
        epoll_ctl(limit->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    curl_multi_assign(limit->multi, fd, what == CURL_POLL_REMOVE ? NULL : limit);
    return 0;
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
    (void)data;
    (void)arg;
    return one * size;
}

static CURL *easy_new(const char *url, const char *body, const char *ca_file,
                      struct curl_slist *headers)
{
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    if (ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
    return easy;
}

/* Each handle that has ended begins again. */
static void begin_again(limit_t *limit)
{
    const CURLMsg *message;
    int n_queued;
    while ((message = curl_multi_info_read(limit->multi, &n_queued))) {
        CURL *easy = message->easy_handle;
        if (message->data.result == CURLE_OK)
            limit->done++;
        else if (limit->failed++ == 0)
            fprintf(stderr, "limit_http: %s\n", curl_easy_strerror(message->data.result));
        curl_multi_remove_handle(limit->multi, easy);
        curl_multi_add_handle(limit->multi, easy);
    }
}

static void turn(limit_t *limit)
{
    struct epoll_event events[EVENTS];
    int running;
    int64_t left_ns = limit->due_ns ? limit->due_ns - now_ns() : 100000000;
    int n = epoll_wait(limit->epoll_fd, events, EVENTS, left_ns > 0 ? (int)(left_ns / 1000000) : 0);
    for (int i = 0; i < n; i++) {
        int what = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(limit->multi, events[i].data.fd, what, &running);
    }
    begin_again(limit);
    if (limit->due_ns && limit->due_ns <= now_ns()) {
        limit->due_ns = 0;
        curl_multi_socket_action(limit->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        begin_again(limit);
    }
}

/* What the pipeline sends with each event. */
static struct curl_slist *headers_new(void)
{
    static const char *const lines[] = {
        "Content-Type: application/json",
        "User-Agent: provisor/0.1.0",
        "webhook-id: 01JGFJJZ000000000000000000",
        "webhook-timestamp: 1767225600",
        "webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        "Accept:",
        "Expect:",
    };
    struct curl_slist *headers = NULL;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        headers = curl_slist_append(headers, lines[i]);
    return headers;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "limit_http URL CONCURRENT SECONDS [BODY_BYTES [CA_FILE]]\n");
        return 1;
    }
    int concurrent = atoi(argv[2]);
    size_t size = argc > 4 ? strtoul(argv[4], NULL, 10) : 400;
    limit_t limit = {.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    char *body = malloc(size + 1);
    memset(body, 'x', size);
    body[size] = 0;
    curl_global_init(CURL_GLOBAL_ALL);
    struct curl_slist *headers = headers_new();
    limit.multi = curl_multi_init();
    curl_multi_setopt(limit.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(limit.multi, CURLMOPT_SOCKETDATA, &limit);
    curl_multi_setopt(limit.multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(limit.multi, CURLMOPT_TIMERDATA, &limit);
    curl_multi_setopt(limit.multi, CURLMOPT_MAXCONNECTS, (long)concurrent);
    for (int i = 0; i < concurrent; i++)
        curl_multi_add_handle(limit.multi,
                              easy_new(argv[1], body, argc > 5 ? argv[5] : NULL, headers));

    int64_t begun_ns = now_ns(), end_ns = begun_ns + (int64_t)(atof(argv[3]) * 1e9);
    while (now_ns() < end_ns && limit.failed < 1000)
        turn(&limit);
    printf("%.0f\n", (double)limit.done * 1e9 / (double)(now_ns() - begun_ns));
    free(body);
    return limit.done > 0 && limit.failed == 0 ? 0 : 1;
}
