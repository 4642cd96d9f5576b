#include "services/emitter/outgoing.h"
#include "common/base/mem.h"
#include "common/wire/object.h"
#include "services/emitter/objects.h"

#include <stdlib.h>

/* An empty partition tells its low_water so long after the time before: once would do, but a router
 * that has no connection yet drops it, and nothing else would repeat it. */
static const int64_t announce_after_ms[] = {1000, 5000, 25000};
enum { ANNOUNCEMENTS = sizeof announce_after_ms / sizeof *announce_after_ms };

typedef struct {
    window_t window;
    bool tail;             /* there may be events with seq > last_seq that are only on disk */
    bool full;             /* the next event of the tail did not fit; until a receipt */
    int64_t last_seq;      /* of the last event that was in memory */
    object_list_t ready;   /* may be sent now */
    object_list_t overdue; /* without receipts, in a partition from which nothing is heard */
    int64_t heard_ms;      /* last receipt */
    int64_t probe_ms;      /* overdue: when the next of them may go */
    int announced;         /* how often low_water was told since it became empty */
    int64_t announced_ms;  /* the last time, or when it became empty */
} partition_t;

struct outgoing_t {
    outgoing_limits_t limits;
    partition_t partitions[PARTITIONS];
    objects_t objects;
    object_list_t flying; /* with a message on its way, the longest ago first */
    ulid_t last_id;       /* of outgoing_add; a refill may have seen greater ones of its partition,
                             but not those of the others that were committed with them */
    int next_partition;   /* they are served in turn */
    buf_t frame;          /* of the last message */
    waiting_t *receipted; /* of the last receipt */
    outgoing_stats_t stats;
};

outgoing_t *outgoing_new(const outgoing_limits_t *limits, const ulid_t *last_id, int64_t now_ms)
{
    outgoing_t *outgoing = MEM_NEW(outgoing_t);
    outgoing->limits = *limits;
    outgoing->last_id = *last_id;
    for (int i = 0; i < PARTITIONS; i++) {
        outgoing->partitions[i].tail = true;
        outgoing->partitions[i].heard_ms = INT64_MIN;
        outgoing->partitions[i].announced_ms = now_ms;
    }
    return outgoing;
}

void outgoing_destroy(outgoing_t **outgoing)
{
    if (!*outgoing)
        return;
    objects_release(&(*outgoing)->objects);
    for (int i = 0; i < PARTITIONS; i++)
        window_release(&(*outgoing)->partitions[i].window);
    buf_release(&(*outgoing)->frame);
    free((*outgoing)->receipted);
    free(*outgoing);
    *outgoing = NULL;
}

static partition_t *partition_of(outgoing_t *outgoing, uint64_t hash)
{
    return &outgoing->partitions[object_partition(hash)];
}

static void keep(outgoing_t *outgoing, partition_t *partition, const outgoing_event_t *event)
{
    object_t *object = objects_get(&outgoing->objects, event->object);
    waiting_t *waiting = object_add(object, event);
    window_push(&partition->window, &event->id, waiting, event->frame.size);
    partition->last_seq = event->seq;
    if (!object->list)
        object_list_push(&partition->ready, object);
    outgoing->stats.events++;
    outgoing->stats.bytes += (int64_t)event->frame.size;
}

void outgoing_add(outgoing_t *outgoing, const outgoing_event_t *event)
{
    partition_t *partition = partition_of(outgoing, event->object);
    outgoing->last_id = event->id;
    if (partition->tail || event->seq <= partition->last_seq) /* a refill has read it already */
        return;
    if (window_fits(&partition->window, &outgoing->limits.window, event->frame.size))
        keep(outgoing, partition, event);
    else
        partition->tail = true;
}

bool outgoing_wants(const outgoing_t *outgoing, outgoing_want_t *ret_want)
{
    for (int i = 0; i < PARTITIONS; i++) {
        const partition_t *partition = &outgoing->partitions[i];
        if (!partition->tail || partition->full ||
            !window_is_low(&partition->window, &outgoing->limits.window))
            continue;
        *ret_want =
            (outgoing_want_t){i, partition->last_seq,
                              outgoing->limits.window.events_max - (int64_t)partition->window.n};
        return true;
    }
    return false;
}

bool outgoing_refill(outgoing_t *outgoing, const outgoing_event_t *event)
{
    partition_t *partition = partition_of(outgoing, event->object);
    partition->full = !window_fits(&partition->window, &outgoing->limits.window, event->frame.size);
    if (!partition->full)
        keep(outgoing, partition, event);
    return !partition->full;
}

void outgoing_refilled(outgoing_t *outgoing, int partition)
{
    outgoing->partitions[partition].tail = false;
}

/* ---- Sending ---------------------------------------------------------------------------- */

/* Moves what has waited too long for its receipts to where it can be sent again. */
static void expire(outgoing_t *outgoing, int64_t now_ms)
{
    object_t *object;
    while ((object = outgoing->flying.first) &&
           object->sent_ms + outgoing->limits.resend_after_ms <= now_ms) {
        partition_t *partition = partition_of(outgoing, object->hash);
        bool is_heard = partition->heard_ms >= object->sent_ms;
        object_list_remove(object);
        object_list_push(is_heard ? &partition->ready : &partition->overdue, object);
    }
    for (int i = 0; i < PARTITIONS; i++) {
        partition_t *partition = &outgoing->partitions[i];
        object = partition->overdue.first;
        if (!object || partition->probe_ms > now_ms)
            continue;
        object_list_remove(object);
        object_list_push(&partition->ready, object);
        partition->probe_ms = now_ms + outgoing->limits.resend_after_ms;
    }
}

/* Adds what waits for the object, as far as it fits. False: nothing of it did. */
static bool add_object(outgoing_t *outgoing, object_t *object, outgoing_message_t *message)
{
    buf_t *frame = &outgoing->frame;
    bool added = false;
    for (waiting_t *waiting = object->first; waiting; waiting = waiting->next) {
        slice_t event = waiting->event.frame;
        bool fits = (int64_t)message->n_events < outgoing->limits.batch_events &&
                    (int64_t)(frame->size + event.size) <= outgoing->limits.batch_bytes;
        if (!fits && message->n_events > 0)
            break;
        buf_add_slice(frame, event);
        message->n_events++;
        outgoing->stats.resent += waiting->sent;
        object->n_sent += !waiting->sent;
        outgoing->stats.in_flight += !waiting->sent;
        waiting->sent = true;
        added = true;
    }
    return added;
}

/* The smallest id that cannot have been given to a committed event; uncommitted ones are above. */
static ulid_t above(const ulid_t *last_id)
{
    ulid_gen_t gen;
    if (!last_id->text[0])
        return (ulid_t){"00000000000000000000000000"};
    ulid_gen_init(&gen, last_id);
    return ulid_next(&gen, 0);
}

static ulid_t low_water(const outgoing_t *outgoing, const partition_t *partition)
{
    const ulid_t *oldest = window_oldest(&partition->window);
    return oldest ? *oldest : above(&outgoing->last_id);
}

static void fill_message(outgoing_t *outgoing, int index, int64_t now_ms,
                         outgoing_message_t *message)
{
    partition_t *partition = &outgoing->partitions[index];
    object_t *object;
    *message = (outgoing_message_t){.partition = index};
    message->low_water = low_water(outgoing, partition);
    buf_clear(&outgoing->frame);
    while ((object = partition->ready.first) && add_object(outgoing, object, message)) {
        object->sent_ms = now_ms;
        object_list_remove(object);
        object_list_push(&outgoing->flying, object);
    }
    message->frame = buf_slice(&outgoing->frame);
    if (message->n_events > 0)
        return;
    partition->announced++;
    partition->announced_ms = now_ms;
}

/* When the partition's low_water is to be told by itself; -1: not at all. */
static int64_t announcement_due_ms(const partition_t *partition)
{
    bool is_empty = !partition->tail && partition->window.n == 0;
    if (!is_empty || partition->announced == ANNOUNCEMENTS)
        return -1;
    return partition->announced_ms + announce_after_ms[partition->announced];
}

bool outgoing_next(outgoing_t *outgoing, int64_t now_ms, outgoing_message_t *ret_message)
{
    expire(outgoing, now_ms);
    for (int i = 0; i < PARTITIONS; i++) {
        int index = (outgoing->next_partition + i) % PARTITIONS;
        partition_t *partition = &outgoing->partitions[index];
        int64_t due_ms = announcement_due_ms(partition);
        if (!partition->ready.first && (due_ms < 0 || due_ms > now_ms))
            continue;
        outgoing->next_partition = (index + 1) % PARTITIONS;
        fill_message(outgoing, index, now_ms, ret_message);
        return true;
    }
    return false;
}

static int64_t partition_due_ms(const partition_t *partition, int64_t now_ms)
{
    if (partition->ready.first)
        return now_ms;
    if (partition->overdue.first)
        return partition->probe_ms;
    return announcement_due_ms(partition);
}

int64_t outgoing_due_ms(const outgoing_t *outgoing, int64_t now_ms)
{
    const object_t *flying = outgoing->flying.first;
    int64_t due_ms = flying ? flying->sent_ms + outgoing->limits.resend_after_ms : -1;
    for (int i = 0; i < PARTITIONS; i++) {
        int64_t at_ms = partition_due_ms(&outgoing->partitions[i], now_ms);
        if (at_ms >= 0 && (due_ms < 0 || at_ms < due_ms))
            due_ms = at_ms;
    }
    return due_ms;
}

/* ---- Receipts --------------------------------------------------------------------------- */

static void make_ready(object_list_t *from, outgoing_t *outgoing)
{
    object_t *object;
    while ((object = from->first)) {
        object_list_remove(object);
        object_list_push(&partition_of(outgoing, object->hash)->ready, object);
    }
}

/* The object has one event less without a receipt. */
static void after_receipt(outgoing_t *outgoing, partition_t *partition, object_t *object)
{
    if (!object->first) {
        object_list_remove(object);
        objects_remove(&outgoing->objects, object);
    } else if (object->n_sent == 0 && object->list == &outgoing->flying) {
        object_list_remove(object);
        object_list_push(&partition->ready, object);
    }
}

static void note_emptied(partition_t *partition, int64_t now_ms)
{
    if (partition->window.n > 0)
        return;
    partition->announced = 0;
    partition->announced_ms = now_ms;
}

bool outgoing_receipt(outgoing_t *outgoing, int partition_index, slice_t id, bool hold,
                      int64_t now_ms, outgoing_event_t *ret_event)
{
    if (partition_index < 0 || partition_index >= PARTITIONS)
        return false;
    partition_t *partition = &outgoing->partitions[partition_index];
    partition->heard_ms = now_ms;
    make_ready(&partition->overdue, outgoing);
    waiting_t *waiting = window_take(&partition->window, id, hold);
    if (!waiting)
        return false;
    partition->full = false;
    outgoing->stats.events--;
    outgoing->stats.bytes -= (int64_t)waiting->event.frame.size;
    outgoing->stats.in_flight -= waiting->sent;
    object_take(waiting);
    after_receipt(outgoing, partition, waiting->object);
    note_emptied(partition, now_ms);
    free(outgoing->receipted);
    outgoing->receipted = waiting;
    *ret_event = waiting->event;
    return true;
}

void outgoing_let_go(outgoing_t *outgoing, int partition_index, const ulid_t *id, int64_t now_ms)
{
    partition_t *partition = &outgoing->partitions[partition_index];
    window_let_go(&partition->window, slice_of(id->text));
    partition->full = false;
    note_emptied(partition, now_ms);
}

void outgoing_lost(outgoing_t *outgoing, int64_t now_ms)
{
    make_ready(&outgoing->flying, outgoing);
    for (int i = 0; i < PARTITIONS; i++) {
        outgoing->partitions[i].announced = 0;
        outgoing->partitions[i].announced_ms = now_ms;
        make_ready(&outgoing->partitions[i].overdue, outgoing);
    }
}

void outgoing_stats(const outgoing_t *outgoing, outgoing_stats_t *ret_stats)
{
    *ret_stats = outgoing->stats;
    for (int i = 0; i < PARTITIONS; i++)
        ret_stats->tails += outgoing->partitions[i].tail;
}
