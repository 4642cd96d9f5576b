#include "tests/support/names.h"

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/service/endpoint_socket.h"
#include "common/service/peers.h"

#include <arpa/inet.h>
#include <sys/socket.h>

enum { DEADLINE_MS = 20000 };

typedef struct {
    zloop_t *loop;
    peers_t *peers;
    zsock_t *bound; /* that is watched, unless connecting is */
    zsock_t *connecting;
    char monitor[40];
    int port;
    int came, went; /* as told */
} world_t;

static void on_changed(void *owner, const peers_t *peers, const char *endpoint, bool connected)
{
    (void)peers;
    world_t *world = owner;
    assert_non_null(strstr(endpoint, "tcp://127.0.0."));
    world->came += connected;
    world->went += !connected;
}

static zsock_t *new_socket(int type, const char *monitor)
{
    return endpoint_socket_new(&(endpoint_options_t){.type = type, .hwm = 10, .monitor = monitor});
}

static void bind_it(world_t *world)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%d", world->port);
    assert_int_equal(
        endpoint_socket_bind(world->bound, world->port ? endpoint : "tcp://127.0.0.1:*"), 0);
    AUTO_FREE char *last = zsock_last_endpoint(world->bound);
    world->port = atoi(strrchr(last, ':') + 1);
}

static zsock_t *connect_to(world_t *world, zsock_t *socket)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%d", world->port);
    assert_int_equal(endpoint_socket_connect(socket, endpoint), 0);
    return socket;
}

static world_t *world_new(bool watch_bound)
{
    world_t *world = MEM_NEW(world_t);
    /* libzmq gives a name back some time after its socket is closed */
    static int worlds;
    snprintf(world->monitor, sizeof world->monitor, "inproc://peers-test-%d", worlds++);
    world->loop = zloop_new();
    world->peers = peers_new(world->loop, world->monitor, watch_bound ? NULL : on_changed, world);
    world->bound = new_socket(ZMQ_PULL, watch_bound ? world->monitor : NULL);
    bind_it(world);
    return world;
}

static void world_destroy(world_t *world)
{
    zsock_destroy(&world->connecting);
    zsock_destroy(&world->bound);
    peers_destroy(&world->peers);
    zloop_destroy(&world->loop);
    free(world);
}

typedef struct {
    world_t *world;
    int wanted;
    int64_t until_ms;
} wait_t;

static int on_wait(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    const wait_t *wait = arg;
    return peers_connected(wait->world->peers) == wait->wanted || clk_mono_ms() > wait->until_ms
               ? -1
               : 0;
}

static void expect_connected(world_t *world, int wanted)
{
    wait_t wait = {world, wanted, clk_mono_ms() + DEADLINE_MS};
    int timer = zloop_timer(world->loop, 1, 0, on_wait, &wait);
    zloop_start(world->loop);
    zloop_timer_end(world->loop, timer);
    assert_int_equal(peers_connected(world->peers), wanted);
}

static void a_bound_socket_counts_who_connects(void **state)
{
    (void)state;
    world_t *world = world_new(true);
    assert_int_equal(peers_connected(world->peers), 0);
    zsock_t *first = connect_to(world, new_socket(ZMQ_PUSH, NULL));
    expect_connected(world, 1);
    zsock_t *second = connect_to(world, new_socket(ZMQ_PUSH, NULL));
    expect_connected(world, 2);
    zsock_destroy(&first);
    expect_connected(world, 1);
    zsock_destroy(&second);
    expect_connected(world, 0);
    world_destroy(world);
}

/* Says text, and reads until the other end hangs up. */
static void speak(const world_t *world, const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)world->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char answer[256];
    AUTO_FD fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    shutdown(fd, SHUT_WR);
    while (recv(fd, answer, sizeof answer, 0) > 0) {
    }
}

static void what_is_no_peer_does_not_count_and_takes_none_away(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff\xff\xff\xff",
                                        "\x01\x02", "\xff"};
    world_t *world = world_new(true);
    zsock_t *peer = connect_to(world, new_socket(ZMQ_PUSH, NULL));
    expect_connected(world, 1);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        speak(world, texts[i]);
    zsock_t *last = connect_to(world, new_socket(ZMQ_PUSH, NULL));
    expect_connected(world, 2); /* so the events before it were seen */
    zsock_destroy(&peer);
    expect_connected(world, 1);
    zsock_destroy(&last);
    expect_connected(world, 0);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        speak(world, texts[i]);
    last = connect_to(world, new_socket(ZMQ_PUSH, NULL));
    expect_connected(world, 1);
    zsock_destroy(&last);
    expect_connected(world, 0);
    world_destroy(world);
}

static void a_connecting_socket_knows_each_endpoint(void **state)
{
    (void)state;
    world_t *world = world_new(false);
    world->connecting = connect_to(world, new_socket(ZMQ_PUSH, world->monitor));
    expect_connected(world, 1);
    zsock_destroy(&world->bound);
    expect_connected(world, 0);
    world->bound = new_socket(ZMQ_PULL, NULL);
    bind_it(world);
    expect_connected(world, 1);
    assert_int_equal(world->came, 2);
    assert_int_equal(world->went, 1);
    world_destroy(world);
}

/* libzmq tells of no connection that ends from this side: the old one stays open here. */
static void a_name_that_moved_is_one_peer(void **state)
{
    (void)state;
    fault_t fault = {""};
    char list[64], moved[64];
    world_t *world = world_new(false);
    zsock_t *other = new_socket(ZMQ_PULL, NULL);
    endpoint_peers_t *connecting = NULL;
    snprintf(list, sizeof list, "tcp://peers.test:%d", world->port);
    snprintf(moved, sizeof moved, "tcp://127.0.0.2:%d", world->port);
    assert_int_equal(endpoint_socket_bind(other, moved), 0);
    names_set("127.0.0.1");
    assert_int_equal(endpoint_connect(world->loop, list,
                                      &(endpoint_options_t){.type = ZMQ_PUSH,
                                                            .hwm = 10,
                                                            .resolve_ms = 5,
                                                            .monitor = world->monitor,
                                                            .peers = world->peers},
                                      &connecting, &fault),
                     RESULT_OK);
    expect_connected(world, 1);
    names_set("127.0.0.1 127.0.0.2");
    expect_connected(world, 2);
    names_set("127.0.0.2");
    expect_connected(world, 1);
    assert_int_equal(world->came, 2);
    assert_int_equal(world->went, 1);
    endpoint_peers_destroy(&connecting);
    zsock_destroy(&other);
    world_destroy(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bound_socket_counts_who_connects),
        cmocka_unit_test(what_is_no_peer_does_not_count_and_takes_none_away),
        cmocka_unit_test(a_connecting_socket_knows_each_endpoint),
        cmocka_unit_test(a_name_that_moved_is_one_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
