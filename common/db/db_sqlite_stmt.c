#include "common/db/db_sqlite.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

/* $2 is a name to SQLite, numbered where it first stands; ?2 is parameter 2 wherever it stands. */
static char *with_numbers(const char *sql)
{
    char *text = mem_strdup(sql);
    for (char *at = text; (at = strchr(at, '$')); at++)
        if (isdigit((unsigned char)at[1]))
            *at = '?';
    return text;
}

static void prepare(db_stmt_t *stmt)
{
    db_t *db = stmt->db;
    AUTO_FREE char *sql = with_numbers(stmt->sql);
    errno = 0;
    int code =
        sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt->handle, NULL);
    stmt->failure = code == SQLITE_OK ? RESULT_OK : db_failed(db, code);
    if (stmt->failure == RESULT_INVALID)
        PANIC("%s: %s in: %s", db->path, db->error, stmt->sql);
}

void db_end_statements(db_t *db)
{
    while (db->statements) {
        db_stmt_t *stmt = db->statements;
        db->statements = stmt->next;
        sqlite3_finalize(stmt->handle);
        free(stmt->sql);
        free(stmt);
    }
}

static db_stmt_t *find_statement(db_t *db, const char *sql)
{
    for (db_stmt_t *stmt = db->statements; stmt; stmt = stmt->next)
        if (strcmp(stmt->sql, sql) == 0)
            return stmt;
    db_stmt_t *stmt = MEM_NEW(db_stmt_t);
    *stmt = (db_stmt_t){.db = db, .next = db->statements, .sql = mem_strdup(sql)};
    db->statements = stmt;
    return stmt;
}

db_stmt_t *db_stmt(db_t *db, const char *sql)
{
    db_stmt_t **recent = &db->recent[((uintptr_t)sql >> 3) % DB_RECENT];
    db_stmt_t *stmt = *recent;
    /* The text is compared as well: a buffer may hold another one than last time. */
    if (!stmt || stmt->sql_pointer != sql || strcmp(stmt->sql, sql) != 0) {
        stmt = *recent = find_statement(db, sql);
        stmt->sql_pointer = sql;
    }
    if (stmt->handle) {
        sqlite3_reset(stmt->handle);
        sqlite3_clear_bindings(stmt->handle);
    } else {
        prepare(stmt);
    }
    return stmt;
}

static void check_bind(const db_stmt_t *stmt, int code)
{
    if (code != SQLITE_OK)
        PANIC("cannot bind (sqlite %d) in: %s", code, stmt->sql);
}

void db_bind_int(db_stmt_t *stmt, int n, int64_t value)
{
    if (stmt->handle)
        check_bind(stmt, sqlite3_bind_int64(stmt->handle, n, value));
}

void db_bind_text(db_stmt_t *stmt, int n, slice_t value)
{
    if (stmt->handle)
        check_bind(stmt, sqlite3_bind_text64(stmt->handle, n, value.data, value.size, SQLITE_STATIC,
                                             SQLITE_UTF8));
}

void db_bind_blob(db_stmt_t *stmt, int n, slice_t value)
{
    if (stmt->handle)
        check_bind(stmt,
                   sqlite3_bind_blob64(stmt->handle, n, value.data, value.size, SQLITE_STATIC));
}

result_t db_step(db_stmt_t *stmt)
{
    if (!stmt->handle)
        return stmt->failure;
    errno = 0;
    int code = sqlite3_step(stmt->handle);
    if (code == SQLITE_ROW)
        return RESULT_OK;
    result_t r = code == SQLITE_DONE ? RESULT_NOT_FOUND : db_failed(stmt->db, code);
    sqlite3_reset(stmt->handle);
    return r;
}

result_t db_run(db_stmt_t *stmt)
{
    result_t r;
    do
        r = db_step(stmt);
    while (r == RESULT_OK);
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

void db_reset(db_stmt_t *stmt)
{
    sqlite3_reset(stmt->handle);
}

int64_t db_int(db_stmt_t *stmt, int column)
{
    return sqlite3_column_int64(stmt->handle, column);
}

slice_t db_slice(db_stmt_t *stmt, int column)
{
    int type = sqlite3_column_type(stmt->handle, column);
    if (type == SQLITE_NULL)
        return (slice_t){0};
    /* A number becomes text first; text and blobs are given as they are stored. */
    const char *data = type == SQLITE_TEXT || type == SQLITE_BLOB
                           ? sqlite3_column_blob(stmt->handle, column)
                           : (const char *)sqlite3_column_text(stmt->handle, column);
    int size = sqlite3_column_bytes(stmt->handle, column);
    if (!data && size > 0)
        PANIC("out of memory in sqlite");
    return (slice_t){data ? data : "", (size_t)size};
}

int64_t db_changes(const db_t *db)
{
    return sqlite3_changes64(db->handle);
}
