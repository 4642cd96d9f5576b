#include "common/db/db_sqlite.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    BUSY_TIMEOUT_MS = 5000,
    BUSY_RETRY_MS = 5,
    WAL_KEPT_BYTES = 16 * 1024 * 1024, /* a WAL that once grew is cut back to this */
    WRITE_CACHE_KIB = 16 * 1024,       /* rows that live for a second are not read again to go */
    READ_CACHE_KIB = 2 * 1024,
    PAGE_BYTES = 4 * 1024,
    BULK_PAGE_BYTES = 16 * 1024,
};

static const char way_out[] = "; it is left as it is: put a backup in its place "
                              "(docs/operations.md, Backup and restore)";

/* A failed fsync is never "full", whatever errno it gave: what it should have written may be lost
 * although the next one succeeds. */
static result_t io_result(int code, int system_errno)
{
    if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC)
        return RESULT_IO;
    return result_of_errno(system_errno);
}

static result_t result_of(int code, int system_errno)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return RESULT_OK;
    case SQLITE_FULL:
        return RESULT_FULL;
    case SQLITE_CONSTRAINT:
        return RESULT_EXISTS;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_INTERRUPT:
        return RESULT_AGAIN;
    case SQLITE_TOOBIG:
        return RESULT_TOO_LARGE;
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_MISMATCH:
    case SQLITE_SCHEMA:
        return RESULT_INVALID;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return RESULT_CORRUPT;
    case SQLITE_NOMEM:
        PANIC("out of memory in sqlite");
    default: /* IOERR, CANTOPEN, READONLY, PERM, ... */
        return io_result(code, system_errno);
    }
}

result_t db_failed(db_t *db, int code)
{
    int system_errno = errno; /* sqlite3_system_errno is not set by a failing COMMIT */
    if (code == SQLITE_IOERR_NOMEM)
        PANIC("out of memory in sqlite");
    result_t r = result_of(code, system_errno);
    bool has_errno = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN;
    snprintf(db->error, sizeof db->error, "%s%s%s (sqlite %d)%s", sqlite3_errmsg(db->handle),
             has_errno && system_errno ? ": " : "",
             has_errno && system_errno ? strerror(system_errno) : "", code,
             r == RESULT_CORRUPT ? way_out : "");
    return r;
}

/* Makes the file so that its mode does not depend on the umask. O_EXCL, because closing a
 * descriptor of a file that sqlite has open in this process would drop sqlite's locks. */
static result_t make_file(const char *path, fault_t *fault)
{
    struct stat st;
    AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        if (fchmod(fd, 0600) == 0)
            return RESULT_OK;
    } else if (errno == EEXIST) {
        if (stat(path, &st) == 0 && (st.st_mode & 0777) != 0600)
            (void)chmod(path, 0600); /* not ours to change: then the owner decided */
        return RESULT_OK;
    }
    return fault_set(fault, result_of_errno(errno), "cannot make %s: %s", path, strerror(errno));
}

static int64_t file_bytes(const char *path, const char *suffix)
{
    struct stat st;
    char name[PATH_MAX + 8];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return stat(name, &st) == 0 ? st.st_size : 0;
}

static int on_wal(void *self, sqlite3 *handle, const char *name, int frames)
{
    db_t *db = self;
    (void)handle, (void)name;
    if (frames < db->wal_frames)
        db->backfilled_frames = 0; /* the WAL began again from its start */
    db->wal_frames = frames;
    return SQLITE_OK;
}

/* sqlite does not wait by itself for another process that is just making the same file. */
static int exec_when_free(db_t *db, const char *sql)
{
    int64_t deadline_ms = clk_mono_ms() + BUSY_TIMEOUT_MS;
    errno = 0;
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    while ((code & 0xff) == SQLITE_BUSY && clk_mono_ms() < deadline_ms) {
        nanosleep(&(struct timespec){.tv_nsec = BUSY_RETRY_MS * 1000000}, NULL);
        errno = 0;
        code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    }
    return code;
}

static result_t pragma_int(db_t *db, const char *pragma, int64_t *ret_value)
{
    db_stmt_t *stmt = db_stmt(db, pragma);
    result_t r = db_step(stmt);
    if (r == RESULT_OK)
        *ret_value = db_int(stmt, 0);
    db_reset(stmt);
    return r;
}

/* What must be chosen while the file is empty; asked for later it would write it at each start.
 * db_shrink needs auto_vacuum. */
static int apply_layout(db_t *db, db_mode_t mode)
{
    char layout[128];
    snprintf(layout, sizeof layout, "PRAGMA page_size=%d;PRAGMA auto_vacuum=INCREMENTAL;",
             mode == DB_BULK ? BULK_PAGE_BYTES : PAGE_BYTES);
    return exec_when_free(db, layout);
}

static int apply_settings(db_t *db, db_mode_t mode)
{
    char settings[256];
    snprintf(settings, sizeof settings,
             "%sPRAGMA foreign_keys=OFF;PRAGMA temp_store=MEMORY;PRAGMA cache_size=-%d;"
             "PRAGMA synchronous=FULL;PRAGMA wal_autocheckpoint=0;PRAGMA journal_size_limit=%d;",
             db->mode == DB_WRITE ? "PRAGMA journal_mode=WAL;" : "",
             db->mode == DB_WRITE ? WRITE_CACHE_KIB : READ_CACHE_KIB, (int)WAL_KEPT_BYTES);
    int code = SQLITE_OK;
    if (db->mode == DB_WRITE && file_bytes(db->path, "") == 0)
        code = apply_layout(db, mode);
    return code == SQLITE_OK ? exec_when_free(db, settings) : code;
}

void db_set_busy_timeout(db_t *db, int64_t timeout_ms)
{
    sqlite3_busy_timeout(db->handle, (int)timeout_ms);
}

/* sqlite opens for reading what it may not write, file or WAL, and such a handle never writes
 * again; or then there is no WAL that it could read. */
static result_t open_failed(db_t *db, int code)
{
    int system_errno = errno;
    result_t r = db_failed(db, code);
    bool is_read_only = (code & 0xff) == SQLITE_READONLY ||
                        ((code & 0xff) == SQLITE_CANTOPEN && system_errno == ENOENT);
    if (!is_read_only)
        return r;
    snprintf(db->error, sizeof db->error, "it is read-only here");
    return RESULT_FULL;
}

/* Opens the WAL too, which is else opened when it is needed. */
static int begin_and_end(db_t *db)
{
    db_set_busy_timeout(db, 0);
    errno = 0;
    int code = sqlite3_exec(db->handle, "BEGIN IMMEDIATE;ROLLBACK", NULL, NULL, NULL);
    db_set_busy_timeout(db, BUSY_TIMEOUT_MS);
    return (code & 0xff) == SQLITE_BUSY ? SQLITE_OK : code;
}

static result_t configure(db_t *db, db_mode_t mode)
{
    sqlite3_extended_result_codes(db->handle, 1);
    db_set_busy_timeout(db, BUSY_TIMEOUT_MS);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    int code = apply_settings(db, mode);
    if (code == SQLITE_OK && db->mode == DB_WRITE)
        code = sqlite3_db_readonly(db->handle, "main") ? SQLITE_READONLY : begin_and_end(db);
    if (code != SQLITE_OK)
        return open_failed(db, code);
    sqlite3_wal_hook(db->handle, on_wal, db);
    result_t r = pragma_int(db, "PRAGMA page_size", &db->page_bytes);
    if (r == RESULT_OK) /* what a killed process left */
        db->wal_frames = file_bytes(db->path, "-wal") / db->page_bytes;
    return r;
}

result_t db_open(const char *path, db_mode_t mode, db_t **ret_db, fault_t *fault)
{
    bool writes = mode != DB_READ;
    if (!writes && access(path, F_OK) != 0 && errno == ENOENT)
        return fault_set(fault, RESULT_NOT_FOUND, "%s does not exist", path);
    result_t r = writes ? make_file(path, fault) : RESULT_OK;
    if (r != RESULT_OK)
        return r;
    db_t *db = MEM_NEW(db_t);
    db->mode = writes ? DB_WRITE : DB_READ;
    db->path = mem_strdup(path);
    int flags = writes ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
    errno = 0;
    /* counting memory costs a lock at each allocation; refused, as it is set, after the first time
     */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    int code = sqlite3_open_v2(path, &db->handle, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (!db->handle)
        PANIC("out of memory in sqlite");
    r = code == SQLITE_OK ? configure(db, mode) : open_failed(db, code);
    if (r != RESULT_OK) {
        fault_set(fault, r, "cannot open %s: %s", path, db->error);
        db_close(&db);
        return r;
    }
    *ret_db = db;
    return RESULT_OK;
}

static result_t count_tables(db_t *db, const char *table, int64_t *ret_all, int64_t *ret_named)
{
    db_stmt_t *stmt =
        db_stmt(db, "SELECT COUNT(*), COALESCE(SUM(name = $1), 0) FROM sqlite_master");
    db_bind_text(stmt, 1, slice_of(table));
    result_t r = db_step(stmt);
    if (r == RESULT_OK) {
        *ret_all = db_int(stmt, 0);
        *ret_named = db_int(stmt, 1);
    }
    db_reset(stmt);
    return r;
}

/* We set no application id; another program's may be set. */
static result_t probe(db_t *db, const char *table, fault_t *fault)
{
    int64_t application = 0, all = 0, named = 0;
    result_t r = pragma_int(db, "PRAGMA application_id", &application);
    if (r == RESULT_OK)
        r = count_tables(db, table, &all, &named);
    if (r != RESULT_OK)
        return fault_set(fault, r, "%s: %s", db->path, db->error);
    if (application != 0 || (all > 0 && named == 0))
        return fault_set(fault, RESULT_CORRUPT,
                         "%s belongs to another program: it has no table %s of ours%s", db->path,
                         table, way_out);
    return all > 0 ? RESULT_OK : RESULT_NOT_FOUND;
}

result_t db_probe(const char *path, const char *table, bool shared, fault_t *fault)
{
    struct stat st;
    db_t *db = NULL;
    if (stat(path, &st) != 0)
        return errno == ENOENT ? RESULT_NOT_FOUND
                               : fault_set(fault, result_of_errno(errno), "cannot read %s: %s",
                                           path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return fault_set(fault, RESULT_CORRUPT, "%s is not a file: move it away", path);
    /* sqlite would remove that; if shared, another process may be making it */
    if (st.st_size == 0 && !shared && file_bytes(path, "-wal") > 0)
        return fault_set(fault, RESULT_CORRUPT, "%s is empty, but %s-wal beside it is not%s", path,
                         path, way_out);
    if (st.st_size == 0)
        return RESULT_NOT_FOUND;
    result_t r = db_open(path, DB_READ, &db, fault);
    if (db)
        r = probe(db, table, fault);
    db_close(&db);
    return r;
}

void db_close(db_t **db_ref)
{
    db_t *db = *db_ref;
    if (!db)
        return;
    db_end_statements(db);
    sqlite3_close(db->handle);
    free(db->path);
    free(db);
    *db_ref = NULL;
}

static void add_ddl(buf_t *buf, const char *sql)
{
    static const struct {
        const char *word, *meaning;
    } words[] = {
        {"${key}", "INTEGER PRIMARY KEY"},
        {"${clustered}", "WITHOUT ROWID"},
    };
    while (*sql) {
        size_t skip = 0;
        for (size_t i = 0; i < sizeof words / sizeof *words && !skip; i++)
            if (strncmp(sql, words[i].word, strlen(words[i].word)) == 0) {
                skip = strlen(words[i].word);
                buf_add_str(buf, words[i].meaning);
            }
        if (!skip)
            buf_add_char(buf, *sql);
        sql += skip ? skip : 1;
    }
}

result_t db_exec(db_t *db, const char *sql, fault_t *fault)
{
    AUTO_BUF ddl = {0};
    add_ddl(&ddl, sql);
    errno = 0;
    int code = sqlite3_exec(db->handle, ddl.data ? ddl.data : "", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        return RESULT_OK;
    result_t r = db_failed(db, code);
    return fault_set(fault, r, "%s: %s", db->path, db->error);
}

result_t db_begin(db_t *db)
{
    return db_run(db_stmt(db, db->mode == DB_WRITE ? "BEGIN IMMEDIATE" : "BEGIN"));
}

result_t db_commit(db_t *db)
{
    return db_run(db_stmt(db, "COMMIT"));
}

void db_rollback(db_t *db)
{
    /* sqlite has rolled back by itself after some failures. */
    if (sqlite3_get_autocommit(db->handle))
        return;
    char error[sizeof db->error]; /* the failure that led here is what db_error is asked for */
    memcpy(error, db->error, sizeof error);
    if (db_run(db_stmt(db, "ROLLBACK")) == RESULT_OK)
        memcpy(db->error, error, sizeof error);
}

result_t db_data_version(db_t *db, int64_t *ret_version)
{
    return pragma_int(db, "PRAGMA data_version", ret_version);
}

result_t db_checkpoint(db_t *db)
{
    int frames = 0, moved = 0;
    errno = 0;
    int code =
        sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames, &moved);
    if ((code & 0xff) == SQLITE_BUSY)
        return RESULT_OK; /* another connection is at it */
    if (code != SQLITE_OK)
        return db_failed(db, code);
    db->wal_frames = frames;
    db->backfilled_frames = moved;
    return RESULT_OK;
}

/* A checkpoint syncs the WAL first. Then it writes anew what the WAL holds: a sync alone would not
 * do, because after one that failed the kernel may take the pages for written. */
result_t db_settle(db_t *db)
{
    result_t r = db_checkpoint(db);
    return r == RESULT_FULL ? RESULT_OK : r;
}

int64_t db_wal_bytes(const db_t *db)
{
    return (db->wal_frames - db->backfilled_frames) * db->page_bytes;
}

result_t db_free_bytes(db_t *db, int64_t *ret_bytes)
{
    int64_t pages = 0;
    result_t r = pragma_int(db, "PRAGMA freelist_count", &pages);
    if (r == RESULT_OK)
        *ret_bytes = pages * db->page_bytes;
    return r;
}

result_t db_shrink(db_t *db, int64_t max_bytes)
{
    char sql[64];
    int64_t pages = max_bytes / db->page_bytes;
    snprintf(sql, sizeof sql, "PRAGMA incremental_vacuum(%lld)", (long long)(pages ? pages : 1));
    errno = 0;
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? RESULT_OK : db_failed(db, code);
}

const char *db_error(const db_t *db)
{
    return db->error;
}

int64_t db_size_bytes(const db_t *db)
{
    return file_bytes(db->path, "") + file_bytes(db->path, "-wal") + file_bytes(db->path, "-shm");
}
