#include "services/deliverer/http_multi.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clk.h"
#include "common/base/mem.h"
#include "services/deliverer/http_error.h"
#include "services/deliverer/http_exchange.h"
#include "services/deliverer/watch.h"

enum { POOL_MAX = 64 /* easy handles kept while no request needs them */ };

struct http_multi_t {
    exchange_done_fn *done;
    void *owner;
    CURLM *multi;
    watch_t *watch;
    int64_t curl_due_us; /* when curl wants to be called; INT64_MAX: not */
    heap_t *deadlines;   /* of every exchange in flight, in us */
    http_exchange_t *pool;
    size_t n_pool;
    bool reading; /* within read_messages: what ends meanwhile is seen there */
    http_common_t common;
    char *system_ca; /* what curl was built with; NULL: nothing */
};

/* --- curl's callbacks ------------------------------------------------------------------------ */

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
    http_multi_t *self = arg;
    (void)multi;
    self->curl_due_us = timeout_ms < 0 ? INT64_MAX : clk_mono_us() + (int64_t)timeout_ms * 1000;
    return 0;
}

/* Sockets of connections carry self as tag from the moment they are made. Others (the resolver's)
 * curl closes without a word after CURL_POLL_REMOVE. */
static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    http_multi_t *self = arg;
    (void)easy;
    (void)socket_arg;
    void *tag = watch_tag(self->watch, fd);
    unsigned events = (what & CURL_POLL_IN ? WATCH_IN : 0) | (what & CURL_POLL_OUT ? WATCH_OUT : 0);
    if (what == CURL_POLL_REMOVE && tag != self)
        watch_forget(self->watch, fd);
    else
        watch_set(self->watch, fd, tag, what == CURL_POLL_REMOVE ? 0 : events);
    return 0;
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    http_exchange_t *exchange = arg;
    http_multi_t *self = exchange->common->sockets_owner;
    (void)purpose;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    exchange->starved = fd < 0 && (errno == EMFILE || errno == ENFILE);
    if (fd >= 0) {
        watch_forget(self->watch, fd); /* curl closes what never got connected without on_close */
        watch_set(self->watch, fd, self, 0);
    }
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int on_close(void *arg, curl_socket_t fd)
{
    http_multi_t *self = arg;
    watch_forget(self->watch, fd);
    return close(fd);
}

/* --- exchanges ------------------------------------------------------------------------------- */

static http_exchange_t *take_exchange(http_multi_t *self)
{
    http_exchange_t *exchange = self->pool;
    if (!exchange)
        return http_exchange_new(&self->common);
    self->pool = exchange->next;
    self->n_pool--;
    return exchange;
}

static void give_exchange(http_multi_t *self, http_exchange_t *exchange)
{
    if (self->n_pool >= POOL_MAX) {
        http_exchange_destroy(&exchange);
        return;
    }
    http_exchange_trim(exchange);
    exchange->next = self->pool;
    self->pool = exchange;
    self->n_pool++;
}

/* --- the loop -------------------------------------------------------------------------------- */

/* Asks for the next moment at which curl or a deadline is due. */
static void schedule(http_multi_t *self)
{
    const heap_node_t *first = heap_first(self->deadlines);
    int64_t due_us = first && first->key < self->curl_due_us ? first->key : self->curl_due_us;
    watch_at(self->watch, due_us);
}

static http_progress_t progress_of(const http_exchange_t *exchange)
{
    return (http_progress_t){
        .request = &exchange->request,
        .response = &exchange->response,
        .easy = exchange->easy,
        .curl_text = exchange->curl_text,
        .connected = exchange->n_tries > 0,
    };
}

static void finish(http_multi_t *self, http_exchange_t *exchange, exchange_end_t end, slice_t error)
{
    http_response_t *response = &exchange->response;
    exchange_result_t result = {
        .end = end,
        .status = end == EXCHANGE_ANSWERED ? response->status : 0,
        .error = error,
        .response = buf_slice(&response->body),
        .response_headers = buf_slice(&response->headers),
        .duration_us = clk_mono_us() - exchange->begun_us,
    };
    if (response->retry_after_size)
        result.retry_after = (slice_t){response->retry_after, response->retry_after_size};
    curl_multi_remove_handle(self->multi, exchange->easy);
    heap_remove(self->deadlines, &exchange->deadline);
    self->done(self->owner, exchange->tag, &result);
    give_exchange(self, exchange);
}

#define SET_MULTI(multi, option, value) ENSURE(curl_multi_setopt(multi, option, value) == CURLM_OK)

static bool is_descriptor_left(void)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    bool none = fd < 0 && (errno == EMFILE || errno == ENFILE);
    if (fd >= 0)
        close(fd);
    return !none;
}

/* The resolver and TLS need descriptors as well, and have other words for it that there is none. */
static bool is_starved(const http_exchange_t *exchange)
{
    return exchange->n_tries == 0 && (exchange->starved || !is_descriptor_left());
}

static void on_ended(http_multi_t *self, http_exchange_t *exchange, CURLcode code)
{
    AUTO_BUF text = {0};
    if (code == CURLE_OK || exchange->response.reading == HTTP_ENOUGH) {
        finish(self, exchange, EXCHANGE_ANSWERED, (slice_t){0});
        return;
    }
    if (is_starved(exchange)) { /* from now on a new connection takes the place of an idle one */
        SET_MULTI(self->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, 1L);
        finish(self, exchange, EXCHANGE_STARVED, SLICE("no file descriptor is left"));
        return;
    }
    http_progress_t progress = progress_of(exchange);
    bool late = code == CURLE_ABORTED_BY_CALLBACK && exchange->response.reading != HTTP_ENDLESS;
    exchange_end_t end =
        late ? http_error_timeout(&progress, &text) : http_error(&progress, code, &text);
    finish(self, exchange, end, buf_slice(&text));
}

/* done calls may send requests that end at once, so there is a bound; the rest is for the next
 * turn. */
static void read_messages(http_multi_t *self)
{
    size_t left = 2 * heap_size(self->deadlines) + 16;
    const CURLMsg *message;
    int n_queued;
    self->reading = true;
    for (; left > 0 && (message = curl_multi_info_read(self->multi, &n_queued)); left--) {
        http_exchange_t *exchange;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
        on_ended(self, exchange, code);
    }
    self->reading = false;
    if (left == 0)
        watch_at(self->watch, 0);
}

/* curl's timer fires once: called for it, curl tells the next moment if there is one. */
static int act(http_multi_t *self, curl_socket_t fd, int events)
{
    int running = 0;
    if (fd == CURL_SOCKET_TIMEOUT)
        self->curl_due_us = INT64_MAX;
    CURLMcode code = curl_multi_socket_action(self->multi, fd, events, &running);
    if (code != CURLM_OK && code != CURLM_BAD_SOCKET)
        PANIC("curl_multi_socket_action: %s", curl_multi_strerror(code));
    return running;
}

static void on_ready(void *owner, int fd, void *tag, unsigned events)
{
    http_multi_t *self = owner;
    (void)tag;
    act(self, fd,
        (events & WATCH_IN ? CURL_CSELECT_IN : 0) | (events & WATCH_OUT ? CURL_CSELECT_OUT : 0) |
            (events & WATCH_ERROR ? CURL_CSELECT_ERR : 0));
}

static void on_turn(void *owner)
{
    http_multi_t *self = owner;
    read_messages(self);
    schedule(self);
}

static void on_due(void *owner)
{
    http_multi_t *self = owner;
    int64_t now_us = clk_mono_us();
    if (self->curl_due_us <= now_us) {
        act(self, CURL_SOCKET_TIMEOUT, 0);
        read_messages(self);
    }
    heap_node_t *first;
    while ((first = heap_first(self->deadlines)) && first->key <= now_us) {
        AUTO_BUF text = {0};
        http_exchange_t *exchange = HEAP_ENTRY(first, http_exchange_t, deadline);
        http_progress_t progress = progress_of(exchange);
        exchange_end_t end = http_error_timeout(&progress, &text);
        finish(self, exchange, end, buf_slice(&text));
    }
    schedule(self);
}

/* --- public ---------------------------------------------------------------------------------- */

static char *default_ca(void)
{
    CURL *easy = curl_easy_init();
    char *path = NULL;
    ENSURE(easy);
    curl_easy_getinfo(easy, CURLINFO_CAINFO, &path);
    path = path ? mem_strdup(path) : NULL;
    curl_easy_cleanup(easy);
    return path;
}

http_multi_t *http_multi_new(zloop_t *loop, int connections_max, exchange_done_fn *done,
                             void *owner)
{
    static const watch_calls_t calls = {on_ready, on_turn, on_due};
    http_multi_t *self = MEM_NEW(http_multi_t);
    self->done = done;
    self->owner = owner;
    self->curl_due_us = INT64_MAX;
    self->deadlines = heap_new();
    self->watch = watch_new(loop, &calls, self);
    self->system_ca = default_ca();
    self->common = (http_common_t){on_open, on_close, self, self->system_ca};
    self->multi = curl_multi_init();
    ENSURE(self->multi);
    SET_MULTI(self->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    SET_MULTI(self->multi, CURLMOPT_SOCKETDATA, self);
    SET_MULTI(self->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    SET_MULTI(self->multi, CURLMOPT_TIMERDATA, self);
    SET_MULTI(self->multi, CURLMOPT_MAXCONNECTS, (long)(connections_max > 0 ? connections_max : 1));
    return self;
}

void http_multi_destroy(http_multi_t **multi)
{
    http_multi_t *self = *multi;
    if (!self)
        return;
    heap_node_t *first;
    while ((first = heap_first(self->deadlines))) {
        http_exchange_t *exchange = HEAP_ENTRY(first, http_exchange_t, deadline);
        heap_remove(self->deadlines, first);
        curl_multi_remove_handle(self->multi, exchange->easy);
        http_exchange_destroy(&exchange);
    }
    for (http_exchange_t *exchange = self->pool, *next; exchange; exchange = next) {
        next = exchange->next;
        http_exchange_destroy(&exchange);
    }
    curl_multi_cleanup(self->multi); /* closes connections: needs watch */
    watch_destroy(&self->watch);
    heap_destroy(&self->deadlines);
    free(self->system_ca);
    free(self);
    *multi = NULL;
}

void http_multi_send(http_multi_t *self, const exchange_request_t *request, void *tag)
{
    http_exchange_t *exchange = take_exchange(self);
    http_exchange_begin(exchange, request, tag);
    ENSURE(curl_multi_add_handle(self->multi, exchange->easy) == CURLM_OK);
    heap_push(self->deadlines, &exchange->deadline, http_exchange_deadline_us(exchange));
    /* starts it at once, without a turn of the loop for curl's timer */
    int running = act(self, CURL_SOCKET_TIMEOUT, 0);
    if (!self->reading && (size_t)running < heap_size(self->deadlines))
        watch_at(self->watch, 0); /* one has ended already; done is called by the loop */
    schedule(self);
}

size_t http_multi_in_flight(const http_multi_t *self)
{
    return heap_size(self->deadlines);
}

void http_multi_unstarve(http_multi_t *self)
{
    SET_MULTI(self->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, 0L);
}
