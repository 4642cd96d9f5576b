/* in_force: waits until the stages that read the handler table have read a change of it. */
#ifndef PROVISOR_IN_FORCE_H
#define PROVISOR_IN_FORCE_H

#include "services/cli/cli.h"

/* Returns when every router and deliverer that answers has read at least this version of the table,
 * and at the latest after 2 s: they look every 500 ms. What does not answer reads the table when it
 * starts. */
void in_force_wait(const cli_t *cli, int64_t table_version);

#endif
