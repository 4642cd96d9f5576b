/* shim: what a disk and a clock can do to a process, for the fault harness (LD_PRELOAD).
 *
 * PROVISOR_FAULT_CONTROL names a file of int64 switches (below) that the driver changes while the
 * process runs. With PROVISOR_FAULT_UNDO (a folder) each write to a store is noted there, what was
 * there before and what was written, and forgotten when the file is synced: after a kill the driver
 * can take back what a power cut would have lost.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SYNC_MS, SYNC_FAILURES, SYNC_FAILED, CLOCK_MS, SYNCS, N_SWITCHES };
enum { FD_MAX = 4096, MAGIC = 0x70727673 };

/* Before the bytes of a noted write: old_bytes of them, then new_bytes. */
typedef struct {
    int64_t magic, offset, old_bytes, new_bytes, old_size;
} note_t;

static volatile int64_t no_switches[N_SWITCHES];
static volatile int64_t *switches = no_switches;
static const char *undo_folder;
static char *paths[FD_MAX]; /* of stores' files that are open; guarded by the mutex */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void load(void)
{
    const char *control = getenv("PROVISOR_FAULT_CONTROL");
    undo_folder = getenv("PROVISOR_FAULT_UNDO");
    int fd = control ? REAL(open)(control, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof no_switches, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED)
        switches = map;
    close(fd);
}

/* ---- stores' files */

static int is_store(const char *path)
{
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    size_t size = strlen(name);
    return strncmp(name, "handlers.", 9) != 0 &&
           ((size > 3 && strcmp(name + size - 3, ".db") == 0) ||
            (size > 7 && strcmp(name + size - 7, ".db-wal") == 0));
}

static void undo_path(const char *path, char *ret_path, size_t size)
{
    snprintf(ret_path, size, "%s/%s", undo_folder, path);
    for (char *c = ret_path + strlen(undo_folder) + 1; *c; c++)
        if (*c == '/')
            *c = '%';
}

static void forget(const char *path)
{
    char undo[2 * PATH_MAX];
    undo_path(path, undo, sizeof undo);
    REAL(truncate)(undo, 0);
}

static void track(int fd, const char *path)
{
    char full[PATH_MAX];
    if (fd < 0 || fd >= FD_MAX || !is_store(path) || !realpath(path, full))
        return;
    pthread_mutex_lock(&mutex);
    free(paths[fd]);
    paths[fd] = strdup(full);
    pthread_mutex_unlock(&mutex);
}

static int is_tracked(int fd)
{
    return fd >= 0 && fd < FD_MAX && paths[fd];
}

/* Before the write is made: a kill between the two leaves a note that undoes nothing. */
static void note(int fd, int64_t offset, const void *bytes, int64_t new_bytes, int64_t old_end)
{
    char undo[2 * PATH_MAX];
    struct stat st;
    if (!undo_folder || fstat(fd, &st) != 0)
        return;
    undo_path(paths[fd], undo, sizeof undo);
    int out = REAL(open)(undo, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out < 0)
        abort();
    int64_t end = old_end < st.st_size ? old_end : st.st_size;
    int64_t old_bytes = end > offset ? end - offset : 0;
    size_t size = sizeof(note_t) + (size_t)(old_bytes + new_bytes);
    char *entry = malloc(size);
    note_t head = {MAGIC, offset, old_bytes, new_bytes, st.st_size};
    memcpy(entry, &head, sizeof head);
    if (pread(fd, entry + sizeof head, (size_t)old_bytes, offset) != old_bytes)
        abort();
    if (new_bytes)
        memcpy(entry + sizeof head + old_bytes, bytes, (size_t)new_bytes);
    if (REAL(write)(out, entry, size) != (ssize_t)size)
        abort();
    free(entry);
    close(out);
}

static int open_tracked(int fd, const char *path)
{
    int code = errno;
    track(fd, path);
    errno = code;
    return fd;
}

#define MODE_OF(flags)                                                                             \
    mode_t mode = 0;                                                                               \
    if ((flags)&O_CREAT) {                                                                         \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode = va_arg(list, mode_t);                                                               \
        va_end(list);                                                                              \
    }

int open(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_tracked(REAL(open)(path, flags, mode), path);
}

int open64(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_tracked(REAL(open64)(path, flags, mode), path);
}

int close(int fd)
{
    if (is_tracked(fd)) {
        pthread_mutex_lock(&mutex);
        free(paths[fd]);
        paths[fd] = NULL;
        pthread_mutex_unlock(&mutex);
    }
    return REAL(close)(fd);
}

int unlink(const char *path)
{
    char full[PATH_MAX];
    if (undo_folder && is_store(path) && realpath(path, full))
        forget(full);
    return REAL(unlink)(path);
}

static ssize_t pwrite_noted(int fd, const void *bytes, size_t size, int64_t offset)
{
    if (!is_tracked(fd))
        return REAL(pwrite64)(fd, bytes, size, offset);
    pthread_mutex_lock(&mutex);
    note(fd, offset, bytes, (int64_t)size, offset + (int64_t)size);
    ssize_t written = REAL(pwrite64)(fd, bytes, size, offset);
    pthread_mutex_unlock(&mutex);
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    return pwrite_noted(fd, bytes, size, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset)
{
    return pwrite_noted(fd, bytes, size, offset);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    if (!is_tracked(fd))
        return REAL(write)(fd, bytes, size);
    pthread_mutex_lock(&mutex);
    note(fd, lseek(fd, 0, SEEK_CUR), bytes, (int64_t)size, INT64_MAX);
    ssize_t written = REAL(write)(fd, bytes, size);
    pthread_mutex_unlock(&mutex);
    return written;
}

static int ftruncate_noted(int fd, int64_t size)
{
    if (!is_tracked(fd))
        return REAL(ftruncate64)(fd, size);
    pthread_mutex_lock(&mutex);
    note(fd, size, NULL, 0, INT64_MAX);
    int code = REAL(ftruncate64)(fd, size);
    pthread_mutex_unlock(&mutex);
    return code;
}

int ftruncate(int fd, off_t size)
{
    return ftruncate_noted(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate_noted(fd, size);
}

/* ---- syncing: slow, failing; what is synced cannot be lost any more */

static int sync_slowly(int fd, int (*sync)(int))
{
    if (!is_tracked(fd))
        return sync(fd);
    __atomic_add_fetch(&switches[SYNCS], 1, __ATOMIC_RELAXED);
    int64_t ms = switches[SYNC_MS];
    struct timespec rest = {ms / 1000, ms % 1000 * 1000000};
    while (ms > 0 && nanosleep(&rest, &rest) != 0)
        ;
    if (switches[SYNC_FAILURES] > 0) {
        __atomic_sub_fetch(&switches[SYNC_FAILURES], 1, __ATOMIC_RELAXED);
        __atomic_add_fetch(&switches[SYNC_FAILED], 1, __ATOMIC_RELAXED);
        errno = EIO;
        return -1;
    }
    pthread_mutex_lock(&mutex);
    int code = sync(fd);
    if (code == 0 && undo_folder)
        forget(paths[fd]);
    pthread_mutex_unlock(&mutex);
    return code;
}

int fdatasync(int fd)
{
    return sync_slowly(fd, REAL(fdatasync));
}

int fsync(int fd)
{
    return sync_slowly(fd, REAL(fsync));
}

/* ---- the wall clock, stepped */

int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    static __typeof__(&clock_gettime) real;
    if (!real)
        real = REAL(clock_gettime);
    int code = real(clock, ret_time);
    if (code == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        ret_time->tv_sec += switches[CLOCK_MS] / 1000;
    return code;
}

int gettimeofday(struct timeval *restrict ret_time, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *ret_time = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *ret_time)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret_time)
        *ret_time = now.tv_sec;
    return now.tv_sec;
}
