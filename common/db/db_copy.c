/* Copying a file with the online backup interface, while others write to it. */
#include "common/base/cleanup.h"
#include "common/db/db_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { STEP_PAGES = 1024 };

static result_t make_target(const char *path, fault_t *fault)
{
    AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0)
        return RESULT_OK;
    result_t r = errno == EEXIST                      ? RESULT_EXISTS
                 : errno == ENOSPC || errno == EDQUOT ? RESULT_FULL
                                                      : RESULT_IO;
    return fault_set(fault, r, "cannot make %s: %s", path, strerror(errno));
}

static result_t sync_file(const char *path, fault_t *fault)
{
    AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return fault_set(fault, RESULT_IO, "cannot write %s: %s", path, strerror(errno));
    return RESULT_OK;
}

static result_t copy_failed(const char *path, sqlite3 *to, fault_t *fault)
{
    int code = sqlite3_errcode(to);
    return fault_set(fault, (code & 0xff) == SQLITE_FULL ? RESULT_FULL : RESULT_IO,
                     "cannot copy to %s: %s", path, sqlite3_errmsg(to));
}

/* The pages of the state that from has open. */
static result_t copy_pages(db_t *from, sqlite3 *to, const char *path, db_on_copied *on_copied,
                           void *owner, fault_t *fault)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from->handle, "main");
    int code = backup ? SQLITE_OK : SQLITE_ERROR;
    bool goes_on = true;
    while (code == SQLITE_OK && goes_on) {
        code = sqlite3_backup_step(backup, STEP_PAGES);
        int64_t total = sqlite3_backup_pagecount(backup);
        int64_t left = sqlite3_backup_remaining(backup);
        goes_on = on_copied(owner, (total - left) * from->page_bytes, total * from->page_bytes);
    }
    if (backup)
        sqlite3_backup_finish(backup);
    if (code == SQLITE_DONE)
        return RESULT_OK;
    if (code == SQLITE_OK)
        return fault_set(fault, RESULT_AGAIN, "the copy was given up");
    return copy_failed(path, to, fault);
}

/* No journal and no sync: what is cut short is thrown away as a whole, and the end is synced. */
static result_t fill_target(db_t *from, const char *path, db_on_copied *on_copied, void *owner,
                            fault_t *fault)
{
    sqlite3 *to = NULL;
    int code = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (!to)
        PANIC("out of memory in sqlite");
    if (code == SQLITE_OK)
        code =
            sqlite3_exec(to, "PRAGMA journal_mode=OFF;PRAGMA synchronous=OFF;", NULL, NULL, NULL);
    result_t r = code == SQLITE_OK ? copy_pages(from, to, path, on_copied, owner, fault)
                                   : copy_failed(path, to, fault);
    sqlite3_close(to);
    return r;
}

/* A transaction that reads keeps its state until it ends, however much is committed meanwhile. */
static result_t open_state(db_t *from)
{
    result_t r = db_begin(from);
    if (r != RESULT_OK)
        return r;
    db_stmt_t *stmt = db_stmt(from, "SELECT COUNT(*) FROM sqlite_master");
    r = db_step(stmt);
    db_reset(stmt);
    return r;
}

result_t db_copy(db_t *from, const char *path, db_on_copied *on_copied, void *owner, fault_t *fault)
{
    result_t r = open_state(from);
    if (r != RESULT_OK) {
        db_rollback(from);
        return fault_set(fault, r, "%s: %s", from->path, from->error);
    }
    r = make_target(path, fault);
    if (r == RESULT_OK)
        r = fill_target(from, path, on_copied, owner, fault);
    db_rollback(from);
    return r == RESULT_OK ? sync_file(path, fault) : r;
}
