/* settings: how one handler is called: everything of its row that a request needs, read once per
 * version of it. Never changed after it was made; requests in flight share it. */
#ifndef PROVISOR_SETTINGS_H
#define PROVISOR_SETTINGS_H

#include "common/service/config.h"
#include "common/service/handlers.h"
#include "services/deliverer/lanes.h"
#include "services/deliverer/retry.h"
#include "services/deliverer/signature.h"

/* What a handler gets where it sets nothing itself: the configuration's section deliverer. */
typedef struct {
    int64_t window;
    int64_t timeout_ms;
    int64_t connect_timeout_ms;
    int64_t response_max_bytes;
    const char *retry;
    breaker_settings_t breaker;
} settings_defaults_t;

typedef struct {
    int64_t handler_id;
    int64_t version; /* of the handler's row */
    char *name;
    bool script;
    char *url;       /* with scheme; script: the path */
    char *shown_url; /* the same for people: without a password in it */
    char **headers;  /* the handler's own, "Name: value"; ends with NULL */
    size_t n_headers;
    signature_t *signature; /* NULL: no secret */
    retry_schedule_t schedule;
    int64_t timeout_ms;
    int64_t connect_timeout_ms;
    int64_t response_max_bytes;
    bool ordered; /* lanes per object */
    bool http2;
    bool tls_insecure;
    char *ca_file, *cert_file, *key_file; /* NULL: none */
    lanes_handler_t lanes;                /* all but paused */
    fault_t fault;                        /* "" or why it cannot be called */
    int refs;
} settings_t;

void settings_defaults(const config_t *config, settings_defaults_t *ret_defaults);
/* With one reference. A handler that cannot be called (the table was written by something else)
 * gives settings with a fault. */
settings_t *settings_new(const handler_t *handler, const settings_defaults_t *defaults);
settings_t *settings_ref(settings_t *settings);
/* Gives one reference back. */
void settings_destroy(settings_t **settings);

#endif
