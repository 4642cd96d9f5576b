/* exchange: one request and what came of it, the same for HTTP and for scripts. */
#ifndef PROVISOR_EXCHANGE_H
#define PROVISOR_EXCHANGE_H

#include "common/base/buf.h"

/* Everything is borrowed until the exchange's done call has returned. */
typedef struct {
    const char *url; /* with scheme; script: its path */
    slice_t body;
    const char *const
        *headers; /* "Name: value", complete, in the order in which they are sent; ends with NULL */
    const char *const *environment; /* script: "PROVISOR_EVENTS_ID=..."; ends with NULL */
    int64_t timeout_ms;             /* for the whole exchange */
    int64_t connect_timeout_ms;
    int64_t response_max_bytes; /* of the response's body that are kept; the rest is not read */
    bool http2;
    bool tls_insecure;
    const char *ca_file, *cert_file, *key_file; /* NULL: system's CAs; no client certificate */
} exchange_request_t;

typedef enum {
    EXCHANGE_ANSWERED, /* status is the HTTP status; script: exit 0 = 200, other = 500 */
    EXCHANGE_TIMEOUT,  /* the deadline passed */
    EXCHANGE_REFUSED,  /* could not connect: refused, unreachable, name unknown */
    EXCHANGE_TLS,      /* certificate or handshake */
    EXCHANGE_BROKEN,   /* connection lost, malformed answer */
    EXCHANGE_STARVED,  /* not tried: this process has no descriptor left */
    EXCHANGE_INVALID,  /* could not even be tried: bad URL, missing file, script outside the folder
                        */
} exchange_end_t;

/* Slices live until the done call returns. */
typedef struct {
    exchange_end_t end;
    int64_t status;   /* 0 unless EXCHANGE_ANSWERED */
    slice_t error;    /* for people, absent when answered: "certificate has expired (...)"; a script
                         that answered other than 0: "exit status 3" */
    slice_t response; /* first response_max_bytes; script: stdout, then stderr */
    slice_t response_headers; /* as received, at most 8 KiB */
    slice_t retry_after;      /* value of the header as received; absent: none */
    int64_t duration_us;
} exchange_result_t;

typedef void(exchange_done_fn)(void *owner, void *tag, const exchange_result_t *result);

#endif
