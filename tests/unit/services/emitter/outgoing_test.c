#include "tests/support/unit.h"

#include "common/wire/object.h"
#include "services/emitter/outgoing.h"

enum { RESEND_MS = 2000 };

static const outgoing_limits_t limits = {4, 40, {6, 60}, RESEND_MS};

typedef struct {
    outgoing_t *outgoing;
    ulid_gen_t ids;
    int64_t seq;
    outgoing_event_t events[64]; /* by seq */
    char frames[64][32];
    int64_t now_ms;
} fixture_t;

static int set_up(void **state)
{
    fixture_t *f = calloc(1, sizeof *f);
    f->outgoing = outgoing_new(&limits, &f->ids.last, 0);
    for (int i = 0; i < PARTITIONS; i++)
        outgoing_refilled(f->outgoing, i);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture_t *f = *state;
    outgoing_destroy(&f->outgoing);
    free(f);
    return 0;
}

/* object: 0 .. 9, all of partition 5. The frame is the object's letter and the seq. */
static const outgoing_event_t *make(fixture_t *f, int object, size_t size)
{
    outgoing_event_t *event = &f->events[++f->seq];
    event->seq = f->seq;
    event->id = ulid_next(&f->ids, 1000);
    event->object = (uint64_t)object * PARTITIONS + 5;
    memset(f->frames[f->seq], '.', size);
    f->frames[f->seq][0] = (char)('a' + object);
    f->frames[f->seq][1] = (char)('0' + f->seq % 10);
    event->frame = (slice_t){f->frames[f->seq], size};
    return event;
}

static void add(fixture_t *f, int object)
{
    outgoing_add(f->outgoing, make(f, object, 2));
}

/* What is sent now, "a1a2 b3": one word per message. */
static void assert_sends(fixture_t *f, const char *expected)
{
    AUTO_BUF sent = {0};
    outgoing_message_t message;
    while (outgoing_next(f->outgoing, f->now_ms, &message)) {
        if (message.partition != 5) /* they are empty, and tell low_water */
            continue;
        if (sent.size)
            buf_add_char(&sent, ' ');
        buf_add_slice(&sent, message.frame);
    }
    assert_string_equal(buf_slice(&sent).data, expected);
}

static void receipt(fixture_t *f, int64_t seq)
{
    outgoing_event_t event;
    assert_true(outgoing_receipt(f->outgoing, 5, slice_of(f->events[seq].id.text), false, f->now_ms,
                                 &event));
    assert_int_equal(event.seq, seq);
}

static void one_message_per_object(void **state)
{
    fixture_t *f = *state;
    add(f, 0);
    add(f, 0);
    add(f, 1);
    assert_sends(f, "a1a2b3");
    add(f, 0);
    add(f, 2);
    assert_sends(f, "c5"); /* a4 waits for both receipts */
    receipt(f, 1);
    assert_sends(f, "");
    receipt(f, 2);
    assert_sends(f, "a4");
}

static void a_message_has_its_limits(void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 6; i++)
        add(f, 0);
    assert_sends(f, "a1a2a3a4");
    for (int64_t seq = 1; seq <= 4; seq++)
        receipt(f, seq);
    assert_sends(f, "a5a6");
}

static void without_receipt_again_with_what_came_since(void **state)
{
    fixture_t *f = *state;
    add(f, 0);
    assert_sends(f, "a1");
    add(f, 0);
    f->now_ms = RESEND_MS - 1;
    assert_sends(f, "");
    assert_int_equal(outgoing_due_ms(f->outgoing, f->now_ms), RESEND_MS);
    f->now_ms = RESEND_MS;
    assert_sends(f, "a1a2");
    receipt(f, 1);
    assert_sends(f, "");
    f->now_ms += RESEND_MS;
    assert_sends(f, "a2");
}

static void a_silent_partition_is_only_probed(void **state)
{
    fixture_t *f = *state;
    for (int object = 0; object < 4; object++) {
        add(f, object);
        assert_sends(f, object == 0 ? "a1" : object == 1 ? "b2" : object == 2 ? "c3" : "d4");
    }
    f->now_ms = RESEND_MS;
    assert_sends(f, "a1");
    f->now_ms = 2 * RESEND_MS - 1;
    assert_sends(f, "");
    f->now_ms = 2 * RESEND_MS;
    assert_sends(f, "b2");
    add(f, 4); /* a first message is no repetition */
    assert_sends(f, "e5");
    receipt(f, 2);
    assert_sends(f, "c3d4a1");
}

static void a_lost_connection_makes_everything_due(void **state)
{
    fixture_t *f = *state;
    add(f, 0);
    add(f, 1);
    assert_sends(f, "a1b2");
    outgoing_lost(f->outgoing, f->now_ms);
    assert_sends(f, "a1b2");
}

static void low_water_is_the_oldest_without_receipt(void **state)
{
    fixture_t *f = *state;
    outgoing_message_t message;
    add(f, 0);
    add(f, 1);
    assert_true(outgoing_next(f->outgoing, 0, &message));
    assert_string_equal(message.low_water.text, f->events[1].id.text);
    receipt(f, 1);
    add(f, 2);
    assert_true(outgoing_next(f->outgoing, 0, &message));
    assert_string_equal(message.low_water.text, f->events[2].id.text);
}

static void low_water_waits_for_what_is_held(void **state)
{
    fixture_t *f = *state;
    outgoing_message_t message;
    outgoing_event_t event;
    for (int i = 0; i < 3; i++)
        add(f, i);
    assert_sends(f, "a1b2c3");
    assert_true(
        outgoing_receipt(f->outgoing, 5, slice_of(f->events[1].id.text), true, f->now_ms, &event));
    receipt(f, 2);
    add(f, 3);
    assert_true(outgoing_next(f->outgoing, 0, &message));
    assert_string_equal(message.low_water.text, f->events[1].id.text);
    outgoing_let_go(f->outgoing, 5, &f->events[1].id, f->now_ms);
    add(f, 4);
    assert_true(outgoing_next(f->outgoing, 0, &message));
    assert_string_equal(message.low_water.text, f->events[3].id.text);
}

/* Nothing waits for a receipt any more, but the partition is not empty before it is let go. */
static void a_held_event_is_announced_when_it_is_let_go(void **state)
{
    fixture_t *f = *state;
    outgoing_message_t message;
    outgoing_event_t event;
    for (; f->now_ms < 40000; f->now_ms += 1000)
        assert_sends(f, ""); /* the announcements of the start */
    add(f, 0);
    assert_sends(f, "a1");
    assert_true(
        outgoing_receipt(f->outgoing, 5, slice_of(f->events[1].id.text), true, f->now_ms, &event));
    assert_int_equal(outgoing_due_ms(f->outgoing, f->now_ms), -1);
    f->now_ms += 10000;
    outgoing_let_go(f->outgoing, 5, &f->events[1].id, f->now_ms);
    assert_int_equal(outgoing_due_ms(f->outgoing, f->now_ms), f->now_ms + 1000);
    assert_true(outgoing_next(f->outgoing, f->now_ms + 1000, &message));
    assert_true(strcmp(message.low_water.text, f->events[1].id.text) > 0);
}

static void an_empty_partition_tells_low_water_a_few_times(void **state)
{
    fixture_t *f = *state;
    outgoing_message_t message;
    f->now_ms = 100000;
    for (int64_t later_ms = 0; later_ms < 40000; later_ms += 1000)
        while (outgoing_next(f->outgoing, f->now_ms + later_ms, &message))
            ; /* those of the start */
    f->now_ms = 200000;
    assert_int_equal(outgoing_due_ms(f->outgoing, f->now_ms), -1);
    add(f, 0);
    assert_sends(f, "a1");
    receipt(f, 1);
    assert_sends(f, "");
    static const int64_t after_ms[] = {1000, 5000, 25000};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(outgoing_due_ms(f->outgoing, f->now_ms), f->now_ms + after_ms[i]);
        f->now_ms += after_ms[i];
        assert_true(outgoing_next(f->outgoing, f->now_ms, &message));
        assert_int_equal(message.n_events, 0);
        assert_int_equal(message.partition, 5);
        assert_true(strcmp(message.low_water.text, f->events[1].id.text) > 0);
    }
    assert_int_equal(outgoing_due_ms(f->outgoing, f->now_ms), -1);
    add(f, 0); /* the next id is not below what was told */
    assert_true(strcmp(message.low_water.text, f->events[2].id.text) <= 0);
}

static void what_does_not_fit_waits_on_disk(void **state)
{
    fixture_t *f = *state;
    outgoing_want_t want;
    for (int i = 0; i < 8; i++)
        add(f, i);
    assert_sends(f, "a1b2c3d4 e5f6");
    assert_false(outgoing_wants(f->outgoing, &want));
    receipt(f, 2); /* not the oldest: the window does not move */
    receipt(f, 3);
    assert_false(outgoing_wants(f->outgoing, &want));
    receipt(f, 1);
    assert_true(outgoing_wants(f->outgoing, &want));
    assert_int_equal(want.partition, 5);
    assert_int_equal(want.after_seq, 6);
    assert_int_equal(want.max_events, 3);
    add(f, 8); /* behind the tail */
    assert_true(outgoing_refill(f->outgoing, &f->events[7]));
    assert_true(outgoing_refill(f->outgoing, &f->events[8]));
    assert_true(outgoing_refill(f->outgoing, &f->events[9]));
    outgoing_refilled(f->outgoing, 5);
    assert_sends(f, "g7h8i9");
    assert_false(outgoing_wants(f->outgoing, &want));
}

static void a_refill_may_be_ahead_of_add(void **state)
{
    fixture_t *f = *state;
    outgoing_destroy(&f->outgoing);
    f->outgoing = outgoing_new(&limits, &f->ids.last, 0);
    const outgoing_event_t *event = make(f, 0, 2);
    assert_true(outgoing_refill(f->outgoing, event)); /* committed, and its done is on its way */
    outgoing_refilled(f->outgoing, 5);
    outgoing_add(f->outgoing, event);
    assert_sends(f, "a1");
}

static void one_event_fits_always(void **state)
{
    fixture_t *f = *state;
    outgoing_want_t want;
    char large[100];
    memset(large, 'L', sizeof large);
    outgoing_event_t first = *make(f, 0, 2), second = *make(f, 1, 2);
    first.frame = second.frame = (slice_t){large, sizeof large};
    outgoing_add(f->outgoing, &first);
    outgoing_add(f->outgoing, &second);
    outgoing_message_t message;
    assert_true(outgoing_next(f->outgoing, 0, &message));
    assert_int_equal(message.frame.size, 100);
    receipt(f, 1);
    assert_true(outgoing_wants(f->outgoing, &want));
    assert_true(outgoing_refill(f->outgoing, &second));
    assert_false(outgoing_refill(f->outgoing, make(f, 2, 2)));
    assert_false(outgoing_wants(f->outgoing, &want)); /* not before a receipt */
    receipt(f, 2);
    assert_true(outgoing_wants(f->outgoing, &want));
}

static void nonsense_receipts(void **state)
{
    fixture_t *f = *state;
    outgoing_event_t event;
    add(f, 0);
    assert_sends(f, "a1");
    assert_false(
        outgoing_receipt(f->outgoing, 64, slice_of(f->events[1].id.text), false, 0, &event));
    assert_false(
        outgoing_receipt(f->outgoing, -1, slice_of(f->events[1].id.text), false, 0, &event));
    assert_false(
        outgoing_receipt(f->outgoing, 4, slice_of(f->events[1].id.text), false, 0, &event));
    assert_false(outgoing_receipt(f->outgoing, 5, SLICE("x"), false, 0, &event));
    assert_false(outgoing_receipt(f->outgoing, 5, (slice_t){0}, false, 0, &event));
    receipt(f, 1);
    assert_false(
        outgoing_receipt(f->outgoing, 5, slice_of(f->events[1].id.text), false, 0, &event));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_message_per_object),
        TEST(a_message_has_its_limits),
        TEST(without_receipt_again_with_what_came_since),
        TEST(a_silent_partition_is_only_probed),
        TEST(a_lost_connection_makes_everything_due),
        TEST(low_water_is_the_oldest_without_receipt),
        TEST(low_water_waits_for_what_is_held),
        TEST(a_held_event_is_announced_when_it_is_let_go),
        TEST(an_empty_partition_tells_low_water_a_few_times),
        TEST(what_does_not_fit_waits_on_disk),
        TEST(a_refill_may_be_ahead_of_add),
        TEST(one_event_fits_always),
        TEST(nonsense_receipts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
