/* Copying a file with the online backup interface, while others write to it. */
#include "common/db/db_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { STEP_PAGES = 1024 };

typedef struct {
    const char *path;
    int fd;
    db_on_copied *on_copied;
    void *owner;
    fault_t *fault;
} target_t;

static result_t make_target(target_t *target)
{
    target->fd = open(target->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (target->fd >= 0)
        return RESULT_OK;
    result_t r = errno == EEXIST                      ? RESULT_EXISTS
                 : errno == ENOSPC || errno == EDQUOT ? RESULT_FULL
                                                      : RESULT_IO;
    return fault_set(target->fault, r, "cannot make %s: %s", target->path, strerror(errno));
}

static result_t copy_failed(const target_t *target, sqlite3 *to)
{
    int code = sqlite3_errcode(to);
    return fault_set(target->fault, (code & 0xff) == SQLITE_FULL ? RESULT_FULL : RESULT_IO,
                     "cannot copy to %s: %s", target->path, sqlite3_errmsg(to));
}

static bool goes_on(const target_t *target, sqlite3_backup *backup, int64_t page_bytes)
{
    int64_t total = sqlite3_backup_pagecount(backup);
    int64_t left = sqlite3_backup_remaining(backup);
    return target->on_copied(target->owner, (total - left) * page_bytes, total * page_bytes);
}

/* The pages of the state that from has open. Synced little by little: a commit of a store on the
 * same disk would wait for all that is not. */
static result_t copy_pages(db_t *from, sqlite3 *to, const target_t *target)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from->handle, "main");
    int code = backup ? SQLITE_OK : SQLITE_ERROR;
    bool stopped = false, synced = true;
    while (code == SQLITE_OK && !stopped && synced) {
        code = sqlite3_backup_step(backup, STEP_PAGES);
        stopped = !goes_on(target, backup, from->page_bytes);
        synced = fdatasync(target->fd) == 0;
    }
    int system_errno = errno;
    if (backup)
        sqlite3_backup_finish(backup);
    if (!synced)
        return fault_set(target->fault, RESULT_IO, "cannot write %s: %s", target->path,
                         strerror(system_errno));
    if (code == SQLITE_DONE)
        return RESULT_OK;
    if (code == SQLITE_OK)
        return fault_set(target->fault, RESULT_AGAIN, "the copy was given up");
    return copy_failed(target, to);
}

/* No journal: what is cut short is thrown away as a whole. */
static result_t fill_target(db_t *from, const target_t *target)
{
    sqlite3 *to = NULL;
    int code =
        sqlite3_open_v2(target->path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (!to)
        PANIC("out of memory in sqlite");
    if (code == SQLITE_OK)
        code =
            sqlite3_exec(to, "PRAGMA journal_mode=OFF;PRAGMA synchronous=OFF;", NULL, NULL, NULL);
    result_t r = code == SQLITE_OK ? copy_pages(from, to, target) : copy_failed(target, to);
    sqlite3_close(to);
    if (r == RESULT_OK && fsync(target->fd) != 0)
        return fault_set(target->fault, RESULT_IO, "cannot write %s: %s", target->path,
                         strerror(errno));
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
    target_t target = {
        .path = path, .fd = -1, .on_copied = on_copied, .owner = owner, .fault = fault};
    result_t r = open_state(from);
    if (r != RESULT_OK) {
        db_rollback(from);
        return fault_set(fault, r, "%s: %s", from->path, from->error);
    }
    r = make_target(&target);
    if (r == RESULT_OK)
        r = fill_target(from, &target);
    if (target.fd >= 0)
        close(target.fd);
    db_rollback(from);
    return r;
}
