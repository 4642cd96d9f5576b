#include "common/db/store.h"
#include "common/base/cleanup.h"
#include "common/base/crash.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { NODE_SIZE = 16 };

struct store_t {
    db_t *db;
    char *path;
    char node[NODE_SIZE + 1];
    int lock_fd; /* -1: shared, or not opened yet */
};

static result_t errno_fault(fault_t *fault, const char *what, const char *path)
{
    return fault_set(fault, result_of_errno(errno), "cannot %s %s: %s", what, path,
                     strerror(errno));
}

/* After a power cut a file in a new folder is there only if the folder's own entry was written. */
static result_t sync_parent(const char *dir, fault_t *fault)
{
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s/..", dir);
    AUTO_FD fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno_fault(fault, "open the folder above", dir);
    if (fsync(fd) != 0 && errno != EINVAL) /* EINVAL: it cannot sync folders */
        return fault_set(fault, RESULT_IO, "cannot write the folder above %s: %s", dir,
                         strerror(errno));
    return RESULT_OK;
}

/* An existing folder keeps its mode: whoever made it decided. */
static result_t make_dir(const char *dir, fault_t *fault)
{
    struct stat st;
    if (mkdir(dir, 0700) != 0) {
        if (errno == EEXIST && stat(dir, &st) == 0 && S_ISDIR(st.st_mode))
            return RESULT_OK;
        return errno_fault(fault, "make the folder", dir);
    }
    if (chmod(dir, 0700) != 0)
        return errno_fault(fault, "set the mode of", dir);
    return sync_parent(dir, fault);
}

static result_t make_dirs(const char *dir, fault_t *fault)
{
    char path[PATH_MAX];
    size_t size = strlen(dir);
    if (size == 0 || size > PATH_MAX - 64)
        return fault_set(fault, RESULT_INVALID, "a folder's name has 1 to %d bytes", PATH_MAX - 64);
    memcpy(path, dir, size + 1);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        result_t r = make_dir(path, fault);
        if (r != RESULT_OK)
            return r;
        *slash = '/';
    }
    return path[size - 1] == '/' ? RESULT_OK : make_dir(path, fault);
}

static result_t locked_by(int fd, const store_spec_t *spec, fault_t *fault)
{
    char text[128] = "", service[64] = "";
    int pid = 0;
    ssize_t size = pread(fd, text, sizeof text - 1, 0);
    if (size > 0 && sscanf(text, "%d %63[a-z0-9_-]", &pid, service) == 2)
        return fault_set(fault, RESULT_LOCKED,
                         "%s.db in %s is in use by provisor-%s (pid %d); stop it or choose another "
                         "--data",
                         spec->name, spec->dir, service, pid);
    return fault_set(fault, RESULT_LOCKED,
                     "%s.db in %s is in use by another process; stop it or choose another --data",
                     spec->name, spec->dir);
}

static result_t take_lock(store_t *store, const store_spec_t *spec, fault_t *fault)
{
    char path[PATH_MAX], text[128];
    snprintf(path, sizeof path, "%s/%s.lock", spec->dir, spec->name);
    int fd = store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno_fault(fault, "open", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? locked_by(fd, spec, fault) : errno_fault(fault, "lock", path);
    /* The text only serves the message; a disk too full for it must not stop the start. */
    int size = snprintf(text, sizeof text, "%d %s\n", (int)getpid(), spec->service);
    bool written =
        fchmod(fd, 0600) == 0 && ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)size, 0) == size;
    (void)written;
    return RESULT_OK;
}

static result_t db_fault(const store_t *store, result_t r, fault_t *fault)
{
    return fault_set(fault, r, "%s: %s", store->path, db_error(store->db));
}

static int64_t count_migrations(const store_spec_t *spec)
{
    int64_t n = 0;
    while (spec->migrations[n])
        n++;
    return n;
}

static result_t choose_node(db_t *db)
{
    uint64_t chance = 0;
    char node[NODE_SIZE + 1];
    if (getrandom(&chance, sizeof chance, 0) != sizeof chance)
        PANIC("no random numbers: %s", strerror(errno));
    snprintf(node, sizeof node, "%016llx", (unsigned long long)chance);
    return store_meta_set_text(db, "node", slice_of(node));
}

/* A store under the name of another one would lack every table that is asked for. Those that were
 * made before the name was kept do not know it. */
static result_t check_name(store_t *store, const store_spec_t *spec, int64_t version,
                           fault_t *fault)
{
    AUTO_BUF name = {0};
    result_t r = store_meta_text(store->db, "store", &name);
    if (r == RESULT_NOT_FOUND)
        return version > 0 ? RESULT_OK
                           : store_meta_set_text(store->db, "store", slice_of(spec->name));
    if (r == RESULT_OK && !slice_is(buf_slice(&name), spec->name))
        return fault_set(fault, RESULT_CORRUPT,
                         "%s is a copy of the store %.*s; it is left as it is: put a backup of "
                         "%s.db in its place (docs/operations.md, Backup and restore)",
                         store->path, SLICE_ARG(buf_slice(&name)), spec->name);
    return r == RESULT_OK ? r : db_fault(store, r, fault);
}

/* In a transaction: makes store_meta when it is missing, reads what version the file has. */
static result_t read_version(store_t *store, int64_t *ret_version, fault_t *fault)
{
    AUTO_BUF node = {0};
    result_t r = db_exec(store->db,
                         "CREATE TABLE IF NOT EXISTS store_meta (key TEXT NOT NULL PRIMARY KEY, "
                         "value TEXT NOT NULL) ${clustered}",
                         fault);
    if (r != RESULT_OK)
        return r;
    r = store_meta_text(store->db, "node", &node);
    if (r == RESULT_NOT_FOUND)
        r = choose_node(store->db);
    if (r == RESULT_OK)
        r = store_meta_int(store->db, "version", ret_version);
    return r == RESULT_OK ? r : db_fault(store, r, fault);
}

/* One step in the open transaction. RESULT_NOT_FOUND: there is nothing left to do. Each step looks
 * at the version anew, because another process may migrate a shared store at the same time. */
static result_t migrate_step(store_t *store, const store_spec_t *spec, fault_t *fault)
{
    int64_t version = 0, newest = count_migrations(spec);
    result_t r = read_version(store, &version, fault);
    if (r != RESULT_OK)
        return r;
    r = check_name(store, spec, version, fault);
    if (r != RESULT_OK)
        return r;
    if (version > newest)
        return fault_set(fault, RESULT_VERSION,
                         "%s has version %lld, written by a newer provisor; this one knows up to "
                         "version %lld: use the newer one, or restore the backup from before the "
                         "upgrade (docs/operations.md)",
                         store->path, (long long)version, (long long)newest);
    if (version == newest)
        return RESULT_NOT_FOUND;
    r = db_exec(store->db, spec->migrations[version], fault);
    if (r != RESULT_OK)
        return r;
    CRASH_POINT("store.migrating");
    r = store_meta_set_int(store->db, "version", version + 1);
    return r == RESULT_OK ? r : db_fault(store, r, fault);
}

static result_t migrate(store_t *store, const store_spec_t *spec, fault_t *fault)
{
    for (;;) {
        result_t r = db_begin(store->db);
        if (r != RESULT_OK)
            return db_fault(store, r, fault);
        r = migrate_step(store, spec, fault);
        bool finished = r == RESULT_NOT_FOUND;
        if (r != RESULT_OK && !finished) {
            db_rollback(store->db);
            return r;
        }
        r = db_commit(store->db);
        if (r != RESULT_OK) {
            db_rollback(store->db);
            return db_fault(store, r, fault);
        }
        if (finished)
            return RESULT_OK;
    }
}

static result_t read_node(store_t *store, fault_t *fault)
{
    AUTO_BUF node = {0};
    result_t r = store_meta_text(store->db, "node", &node);
    if (r == RESULT_OK && node.size != NODE_SIZE)
        return fault_set(fault, RESULT_CORRUPT, "%s: store_meta holds no node id", store->path);
    if (r != RESULT_OK)
        return db_fault(store, r, fault);
    memcpy(store->node, node.data, NODE_SIZE + 1);
    return RESULT_OK;
}

static result_t open_parts(store_t *store, const store_spec_t *spec, fault_t *fault)
{
    result_t r = make_dirs(spec->dir, fault);
    if (r == RESULT_OK && !spec->shared)
        r = take_lock(store, spec, fault);
    /* What passes, like a file that is busy, is for the opening itself. */
    if (r == RESULT_OK &&
        db_probe(store->path, "store_meta", spec->shared, fault) == RESULT_CORRUPT)
        return RESULT_CORRUPT;
    if (r == RESULT_OK)
        r = db_open(store->path, DB_WRITE, &store->db, fault);
    if (r == RESULT_OK && !spec->shared && (r = db_settle(store->db)) != RESULT_OK)
        return db_fault(store, r, fault);
    if (r == RESULT_OK)
        r = migrate(store, spec, fault);
    return r == RESULT_OK ? read_node(store, fault) : r;
}

result_t store_open(const store_spec_t *spec, store_t **ret_store, fault_t *fault)
{
    store_t *store = MEM_NEW(store_t);
    AUTO_BUF path = {0};
    buf_printf(&path, "%s/%s.db", spec->dir, spec->name);
    store->path = buf_take(&path);
    store->lock_fd = -1;
    result_t r = open_parts(store, spec, fault);
    if (r != RESULT_OK) {
        store_close(&store);
        return r;
    }
    *ret_store = store;
    return RESULT_OK;
}

void store_close(store_t **store_ref)
{
    store_t *store = *store_ref;
    if (!store)
        return;
    db_close(&store->db);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    free(store->path);
    free(store);
    *store_ref = NULL;
}

db_t *store_db(store_t *store)
{
    return store->db;
}

result_t store_reader(const store_t *store, db_t **ret_db, fault_t *fault)
{
    return db_open(store->path, DB_READ, ret_db, fault);
}

const char *store_path(const store_t *store)
{
    return store->path;
}

const char *store_node(const store_t *store)
{
    return store->node;
}

result_t store_meta_int(db_t *db, const char *key, int64_t *ret_value)
{
    AUTO_BUF text = {0};
    result_t r = store_meta_text(db, key, &text);
    if (r == RESULT_NOT_FOUND)
        *ret_value = 0;
    if (r == RESULT_OK)
        *ret_value = strtoll(text.data, NULL, 10);
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

result_t store_meta_set_int(db_t *db, const char *key, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return store_meta_set_text(db, key, slice_of(text));
}

result_t store_meta_text(db_t *db, const char *key, buf_t *ret_value)
{
    db_stmt_t *stmt = db_stmt(db, "SELECT value FROM store_meta WHERE key = $1");
    db_bind_text(stmt, 1, slice_of(key));
    result_t r = db_step(stmt);
    if (r == RESULT_OK) {
        buf_clear(ret_value);
        buf_add_slice(ret_value, db_slice(stmt, 0));
    }
    db_reset(stmt);
    return r;
}

result_t store_meta_set_text(db_t *db, const char *key, slice_t value)
{
    db_stmt_t *stmt = db_stmt(db, "INSERT INTO store_meta (key, value) VALUES ($1, $2) "
                                  "ON CONFLICT (key) DO UPDATE SET value = excluded.value");
    db_bind_text(stmt, 1, slice_of(key));
    db_bind_text(stmt, 2, value);
    return db_run(stmt);
}
