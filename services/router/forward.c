#include "services/router/forward.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/service/endpoint.h"

enum {
    HWM = 64,             /* messages in the pipe, of up to a batch each */
    STALL_MS = 2000,      /* without progress; the emitter sends again after as long */
    BURST = 1000,         /* messages sent in one turn of the loop */
    OVERHEAD_BYTES = 512, /* of a waiting message beyond its frames */
};

typedef struct waiting_t {
    struct waiting_t *next;
    int64_t bytes;
    zmq_msg_t frames[FORWARD_FRAMES];
} waiting_t;

struct forward_t {
    service_t *service;
    const char *endpoint;
    endpoint_peers_t *peers;
    int64_t pending_bytes_max;
    waiting_t *first, **end; /* the loop watches for room exactly while there is one */
    int64_t waiting, waiting_bytes;
    int64_t progress_ms; /* when something was sent, or began to wait, last */
    bool stalled;        /* gave up on it; nothing waits, everything is dropped until it has room */
    int64_t sent, dropped;
};

static void *socket_of(const forward_t *forward)
{
    return zsock_resolve(endpoint_socket(forward->peers));
}

static bool has_room(const forward_t *forward)
{
    return zsock_events(endpoint_socket(forward->peers)) & ZMQ_POLLOUT;
}

static void close_frames(zmq_msg_t frames[FORWARD_FRAMES])
{
    for (int i = 0; i < FORWARD_FRAMES; i++)
        zmq_msg_close(&frames[i]);
}

typedef enum { SENT, NO_ROOM, LOST } sent_t;

/* NO_ROOM: nothing was taken. LOST: the peer went away in the middle. */
static sent_t send_frames(forward_t *forward, zmq_msg_t frames[FORWARD_FRAMES])
{
    for (int i = 0; i < FORWARD_FRAMES; i++) {
        int flags = ZMQ_DONTWAIT | (i + 1 < FORWARD_FRAMES ? ZMQ_SNDMORE : 0);
        if (zmq_msg_send(&frames[i], socket_of(forward), flags) < 0)
            return i == 0 ? NO_ROOM : LOST;
    }
    forward->sent++;
    forward->progress_ms = clk_mono_ms();
    return SENT;
}

static int on_room(zloop_t *loop, zmq_pollitem_t *item, void *arg);

static void watch_room(forward_t *forward, bool on)
{
    zmq_pollitem_t item = {.socket = socket_of(forward), .events = ZMQ_POLLOUT};
    zloop_t *loop = service_loop(forward->service);
    if (on)
        zloop_poller(loop, &item, on_room, forward);
    else
        zloop_poller_end(loop, &item);
}

static void pop(forward_t *forward)
{
    waiting_t *first = forward->first;
    forward->first = first->next;
    forward->waiting--;
    forward->waiting_bytes -= first->bytes;
    close_frames(first->frames);
    free(first);
    if (!forward->first) {
        forward->end = &forward->first;
        watch_room(forward, false);
    }
}

static void append(forward_t *forward, zmq_msg_t frames[FORWARD_FRAMES], int64_t bytes)
{
    waiting_t *waiting = MEM_NEW(waiting_t);
    waiting->bytes = bytes;
    for (int i = 0; i < FORWARD_FRAMES; i++) {
        zmq_msg_init(&waiting->frames[i]);
        zmq_msg_move(&waiting->frames[i], &frames[i]);
    }
    if (!forward->first) {
        forward->progress_ms = clk_mono_ms();
        watch_room(forward, true);
    }
    *forward->end = waiting;
    forward->end = &waiting->next;
    forward->waiting++;
    forward->waiting_bytes += bytes;
}

static void set_stalled(forward_t *forward, bool stalled)
{
    if (forward->stalled == stalled)
        return;
    forward->stalled = stalled;
    const log_t *log = service_log(forward->service);
    if (stalled)
        log_line(log, LEVEL_WARN,
                 "event=deliverer_gone endpoint=%s next=\"drop; emitters send again\"",
                 forward->endpoint);
    else
        log_line(log, LEVEL_INFO, "event=deliverer_back endpoint=%s dropped=%lld",
                 forward->endpoint, (long long)forward->dropped);
}

/* Gives up what waits when the deliverer has not taken anything for too long. */
static void check_progress(forward_t *forward)
{
    if (!forward->first || clk_mono_ms() - forward->progress_ms < STALL_MS)
        return;
    while (forward->first) {
        forward->dropped++;
        pop(forward);
    }
    set_stalled(forward, true);
}

static int on_room(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    (void)item;
    forward_t *forward = arg;
    check_progress(forward);
    for (int i = 0; i < BURST && forward->first; i++) {
        sent_t sent = send_frames(forward, forward->first->frames);
        if (sent == NO_ROOM)
            return 0;
        forward->dropped += sent == LOST;
        pop(forward);
    }
    return 0;
}

result_t forward_open(service_t *service, const char *endpoint, int64_t pending_bytes,
                      forward_t **ret_forward, fault_t *fault)
{
    forward_t *forward = MEM_NEW(forward_t);
    forward->service = service;
    forward->endpoint = endpoint;
    forward->pending_bytes_max = pending_bytes;
    forward->end = &forward->first;
    result_t r = endpoint_connect(
        service_loop(service), endpoint,
        &(endpoint_options_t){.type = ZMQ_PUSH, .hwm = HWM, .log = service_log(service)},
        &forward->peers, fault);
    if (r == RESULT_OK)
        *ret_forward = forward;
    else
        free(forward);
    return r;
}

void forward_close(forward_t **forward)
{
    if (!*forward)
        return;
    while ((*forward)->first)
        pop(*forward);
    endpoint_peers_destroy(&(*forward)->peers);
    free(*forward);
    *forward = NULL;
}

void forward_send(forward_t *forward, zmq_msg_t frames[FORWARD_FRAMES])
{
    check_progress(forward);
    sent_t sent = forward->first ? NO_ROOM : send_frames(forward, frames);
    int64_t bytes = OVERHEAD_BYTES;
    for (int i = 0; i < FORWARD_FRAMES; i++)
        bytes += (int64_t)zmq_msg_size(&frames[i]);
    if (sent == SENT)
        set_stalled(forward, false);
    else if (sent == NO_ROOM && !forward->stalled &&
             forward->waiting_bytes + bytes <= forward->pending_bytes_max)
        append(forward, frames, bytes);
    else
        forward->dropped++;
    close_frames(frames);
}

bool forward_ready(const forward_t *forward)
{
    return has_room(forward) || (forward->first && clk_mono_ms() - forward->progress_ms < STALL_MS);
}

bool forward_idle(forward_t *forward)
{
    check_progress(forward);
    return !forward->first;
}

const char *forward_endpoint(const forward_t *forward)
{
    return forward->endpoint;
}

void forward_stats(const forward_t *forward, json_writer_t *w)
{
    json_open_object(w);
    json_key_str(w, "endpoint", forward->endpoint);
    json_key_bool(w, "ready", forward_ready(forward));
    json_key_int(w, "sent", forward->sent);
    json_key_int(w, "waiting", forward->waiting);
    json_key_int(w, "waiting_bytes", forward->waiting_bytes);
    json_key_int(w, "dropped", forward->dropped);
    json_close_object(w);
}
