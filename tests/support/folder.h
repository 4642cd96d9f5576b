/* folder: a folder of a test's own, a file system that is full, and processes to be killed. */
#ifndef PROVISOR_FOLDER_H
#define PROVISOR_FOLDER_H

#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/unit.h"

enum { FOLDER_SIZE = 256 };

/* <temporary folder>/provisor-XXXXXX */
typedef struct {
    char path[FOLDER_SIZE];
} folder_t;

static inline int folder_make(folder_t *folder)
{
    const char *parent = getenv("TMPDIR");
    snprintf(folder->path, sizeof folder->path, "%s/provisor-XXXXXX", parent ? parent : "/tmp");
    return mkdtemp(folder->path) ? 0 : -1;
}

static inline int folder_remove_one(const char *path, const struct stat *st, int type,
                                    struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline int folder_remove(const folder_t *folder)
{
    return nftw(folder->path, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The fixture of tests that need nothing else. */
static inline int folder_setup(void **state)
{
    *state = calloc(1, sizeof(folder_t));
    return *state ? folder_make(*state) : -1;
}

static inline int folder_teardown(void **state)
{
    int code = folder_remove(*state);
    free(*state);
    return code;
}

/* <folder>/<name>; lives until the 8th call after it. */
static inline const char *folder_file(const folder_t *folder, const char *name)
{
    static char paths[8][FOLDER_SIZE + 64];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder->path, name);
    return path;
}

static inline off_t folder_file_size(const folder_t *folder, const char *name)
{
    struct stat st;
    return stat(folder_file(folder, name), &st) == 0 ? st.st_size : -1;
}

static inline mode_t folder_file_mode(const folder_t *folder, const char *name)
{
    struct stat st;
    return stat(folder_file(folder, name), &st) == 0 ? st.st_mode & 0777 : 0;
}

/* Puts a small file system over the folder. False where that is not allowed: the caller skips. */
static inline bool folder_mount_small(const folder_t *folder, const char *size)
{
    char options[64];
    snprintf(options, sizeof options, "size=%s,mode=0700", size);
    return unshare(CLONE_NEWNS) == 0 && mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", folder->path, "tmpfs", 0, options) == 0;
}

/* Fills the file system with one file; folder_make_room removes it. */
static inline void folder_fill(const folder_t *folder)
{
    static const char zeros[4096];
    int fd = open(folder_file(folder, "filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, zeros, sizeof zeros) > 0)
        ;
    close(fd);
}

static inline void folder_make_room(const folder_t *folder)
{
    assert_int_equal(unlink(folder_file(folder, "filler")), 0);
}

/* For a child that is to fail: its last words are not the test's. */
static inline void folder_hush(void)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(fd, STDERR_FILENO);
}

/* Runs body in a child and returns how it ended (waitpid's status). */
static inline int folder_in_child(void (*body)(void *), void *argument)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        body(argument);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

#endif
