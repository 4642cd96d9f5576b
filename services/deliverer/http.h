/* http: requests over libcurl's multi interface, on the event loop.
 *
 * curl's sockets live in an epoll instance of their own whose descriptor is one zloop poller; one
 * timer for curl's time-outs (watch.h). Connections are kept and reused. No redirects, no
 * decompression, no proxy from the environment, http and https only, TLS 1.2+.
 *
 * The deadline covers the whole exchange; after a stall, what has arrived is read before deadlines
 * are looked at. When a kept connection turns out to be closed before a byte of the answer came,
 * the request is sent once more on another, within the same exchange. A response of which more
 * than response_max_bytes came counts as answered, and its connection is closed. */
#ifndef PROVISOR_HTTP_H
#define PROVISOR_HTTP_H

#include <czmq.h>

#include "services/deliverer/exchange.h"

typedef struct http_t http_t;

/* connections_max: connections that are kept, those in use included (so at least as many as there
 * are requests at once). done is called from the loop, never from within http_send; it may call
 * http_send. */
http_t *http_new(zloop_t *loop, int connections_max, exchange_done_fn *done, void *owner);
/* Ends what is in flight without calling done. */
void http_destroy(http_t **http);
/* POSTs. The request's contents are borrowed until done (tag). A header without a value is not
 * sent. */
void http_send(http_t *http, const exchange_request_t *request, void *tag);
size_t http_in_flight(const http_t *http);
/* There may be descriptors again: from EXCHANGE_STARVED to here a new connection takes the place of
 * one that is kept. */
void http_unstarve(http_t *http);

#endif
