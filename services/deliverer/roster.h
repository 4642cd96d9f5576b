/* roster: the handler table as the deliverer sees it: settings per handler, and how the handler
 * has been doing. Changes of the table become calls. */
#ifndef PROVISOR_ROSTER_H
#define PROVISOR_ROSTER_H

#include "common/base/log.h"
#include "services/deliverer/settings.h"

typedef struct {
    int64_t id;
    handler_status_t status;
    settings_t *settings;
    int64_t pending;          /* deliveries not final, the owner's count */
    int64_t ended;            /* deliveries with a final outcome since the last poll */
    int64_t ended_lately;     /* between the last two, or what is left of a time with more */
    int64_t failing_since_ms; /* wall; 0: the last one that was answered was a success */
    int64_t failing_from_ms;  /* the same, monotonic: how long does not change with the clock */
    int64_t last_success_ms;  /* wall; 0: none since the start */
    int64_t last_error_ms;
    char last_error[200];
    int64_t oldest_seq;   /* no delivery of it is older: where a search for the oldest starts */
    char *suspend_reason; /* not NULL: to be suspended, but the table could not be written yet */
} roster_handler_t;

typedef struct {
    /* Settings or status of a handler changed (or it is new): its lanes follow. Not called for one
     * that is gone. */
    void (*on_changed)(void *owner, roster_handler_t *handler, bool released);
    /* It was archived or deleted. */
    void (*on_gone)(void *owner, roster_handler_t *handler);
} roster_calls_t;

typedef struct roster_t roster_t;

/* Opens the handler table in dir; nothing is called before the first roster_poll. */
result_t roster_open(const char *dir, const settings_defaults_t *defaults, const log_t *log,
                     const roster_calls_t *calls, void *owner, roster_t **ret_roster,
                     fault_t *fault) MUST_CHECK;
void roster_close(roster_t **roster);
/* Reads the table if it changed, and writes suspensions that could not be written before. False:
 * it cannot be read now (what was read before stays). */
bool roster_poll(roster_t *roster);
/* False after a roster_poll that failed. */
bool roster_readable(const roster_t *roster);
int64_t roster_version(const roster_t *roster);
/* New defaults: every handler's settings are read again. */
void roster_reload(roster_t *roster, const settings_defaults_t *defaults);
/* NULL: there never was one. */
roster_handler_t *roster_find(const roster_t *roster, int64_t id);
roster_handler_t *roster_at(const roster_t *roster, size_t i); /* NULL: no more */
/* Archived, deleted: what is pending is cancelled. NULL counts as deleted. */
bool roster_gone(const roster_handler_t *handler);
/* "archived" or "deleted", for records. */
const char *roster_gone_reason(const roster_handler_t *handler);
/* Disabled, suspended or about to be: what is pending parks. */
bool roster_paused(const roster_handler_t *handler);
/* Suspends it in the table; when that cannot be written now, it parks here at once and the table
 * follows. No effect unless it is enabled. */
void roster_suspend(roster_t *roster, roster_handler_t *handler, const char *reason);

#endif
