#include "services/deliverer/http.h"

#include <curl/curl.h>

#include "common/base/mem.h"
#include "services/deliverer/http_multi.h"

/* One multi handle per version of HTTP: curl would take a kept connection of HTTP/1.1 for a
 * request that wants HTTP/2, and the other way round. */
enum { HTTP_1, HTTP_2, N_VERSIONS };

struct http_t {
    http_multi_t *multis[N_VERSIONS];
};

http_t *http_new(zloop_t *loop, int connections_max, exchange_done_fn *done, void *owner)
{
    http_t *self = MEM_NEW(http_t);
    ENSURE(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    for (int i = 0; i < N_VERSIONS; i++)
        self->multis[i] = http_multi_new(loop, connections_max, done, owner);
    return self;
}

void http_destroy(http_t **http)
{
    http_t *self = *http;
    if (!self)
        return;
    for (int i = 0; i < N_VERSIONS; i++)
        http_multi_destroy(&self->multis[i]);
    curl_global_cleanup();
    free(self);
    *http = NULL;
}

void http_send(http_t *self, const exchange_request_t *request, void *tag)
{
    http_multi_send(self->multis[request->http2 ? HTTP_2 : HTTP_1], request, tag);
}

size_t http_in_flight(const http_t *self)
{
    size_t n = 0;
    for (int i = 0; i < N_VERSIONS; i++)
        n += http_multi_in_flight(self->multis[i]);
    return n;
}

void http_unstarve(http_t *self)
{
    for (int i = 0; i < N_VERSIONS; i++)
        http_multi_unstarve(self->multis[i]);
}
