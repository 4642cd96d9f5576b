/* journal: journal.db, the events that were accepted and are not yet in a deliverer's custody.
 *
 * Written on the writer's thread (journal_apply), in one transaction per commit. Read on the loop
 * with a connection of its own. Ids only rise, also over restarts and clock steps: the last one is
 * stored with each commit; so is the last seq. */
#ifndef PROVISOR_JOURNAL_H
#define PROVISOR_JOURNAL_H

#include "common/db/store.h"
#include "common/service/backup.h"
#include "services/emitter/commit.h"
#include "services/emitter/outgoing.h"

typedef struct {
    const char *dir;
    int64_t idempotency_keep_ms;
    int64_t idempotency_max;
    int64_t event_bytes_max; /* the largest that can be sent on; 0: any */
} journal_settings_t;

typedef struct journal_t journal_t;

/* RESULT_LOCKED, RESULT_VERSION: see store_open (). RESULT_INVALID: an event waits that is larger
 * than event_bytes_max. */
result_t journal_open(const journal_settings_t *settings, journal_t **ret_journal,
                      fault_t *fault) MUST_CHECK;
void journal_close(journal_t **journal);
const char *journal_node(const journal_t *journal);
/* For the writer. */
db_t *journal_db(journal_t *journal);

/* On the writer's thread, in a transaction, as often as it needs: decides about the events of the
 * commit and writes them; deletes rows, stores receipts. */
result_t journal_apply(journal_t *journal, db_t *db, commit_t *commit) MUST_CHECK;
/* On the loop, after that transaction was committed. */
void journal_committed(journal_t *journal, const commit_t *commit);

/* On the backup's thread: journal.db into dir, its counters moved on. */
result_t journal_backup(const journal_t *journal, backup_t *backup, const char *dir,
                        fault_t *fault) MUST_CHECK;

/* As of the last commit. */
int64_t journal_rows(const journal_t *journal);
int64_t journal_keys(const journal_t *journal);
int64_t journal_last_seq(const journal_t *journal);
const ulid_t *journal_last_id(const journal_t *journal);
int64_t journal_size_bytes(const journal_t *journal);

/* A row as the audit needs it; slices live until the call returns. */
typedef struct {
    int64_t seq;
    source_t source;
    slice_t key;
    receipt_kind_t receipt;
    slice_t frame;
} journal_row_t;

/* Rows of the partition without a receipt, in order, until take says no; ret_ended: there were
 * fewer than max_rows. RESULT_AGAIN: try later. */
result_t journal_read_tail(journal_t *journal, const outgoing_want_t *want,
                           bool (*take)(void *owner, const outgoing_event_t *event), void *owner,
                           bool *ret_ended) MUST_CHECK;
/* Rows with seq > after_seq, in order, until take says no; ret_ended as above. */
result_t journal_read_rows(journal_t *journal, int64_t after_seq, int64_t max_rows,
                           bool (*take)(void *owner, const journal_row_t *row), void *owner,
                           bool *ret_ended) MUST_CHECK;
/* Is the event still here? */
result_t journal_has(journal_t *journal, const ulid_t *id, bool *ret_found) MUST_CHECK;
/* Text of the last failure of a read. */
const char *journal_read_error(const journal_t *journal);

#endif
