#include "services/cli/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clk.h"
#include "common/base/mem.h"

enum { STAGES_MAX = 8, BACKOFF_MAX_MS = 5000, STEADY_MS = 10000, REMAINS_RETRY_MS = 250 };
enum { EXIT_USAGE = 64, EXIT_IN_USE = 75, EXIT_CONFIG = 78 };

typedef struct {
    const char *name;
    char *const *argv;
    pid_t pid; /* 0: not running */
    bool was_up;
    bool told;                      /* that it waits for what an earlier supervisor left */
    int64_t started_ms, restart_ms; /* monotonic; restart_ms 0: no restart waits */
    int64_t backoff_ms;
} stage_t;

struct supervisor_t {
    const log_t *log;
    int64_t data_max_bytes;
    int remains_pid;         /* of an earlier supervisor that was killed */
    int64_t remains_till_ms; /* monotonic: its stages are gone by then; 0: there was none */
    stage_t stages[STAGES_MAX];
    size_t n;
};

supervisor_t *supervisor_new(const log_t *log, int64_t data_max_bytes)
{
    supervisor_t *self = MEM_NEW(supervisor_t);
    self->log = log;
    self->data_max_bytes = data_max_bytes;
    return self;
}

void supervisor_destroy(supervisor_t **supervisor)
{
    free(*supervisor);
    *supervisor = NULL;
}

void supervisor_add(supervisor_t *self, const char *name, char *const *argv)
{
    ENSURE(self->n < STAGES_MAX);
    self->stages[self->n++] = (stage_t){.name = name, .argv = argv};
}

/* In the child: never returns. */
static void become(const supervisor_t *self, const stage_t *stage, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(70); /* the supervisor died before the line above */
    if (self->data_max_bytes > 0) {
        struct rlimit limit = {(rlim_t)self->data_max_bytes, (rlim_t)self->data_max_bytes};
        setrlimit(RLIMIT_DATA, &limit);
    }
    execv(stage->argv[0], stage->argv);
    fprintf(stderr, "provisor up: cannot start %s: %s\n", stage->argv[0], strerror(errno));
    _exit(78);
}

static void start_stage(supervisor_t *self, stage_t *stage)
{
    pid_t parent = getpid();
    stage->started_ms = clk_mono_ms();
    stage->restart_ms = 0;
    stage->pid = fork();
    if (stage->pid == 0)
        become(self, stage, parent);
    if (stage->pid < 0) {
        log_line(self->log, LEVEL_ERROR, "event=fork_failed stage=%s error=\"%s\" retry_ms=1000",
                 stage->name, strerror(errno));
        stage->pid = 0;
        stage->restart_ms = clk_mono_ms() + 1000;
    }
}

void supervisor_start(supervisor_t *self)
{
    for (size_t i = 0; i < self->n; i++)
        start_stage(self, &self->stages[i]);
}

static void plan_restart(supervisor_t *self, stage_t *stage, int status)
{
    int64_t now_ms = clk_mono_ms();
    stage->backoff_ms = now_ms - stage->started_ms > STEADY_MS ? 0 : stage->backoff_ms;
    stage->restart_ms = now_ms + stage->backoff_ms;
    log_line(self->log, LEVEL_WARN, "event=stage_ended stage=%s %s=%d restart_ms=%lld", stage->name,
             WIFSIGNALED(status) ? "signal" : "exit_code",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
             (long long)stage->backoff_ms);
    stage->backoff_ms = stage->backoff_ms ? stage->backoff_ms * 2 : 100;
    if (stage->backoff_ms > BACKOFF_MAX_MS)
        stage->backoff_ms = BACKOFF_MAX_MS;
}

/* 64 usage, 75 store or port in use, 78 configuration: trying again right away changes nothing. */
static bool cannot_start(const stage_t *stage, int status)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    return !stage->was_up && (code == EXIT_USAGE || code == EXIT_IN_USE || code == EXIT_CONFIG);
}

/* Is what it wants held by stages that an earlier supervisor left? They go by themselves. */
static bool meets_remains(supervisor_t *self, stage_t *stage, int status)
{
    if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_IN_USE ||
        clk_mono_ms() >= self->remains_till_ms)
        return false;
    stage->restart_ms = clk_mono_ms() + REMAINS_RETRY_MS;
    if (!stage->told)
        log_line(
            self->log, LEVEL_WARN,
            "event=stage_waits stage=%s for=\"stages of the provisor up with pid %d, which was "
            "killed: they are still stopping\" retry_ms=%d at_most_ms=%lld",
            stage->name, self->remains_pid, REMAINS_RETRY_MS,
            (long long)(self->remains_till_ms - clk_mono_ms()));
    stage->told = true;
    return true;
}

void supervisor_wait_for_remains(supervisor_t *self, int pid, int64_t for_ms)
{
    self->remains_pid = pid;
    self->remains_till_ms = clk_mono_ms() + for_ms;
}

int supervisor_reap(supervisor_t *self)
{
    int result = 0, status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < self->n; i++) {
            stage_t *stage = &self->stages[i];
            if (stage->pid != pid)
                continue;
            stage->pid = 0;
            if (meets_remains(self, stage, status))
                continue;
            if (cannot_start(stage, status))
                result = WEXITSTATUS(status);
            else
                plan_restart(self, stage, status);
        }
    return result;
}

void supervisor_restart_due(supervisor_t *self)
{
    for (size_t i = 0; i < self->n; i++)
        if (self->stages[i].restart_ms && self->stages[i].restart_ms <= clk_mono_ms())
            start_stage(self, &self->stages[i]);
}

int supervisor_wait_ms(const supervisor_t *self)
{
    int64_t now_ms = clk_mono_ms(), least = -1;
    for (size_t i = 0; i < self->n; i++) {
        if (!self->stages[i].restart_ms)
            continue;
        int64_t wait_ms = self->stages[i].restart_ms - now_ms;
        wait_ms = wait_ms < 0 ? 0 : wait_ms;
        if (least < 0 || wait_ms < least)
            least = wait_ms;
    }
    return (int)least;
}

void supervisor_reload(supervisor_t *self)
{
    for (size_t i = 0; i < self->n; i++)
        if (self->stages[i].pid)
            kill(self->stages[i].pid, SIGHUP);
}

void supervisor_mark_up(supervisor_t *self, const char *name)
{
    for (size_t i = 0; i < self->n; i++)
        if (strcmp(self->stages[i].name, name) == 0)
            self->stages[i].was_up = true;
}

static void stop_stage(const supervisor_t *self, stage_t *stage, int64_t deadline_ms)
{
    int status;
    struct timespec pause = {0, 5000000};
    if (!stage->pid)
        return;
    kill(stage->pid, SIGTERM);
    for (int64_t end_ms = clk_mono_ms() + deadline_ms; clk_mono_ms() < end_ms;) {
        if (waitpid(stage->pid, &status, WNOHANG) == stage->pid) {
            stage->pid = 0;
            return;
        }
        nanosleep(&pause, NULL);
    }
    log_line(self->log, LEVEL_WARN, "event=stage_killed stage=%s after_ms=%lld", stage->name,
             (long long)deadline_ms);
    kill(stage->pid, SIGKILL);
    waitpid(stage->pid, &status, 0);
    stage->pid = 0;
}

void supervisor_stop(supervisor_t *self, int64_t deadline_ms)
{
    for (size_t i = self->n; i-- > 0;) {
        self->stages[i].restart_ms = 0;
        stop_stage(self, &self->stages[i], deadline_ms);
    }
}
