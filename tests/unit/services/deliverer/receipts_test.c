#include "services/deliverer/receipts.h"
#include "common/base/cleanup.h"
#include "common/wire/codec.h"
#include "tests/support/unit.h"

typedef struct {
    zsock_t *out, *in;
    receipts_t *receipts;
} world_t;

static int setup(void **state)
{
    static int n;
    world_t *world = calloc(1, sizeof *world);
    n++;
    world->out = zsock_new(ZMQ_PUSH);
    world->in = zsock_new(ZMQ_PULL);
    /* a closed socket gives its name back later: each test has its own */
    assert_int_equal(zsock_bind(world->out, "inproc://receipts-%d", n), 0);
    assert_int_equal(zsock_connect(world->in, "inproc://receipts-%d", n), 0);
    world->receipts = receipts_new("d1", world->out);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    world_t *world = *state;
    receipts_destroy(&world->receipts);
    zsock_destroy(&world->in);
    zsock_destroy(&world->out);
    free(world);
    return 0;
}

/* The next message: "<emitter>/<partition>: <ids>", an unmatched one with a star. "": none. */
static const char *next(world_t *world, buf_t *text)
{
    receipt_t head;
    receipted_t item;
    buf_clear(text);
    buf_add_str(text, "");
    if (!(zsock_events(world->in) & ZMQ_POLLIN))
        return "";
    AUTO(zmsg) msg = zmsg_recv(world->in);
    assert_int_equal(zmsg_size(msg), 3);
    zframe_t *emitter = zmsg_first(msg), *first = zmsg_next(msg), *items = zmsg_next(msg);
    slice_t encoded = {(const char *)zframe_data(first), zframe_size(first)};
    assert_int_equal(codec_decode(encoded, &receipt_table, &head), RESULT_OK);
    assert_int_equal(head.version, RECEIPT_VERSION);
    assert_true(slice_is(head.node, "d1"));
    buf_printf(text, "%.*s/%lld:", (int)zframe_size(emitter), (const char *)zframe_data(emitter),
               (long long)head.partition);
    codec_reader_t reader;
    codec_reader_init(&reader, (slice_t){(const char *)zframe_data(items), zframe_size(items)});
    while (codec_next(&reader, &receipted_table, &item) == RESULT_OK)
        buf_printf(text, " %.*s%s", SLICE_ARG(item.event_id), item.unmatched ? "*" : "");
    return text->data;
}

static void one_message_per_emitter_and_partition(void **state)
{
    world_t *world = *state;
    AUTO_BUF text = {0};
    receipts_add(world->receipts, SLICE("a"), 1, SLICE("i1"), false);
    receipts_add(world->receipts, SLICE("a"), 2, SLICE("i2"), true);
    receipts_add(world->receipts, SLICE("b"), 1, SLICE("i3"), false);
    receipts_add(world->receipts, SLICE("a"), 1, SLICE("i4"), true);
    assert_string_equal(next(world, &text), ""); /* collected only */
    receipts_send(world->receipts);
    assert_string_equal(next(world, &text), "a/1: i1 i4*");
    assert_string_equal(next(world, &text), "a/2: i2*");
    assert_string_equal(next(world, &text), "b/1: i3");
    assert_string_equal(next(world, &text), "");
    assert_int_equal(receipts_count(world->receipts), 4);
}

static void what_was_sent_is_not_sent_again(void **state)
{
    world_t *world = *state;
    AUTO_BUF text = {0};
    receipts_add(world->receipts, SLICE("a"), 1, SLICE("i1"), false);
    receipts_send(world->receipts);
    receipts_send(world->receipts);
    assert_string_equal(next(world, &text), "a/1: i1");
    assert_string_equal(next(world, &text), "");
    receipts_add(world->receipts, SLICE("b"), 7, SLICE("i2"), false); /* the group's memory again */
    receipts_send(world->receipts);
    assert_string_equal(next(world, &text), "b/7: i2");
}

static void many_groups(void **state)
{
    world_t *world = *state;
    AUTO_BUF text = {0};
    char id[16], expected[32];
    for (int partition = 0; partition < 64; partition++) {
        snprintf(id, sizeof id, "i%d", partition);
        receipts_add(world->receipts, SLICE("a"), partition, slice_of(id), false);
    }
    receipts_send(world->receipts);
    for (int partition = 0; partition < 64; partition++) {
        snprintf(expected, sizeof expected, "a/%d: i%d", partition, partition);
        assert_string_equal(next(world, &text), expected);
    }
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(one_message_per_emitter_and_partition),
        test(what_was_sent_is_not_sent_again),
        test(many_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
