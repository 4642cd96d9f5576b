#include "services/deliverer/intake.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/service/endpoint.h"
#include "common/service/peers.h"
#include "common/wire/object.h"
#include "services/deliverer/ended.h"
#include "services/deliverer/incoming.h"

#include <sys/statvfs.h>

enum {
    BURST = 256,     /* messages of one turn */
    INTAKE_HWM = 64, /* messages of one router that wait to be read, of up to a batch each */
    RECEIPTS_HWM = 10000,
    TARGETS_BYTES = 8 << 20, /* of the handlers that a message matched */
    LOG_EVERY_MS = 1000,
    SOON_FIRST = 64, /* deliveries to a handler of which nothing is known yet */
    SOON_SECONDS = 8,
    BEHIND_MS = 10000, /* after the last message that was matched with a newer table */
};

static const char monitor[] = "inproc://deliverer.intake";

struct intake_t {
    deliverer_t *deliverer;
    zsock_t *socket;
    peers_t *routers; /* that are connected to socket */
    zsock_t *receipts_socket;
    receipts_t *receipts;
    incoming_t incoming;
    bool reading;
    bool disk_low;
    const char *stopped;    /* why, as logged last; NULL: reading */
    int64_t logged_ms;      /* when a bad message was logged last */
    int64_t behind_version; /* messages were matched with this table, ours is older; 0: it is not */
    int64_t behind_ms;      /* when the last of them came */
    int64_t noted_version;  /* of our table, as the queue has it */
    lanes_target_t *targets;
    bool *kept;
    size_t targets_capacity;
};

static int64_t message_max(const config_t *config)
{
    int64_t events = config_events_max(config);
    return events > TARGETS_BYTES ? events : TARGETS_BYTES;
}

result_t intake_open(deliverer_t *d, intake_t **ret_intake, fault_t *fault)
{
    const config_t *config = service_config(d->service);
    intake_t *intake = MEM_NEW(intake_t);
    intake->deliverer = d;
    endpoint_options_t in = {.type = ZMQ_PULL,
                             .hwm = INTAKE_HWM,
                             .max_msg_bytes = message_max(config),
                             .monitor = monitor};
    endpoint_options_t out = {.type = ZMQ_PUB, .hwm = RECEIPTS_HWM, .max_msg_bytes = 65536};
    intake->routers = peers_new(d->loop, monitor, NULL, NULL);
    result_t r = endpoint_bind(config, "deliverer", "intake", &in, &intake->socket, fault);
    if (r == RESULT_OK)
        r = endpoint_bind(config, "deliverer", "receipts", &out, &intake->receipts_socket, fault);
    if (r != RESULT_OK) {
        intake_close(&intake);
        return r;
    }
    intake->receipts = receipts_new(queue_node(d->queue), intake->receipts_socket);
    *ret_intake = intake;
    return RESULT_OK;
}

void intake_close(intake_t **intake)
{
    if (!*intake)
        return;
    if ((*intake)->reading)
        zloop_reader_end((*intake)->deliverer->loop, (*intake)->socket);
    receipts_destroy(&(*intake)->receipts);
    endpoint_close(&(*intake)->socket);
    peers_destroy(&(*intake)->routers);
    zsock_destroy(&(*intake)->receipts_socket);
    incoming_release(&(*intake)->incoming);
    free((*intake)->targets);
    free((*intake)->kept);
    free(TAKE(*intake));
}

/* Bad messages come in floods: one line a second. */
static void log_bad(intake_t *intake, const char *event, const char *text)
{
    int64_t now_ms = clk_mono_ms();
    if (intake->logged_ms && now_ms - intake->logged_ms < LOG_EVERY_MS)
        return;
    intake->logged_ms = now_ms;
    log_line(intake->deliverer->log, LEVEL_WARN,
             "event=%s reason=\"%s\" foreign=%lld malformed=%lld next=\"dropped; its emitter "
             "sends it again\"",
             event, text, (long long)intake->deliverer->counts.foreign,
             (long long)intake->deliverer->counts.malformed);
}

static void raise_low_water(deliverer_t *d, const batch_t *batch)
{
    ulid_t low_water = {""};
    if (batch->low_water.size && ulid_parse(batch->low_water, &low_water) != RESULT_OK)
        return;
    if (custody_raise(d->custody, batch->node, (int)batch->partition, &low_water))
        commit_low_water(d->next, batch->node, (int)batch->partition, &low_water);
}

static uint64_t lane_key(const settings_t *settings, const event_t *event)
{
    uint64_t key = object_hash(event->object_kind,
                               settings->ordered ? event->object_id : (slice_t){0}, event->id);
    return key ? key : 1;
}

static void reserve_targets(intake_t *intake, size_t n)
{
    if (n <= intake->targets_capacity)
        return;
    intake->targets = mem_realloc(intake->targets, n * sizeof *intake->targets);
    intake->kept = mem_realloc(intake->kept, n * sizeof *intake->kept);
    intake->targets_capacity = n;
}

/* Will it have an outcome soon? As far as what its handler did in the last seconds tells: one that
 * hangs must not hold up what others get. */
static bool is_soon(const roster_handler_t *handler)
{
    int64_t ended = handler->ended_lately + handler->ended;
    return !handler->failing_since_ms && !roster_paused(handler) &&
           handler->pending < SOON_FIRST + SOON_SECONDS * ended;
}

/* One delivery of a new event: into its batch, or at once to its end. */
static bool take_target(deliverer_t *d, const cache_entry_t *entry, const event_t *event,
                        const target_t *target, lanes_target_t *ret_target)
{
    roster_handler_t *handler = roster_find(d->roster, target->handler_id);
    queue_delivery_t delivery = {.seq = entry->seq, .handler_id = target->handler_id};
    if (roster_gone(handler)) {
        ended_untried(d, ENDED_CANCELLED, roster_gone_reason(handler), entry, event, &delivery,
                      false);
        return false;
    }
    if (!d->limits.block && handler->pending >= d->limits.share_max) {
        ended_untried(d, ENDED_EXHAUSTED, "backlog_full", entry, event, &delivery, false);
        return false;
    }
    delivery.object = lane_key(handler->settings, event);
    commit_delivery(d->next, &delivery);
    handler->pending++;
    d->pending++;
    *ret_target = (lanes_target_t){target->handler_id, delivery.object, target->priority};
    return true;
}

static void note_version(intake_t *intake)
{
    deliverer_t *d = intake->deliverer;
    if (roster_version(d->roster) == intake->noted_version)
        return;
    intake->noted_version = roster_version(d->roster);
    d->next->table_version = intake->noted_version;
}

/* Those that memory holds. The others wait for this commit and a read, so it must not wait for
 * them. */
static void note_kept(intake_t *intake, cache_entry_t *entry, size_t n)
{
    deliverer_t *d = intake->deliverer;
    size_t n_soon = 0;
    for (size_t i = 0; i < n; i++) {
        if (!intake->kept[i])
            continue;
        cache_ref(entry);
        n_soon += is_soon(roster_find(d->roster, intake->targets[i].handler_id));
    }
    commit_soon(d->next, n_soon);
}

static void take_event(intake_t *intake, const incoming_event_t *in)
{
    deliverer_t *d = intake->deliverer;
    const batch_t *batch = &intake->incoming.batch;
    const target_t *targets = intake->incoming.targets + in->first;
    size_t n = 0;
    cache_entry_t *entry = cache_put(d->cache, ++d->last_seq, &in->event, false);
    reserve_targets(intake, in->n);
    commit_custody(d->next, entry, batch->node, (int)batch->partition, in->n == 0);
    note_version(intake);
    for (size_t i = 0; i < in->n; i++)
        n += take_target(d, entry, &in->event, &targets[i], &intake->targets[n]);
    if (n) {
        lanes_add(d->lanes, entry->seq, entry, intake->targets, n, d->limits.priority_ms,
                  clk_mono_ms(), intake->kept);
        note_kept(intake, entry, n);
    }
    cache_unref(d->cache, entry);
    d->counts.events++;
}

static void take_events(intake_t *intake)
{
    deliverer_t *d = intake->deliverer;
    const incoming_t *incoming = &intake->incoming;
    const batch_t *batch = &incoming->batch;
    for (size_t i = 0; i < incoming->n_events; i++) {
        const incoming_event_t *in = &incoming->events[i];
        bool unmatched = in->n == 0;
        ulid_t id;
        ENSURE(ulid_parse(in->event.id, &id) == RESULT_OK);
        if (d->emptying && !custody_expects(d->custody, batch->node, (int)batch->partition, &id))
            continue; /* its emitter keeps it for whoever has the partition next */
        switch (custody_take(d->custody, batch->node, (int)batch->partition, &id, &unmatched)) {
        case CUSTODY_NEW:
            take_event(intake, in);
            break;
        case CUSTODY_RUNNING: /* the receipt comes after the commit */
            break;
        case CUSTODY_KNOWN:
        case CUSTODY_BELOW:
            d->counts.duplicates++;
            receipts_add(intake->receipts, batch->node, (int)batch->partition, in->event.id,
                         unmatched);
            break;
        }
    }
}

/* max_age counts from acceptance. An emitter whose clock is ahead would make an event young for as
 * long as its clock was wrong: it would never be given up. */
static void cut_to_now(incoming_t *incoming, int64_t now_wall_ms)
{
    for (size_t i = 0; i < incoming->n_events; i++) {
        event_t *event = &incoming->events[i].event;
        event->accepted_ms = event->accepted_ms < now_wall_ms ? event->accepted_ms : now_wall_ms;
    }
}

/* The message was matched with a table that we do not have: its emitter keeps it. What looks like a
 * deleted handler may be one that was added since. */
static bool is_ahead(intake_t *intake)
{
    const roster_t *roster = intake->deliverer->roster;
    int64_t version = intake->incoming.match.table_version;
    if (version <= roster_version(roster))
        return false;
    intake->behind_ms = clk_mono_ms();
    if (version > intake->behind_version) {
        intake->behind_version = version;
        log_line(
            intake->deliverer->log, LEVEL_WARN,
            "event=handler_table_behind version=%lld routers=%lld next=\"events are not taken; "
            "check provisor.handlers\"",
            (long long)roster_version(roster), (long long)version);
    }
    return true;
}

static void check_behind(intake_t *intake)
{
    int64_t version = roster_version(intake->deliverer->roster);
    if (!intake->behind_version ||
        (version < intake->behind_version && clk_mono_ms() - intake->behind_ms < BEHIND_MS))
        return;
    intake->behind_version = 0;
    log_line(intake->deliverer->log, LEVEL_INFO, "event=handler_table_current version=%lld",
             (long long)version);
}

static void take_message(intake_t *intake, const slice_t frames[static INCOMING_FRAMES])
{
    deliverer_t *d = intake->deliverer;
    fault_t fault = {""};
    if (incoming_decode(&intake->incoming, frames, &fault) != RESULT_OK) {
        d->counts.malformed++;
        log_bad(intake, "message_refused", fault.text);
        return;
    }
    if (!partitions_has(d->partitions, intake->incoming.batch.partition)) {
        d->counts.foreign++;
        snprintf(fault.text, sizeof fault.text, "partition %lld is not one of deliverer.partitions",
                 (long long)intake->incoming.batch.partition);
        log_bad(intake, "message_foreign", fault.text);
        return;
    }
    cut_to_now(&intake->incoming, clk_wall_ms());
    /* Only with a table that is not older than the router's an unknown handler is a deleted one. */
    if (intake->incoming.match.table_version > roster_version(d->roster) && !roster_poll(d->roster))
        return;
    if (is_ahead(intake))
        return;
    raise_low_water(d, &intake->incoming.batch);
    take_events(intake);
}

/* One message into frames; false: there is none. Parts beyond the fourth are thrown away and make
 * the message malformed, as fewer do. */
static bool receive(zsock_t *socket, zmq_msg_t frames[static INCOMING_FRAMES], int *ret_n)
{
    void *handle = zsock_resolve(socket);
    zmq_msg_t extra;
    bool more = true;
    int n = 0;
    zmq_msg_init(&extra);
    for (; more; n++) {
        zmq_msg_t *part = n < INCOMING_FRAMES ? &frames[n] : &extra;
        if (zmq_msg_recv(part, handle, ZMQ_DONTWAIT) < 0)
            break;
        more = zmq_msg_more(part);
    }
    zmq_msg_close(&extra);
    *ret_n = n;
    return n > 0;
}

static bool read_one(intake_t *intake)
{
    zmq_msg_t frames[INCOMING_FRAMES];
    slice_t slices[INCOMING_FRAMES];
    int n = 0;
    for (int i = 0; i < INCOMING_FRAMES; i++)
        zmq_msg_init(&frames[i]);
    bool received = receive(intake->socket, frames, &n);
    for (int i = 0; i < INCOMING_FRAMES; i++)
        slices[i] = (slice_t){zmq_msg_data(&frames[i]), zmq_msg_size(&frames[i])};
    if (n == INCOMING_FRAMES) {
        take_message(intake, slices);
    } else if (received) {
        intake->deliverer->counts.malformed++;
        log_bad(intake, "message_refused", "not four frames");
    }
    for (int i = 0; i < INCOMING_FRAMES; i++)
        zmq_msg_close(&frames[i]);
    return received;
}

static const char *why_stopped(const intake_t *intake);

static int on_message(zloop_t *loop, zsock_t *socket, void *self)
{
    intake_t *intake = self;
    (void)loop;
    (void)socket;
    for (int i = 0; i < BURST && !why_stopped(intake); i++)
        if (!read_one(intake))
            break;
    receipts_send(intake->receipts);
    deliverer_turn(intake->deliverer);
    return 0;
}

static bool any_over_share(const deliverer_t *d)
{
    const roster_handler_t *handler;
    for (size_t i = 0; (handler = roster_at(d->roster, i)); i++)
        if (handler->pending >= d->limits.share_max)
            return true;
    return false;
}

/* While the writer is busy, the disk is what all wait for: then what is over makes room. */
static bool holds_enough(const deliverer_t *d)
{
    size_t n = writer_idle(d->writer) ? d->next->n_soon : d->next->soon_left;
    return n >= COMMIT_SOON_MAX;
}

/* The reasons are constants: what changed is seen by comparing pointers. */
static const char *why_stopped(const intake_t *intake)
{
    const deliverer_t *d = intake->deliverer;
    if (d->draining)
        return "draining";
    if (d->open && !d->full && (d->next->bytes >= COMMIT_BYTES_MAX || holds_enough(d)))
        return "";
    if (!deliverer_working(d))
        return "the store cannot be written";
    if (intake->disk_low)
        return "the disk is below half of disk.min_free";
    if (d->pending >= d->limits.queue_max)
        return "the queue holds queue_max deliveries";
    if (d->limits.block && any_over_share(d))
        return "a handler holds its backlog_share and on_full is block";
    return NULL;
}

const char *intake_stopped(const intake_t *intake)
{
    if (intake->deliverer->emptying)
        return "provisor drain: takes nothing new until it is restarted";
    if (!intake->stopped && intake->behind_version)
        return "handlers.db is older than the routers'; check provisor.handlers";
    return intake->stopped;
}

/* A stop until the next commit ("") or for a drain is ordinary and not worth a line. */
static void log_stopped(intake_t *intake, const char *why)
{
    const deliverer_t *d = intake->deliverer;
    if (why && (!*why || d->draining))
        return;
    if (why == intake->stopped)
        return;
    intake->stopped = why;
    if (why)
        log_line(d->log, LEVEL_WARN,
                 "event=intake_stopped reason=\"%s\" next=\"routers and journals hold what comes\"",
                 why);
    else
        log_line(d->log, LEVEL_INFO, "event=intake_reading");
}

void intake_gate(intake_t *intake)
{
    deliverer_t *d = intake->deliverer;
    const char *why = why_stopped(intake);
    if (d->open)
        log_stopped(intake, why);
    if (!why == intake->reading)
        return;
    intake->reading = !why;
    if (intake->reading)
        zloop_reader(d->loop, intake->socket, on_message, intake);
    else
        zloop_reader_end(d->loop, intake->socket);
}

/* What a handler did is forgotten within seconds, not in the first pause. */
static void note_ended(const roster_t *roster)
{
    roster_handler_t *handler;
    for (size_t i = 0; (handler = roster_at(roster, i)); i++) {
        int64_t before = handler->ended_lately * 3 / 4;
        handler->ended_lately = handler->ended > before ? handler->ended : before;
        handler->ended = 0;
    }
}

void intake_poll(intake_t *intake)
{
    struct statvfs disk;
    note_ended(intake->deliverer->roster);
    check_behind(intake);
    if (statvfs(config_data(service_config(intake->deliverer->service)), &disk) != 0)
        return;
    int64_t free_bytes = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
    intake->disk_low = free_bytes < intake->deliverer->limits.free_min;
}

void intake_receipt(intake_t *intake, slice_t node, int partition, slice_t event_id, bool unmatched)
{
    receipts_add(intake->receipts, node, partition, event_id, unmatched);
}

void intake_send_receipts(intake_t *intake)
{
    receipts_send(intake->receipts);
}

int intake_routers(const intake_t *intake)
{
    return peers_connected(intake->routers);
}

int64_t intake_receipts(const intake_t *intake)
{
    return receipts_count(intake->receipts);
}
