/* provisor up: the whole pipeline on one machine, in the foreground. */
#include "services/cli/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/log.h"
#include "common/service/endpoint.h"
#include "services/cli/supervisor.h"

/* Downstream first: what a stage connects to is there when it starts. */
static const char *const stages[] = {"auditor", "deliverer", "router", "emitter"};
enum { STAGES = 4, PING_MS = 200, STOP_SPARE_MS = 2000 };

typedef struct {
    cli_t *cli;
    log_t log;
    supervisor_t *supervisor;
    char programs[STAGES][512];
    char *argv[STAGES][8];
    bool ready[STAGES];
    bool announced;
} up_t;

/* The folder's lock; the descriptor is kept until the end. ret_killed: who held it before and did
 * not end in order (the file still names it), 0: nobody. */
static int take_lock(const cli_t *cli, int *ret_fd, int *ret_killed)
{
    char path[4096], pid[32] = "";
    const char *data = config_data(cli_config(cli));
    snprintf(path, sizeof path, "%s/up.lock", data);
    if (mkdir(data, 0700) != 0 && errno == ENOENT)
        return cli_fail(cli, EXIT_FAILED,
                        "the folder above %s is missing; if the path is right: mkdir -p '%s'", data,
                        data);
    if (access(data, F_OK) != 0)
        return cli_fail(cli, EXIT_FAILED, "cannot make %s: %s", data, strerror(errno));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return cli_fail(cli, EXIT_FAILED, "cannot open %s: %s", path, strerror(errno));
    bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
    ssize_t size = pread(fd, pid, sizeof pid - 1, 0);
    if (!locked) {
        close(fd);
        return cli_fail(cli, 75,
                        "another provisor up (pid %.*s) runs in %s; stop it or choose "
                        "another --data",
                        size > 0 ? (int)strcspn(pid, "\n") : 1, size > 0 ? pid : "?", data);
    }
    *ret_killed = atoi(pid);
    size = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) != 0 || write(fd, pid, (size_t)size) != size)
        log_line(&(log_t){"up", LEVEL_INFO}, LEVEL_WARN, "event=lock_text_failed path=%s", path);
    *ret_fd = fd;
    return EXIT_OK;
}

static int add_stages(up_t *self)
{
    char folder[400];
    const config_t *config = cli_config(self->cli);
    ssize_t size = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (size <= 0)
        return cli_fail(self->cli, EXIT_FAILED, "cannot find out where the binaries are");
    folder[size] = 0;
    *strrchr(folder, '/') = 0;
    for (size_t i = 0; i < STAGES; i++) {
        snprintf(self->programs[i], sizeof self->programs[i], "%s/provisor-%s", folder, stages[i]);
        if (access(self->programs[i], X_OK) != 0)
            return cli_fail(self->cli, EXIT_FAILED, "%s is missing", self->programs[i]);
        char **argv = self->argv[i];
        *argv++ = self->programs[i];
        *argv++ = (char *)"--data";
        *argv++ = (char *)config_data(config);
        if (config_path(config)) {
            *argv++ = (char *)"--config";
            *argv++ = (char *)config_path(config);
        }
        supervisor_add(self->supervisor, stages[i], self->argv[i]);
    }
    return EXIT_OK;
}

static bool is_ready(const up_t *self, const char *stage)
{
    AUTO_BUF answer = {0};
    AUTO(json_tree) tree = NULL;
    const char *endpoint = config_text(cli_config(self->cli), stage, "control");
    return endpoint_ask(endpoint, SLICE("{\"op\":\"ping\"}"), PING_MS, &answer) == RESULT_OK &&
           json_parse(buf_slice(&answer), &tree, NULL) == RESULT_OK &&
           json_get_bool(tree, "ready", false);
}

/* Until every stage was ready once; then it says so and asks no more. */
static void look_ready(up_t *self)
{
    bool all = true;
    for (size_t i = 0; i < STAGES && !self->announced; i++) {
        if (!self->ready[i] && is_ready(self, stages[i])) {
            self->ready[i] = true;
            supervisor_mark_up(self->supervisor, stages[i]);
        }
        all &= self->ready[i];
    }
    if (!all || self->announced)
        return;
    self->announced = true;
    const config_t *config = cli_config(self->cli);
    log_line(&self->log, LEVEL_INFO, "event=ready intake=%s push=%s stream=%s data=%s",
             config_text(config, "emitter", "intake"), config_text(config, "emitter", "push"),
             config_text(config, "auditor", "stream"), config_data(config));
}

/* Blocks the signals that it reads from a descriptor. */
static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Runs until a signal ends it; returns the exit code. */
static int supervise(up_t *self, int signals)
{
    for (;;) {
        int wait_ms = supervisor_wait_ms(self->supervisor);
        if (!self->announced && (wait_ms < 0 || wait_ms > 50))
            wait_ms = 50;
        struct pollfd poll_fd = {signals, POLLIN, 0};
        struct signalfd_siginfo info;
        if (poll(&poll_fd, 1, wait_ms) > 0 && read(signals, &info, sizeof info) == sizeof info) {
            if (info.ssi_signo == SIGINT || info.ssi_signo == SIGTERM)
                return EXIT_OK;
            if (info.ssi_signo == SIGHUP)
                supervisor_reload(self->supervisor);
        }
        int code = supervisor_reap(self->supervisor);
        if (code != 0)
            return code;
        supervisor_restart_due(self->supervisor);
        look_ready(self);
    }
}

static int run_stages(up_t *self, int killed)
{
    const config_t *config = cli_config(self->cli);
    int64_t stop_ms = config_int(config, "provisor", "stop_deadline") + STOP_SPARE_MS;
    AUTO_FD signals = open_signals();
    AUTO(supervisor)
    supervisor = supervisor_new(&self->log, config_int(config, "up", "memory_max"));
    self->supervisor = supervisor;
    int code = add_stages(self);
    if (code != EXIT_OK)
        return code;
    if (killed)
        supervisor_wait_for_remains(supervisor, killed, stop_ms);
    supervisor_start(supervisor);
    code = supervise(self, signals);
    log_line(&self->log, LEVEL_INFO, "event=stopping exit_code=%d", code);
    supervisor_stop(supervisor, stop_ms);
    log_line(&self->log, LEVEL_INFO, "event=stopped");
    return code;
}

static int up_run(cli_t *cli)
{
    AUTO_FD lock = -1;
    int killed = 0;
    up_t self = {.cli = cli, .log = {"up", LEVEL_INFO}};
    int code = take_lock(cli, &lock, &killed);
    if (code != EXIT_OK)
        return code;
    code = run_stages(&self, killed);
    if (ftruncate(lock, 0) != 0) /* nothing of it runs any more; the next one may be told less */
        log_line(&self.log, LEVEL_WARN, "event=lock_text_failed error=\"%s\"", strerror(errno));
    return code;
}

const cli_command_t cmd_up[] = {
    {"up", "",
     "Runs the whole pipeline on this machine, in the foreground, and restarts a stage that dies",
     "  provisor up\n"
     "  provisor up --config provisor.conf --data /var/lib/provisor\n",
     NULL, 0, 0, up_run},
    {NULL},
};
