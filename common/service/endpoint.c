#include "common/service/endpoint.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/service/endpoint_socket.h"
#include "common/service/resolver.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

result_t endpoint_check_bind(const config_t *config, const char *section, const char *key,
                             fault_t *fault)
{
    const char *endpoint = config_text(config, section, key);
    slice_t host, port;
    if (!endpoint_split_tcp(slice_of(endpoint), &host, &port)) /* local transports */
        return RESULT_OK;
    if (endpoint_is_loopback(host) || config_int(config, "provisor", "trusted_network"))
        return RESULT_OK;
    return fault_set(fault, RESULT_INVALID,
                     "%s: %s is not a loopback address; bind 127.0.0.1, or set "
                     "provisor.trusted_network = 1 on a private network",
                     config_source(config, section, key), endpoint);
}

/* libzmq takes an ipc path away from whoever has it; ask first whether somebody listens. */
static bool ipc_in_use(const char *endpoint)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = endpoint + strlen("ipc://");
    if (strncmp(endpoint, "ipc://", 6) != 0 || *path == '*' ||
        strlen(path) >= sizeof address.sun_path)
        return false;
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (*path == '@')
        address.sun_path[0] = 0;
    AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    int connected = fd >= 0 ? connect(fd, (struct sockaddr *)&address, size) : -1;
    return connected == 0 || (fd >= 0 && errno == EAGAIN);
}

static bool split_name(const char *endpoint, slice_t *ret_name, slice_t *ret_port)
{
    return endpoint_split_tcp(slice_of(endpoint), ret_name, ret_port) &&
           !endpoint_is_numeric(*ret_name) && !slice_is(*ret_name, "*");
}

bool endpoint_has_name(const char *endpoint)
{
    slice_t name, port;
    return split_name(endpoint, &name, &port);
}

bool endpoint_resolve(const char *endpoint, buf_t *ret_list)
{
    slice_t host, port;
    buf_clear(ret_list);
    bool named = split_name(endpoint, &host, &port);
    if (named) {
        AUTO_FREE char *name = mem_strndup(host.data, host.size);
        AUTO_FREE char *service = mem_strndup(port.data, port.size);
        if (resolver_add_endpoints(name, service, ret_list))
            return true;
    }
    buf_add_str(ret_list, endpoint);
    return !named;
}

bool endpoint_next(const char **list, buf_t *ret_one)
{
    const char *at = *list + strspn(*list, " ");
    size_t size = strcspn(at, " ");
    buf_clear(ret_one);
    buf_add(ret_one, at, size);
    *list = at + size;
    return size > 0;
}

/* libzmq binds addresses and names of interfaces (ENODEV: neither). A host's name may stand for
 * several machines: what counts is the address that is ours. 0 or errno. */
static int bind_socket(zsock_t *socket, const char *endpoint)
{
    int why = endpoint_socket_bind(socket, endpoint);
    if (why != ENODEV)
        return why;
    AUTO_BUF list = {0}, one = {0};
    (void)endpoint_resolve(endpoint, &list);
    for (const char *at = list.data; why != 0 && endpoint_next(&at, &one);) {
        int one_why = endpoint_socket_bind(socket, one.data);
        if (one_why != EADDRNOTAVAIL)
            why = one_why;
    }
    return why;
}

static result_t bind_fault(const config_t *config, const char *section, const char *key, int why,
                           fault_t *fault)
{
    const char *endpoint = config_text(config, section, key);
    const char *reason = why == ENODEV ? "this machine has no such address" : zmq_strerror(why);
    AUTO_BUF name = {0};
    config_env_name(section, key, &name);
    if (why == EADDRINUSE)
        return fault_set(fault, RESULT_LOCKED,
                         "cannot bind %s (%s.%s): address in use; stop the other process or set %s",
                         endpoint, section, key, name.data);
    return fault_set(fault, RESULT_INVALID, "%s: cannot bind %s: %s; set %s",
                     config_source(config, section, key), endpoint, reason, name.data);
}

result_t endpoint_bind(const config_t *config, const char *section, const char *key,
                       const endpoint_options_t *options, zsock_t **ret_socket, fault_t *fault)
{
    const char *endpoint = config_text(config, section, key);
    result_t r = endpoint_check_bind(config, section, key, fault);
    if (r != RESULT_OK)
        return r;
    if (ipc_in_use(endpoint))
        return bind_fault(config, section, key, EADDRINUSE, fault);
    AUTO(zsock) socket = endpoint_socket_new(options);
    int why = bind_socket(socket, endpoint);
    if (why != 0)
        return bind_fault(config, section, key, why, fault);
    *ret_socket = TAKE(socket);
    return RESULT_OK;
}

/* A monitor is ended while somebody still reads it: libzmq's I/O thread would wait for ever to tell
 * one that nobody reads of the connections that end now. */
void endpoint_close(zsock_t **socket)
{
    if (*socket)
        zmq_socket_monitor(zsock_resolve(*socket), NULL, 0);
    zsock_destroy(socket);
}

enum {
    CONNECT_MS = 2000, /* to be connected: the socket sends to nobody else (IMMEDIATE) */
    LAST_MS = 200,     /* for an answer that came just before its connection ended */
};

/* Reads what the monitor tells; true: the peer was connected and is not any more. */
static bool has_gone(zsock_t *monitor, bool *connected)
{
    while (zsock_events(monitor) & ZMQ_POLLIN) {
        AUTO(zmsg) msg = zmsg_recv(monitor);
        zframe_t *head = msg ? zmsg_first(msg) : NULL;
        uint16_t event = 0;
        if (!head || zframe_size(head) < sizeof event)
            return false;
        memcpy(&event, zframe_data(head), sizeof event);
        if (event == ZMQ_EVENT_DISCONNECTED && *connected)
            return true;
        *connected |= event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
    }
    return false;
}

static result_t wait_for_answer(zsock_t *socket, zsock_t *monitor, int64_t until_ms)
{
    zmq_pollitem_t items[] = {
        {zsock_resolve(socket), 0, ZMQ_POLLIN, 0},
        {zsock_resolve(monitor), 0, ZMQ_POLLIN, 0},
    };
    for (bool connected = false;;) {
        int64_t left_ms = until_ms - clk_mono_ms();
        if (zmq_poll(items, 2, left_ms > 0 ? left_ms : 0) <= 0)
            return RESULT_TIMEOUT;
        if (items[0].revents)
            return RESULT_OK;
        if (has_gone(monitor, &connected))
            return zmq_poll(items, 1, LAST_MS) > 0 ? RESULT_OK : RESULT_ENDED;
    }
}

static result_t ask_on(zsock_t *socket, zsock_t *monitor, const char *endpoint, slice_t question,
                       int64_t timeout_ms, buf_t *ret_answer)
{
    int64_t until_ms = clk_mono_ms() + timeout_ms;
    zsock_set_sndtimeo(socket, (int)(timeout_ms < CONNECT_MS ? timeout_ms : CONNECT_MS));
    if (endpoint_socket_connect(socket, endpoint) != 0)
        return RESULT_INVALID;
    if (zmq_send(zsock_resolve(socket), question.data, question.size, 0) < 0)
        return RESULT_TIMEOUT;
    result_t r = wait_for_answer(socket, monitor, until_ms);
    if (r != RESULT_OK)
        return r;
    AUTO(zframe) frame = zframe_recv_nowait(socket);
    if (!frame)
        return RESULT_TIMEOUT;
    buf_clear(ret_answer);
    buf_add(ret_answer, zframe_data(frame), zframe_size(frame));
    return RESULT_OK;
}

/* libzmq never sees a name: it looks names up on its only I/O thread, where one that is not known
 * would hold up every later question, too. */
result_t endpoint_ask(const char *endpoint, slice_t question, int64_t timeout_ms, buf_t *ret_answer)
{
    AUTO_BUF list = {0}, address = {0};
    if (!endpoint_resolve(endpoint, &list))
        return RESULT_NOT_FOUND;
    const char *at = list.data;
    (void)endpoint_next(&at, &address);
    char name[64]; /* never used again: libzmq gives it back some time after the socket is closed */
    snprintf(name, sizeof name, "inproc://ask-%p-%lld", (void *)ret_answer,
             (long long)clk_mono_us());
    AUTO(zsock) monitor = zsock_new(ZMQ_PAIR);
    endpoint_options_t options = {.type = ZMQ_DEALER, .hwm = 10, .monitor = name};
    zsock_t *socket = endpoint_socket_new(&options);
    ENSURE(monitor && zmq_connect(zsock_resolve(monitor), name) == 0);
    result_t r = ask_on(socket, monitor, address.data, question, timeout_ms, ret_answer);
    endpoint_close(&socket);
    return r;
}
