#include "services/deliverer/script_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_PIPES = 3, FIRST_FD = 3 };

static void close_all(const int *fds, int n)
{
    for (int i = 0; i < n; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* Above the three that the program gets, should this process have closed one of its own. */
static int move_up(int fd)
{
    if (fd < 0 || fd >= FIRST_FD)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);
    close(fd);
    return moved;
}

/* Our ends and the program's; what could not be opened is -1. */
static int open_pipes(int ours[N_PIPES], int theirs[N_PIPES])
{
    int failed = 0;
    for (int i = 0; i < N_PIPES; i++) {
        int ends[2] = {-1, -1};
        if (pipe2(ends, O_CLOEXEC) != 0)
            failed = errno;
        ours[i] = move_up(ends[i == SCRIPT_IN ? 1 : 0]);
        theirs[i] = move_up(ends[i == SCRIPT_IN ? 0 : 1]);
        if (ours[i] < 0 || theirs[i] < 0)
            failed = failed ? failed : errno;
        else
            fcntl(ours[i], F_SETFL, O_NONBLOCK);
    }
    return failed;
}

static void set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(attributes);
    posix_spawnattr_setpgroup(attributes, 0);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &all);
    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                             POSIX_SPAWN_SETSIGDEF);
}

static int spawn(const char *path, const char *const *environment, const int theirs[N_PIPES],
                 pid_t *ret_pid)
{
    static const char *const nothing[] = {NULL};
    const char *const argv[] = {path, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    set_attributes(&attributes);
    posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < N_PIPES; i++)
        posix_spawn_file_actions_adddup2(&actions, theirs[i], i);
    posix_spawn_file_actions_addclosefrom_np(&actions, FIRST_FD);
    posix_spawn_file_actions_addchdir_np(&actions, "/");
    int rc = posix_spawn(ret_pid, path, &actions, &attributes, (char *const *)argv,
                         (char *const *)(environment ? environment : nothing));
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

static result_t cannot(fault_t *fault, const char *path, int error)
{
    result_t r = error == EMFILE || error == ENFILE ? RESULT_FULL : RESULT_INVALID;
    return fault_set(fault, r, "script %s cannot be started: %s%s", path, strerror(error),
                     error == ENOEXEC || error == ENOENT ? " (see its first line, #!)" : "");
}

result_t script_spawn(const char *path, const char *const *environment, pid_t *ret_pid,
                      int ret_fds[SCRIPT_FDS], fault_t *fault)
{
    int ours[N_PIPES], theirs[N_PIPES];
    pid_t pid = 0;
    int failed = open_pipes(ours, theirs);
    if (!failed)
        failed = spawn(path, environment, theirs, &pid);
    close_all(theirs, N_PIPES);
    int pidfd = failed ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
    if (!failed && pidfd < 0) {
        failed = errno;
        kill(-pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    if (failed) {
        close_all(ours, N_PIPES);
        return cannot(fault, path, failed);
    }
    memcpy(ret_fds, ours, sizeof ours);
    ret_fds[SCRIPT_EXIT] = pidfd;
    *ret_pid = pid;
    return RESULT_OK;
}
