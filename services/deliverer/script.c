#include "services/deliverer/script.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clk.h"
#include "common/base/heap.h"
#include "common/base/mem.h"
#include "services/deliverer/script_path.h"
#include "services/deliverer/script_spawn.h"
#include "services/deliverer/watch.h"

enum {
    READ_BYTES = 16 * 1024,
    DRAIN_ROUNDS = 16,   /* reads of each output after the exit: a descendant may go on writing */
    REAP_WAIT_MS = 1000, /* for a group that was killed, at the end */
};

struct run_t;

typedef struct {
    struct run_t *run;
    int kind; /* SCRIPT_IN, ... */
    int fd;   /* -1: closed */
} stream_t;

/* One program. It outlives its exchange when it was killed: its exit is still to be seen. */
typedef struct run_t {
    script_t *script;
    exchange_request_t request;
    void *tag;
    int64_t begun_us;
    pid_t pid;            /* also the group; 0: never started, or its exit was seen */
    heap_node_t deadline; /* in a heap as long as the exchange is open */
    stream_t streams[SCRIPT_FDS];
    size_t sent;     /* bytes of the body */
    buf_t out, err;  /* each at most response_max_bytes */
    fault_t fault;   /* why it could not be started */
    result_t result; /* of its start */
    LIST_ENTRY(run_t) others;
} run_t;

struct script_t {
    char *dir;
    exchange_done_fn *done;
    void *owner;
    watch_t *watch;
    heap_t *deadlines; /* of open exchanges, in us */
    LIST_HEAD(, run_t) runs;
};

static void close_stream(run_t *run, int kind)
{
    stream_t *stream = &run->streams[kind];
    if (stream->fd < 0)
        return;
    watch_forget(run->script->watch, stream->fd);
    close(stream->fd);
    stream->fd = -1;
}

static void free_run(run_t *run)
{
    for (int kind = 0; kind < SCRIPT_FDS; kind++)
        close_stream(run, kind);
    heap_remove(run->script->deadlines, &run->deadline);
    LIST_REMOVE(run, others);
    buf_release(&run->out);
    buf_release(&run->err);
    free(run);
}

/* --- streams --------------------------------------------------------------------------------- */

/* A script need not read its stdin: EPIPE is no failure. */
static void write_body(run_t *run)
{
    slice_t body = run->request.body;
    int fd = run->streams[SCRIPT_IN].fd;
    while (run->sent < body.size) {
        ssize_t n = write(fd, body.data + run->sent, body.size - run->sent);
        if (n < 0 && errno == EAGAIN) {
            watch_set(run->script->watch, fd, &run->streams[SCRIPT_IN], WATCH_OUT);
            return;
        }
        if (n < 0)
            break;
        run->sent += (size_t)n;
    }
    close_stream(run, SCRIPT_IN);
}

/* One read; what does not fit is thrown away, so that the script can go on. False: there is no
 * more for now. */
static bool read_output(run_t *run, int kind)
{
    char bytes[READ_BYTES];
    buf_t *to = kind == SCRIPT_OUT ? &run->out : &run->err;
    if (run->streams[kind].fd < 0)
        return false;
    ssize_t n = read(run->streams[kind].fd, bytes, sizeof bytes);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        close_stream(run, kind);
        return false;
    }
    size_t room = (size_t)run->request.response_max_bytes - to->size;
    buf_add(to, bytes, (size_t)n < room ? (size_t)n : room);
    return true;
}

/* What is in the pipes; whoever else holds them open is not waited for. */
static void drain(run_t *run)
{
    for (int i = 0; i < DRAIN_ROUNDS && read_output(run, SCRIPT_OUT); i++)
        ;
    for (int i = 0; i < DRAIN_ROUNDS && read_output(run, SCRIPT_ERR); i++)
        ;
}

/* --- ends ------------------------------------------------------------------------------------ */

/* The exchange is over, the run may not be. */
static void report(run_t *run, exchange_end_t end, int64_t status, slice_t error)
{
    script_t *self = run->script;
    size_t max = (size_t)run->request.response_max_bytes;
    size_t room = max - run->out.size;
    buf_add(&run->out, run->err.data, run->err.size < room ? run->err.size : room);
    exchange_result_t result = {
        .end = end,
        .status = status,
        .error = error,
        .response = buf_slice(&run->out),
        .response_headers = SLICE(""),
        .duration_us = clk_mono_us() - run->begun_us,
    };
    heap_remove(self->deadlines, &run->deadline);
    for (int kind = 0; kind < SCRIPT_EXIT; kind++)
        close_stream(run, kind);
    self->done(self->owner, run->tag, &result);
}

static void report_exit(run_t *run, const siginfo_t *info)
{
    char error[128] = "";
    if (info->si_code == CLD_EXITED && info->si_status == 0) {
        report(run, EXCHANGE_ANSWERED, 200, (slice_t){0});
    } else if (info->si_code == CLD_EXITED) {
        snprintf(error, sizeof error, "exit status %d", info->si_status);
        report(run, EXCHANGE_ANSWERED, 500, slice_of(error));
    } else {
        snprintf(error, sizeof error, "killed by signal %d (%s)", info->si_status,
                 strsignal(info->si_status));
        report(run, EXCHANGE_BROKEN, 0, slice_of(error));
    }
}

static void on_exit_ready(run_t *run)
{
    siginfo_t info = {0};
    int rc = waitid(P_PIDFD, (id_t)run->streams[SCRIPT_EXIT].fd, &info, WEXITED | WNOHANG);
    if (rc == 0 && info.si_pid == 0)
        return; /* not yet */
    run->pid = 0;
    if (run->deadline.place != 0) { /* open */
        drain(run);
        report_exit(run, &info);
    }
    free_run(run);
}

static void report_timeout(run_t *run)
{
    char error[64];
    kill(-run->pid, SIGKILL);
    drain(run);
    snprintf(error, sizeof error, "timed out after %lld ms (running)",
             (long long)run->request.timeout_ms);
    report(run, EXCHANGE_TIMEOUT, 0, slice_of(error));
}

/* --- the loop -------------------------------------------------------------------------------- */

static void on_ready(void *owner, int fd, void *tag, unsigned events)
{
    stream_t *stream = tag;
    (void)owner;
    (void)fd;
    (void)events;
    if (stream->kind == SCRIPT_IN)
        write_body(stream->run);
    else if (stream->kind == SCRIPT_EXIT)
        on_exit_ready(stream->run);
    else
        (void)read_output(stream->run, stream->kind);
}

static void on_turn(void *owner)
{
    (void)owner;
}

static void on_due(void *owner)
{
    script_t *self = owner;
    int64_t now_us = clk_mono_us();
    heap_node_t *first;
    while ((first = heap_first(self->deadlines)) && first->key <= now_us) {
        run_t *run = HEAP_ENTRY(first, run_t, deadline);
        if (run->pid) {
            report_timeout(run);
        } else {
            report(run, run->result == RESULT_FULL ? EXCHANGE_STARVED : EXCHANGE_INVALID, 0,
                   slice_of(run->fault.text));
            free_run(run);
        }
    }
    if (first)
        watch_at(self->watch, first->key);
}

/* --- public ---------------------------------------------------------------------------------- */

script_t *script_new(zloop_t *loop, const char *dir, exchange_done_fn *done, void *owner)
{
    static const watch_calls_t calls = {on_ready, on_turn, on_due};
    script_t *self = MEM_NEW(script_t);
    self->dir = mem_strdup(dir);
    self->done = done;
    self->owner = owner;
    self->watch = watch_new(loop, &calls, self);
    self->deadlines = heap_new();
    LIST_INIT(&self->runs);
    return self;
}

/* Waits for its end, not for ever: a process may hang in the kernel. */
static void reap(const run_t *run)
{
    struct pollfd exit = {.fd = run->streams[SCRIPT_EXIT].fd, .events = POLLIN};
    siginfo_t info;
    kill(-run->pid, SIGKILL);
    if (poll(&exit, 1, REAP_WAIT_MS) == 1)
        (void)waitid(P_PIDFD, (id_t)exit.fd, &info, WEXITED | WNOHANG);
}

void script_destroy(script_t **script)
{
    script_t *self = *script;
    run_t *run;
    if (!self)
        return;
    while ((run = LIST_FIRST(&self->runs))) {
        if (run->pid)
            reap(run);
        free_run(run);
    }
    watch_destroy(&self->watch);
    heap_destroy(&self->deadlines);
    free(self->dir);
    free(self);
    *script = NULL;
}

static result_t start(run_t *run)
{
    AUTO_BUF path = {0};
    int fds[SCRIPT_FDS];
    result_t r = script_path_resolve(run->script->dir, run->request.url, &path, &run->fault);
    if (r == RESULT_OK)
        r = script_spawn(path.data, run->request.environment, &run->pid, fds, &run->fault);
    for (int kind = 0; kind < SCRIPT_FDS; kind++) {
        run->streams[kind] = (stream_t){run, kind, r == RESULT_OK ? fds[kind] : -1};
        if (r == RESULT_OK && kind != SCRIPT_IN)
            watch_set(run->script->watch, fds[kind], &run->streams[kind], WATCH_IN);
    }
    return r;
}

void script_send(script_t *self, const exchange_request_t *request, void *tag)
{
    run_t *run = MEM_NEW(run_t);
    run->script = self;
    run->request = *request;
    run->tag = tag;
    run->begun_us = clk_mono_us();
    LIST_INSERT_HEAD(&self->runs, run, others);
    int64_t due_us = run->begun_us;
    run->result = start(run);
    if (run->result == RESULT_OK) {
        write_body(run);
        due_us += request->timeout_ms * 1000;
    } /* else done is called by the loop, at once */
    heap_push(self->deadlines, &run->deadline, due_us);
    watch_at(self->watch, due_us);
}
