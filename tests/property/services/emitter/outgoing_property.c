/* Random commits, losses, reorderings, duplicates, receipts, broken connections and restarts,
 * against a naive model of journal, network and deliverer. A third of the events are unmatched:
 * the deliverer may not forget that before the emitter has stored it. */
#include "tests/support/unit.h"

#include "common/wire/object.h"
#include "services/emitter/outgoing.h"

enum {
    EVENTS_MAX = 3000,
    OBJECTS = 12,
    NETWORK_MAX = 400,
    STEPS = 6000,
    ROUNDS = 12,
    HEAL_STEPS = 20000,
    RESEND_MS = 2000,
};

typedef struct {
    outgoing_event_t event;
    char frame[24];
    int partition;
    bool in_journal; /* committed, not receipted; or receipted, and the deletion was lost */
    bool receipted;
    bool unmatched; /* its receipt has to be stored */
    bool stored;
    bool in_custody;
    bool sent;
} row_t;

/* A message or a receipt that is under way. */
typedef struct {
    bool is_receipt;
    int partition;
    ulid_t low_water;
    size_t n;
    size_t rows[64];
} packet_t;

typedef struct {
    unsigned random;
    outgoing_t *outgoing;
    outgoing_limits_t limits;
    ulid_gen_t ids;
    int64_t now_ms;
    row_t rows[EVENTS_MAX];
    size_t n_rows;  /* committed: a refill sees them */
    size_t n_added; /* and outgoing_add was called for them */
    packet_t network[NETWORK_MAX];
    size_t n_network;
    ulid_t custody_low_water[PARTITIONS]; /* the highest that the deliverer has seen */
    int64_t heard_ms[PARTITIONS], resent_ms[PARTITIONS];
    int64_t sent_ms[EVENTS_MAX]; /* per row: its last message; -1: may be sent again at any time */
} world_t;

static unsigned chance(world_t *w, unsigned below)
{
    return unit_chance(&w->random, below);
}

/* ---- The journal ------------------------------------------------------------------------ */

static void commit_one(world_t *w)
{
    if (w->n_rows == EVENTS_MAX)
        return;
    row_t *row = &w->rows[w->n_rows];
    char object[16];
    row->event.id = ulid_next(&w->ids, w->now_ms);
    row->event.seq = (int64_t)w->n_rows + 1;
    bool ordered = chance(w, 4) > 0;
    snprintf(object, sizeof object, "%u", chance(w, OBJECTS));
    row->event.object = object_hash(SLICE("client"), ordered ? slice_of(object) : (slice_t){0},
                                    slice_of(row->event.id.text));
    /* few partitions, so that objects share them */
    row->event.object -= row->event.object % PARTITIONS;
    row->event.object += chance(w, 2) && !ordered ? 7 : row->event.object / PARTITIONS % 3;
    row->partition = object_partition(row->event.object);
    int size = snprintf(row->frame, sizeof row->frame, "%04zu", w->n_rows);
    row->event.frame = (slice_t){row->frame, (size_t)size + chance(w, 16)};
    row->in_journal = true;
    row->unmatched = chance(w, 3) == 0;
    w->sent_ms[w->n_rows++] = -1;
}

static void add_some(world_t *w, size_t n)
{
    for (; n > 0 && w->n_added < w->n_rows; n--)
        outgoing_add(w->outgoing, &w->rows[w->n_added++].event);
}

static void refill(world_t *w)
{
    outgoing_want_t want;
    for (int reads = 0; outgoing_wants(w->outgoing, &want); reads++) {
        int64_t left = want.max_events;
        bool room = true;
        assert_true(reads < 2 * EVENTS_MAX);
        assert_true(left > 0);
        for (size_t i = (size_t)want.after_seq; i < w->n_rows && left > 0 && room; i++) {
            row_t *row = &w->rows[i];
            if (row->partition != want.partition || !row->in_journal)
                continue;
            room = outgoing_refill(w->outgoing, &row->event);
            left--;
        }
        if (left > 0 && room)
            outgoing_refilled(w->outgoing, want.partition);
    }
}

static bool waits_to_be_stored(const row_t *row)
{
    return row->receipted && row->unmatched && !row->stored;
}

/* The smallest id of the partition that still needs a receipt, or has one that is not stored; NULL
 * when there is none. */
static const ulid_t *oldest(const world_t *w, int partition)
{
    for (size_t i = 0; i < w->n_rows; i++) {
        const row_t *row = &w->rows[i];
        if (row->partition == partition &&
            ((row->in_journal && !row->receipted) || waits_to_be_stored(row)))
            return &row->event.id;
    }
    return NULL;
}

/* What was taken since the last commit is committed. */
static void store_receipts(world_t *w)
{
    for (size_t i = 0; i < w->n_rows; i++) {
        row_t *row = &w->rows[i];
        if (!waits_to_be_stored(row))
            continue;
        row->stored = true;
        outgoing_let_go(w->outgoing, row->partition, &row->event.id, w->now_ms);
    }
}

/* ---- What is sent ----------------------------------------------------------------------- */

static void check_low_water(world_t *w, const outgoing_message_t *message)
{
    const ulid_t *smallest = oldest(w, message->partition);
    if (smallest)
        assert_true(strcmp(message->low_water.text, smallest->text) <= 0);
    if (smallest && message->n_events > 0)
        assert_string_equal(message->low_water.text, smallest->text);
    assert_int_equal(strlen(message->low_water.text), ULID_SIZE);
}

/* For each object, the message must begin with its oldest event without a receipt and leave none
 * out; new ones may only go when none is under way, or with a repetition. */
static void check_object(world_t *w, const packet_t *packet, size_t first)
{
    uint64_t object = w->rows[packet->rows[first]].event.object;
    size_t at = first;
    bool repeats = false, adds = false, silent = false;
    for (size_t i = 0; i < w->n_rows && at < packet->n; i++) {
        row_t *row = &w->rows[i];
        if (row->event.object != object || row->receipted || !row->in_journal)
            continue;
        if (packet->rows[at] != i)
            fail_msg("event %zu of an object went before event %zu", packet->rows[at], i);
        if (row->sent && w->sent_ms[i] >= 0) {
            assert_true(w->now_ms - w->sent_ms[i] >= w->limits.resend_after_ms);
            silent = silent || w->heard_ms[row->partition] < w->sent_ms[i];
        }
        repeats = repeats || row->sent;
        adds = adds || !row->sent;
        row->sent = true;
        w->sent_ms[i] = w->now_ms;
        at++;
        if (at < packet->n && w->rows[packet->rows[at]].event.object != object)
            break;
    }
    for (size_t i = 0; i < w->n_rows && adds && !repeats; i++) /* a new one alone */
        if (w->rows[i].event.object == object && w->rows[i].sent && !w->rows[i].receipted &&
            w->rows[i].in_journal)
            assert_int_equal(w->sent_ms[i], w->now_ms);
    if (silent) { /* nothing heard since: only a probe may go */
        int64_t *last = &w->resent_ms[packet->partition];
        assert_true(*last < 0 || w->now_ms - *last >= w->limits.resend_after_ms);
        *last = w->now_ms;
    }
}

static void check_message(world_t *w, const outgoing_message_t *message, const packet_t *packet)
{
    check_low_water(w, message);
    assert_true(message->n_events <= 1 || ((int64_t)message->n_events <= w->limits.batch_events &&
                                           (int64_t)message->frame.size <= w->limits.batch_bytes));
    for (size_t i = 0; i < packet->n; i++) {
        const row_t *row = &w->rows[packet->rows[i]];
        assert_int_equal(row->partition, message->partition);
        if (i == 0 || w->rows[packet->rows[i - 1]].event.object != row->event.object)
            check_object(w, packet, i);
    }
}

/* Finds out which rows the frame is made of: it begins with their numbers. */
static void read_message(world_t *w, const outgoing_message_t *message, packet_t *packet)
{
    size_t at = 0;
    *packet = (packet_t){.partition = message->partition, .low_water = message->low_water};
    while (at < message->frame.size) {
        char number[5] = {0};
        memcpy(number, message->frame.data + at, 4);
        packet->rows[packet->n] = (size_t)atoi(number);
        at += w->rows[packet->rows[packet->n++]].event.frame.size;
    }
    assert_int_equal(at, message->frame.size);
    assert_int_equal(packet->n, message->n_events);
}

static void take_packet(world_t *w, size_t i)
{
    w->n_network--;
    w->network[i] = w->network[w->n_network];
}

static packet_t *put_packet(world_t *w)
{
    if (w->n_network == NETWORK_MAX) /* a full pipe drops */
        take_packet(w, chance(w, NETWORK_MAX));
    return &w->network[w->n_network++];
}

static void send_all(world_t *w)
{
    outgoing_message_t message;
    int n = 0;
    while (outgoing_next(w->outgoing, w->now_ms, &message)) {
        packet_t packet;
        read_message(w, &message, &packet);
        check_message(w, &message, &packet);
        *put_packet(w) = packet;
        assert_true(n++ < 10000);
    }
    int64_t due_ms = outgoing_due_ms(w->outgoing, w->now_ms);
    assert_true(due_ms < 0 || due_ms > w->now_ms);
}

/* ---- Deliverer and network -------------------------------------------------------------- */

static void take_into_custody(world_t *w, size_t i)
{
    row_t *row = &w->rows[i];
    if (row->in_custody)
        return;
    if (strcmp(row->event.id.text, w->custody_low_water[row->partition].text) < 0)
        fail_msg("event %zu is below the low_water that was told, and lost", i);
    for (size_t j = 0; j < i; j++)
        if (w->rows[j].event.object == row->event.object && !w->rows[j].in_custody)
            fail_msg("event %zu has overtaken event %zu of its object", i, j);
    row->in_custody = true;
}

static void arrive_at_deliverer(world_t *w, const packet_t *packet)
{
    packet_t receipt = *packet;
    receipt.is_receipt = true;
    ulid_t *low_water = &w->custody_low_water[packet->partition];
    for (size_t i = 0; i < packet->n; i++)
        take_into_custody(w, packet->rows[i]);
    if (strcmp(packet->low_water.text, low_water->text) > 0)
        *low_water = packet->low_water;
    if (packet->n && chance(w, 8)) /* one message may become several receipts */
        *put_packet(w) = receipt;
    if (receipt.n > 1) {
        receipt.rows[0] = receipt.rows[chance(w, (unsigned)receipt.n)];
        receipt.n = 1;
        *put_packet(w) = receipt;
    }
}

static void arrive_at_emitter(world_t *w, const packet_t *packet)
{
    for (size_t i = 0; i < packet->n; i++) {
        row_t *row = &w->rows[packet->rows[i]];
        outgoing_event_t event;
        w->heard_ms[packet->partition] = w->now_ms;
        w->resent_ms[packet->partition] = -1;
        bool known = outgoing_receipt(w->outgoing, packet->partition, slice_of(row->event.id.text),
                                      row->unmatched, w->now_ms, &event);
        assert_false(known && row->receipted);
        if (!known)
            continue;
        assert_int_equal(event.seq, row->event.seq);
        row->receipted = true;
        row->in_journal = false;
    }
}

static void arrive(world_t *w, bool keep)
{
    if (w->n_network == 0)
        return;
    size_t i = chance(w, (unsigned)w->n_network);
    packet_t packet = w->network[i];
    if (!keep)
        take_packet(w, i);
    if (packet.is_receipt)
        arrive_at_emitter(w, &packet);
    else
        arrive_at_deliverer(w, &packet);
}

static void lose(world_t *w)
{
    if (w->n_network > 0)
        take_packet(w, chance(w, (unsigned)w->n_network));
}

/* ---- Accidents -------------------------------------------------------------------------- */

static void connection_lost(world_t *w)
{
    if (chance(w, 2))
        w->n_network = 0;
    outgoing_lost(w->outgoing, w->now_ms);
    for (size_t i = 0; i < w->n_rows; i++)
        w->sent_ms[i] = -1;
    memset(w->resent_ms, -1, sizeof w->resent_ms);
}

/* Some of the last deletions were not committed: those events come back. */
static void restart(world_t *w)
{
    for (size_t i = 0; i < w->n_rows; i++) {
        row_t *row = &w->rows[i];
        if (waits_to_be_stored(row)) {
            row->receipted = false;
            if (strcmp(row->event.id.text, w->custody_low_water[row->partition].text) < 0)
                fail_msg("nobody knows any more that event %zu is unmatched", i);
        }
        if (row->receipted && !row->stored && w->n_rows - i < 100 && chance(w, 4) == 0)
            row->receipted = false;
        row->in_journal = !row->receipted;
        row->sent = false;
        w->sent_ms[i] = -1;
    }
    memset(w->resent_ms, -1, sizeof w->resent_ms);
    w->n_added = w->n_rows;
    outgoing_destroy(&w->outgoing);
    w->outgoing = outgoing_new(&w->limits, &w->ids.last, w->now_ms);
}

static void check_bounds(world_t *w)
{
    outgoing_stats_t stats;
    outgoing_stats(w->outgoing, &stats);
    assert_true(stats.events <= 4 * w->limits.window.events_max); /* 4 partitions are in use */
    assert_true(stats.bytes <=
                4 * (w->limits.window.bytes_max > 20 ? w->limits.window.bytes_max : 20));
    assert_true(stats.in_flight <= stats.events);
}

static void step(world_t *w)
{
    static void (*const accidents[])(world_t *) = {lose, connection_lost, restart};
    unsigned what = chance(w, 100);
    if (what < 25)
        for (unsigned n = chance(w, 5); n > 0; n--)
            commit_one(w);
    else if (what < 40)
        add_some(w, chance(w, 6));
    else if (what < 55)
        send_all(w);
    else if (what < 84)
        arrive(w, chance(w, 10) == 0);
    else if (what < 88)
        store_receipts(w);
    else if (what < 92)
        w->now_ms += chance(w, 700);
    else if (what < 98)
        lose(w);
    else if (chance(w, 4) == 0)
        accidents[chance(w, 3)](w);
    refill(w);
    check_bounds(w);
}

/* With a network that works again everything ends in custody, and low_water passes all of it. */
static void heal(world_t *w)
{
    int steps = 0;
    add_some(w, EVENTS_MAX);
    for (int i = 0; i < PARTITIONS; i++)
        while (oldest(w, i)) {
            assert_true(steps++ < HEAL_STEPS);
            refill(w);
            send_all(w);
            for (int n = 0; n < 20; n++)
                arrive(w, false);
            store_receipts(w);
            w->now_ms += 100;
        }
    connection_lost(w); /* what was told before may have been lost */
    for (int n = 0; n < 40; n++) {
        w->now_ms += 1000;
        refill(w);
        send_all(w);
        while (w->n_network)
            arrive(w, false);
    }
    for (size_t i = 0; i < w->n_rows; i++) {
        assert_true(w->rows[i].in_custody);
        assert_true(
            strcmp(w->custody_low_water[w->rows[i].partition].text, w->rows[i].event.id.text) > 0);
    }
    send_all(w);
    assert_int_equal(outgoing_due_ms(w->outgoing, w->now_ms), -1); /* idle: no timer */
}

static void nothing_is_lost_or_overtaken(void **state)
{
    unsigned seed = unit_seed();
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        world_t *w = calloc(1, sizeof *w);
        w->random = seed + (unsigned)round * 7919u;
        w->now_ms = 1000000;
        w->limits = (outgoing_limits_t){1 + chance(w, 20),
                                        10 + chance(w, 300),
                                        {1 + chance(w, 30), 10 + chance(w, 300)},
                                        RESEND_MS};
        memset(w->resent_ms, -1, sizeof w->resent_ms);
        w->outgoing = outgoing_new(&w->limits, &w->ids.last, w->now_ms);
        for (int i = 0; i < STEPS; i++)
            step(w);
        heal(w);
        outgoing_destroy(&w->outgoing);
        free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_lost_or_overtaken)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
