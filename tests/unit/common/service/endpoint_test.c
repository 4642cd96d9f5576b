#include "tests/support/names.h"

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/service/endpoint.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEADLINE_MS = 20000 };

/* ---- Help ------------------------------------------------------------------------------- */

static config_t *config_with(const char *name, const char *value, bool trusted)
{
    config_t *config = NULL;
    fault_t fault = {""};
    setenv(name, value, 1);
    setenv("PROVISOR_PROVISOR_TRUSTED_NETWORK", trusted ? "1" : "0", 1);
    if (config_load(NULL, NULL, &config, &fault) != RESULT_OK)
        fail_msg("%s", fault.text);
    unsetenv(name);
    unsetenv("PROVISOR_PROVISOR_TRUSTED_NETWORK");
    return config;
}

/* Binds router.intake to the endpoint. */
static zsock_t *bind_to(const char *endpoint, int type, int64_t max_msg_bytes)
{
    AUTO(config) config = config_with("PROVISOR_ROUTER_INTAKE", endpoint, false);
    endpoint_options_t options = {.type = type, .hwm = 10, .max_msg_bytes = max_msg_bytes};
    zsock_t *socket = NULL;
    fault_t fault = {""};
    if (endpoint_bind(config, "router", "intake", &options, &socket, &fault) != RESULT_OK)
        fail_msg("%s", fault.text);
    zsock_set_rcvtimeo(socket, DEADLINE_MS);
    return socket;
}

static result_t try_bind(const char *endpoint, bool trusted, fault_t *fault)
{
    AUTO(config) config = config_with("PROVISOR_ROUTER_INTAKE", endpoint, trusted);
    AUTO(zsock) socket = NULL;
    endpoint_options_t options = {.type = ZMQ_PULL, .hwm = 10};
    return endpoint_bind(config, "router", "intake", &options, &socket, fault);
}

enum { PORT_SIZE = 8, ENDPOINT_SIZE = 64 };

/* The port that a wildcard has become; returns ret_port. */
static const char *port_of(zsock_t *socket, char ret_port[static PORT_SIZE])
{
    AUTO_FREE char *endpoint = zsock_last_endpoint(socket);
    snprintf(ret_port, PORT_SIZE, "%s", strrchr(endpoint, ':') + 1);
    return ret_port;
}

static const char *endpoint_of(zsock_t *socket, char ret_endpoint[static ENDPOINT_SIZE])
{
    char port[PORT_SIZE];
    snprintf(ret_endpoint, ENDPOINT_SIZE, "tcp://127.0.0.1:%s", port_of(socket, port));
    return ret_endpoint;
}

typedef struct {
    bool (*reached)(void *arg);
    void *arg;
    int64_t until_ms;
    bool ok;
} wait_t;

static int on_wait(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    wait_t *wait = arg;
    wait->ok = wait->reached(wait->arg);
    return wait->ok || clk_mono_ms() > wait->until_ms ? -1 : 0;
}

/* Runs the loop until the state is reached. */
static void run_until(zloop_t *loop, bool (*reached)(void *arg), void *arg)
{
    wait_t wait = {reached, arg, clk_mono_ms() + DEADLINE_MS, false};
    int timer = zloop_timer(loop, 1, 0, on_wait, &wait);
    zloop_start(loop);
    zloop_timer_end(loop, timer);
    assert_true(wait.ok);
}

static void expect_text(zsock_t *socket, const char *expected)
{
    AUTO_FREE char *text = zstr_recv(socket);
    assert_non_null(text);
    assert_string_equal(text, expected);
}

/* ---- Bind ------------------------------------------------------------------------------- */

static void a_port_in_use_is_told(void **state)
{
    (void)state;
    AUTO(zsock) first = bind_to("tcp://127.0.0.1:*", ZMQ_PULL, 0);
    char endpoint[ENDPOINT_SIZE], expected[256];
    endpoint_of(first, endpoint);
    fault_t fault = {""};
    assert_int_equal(try_bind(endpoint, false, &fault), RESULT_LOCKED);
    snprintf(expected, sizeof expected,
             "cannot bind %s (router.intake): address in use; stop the other process or set "
             "PROVISOR_ROUTER_INTAKE",
             endpoint);
    assert_string_equal(fault.text, expected);
}

static void only_loopback_is_bound_without_trust(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        bool ok;
    } cases[] = {
        {"tcp://127.0.0.1:*", true},
        {"tcp://127.9.9.9:*", true},
        {"ipc:///tmp/endpoint_test.%d", true},
        {"inproc://endpoint-test", true},
        {"tcp://0.0.0.0:*", false},
        {"tcp://*:*", false},
        {"tcp://[::]:*", false},
        {"tcp://[::ffff:1.2.3.4]:*", false},
        {"tcp://128.0.0.1:*", false},
        {"tcp://1.127.0.0:*", false},
        {"tcp://127.0.0.1.evil:*", false},
        {"tcp://localhost:*", false},
        {"tcp://lo:*", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char endpoint[64];
        fault_t fault = {""};
        snprintf(endpoint, sizeof endpoint, "%s", cases[i].endpoint);
        if (strstr(endpoint, "%d"))
            snprintf(endpoint, sizeof endpoint, "ipc:///tmp/endpoint_test.%d", getpid());
        result_t r = try_bind(endpoint, false, &fault);
        if (r != (cases[i].ok ? RESULT_OK : RESULT_INVALID))
            fail_msg("%s: %s %s", endpoint, result_str(r), fault.text);
        if (!cases[i].ok)
            assert_non_null(strstr(fault.text, "provisor.trusted_network"));
    }
}

static void trust_binds_everything(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"tcp://0.0.0.0:*", "tcp://*:*", "tcp://lo:*"};
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        fault_t fault = {""};
        if (try_bind(endpoints[i], true, &fault) != RESULT_OK)
            fail_msg("%s: %s", endpoints[i], fault.text);
    }
    fault_t fault = {""};
    assert_int_equal(try_bind("tcp://192.0.2.1:*", true, &fault), RESULT_INVALID);
    assert_non_null(strstr(fault.text, "PROVISOR_ROUTER_INTAKE"));
}

static void a_name_is_bound_where_it_is_ours(void **state)
{
    (void)state;
    fault_t fault = {""};
    names_set("198.51.100.1 127.0.0.3");
    AUTO(config) config = config_with("PROVISOR_ROUTER_INTAKE", "tcp://peers.test:*", true);
    endpoint_options_t options = {.type = ZMQ_PULL, .hwm = 10};
    AUTO(zsock) socket = NULL;
    if (endpoint_bind(config, "router", "intake", &options, &socket, &fault) != RESULT_OK)
        fail_msg("%s", fault.text);
    AUTO_FREE char *bound = zsock_last_endpoint(socket);
    assert_int_equal(strncmp(bound, "tcp://127.0.0.3:", 16), 0);
    assert_int_equal(try_bind("tcp://peers.test:*", false, &fault), RESULT_INVALID);
    assert_non_null(strstr(fault.text, "provisor.trusted_network"));
    names_set("198.51.100.1");
    assert_int_equal(try_bind("tcp://peers.test:*", true, &fault), RESULT_INVALID);
    assert_non_null(strstr(fault.text, "this machine has no such address"));
    names_set(NULL);
    assert_int_equal(try_bind("tcp://peers.test:*", true, &fault), RESULT_INVALID);
}

static void a_name_in_use_is_told(void **state)
{
    (void)state;
    AUTO(zsock) first = bind_to("tcp://127.0.0.3:*", ZMQ_PULL, 0);
    char endpoint[ENDPOINT_SIZE], port[PORT_SIZE];
    snprintf(endpoint, sizeof endpoint, "tcp://peers.test:%s", port_of(first, port));
    fault_t fault = {""};
    names_set("198.51.100.1 127.0.0.3 198.51.100.2");
    assert_int_equal(try_bind(endpoint, true, &fault), RESULT_LOCKED);
    names_set(NULL);
}

static void an_endpoint_is_all_that_its_name_stands_for(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint, *addresses, *list;
        bool has_name;
    } cases[] = {
        {"tcp://peers.test:1", "127.0.0.2 127.0.0.1", "tcp://127.0.0.1:1 tcp://127.0.0.2:1 ", true},
        {"tcp://peers.test:1", NULL, "tcp://peers.test:1", true},
        {"tcp://127.0.0.1:1", NULL, "tcp://127.0.0.1:1", false},
        {"tcp://*:1", NULL, "tcp://*:1", false},
        {"ipc:///tmp/x", NULL, "ipc:///tmp/x", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF list = {0};
        names_set(cases[i].addresses);
        bool known = !cases[i].has_name || cases[i].addresses;
        assert_int_equal(endpoint_resolve(cases[i].endpoint, &list), known);
        assert_string_equal(list.data, cases[i].list);
        assert_int_equal(endpoint_has_name(cases[i].endpoint), cases[i].has_name);
    }
    names_set(NULL);
}

static void a_local_socket_is_not_stolen(void **state)
{
    (void)state;
    char folder[] = "/tmp/endpoint_test_XXXXXX", endpoint[64];
    assert_non_null(mkdtemp(folder));
    snprintf(endpoint, sizeof endpoint, "ipc://%s/socket", folder);
    zsock_t *first = bind_to(endpoint, ZMQ_PULL, 0);
    fault_t fault = {""};
    assert_int_equal(try_bind(endpoint, false, &fault), RESULT_LOCKED);
    zsock_destroy(&first);
    result_t r = RESULT_LOCKED; /* libzmq closes it on its own thread, and leaves the file */
    for (int64_t until_ms = clk_mono_ms() + DEADLINE_MS;
         r == RESULT_LOCKED && clk_mono_ms() < until_ms;) {
        sched_yield();
        r = try_bind(endpoint, false, &fault);
    }
    assert_int_equal(r, RESULT_OK);
    unlink(endpoint + strlen("ipc://"));
    *strrchr(endpoint, '/') = 0;
    rmdir(endpoint + strlen("ipc://"));
}

static void every_option_is_said(void **state)
{
    (void)state;
    static const struct {
        int type;
        bool immediate;
    } types[] = {{ZMQ_PULL, false},   {ZMQ_PUSH, true},  {ZMQ_DEALER, true},
                 {ZMQ_ROUTER, false}, {ZMQ_XPUB, false}, {ZMQ_SUB, false}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        AUTO(zsock) socket = bind_to("tcp://127.0.0.1:*", types[i].type, 1234);
        const struct {
            int name, value;
        } options[] = {
            {ZMQ_SNDHWM, 10},
            {ZMQ_RCVHWM, 10},
            {ZMQ_LINGER, 0},
            {ZMQ_RECONNECT_IVL, 50},
            {ZMQ_RECONNECT_IVL_MAX, 2000},
            {ZMQ_HEARTBEAT_IVL, 0},
            {ZMQ_TCP_KEEPALIVE, 1},
            {ZMQ_TCP_KEEPALIVE_IDLE, 10},
            {ZMQ_TCP_KEEPALIVE_INTVL, 5},
            {ZMQ_TCP_KEEPALIVE_CNT, 3},
            {ZMQ_TCP_MAXRT, 0},
            {ZMQ_IMMEDIATE, types[i].immediate},
        };
        for (size_t j = 0; j < sizeof options / sizeof *options; j++) {
            int value = -2;
            size_t size = sizeof value;
            assert_int_equal(zmq_getsockopt(zsock_resolve(socket), options[j].name, &value, &size),
                             0);
            if (value != options[j].value)
                fail_msg("type %d option %d is %d", types[i].type, options[j].name, value);
        }
        int64_t max_msg = 0;
        size_t size = sizeof max_msg;
        zmq_getsockopt(zsock_resolve(socket), ZMQ_MAXMSGSIZE, &max_msg, &size);
        assert_int_equal(max_msg, 1234);
    }
}

static void a_message_that_is_too_large_ends_its_connection_only(void **state)
{
    (void)state;
    AUTO(zsock) pull = bind_to("tcp://127.0.0.1:*", ZMQ_PULL, 100);
    char endpoint[ENDPOINT_SIZE];
    endpoint_of(pull, endpoint);
    AUTO(zsock) good = zsock_new_push(endpoint);
    AUTO(zsock) bad = zsock_new_push(endpoint);
    char big[101] = "";
    memset(big, 'x', 100);
    assert_int_equal(zstr_send(good, "first"), 0);
    expect_text(pull, "first");
    assert_int_equal(zmq_send(zsock_resolve(bad), big, sizeof big, 0), (int)sizeof big);
    assert_int_equal(zstr_send(good, "second"), 0);
    expect_text(pull, "second");
}

/* ---- Connect ---------------------------------------------------------------------------- */

static const log_t log_all = {"test", LEVEL_DEBUG};

static endpoint_peers_t *connect_every(zloop_t *loop, const char *list, int type,
                                       int64_t resolve_ms)
{
    endpoint_options_t options = {
        .type = type, .hwm = 10, .resolve_ms = resolve_ms, .log = &log_all};
    endpoint_peers_t *peers = NULL;
    fault_t fault = {""};
    if (endpoint_connect(loop, list, &options, &peers, &fault) != RESULT_OK)
        fail_msg("%s", fault.text);
    zsock_set_sndtimeo(endpoint_socket(peers), DEADLINE_MS);
    zsock_set_rcvtimeo(endpoint_socket(peers), DEADLINE_MS);
    return peers;
}

static endpoint_peers_t *connect_to(zloop_t *loop, const char *list, int type)
{
    return connect_every(loop, list, type, 5);
}

static void every_endpoint_of_the_list_is_a_peer(void **state)
{
    (void)state;
    AUTO(zloop) loop = zloop_new();
    AUTO(zsock) a = bind_to("tcp://127.0.0.1:*", ZMQ_PULL, 0);
    AUTO(zsock) b = bind_to("tcp://127.0.0.1:*", ZMQ_PULL, 0);
    char list[150], a_endpoint[ENDPOINT_SIZE], b_endpoint[ENDPOINT_SIZE];
    snprintf(list, sizeof list, " %s  %s ", endpoint_of(a, a_endpoint), endpoint_of(b, b_endpoint));
    AUTO(endpoint_peers) peers = connect_to(loop, list, ZMQ_PUSH);
    assert_int_equal(endpoint_count(peers), 2);
    AUTO(zpoller) poller = zpoller_new(a, b, NULL);
    bool a_got = false, b_got = false;
    for (int i = 0; i < 1000 && !(a_got && b_got); i++) { /* until both are connected */
        assert_int_equal(zstr_send(endpoint_socket(peers), "x"), 0);
        zsock_t *which = zpoller_wait(poller, DEADLINE_MS);
        assert_non_null(which);
        expect_text(which, "x");
        a_got |= which == a;
        b_got |= which == b;
    }
    assert_true(a_got && b_got);
}

static void lists_may_be_empty_but_not_wrong(void **state)
{
    (void)state;
    AUTO(zloop) loop = zloop_new();
    AUTO(endpoint_peers) none = connect_to(loop, "", ZMQ_PUSH);
    assert_int_equal(endpoint_count(none), 0);
    AUTO_BUF many = {0};
    for (int i = 0; i < 257; i++)
        buf_printf(&many, "inproc://nobody-%d ", i);
    static const char *const wrong[] = {"gopher://127.0.0.1:1", "tcp://127.0.0.1:notaport", "x"};
    endpoint_options_t options = {.type = ZMQ_PUSH, .hwm = 10};
    for (size_t i = 0; i <= sizeof wrong / sizeof *wrong; i++) {
        const char *list = i < sizeof wrong / sizeof *wrong ? wrong[i] : many.data;
        AUTO(endpoint_peers) peers = NULL;
        fault_t fault = {""};
        result_t r = endpoint_connect(loop, list, &options, &peers, &fault);
        if (r != RESULT_INVALID || !*fault.text)
            fail_msg("%.60s: %s", list, result_str(r));
    }
}

typedef struct {
    endpoint_peers_t *peers;
    size_t n;
} count_t;

static bool has_count(void *arg)
{
    const count_t *count = arg;
    return endpoint_count(count->peers) == count->n;
}

static void a_name_is_all_of_its_addresses_as_they_change(void **state)
{
    (void)state;
    AUTO(zloop) loop = zloop_new();
    AUTO(zsock) one = bind_to("tcp://127.0.0.1:*", ZMQ_PUB, 0);
    char list[128], other[128], port[PORT_SIZE];
    port_of(one, port);
    snprintf(list, sizeof list, "tcp://peers.test:%s", port);
    snprintf(other, sizeof other, "tcp://127.0.0.2:%s", port);
    AUTO(zsock) two = bind_to(other, ZMQ_PUB, 0);
    names_set(NULL);
    AUTO(endpoint_peers) peers = connect_to(loop, list, ZMQ_SUB);
    zsock_set_subscribe(endpoint_socket(peers), "");
    assert_int_equal(endpoint_count(peers), 0);
    names_set("127.0.0.1");
    run_until(loop, has_count, &(count_t){peers, 1});
    names_set("127.0.0.2 127.0.0.1 127.0.0.2");
    run_until(loop, has_count, &(count_t){peers, 2});
    names_set("127.0.0.2 127.0.0.3 ::1"); /* IPv4 goes first, so that nobody is met twice */
    run_until(loop, has_count, &(count_t){peers, 2});
    names_set("127.0.0.2");
    run_until(loop, has_count, &(count_t){peers, 1});
    zsock_set_rcvtimeo(endpoint_socket(peers), 5);
    AUTO_FREE char *got = NULL;
    for (int i = 0; i < 2000 && !got; i++) {
        zstr_send(one, "from the one that vanished");
        zstr_send(two, "from the one that stayed");
        got = zstr_recv(endpoint_socket(peers));
    }
    assert_non_null(got);
    assert_string_equal(got, "from the one that stayed");
    names_set(NULL);
}

static bool never(void *arg)
{
    return --*(int *)arg == 0;
}

static void a_name_that_comes_late_is_found_soon(void **state)
{
    (void)state;
    AUTO(zloop) loop = zloop_new();
    names_set(NULL);
    int asked = names_count();
    AUTO(endpoint_peers) peers = connect_every(loop, "tcp://peers.test:1", ZMQ_SUB, 600000);
    while (names_count() == asked)
        sched_yield();
    names_set("127.0.0.1");
    run_until(loop, has_count, &(count_t){peers, 1});
    names_set(NULL);
}

static bool has_text(void *arg)
{
    struct stat told;
    return fstat(*(int *)arg, &told) == 0 && told.st_size > 0;
}

static void a_name_that_stays_unknown_is_told_once(void **state)
{
    (void)state;
    AUTO(zloop) loop = zloop_new();
    names_set(NULL);
    AUTO_FD file = memfd_create("stderr", MFD_CLOEXEC);
    AUTO_FD stderr_fd = dup(STDERR_FILENO);
    dup2(file, STDERR_FILENO);
    AUTO(endpoint_peers) peers = connect_every(loop, "tcp://peers.test:9", ZMQ_SUB, 100);
    run_until(loop, has_text, &file);
    for (int turns = 0; turns < 2; turns++) { /* looked up again, told no more */
        int asked = names_count();
        while (names_count() == asked)
            sched_yield();
    }
    names_set("127.0.0.1");
    run_until(loop, has_count, &(count_t){peers, 1});
    dup2(stderr_fd, STDERR_FILENO);
    names_set(NULL);
    char told[512] = "";
    assert_true(pread(file, told, sizeof told - 1, 0) > 0);
    assert_non_null(strstr(told, "level=warn service=test event=name_unknown name=peers.test "));
    assert_ptr_equal(strchr(told, '\n') + 1, told + strlen(told));
}

static void a_failed_lookup_changes_nothing(void **state)
{
    (void)state;
    AUTO(zloop) loop = zloop_new();
    names_set("127.0.0.1 127.0.0.2");
    AUTO(endpoint_peers) peers = connect_to(loop, "tcp://peers.test:9", ZMQ_PUSH);
    run_until(loop, has_count, &(count_t){peers, 2});
    names_set(NULL);
    int turns = 30; /* of a millisecond: several lookups */
    run_until(loop, never, &turns);
    assert_int_equal(endpoint_count(peers), 2);
}

static void one_address_is_one_peer_however_it_is_named(void **state)
{
    (void)state;
    AUTO(zloop) loop = zloop_new();
    AUTO(zsock) pub = bind_to("tcp://127.0.0.1:*", ZMQ_XPUB, 0);
    char list[128], port[PORT_SIZE];
    snprintf(list, sizeof list, "tcp://127.0.0.1:%1$s tcp://127.0.0.1:%1$s tcp://peers.test:%1$s",
             port_of(pub, port));
    names_set("127.0.0.1");
    AUTO(endpoint_peers) peers = connect_to(loop, list, ZMQ_SUB);
    run_until(loop, has_count, &(count_t){peers, 3});
    zsock_set_subscribe(endpoint_socket(peers), "");
    expect_text(pub, "\001");
    zstr_send(pub, "once");
    zstr_send(pub, "end");
    expect_text(endpoint_socket(peers), "once");
    expect_text(endpoint_socket(peers), "end");
    names_set("127.0.0.9"); /* the address is still listed twice */
    run_until(loop, has_count, &(count_t){peers, 3});
    zstr_send(pub, "still there");
    expect_text(endpoint_socket(peers), "still there");
    names_set(NULL);
}

static void destroying_does_not_wait_for_a_lookup(void **state)
{
    (void)state;
    AUTO(zloop) loop = zloop_new();
    pthread_mutex_lock(&names_mutex); /* the lookup hangs */
    endpoint_peers_t *peers = connect_to(loop, "tcp://peers.test:9", ZMQ_PUSH);
    endpoint_peers_destroy(&peers);
    pthread_mutex_unlock(&names_mutex);
    assert_null(peers);
}

static void a_push_waits_for_a_peer_that_answers(void **state)
{
    (void)state;
    AUTO(zloop) loop = zloop_new();
    AUTO(endpoint_peers) peers = connect_to(loop, "tcp://127.0.0.1:9", ZMQ_PUSH);
    assert_int_equal(zmq_send(zsock_resolve(endpoint_socket(peers)), "x", 1, ZMQ_DONTWAIT), -1);
    assert_int_equal(zmq_errno(), EAGAIN);
}

/* ---- Ask -------------------------------------------------------------------------------- */

static void *answer_one(void *arg)
{
    AUTO(zmsg) msg = zmsg_recv(arg);
    if (msg) {
        zframe_t *question = zmsg_last(msg);
        zmsg_remove(msg, question);
        zframe_destroy(&question);
        zmsg_addstr(msg, "answer");
        zmsg_send(&msg, arg);
    }
    return NULL;
}

static void a_question_gets_its_answer(void **state)
{
    (void)state;
    AUTO(zsock) router = bind_to("tcp://127.0.0.1:*", ZMQ_ROUTER, 0);
    char endpoint[ENDPOINT_SIZE];
    endpoint_of(router, endpoint);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, answer_one, router), 0);
    AUTO_BUF answer = {0};
    buf_add_str(&answer, "old");
    assert_int_equal(endpoint_ask(endpoint, SLICE("question"), DEADLINE_MS, &answer), RESULT_OK);
    pthread_join(thread, NULL);
    assert_string_equal(answer.data, "answer");
}

/* libzmq is never asked to find it: it would do so on the thread that serves every socket. */
static void a_question_to_a_name_goes_to_its_address(void **state)
{
    (void)state;
    AUTO(zsock) router = bind_to("tcp://127.0.0.1:*", ZMQ_ROUTER, 0);
    char endpoint[ENDPOINT_SIZE], port[PORT_SIZE];
    snprintf(endpoint, sizeof endpoint, "tcp://peers.test:%s", port_of(router, port));
    AUTO_BUF answer = {0};
    names_set(NULL);
    int asked = names_count();
    assert_int_equal(endpoint_ask(endpoint, SLICE("?"), DEADLINE_MS, &answer), RESULT_NOT_FOUND);
    assert_int_equal(names_count(), asked + 1);
    names_set("127.0.0.1");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, answer_one, router), 0);
    assert_int_equal(endpoint_ask(endpoint, SLICE("?"), DEADLINE_MS, &answer), RESULT_OK);
    pthread_join(thread, NULL);
    assert_int_equal(names_count(), asked + 2);
    names_set(NULL);
}

static void *read_one_and_go(void *arg)
{
    zsock_t *router = arg;
    AUTO(zmsg) msg = zmsg_recv(router);
    assert_non_null(msg);
    zsock_destroy(&router);
    return NULL;
}

static void a_peer_that_goes_without_an_answer_is_told_at_once(void **state)
{
    (void)state;
    zsock_t *router = bind_to("tcp://127.0.0.1:*", ZMQ_ROUTER, 0);
    char endpoint[ENDPOINT_SIZE];
    endpoint_of(router, endpoint);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_one_and_go, router), 0);
    AUTO_BUF answer = {0};
    int64_t before_ms = clk_mono_ms();
    assert_int_equal(endpoint_ask(endpoint, SLICE("?"), 3 * DEADLINE_MS, &answer), RESULT_ENDED);
    assert_true(clk_mono_ms() - before_ms < DEADLINE_MS);
    pthread_join(thread, NULL);
    assert_int_equal(answer.size, 0);
}

static void *answer_one_and_go(void *arg)
{
    zsock_t *router = arg;
    answer_one(router);
    zsock_destroy(&router);
    return NULL;
}

/* A connection that ends while the asking socket is closed must not stop libzmq's I/O thread. */
static void peers_that_answer_and_go_hold_up_nobody(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        zsock_t *router = bind_to("tcp://127.0.0.1:*", ZMQ_ROUTER, 0);
        char endpoint[ENDPOINT_SIZE];
        endpoint_of(router, endpoint);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, answer_one_and_go, router), 0);
        AUTO_BUF answer = {0};
        result_t r = endpoint_ask(endpoint, SLICE("question"), DEADLINE_MS, &answer);
        assert_true(r == RESULT_OK || r == RESULT_ENDED);
        pthread_join(thread, NULL);
    }
}

static void a_question_to_nobody_times_out(void **state)
{
    (void)state;
    AUTO_BUF answer = {0};
    int64_t before_ms = clk_mono_ms();
    assert_int_equal(endpoint_ask("tcp://127.0.0.1:9", SLICE("?"), 50, &answer), RESULT_TIMEOUT);
    AUTO(zsock) silent = bind_to("tcp://127.0.0.1:*", ZMQ_ROUTER, 0);
    char endpoint[ENDPOINT_SIZE];
    endpoint_of(silent, endpoint);
    assert_int_equal(endpoint_ask(endpoint, SLICE("?"), 50, &answer), RESULT_TIMEOUT);
    assert_true(clk_mono_ms() - before_ms >= 100);
    assert_int_equal(endpoint_ask("nonsense", SLICE("?"), 50, &answer), RESULT_INVALID);
    assert_int_equal(answer.size, 0);
}

int main(void)
{
    zsys_set_max_sockets(8192); /* libzmq ends closed ones later, on a busy machine much later */
    zsys_init();
    zsys_handler_set(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_port_in_use_is_told),
        cmocka_unit_test(only_loopback_is_bound_without_trust),
        cmocka_unit_test(trust_binds_everything),
        cmocka_unit_test(a_name_is_bound_where_it_is_ours),
        cmocka_unit_test(a_name_in_use_is_told),
        cmocka_unit_test(an_endpoint_is_all_that_its_name_stands_for),
        cmocka_unit_test(a_local_socket_is_not_stolen),
        cmocka_unit_test(every_option_is_said),
        cmocka_unit_test(a_message_that_is_too_large_ends_its_connection_only),
        cmocka_unit_test(every_endpoint_of_the_list_is_a_peer),
        cmocka_unit_test(lists_may_be_empty_but_not_wrong),
        cmocka_unit_test(a_name_is_all_of_its_addresses_as_they_change),
        cmocka_unit_test(a_name_that_comes_late_is_found_soon),
        cmocka_unit_test(a_name_that_stays_unknown_is_told_once),
        cmocka_unit_test(a_failed_lookup_changes_nothing),
        cmocka_unit_test(one_address_is_one_peer_however_it_is_named),
        cmocka_unit_test(destroying_does_not_wait_for_a_lookup),
        cmocka_unit_test(a_push_waits_for_a_peer_that_answers),
        cmocka_unit_test(a_question_gets_its_answer),
        cmocka_unit_test(a_question_to_a_name_goes_to_its_address),
        cmocka_unit_test(a_peer_that_goes_without_an_answer_is_told_at_once),
        cmocka_unit_test(peers_that_answer_and_go_hold_up_nobody),
        cmocka_unit_test(a_question_to_nobody_times_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
