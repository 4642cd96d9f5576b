/* read_only: while a file exists, what this process writes to disk fails as on a file system that
 * became read-only under it (LD_PRELOAD). PROVISOR_READ_ONLY names the file. A real one cannot be
 * had: no kernel makes a mount read-only that has files open for writing, but after an error. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_read_only(void)
{
    const char *path = getenv("PROVISOR_READ_ONLY");
    int before = errno;
    int found = path && access(path, F_OK) == 0;
    errno = found ? EROFS : before;
    return found;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return is_read_only() ? -1 : REAL(pwrite64)(fd, data, size, offset);
}

int ftruncate64(int fd, off64_t size)
{
    return is_read_only() ? -1 : REAL(ftruncate64)(fd, size);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    if ((flags & O_ACCMODE) != O_RDONLY && is_read_only())
        return -1;
    return REAL(open64)(path, flags, mode);
}

int unlink(const char *path)
{
    return is_read_only() ? -1 : REAL(unlink)(path);
}

int rename(const char *from, const char *to)
{
    return is_read_only() ? -1 : REAL(rename)(from, to);
}
