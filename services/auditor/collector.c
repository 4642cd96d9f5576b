#include "services/auditor/collector.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/service/endpoint.h"
#include "services/auditor/intake.h"

static const char *const keys[] = {"emitters", "routers", "deliverers"};
enum {
    SOCKETS = sizeof keys / sizeof *keys,
    HWM = 256,                      /* a stage sends at most a window ahead, in few messages */
    MESSAGE_BYTES_EXTRA = 16 << 20, /* a burst of records, besides the largest event */
    BURST = 200,
    WARN_MS = 60000,
};

struct collector_t {
    zloop_t *loop;
    const log_t *log;
    marks_t *marks;
    history_t *history;
    endpoint_peers_t *peers[SOCKETS];
    bool reading; /* the sockets are registered with the loop */
    bool stopped; /* for good */
    int64_t messages, malformed, dropped;
    int64_t warned_ms; /* monotonic: when a malformed message was last told */
};

static void note_malformed(collector_t *collector, const fault_t *fault, int64_t mono_ms)
{
    collector->malformed++;
    if (collector->warned_ms && mono_ms - collector->warned_ms < WARN_MS)
        return;
    collector->warned_ms = mono_ms;
    log_line(collector->log, LEVEL_WARN,
             "event=malformed_audit_message count=%lld reason=\"%s\" next=\"it is not taken\"",
             (long long)collector->malformed, fault->text);
}

static void take_message(collector_t *collector, zmsg_t **msg)
{
    int64_t mono_ms = clk_mono_ms();
    fault_t fault = {""};
    collector->messages++;
    if (!history_room(collector->history)) { /* the disk is full */
        collector->dropped++;
        zmsg_destroy(msg);
        return;
    }
    result_t r = intake_message(collector->marks, history_next(collector->history), msg,
                                clk_wall_ms(), mono_ms, &fault);
    if (r != RESULT_OK)
        note_malformed(collector, &fault, mono_ms);
}

static bool may_read(const collector_t *collector)
{
    return !collector->stopped &&
           (history_room(collector->history) || history_full(collector->history));
}

static int on_message(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    collector_t *collector = arg;
    for (int i = 0; i < BURST && may_read(collector) && (zsock_events(socket) & ZMQ_POLLIN); i++) {
        zmsg_t *msg = zmsg_recv(socket);
        if (!msg)
            break;
        take_message(collector, &msg);
    }
    history_kick(collector->history);
    collector_resume(collector);
    return 0;
}

void collector_resume(collector_t *collector)
{
    bool read = may_read(collector);
    if (read == collector->reading)
        return;
    collector->reading = read;
    for (size_t i = 0; i < SOCKETS; i++) {
        zsock_t *socket = endpoint_socket(collector->peers[i]);
        if (!read) {
            zloop_reader_end(collector->loop, socket);
            continue;
        }
        zloop_reader(collector->loop, socket, on_message, collector);
        zloop_reader_set_tolerant(collector->loop, socket);
    }
}

void collector_stop(collector_t *collector)
{
    collector->stopped = true;
    collector_resume(collector);
}

static result_t open_sockets(collector_t *collector, const config_t *config, fault_t *fault)
{
    endpoint_options_t options = {
        .type = ZMQ_SUB,
        .hwm = HWM,
        .max_msg_bytes = config_int(config, "emitter", "event_max") + MESSAGE_BYTES_EXTRA,
        .log = collector->log,
    };
    for (size_t i = 0; i < SOCKETS; i++) {
        result_t r = endpoint_connect(collector->loop, config_text(config, "auditor", keys[i]),
                                      &options, &collector->peers[i], fault);
        if (r != RESULT_OK)
            return r;
        zsock_set_subscribe(endpoint_socket(collector->peers[i]), "");
    }
    return RESULT_OK;
}

result_t collector_new(service_t *service, marks_t *marks, history_t *history,
                       collector_t **ret_collector, fault_t *fault)
{
    collector_t *collector = MEM_NEW(collector_t);
    *collector = (collector_t){.loop = service_loop(service),
                               .log = service_log(service),
                               .marks = marks,
                               .history = history};
    result_t r = open_sockets(collector, service_config(service), fault);
    if (r != RESULT_OK) {
        collector_destroy(&collector);
        return r;
    }
    collector_resume(collector);
    *ret_collector = collector;
    return RESULT_OK;
}

void collector_destroy(collector_t **collector_ref)
{
    collector_t *collector = *collector_ref;
    if (!collector)
        return;
    if (collector->reading)
        collector_stop(collector);
    for (size_t i = 0; i < SOCKETS; i++)
        endpoint_peers_destroy(&collector->peers[i]);
    free(collector);
    *collector_ref = NULL;
}

void collector_stats(const collector_t *collector, json_writer_t *w)
{
    json_key_bool(w, "reading", collector->reading);
    json_key_int(w, "messages", collector->messages);
    json_key_int(w, "malformed", collector->malformed);
    json_key_int(w, "dropped", collector->dropped);
}
