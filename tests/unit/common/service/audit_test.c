/* A stage's publisher against an auditor that the test plays, over real sockets, both on one loop.
 * The auditor loses, withholds its marks, stops and starts as it is told. */
#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/service/audit.h"
#include "common/wire/codec.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#define NODE "e3f1c05a9b2d4c66"

enum { DEADLINE_MS = 20000, BEAT_MS = 10, BOOT = 77, SEEN_MAX = 40000 };

/* ---- The service around it: what audit needs of it, without a process ------------------- */

struct service_t {
    zloop_t *loop;
    config_t *config;
    char node[32];
};

zloop_t *service_loop(service_t *service)
{
    return service->loop;
}

const config_t *service_config(const service_t *service)
{
    return service->config;
}

int64_t service_boot(const service_t *service)
{
    (void)service;
    return BOOT;
}

const char *service_name(const service_t *service)
{
    (void)service;
    return "router";
}

void service_set_node(service_t *service, const char *node)
{
    snprintf(service->node, sizeof service->node, "%s", node);
}

/* ---- The world -------------------------------------------------------------------------- */

typedef struct {
    service_t service;
    audit_publisher_t *audit;
    char audit_endpoint[64], marks_endpoint[64];
    int64_t last_mark;
    int rooms; /* on_room calls */

    /* The auditor */
    zsock_t *marks, *records;
    int64_t have;           /* everything up to it has been taken */
    int64_t seen[SEEN_MAX]; /* numbers in the order in which they came, also repeated ones */
    size_t n_seen;
    int messages, idle_messages;
    int lose;      /* so many messages are lost before it reads them */
    bool withhold; /* it takes but marks nothing */
    bool mute;     /* it does not beat either */
    size_t largest_bytes;
    int64_t told_dropped; /* by stage.audit_dropped */
} world_t;

static void free_endpoint(char ret_endpoint[static 64])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    AUTO_FD fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(ret_endpoint, 64, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
}

static void send_mark(world_t *world, const char *node, int64_t boot, int64_t number)
{
    AUTO_BUF frame = {0};
    mark_t mark = {.version = MARK_VERSION, .node = slice_of(node), .boot = boot, .number = number};
    codec_add(&mark_table, &mark, &frame);
    zmq_send(zsock_resolve(world->marks), node, strlen(node), ZMQ_SNDMORE);
    zmq_send(zsock_resolve(world->marks), frame.data, frame.size, 0);
}

static void take_records(world_t *world, const audit_t *head, slice_t frame)
{
    codec_reader_t reader;
    record_t record;
    codec_reader_init(&reader, frame);
    for (int64_t number = head->first; number < head->first + head->count; number++) {
        assert_int_equal(codec_next(&reader, &record_table, &record), RESULT_OK);
        if (world->n_seen < SEEN_MAX)
            world->seen[world->n_seen++] = number;
        if (number == world->have + 1)
            world->have = number;
        if (slice_is(record.topic, "stage.audit_dropped"))
            world->told_dropped += record.count;
    }
    assert_int_equal(codec_next(&reader, &record_table, &record), RESULT_NOT_FOUND);
}

static int on_records(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    world_t *world = arg;
    audit_t head;
    AUTO(zmsg) msg = zmsg_recv(socket);
    assert_int_equal(zmsg_size(msg), 3);
    zframe_t *node = zmsg_first(msg), *head_frame = zmsg_next(msg), *records = zmsg_next(msg);
    assert_true(zframe_streq(node, NODE));
    slice_t head_slice = {(const char *)zframe_data(head_frame), zframe_size(head_frame)};
    assert_int_equal(codec_decode(head_slice, &audit_table, &head), RESULT_OK);
    assert_true(slice_is(head.node, NODE) && slice_is(head.service, "router"));
    assert_int_equal(head.boot, BOOT);
    assert_true(head.oldest > 0 && head.oldest <= audit_mark(world->audit) + 1);
    if (head.count == 0) {
        world->idle_messages++;
        return 0;
    }
    world->messages++;
    if (world->lose > 0) {
        world->lose--;
        return 0;
    }
    if (zframe_size(records) > world->largest_bytes)
        world->largest_bytes = zframe_size(records);
    take_records(world, &head, (slice_t){(const char *)zframe_data(records), zframe_size(records)});
    if (!world->withhold)
        send_mark(world, NODE, BOOT, world->have);
    return 0;
}

static int on_beat(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    world_t *world = arg;
    if (!world->marks || world->mute)
        return 0;
    zstr_send(world->marks, AUDIT_BEAT);
    if (world->have > 0 && !world->withhold)
        send_mark(world, NODE, BOOT, world->have);
    return 0;
}

static void auditor_start(world_t *world)
{
    world->marks = zsock_new(ZMQ_PUB);
    world->records = zsock_new(ZMQ_SUB);
    zsock_set_rcvhwm(world->records, 100000);
    int64_t until_ms = clk_mono_ms() + DEADLINE_MS; /* the old listener closes on another thread */
    while (zsock_bind(world->marks, "%s", world->marks_endpoint) < 0)
        assert_true(clk_mono_ms() < until_ms);
    zsock_set_subscribe(world->records, "");
    assert_int_equal(zsock_connect(world->records, "%s", world->audit_endpoint), 0);
    zloop_reader(world->service.loop, world->records, on_records, world);
}

static void auditor_stop(world_t *world)
{
    if (!world->records)
        return;
    zloop_reader_end(world->service.loop, world->records);
    zsock_destroy(&world->records);
    zsock_destroy(&world->marks);
}

static void on_mark(void *owner, int64_t number)
{
    world_t *world = owner;
    assert_true(number > world->last_mark);
    assert_int_equal(audit_mark(world->audit), number);
    world->last_mark = number;
}

static void on_room(void *owner)
{
    world_t *world = owner;
    assert_true(audit_room(world->audit));
    world->rooms++;
}

static int enter(void **state)
{
    static const audit_calls_t calls = {on_mark, on_room};
    world_t *world = calloc(1, sizeof *world);
    fault_t fault = {""};
    free_endpoint(world->audit_endpoint);
    free_endpoint(world->marks_endpoint);
    setenv("PROVISOR_ROUTER_AUDIT", world->audit_endpoint, 1);
    setenv("PROVISOR_ROUTER_MARKS", world->marks_endpoint, 1);
    assert_int_equal(config_load(NULL, NULL, &world->service.config, &fault), RESULT_OK);
    world->service.loop = zloop_new();
    zloop_timer(world->service.loop, BEAT_MS, 0, on_beat, world);
    if (audit_new(&world->service, "router", NODE, &calls, world, &world->audit, &fault) !=
        RESULT_OK)
        fail_msg("%s", fault.text);
    *state = world;
    return 0;
}

static int leave(void **state)
{
    world_t *world = *state;
    audit_destroy(&world->audit);
    auditor_stop(world);
    zloop_destroy(&world->service.loop);
    config_destroy(&world->service.config);
    free(world);
    return 0;
}

typedef struct {
    world_t *world;
    bool (*reached)(world_t *world);
    int64_t until_ms;
    int turns; /* ends also after so many; 0: never */
    bool ok;
} wait_t;

static int on_wait(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    wait_t *wait = arg;
    wait->ok = wait->reached && wait->reached(wait->world);
    bool over = clk_mono_ms() > wait->until_ms || (wait->turns > 0 && --wait->turns == 0);
    return wait->ok || over ? -1 : 0;
}

static bool run(world_t *world, bool (*reached)(world_t *world), int turns)
{
    wait_t wait = {world, reached, clk_mono_ms() + DEADLINE_MS, turns, false};
    int timer = zloop_timer(world->service.loop, 1, 0, on_wait, &wait);
    zloop_start(world->service.loop);
    zloop_timer_end(world->service.loop, timer);
    return wait.ok;
}

static void run_until(world_t *world, bool (*reached)(world_t *world))
{
    assert_true(run(world, reached, 0));
}

/* Some 30 ms: long enough for what must not happen to happen. */
static void run_a_little(world_t *world)
{
    (void)run(world, NULL, 30);
}

static bool all_marked(world_t *world)
{
    return world->have > 0 && audit_mark(world->audit) == world->have && audit_alive(world->audit);
}

static void add(world_t *world, int count)
{
    for (int i = 0; i < count; i++)
        (void)audit_add(world->audit, &(record_t){.topic = SLICE("event.accepted"), .at_ms = 1});
}

static int64_t stat_of(const world_t *world, const char *name)
{
    AUTO_BUF text = {0};
    AUTO(json_tree) tree = NULL;
    json_writer_t w;
    json_begin(&w, &text);
    json_open_object(&w);
    audit_stats(world->audit, &w);
    json_close_object(&w);
    assert_int_equal(json_parse(buf_slice(&text), &tree, NULL), RESULT_OK);
    return json_get_int(json_get(tree, "audit"), name, -1);
}

/* 1, 2, 3, ... up to last, each once; but a machine so busy that a mark needs a second may see
 * what was sent again for that reason. */
static void expect_each_once(const world_t *world, int64_t last)
{
    int64_t repeated = stat_of(world, "repeated");
    assert_int_equal(world->have, last);
    assert_true((int64_t)world->n_seen <= last + repeated);
    for (size_t i = 0; repeated == 0 && i < world->n_seen; i++)
        assert_int_equal(world->seen[i], i + 1);
}

/* ---- Tests ------------------------------------------------------------------------------ */

static void what_was_added_before_the_auditor_came_arrives(void **state)
{
    world_t *world = *state;
    assert_string_equal(world->service.node, NODE);
    add(world, 3);
    run_a_little(world);
    assert_false(audit_alive(world->audit));
    auditor_start(world);
    run_until(world, all_marked);
    expect_each_once(world, 4); /* with stage.started */
    assert_int_equal(world->last_mark, 4);
    assert_int_equal(world->messages, 1);
}

static bool has_hundred(world_t *world)
{
    return world->have == 101 && all_marked(world);
}

static void a_burst_is_one_message(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    int before = world->messages;
    add(world, 100);
    run_until(world, has_hundred);
    assert_int_equal(world->messages, before + 1);
    expect_each_once(world, 101);
}

static bool has_nine(world_t *world)
{
    return world->have == 9 && all_marked(world);
}

static void messages_are_bounded(void **state)
{
    world_t *world = *state;
    char body[100 << 10];
    memset(body, 'x', sizeof body);
    auditor_start(world);
    run_until(world, all_marked);
    for (int i = 0; i < 8; i++)
        audit_add(world->audit,
                  &(record_t){
                      .topic = SLICE("event.accepted"), .at_ms = 1, .body = {body, sizeof body}
        });
    run_until(world, has_nine);
    assert_int_equal(world->messages, 1 + 4);
    assert_true(world->largest_bytes > sizeof body && world->largest_bytes <= 256 << 10);
    expect_each_once(world, 9);
}

static bool has_six(world_t *world)
{
    return world->have == 6 && all_marked(world);
}

static void lost_messages_are_sent_again(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    world->lose = 1;
    add(world, 3);
    run_a_little(world);
    add(world, 2); /* comes after a hole: not taken */
    run_a_little(world);
    assert_int_equal(audit_mark(world->audit), 1);
    run_until(world, has_six);
    static const int64_t expected[] = {1, 5, 6, 2, 3, 4, 5, 6};
    assert_int_equal(world->n_seen, 8);
    assert_memory_equal(world->seen, expected, sizeof expected);
}

static bool has_eleven(world_t *world)
{
    return world->have == 11 && all_marked(world);
}

static void a_restarted_auditor_gets_what_it_had_not_committed(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    world->withhold = true;
    add(world, 5);
    run_a_little(world);
    assert_int_equal(world->have, 6);
    auditor_stop(world);
    world->have = 1;
    world->n_seen = 1;
    world->withhold = false;
    add(world, 5);
    run_a_little(world);
    auditor_start(world);
    run_until(world, has_eleven); /* how often is a matter of who connects first */
}

static bool is_deaf(world_t *world)
{
    return !audit_alive(world->audit);
}

static bool has_three(world_t *world)
{
    return world->have == 3 && all_marked(world);
}

static void nothing_is_sent_to_an_auditor_that_is_silent(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    world->mute = true;
    run_until(world, is_deaf); /* 3 s */
    int before = world->messages;
    add(world, 2);
    run_a_little(world);
    assert_int_equal(world->messages, before);
    world->mute = false;
    run_until(world, has_three);
    expect_each_once(world, 3);
}

static bool has_all_with_dropped(world_t *world)
{
    return world->told_dropped > 0 && all_marked(world);
}

static void the_window_is_bounded_and_drops_are_told(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    world->withhold = true;
    add(world, 10000);
    assert_false(audit_room(world->audit));
    add(world, 7);
    assert_int_equal(audit_add(world->audit, &(record_t){.topic = SLICE("x"), .at_ms = 1}), 0);
    run_a_little(world);
    assert_int_equal(world->have, 10001);
    assert_int_equal(world->rooms, 0);
    world->withhold = false;
    send_mark(world, NODE, BOOT, 10000);
    run_until(world, has_all_with_dropped);
    assert_int_equal(world->told_dropped, 8);
    assert_int_equal(world->rooms, 1);
    expect_each_once(world, 10002);
}

static void bytes_bound_the_window_too(void **state)
{
    world_t *world = *state;
    char body[1 << 20];
    memset(body, 'x', sizeof body);
    record_t record = {
        .topic = SLICE("x"), .at_ms = 1, .body = {body, sizeof body}
    };
    int added = 0;
    while (audit_room(world->audit)) {
        record.origin = ++added;
        assert_true(audit_add(world->audit, &record) > 0);
    }
    assert_int_equal(added, 8);
    auditor_start(world);
    run_until(world, has_nine);
    assert_int_equal(world->rooms, 1);
    expect_each_once(world, 9);
}

static bool filled_three_times(world_t *world)
{
    return world->rooms >= 3 && all_marked(world);
}

static void on_room_add(void *owner)
{
    world_t *world = owner;
    world->rooms++;
    while (world->rooms < 3 && audit_room(world->audit))
        audit_add(world->audit, &(record_t){.topic = SLICE("x"), .at_ms = 1, .origin = 1});
}

static void room_is_told_each_time_that_it_was_filled(void **state)
{
    world_t *world = *state;
    fault_t fault = {""};
    audit_destroy(&world->audit);
    static const audit_calls_t calls = {NULL, on_room_add};
    int64_t until_ms = clk_mono_ms() + DEADLINE_MS; /* the old listener closes on another thread */
    while (audit_new(&world->service, "router", NODE, &calls, world, &world->audit, &fault) ==
           RESULT_LOCKED)
        assert_true(clk_mono_ms() < until_ms);
    add(world, 9999);
    assert_false(audit_room(world->audit));
    auditor_start(world);
    run_until(world, filled_three_times);
    expect_each_once(world, 30000);
}

static bool has_four(world_t *world)
{
    return world->have == 4;
}

static void marks_of_others_are_not_ours(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    world->withhold = true;
    add(world, 3);
    run_until(world, has_four);
    send_mark(world, NODE, BOOT + 1, 2);
    send_mark(world, NODE "x", BOOT, 2);
    send_mark(world, NODE, BOOT, 5);
    send_mark(world, NODE, BOOT, -1);
    zstr_sendx(world->marks, NODE, "no mark", NULL);
    zstr_sendx(world->marks, NODE, "", "", NULL);
    run_a_little(world);
    assert_int_equal(audit_mark(world->audit), 0);
    assert_int_equal(world->last_mark, 0);
    send_mark(world, NODE, BOOT, 2);
    run_a_little(world);
    assert_int_equal(world->last_mark, 2);
}

static bool was_idle(world_t *world)
{
    return world->idle_messages > 0;
}

static void an_idle_stage_answers_the_beat(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    int before = world->messages;
    run_until(world, was_idle);
    assert_int_equal(world->messages, before);
    assert_int_equal(world->idle_messages, 1); /* not one per beat */
}

static void the_last_record_still_leaves(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    world->withhold = true;
    zloop_reader_end(world->service.loop, world->records);
    audit_destroy(&world->audit);
    zsock_set_rcvtimeo(world->records, DEADLINE_MS);
    AUTO(zmsg) msg = zmsg_recv(world->records);
    zframe_t *frame = zmsg_last(msg);
    record_t record;
    assert_int_equal(codec_decode((slice_t){(const char *)zframe_data(frame), zframe_size(frame)},
                                  &record_table, &record),
                     RESULT_OK);
    assert_true(slice_is(record.topic, "stage.stopped"));
}

static void stats_tell_the_state(void **state)
{
    world_t *world = *state;
    auditor_start(world);
    run_until(world, all_marked);
    assert_int_equal(stat_of(world, "added"), 1);
    assert_int_equal(stat_of(world, "marked"), 1);
    assert_int_equal(stat_of(world, "kept"), 0);
    assert_int_equal(stat_of(world, "kept_bytes"), 0);
    assert_int_equal(stat_of(world, "dropped"), 0);
    world->withhold = true;
    add(world, 10002);
    assert_int_equal(stat_of(world, "kept"), 10000);
    assert_int_equal(stat_of(world, "dropped"), 2);
    assert_true(stat_of(world, "kept_bytes") > 10000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int main(void)
{
    zsys_init();
    zsys_handler_set(NULL);
    const struct CMUnitTest tests[] = {
        TEST(what_was_added_before_the_auditor_came_arrives),
        TEST(a_burst_is_one_message),
        TEST(messages_are_bounded),
        TEST(lost_messages_are_sent_again),
        TEST(a_restarted_auditor_gets_what_it_had_not_committed),
        TEST(nothing_is_sent_to_an_auditor_that_is_silent),
        TEST(the_window_is_bounded_and_drops_are_told),
        TEST(bytes_bound_the_window_too),
        TEST(room_is_told_each_time_that_it_was_filled),
        TEST(marks_of_others_are_not_ours),
        TEST(an_idle_stage_answers_the_beat),
        TEST(the_last_record_still_leaves),
        TEST(stats_tell_the_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
