/* handlers: the handler table (handlers.db), its reader and its only writer.
 *
 * Readers keep a snapshot in memory and look for changes (handlers_poll) every 500 ms (the auditor
 * each second); there is no notification that could be lost. Each change raises the table's version
 * and adds a row to the table changes (the latest 100,000 are kept), which the auditor follows to
 * record handler.* topics. Ids are never reused; a deleted handler keeps its row. */
#ifndef PROVISOR_HANDLERS_H
#define PROVISOR_HANDLERS_H

#include "common/service/handler.h"

typedef struct handlers_t handlers_t;

/* Opens (makes, migrates) handlers.db in dir and reads it. */
result_t handlers_open(const char *dir, handlers_t **ret_handlers, fault_t *fault) MUST_CHECK;
void handlers_close(handlers_t **handlers);
/* From now on nothing waits for another writer: a write then fails with RESULT_AGAIN at once. For a
 * loop, which must not stand still and tries again. */
void handlers_never_wait(handlers_t *handlers);
/* Reads what other processes changed; costs next to nothing when they did not. ret_changed (may be
 * NULL): the table differs from what it was at the last poll, or at the start; own writes count.
 * RESULT_AGAIN: busy, the next poll will do. */
result_t handlers_poll(handlers_t *handlers, bool *ret_changed) MUST_CHECK;
int64_t handlers_version(const handlers_t *handlers);
size_t handlers_count(const handlers_t *handlers); /* deleted ones included */
/* In the order of ids. Pointers live until the next handlers_poll that changed something, or write.
 */
const handler_t *handlers_at(const handlers_t *handlers, size_t i);
/* NULL: never existed. O(log n). */
const handler_t *handlers_find(const handlers_t *handlers, int64_t id);

/* Writers: one transaction each; they check, raise the version, write a change row, and read again.
 * RESULT_INVALID as handler_check. */

/* Sets id, version and times. Its status may be enabled or disabled. */
result_t handlers_add(handlers_t *handlers, handler_t *handler, fault_t *fault) MUST_CHECK;
/* All settings of the handler with this id; its status stays. version is the one that they were
 * made from. RESULT_NOT_FOUND; RESULT_INVALID also when it is archived or deleted, or was changed
 * since that version. */
result_t handlers_update(handlers_t *handlers, const handler_t *handler, fault_t *fault) MUST_CHECK;
/* RESULT_NOT_FOUND; RESULT_INVALID: a deleted or (but for delete) archived one does not come back.
 * The status that it has already, and suspending a disabled one (an operator's word counts more),
 * change nothing: RESULT_OK without a change row. reason (may be NULL) is kept while suspended. */
result_t handlers_set_status(handlers_t *handlers, int64_t id, handler_status_t status,
                             const char *reason, fault_t *fault) MUST_CHECK;

/* A row of the change log: what = created, updated, enabled, disabled, suspended, archived,
 * deleted. */
typedef struct {
    int64_t seq; /* rises by one, from 1 */
    int64_t at_ms;
    int64_t handler_id;
    char name[HANDLER_NAME_MAX * 4 + 1];
    char what[16];
    char reason[256];
} handler_change_t;
/* The first change after seq, or RESULT_NOT_FOUND. */
result_t handlers_next_change(handlers_t *handlers, int64_t after_seq,
                              handler_change_t *ret_change) MUST_CHECK;

#endif
