#include "common/service/audit.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/service/audit_window.h"
#include "common/service/endpoint.h"
#include "common/wire/codec.h"

#include <sys/timerfd.h>

enum {
    WINDOW_RECORDS = 10000,
    WINDOW_BYTES = 8 << 20,
    MESSAGE_BYTES = 256 << 10,
    GATHER_MS = 5, /* what is added meanwhile leaves together */
    REPEAT_MS = 1000,
    SILENCE_MS = 3000,
    MESSAGES = 64,      /* on their way */
    HWM = 4 * MESSAGES, /* what is on its way and repetitions of it fit */
    MARKS_HWM = 1000,
    SUBSCRIPTION_BYTES_MAX = 1 << 10,
    MARK_BYTES_MAX = 64 << 10,
    IDLE_MS = 1900, /* a little less than two of the auditor's beats */
    STATS_MS = 10000,
    STOP_LINGER_MS = 500, /* the last records still leave */
    BURST = 1000,         /* messages read in one turn of the loop */
    OVERRUN = 2,          /* windows of durable records that were added without room: a bug */
};

struct audit_publisher_t {
    service_t *service;
    char *node;
    audit_calls_t calls;
    void *owner;
    audit_window_t *window;
    zsock_t *records;        /* XPUB, so that a subscription is seen */
    endpoint_peers_t *marks; /* SUB */
    int added_fd;            /* timerfd: something was added GATHER_MS ago */
    bool added;              /* added_fd runs */
    int timer;               /* for audit_window_tick(); -1: none runs */
    bool was_full;           /* there was no room since on_room was last called */
    int64_t sent_ms;         /* when the last message left */
    int64_t stats_ms;        /* when stage.stats was last added, or the start */
    int64_t dropped;         /* not told yet by stage.audit_dropped */
    int64_t dropped_total;
    buf_t scratch;
};

/* ---- Sending ---------------------------------------------------------------------------- */

/* Never waits: a subscriber that does not read misses what does not fit into its pipe, which is no
 * concern of the others. Should it be the auditor, its mark stands still and we go back. */
static void send_message(audit_publisher_t *audit, const audit_message_t *message)
{
    audit_t head = {
        .version = AUDIT_VERSION,
        .node = slice_of(audit->node),
        .service = slice_of(service_name(audit->service)),
        .boot = service_boot(audit->service),
        .first = message->first,
        .oldest = message->oldest,
        .count = message->count,
    };
    audit->sent_ms = clk_mono_ms();
    buf_clear(&audit->scratch);
    codec_add(&audit_table, &head, &audit->scratch);
    void *socket = zsock_resolve(audit->records);
    (void)zmq_send(socket, head.node.data, head.node.size, ZMQ_DONTWAIT | ZMQ_SNDMORE);
    (void)zmq_send(socket, audit->scratch.data, audit->scratch.size, ZMQ_DONTWAIT | ZMQ_SNDMORE);
    (void)zmq_send(socket, buf_slice(&message->records).data, message->records.size, ZMQ_DONTWAIT);
}

static void arm_timer(audit_publisher_t *audit);

static void flush(audit_publisher_t *audit)
{
    audit_message_t message;
    while (audit_window_take(audit->window, clk_mono_ms(), &message)) {
        send_message(audit, &message);
        buf_release(&message.records);
    }
    arm_timer(audit);
}

/* A message without records answers a beat when nothing else left lately: it tells the auditor that
 * the stage lives. */
static void send_idle(audit_publisher_t *audit)
{
    if (!audit_alive(audit) || clk_mono_ms() - audit->sent_ms < IDLE_MS)
        return;
    audit_message_t idle = {
        .first = audit_window_last(audit->window) + 1,
        .oldest = audit_window_marked(audit->window) + 1,
    };
    send_message(audit, &idle);
}

static int on_timer(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    audit_publisher_t *audit = arg;
    audit->timer = -1;
    (void)audit_window_tick(audit->window, clk_mono_ms());
    flush(audit);
    return 0;
}

/* No timer runs while nothing is on its way. */
static void arm_timer(audit_publisher_t *audit)
{
    if (audit->timer >= 0)
        return;
    int64_t wait_ms = audit_window_tick(audit->window, clk_mono_ms());
    if (wait_ms < 0)
        return;
    audit->timer = zloop_timer(service_loop(audit->service), (size_t)wait_ms, 1, on_timer, audit);
}

static int on_added(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    audit_publisher_t *audit = arg;
    uint64_t count;
    ssize_t size = read(item->fd, &count, sizeof count);
    (void)size;
    audit->added = false;
    flush(audit);
    return 0;
}

/* ---- Adding ----------------------------------------------------------------------------- */

static int64_t add(audit_publisher_t *audit, const record_t *record)
{
    static const struct itimerspec gather = {.it_value = {.tv_nsec = GATHER_MS * 1000000}};
    buf_clear(&audit->scratch);
    codec_add(&record_table, record, &audit->scratch);
    int64_t number = audit_window_add(audit->window, buf_slice(&audit->scratch));
    if (!audit_window_room(audit->window))
        audit->was_full = true;
    if (!audit->added)
        (void)timerfd_settime(audit->added_fd, 0, &gather, NULL);
    audit->added = true;
    return number;
}

static void tell_dropped(audit_publisher_t *audit)
{
    if (audit->dropped == 0 || !audit_window_room(audit->window))
        return;
    record_t record = {
        .topic = SLICE("stage.audit_dropped"),
        .at_ms = clk_wall_ms(),
        .count = audit->dropped,
    };
    audit->dropped = 0;
    (void)add(audit, &record);
}

int64_t audit_add(audit_publisher_t *audit, const record_t *record)
{
    if (audit_window_room(audit->window))
        return add(audit, record);
    if (record->origin > 0) {
        int64_t kept = audit_window_last(audit->window) - audit_window_marked(audit->window);
        ENSURE(kept < OVERRUN * WINDOW_RECORDS &&
               audit_window_bytes(audit->window) < (size_t)OVERRUN * WINDOW_BYTES);
        return add(audit, record);
    }
    audit->dropped++;
    audit->dropped_total++;
    return 0;
}

static void add_stage_record(audit_publisher_t *audit, const char *topic)
{
    AUTO_BUF message = {0};
    buf_printf(&message, "version %s, pid %d", PROVISOR_VERSION, (int)getpid());
    record_t record = {
        .topic = slice_of(topic),
        .at_ms = clk_wall_ms(),
        .message = buf_slice(&message),
    };
    (void)audit_add(audit, &record);
}

static void add_stats(audit_publisher_t *audit)
{
    if (!audit_alive(audit) || !audit_window_room(audit->window) ||
        clk_mono_ms() - audit->stats_ms < STATS_MS)
        return;
    AUTO_BUF stats = {0};
    json_writer_t w;
    json_begin(&w, &stats);
    service_stats(audit->service, &w);
    record_t record = {
        .topic = SLICE("stage.stats"), .at_ms = clk_wall_ms(), .stats = buf_slice(&stats)};
    audit->stats_ms = clk_mono_ms();
    (void)add(audit, &record);
}

/* ---- Hearing ---------------------------------------------------------------------------- */

/* Another boot's marks, and numbers that were never given out, only say that the auditor lives. */
static void take_mark(audit_publisher_t *audit, slice_t frame)
{
    mark_t mark;
    if (codec_decode(frame, &mark_table, &mark) == RESULT_OK && slice_is(mark.node, audit->node) &&
        mark.boot == service_boot(audit->service))
        (void)audit_window_mark(audit->window, mark.number, clk_mono_ms());
}

static void tell_mark(audit_publisher_t *audit, int64_t mark_before)
{
    int64_t mark = audit_window_marked(audit->window);
    if (mark != mark_before && audit->calls.on_mark)
        audit->calls.on_mark(audit->owner, mark);
}

static void tell_room(audit_publisher_t *audit)
{
    tell_dropped(audit);
    if (!audit->was_full || !audit_window_room(audit->window))
        return;
    audit->was_full = false;
    if (audit->calls.on_room)
        audit->calls.on_room(audit->owner);
}

static int on_marks(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    audit_publisher_t *audit = arg;
    int64_t mark_before = audit_window_marked(audit->window);
    for (int i = 0; i < BURST && (zsock_events(socket) & ZMQ_POLLIN); i++) {
        AUTO(zmsg) msg = zmsg_recv(socket);
        if (!msg)
            break;
        audit_window_beat(audit->window, clk_mono_ms());
        zframe_t *frame = zmsg_size(msg) == 2 ? zmsg_last(msg) : NULL;
        if (frame)
            take_mark(audit, (slice_t){(const char *)zframe_data(frame), zframe_size(frame)});
    }
    tell_mark(audit, mark_before);
    tell_room(audit);
    add_stats(audit);
    flush(audit);
    send_idle(audit);
    return 0;
}

/* XPUB's own messages: 1 and a topic for a subscription, 0 and a topic when it ends. */
static int on_subscription(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    audit_publisher_t *audit = arg;
    for (int i = 0; i < BURST && (zsock_events(socket) & ZMQ_POLLIN); i++) {
        AUTO(zframe) frame = zframe_recv(socket);
        if (!frame || zframe_size(frame) == 0)
            break;
        if (zframe_data(frame)[0] == 1) {
            audit_window_join(audit->window);
            audit->sent_ms = 0; /* the first beat is answered */
        } else if (zframe_data(frame)[0] == 0)
            audit_window_leave(audit->window);
    }
    flush(audit);
    return 0;
}

/* ---- Life ------------------------------------------------------------------------------- */

static result_t open_sockets(audit_publisher_t *audit, const char *section, fault_t *fault)
{
    const config_t *config = service_config(audit->service);
    result_t r =
        endpoint_bind(config, section, "audit",
                      &(endpoint_options_t){
                          .type = ZMQ_XPUB, .hwm = HWM, .max_msg_bytes = SUBSCRIPTION_BYTES_MAX},
                      &audit->records, fault);
    if (r != RESULT_OK)
        return r;
    zsock_set_linger(audit->records, STOP_LINGER_MS);
    int on = 1;
    void *handle = zsock_resolve(audit->records);
    ENSURE(zmq_setsockopt(handle, ZMQ_XPUB_VERBOSER, &on, sizeof on) == 0);
    r = endpoint_connect(service_loop(audit->service), config_text(config, section, "marks"),
                         &(endpoint_options_t){.type = ZMQ_SUB,
                                               .hwm = MARKS_HWM,
                                               .max_msg_bytes = MARK_BYTES_MAX,
                                               .log = service_log(audit->service)},
                         &audit->marks, fault);
    if (r != RESULT_OK)
        return r;
    zsock_set_subscribe(endpoint_socket(audit->marks), audit->node);
    zsock_set_subscribe(endpoint_socket(audit->marks), AUDIT_BEAT);
    return RESULT_OK;
}

static void register_with_loop(audit_publisher_t *audit)
{
    zloop_t *loop = service_loop(audit->service);
    zmq_pollitem_t item = {.fd = audit->added_fd, .events = ZMQ_POLLIN};
    zloop_poller(loop, &item, on_added, audit);
    zloop_reader(loop, audit->records, on_subscription, audit);
    zloop_reader_set_tolerant(loop, audit->records);
    zloop_reader(loop, endpoint_socket(audit->marks), on_marks, audit);
    zloop_reader_set_tolerant(loop, endpoint_socket(audit->marks));
}

static void release(audit_publisher_t *audit)
{
    zsock_destroy(&audit->records);
    endpoint_peers_destroy(&audit->marks);
    audit_window_destroy(&audit->window);
    close(audit->added_fd);
    buf_release(&audit->scratch);
    free(audit->node);
    free(audit);
}

result_t audit_new(service_t *service, const char *section, const char *node,
                   const audit_calls_t *calls, void *owner, audit_publisher_t **ret_audit,
                   fault_t *fault)
{
    audit_publisher_t *audit = MEM_NEW(audit_publisher_t);
    *audit = (audit_publisher_t){
        .service = service,
        .node = mem_strdup(node),
        .calls = calls ? *calls : (audit_calls_t){0},
        .owner = owner,
        .timer = -1,
        .stats_ms = clk_mono_ms(),
        .added_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC),
        .window = audit_window_new(&(audit_limits_t){.records_max = WINDOW_RECORDS,
                                                     .bytes_max = WINDOW_BYTES,
                                                     .message_bytes = MESSAGE_BYTES,
                                                     .messages_max = MESSAGES,
                                                     .repeat_ms = REPEAT_MS,
                                                     .silence_ms = SILENCE_MS}),
    };
    ENSURE(audit->added_fd >= 0);
    result_t r = open_sockets(audit, section, fault);
    if (r != RESULT_OK) {
        release(audit);
        return r;
    }
    service_set_node(service, node);
    register_with_loop(audit);
    add_stage_record(audit, "stage.started");
    *ret_audit = audit;
    return RESULT_OK;
}

void audit_destroy(audit_publisher_t **audit_p)
{
    audit_publisher_t *audit = *audit_p;
    if (!audit)
        return;
    add_stage_record(audit, "stage.stopped");
    flush(audit);
    zloop_t *loop = service_loop(audit->service);
    zmq_pollitem_t item = {.fd = audit->added_fd, .events = ZMQ_POLLIN};
    zloop_poller_end(loop, &item);
    zloop_reader_end(loop, audit->records);
    zloop_reader_end(loop, endpoint_socket(audit->marks));
    if (audit->timer >= 0)
        zloop_timer_end(loop, audit->timer);
    release(audit);
    *audit_p = NULL;
}

bool audit_room(const audit_publisher_t *audit)
{
    return audit_window_room(audit->window);
}

int64_t audit_mark(const audit_publisher_t *audit)
{
    return audit_window_marked(audit->window);
}

bool audit_alive(const audit_publisher_t *audit)
{
    return audit_window_alive(audit->window, clk_mono_ms());
}

void audit_stats(const audit_publisher_t *audit, json_writer_t *w)
{
    int64_t last = audit_window_last(audit->window), mark = audit_window_marked(audit->window);
    json_key(w, "audit");
    json_open_object(w);
    json_key_bool(w, "alive", audit_alive(audit));
    json_key_int(w, "added", last);
    json_key_int(w, "marked", mark);
    json_key_int(w, "kept", last - mark);
    json_key_int(w, "kept_bytes", (int64_t)audit_window_bytes(audit->window));
    json_key_int(w, "repeated", audit_window_repeated(audit->window));
    json_key_int(w, "dropped", audit->dropped_total);
    json_close_object(w);
}
