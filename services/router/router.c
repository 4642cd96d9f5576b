#include "services/router/router.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/crash.h"
#include "common/base/mem.h"
#include "common/service/audit.h"
#include "common/service/endpoint.h"
#include "common/service/handlers.h"
#include "common/service/peers.h"
#include "common/wire/codec.h"
#include "services/router/forward.h"
#include "services/router/matcher.h"
#include "services/router/partition.h"

enum {
    HWM = 64,            /* messages of one emitter that wait to be read, of up to a batch each */
    BURST_EVENTS = 4096, /* read in one turn of the loop */
    POLL_MS = 500,
    STALE_MS = 5000, /* the handler table could not be read for so long: not ready */
    WARN_MS = 1000,
};

enum { BATCH_FRAME, EVENT_FRAME, MATCH_FRAME, TARGET_FRAME };

static const char intake_monitor[] = "inproc://router.intake";

typedef struct {
    int64_t batches, events, targets, unmatched, unsure;
} counts_t;

typedef struct {
    service_t *service;
    handlers_t *handlers;
    matcher_t *matcher;
    int64_t table_version; /* that matcher was made of */
    int64_t table_read_ms; /* when it was last known to be up to date */
    partition_t *partition;
    forward_t **forwards; /* of each deliverer in partition */
    zsock_t *intake;      /* PULL */
    peers_t *emitters;    /* that are connected to intake */
    bool reading;         /* intake is registered with the loop */
    audit_publisher_t *audit;
    buf_t match, targets; /* frames being made */
    counts_t counts;
    int64_t malformed;
    int64_t warned_ms; /* when the last malformed message was logged */
} router_t;

/* ---- Handler table ---------------------------------------------------------------------- */

static void make_matcher(router_t *router)
{
    size_t n = handlers_count(router->handlers);
    AUTO_FREE const handler_t **table = mem_alloc((n + 1) * sizeof *table);
    for (size_t i = 0; i < n; i++)
        table[i] = handlers_at(router->handlers, i);
    matcher_destroy(&router->matcher);
    router->matcher = matcher_new(table, n);
    router->table_version = handlers_version(router->handlers);
    const log_t *log = service_log(router->service);
    log_line(log, LEVEL_INFO, "event=handler_table version=%lld handlers=%zu",
             (long long)router->table_version, matcher_size(router->matcher));
    if (matcher_fault(router->matcher))
        log_line(log, LEVEL_ERROR,
                 "event=filter_unreadable next=\"what it may match waits at the emitter\" "
                 "reason=\"%s\"",
                 matcher_fault(router->matcher));
}

static int on_poll(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    router_t *router = arg;
    bool changed = false;
    result_t r = handlers_poll(router->handlers, &changed);
    if (r == RESULT_AGAIN)
        return 0;
    if (r != RESULT_OK) {
        service_fail(router->service, "cannot read the handler table: %s", result_str(r));
        return 0;
    }
    router->table_read_ms = clk_mono_ms();
    if (changed)
        make_matcher(router);
    return 0;
}

/* ---- Intake ----------------------------------------------------------------------------- */

static slice_t frame_slice(zmq_msg_t *frame)
{
    return (slice_t){zmq_msg_data(frame), zmq_msg_size(frame)};
}

static void set_frame(zmq_msg_t *frame, const buf_t *from)
{
    zmq_msg_close(frame);
    ENSURE(zmq_msg_init_size(frame, from->size) == 0);
    if (from->size)
        memcpy(zmq_msg_data(frame), from->data, from->size);
}

/* Fills router->targets; false when a frame cannot be decoded. */
static bool match_events(router_t *router, slice_t events, counts_t *counts)
{
    codec_reader_t reader;
    event_t event;
    result_t r;
    buf_clear(&router->targets);
    codec_reader_init(&reader, events);
    while ((r = codec_next(&reader, &event_table, &event)) == RESULT_OK) {
        const target_t *targets;
        size_t n = matcher_match(router->matcher, &event, &targets);
        for (size_t i = 0; i < n; i++) {
            target_t target = targets[i];
            target.event = counts->events;
            codec_add(&target_table, &target, &router->targets);
        }
        counts->events++;
        counts->targets += (int64_t)n;
        counts->unmatched += n == 0;
        counts->unsure += matcher_unsure(router->matcher);
    }
    return r == RESULT_NOT_FOUND;
}

static void refuse(router_t *router, const char *what)
{
    router->malformed++;
    if (router->malformed > 1 && clk_mono_ms() - router->warned_ms < WARN_MS)
        return;
    router->warned_ms = clk_mono_ms();
    log_line(service_log(router->service), LEVEL_WARN,
             "event=malformed_message what=\"%s\" count=%lld next=\"drop; is the emitter newer?\"",
             what, (long long)router->malformed);
}

/* Returns how many events it had; frames[BATCH_FRAME] and frames[EVENT_FRAME] are set. */
static int64_t forward_batch(router_t *router, zmq_msg_t frames[FORWARD_FRAMES])
{
    batch_t batch;
    counts_t counts = {.batches = 1};
    if (codec_decode(frame_slice(&frames[BATCH_FRAME]), &batch_table, &batch) != RESULT_OK ||
        batch.partition < 0 || batch.partition >= PARTITIONS) {
        refuse(router, "batch");
        return 1;
    }
    if (!match_events(router, frame_slice(&frames[EVENT_FRAME]), &counts)) {
        refuse(router, "event");
        return counts.events + 1;
    }
    if (counts.unsure) { /* the emitter keeps it and sends it again */
        router->counts.unsure += counts.unsure;
        return counts.events;
    }
    CRASH_POINT("router.in_hand");
    match_t match = {.version = MATCH_VERSION, .table_version = router->table_version};
    buf_clear(&router->match);
    codec_add(&match_table, &match, &router->match);
    set_frame(&frames[MATCH_FRAME], &router->match);
    set_frame(&frames[TARGET_FRAME], &router->targets);
    forward_send(router->forwards[partition_owner(router->partition, batch.partition)], frames);
    router->counts.batches += counts.batches;
    router->counts.events += counts.events;
    router->counts.targets += counts.targets;
    router->counts.unmatched += counts.unmatched;
    return counts.events;
}

/* The first two frames of a message, and how many it has; 0: there is no message now. */
static size_t receive(router_t *router, zmq_msg_t frames[FORWARD_FRAMES])
{
    size_t n = 0;
    bool more = true;
    for (; more; n++) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, zsock_resolve(router->intake), ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&frame);
            return n;
        }
        more = zmq_msg_more(&frame);
        if (n < MATCH_FRAME)
            zmq_msg_move(&frames[n], &frame);
        zmq_msg_close(&frame);
    }
    return n;
}

static int on_intake(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    (void)socket;
    router_t *router = arg;
    for (int64_t events = 0; events < BURST_EVENTS;) {
        zmq_msg_t frames[FORWARD_FRAMES];
        for (int i = 0; i < FORWARD_FRAMES; i++)
            zmq_msg_init(&frames[i]);
        size_t n = receive(router, frames);
        if (n == MATCH_FRAME)
            events += 1 + forward_batch(router, frames);
        else if (n > 0)
            refuse(router, "number of frames");
        events += n > 0;
        for (int i = 0; i < FORWARD_FRAMES; i++)
            zmq_msg_close(&frames[i]);
        if (n == 0)
            return 0;
    }
    return 0;
}

/* ---- Life ------------------------------------------------------------------------------- */

static void stop_reading(void *self)
{
    router_t *router = self;
    if (router->reading)
        zloop_reader_end(service_loop(router->service), router->intake);
    router->reading = false;
}

static bool drained(void *self)
{
    router_t *router = self;
    bool idle = true;
    for (size_t i = 0; i < partition_deliverers(router->partition); i++)
        idle &= forward_idle(router->forwards[i]);
    return idle;
}

static void destroy(void **self)
{
    router_t *router = *self;
    stop_reading(router);
    for (size_t i = 0; router->forwards && i < partition_deliverers(router->partition); i++)
        forward_close(&router->forwards[i]);
    free(router->forwards);
    endpoint_close(&router->intake);
    peers_destroy(&router->emitters);
    audit_destroy(&router->audit);
    matcher_destroy(&router->matcher);
    handlers_close(&router->handlers);
    partition_destroy(&router->partition);
    buf_release(&router->match);
    buf_release(&router->targets);
    free(router);
    *self = NULL;
}

static result_t read_partitions(const config_t *config, partition_t **ret_partition, fault_t *fault)
{
    fault_t why = {""};
    result_t r = partition_new(config_text(config, "router", "deliverers"), ret_partition, &why);
    if (r != RESULT_OK)
        fault_set(fault, r, "%s: %.400s", config_source(config, "router", "deliverers"), why.text);
    return r;
}

static result_t check(const config_t *config, fault_t *fault)
{
    AUTO(partition) partition = NULL;
    return read_partitions(config, &partition, fault);
}

static result_t open_forwards(router_t *router, fault_t *fault)
{
    const config_t *config = service_config(router->service);
    int64_t pending_bytes = config_int(config, "router", "pending_bytes");
    result_t r = read_partitions(config, &router->partition, fault);
    if (r != RESULT_OK)
        return r;
    size_t n = partition_deliverers(router->partition);
    router->forwards = mem_alloc(n * sizeof *router->forwards);
    for (size_t i = 0; i < n && r == RESULT_OK; i++)
        r = forward_open(router->service, partition_endpoint(router->partition, i), pending_bytes,
                         &router->forwards[i], fault);
    return r;
}

static result_t open_all(router_t *router, fault_t *fault)
{
    service_t *service = router->service;
    const config_t *config = service_config(service);
    char node[40]; /* nothing durable, so a new one each time */
    snprintf(node, sizeof node, "router-%016llx", (unsigned long long)service_boot(service));
    result_t r = handlers_open(config_handlers_dir(config), &router->handlers, fault);
    if (r == RESULT_OK) {
        handlers_never_wait(router->handlers);
        r = open_forwards(router, fault);
    }
    if (r == RESULT_OK)
        r = audit_new(service, "router", node, NULL, NULL, &router->audit, fault);
    router->emitters = peers_new(service_loop(service), intake_monitor, NULL, NULL);
    if (r == RESULT_OK)
        r = endpoint_bind(config, "router", "intake",
                          &(endpoint_options_t){.type = ZMQ_PULL,
                                                .hwm = HWM,
                                                .max_msg_bytes = config_events_max(config),
                                                .monitor = intake_monitor},
                          &router->intake, fault);
    return r;
}

static result_t create(service_t *service, void **ret_self, fault_t *fault)
{
    router_t *router = MEM_NEW(router_t);
    router->service = service;
    result_t r = open_all(router, fault);
    if (r != RESULT_OK) {
        void *self = router;
        destroy(&self);
        return r;
    }
    make_matcher(router);
    router->table_read_ms = clk_mono_ms();
    zloop_timer(service_loop(service), POLL_MS, 0, on_poll, router);
    zloop_reader(service_loop(service), router->intake, on_intake, router);
    router->reading = true;
    *ret_self = router;
    return RESULT_OK;
}

static void stats(void *self, json_writer_t *w)
{
    router_t *router = self;
    json_key_int(w, "batches", router->counts.batches);
    json_key_int(w, "events", router->counts.events);
    json_key_int(w, "targets", router->counts.targets);
    json_key_int(w, "unmatched", router->counts.unmatched);
    json_key_int(w, "unsure", router->counts.unsure);
    json_key_int(w, "malformed", router->malformed);
    json_key_int(w, "table_version", router->table_version);
    json_key_int(w, "handlers", (int64_t)matcher_size(router->matcher));
    json_key(w, "deliverers");
    json_open_array(w);
    for (size_t i = 0; i < partition_deliverers(router->partition); i++)
        forward_stats(router->forwards[i], w);
    json_close_array(w);
    audit_stats(router->audit, w);
}

static bool ready(void *self, char *ret_why, size_t size)
{
    router_t *router = self;
    ret_why[0] = 0;
    if (clk_mono_ms() - router->table_read_ms > STALE_MS)
        snprintf(ret_why, size, "handler table busy for more than %d s", STALE_MS / 1000);
    else if (matcher_fault(router->matcher))
        snprintf(ret_why, size, "%.*s", (int)strcspn(matcher_fault(router->matcher), "\n"),
                 matcher_fault(router->matcher));
    else if (peers_connected(router->emitters) == 0)
        snprintf(ret_why, size, "no emitter connected");
    for (size_t i = 0; i < partition_deliverers(router->partition) && !ret_why[0]; i++)
        if (!forward_ready(router->forwards[i]))
            snprintf(ret_why, size, "no deliverer at %s", forward_endpoint(router->forwards[i]));
    if (!ret_why[0] && !audit_alive(router->audit))
        snprintf(ret_why, size, "no auditor is heard");
    return ret_why[0] == 0;
}

const service_spec_t router_spec = {
    .name = "router",
    .help = "Matches events with handlers and forwards them to the deliverers.",
    .create = create,
    .destroy = destroy,
    .drain = stop_reading,
    .drained = drained,
    .stats = stats,
    .ready = ready,
    .check = check,
};
