/* handler: one handler as a value: its settings, what can be wrong with them, how it is shown. */
#ifndef PROVISOR_HANDLER_H
#define PROVISOR_HANDLER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/json.h"

typedef enum { HANDLER_HTTPS, HANDLER_HTTP, HANDLER_SCRIPT } handler_type_t;
typedef enum {
    HANDLER_ENABLED,
    HANDLER_DISABLED,
    HANDLER_SUSPENDED,
    HANDLER_ARCHIVED,
    HANDLER_DELETED,
} handler_status_t;
typedef enum { HANDLER_ORDER_OBJECT, HANDLER_ORDER_NONE } handler_ordering_t;
typedef enum { HANDLER_TLS_VERIFY, HANDLER_TLS_INSECURE } handler_tls_t;

enum {
    HANDLER_NAME_MAX = 128, /* characters */
    HANDLER_EVENTS_MAX = 64,
    HANDLER_SECRETS_MAX = 4,
    HANDLER_HEADERS_MAX = 32,
    HANDLER_RETRY_MAX = 32,
};

/* One handler. Texts are the owner's (handler_release); optional texts may be NULL, numbers -1
 * where "the configuration's default" is meant. */
typedef struct {
    int64_t id;      /* 0: not stored yet */
    int64_t version; /* table version of its last change */
    char *name;
    handler_type_t type;
    handler_status_t status;
    char *status_reason; /* suspended: why */
    char *events;        /* patterns (clients.create, clients.*, *), space separated */
    char *task;          /* URL as given, or the script's path */
    int64_t priority;
    char *description;
    char *filter;  /* filter.h */
    char *secrets; /* "whsec_..." space separated, the first is the newest; write-only outside */
    char *headers; /* "Name: value" lines separated by '\n'; values write-only outside. Those that
                      Provisor or HTTP itself sets are refused, Host too: it must agree with the
                      URL, which certificates are checked against */
    int64_t timeout_ms; /* -1 */
    char *retry;        /* "5s,5m"; NULL: default; "": no retries */
    int64_t max_age_ms; /* -1: sum of the schedule */
    int64_t hold_ms;    /* -1: lanes wait for ever */
    int64_t window;     /* -1 */
    int64_t rate;       /* requests per second; 0: not limited */
    handler_ordering_t ordering;
    int64_t http2;              /* 0, 1 */
    char *ca_file;              /* PEM bundle for this handler's server certificate */
    char *cert_file, *key_file; /* client certificate */
    handler_tls_t tls;
    int64_t created_ms, updated_ms;
} handler_t;

void handler_init(handler_t *handler); /* defaults: enabled, priority 100, numbers -1 */
void handler_release(handler_t *handler);
const char *handler_type_str(handler_type_t type);
const char *handler_status_str(handler_status_t status);
/* RESULT_INVALID, and the fault says what and where, for everything that can be wrong with one
 * handler by itself: name, patterns, task against type, header syntax, secret size (24-64 bytes),
 * retry list, filter (the fault shows the character), numbers out of range. */
result_t handler_check(const handler_t *handler, fault_t *fault) MUST_CHECK;
/* The bytes that sign: "whsec_" + base64 decoded, anything else as it is. RESULT_INVALID: malformed
 * base64, or not 24 to 64 bytes. */
result_t handler_secret_decode(slice_t secret, buf_t *ret_key, fault_t *fault) MUST_CHECK;
/* As shown to people and machines: secrets as "sha256:1a2b3c4d" fingerprints, header values as ***,
 * null where the configuration's default is meant. */
void handler_json(const handler_t *handler, json_writer_t *w);
/* "https://my-domain.org/api" for task "my-domain.org/api" of type https; a script's path as it is.
 */
void handler_url(const handler_t *handler, buf_t *ret_url);
/* Does one of the handler's patterns cover the event id? (exact, prefix "clients.*", "*") */
bool handler_pattern_covers(slice_t pattern, slice_t events_id);

#endif
