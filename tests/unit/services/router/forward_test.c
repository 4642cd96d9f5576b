#include "tests/support/unit.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "services/router/forward.h"

enum { DEADLINE_MS = 20000, PENDING_BYTES = 1600 };

/* ---- The service around it: what forward needs of it, without a process ------------------ */

struct service_t {
    zloop_t *loop;
    log_t log;
};

zloop_t *service_loop(service_t *service)
{
    return service->loop;
}

const log_t *service_log(const service_t *service)
{
    return &service->log;
}

/* ---- The world -------------------------------------------------------------------------- */

typedef struct {
    service_t service;
    forward_t *forward;
    zsock_t *deliverer; /* PULL, played here */
    char endpoint[64];
    bool (*until)(void *world);
    int64_t until_ms;
    int next; /* of the messages that came */
} world_t;

/* Nobody ever listened there. */
static void free_endpoint(char ret_endpoint[static 64])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    AUTO_FD fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(ret_endpoint, 64, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
}

static void start_deliverer(world_t *world)
{
    world->deliverer = zsock_new(ZMQ_PULL);
    int64_t until_ms = clk_mono_ms() + DEADLINE_MS; /* the old listener closes on another thread */
    while (zsock_bind(world->deliverer, "%s", world->endpoint) < 0)
        assert_true(clk_mono_ms() < until_ms);
}

/* Its deliverer is not there. */
static int setup_alone(void **state)
{
    world_t *world = calloc(1, sizeof *world);
    fault_t fault = {""};
    world->service = (service_t){zloop_new(), {"test", LEVEL_ERROR}};
    free_endpoint(world->endpoint);
    *state = world;
    return forward_open(&world->service, world->endpoint, PENDING_BYTES, &world->forward, &fault);
}

static int setup(void **state)
{
    int code = setup_alone(state);
    start_deliverer(*state);
    return code;
}

static int teardown(void **state)
{
    world_t *world = *state;
    forward_close(&world->forward);
    zsock_destroy(&world->deliverer);
    zloop_destroy(&world->service.loop);
    free(world);
    return 0;
}

static void send_number(world_t *world, int number)
{
    zmq_msg_t frames[FORWARD_FRAMES];
    for (int i = 0; i < FORWARD_FRAMES; i++) {
        zmq_msg_init_size(&frames[i], 8);
        snprintf(zmq_msg_data(&frames[i]), 8, "%d.%d", number, i);
    }
    forward_send(world->forward, frames);
}

/* Whole messages, in order. */
static void take_all(world_t *world)
{
    while (zsock_events(world->deliverer) & ZMQ_POLLIN) {
        AUTO(zmsg) msg = zmsg_recv(world->deliverer);
        assert_int_equal(zmsg_size(msg), FORWARD_FRAMES);
        for (int i = 0; i < FORWARD_FRAMES; i++) {
            char expected[16];
            AUTO(zframe) frame = zmsg_pop(msg);
            snprintf(expected, sizeof expected, "%d.%d", world->next, i);
            assert_string_equal((const char *)zframe_data(frame), expected);
        }
        world->next++;
    }
}

static int on_turn(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    world_t *world = arg;
    if (clk_mono_ms() > world->until_ms)
        fail_msg("waited too long");
    return world->until(world) ? -1 : 0;
}

static void run_until(world_t *world, bool (*until)(void *world))
{
    world->until = until;
    world->until_ms = clk_mono_ms() + DEADLINE_MS;
    int timer = zloop_timer(world->service.loop, 1, 0, on_turn, world);
    zloop_set_nonstop(world->service.loop, true);
    zloop_start(world->service.loop);
    zloop_timer_end(world->service.loop, timer);
}

static int64_t stat_of(const world_t *world, const char *name)
{
    AUTO_BUF text = {0};
    AUTO(json_tree) tree = NULL;
    json_writer_t w;
    json_begin(&w, &text);
    forward_stats(world->forward, &w);
    assert_int_equal(json_parse(buf_slice(&text), &tree, NULL), RESULT_OK);
    assert_string_equal(json_get_str(tree, "endpoint"), world->endpoint);
    return json_get_int(tree, name, -1);
}

static bool is_ready(void *self)
{
    return forward_ready(((world_t *)self)->forward);
}

static bool has_ten(void *self)
{
    world_t *world = self;
    take_all(world);
    return world->next == 10;
}

static void messages_arrive_whole_and_in_order(void **state)
{
    world_t *world = *state;
    run_until(world, is_ready);
    for (int i = 0; i < 10; i++)
        send_number(world, i);
    run_until(world, has_ten);
    assert_true(forward_idle(world->forward));
    assert_int_equal(stat_of(world, "sent"), 10);
    assert_int_equal(stat_of(world, "dropped"), 0);
    assert_string_equal(forward_endpoint(world->forward), world->endpoint);
}

static bool is_idle(void *self)
{
    return forward_idle(((world_t *)self)->forward);
}

/* Each costs some 540 bytes of PENDING_BYTES. */
static void so_much_waits_and_no_more(void **state)
{
    world_t *world = *state;
    assert_false(forward_ready(world->forward));
    for (int i = 0; i < 5; i++)
        send_number(world, i);
    assert_true(forward_ready(world->forward)); /* it may still come */
    assert_false(forward_idle(world->forward));
    assert_int_equal(stat_of(world, "waiting"), 2);
    assert_int_equal(stat_of(world, "dropped"), 3);
    assert_in_range(stat_of(world, "waiting_bytes"), 1, PENDING_BYTES);
}

/* For two seconds. */
static void what_waits_too_long_is_dropped(void **state)
{
    world_t *world = *state;
    send_number(world, 0);
    assert_false(forward_idle(world->forward));
    run_until(world, is_idle);
    assert_false(forward_ready(world->forward));
    assert_int_equal(stat_of(world, "dropped"), 1);
    send_number(world, 1); /* nothing begins to wait again */
    assert_true(forward_idle(world->forward));
    assert_int_equal(stat_of(world, "dropped"), 2);
    start_deliverer(world);
    run_until(world, is_ready);
    send_number(world, world->next);
    assert_int_equal(stat_of(world, "sent"), 1);
}

static void what_waits_goes_with_it(void **state)
{
    world_t *world = *state;
    send_number(world, 0);
    forward_close(&world->forward);
    assert_null(world->forward);
    forward_close(&world->forward);
}

static void what_is_no_endpoint_is_refused(void **state)
{
    world_t *world = *state;
    forward_t *forward = NULL;
    fault_t fault = {""};
    assert_int_equal(forward_open(&world->service, "nonsense", 1, &forward, &fault),
                     RESULT_INVALID);
    assert_non_null(strstr(fault.text, "nonsense"));
    assert_null(forward);
}

#define TEST(enter, f) cmocka_unit_test_setup_teardown(f, enter, teardown)

int main(void)
{
    zsys_init();
    zsys_handler_set(NULL);
    const struct CMUnitTest tests[] = {
        TEST(setup, messages_arrive_whole_and_in_order),
        TEST(setup_alone, so_much_waits_and_no_more),
        TEST(setup_alone, what_waits_too_long_is_dropped),
        TEST(setup_alone, what_waits_goes_with_it),
        TEST(setup_alone, what_is_no_endpoint_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
