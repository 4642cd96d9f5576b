/* db_sqlite: what the two halves of the SQLite backend share (db_sqlite.c: connection and
 * transactions; db_sqlite_stmt.c: statements). Nobody else includes it. */
#ifndef PROVISOR_DB_SQLITE_H
#define PROVISOR_DB_SQLITE_H

#include <sqlite3.h>

#include "common/db/db.h"

enum { DB_RECENT = 64 };

struct db_stmt_t {
    db_t *db;
    db_stmt_t *next;
    char *sql;
    sqlite3_stmt *handle;    /* NULL: could not be prepared, failure says why */
    result_t failure;        /* of preparing */
    const char *sql_pointer; /* the caller's literal it was last asked with: a hint, not borrowed */
};

struct db_t {
    sqlite3 *handle;
    db_mode_t mode;
    char *path;
    db_stmt_t *statements;        /* all of them */
    db_stmt_t *recent[DB_RECENT]; /* by the address of the text; entries belong to statements */
    int64_t page_bytes;
    int64_t wal_frames;        /* in the WAL after our last commit */
    int64_t backfilled_frames; /* of them, how many a checkpoint has moved */
    char error[256];
};

/* The result of a call that failed with code; keeps its text for db_error. errno was set to 0
 * before the call and has not changed since. */
result_t db_failed(db_t *db, int code);
void db_end_statements(db_t *db);

#endif
