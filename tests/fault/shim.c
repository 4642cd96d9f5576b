/* shim: what a disk, a clock and a name server can do to a process, for the fault harness
 * (LD_PRELOAD).
 *
 * PROVISOR_FAULT_CONTROL names a file of int64 switches (below) that the driver changes while the
 * process runs, and of counts that the driver reads. The name 10-77-1-2.test is the
 * address 10.77.1.2. With PROVISOR_FAULT_UNDO (a folder) each write to a store is noted there, what
 * was there before and what was written, and forgotten when the file is synced: after a kill the
 * driver can take back what a power cut would have lost.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
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

enum {
    SYNC_MS,
    SYNC_FAILURES,
    CLOCK_MS,
    READ_ONLY,
    REFUSED, /* counted: writes */
    NAME_GONE,
    UNRESOLVED, /* counted: names */
    TABLE_UNREAD,
    UNREAD,    /* counted: reads of handlers.db */
    COMMIT_US, /* when the last commit that ended began to sync, CLOCK_MONOTONIC */
    N_SWITCHES
};
enum { FD_MAX = 4096, MAGIC = 0x70727673 };

/* Before the bytes of a noted write: old_bytes of them, then new_bytes. */
typedef struct {
    int64_t magic, offset, old_bytes, new_bytes, old_size;
} note_t;

static volatile int64_t no_switches[N_SWITCHES];
static volatile int64_t *switches = no_switches;
static int commits_fd = -1; /* of each commit: when its sync began and ended, CLOCK_MONOTONIC us */
static const char *undo_folder;
static char *paths[FD_MAX];  /* of stores' files that are open; guarded by the mutex */
static int undo_fds[FD_MAX]; /* open as long: a write needs no descriptor */
static int is_dirty[FD_MAX]; /* written since its last sync */
static int is_table[FD_MAX]; /* of handlers.db: they can be unreadable */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

#define COUNT(i)   __atomic_add_fetch(&switches[i], 1, __ATOMIC_RELAXED)
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
    char commits[PATH_MAX];
    snprintf(commits, sizeof commits, "%s.commits", control);
    commits_fd = REAL(open)(commits, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
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

static int open_undo(const char *path)
{
    char undo[2 * PATH_MAX];
    undo_path(path, undo, sizeof undo);
    return REAL(open)(undo, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* -1: there is no descriptor left to note its writes. */
static int track(int fd, const char *path)
{
    char full[PATH_MAX];
    if (fd < 0 || fd >= FD_MAX || !is_store(path) || !realpath(path, full))
        return fd;
    int undo_fd = undo_folder ? open_undo(full) : -1;
    if (undo_folder && undo_fd < 0) {
        REAL(close)(fd);
        errno = EMFILE;
        return -1;
    }
    pthread_mutex_lock(&mutex);
    free(paths[fd]);
    paths[fd] = strdup(full);
    undo_fds[fd] = undo_fd;
    pthread_mutex_unlock(&mutex);
    return fd;
}

static int is_tracked(int fd)
{
    return fd >= 0 && fd < FD_MAX && paths[fd];
}

/* Sets errno. */
static int is_read_only(void)
{
    if (!switches[READ_ONLY])
        return 0;
    COUNT(REFUSED);
    errno = EROFS;
    return 1;
}

static int may_open(const char *path, int flags)
{
    return (flags & O_ACCMODE) == O_RDONLY || !is_store(path) || !is_read_only();
}

/* Before the write is made: a kill between the two leaves a note that undoes nothing. */
static void note(int fd, int64_t offset, const void *bytes, int64_t new_bytes, int64_t old_end)
{
    struct stat st;
    if (!undo_folder || fstat(fd, &st) != 0)
        return;
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
    if (REAL(write)(undo_fds[fd], entry, size) != (ssize_t)size)
        abort();
    free(entry);
}

static int open_tracked(int fd, const char *path)
{
    int code = errno;
    if (fd >= 0 && fd < FD_MAX)
        is_table[fd] = strstr(path, "/handlers.db") != NULL;
    fd = track(fd, path);
    if (fd >= 0)
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
    return may_open(path, flags) ? open_tracked(REAL(open)(path, flags, mode), path) : -1;
}

int open64(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return may_open(path, flags) ? open_tracked(REAL(open64)(path, flags, mode), path) : -1;
}

int close(int fd)
{
    if (is_tracked(fd)) {
        pthread_mutex_lock(&mutex);
        free(paths[fd]);
        paths[fd] = NULL;
        if (undo_folder)
            REAL(close)(undo_fds[fd]);
        pthread_mutex_unlock(&mutex);
    }
    if (fd >= 0 && fd < FD_MAX)
        is_table[fd] = 0;
    return REAL(close)(fd);
}

int unlink(const char *path)
{
    char full[PATH_MAX];
    if (is_store(path) && is_read_only())
        return -1;
    char undo[2 * PATH_MAX];
    if (undo_folder && is_store(path) && realpath(path, full)) {
        undo_path(full, undo, sizeof undo);
        REAL(truncate)(undo, 0);
    }
    return REAL(unlink)(path);
}

int rename(const char *from, const char *to)
{
    if (is_store(to) && is_read_only())
        return -1;
    return REAL(rename)(from, to);
}

static ssize_t pwrite_noted(int fd, const void *bytes, size_t size, int64_t offset)
{
    if (!is_tracked(fd))
        return REAL(pwrite64)(fd, bytes, size, offset);
    if (is_read_only())
        return -1;
    pthread_mutex_lock(&mutex);
    is_dirty[fd] = 1;
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
    if (is_read_only())
        return -1;
    pthread_mutex_lock(&mutex);
    note(fd, lseek(fd, 0, SEEK_CUR), bytes, (int64_t)size, INT64_MAX);
    ssize_t written = REAL(write)(fd, bytes, size);
    pthread_mutex_unlock(&mutex);
    return written;
}

static ssize_t pread_or_fail(int fd, void *ret_bytes, size_t size, int64_t offset)
{
    if (!switches[TABLE_UNREAD] || fd < 0 || fd >= FD_MAX || !is_table[fd])
        return REAL(pread64)(fd, ret_bytes, size, offset);
    COUNT(UNREAD);
    errno = EIO;
    return -1;
}

ssize_t pread(int fd, void *ret_bytes, size_t size, off_t offset)
{
    return pread_or_fail(fd, ret_bytes, size, offset);
}

ssize_t pread64(int fd, void *ret_bytes, size_t size, off64_t offset)
{
    return pread_or_fail(fd, ret_bytes, size, offset);
}

static int ftruncate_noted(int fd, int64_t size)
{
    if (!is_tracked(fd))
        return REAL(ftruncate64)(fd, size);
    if (is_read_only())
        return -1;
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

static int64_t mono_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static int is_wal(const char *path)
{
    size_t size = strlen(path);
    return size > 4 && strcmp(path + size - 4, "-wal") == 0;
}

static int sync_slowly(int fd, int (*sync)(int))
{
    if (!is_tracked(fd))
        return sync(fd);
    int64_t began_us = mono_us();
    int64_t ms = switches[SYNC_MS];
    struct timespec rest = {ms / 1000, ms % 1000 * 1000000};
    while (ms > 0 && nanosleep(&rest, &rest) != 0)
        ;
    if (switches[SYNC_FAILURES] > 0) {
        __atomic_sub_fetch(&switches[SYNC_FAILURES], 1, __ATOMIC_RELAXED);
        errno = EIO;
        return -1;
    }
    pthread_mutex_lock(&mutex);
    int code = sync(fd);
    if (code == 0 && undo_folder)
        (void)!REAL(ftruncate)(undo_fds[fd], 0);
    if (code == 0 && is_wal(paths[fd]) && is_dirty[fd]) { /* a checkpoint finds it clean */
        int64_t commit[] = {began_us, mono_us()};
        switches[COMMIT_US] = began_us;
        (void)!REAL(write)(commits_fd, commit, sizeof commit);
    }
    if (code == 0)
        is_dirty[fd] = 0;
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

/* ---- names */

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret_list)
{
    size_t size = name ? strlen(name) : 0;
    int is_ours = size > 5 && strcmp(name + size - 5, ".test") == 0;
    if (is_ours && switches[NAME_GONE]) {
        COUNT(UNRESOLVED);
        return EAI_AGAIN;
    }
    if (!is_ours)
        return REAL(getaddrinfo)(name, service, hints, ret_list);
    char address[NAME_MAX + 1];
    snprintf(address, sizeof address, "%.*s", (int)size - 5, name);
    for (char *c = address; *c; c++)
        if (*c == '-')
            *c = '.';
    return REAL(getaddrinfo)(address, service, hints, ret_list);
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
