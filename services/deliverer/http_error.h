/* http_error: curl's and TLS's results as the end of an exchange and a text for people. */
#ifndef PROVISOR_HTTP_ERROR_H
#define PROVISOR_HTTP_ERROR_H

#include <curl/curl.h>

#include "services/deliverer/exchange.h"
#include "services/deliverer/http_response.h"

/* How far a request has come. */
typedef struct {
    const exchange_request_t *request;
    const http_response_t *response;
    CURL *easy;
    const char *curl_text; /* CURLOPT_ERRORBUFFER */
    bool connected;        /* TLS included */
} http_progress_t;

/* Appends the text. code is not CURLE_OK, and the response was not answered (HTTP_ENOUGH). Texts
 * name host and port, never the whole URL: it may hold a password. */
exchange_end_t http_error(const http_progress_t *progress, CURLcode code, buf_t *ret_text);
/* The whole exchange's deadline has passed. */
exchange_end_t http_error_timeout(const http_progress_t *progress, buf_t *ret_text);

#endif
