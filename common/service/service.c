#include "common/service/service.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/crash.h"
#include "common/service/control.h"
#include "common/service/endpoint.h"
#include "common/service/flags.h"
#include "common/service/ops.h"

#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    EXIT_FAILED = 70,
    EXIT_TRY_LATER = 75,
    EXIT_CONFIG = 78,
    DRAIN_ASK_MS = 20,
    SAME_SIGNAL_MS = 300, /* a supervisor that dies signals once per thread of its own */
    QUESTION_BYTES_MAX = 64 << 10,
    WHY_BYTES = 160,
    DESCRIPTORS_MIN = 128, /* what is open at the start, some connections, some room */
};

typedef enum { RUNNING, DRAINING, ENDED } state_t;

struct service_t {
    const service_spec_t *spec;
    config_t *config;
    log_t log;
    zloop_t *loop;
    control_t *control;
    backup_t *backup; /* NULL: owns nothing durable */
    void *self;       /* the service's own, from spec->create */
    int64_t boot;
    char node[64];
    int signal_fd;
    state_t state;
    int64_t drain_since_ms, drain_until_ms;
    bool failed; /* service_fail() was called */
};

/* ---- For services ----------------------------------------------------------------------- */

zloop_t *service_loop(service_t *service)
{
    return service->loop;
}

const config_t *service_config(const service_t *service)
{
    return service->config;
}

const log_t *service_log(const service_t *service)
{
    return &service->log;
}

int64_t service_boot(const service_t *service)
{
    return service->boot;
}

void service_set_node(service_t *service, const char *node)
{
    snprintf(service->node, sizeof service->node, "%s", node);
}

const char *service_name(const service_t *service)
{
    return service->spec->name;
}

void service_stats(service_t *service, json_writer_t *w)
{
    json_open_object(w);
    if (service->spec->stats)
        service->spec->stats(service->self, w);
    json_close_object(w);
}

static int on_end(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    (void)arg;
    return -1;
}

/* The loop ends when the handler that runs now has returned. */
static void end_loop(service_t *service)
{
    if (service->state != ENDED)
        zloop_timer(service->loop, 0, 1, on_end, service);
    service->state = ENDED;
}

void service_fail(service_t *service, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_line(&service->log, LEVEL_ERROR, "event=failed reason=\"%s\"", text);
    service->failed = true;
    end_loop(service);
}

/* ---- Drain and signals ------------------------------------------------------------------ */

static int on_drain_timer(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    service_t *service = arg;
    if (service->state != DRAINING)
        return 0;
    bool late = clk_mono_ms() >= service->drain_until_ms;
    if (service->spec->drained && !service->spec->drained(service->self) && !late)
        return 0;
    if (late)
        log_line(&service->log, LEVEL_WARN,
                 "event=drain_deadline next=\"what is left waits on disk\"");
    end_loop(service);
    return 0;
}

static void drain(service_t *service)
{
    if (service->state != RUNNING)
        return;
    int64_t deadline_ms = config_int(service->config, "provisor", "stop_deadline");
    log_line(&service->log, LEVEL_INFO, "event=draining deadline_ms=%lld", (long long)deadline_ms);
    service->state = DRAINING;
    service->drain_since_ms = clk_mono_ms();
    service->drain_until_ms = service->drain_since_ms + deadline_ms;
    if (service->spec->drain)
        service->spec->drain(service->self);
    zloop_timer(service->loop, DRAIN_ASK_MS, 0, on_drain_timer, service);
}

static log_level_t config_level(const config_t *config)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    const char *level = config_text(config, "provisor", "log_level");
    size_t i = 0;
    while (i < sizeof names / sizeof *names - 1 && strcmp(names[i], level) != 0)
        i++;
    return (log_level_t)i;
}

static void reload(service_t *service)
{
    AUTO_BUF changed = {0}, ignored = {0};
    fault_t fault = {""};
    if (config_reload(service->config, &changed, &ignored, &fault) != RESULT_OK) {
        log_line(&service->log, LEVEL_ERROR, "event=reload_failed next=\"unchanged\" reason=\"%s\"",
                 fault.text);
        return;
    }
    service->log.level = config_level(service->config);
    log_line(&service->log, LEVEL_INFO, "event=reloaded changed=\"%s\"", buf_slice(&changed).data);
    if (ignored.size)
        log_line(&service->log, LEVEL_WARN, "event=restart_needed for=\"%s\"", ignored.data);
    if (service->spec->reload)
        service->spec->reload(service->self);
}

static int on_signal(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    service_t *service = arg;
    struct signalfd_siginfo info;
    while (read(item->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP && service->state == RUNNING)
            reload(service);
        else if (info.ssi_signo != SIGHUP && service->state == RUNNING)
            drain(service);
        else if (info.ssi_signo != SIGHUP &&
                 clk_mono_ms() - service->drain_since_ms >= SAME_SIGNAL_MS)
            end_loop(service);
    }
    return 0;
}

/* Before the first thread starts, so that every thread inherits the mask. */
static void open_signals(service_t *service)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    ENSURE(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    signal(SIGPIPE, SIG_IGN);
    service->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    ENSURE(service->signal_fd >= 0);
}

/* ---- Control ---------------------------------------------------------------------------- */

static bool is_ready(service_t *service, char *ret_why, size_t size)
{
    if (service->state != RUNNING) {
        snprintf(ret_why, size, "draining");
        return false;
    }
    return !service->spec->ready || service->spec->ready(service->self, ret_why, size);
}

static result_t answer_ping(void *arg, const json_tree_t *question, json_writer_t *w,
                            fault_t *fault)
{
    (void)question;
    (void)fault;
    service_t *service = arg;
    char why[WHY_BYTES] = "";
    bool ready = is_ready(service, why, sizeof why);
    json_key_str(w, "service", service->spec->name);
    json_key_str(w, "version", PROVISOR_VERSION);
    json_key_str(w, "node", service->node);
    json_key_int(w, "boot", service->boot);
    json_key_int(w, "pid", getpid());
    json_key_bool(w, "ready", ready);
    if (!ready)
        json_key_str(w, "why", why);
    return RESULT_OK;
}

static result_t answer_stats(void *arg, const json_tree_t *question, json_writer_t *w,
                             fault_t *fault)
{
    (void)question;
    (void)fault;
    service_t *service = arg;
    json_key(w, "stats");
    service_stats(service, w);
    return RESULT_OK;
}

static result_t answer_drain(void *arg, const json_tree_t *question, json_writer_t *w,
                             fault_t *fault)
{
    (void)question;
    (void)w;
    (void)fault;
    drain(arg);
    return RESULT_OK;
}

static result_t answer_backup(void *arg, const json_tree_t *question, json_writer_t *w,
                              fault_t *fault)
{
    (void)w;
    return backup_start(((service_t *)arg)->backup, question, fault);
}

static result_t answer_backup_status(void *arg, const json_tree_t *question, json_writer_t *w,
                                     fault_t *fault)
{
    (void)question;
    (void)fault;
    backup_status(((service_t *)arg)->backup, w);
    return RESULT_OK;
}

static const service_op_t own_ops[] = {
    {"ping", answer_ping},
    {"stats", answer_stats},
    {"drain", answer_drain},
    {NULL, NULL},
};

static const service_op_t backup_ops[] = {
    {"backup", answer_backup},
    {"backup_status", answer_backup_status},
    {NULL, NULL},
};

static void answer(void *arg, slice_t question, buf_t *ret_answer)
{
    service_t *service = arg;
    const ops_table_t tables[] = {
        {own_ops, service},
        {service->backup ? backup_ops : NULL, service},
        {service->spec->ops, service->self},
    };
    ops_answer(service->spec->name, tables, sizeof tables / sizeof *tables, question, ret_answer);
}

static result_t open_control(service_t *service, fault_t *fault)
{
    zsock_t *socket = NULL;
    result_t r = endpoint_bind(
        service->config, service->spec->name, "control",
        &(endpoint_options_t){.type = ZMQ_ROUTER, .hwm = 1000, .max_msg_bytes = QUESTION_BYTES_MAX},
        &socket, fault);
    if (r == RESULT_OK)
        service->control = control_new(service->loop, &socket, answer, service);
    return r;
}

/* ---- Start and stop --------------------------------------------------------------------- */

static int exit_code(result_t r)
{
    if (r == RESULT_LOCKED || r == RESULT_FULL)
        return EXIT_TRY_LATER;
    return r == RESULT_IO || r == RESULT_TIMEOUT ? EXIT_FAILED : EXIT_CONFIG;
}

static int cannot_start(const service_t *service, result_t r, fault_t *fault)
{
    for (char *c = fault->text; *c; c++)
        if (*c == '"')
            *c = '\'';
    log_line(&service->log, LEVEL_ERROR, "event=start_failed code=%d reason=\"%s\"", exit_code(r),
             *fault->text ? fault->text : result_str(r));
    return exit_code(r);
}

/* Everything that can be said about the settings without opening anything. */
static result_t load_config(service_t *service, const flags_t *flags, fault_t *fault)
{
    const char *path = flags->config ? flags->config : getenv("PROVISOR_CONFIG");
    const service_spec_t *spec = service->spec;
    result_t r = config_load(path && *path ? path : NULL, flags->data, &service->config, fault);
    for (size_t i = 0; i < config_n_keys && r == RESULT_OK; i++)
        if (config_keys[i].type == CONFIG_BIND && strcmp(config_keys[i].section, spec->name) == 0)
            r = endpoint_check_bind(service->config, spec->name, config_keys[i].key, fault);
    if (r == RESULT_OK && spec->check)
        r = spec->check(service->config, fault);
    if (r == RESULT_OK)
        service->log.level = config_level(service->config);
    return r;
}

/* Many peers, handlers and connections: as many descriptors as this process may have. */
static result_t raise_descriptor_limit(fault_t *fault)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return RESULT_OK;
    if (limit.rlim_max < DESCRIPTORS_MIN)
        return fault_set(fault, RESULT_INVALID,
                         "this process may open %lld files, it needs %d at least: raise the limit "
                         "(ulimit -n)",
                         (long long)limit.rlim_max, DESCRIPTORS_MIN);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    return RESULT_OK;
}

static int64_t random_boot(void)
{
    uint64_t boot = 0;
    while ((boot & INT64_MAX) == 0)
        ENSURE(getrandom(&boot, sizeof boot, 0) == (ssize_t)sizeof boot);
    return (int64_t)(boot & INT64_MAX);
}

static result_t start(service_t *service, fault_t *fault)
{
    result_t r = raise_descriptor_limit(fault);
    if (r != RESULT_OK)
        return r;
    service->boot = random_boot();
    zsys_init();
    zsys_handler_set(NULL);
    service->loop = zloop_new();
    zloop_set_nonstop(service->loop, true);
    zmq_pollitem_t item = {.fd = service->signal_fd, .events = ZMQ_POLLIN};
    zloop_poller(service->loop, &item, on_signal, service);
    r = service->spec->create(service, &service->self, fault);
    if (r == RESULT_OK && service->spec->backup)
        service->backup =
            backup_new(service->spec->backup, service->self, config_data(service->config),
                       config_int(service->config, "disk", "min_free"));
    return r == RESULT_OK ? open_control(service, fault) : r;
}

static void stop(service_t *service)
{
    control_destroy(&service->control);
    backup_destroy(&service->backup);
    if (service->self)
        service->spec->destroy(&service->self);
    zloop_destroy(&service->loop);
    close(service->signal_fd);
}

static int run(service_t *service)
{
    fault_t fault = {""};
    result_t r = start(service, &fault);
    if (r != RESULT_OK) {
        int code = cannot_start(service, r, &fault);
        stop(service);
        return code;
    }
    log_line(&service->log, LEVEL_INFO, "event=started version=%s pid=%d control=%s",
             PROVISOR_VERSION, (int)getpid(),
             config_text(service->config, service->spec->name, "control"));
    zloop_start(service->loop);
    if (service->failed)
        _exit(EXIT_FAILED);
    ENSURE(service->state == ENDED);
    stop(service);
    log_line(&service->log, LEVEL_INFO, "event=stopped");
    return 0;
}

int service_main(int argc, char **argv, const service_spec_t *spec)
{
    service_t service = {.spec = spec, .log = {spec->name, LEVEL_INFO}, .signal_fd = -1};
    flags_t flags = {0};
    fault_t fault = {""};
    int code = 0;
    if (!flags_read(argc, argv, spec->name, spec->help, &flags, &code))
        return code;
    umask(077);
    crash_init();
    result_t r = load_config(&service, &flags, &fault);
    if (r != RESULT_OK) {
        code = cannot_start(&service, r, &fault);
    } else if (flags.check) {
        printf("ok\n");
    } else {
        open_signals(&service);
        code = run(&service);
    }
    config_destroy(&service.config);
    return code;
}
