/* script_spawn: starts one program with pipes, in a process group of its own. */
#ifndef PROVISOR_SCRIPT_SPAWN_H
#define PROVISOR_SCRIPT_SPAWN_H

#include <sys/types.h>

#include "common/base/result.h"

enum { SCRIPT_IN, SCRIPT_OUT, SCRIPT_ERR, SCRIPT_EXIT, SCRIPT_FDS };

/* ret_fds: this side of its stdin, stdout and stderr, non-blocking, and its pidfd. The program
 * runs in "/" with the given environment, default signals and no other descriptor. RESULT_FULL:
 * this process has no descriptor left. */
result_t script_spawn(const char *path, const char *const *environment, pid_t *ret_pid,
                      int ret_fds[SCRIPT_FDS], fault_t *fault) MUST_CHECK;

#endif
