#include "services/auditor/announcer.h"
#include "common/base/mem.h"
#include "common/wire/codec.h"

enum {
    HEARD_MS = 60000,
    LINGER_MS = 300, /* the marks of the last commit still leave */
    BURST = 100,
};

struct announcer_t {
    zloop_t *loop;
    zsock_t *socket;
    const marks_t *marks;
    buf_t frame;
};

static void send_beat(announcer_t *announcer)
{
    (void)zmq_send(zsock_resolve(announcer->socket), AUDIT_BEAT, strlen(AUDIT_BEAT), ZMQ_DONTWAIT);
}

static void send_mark(void *self, const marks_row_t *row)
{
    announcer_t *announcer = self;
    void *socket = zsock_resolve(announcer->socket);
    mark_t mark = {.version = MARK_VERSION,
                   .node = slice_of(row->node),
                   .boot = row->boot,
                   .number = row->number};
    buf_clear(&announcer->frame);
    codec_add(&mark_table, &mark, &announcer->frame);
    if (zmq_send(socket, mark.node.data, mark.node.size, ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0)
        (void)zmq_send(socket, announcer->frame.data, announcer->frame.size, ZMQ_DONTWAIT);
}

/* XPUB's own messages: 1 and the topic for a subscription. Topics are node ids, or the beat. */
static void greet(announcer_t *announcer, slice_t message)
{
    if (message.size == 0 || message.data[0] != 1)
        return;
    slice_t topic = {message.data + 1, message.size - 1};
    marks_of_node(announcer->marks, topic, send_mark, announcer);
    send_beat(announcer);
}

static int on_subscription(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    for (int i = 0; i < BURST && (zsock_events(socket) & ZMQ_POLLIN); i++) {
        zframe_t *frame = zframe_recv(socket);
        if (!frame)
            break;
        greet(arg, (slice_t){(const char *)zframe_data(frame), zframe_size(frame)});
        zframe_destroy(&frame);
    }
    return 0;
}

announcer_t *announcer_new(zloop_t *loop, zsock_t **socket, const marks_t *marks)
{
    announcer_t *announcer = MEM_NEW(announcer_t);
    announcer->loop = loop;
    announcer->marks = marks;
    announcer->socket = *socket;
    *socket = NULL;
    int on = 1;
    ENSURE(zmq_setsockopt(zsock_resolve(announcer->socket), ZMQ_XPUB_VERBOSE, &on, sizeof on) == 0);
    zsock_set_linger(announcer->socket, LINGER_MS);
    zloop_reader(loop, announcer->socket, on_subscription, announcer);
    zloop_reader_set_tolerant(loop, announcer->socket);
    return announcer;
}

void announcer_destroy(announcer_t **announcer_ref)
{
    announcer_t *announcer = *announcer_ref;
    if (!announcer)
        return;
    zloop_reader_end(announcer->loop, announcer->socket);
    zsock_destroy(&announcer->socket);
    buf_release(&announcer->frame);
    free(announcer);
    *announcer_ref = NULL;
}

void announcer_committed(announcer_t *announcer, const marks_rows_t *rows)
{
    for (size_t i = 0; i < rows->n_rows; i++)
        send_mark(announcer, &rows->rows[i]);
}

void announcer_tick(announcer_t *announcer, int64_t mono_ms)
{
    marks_each(announcer->marks, mono_ms > HEARD_MS ? mono_ms - HEARD_MS : 0, send_mark, announcer);
    send_beat(announcer);
}
