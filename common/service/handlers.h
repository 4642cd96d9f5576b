/* handlers: the handler table (handlers.db), its reader and its only writer.
 *
 * Readers keep a snapshot in memory and look for changes (handlers_poll) every 500 ms; there is no
 * notification that could be lost. Each change raises the table's version and adds a row to the
 * table changes, which the auditor follows to record handler.* topics. Ids are never reused; a
 * deleted handler keeps its row. */
#ifndef PROVISOR_HANDLERS_H
#define PROVISOR_HANDLERS_H

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

enum { HANDLER_SECRETS_MAX = 4, HANDLER_RETRY_MAX = 32 };

/* One handler. Texts are the owner's (handler_release); optional texts may be NULL, numbers -1
 * where "the configuration's default" is meant. */
typedef struct {
    int64_t id;      /* 0: not stored yet */
    int64_t version; /* table version of its last change */
    char *name;
    handler_type_t type;
    handler_status_t status;
    char *status_reason; /* suspended: why */
    char *events;        /* patterns, space separated */
    char *task;          /* URL as given, or the script's path */
    int64_t priority;
    char *description;
    char *filter;  /* filter.h */
    char *secrets; /* "whsec_..." space separated, the first is the newest; write-only outside */
    char *headers; /* "Name: value" lines separated by '\n'; values write-only outside */
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
/* Everything that can be wrong with one handler: name, patterns, task against type, header syntax,
 * secret size (24-64 bytes), retry list, filter (the fault shows the character). */
result_t handler_check(const handler_t *handler, fault_t *fault) MUST_CHECK;
/* As shown to people and machines: secrets as "sha256:1a2b3c4d" fingerprints, header values as ***.
 */
void handler_json(const handler_t *handler, json_writer_t *w);
/* "https://my-domain.org/api" for task "my-domain.org/api" of type https. */
void handler_url(const handler_t *handler, buf_t *ret_url);
/* Does one of the handler's patterns cover the event id? (exact, prefix "clients.*", "*") */
bool handler_pattern_covers(slice_t pattern, slice_t events_id);

typedef struct handlers_t handlers_t;

/* Opens (makes, migrates) handlers.db in dir and reads it. */
result_t handlers_open(const char *dir, handlers_t **ret_handlers, fault_t *fault) MUST_CHECK;
void handlers_close(handlers_t **handlers);
/* Reads the table again if another process changed it. ret_changed may be NULL. */
result_t handlers_poll(handlers_t *handlers, bool *ret_changed) MUST_CHECK;
int64_t handlers_version(const handlers_t *handlers);
size_t handlers_count(const handlers_t *handlers); /* deleted ones included */
/* In the order of ids. Pointers live until the next handlers_poll that changed something, or write.
 */
const handler_t *handlers_at(const handlers_t *handlers, size_t i);
/* NULL: never existed. O(log n). */
const handler_t *handlers_find(const handlers_t *handlers, int64_t id);

/* Writers: one transaction each; they check, raise the version, write a change row, and read again.
 */
result_t handlers_add(handlers_t *handlers, handler_t *handler,
                      fault_t *fault) MUST_CHECK; /* sets id */
result_t handlers_update(handlers_t *handlers, const handler_t *handler, fault_t *fault) MUST_CHECK;
/* RESULT_NOT_FOUND; RESULT_INVALID: a deleted or (but for delete) archived one does not come back.
 */
result_t handlers_set_status(handlers_t *handlers, int64_t id, handler_status_t status,
                             const char *reason, fault_t *fault) MUST_CHECK;

/* A row of the change log: what = created, updated, enabled, disabled, suspended, archived,
 * deleted. */
typedef struct {
    int64_t seq; /* rises by one, from 1 */
    int64_t at_ms;
    int64_t handler_id;
    char name[129];
    char what[16];
    char reason[256];
} handler_change_t;
/* The first change after seq, or RESULT_NOT_FOUND. */
result_t handlers_next_change(handlers_t *handlers, int64_t after_seq,
                              handler_change_t *ret_change) MUST_CHECK;

#endif
