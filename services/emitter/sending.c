#include "common/base/clk.h"
#include "common/wire/codec.h"
#include "services/emitter/emitter_self.h"

enum {
    SEND_BURST = 256, /* messages in one turn of the loop */
    REFILL_BURST = 8, /* partitions whose tail is read in one turn */
};

/* ---- Tails ------------------------------------------------------------------------------ */

static bool take_tail(void *owner, const outgoing_event_t *event)
{
    return outgoing_refill(owner, event);
}

/* Not while the disk is full: what their receipts change in the journal would wait in memory. */
static bool wants_refill(const emitter_t *self, outgoing_want_t *ret_want)
{
    return !self->disk_full && !self->read_again_ms && outgoing_wants(self->outgoing, ret_want);
}

static void refill(emitter_t *self)
{
    outgoing_want_t want;
    for (int i = 0; i < REFILL_BURST && wants_refill(self, &want); i++) {
        bool ended = false;
        result_t r = journal_read_tail(self->journal, &want, take_tail, self->outgoing, &ended);
        if (r != RESULT_OK)
            emitter_read_failed(self, r);
        else if (ended)
            outgoing_refilled(self->outgoing, want.partition);
    }
}

/* ---- Batches ---------------------------------------------------------------------------- */

static void send_batch(emitter_t *self, void *socket, const outgoing_message_t *message)
{
    batch_t batch = {.version = BATCH_VERSION,
                     .node = slice_of(journal_node(self->journal)),
                     .partition = message->partition,
                     .low_water = slice_of(message->low_water.text)};
    buf_clear(&self->batch);
    codec_add(&batch_table, &batch, &self->batch);
    /* there was room for a message; what is lost all the same is sent again without a receipt */
    (void)zmq_send(socket, self->batch.data, self->batch.size, ZMQ_DONTWAIT | ZMQ_SNDMORE);
    (void)zmq_send(socket, message->frame.data, message->frame.size, ZMQ_DONTWAIT);
    self->counts.sent++;
}

static int on_writable(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    (void)item;
    emitter_turn(arg);
    return 0;
}

/* While no router takes more, the loop waits until one does; otherwise it must not look. */
static void set_blocked(emitter_t *self, bool blocked)
{
    if (blocked == self->blocked)
        return;
    self->blocked = blocked;
    zmq_pollitem_t item = {.socket = zsock_resolve(endpoint_socket(self->routers)),
                           .events = ZMQ_POLLOUT};
    if (blocked)
        zloop_poller(self->loop, &item, on_writable, self);
    else
        zloop_poller_end(self->loop, &item);
}

void sending_turn(emitter_t *self)
{
    zsock_t *routers = endpoint_socket(self->routers);
    outgoing_message_t message;
    refill(self);
    int64_t now_ms = clk_mono_ms();
    int64_t due_ms = outgoing_due_ms(self->outgoing, now_ms);
    bool is_due = due_ms >= 0 && due_ms <= now_ms, is_writable = true;
    for (int i = 0; i < SEND_BURST && is_due; i++) {
        is_writable = zsock_events(routers) & ZMQ_POLLOUT;
        is_due = is_writable && outgoing_next(self->outgoing, now_ms, &message);
        if (is_due)
            send_batch(self, zsock_resolve(routers), &message);
    }
    set_blocked(self, !is_writable);
}

int64_t sending_due_ms(const emitter_t *self)
{
    outgoing_want_t want;
    if (wants_refill(self, &want))
        return 0;
    return self->blocked ? -1 : outgoing_due_ms(self->outgoing, clk_mono_ms());
}

/* ---- Who is connected ------------------------------------------------------------------- */

static void note_peer(emitter_t *self, const peers_t *peers, const char *kind, const char *endpoint,
                      bool connected, bool lost)
{
    log_line(service_log(self->service), LEVEL_INFO, "event=%s_%s endpoint=%s connected=%d", kind,
             connected ? "connected" : "disconnected", endpoint, peers_connected(peers));
    if (lost)
        outgoing_lost(self->outgoing, clk_mono_ms());
    emitter_turn(self);
}

/* What was on a connection that has gone is lost. */
void sending_router_changed(void *owner, const peers_t *peers, const char *endpoint, bool connected)
{
    note_peer(owner, peers, "router", endpoint, connected, !connected);
}

/* A deliverer that is there (again) may have lost what was on its way to it, and receipts that it
 * sent before were not heard. */
void sending_deliverer_changed(void *owner, const peers_t *peers, const char *endpoint,
                               bool connected)
{
    note_peer(owner, peers, "deliverer", endpoint, connected, connected);
}
