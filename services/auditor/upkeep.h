/* upkeep: what happens to segments in the background, on a thread of its own: the next one is
 * prepared before it is needed, sealed ones get their indexes, old ones are removed, damaged ones
 * are set aside. Commits never wait for any of it: while no segment is prepared, the live one goes
 * on. */
#ifndef PROVISOR_UPKEEP_H
#define PROVISOR_UPKEEP_H

#include "common/base/log.h"
#include "common/db/db.h"
#include "services/auditor/retention.h"
#include "services/auditor/worker.h"

typedef struct upkeep_t upkeep_t;

/* All are borrowed. on_failed: the disk failed, the process must stop; on the loop's thread. */
upkeep_t *upkeep_new(zloop_t *loop, const char *dir, shelf_t *shelf, const log_t *log,
                     void (*on_failed)(void *owner, const char *text), void *owner);
void upkeep_destroy(upkeep_t **upkeep);
/* Sees to everything that is due; called each second. */
void upkeep_tick(upkeep_t *upkeep, const retention_t *retention, int64_t wall_ms);
/* Is a segment prepared that may be named? upkeep_used says that it was. */
bool upkeep_prepared(const upkeep_t *upkeep);
void upkeep_used(upkeep_t *upkeep);
/* Closes the connection of a segment that was just sealed: that moves its WAL into the file. */
void upkeep_close(upkeep_t *upkeep, db_t **db);

#endif
