#include "services/auditor/stream.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "services/auditor/record_json.h"
#include "services/auditor/subscriptions.h"

enum {
    SILENCE_MS = 900, /* the tick comes each second, more or less */
    HEARTBEAT_MS = 4900,
    BURST = 100,
};

struct stream_t {
    zloop_t *loop;
    zsock_t *socket;
    subscriptions_t *subscriptions;
    int64_t record_ms;    /* monotonic: when the last record was committed */
    int64_t heartbeat_ms; /* and the last heartbeat sent */
    int64_t sent;         /* messages */
    buf_t json;
};

static int on_subscription(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    stream_t *stream = arg;
    for (int i = 0; i < BURST && (zsock_events(socket) & ZMQ_POLLIN); i++) {
        zframe_t *frame = zframe_recv(socket);
        if (!frame)
            break;
        subscriptions_take(stream->subscriptions,
                           (slice_t){(const char *)zframe_data(frame), zframe_size(frame)});
        zframe_destroy(&frame);
    }
    return 0;
}

stream_t *stream_new(zloop_t *loop, zsock_t **socket)
{
    stream_t *stream = MEM_NEW(stream_t);
    *stream = (stream_t){
        .loop = loop, .socket = *socket, .subscriptions = subscriptions_new(), .json = {0}};
    *socket = NULL;
    int on = 1;
    ENSURE(zmq_setsockopt(zsock_resolve(stream->socket), ZMQ_XPUB_VERBOSER, &on, sizeof on) == 0);
    zloop_reader(loop, stream->socket, on_subscription, stream);
    zloop_reader_set_tolerant(loop, stream->socket);
    return stream;
}

void stream_destroy(stream_t **stream_ref)
{
    stream_t *stream = *stream_ref;
    if (!stream)
        return;
    zloop_reader_end(stream->loop, stream->socket);
    zsock_destroy(&stream->socket);
    subscriptions_destroy(&stream->subscriptions);
    buf_release(&stream->json);
    free(stream);
    *stream_ref = NULL;
}

/* XPUB never blocks; who is too slow misses it. */
static void send_message(stream_t *stream, slice_t topic, const buf_t *json)
{
    void *socket = zsock_resolve(stream->socket);
    if (zmq_send(socket, topic.data, topic.size, ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0 &&
        zmq_send(socket, json->data, json->size, ZMQ_DONTWAIT) >= 0)
        stream->sent++;
}

void stream_publish(stream_t *stream, const commit_t *commit)
{
    for (size_t i = 0; i < commit->n_items; i++) {
        const commit_item_t *item = &commit->items[i];
        if (!item->entry.audit_id && !item->passes)
            continue;
        if (item->entry.audit_id)
            stream->record_ms = clk_mono_ms();
        if (!subscriptions_want(stream->subscriptions, item->entry.record.topic))
            continue;
        json_writer_t w;
        buf_clear(&stream->json);
        json_begin(&w, &stream->json);
        record_json(&item->entry, false, &w);
        send_message(stream, item->entry.record.topic, &stream->json);
    }
}

static void send_heartbeat(stream_t *stream, const tail_t *tail)
{
    json_writer_t w;
    char at[CLK_ISO_SIZE];
    clk_iso_millis(clk_wall_ms(), at);
    buf_clear(&stream->json);
    json_begin(&w, &stream->json);
    json_open_object(&w);
    json_key_str(&w, "topic", "stage.heartbeat");
    json_key_str(&w, "at", at);
    json_key(&w, "last");
    json_open_object(&w);
    for (size_t i = 0; i < tail->n_topics; i++)
        json_key_int(&w, tail->topics[i].topic, tail->topics[i].last_id);
    json_close_object(&w);
    json_key_int(&w, "last_audit_id", tail->next_id - 1);
    json_close_object(&w);
    stream_send(stream, "stage.heartbeat", &stream->json);
}

void stream_tick(stream_t *stream, const tail_t *tail, int64_t mono_ms)
{
    bool silent =
        mono_ms - stream->record_ms >= SILENCE_MS && mono_ms - stream->heartbeat_ms >= SILENCE_MS;
    if (!silent && mono_ms - stream->heartbeat_ms < HEARTBEAT_MS)
        return;
    stream->heartbeat_ms = mono_ms;
    if (stream_wants(stream, "stage.heartbeat"))
        send_heartbeat(stream, tail);
}

bool stream_wants(const stream_t *stream, const char *topic)
{
    return subscriptions_want(stream->subscriptions, slice_of(topic));
}

void stream_send(stream_t *stream, const char *topic, const buf_t *json)
{
    send_message(stream, slice_of(topic), json);
}

void stream_stats(const stream_t *stream, json_writer_t *w)
{
    json_key_int(w, "subscriptions", subscriptions_count(stream->subscriptions));
    json_key_int(w, "published", stream->sent);
}
