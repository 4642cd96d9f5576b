/* open_handlers: the handler table, for a command. */
#ifndef PROVISOR_OPEN_HANDLERS_H
#define PROVISOR_OPEN_HANDLERS_H

#include "common/service/handlers.h"
#include "services/cli/cli.h"

/* The table that is there. One that is not there is an error and is not made: --data is most likely
 * wrong. EXIT_OK, or a message and an exit code. */
int open_handlers(const cli_t *cli, handlers_t **ret_handlers) MUST_CHECK;
/* As open_handlers, but makes what is missing. */
int open_or_make_handlers(const cli_t *cli, handlers_t **ret_handlers) MUST_CHECK;

#endif
