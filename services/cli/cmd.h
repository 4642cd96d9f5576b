/* The commands, one file each; cli_commands puts them in the order of the help. */
#ifndef PROVISOR_CMD_H
#define PROVISOR_CMD_H

#include "services/cli/cli.h"

/* Each ends with {NULL}. */
extern const cli_command_t cmd_up[], cmd_emit[], cmd_events[], cmd_handler[], cmd_handler_state[],
    cmd_log[], cmd_show[], cmd_replay[], cmd_cancel[], cmd_drain[], cmd_backup[], cmd_status[],
    cmd_ping[], cmd_config[];

#endif
