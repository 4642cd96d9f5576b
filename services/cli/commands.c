#include "services/cli/cmd.h"

const cli_command_t *const cli_commands[] = {
    cmd_up,      cmd_status,        cmd_ping,   cmd_emit,   cmd_events,
    cmd_handler, cmd_handler_state, cmd_log,    cmd_show,   cmd_replay,
    cmd_cancel,  cmd_drain,         cmd_backup, cmd_config, NULL,
};
