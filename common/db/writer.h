/* writer: the thread that commits, so that the event loop never waits for the disk.
 *
 * At most one batch is with the thread; while it runs the owner collects the next one. That is
 * group commit: one fsync for all that arrived while the last one ran.
 *
 *     on input:  add to self->next; if (writer_idle (w)) writer_submit (w, TAKE (self->next));
 *     done:      answer what was committed, destroy the batch, submit the next one if there is one
 *
 * RESULT_FULL (a full or read-only disk) is waited out on the thread: the same batch is tried again
 * each second, and on_full tells the loop when that begins and ends. So is a store that another
 * connection keeps busy, but silently. Any other failure ends in on_failed, after which nothing is
 * ever committed: the owner stops the process. Checkpoints happen on the thread too, after a commit
 * was told (WAL over 16 MiB) or when it has been idle for a second; then it also gives room of
 * deleted rows back. */
#ifndef PROVISOR_WRITER_H
#define PROVISOR_WRITER_H

#include <czmq.h>

#include "common/db/db.h"

typedef struct {
    /* On the writer's thread, inside a transaction: writes the batch. It is called again with the
     * same batch after a rollback, so it must not change what it reads. RESULT_OK commits. A fault
     * that it leaves empty is the db's. */
    result_t (*apply)(void *owner, db_t *db, void *batch, fault_t *fault);
    /* On the loop's thread, after the commit. The batch is the owner's again. */
    void (*done)(void *owner, void *batch);
    /* On the loop's thread: nothing can be written for now, and why; NULL: it can again. */
    void (*on_full)(void *owner, const char *why);
    /* On the loop's thread: RESULT_IO or worse; text says what. */
    void (*on_failed)(void *owner, result_t result, const char *text);
} writer_calls_t;

typedef struct writer_t writer_t;

/* db is the thread's until writer_destroy. owner is passed to the calls. */
writer_t *writer_new(zloop_t *loop, db_t *db, const writer_calls_t *calls, void *owner);
/* Waits for the batch that is with the thread (its done is not called any more; the batch is the
 * owner's again) and ends it. A batch that waits for room on the disk is given up. Not from within
 * a call. */
void writer_destroy(writer_t **writer);
/* May a batch be submitted? True also within done; false for ever after on_failed. */
bool writer_idle(const writer_t *writer);
/* Requires writer_idle (). The batch is the thread's until done. */
void writer_submit(writer_t *writer, void *batch);
/* Waits on the calling (loop) thread until the current batch is committed and calls done; for the
 * drain at the end. RESULT_OK also when there is none; RESULT_TIMEOUT after timeout_ms; after a
 * failure (on_failed was called) what it was. */
result_t writer_wait(writer_t *writer, int64_t timeout_ms) MUST_CHECK;

#endif
