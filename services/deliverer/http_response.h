/* http_response: what is kept of one response, within bounds. Knows nothing of curl but that a
 * callback which does not take all bytes ends the transfer. */
#ifndef PROVISOR_HTTP_RESPONSE_H
#define PROVISOR_HTTP_RESPONSE_H

#include "common/base/buf.h"

enum {
    HTTP_HEADERS_KEEP = 8 * 1024,
    HTTP_HEADERS_MAX = 64 * 1024, /* all header bytes of one exchange, trailers and 1xx included */
    HTTP_RETRY_AFTER_MAX = 128,
};

typedef enum {
    HTTP_READING,
    HTTP_ENOUGH,            /* answered; the rest is not read */
    HTTP_HEADERS_TOO_LARGE, /* HTTP_HEADERS_MAX */
    HTTP_ENDLESS            /* it is read and read, and is neither header nor body */
} http_reading_t;

typedef struct {
    http_reading_t reading;
    int64_t status; /* of the last status line; 0: none yet */
    buf_t headers;  /* of the last status line, at most HTTP_HEADERS_KEEP */
    buf_t body;     /* at most body_max */
    size_t body_max;
    size_t header_bytes; /* received so far */
    bool headers_done;   /* lines that follow are another response's, or trailers */
    char retry_after[HTTP_RETRY_AFTER_MAX];
    size_t retry_after_size; /* 0: none */
} http_response_t;

/* Starts with another response and keeps the memory. */
void http_response_begin(http_response_t *response, size_t body_max);
void http_response_release(http_response_t *response);
/* One header line with its line end; the status line and the empty line count as such. Returns
 * false when reading has ended. */
bool http_response_header(http_response_t *response, slice_t line);
/* Likewise, for a piece of the body. */
bool http_response_body(http_response_t *response, slice_t piece);

#endif
