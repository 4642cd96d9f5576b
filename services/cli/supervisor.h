/* supervisor: keeps the stages of one machine running. Starts them, restarts one that ends (at
 * once, then with back-off), stops them in order, upstream first. Each child is a process group of
 * its own, gets SIGTERM if the supervisor dies, and has a bounded data segment.
 *
 *     supervisor_add (s, "auditor", argv);  ...
 *     supervisor_start (s);
 *     loop: supervisor_reap (s) on SIGCHLD; supervisor_restart_due (s); supervisor_wait_ms (s)
 *     supervisor_stop (s)
 */
#ifndef PROVISOR_SUPERVISOR_H
#define PROVISOR_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/log.h"

typedef struct supervisor_t supervisor_t;

/* data_max_bytes: RLIMIT_DATA of each child, 0: none. */
supervisor_t *supervisor_new(const log_t *log, int64_t data_max_bytes);
void supervisor_destroy(supervisor_t **supervisor);
/* argv is borrowed; argv [0] is the program's path. Stages are stopped in reverse order of adding.
 */
void supervisor_add(supervisor_t *supervisor, const char *name, char *const *argv);
void supervisor_start(supervisor_t *supervisor);
/* For for_ms from now, a stage that ends with 75 (store or port in use) is started again: the
 * stages of the supervisor with that pid, which was killed, are still stopping. */
void supervisor_wait_for_remains(supervisor_t *supervisor, int pid, int64_t for_ms);
/* Takes the ends of children. Returns 0, or the exit code of a stage that cannot start (64, 75, 78)
 * and was never up: then nothing is restarted and the caller stops. */
int supervisor_reap(supervisor_t *supervisor);
void supervisor_restart_due(supervisor_t *supervisor);
/* Milliseconds until a restart is due; -1: none waits. */
int supervisor_wait_ms(const supervisor_t *supervisor);
/* SIGHUP to every stage. */
void supervisor_reload(supervisor_t *supervisor);
/* The stage was seen ready: from now on any end of it is a restart. */
void supervisor_mark_up(supervisor_t *supervisor, const char *name);
/* SIGTERM one after the other, in reverse order; SIGKILL after deadline_ms each. */
void supervisor_stop(supervisor_t *supervisor, int64_t deadline_ms);

#endif
