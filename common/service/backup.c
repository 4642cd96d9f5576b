#include "common/service/backup.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

typedef enum { NONE, RUNNING, DONE, FAILED } state_t;

static const char *const states[] = {"none", "running", "done", "failed"};

struct backup_t {
    const backup_part_t *parts;
    void *self;
    char *data_dir;
    int64_t free_min;

    /* of the copy that runs, or ran last; the thread's while it runs */
    const backup_part_t *part;
    char *dir;
    pthread_t thread;
    bool has_thread; /* to be joined */

    pthread_mutex_t mutex; /* for what follows */
    state_t state;
    bool stop;
    int64_t done_bytes, total_bytes;
    fault_t fault;
};

backup_t *backup_new(const backup_part_t *parts, void *self, const char *data_dir, int64_t free_min)
{
    backup_t *backup = MEM_NEW(backup_t);
    *backup = (backup_t){
        .parts = parts, .self = self, .data_dir = mem_strdup(data_dir), .free_min = free_min};
    ENSURE(pthread_mutex_init(&backup->mutex, NULL) == 0);
    return backup;
}

static void join(backup_t *backup)
{
    if (backup->has_thread)
        ENSURE(pthread_join(backup->thread, NULL) == 0);
    backup->has_thread = false;
}

void backup_destroy(backup_t **backup_ref)
{
    backup_t *backup = *backup_ref;
    if (!backup)
        return;
    pthread_mutex_lock(&backup->mutex);
    backup->stop = true;
    pthread_mutex_unlock(&backup->mutex);
    join(backup);
    pthread_mutex_destroy(&backup->mutex);
    free(backup->dir);
    free(backup->data_dir);
    free(backup);
    *backup_ref = NULL;
}

/* ---- The thread ------------------------------------------------------------------------- */

static bool on_copied(void *owner, int64_t done_bytes, int64_t total_bytes)
{
    backup_t *backup = owner;
    pthread_mutex_lock(&backup->mutex);
    backup->done_bytes = done_bytes;
    backup->total_bytes = total_bytes;
    bool goes_on = !backup->stop;
    pthread_mutex_unlock(&backup->mutex);
    return goes_on;
}

/* A backup must not be what makes intake busy. */
static result_t check_room(const backup_t *backup, int64_t bytes, const char *dir, fault_t *fault)
{
    struct stat from, to;
    struct statvfs disk;
    if (stat(backup->data_dir, &from) != 0 || stat(dir, &to) != 0 || statvfs(dir, &disk) != 0)
        return fault_set(fault, RESULT_IO, "cannot look at %s: %s", dir, strerror(errno));
    int64_t free_bytes = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
    if (from.st_dev != to.st_dev || free_bytes - bytes >= backup->free_min)
        return RESULT_OK;
    return fault_set(fault, RESULT_FULL,
                     "a copy in %s would leave less than disk.min_free; choose another disk", dir);
}

static result_t change(const char *path, result_t (*move_on)(db_t *copy), fault_t *fault)
{
    db_t *db = NULL;
    result_t r = db_open(path, DB_WRITE, &db, fault);
    if (r != RESULT_OK)
        return r;
    r = db_begin(db);
    if (r == RESULT_OK)
        r = move_on(db);
    if (r == RESULT_OK)
        r = db_commit(db);
    if (r != RESULT_OK) {
        db_rollback(db);
        fault_set(fault, r, "%s: %s", path, db_error(db));
    }
    db_close(&db); /* the only connection: moves the WAL into the file, synced, and ends it */
    return r;
}

result_t backup_file(backup_t *backup, const char *from, const char *dir, const char *name,
                     result_t (*move_on)(db_t *copy), fault_t *fault)
{
    db_t *db = NULL;
    AUTO_BUF path = {0};
    buf_printf(&path, "%s/%s", dir, name);
    result_t r = db_open(from, DB_READ, &db, fault);
    if (r != RESULT_OK)
        return r;
    r = check_room(backup, db_size_bytes(db), dir, fault);
    if (r == RESULT_OK)
        r = db_copy(db, path.data, on_copied, backup, fault);
    db_close(&db);
    return r == RESULT_OK && move_on ? change(path.data, move_on, fault) : r;
}

static void *run(void *arg)
{
    backup_t *backup = arg;
    fault_t fault = {""};
    result_t r = backup->part->copy(backup->self, backup, backup->dir, &fault);
    pthread_mutex_lock(&backup->mutex);
    backup->state = r == RESULT_OK ? DONE : FAILED;
    backup->fault = fault;
    pthread_mutex_unlock(&backup->mutex);
    return NULL;
}

/* ---- The questions ---------------------------------------------------------------------- */

static state_t read_state(backup_t *backup)
{
    pthread_mutex_lock(&backup->mutex);
    state_t state = backup->state;
    pthread_mutex_unlock(&backup->mutex);
    return state;
}

static const backup_part_t *find_part(const backup_t *backup, const char *name)
{
    for (const backup_part_t *part = backup->parts; name && part->name; part++)
        if (strcmp(part->name, name) == 0)
            return part;
    return NULL;
}

result_t backup_start(backup_t *backup, const json_tree_t *question, fault_t *fault)
{
    const char *dir = json_get_str(question, "dir");
    const backup_part_t *part = find_part(backup, json_get_str(question, "part"));
    if (!part)
        return fault_set(fault, RESULT_INVALID, "part must name a store of this stage");
    if (!dir || *dir != '/')
        return fault_set(fault, RESULT_INVALID, "dir must be an absolute path");
    if (read_state(backup) == RUNNING)
        return fault_set(fault, RESULT_AGAIN, "another backup is running");
    join(backup);
    free(backup->dir);
    backup->dir = mem_strdup(dir);
    backup->part = part;
    backup->state = RUNNING;
    backup->done_bytes = backup->total_bytes = 0;
    backup->has_thread = pthread_create(&backup->thread, NULL, run, backup) == 0;
    if (backup->has_thread)
        return RESULT_OK;
    backup->state = FAILED;
    return fault_set(fault, RESULT_AGAIN, "no thread could be started");
}

void backup_status(backup_t *backup, json_writer_t *w)
{
    pthread_mutex_lock(&backup->mutex);
    json_key_str(w, "state", states[backup->state]);
    json_key_int(w, "done", backup->done_bytes);
    json_key_int(w, "total", backup->total_bytes);
    if (backup->state == FAILED)
        json_key_str(w, "error", backup->fault.text);
    pthread_mutex_unlock(&backup->mutex);
}
