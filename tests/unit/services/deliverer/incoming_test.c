#include "tests/support/unit.h"
#include "common/wire/codec.h"
#include "services/deliverer/incoming.h"

#define ID_1 "01M86F6QRC0000000000000001"
#define ID_2 "01M86F6QRC0000000000000002"

/* A message of two events and three targets; tests spoil one thing. */
typedef struct {
    batch_t batch;
    match_t match;
    event_t events[2];
    target_t targets[4];
    size_t n_targets;
    buf_t frames[INCOMING_FRAMES];
} message_t;

static void message_init(message_t *message)
{
    *message = (message_t){
        .batch = {BATCH_VERSION, SLICE("e3f1c05a9b2d4c66"), 5, SLICE(ID_1)},
        .match = {MATCH_VERSION, 3},
        .events = {{SLICE(ID_1), SLICE("clients.update"), SLICE("client"), SLICE("12"), SLICE("{}"),
                    1},
                   {SLICE(ID_2), SLICE("clients.update"), SLICE("client"), SLICE("12"), SLICE("{}"),
                    1}},
        .targets = {{1, 9, 100}, {1, 4, 50}, {0, 9, 100}},
        .n_targets = 3,
    };
}

static void message_release(message_t *message)
{
    for (int i = 0; i < INCOMING_FRAMES; i++)
        buf_release(&message->frames[i]);
}

static result_t decode(message_t *message, incoming_t *incoming, fault_t *fault)
{
    slice_t slices[INCOMING_FRAMES];
    codec_add(&batch_table, &message->batch, &message->frames[0]);
    for (int i = 0; i < 2; i++)
        codec_add(&event_table, &message->events[i], &message->frames[1]);
    codec_add(&match_table, &message->match, &message->frames[2]);
    for (size_t i = 0; i < message->n_targets; i++)
        codec_add(&target_table, &message->targets[i], &message->frames[3]);
    for (int i = 0; i < INCOMING_FRAMES; i++)
        slices[i] = buf_slice(&message->frames[i]);
    return incoming_decode(incoming, slices, fault);
}

static void events_get_their_own_targets(void **state)
{
    message_t message;
    incoming_t incoming = {.n_events = 0};
    fault_t fault = {""};
    (void)state;
    message_init(&message);
    assert_int_equal(decode(&message, &incoming, &fault), RESULT_OK);
    assert_int_equal(incoming.n_events, 2);
    assert_int_equal(incoming.events[0].n, 1);
    assert_int_equal(incoming.targets[incoming.events[0].first].handler_id, 9);
    assert_int_equal(incoming.events[1].n, 2);
    assert_int_equal(incoming.targets[incoming.events[1].first].handler_id, 4);
    assert_int_equal(incoming.targets[incoming.events[1].first].priority, 50);
    assert_int_equal(incoming.targets[incoming.events[1].first + 1].handler_id, 9);
    assert_int_equal(incoming.match.table_version, 3);
    incoming_release(&incoming);
    message_release(&message);
}

static void a_handler_counts_once(void **state)
{
    message_t message;
    incoming_t incoming = {.n_events = 0};
    fault_t fault = {""};
    (void)state;
    message_init(&message);
    message.targets[1] = message.targets[0];
    assert_int_equal(decode(&message, &incoming, &fault), RESULT_OK);
    assert_int_equal(incoming.events[0].n, 1);
    assert_int_equal(incoming.events[1].n, 1);
    incoming_release(&incoming);
    message_release(&message);
}

static void an_empty_batch_tells_low_water(void **state)
{
    AUTO_BUF head = {0};
    AUTO_BUF match = {0};
    incoming_t incoming = {.n_events = 0};
    message_t message;
    (void)state;
    message_init(&message);
    codec_add(&batch_table, &message.batch, &head);
    codec_add(&match_table, &message.match, &match);
    slice_t frames[INCOMING_FRAMES] = {buf_slice(&head), SLICE(""), buf_slice(&match), SLICE("")};
    assert_int_equal(incoming_decode(&incoming, frames, NULL), RESULT_OK);
    assert_int_equal(incoming.n_events, 0);
    assert_true(slice_is(incoming.batch.low_water, ID_1));
    incoming_release(&incoming);
}

typedef enum {
    BATCH_VERSION_2,
    MATCH_VERSION_2,
    NODE_EMPTY,
    NODE_LONG,
    NODE_BLANK,
    PARTITION_64,
    PARTITION_BELOW,
    LOW_WATER_BAD,
    EVENT_ID_BAD,
    EVENTS_ID_BAD,
    KIND_BAD,
    OBJECT_BAD,
    WEBHOOK_ID_BAD,
    TARGET_BEHIND,
    TARGET_BEFORE,
    TARGET_NOBODY,
    FRAME_CUT,
} spoil_t;

static const struct {
    const char *name;
    spoil_t spoil;
    result_t result;
} spoils[] = {
    {"unknown version of the batch", BATCH_VERSION_2, RESULT_VERSION},
    {"unknown version of the match", MATCH_VERSION_2, RESULT_VERSION},
    {"no node", NODE_EMPTY, RESULT_INVALID},
    {"node of 65 characters", NODE_LONG, RESULT_INVALID},
    {"node with a blank", NODE_BLANK, RESULT_INVALID},
    {"partition 64", PARTITION_64, RESULT_INVALID},
    {"partition -1", PARTITION_BELOW, RESULT_INVALID},
    {"low_water is no id", LOW_WATER_BAD, RESULT_INVALID},
    {"an event's id is none", EVENT_ID_BAD, RESULT_INVALID},
    {"an event's name with a line's end", EVENTS_ID_BAD, RESULT_INVALID},
    {"a kind with a tab", KIND_BAD, RESULT_INVALID},
    {"an object with a zero byte", OBJECT_BAD, RESULT_INVALID},
    {"a webhook-id with a header behind it", WEBHOOK_ID_BAD, RESULT_INVALID},
    {"target of no event", TARGET_BEHIND, RESULT_INVALID},
    {"target of event -1", TARGET_BEFORE, RESULT_INVALID},
    {"target without handler", TARGET_NOBODY, RESULT_INVALID},
    {"a frame that was cut", FRAME_CUT, RESULT_INVALID},
};

static void spoil(message_t *m, spoil_t what)
{
    if (what == BATCH_VERSION_2)
        m->batch.version = 2;
    else if (what == MATCH_VERSION_2)
        m->match.version = 2;
    else if (what == NODE_EMPTY)
        m->batch.node = SLICE("");
    else if (what == NODE_LONG)
        m->batch.node = SLICE("0123456789012345678901234567890123456789012345678901234567890123x");
    else if (what == NODE_BLANK)
        m->batch.node = SLICE("two words");
    else if (what == PARTITION_64)
        m->batch.partition = 64;
    else if (what == PARTITION_BELOW)
        m->batch.partition = -1;
    else if (what == LOW_WATER_BAD)
        m->batch.low_water = SLICE("abc");
    else if (what == EVENT_ID_BAD)
        m->events[1].id = SLICE("01M86F6QRC000000000000000u");
    else if (what == EVENTS_ID_BAD)
        m->events[1].events_id = SLICE("clients.update\n");
    else if (what == KIND_BAD)
        m->events[1].object_kind = SLICE("cli\tent");
    else if (what == OBJECT_BAD)
        m->events[1].object_id = SLICE("12\0LD_PRELOAD=/tmp/mine.so");
    else if (what == WEBHOOK_ID_BAD)
        m->events[1].webhook_id = SLICE("w1\r\nX-Key: mine");
    else if (what == TARGET_BEHIND)
        m->targets[1].event = 2;
    else if (what == TARGET_BEFORE)
        m->targets[1].event = -1;
    else if (what == TARGET_NOBODY)
        m->targets[1].handler_id = 0;
    else if (what == FRAME_CUT)
        buf_add_char(&m->frames[3], (char)0x83);
}

static void bad_messages_are_refused(void **state)
{
    incoming_t incoming = {.n_events = 0}; /* one for all: what is left of one hurts no other */
    (void)state;
    for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
        message_t message;
        fault_t fault = {""};
        message_init(&message);
        spoil(&message, spoils[i].spoil);
        print_message("%s\n", spoils[i].name);
        assert_int_equal(decode(&message, &incoming, &fault), spoils[i].result);
        assert_string_not_equal(fault.text, "");
        message_release(&message);
        message_init(&message);
        assert_int_equal(decode(&message, &incoming, &fault), RESULT_OK);
        message_release(&message);
    }
    incoming_release(&incoming);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_get_their_own_targets),
        cmocka_unit_test(a_handler_counts_once),
        cmocka_unit_test(an_empty_batch_tells_low_water),
        cmocka_unit_test(bad_messages_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
