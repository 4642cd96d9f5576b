/* changes: follows the handler table's change log and records handler.* in history, each change
 * exactly once: how far the log was read is part of the commit. */
#ifndef PROVISOR_CHANGES_H
#define PROVISOR_CHANGES_H

#include "common/base/log.h"
#include "common/service/handlers.h"
#include "services/auditor/history.h"

typedef struct changes_t changes_t;

/* Opens handlers.db in dir. history and log are borrowed; node is who records them. */
result_t changes_new(const char *dir, const char *node, history_t *history, const log_t *log,
                     changes_t **ret_changes, fault_t *fault) MUST_CHECK;
void changes_destroy(changes_t **changes);
/* Each second. */
void changes_poll(changes_t *changes);

#endif
