#include "services/deliverer/script_path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"

static bool lies_directly_in(const char *path, const char *dir)
{
    const char *name = strrchr(path, '/');
    size_t size = (size_t)(name - path);
    if (strcmp(dir, "/") == 0)
        return size == 0;
    return strlen(dir) == size && memcmp(path, dir, size) == 0;
}

static result_t check_file(const char *path, fault_t *fault)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return fault_set(fault, RESULT_INVALID, "script %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return fault_set(fault, RESULT_INVALID, "script %s is not a regular file", path);
    if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0)
        return fault_set(fault, RESULT_INVALID, "script %s is not executable (chmod +x)", path);
    return RESULT_OK;
}

result_t script_path_resolve(const char *dir, const char *task, buf_t *ret_path, fault_t *fault)
{
    AUTO_BUF given = {0};
    if (!*dir)
        return fault_set(fault, RESULT_INVALID,
                         "scripts are off: deliverer.script_dir names no folder");
    if (*task != '/')
        buf_printf(&given, "%s/", dir);
    buf_add_str(&given, task);
    AUTO_FREE char *folder = realpath(dir, NULL);
    if (!folder)
        return fault_set(fault, RESULT_INVALID, "script folder %s: %s", dir, strerror(errno));
    AUTO_FREE char *path = realpath(given.data, NULL);
    if (!path)
        return fault_set(fault, RESULT_INVALID, "script %s: %s", given.data, strerror(errno));
    if (!lies_directly_in(path, folder))
        return fault_set(fault, RESULT_INVALID, "script %s is not in the folder %s", path, folder);
    result_t r = check_file(path, fault);
    if (r == RESULT_OK)
        buf_add_str(ret_path, path);
    return r;
}
