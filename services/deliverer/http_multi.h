/* http_multi: one of curl's multi handles on the loop, with its kept connections and idle easy
 * handles. Functions as in http.h. */
#ifndef PROVISOR_HTTP_MULTI_H
#define PROVISOR_HTTP_MULTI_H

#include <czmq.h>

#include "services/deliverer/exchange.h"

typedef struct http_multi_t http_multi_t;

http_multi_t *http_multi_new(zloop_t *loop, int connections_max, exchange_done_fn *done,
                             void *owner);
void http_multi_destroy(http_multi_t **multi);
void http_multi_send(http_multi_t *multi, const exchange_request_t *request, void *tag);
size_t http_multi_in_flight(const http_multi_t *multi);
void http_multi_unstarve(http_multi_t *multi);

#endif
