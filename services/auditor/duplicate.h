/* duplicate: copies of what the auditor owns, for a backup. On the backup's thread. */
#ifndef PROVISOR_DUPLICATE_H
#define PROVISOR_DUPLICATE_H

#include "common/service/backup.h"
#include "services/auditor/shelf.h"

/* history: its folder. All segments on the shelf, then a new one, so that ids go on from there
 * after a jump: nothing in history may have ids with a hole inside a segment. */
result_t duplicate_history(const char *history, shelf_t *shelf, backup_t *backup, const char *dir,
                           fault_t *fault) MUST_CHECK;
/* jobs: the path of jobs.db. */
result_t duplicate_jobs(const char *jobs, backup_t *backup, const char *dir,
                        fault_t *fault) MUST_CHECK;

#endif
