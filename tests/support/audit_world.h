/* audit_world: a stage's publisher and an auditor that the test plays, over real sockets, both on
 * one loop. The auditor loses, withholds its marks, stops and starts as it is told. The functions
 * of service.h that audit needs are here too, so that no process is. For one source file of a
 * test. */
#ifndef PROVISOR_AUDIT_WORLD_H
#define PROVISOR_AUDIT_WORLD_H

#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/service/audit.h"
#include "common/wire/codec.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#define NODE "e3f1c05a9b2d4c66"

enum { DEADLINE_MS = 60000, BEAT_MS = 10, BOOT = 77, SEEN_MAX = 40000 };

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

const log_t *service_log(const service_t *service)
{
    static const log_t quiet = {"test", LEVEL_ERROR};
    (void)service;
    return &quiet;
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

void service_stats(service_t *service, json_writer_t *w)
{
    (void)service;
    json_open_object(w);
    json_key_int(w, "small", 1);
    json_close_object(w);
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
    int messages, idle_messages, beats;
    int lose;      /* so many messages are lost before it reads them */
    bool withhold; /* it takes but marks nothing */
    bool mute;     /* it does not beat either */
    size_t largest_bytes;
    int64_t told_dropped; /* by stage.audit_dropped */
} world_t;

static inline void free_endpoint(char ret_endpoint[static 64])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    AUTO_FD fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(ret_endpoint, 64, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
}

static inline void send_mark(world_t *world, const char *node, int64_t boot, int64_t number)
{
    AUTO_BUF frame = {0};
    mark_t mark = {.version = MARK_VERSION, .node = slice_of(node), .boot = boot, .number = number};
    codec_add(&mark_table, &mark, &frame);
    zmq_send(zsock_resolve(world->marks), node, strlen(node), ZMQ_SNDMORE);
    zmq_send(zsock_resolve(world->marks), frame.data, frame.size, 0);
}

static inline void take_records(world_t *world, const audit_t *head, slice_t frame)
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

static inline int on_records(zloop_t *loop, zsock_t *socket, void *arg)
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

static inline int on_beat(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    world_t *world = arg;
    if (!world->marks || world->mute)
        return 0;
    zstr_send(world->marks, AUDIT_BEAT);
    world->beats++;
    if (world->have > 0 && !world->withhold)
        send_mark(world, NODE, BOOT, world->have);
    return 0;
}

static inline void auditor_start(world_t *world)
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

static inline void auditor_stop(world_t *world)
{
    if (!world->records)
        return;
    zloop_reader_end(world->service.loop, world->records);
    zsock_destroy(&world->records);
    zsock_destroy(&world->marks);
}

static inline void on_mark(void *owner, int64_t number)
{
    world_t *world = owner;
    assert_true(number > world->last_mark);
    assert_int_equal(audit_mark(world->audit), number);
    world->last_mark = number;
}

static inline void on_room(void *owner)
{
    world_t *world = owner;
    assert_true(audit_room(world->audit));
    world->rooms++;
}

static inline int enter(void **state)
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

static inline int leave(void **state)
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

static inline int on_wait(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    wait_t *wait = arg;
    wait->ok = wait->reached && wait->reached(wait->world);
    bool over = clk_mono_ms() > wait->until_ms || (wait->turns > 0 && --wait->turns == 0);
    return wait->ok || over ? -1 : 0;
}

static inline bool run(world_t *world, bool (*reached)(world_t *world), int turns)
{
    wait_t wait = {world, reached, clk_mono_ms() + DEADLINE_MS, turns, false};
    int timer = zloop_timer(world->service.loop, 1, 0, on_wait, &wait);
    zloop_start(world->service.loop);
    zloop_timer_end(world->service.loop, timer);
    return wait.ok;
}

static inline void run_until(world_t *world, bool (*reached)(world_t *world))
{
    assert_true(run(world, reached, 0));
}

/* Some 30 ms: long enough for what must not happen to happen. */
static inline void run_a_little(world_t *world)
{
    (void)run(world, NULL, 30);
}

static inline bool all_marked(world_t *world)
{
    return world->have > 0 && audit_mark(world->audit) == world->have && audit_alive(world->audit);
}

static inline void add(world_t *world, int count)
{
    for (int i = 0; i < count; i++)
        (void)audit_add(world->audit, &(record_t){.topic = SLICE("event.accepted"), .at_ms = 1});
}

static inline int64_t stat_of(const world_t *world, const char *name)
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
static inline void expect_each_once(const world_t *world, int64_t last)
{
    int64_t repeated = stat_of(world, "repeated");
    assert_int_equal(world->have, last);
    assert_true((int64_t)world->n_seen <= last + repeated);
    for (size_t i = 0; repeated == 0 && i < world->n_seen; i++)
        assert_int_equal(world->seen[i], i + 1);
}

#endif
