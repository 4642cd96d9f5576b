/* The files of segments: names, making, removing. */
#include "services/auditor/segment.h"
#include "common/base/cleanup.h"
#include "common/base/crash.h"
#include "common/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define PREFIX   "segment-"
#define PREPARED "segment-next.new"
#define DAMAGED  ".damaged"
enum { DIGITS = 20 };

static const char *const besides[] = {"", "-wal", "-shm", "-journal"};
enum { N_BESIDES = sizeof besides / sizeof *besides };

static const char *const schema =
    "CREATE TABLE record (audit_id ${key}, prev_id BIGINT NOT NULL, at_ms BIGINT NOT NULL,"
    " topic TEXT NOT NULL, node TEXT NOT NULL, service TEXT NOT NULL, status BIGINT NOT NULL,"
    " event_id TEXT, webhook_id TEXT, events_id TEXT, object_kind TEXT, object TEXT,"
    " handler_id BIGINT);"
    "CREATE TABLE detail (audit_id ${key}, bytes BLOB NOT NULL);"
    "CREATE INDEX record_event ON record (event_id) WHERE event_id IS NOT NULL;"
    "CREATE INDEX record_webhook ON record (webhook_id) WHERE webhook_id IS NOT NULL;"
    "CREATE TABLE state (id ${key}, version BIGINT NOT NULL, first_id BIGINT NOT NULL,"
    " next_id BIGINT NOT NULL, handlers_seq BIGINT NOT NULL, created_ms BIGINT NOT NULL,"
    " attempts BIGINT NOT NULL, first_ms BIGINT NOT NULL, last_ms BIGINT NOT NULL,"
    " first_event TEXT NOT NULL, last_event TEXT NOT NULL, indexed BIGINT NOT NULL);"
    "CREATE TABLE topic (topic TEXT PRIMARY KEY, last_id BIGINT NOT NULL) ${clustered};"
    "CREATE TABLE mark (node TEXT NOT NULL, boot BIGINT NOT NULL, service TEXT NOT NULL,"
    " number BIGINT NOT NULL, heard_ms BIGINT NOT NULL, PRIMARY KEY (node, boot)) ${clustered};"
    "CREATE TABLE origin (node TEXT PRIMARY KEY, number BIGINT NOT NULL) ${clustered};";

void segment_path(const char *dir, int64_t first_id, char ret_path[static PATH_MAX])
{
    int size = snprintf(ret_path, PATH_MAX, "%s/" PREFIX "%0*lld.db", dir, (int)DIGITS,
                        (long long)first_id);
    ENSURE(size < PATH_MAX);
}

static void prepared_path(const char *dir, char ret_path[static PATH_MAX])
{
    int size = snprintf(ret_path, PATH_MAX, "%s/" PREPARED, dir);
    ENSURE(size < PATH_MAX);
}

static result_t remove_one(const char *path, const char *beside)
{
    char name[PATH_MAX + 16];
    snprintf(name, sizeof name, "%s%s", path, beside);
    return unlink(name) == 0 || errno == ENOENT ? RESULT_OK : result_of_errno(errno);
}

static result_t remove_besides(const char *path)
{
    result_t r = RESULT_OK;
    for (size_t i = 1; i < N_BESIDES && r == RESULT_OK; i++)
        r = remove_one(path, besides[i]);
    return r;
}

/* The file goes first: without it the rest is nothing, and segment_list removes it. */
result_t segment_remove(const char *dir, int64_t first_id)
{
    char path[PATH_MAX];
    segment_path(dir, first_id, path);
    result_t r = remove_one(path, "");
    CRASH_POINT("auditor.retention");
    return r == RESULT_OK ? remove_besides(path) : r;
}

static result_t move_one(const char *path, const char *beside, fault_t *fault)
{
    char from[PATH_MAX + 16], to[PATH_MAX + 32];
    snprintf(from, sizeof from, "%s%s", path, beside);
    snprintf(to, sizeof to, "%s" DAMAGED "%s", path, beside);
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0 || errno == ENOENT)
        return RESULT_OK;
    return fault_set(fault, result_of_errno(errno), "cannot rename %s to %s: %s", from, to,
                     strerror(errno));
}

/* The file goes last: without it, segment_list would remove the rest. */
result_t segment_set_aside(const char *dir, int64_t first_id, fault_t *fault)
{
    char path[PATH_MAX];
    segment_path(dir, first_id, path);
    (void)!remove_one(path, "-shm"); /* is made of the WAL */
    result_t r = move_one(path, "-wal", fault);
    return r == RESULT_OK ? move_one(path, "", fault) : r;
}

static bool is_there(const char *path, const char *beside)
{
    char name[PATH_MAX + 32];
    snprintf(name, sizeof name, "%s%s", path, beside);
    return access(name, F_OK) == 0;
}

bool segment_is_half_aside(const char *dir, int64_t first_id)
{
    char path[PATH_MAX];
    segment_path(dir, first_id, path);
    return is_there(path, "") && is_there(path, DAMAGED "-wal") && !is_there(path, DAMAGED);
}

static result_t remove_prepared(const char *path)
{
    result_t r = remove_one(path, "");
    return r == RESULT_OK ? remove_besides(path) : r;
}

int64_t segment_bytes(const char *dir, int64_t first_id)
{
    char path[PATH_MAX];
    int64_t bytes = 0;
    segment_path(dir, first_id, path);
    for (size_t i = 0; i < N_BESIDES; i++) {
        struct stat st;
        char name[PATH_MAX + 16];
        snprintf(name, sizeof name, "%s%s", path, besides[i]);
        if (stat(name, &st) == 0)
            bytes += st.st_size;
    }
    return bytes;
}

static result_t make_tables(db_t *db, fault_t *fault)
{
    result_t r = db_begin(db);
    if (r == RESULT_OK)
        r = db_exec(db, schema, fault);
    if (r == RESULT_OK)
        r = db_commit(db);
    if (r != RESULT_OK)
        db_rollback(db);
    /* closing may fail to, and says nothing; the WAL would not get the new name */
    if (r == RESULT_OK)
        r = db_checkpoint(db);
    if (r == RESULT_OK && db_wal_bytes(db) > 0)
        r = RESULT_AGAIN;
    return r == RESULT_OK ? r : fault_set(fault, r, "a new segment: %s", db_error(db));
}

result_t segment_prepare(const char *dir, fault_t *fault)
{
    char path[PATH_MAX];
    db_t *db = NULL;
    prepared_path(dir, path);
    result_t r = remove_prepared(path);
    if (r != RESULT_OK)
        return fault_set(fault, r, "cannot remove %s: %s", path, strerror(errno));
    r = db_open(path, DB_BULK, &db, fault);
    if (r != RESULT_OK)
        return r;
    r = make_tables(db, fault);
    db_close(&db);
    return r;
}

result_t segment_name(const char *dir, int64_t first_id, fault_t *fault)
{
    char from[PATH_MAX], to[PATH_MAX];
    prepared_path(dir, from);
    segment_path(dir, first_id, to);
    if (rename(from, to) == 0)
        return RESULT_OK;
    return fault_set(fault, errno == ENOENT ? RESULT_NOT_FOUND : result_of_errno(errno),
                     "cannot rename %s to %s: %s", from, to, strerror(errno));
}

result_t segment_sync_dir(const char *dir, fault_t *fault)
{
    AUTO_FD fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && fsync(fd) == 0)
        return RESULT_OK;
    result_t r = fd < 0 ? result_of_errno(errno) : RESULT_IO;
    return fault_set(fault, r, "cannot sync %s: %s", dir, strerror(errno));
}

/* segment-<20 digits>.db; ret_rest is what follows. */
static bool parse_name(const char *name, int64_t *ret_first_id, const char **ret_rest)
{
    size_t prefix = strlen(PREFIX);
    if (strncmp(name, PREFIX, prefix) != 0 || strspn(name + prefix, "0123456789") != DIGITS ||
        strncmp(name + prefix + DIGITS, ".db", 3) != 0)
        return false;
    *ret_first_id = strtoll(name + prefix, NULL, 10); /* too large: INT64_MAX */
    *ret_rest = name + prefix + DIGITS + 3;
    return *ret_first_id > 0;
}

result_t segment_probe(const char *dir, int64_t first_id, fault_t *fault)
{
    char path[PATH_MAX];
    segment_path(dir, first_id, path);
    return db_probe(path, "state", false, fault);
}

static bool has_segment(const char *dir, int64_t first_id)
{
    char path[PATH_MAX];
    segment_path(dir, first_id, path);
    return is_there(path, "");
}

static int by_id(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

typedef struct {
    int64_t *ids;
    size_t n;
} listing_t;

static void add_id(listing_t *listing, int64_t first_id)
{
    listing->ids = mem_realloc(listing->ids, (listing->n + 1) * sizeof *listing->ids);
    listing->ids[listing->n++] = first_id;
}

static void give_listing(listing_t *listing, int64_t **ret_ids, size_t *ret_n)
{
    if (listing->n)
        qsort(listing->ids, listing->n, sizeof *listing->ids, by_id);
    *ret_ids = listing->ids;
    *ret_n = listing->n;
}

static result_t open_folder(const char *dir, DIR **ret_folder, fault_t *fault)
{
    *ret_folder = opendir(dir);
    if (*ret_folder)
        return RESULT_OK;
    return fault_set(fault, result_of_errno(errno), "cannot read %s: %s", dir, strerror(errno));
}

result_t segment_list(const char *dir, int64_t **ret_ids, size_t *ret_n, fault_t *fault)
{
    DIR *folder;
    listing_t listing = {0};
    int64_t first_id;
    const char *rest;
    result_t r = open_folder(dir, &folder, fault);
    if (r != RESULT_OK)
        return r;
    for (struct dirent *entry; r == RESULT_OK && (entry = readdir(folder));) {
        if (!parse_name(entry->d_name, &first_id, &rest) ||
            strncmp(rest, DAMAGED, strlen(DAMAGED)) == 0)
            continue;
        if (first_id == INT64_MAX) {
            r = fault_set(fault, RESULT_CORRUPT,
                          "%s/%s has a number that no record can have: move it out of the folder",
                          dir, entry->d_name);
            break;
        }
        if (*rest && !has_segment(dir, first_id)) /* a removal that was cut short */
            r = segment_remove(dir, first_id);
        if (!*rest)
            add_id(&listing, first_id);
    }
    closedir(folder);
    if (r != RESULT_OK) {
        free(listing.ids);
        return r == RESULT_CORRUPT
                   ? r
                   : fault_set(fault, r, "cannot remove what is left of a segment in %s", dir);
    }
    give_listing(&listing, ret_ids, ret_n);
    return RESULT_OK;
}

result_t segment_list_aside(const char *dir, int64_t **ret_ids, size_t *ret_n, fault_t *fault)
{
    DIR *folder;
    listing_t listing = {0};
    int64_t first_id;
    const char *rest;
    result_t r = open_folder(dir, &folder, fault);
    if (r != RESULT_OK)
        return r;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (parse_name(entry->d_name, &first_id, &rest) && strcmp(rest, DAMAGED) == 0)
            add_id(&listing, first_id);
    closedir(folder);
    give_listing(&listing, ret_ids, ret_n);
    return RESULT_OK;
}
