/* db: the small SQL interface that every store uses. SQLite today; PostgreSQL fits behind it.
 *
 * SQL stays within what both speak: $1 parameters, ON CONFLICT, no AUTOINCREMENT, ids made by their
 * owner. Two words in DDL (db_exec) are replaced per backend: ${key} (INTEGER PRIMARY KEY: a 64-bit
 * row number) and ${clustered} (WITHOUT ROWID: rows live in the primary key's tree).
 *
 * A db_t belongs to one thread at a time and does not survive a fork. Results: RESULT_FULL (disk
 * full: roll back, try again later), RESULT_IO (stop the process), RESULT_CORRUPT (the same,
 * and a restart will not help), RESULT_INVALID (our SQL is wrong: a bug), RESULT_EXISTS
 * (constraint), RESULT_AGAIN (another connection kept it busy for longer than the busy timeout:
 * roll back, try again). */
#ifndef PROVISOR_DB_H
#define PROVISOR_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

typedef struct db_t db_t;
typedef struct db_stmt_t db_stmt_t;

typedef enum {
    DB_READ,  /* read only; RESULT_NOT_FOUND when the file is missing */
    DB_WRITE, /* read and write; made with mode 0600 when missing */
    DB_BULK,  /* the same; one that is made has large pages: for rows that come by the hundred */
} db_mode_t;

/* WAL, synchronous=FULL, foreign keys off, busy timeout 5 s, no automatic checkpoint inside a
 * commit (db_checkpoint). */
result_t db_open(const char *path, db_mode_t mode, db_t **ret_db, fault_t *fault) MUST_CHECK;
/* Is it a file of ours? Asked before it is opened for writing; changes nothing in it. RESULT_OK: it
 * has this table. RESULT_NOT_FOUND: it is missing, or certainly nothing is in it. RESULT_CORRUPT:
 * it is damaged, no database or another program's. shared: other processes may open it at the same
 * time, and be just making it. */
result_t db_probe(const char *path, const char *table, bool shared, fault_t *fault) MUST_CHECK;
/* How long a statement waits for another connection before it is RESULT_AGAIN; 0: not at all. For
 * connections of a loop, which tries again later. */
void db_set_busy_timeout(db_t *db, int64_t timeout_ms);
/* Ends every statement of it. */
void db_close(db_t **db);

/* Any number of statements without parameters, for DDL. */
result_t db_exec(db_t *db, const char *sql, fault_t *fault) MUST_CHECK;
/* A statement prepared once and kept until db_close: the same text gives the same statement back,
 * reset and with nothing bound. So the number of different texts must be bounded. Panics when the
 * SQL is wrong; when the file is, the first step says so. */
db_stmt_t *db_stmt(db_t *db, const char *sql);

/* Parameters from 1. Slices must stay valid until the statement is stepped for the last time. */
void db_bind_int(db_stmt_t *stmt, int n, int64_t value);
void db_bind_text(db_stmt_t *stmt, int n, slice_t value); /* {NULL, 0} binds NULL */
void db_bind_blob(db_stmt_t *stmt, int n, slice_t value); /* {NULL, 0} binds NULL */
/* One row: RESULT_OK; no (more) rows: RESULT_NOT_FOUND, and the statement is reset. */
result_t db_step(db_stmt_t *stmt) MUST_CHECK;
/* Steps to the end and resets; for statements that give no rows. */
result_t db_run(db_stmt_t *stmt) MUST_CHECK;
/* Ends reading early; every db_step loop that does not end by RESULT_NOT_FOUND needs it. */
void db_reset(db_stmt_t *stmt);
/* Columns from 0 of the current row; slices live until the next step. NULL is 0 or {NULL, 0}. */
int64_t db_int(db_stmt_t *stmt, int column);
slice_t db_slice(db_stmt_t *stmt, int column);
/* Rows changed by the last INSERT, UPDATE or DELETE. */
int64_t db_changes(const db_t *db);

/* DB_WRITE takes the write lock at once, so that nothing after it is refused because another
 * connection wrote first. DB_READ: what is read until db_commit or db_rollback is one state. */
result_t db_begin(db_t *db) MUST_CHECK;
/* Durable (fsynced) when it returns RESULT_OK. */
result_t db_commit(db_t *db) MUST_CHECK;
/* Also after any failure inside the transaction; harmless when there is none. */
void db_rollback(db_t *db);
/* Changes when another connection has committed (PRAGMA data_version). */
result_t db_data_version(db_t *db, int64_t *ret_version) MUST_CHECK;
/* Moves the WAL into the file as far as readers allow; never waits for them. RESULT_FULL loses
 * nothing: the WAL stays. */
result_t db_checkpoint(db_t *db) MUST_CHECK;
/* For the owner, before it acts on anything in the file. What a killed process wrote can be read at
 * once, although a power cut would still take it away; this puts all of it on the disk. A full disk
 * is no failure: then the WAL has been synced, and stays. */
result_t db_settle(db_t *db) MUST_CHECK;
/* What db_checkpoint would move, as of this connection's last commit. */
int64_t db_wal_bytes(const db_t *db);
/* Room in the file that deleted rows left: used again, but not by others until db_shrink. */
result_t db_free_bytes(db_t *db, int64_t *ret_bytes) MUST_CHECK;
/* Gives at most max_bytes of that room back to the file system, in a transaction of its own. */
result_t db_shrink(db_t *db, int64_t max_bytes) MUST_CHECK;
/* Copies what is committed now (one state) into a new file, mode 0600, while others go on writing;
 * it is durable, but for its name in the folder, when that returns RESULT_OK. on_copied is called
 * now and then; false: stop, RESULT_AGAIN. RESULT_EXISTS: there is a file. What a failure leaves is
 * the caller's to remove. from: a DB_READ connection without a transaction; while it runs the WAL
 * of the file keeps what others commit. */
typedef bool(db_on_copied)(void *owner, int64_t done_bytes, int64_t total_bytes);
result_t db_copy(db_t *from, const char *path, db_on_copied *on_copied, void *owner,
                 fault_t *fault) MUST_CHECK;
/* Text of the last failure on this connection, for logs. */
const char *db_error(const db_t *db);
/* Bytes of file, WAL and shared memory index together. */
int64_t db_size_bytes(const db_t *db);

#endif
