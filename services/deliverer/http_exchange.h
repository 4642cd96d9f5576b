/* http_exchange: one request on a curl easy handle: which options it has, what is kept of its
 * response. A handle is made once and used for one request after the other. */
#ifndef PROVISOR_HTTP_EXCHANGE_H
#define PROVISOR_HTTP_EXCHANGE_H

#include <curl/curl.h>

#include "common/base/heap.h"
#include "services/deliverer/exchange.h"
#include "services/deliverer/http_response.h"

/* What all exchanges of one http_t share. Outlives them. */
typedef struct {
    curl_opensocket_callback on_open; /* its argument is the exchange */
    curl_closesocket_callback on_close;
    void *sockets_owner;
    const char *system_ca; /* PEM bundle where a request names none; NULL: none */
} http_common_t;

typedef struct http_exchange_t {
    CURL *easy;
    const http_common_t *common;
    exchange_request_t request;
    void *tag;
    int64_t begun_us;
    heap_node_t deadline; /* the owner's */
    int n_tries; /* how often a connection was there to send on: curl sends once more by itself when
                    a kept connection turns out to be closed */
    int64_t body_rounds; /* of curl, since the headers */
    int64_t seen;        /* bytes behind the headers, framing included, but for the first rounds */
    bool starved;        /* it wanted a socket when no descriptor was left */
    http_response_t response;
    struct curl_slist *headers; /* nodes that borrow the request's texts */
    size_t headers_max;
    struct http_exchange_t *next;    /* the owner's */
    char curl_text[CURL_ERROR_SIZE]; /* curl's words on what went wrong */
} http_exchange_t;

/* CURLINFO_PRIVATE of its easy handle is the exchange. */
http_exchange_t *http_exchange_new(const http_common_t *common);
/* The easy handle must be in no multi handle. */
void http_exchange_destroy(http_exchange_t **exchange);
/* Sets everything for another request; its contents are borrowed until the exchange ended. */
void http_exchange_begin(http_exchange_t *exchange, const exchange_request_t *request, void *tag);
/* clk_mono_us at which the whole exchange must be over. What would start later is not started
 * (CURLE_ABORTED_BY_CALLBACK). */
int64_t http_exchange_deadline_us(const http_exchange_t *exchange);
/* Gives up memory that only a large response needed. */
void http_exchange_trim(http_exchange_t *exchange);

#endif
