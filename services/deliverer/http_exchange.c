#include "services/deliverer/http_exchange.h"

#include <stdlib.h>
#include <strings.h>

#include "common/base/clk.h"
#include "common/base/mem.h"

enum {
    KEPT_BODY_BYTES = 4096, /* memory for a body that stays with an idle handle */
    READ_BYTES = 4096,      /* by one read; curl makes up to 100 in a round */
    ROUNDS_UNSEEN = 8,      /* behind the headers; few answers take more */
    FRAMING_MAX = 1 << 20,  /* far more than chunks and trailers need */
    FRAMING_PER_BYTE = 64,  /* of the body, if each byte has a chunk of its own */
    CA_CACHE_S = 60,        /* a CA file that was replaced is read again after this long */
};

#define SET(easy, option, value) ENSURE(curl_easy_setopt(easy, option, value) == CURLE_OK)

/* After a stall there may be a connection, but no time left to ask on it. */
static int on_connected(void *arg, char *peer_ip, char *own_ip, int peer_port, int own_port)
{
    http_exchange_t *exchange = arg;
    (void)peer_ip;
    (void)own_ip;
    (void)peer_port;
    (void)own_port;
    if (clk_mono_us() >= http_exchange_deadline_us(exchange))
        return CURL_PREREQFUNC_ABORT;
    exchange->n_tries++;
    return CURL_PREREQFUNC_OK;
}

/* Asked for, it may still not be what the handler speaks. */
static bool is_http2(const http_exchange_t *exchange)
{
    long version = CURL_HTTP_VERSION_1_1;
    if (exchange->request.http2)
        curl_easy_getinfo(exchange->easy, CURLINFO_HTTP_VERSION, &version);
    return version == CURL_HTTP_VERSION_2;
}

static size_t on_header(char *data, size_t one, size_t size, void *arg)
{
    http_exchange_t *exchange = arg;
    bool goes_on = http_response_header(&exchange->response, (slice_t){data, size});
    if (exchange->response.headers_done && !is_http2(exchange))
        SET(exchange->easy, CURLOPT_NOPROGRESS, 0L);
    return goes_on ? size * one : 0;
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
    http_exchange_t *exchange = arg;
    return http_response_body(&exchange->response, (slice_t){data, size}) ? size * one
                                                                          : CURL_WRITEFUNC_ERROR;
}

/* Called once a round, from the end of the headers on. Headers and body are limited; what else
 * comes behind the headers (a chunk's extension, trailers) is not by curl, which comes back to the
 * loop only when no fast handler has more to read. So what comes is held against the body that is
 * in it. Curl tells it when it is verbose, which an answer in few rounds need not pay for. With
 * HTTP/2 frames are limited, and a round may be about another request of the connection. */
static int on_progress(void *arg, curl_off_t down_max, curl_off_t down, curl_off_t up_max,
                       curl_off_t up)
{
    http_exchange_t *exchange = arg;
    (void)down_max, (void)up_max, (void)up;
    if (++exchange->body_rounds == ROUNDS_UNSEEN)
        SET(exchange->easy, CURLOPT_VERBOSE, 1L);
    if (exchange->seen <= FRAMING_MAX + down * FRAMING_PER_BYTE)
        return 0;
    exchange->response.reading = HTTP_ENDLESS;
    return 1;
}

static int on_seen(CURL *easy, curl_infotype what, char *data, size_t size, void *arg)
{
    http_exchange_t *exchange = arg;
    (void)easy, (void)data;
    exchange->seen += what == CURLINFO_DATA_IN ? (int64_t)size : 0;
    return 0;
}

static void set_for_ever(http_exchange_t *exchange)
{
    CURL *easy = exchange->easy;
    const http_common_t *common = exchange->common;
    SET(easy, CURLOPT_PRIVATE, exchange);
    SET(easy, CURLOPT_ERRORBUFFER, exchange->curl_text);
    SET(easy, CURLOPT_NOSIGNAL, 1L);
    /* a resolver that hangs is left behind, it must not hold up the loop */
    SET(easy, CURLOPT_QUICK_EXIT, 1L);
    SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(easy, CURLOPT_FOLLOWLOCATION, 0L);
    SET(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    SET(easy, CURLOPT_PROXY, "");
    SET(easy, CURLOPT_NOPROXY, "*"); /* else the environment is asked at each request */
    SET(easy, CURLOPT_TCP_NODELAY, 1L);
    SET(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(easy, CURLOPT_CAPATH, NULL);
    SET(easy, CURLOPT_CA_CACHE_TIMEOUT, (long)CA_CACHE_S);
    SET(easy, CURLOPT_POST, 1L);
    SET(easy, CURLOPT_HEADERFUNCTION, on_header);
    SET(easy, CURLOPT_HEADERDATA, exchange);
    SET(easy, CURLOPT_WRITEFUNCTION, on_body);
    SET(easy, CURLOPT_WRITEDATA, exchange);
    SET(easy, CURLOPT_BUFFERSIZE, (long)READ_BYTES);
    SET(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(easy, CURLOPT_XFERINFODATA, exchange);
    SET(easy, CURLOPT_DEBUGFUNCTION, on_seen);
    SET(easy, CURLOPT_DEBUGDATA, exchange);
    SET(easy, CURLOPT_PREREQFUNCTION, on_connected);
    SET(easy, CURLOPT_PREREQDATA, exchange);
    SET(easy, CURLOPT_OPENSOCKETFUNCTION, common->on_open);
    SET(easy, CURLOPT_OPENSOCKETDATA, exchange);
    SET(easy, CURLOPT_CLOSESOCKETFUNCTION, common->on_close);
    SET(easy, CURLOPT_CLOSESOCKETDATA, common->sockets_owner);
}

/* The request's headers, and those that curl would add by itself switched off behind them (a name
 * without a value; if the request has the header, that one counts). */
static void set_headers(http_exchange_t *exchange)
{
    static char *const off[] = {"Accept:", "Content-Type:", "Expect:"};
    enum { N_OFF = sizeof off / sizeof *off };
    const char *const *given = exchange->request.headers;
    size_t n = 0, n_given = 0;
    while (given && given[n_given])
        n_given++;
    if (exchange->headers_max < n_given + N_OFF) {
        exchange->headers_max = n_given + N_OFF;
        exchange->headers =
            mem_realloc(exchange->headers, exchange->headers_max * sizeof(struct curl_slist));
    }
    struct curl_slist *nodes = exchange->headers;
    for (; n < n_given + N_OFF; n++) {
        nodes[n].data = n < n_given ? (char *)given[n] : off[n - n_given];
        nodes[n].next = &nodes[n + 1];
    }
    nodes[n - 1].next = NULL;
    SET(exchange->easy, CURLOPT_HTTPHEADER, nodes);
}

static void set_tls(http_exchange_t *exchange)
{
    const exchange_request_t *request = &exchange->request;
    CURL *easy = exchange->easy;
    SET(easy, CURLOPT_SSL_VERIFYPEER, request->tls_insecure ? 0L : 1L);
    SET(easy, CURLOPT_SSL_VERIFYHOST, request->tls_insecure ? 0L : 2L);
    SET(easy, CURLOPT_CAINFO, request->ca_file ? request->ca_file : exchange->common->system_ca);
    SET(easy, CURLOPT_SSLCERT, request->cert_file);
    SET(easy, CURLOPT_SSLKEY, request->key_file);
}

static void set_request(http_exchange_t *exchange)
{
    const exchange_request_t *request = &exchange->request;
    CURL *easy = exchange->easy;
    bool tls = strncasecmp(request->url, "https:", 6) == 0;
    bool clear_http2 = request->http2 && !tls;
    long version = CURL_HTTP_VERSION_1_1;
    if (request->http2)
        version = tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
    if (curl_easy_setopt(easy, CURLOPT_URL, request->url) != CURLE_OK)
        SET(easy, CURLOPT_URL, ""); /* absurdly long: ends as malformed */
    SET(easy, CURLOPT_HTTP_VERSION, version);
    /* libcurl 7.88 breaks off the second request of such a connection (error 16) */
    SET(easy, CURLOPT_FRESH_CONNECT, clear_http2 ? 1L : 0L);
    SET(easy, CURLOPT_FORBID_REUSE, clear_http2 ? 1L : 0L);
    SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size);
    SET(easy, CURLOPT_POSTFIELDS, request->body.data ? request->body.data : "");
    SET(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
    set_headers(exchange);
    if (tls)
        set_tls(exchange);
}

http_exchange_t *http_exchange_new(const http_common_t *common)
{
    http_exchange_t *self = MEM_NEW(http_exchange_t);
    self->common = common;
    self->easy = curl_easy_init();
    ENSURE(self->easy);
    set_for_ever(self);
    return self;
}

void http_exchange_destroy(http_exchange_t **exchange)
{
    http_exchange_t *self = *exchange;
    if (!self)
        return;
    curl_easy_cleanup(self->easy);
    http_response_release(&self->response);
    free(self->headers);
    free(self);
    *exchange = NULL;
}

void http_exchange_begin(http_exchange_t *self, const exchange_request_t *request, void *tag)
{
    self->request = *request;
    self->tag = tag;
    self->begun_us = clk_mono_us();
    /* curl counts retries over the handle's whole life and gives up at the fifth */
    if (self->n_tries > 1) {
        curl_easy_reset(self->easy);
        set_for_ever(self);
    }
    self->n_tries = 0;
    self->starved = false;
    self->body_rounds = 0;
    self->seen = 0;
    SET(self->easy, CURLOPT_VERBOSE, 0L);
    SET(self->easy, CURLOPT_NOPROGRESS, 1L);
    self->curl_text[0] = '\0';
    http_response_begin(&self->response, (size_t)request->response_max_bytes);
    set_request(self);
}

int64_t http_exchange_deadline_us(const http_exchange_t *self)
{
    return self->begun_us + self->request.timeout_ms * 1000;
}

void http_exchange_trim(http_exchange_t *self)
{
    if (self->response.body.capacity > KEPT_BODY_BYTES)
        buf_release(&self->response.body);
}
