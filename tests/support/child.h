/* child: a program that a test starts, talks to by pipes, and that ends with the test. */
#ifndef PROVISOR_CHILD_H
#define PROVISOR_CHILD_H

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/result.h"

extern char **environ;

typedef struct {
    pid_t pid;
    int in;    /* its stdin; closing it asks it to end */
    FILE *out; /* its stdout */
} child_t;

/* The project's folder: tests/support is below it. Free it. A compiler cache may make __FILE__
 * relative to the build, so ctest tells it. */
static inline char *child_root(void)
{
    const char *told = getenv("PROVISOR_ROOT");
    if (told)
        return mem_strdup(told);
    char *root = mem_strdup(__FILE__);
    char *end = strstr(root, "/tests/support/");
    ENSURE(end);
    *end = '\0';
    return root;
}

static inline void child_start(child_t *child, const char *const argv[])
{
    int in[2], out[2];
    posix_spawn_file_actions_t actions;
    ENSURE(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    int rc = posix_spawn(&child->pid, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        PANIC("%s: %s", argv[0], strerror(rc));
    close(in[0]);
    close(out[1]);
    child->in = in[1];
    child->out = fdopen(out[0], "r");
}

/* One number on a line of its own, as servers print their port. */
static inline int child_read_int(child_t *child)
{
    char line[64];
    if (!fgets(line, sizeof line, child->out))
        PANIC("the child said nothing");
    return atoi(line);
}

/* Ends it (SIGTERM) if it still runs, and returns its exit status as of waitpid. */
static inline int child_stop(child_t *child)
{
    int status = 0;
    close(child->in);
    kill(child->pid, SIGTERM);
    waitpid(child->pid, &status, 0);
    fclose(child->out);
    return status;
}

/* Runs a command to its end. Panics when it fails. */
static inline void child_run(const char *const argv[])
{
    child_t child;
    int status;
    child_start(&child, argv);
    close(child.in);
    while (fgetc(child.out) != EOF)
        ;
    fclose(child.out);
    waitpid(child.pid, &status, 0);
    if (status != 0)
        PANIC("%s %s failed", argv[0], argv[1] ? argv[1] : "");
}

#endif
