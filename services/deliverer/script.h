/* script: handlers that are programs. No shell; JSON body on stdin, event fields in the
 * environment, own process group, killed as a group at the deadline, output captured like a
 * response. Only files directly below the configured folder (after resolving links).
 *
 * An exchange ends with its program: what descendants do afterwards is not waited for. A program
 * that did not exit with 0 has "exit status n" as the result's error, also though it answered. */
#ifndef PROVISOR_SCRIPT_H
#define PROVISOR_SCRIPT_H

#include <czmq.h>

#include "services/deliverer/exchange.h"

typedef struct script_t script_t;

/* Requires that SIGPIPE is ignored (service_main does). dir "": every script ends as
 * EXCHANGE_INVALID. done as in http.h. */
script_t *script_new(zloop_t *loop, const char *dir, exchange_done_fn *done, void *owner);
/* Kills the groups that run, without calling done. */
void script_destroy(script_t **script);
void script_send(script_t *script, const exchange_request_t *request, void *tag);

#endif
