#include "services/cli/target.h"
#include "common/base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DESCRIPTORS = 16 };

static result_t failed(fault_t *fault, const char *what, const char *path)
{
    result_t r = errno == EEXIST ? RESULT_EXISTS : errno == ENOENT ? RESULT_NOT_FOUND : RESULT_IO;
    return fault_set(fault, r, "cannot %s %s: %s", what, path, strerror(errno));
}

result_t target_absolute(const char *path, buf_t *ret_path, fault_t *fault)
{
    char above[PATH_MAX];
    AUTO_BUF given = {0};
    buf_add_str(&given, *path == '/' ? "" : "./");
    buf_add_str(&given, *path ? path : "."); /* not a name either */
    while (given.size > 1 && given.data[given.size - 1] == '/')
        given.data[--given.size] = 0;
    char *last = strrchr(given.data, '/');
    *last++ = 0;
    if (!*last || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
        return fault_set(fault, RESULT_INVALID, "\"%s\" is not the name of a new folder", path);
    if (!realpath(*given.data ? given.data : "/", above))
        return failed(fault, "find the folder above", path);
    buf_printf(ret_path, "%s/%s", strcmp(above, "/") == 0 ? "" : above, last);
    return RESULT_OK;
}

result_t target_vacant(const char *path, fault_t *fault)
{
    DIR *folder = opendir(path);
    if (!folder && errno == ENOENT)
        return RESULT_OK;
    if (!folder)
        return failed(fault, "read the folder", path);
    bool vacant = true;
    for (struct dirent *entry; vacant && (entry = readdir(folder));)
        vacant = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(folder);
    return vacant ? RESULT_OK
                  : fault_set(fault, RESULT_EXISTS, "%s is not empty; name a new folder", path);
}

result_t target_make(const char *path, fault_t *fault)
{
    return mkdir(path, 0700) == 0 ? RESULT_OK : failed(fault, "make", path);
}

static result_t sync_path(const char *path, fault_t *fault)
{
    AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? RESULT_OK : failed(fault, "write", path);
}

result_t target_write(const char *path, const buf_t *text, fault_t *fault)
{
    AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text->data, text->size) != (ssize_t)text->size || fsync(fd) != 0)
        return failed(fault, "write", path);
    return RESULT_OK;
}

static int sync_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    return type == FTW_DP && sync_path(path, NULL) != RESULT_OK;
}

result_t target_publish(const char *from, const char *to, fault_t *fault)
{
    AUTO_BUF above = {0};
    if (nftw(from, sync_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS) != 0)
        return failed(fault, "write", from);
    if (rename(from, to) != 0)
        return failed(fault, "rename to", to);
    buf_printf(&above, "%s/..", to);
    return sync_path(above.data, fault);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

void target_remove(const char *path)
{
    (void)nftw(path, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
}
