/* http: requests over libcurl's multi interface, on the event loop.
 *
 * curl's sockets live in an epoll instance of their own whose descriptor is one zloop poller; one
 * timer for curl's time-outs. Connections are kept and reused. No redirects, no decompression, no
 * proxy from the environment, http and https only, TLS 1.2+. */
#ifndef PROVISOR_HTTP_H
#define PROVISOR_HTTP_H

#include <czmq.h>

#include "services/deliverer/exchange.h"

typedef struct http_t http_t;

/* connections_max: idle connections that are kept. done is called from the loop, never from
 * within http_send; it may call http_send. */
http_t *http_new(zloop_t *loop, int connections_max, exchange_done_fn *done, void *owner);
/* Ends what is in flight without calling done. */
void http_destroy(http_t **http);
/* POSTs. The request's contents are borrowed until done (tag). */
void http_send(http_t *http, const exchange_request_t *request, void *tag);
size_t http_in_flight(const http_t *http);

#endif
