#include "common/service/endpoint_socket.h"

#include <arpa/inet.h>

enum {
    RECONNECT_MS = 50,
    RECONNECT_MAX_MS = 2000,
    CONNECT_TIMEOUT_MS = 5000,
    HANDSHAKE_MS = 10000,
    KEEPALIVE_IDLE_S = 10, /* a peer that vanished is given up after 25 s */
    KEEPALIVE_INTERVAL_S = 5,
    KEEPALIVE_COUNT = 3,
    BACKLOG = 1024,
};

bool endpoint_split_tcp(slice_t endpoint, slice_t *ret_host, slice_t *ret_port)
{
    if (endpoint.size < 7 || memcmp(endpoint.data, "tcp://", 6) != 0)
        return false;
    const char *host = endpoint.data + 6, *end = endpoint.data + endpoint.size;
    const char *colon = memrchr(host, ':', (size_t)(end - host));
    if (!colon || colon == host)
        return false;
    *ret_host = (slice_t){host, (size_t)(colon - host)};
    *ret_port = (slice_t){colon + 1, (size_t)(end - colon - 1)};
    return true;
}

static bool is_ipv6(slice_t host, struct in6_addr *ret_address)
{
    char text[INET6_ADDRSTRLEN];
    if (host.size < 3 || host.size - 2 >= sizeof text || host.data[0] != '[' ||
        host.data[host.size - 1] != ']')
        return false;
    snprintf(text, sizeof text, "%.*s", (int)host.size - 2, host.data + 1);
    return inet_pton(AF_INET6, text, ret_address) == 1;
}

static bool is_ipv4(slice_t host, struct in_addr *ret_address)
{
    char text[INET_ADDRSTRLEN];
    if (host.size >= sizeof text)
        return false;
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(host));
    return inet_pton(AF_INET, text, ret_address) == 1;
}

bool endpoint_is_numeric(slice_t host)
{
    struct in_addr v4;
    struct in6_addr v6;
    return is_ipv4(host, &v4) || is_ipv6(host, &v6);
}

bool endpoint_is_loopback(slice_t host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (is_ipv4(host, &v4))
        return ntohl(v4.s_addr) >> 24 == 127;
    return is_ipv6(host, &v6) && IN6_IS_ADDR_LOOPBACK(&v6);
}

zsock_t *endpoint_socket_new(const endpoint_options_t *options)
{
    zsock_t *socket = zsock_new(options->type);
    if (!socket)
        PANIC("cannot make a socket: %s", zmq_strerror(zmq_errno()));
    void *handle = zsock_resolve(socket);
    int64_t max_msg = options->max_msg_bytes > 0 ? options->max_msg_bytes : -1;
    ENSURE(zmq_setsockopt(handle, ZMQ_MAXMSGSIZE, &max_msg, sizeof max_msg) == 0);
    const struct {
        int name, value;
    } settings[] = {
        {ZMQ_SNDHWM, options->send_hwm ? options->send_hwm : options->hwm},
        {ZMQ_RCVHWM, options->hwm},
        {ZMQ_LINGER, 0},
        {ZMQ_RECONNECT_IVL, RECONNECT_MS},
        {ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS},
        {ZMQ_CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS},
        {ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS},
        {ZMQ_HEARTBEAT_IVL, 0}, /* docs/adr/0007-heartbeats.md */
        {ZMQ_TCP_KEEPALIVE, 1},
        {ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE_S},
        {ZMQ_TCP_KEEPALIVE_INTVL, KEEPALIVE_INTERVAL_S},
        {ZMQ_TCP_KEEPALIVE_CNT, KEEPALIVE_COUNT},
        {ZMQ_TCP_MAXRT, 0}, /* it counts a zero window: back-pressure would cut the peer */
        {ZMQ_BACKLOG, BACKLOG},
        {ZMQ_IPV6, 0},
        {ZMQ_IMMEDIATE, options->type == ZMQ_PUSH || options->type == ZMQ_DEALER},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        ENSURE(zmq_setsockopt(handle, settings[i].name, &settings[i].value,
                              sizeof settings[i].value) == 0);
    if (options->monitor)
        ENSURE(zmq_socket_monitor(handle, options->monitor,
                                  ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                                      ZMQ_EVENT_DISCONNECTED) == 0);
    return socket;
}

static void set_ipv6_for(zsock_t *socket, const char *endpoint)
{
    slice_t host, port;
    if (endpoint_split_tcp(slice_of(endpoint), &host, &port) && host.data[0] == '[')
        zsock_set_ipv6(socket, 1);
}

int endpoint_socket_bind(zsock_t *socket, const char *endpoint)
{
    set_ipv6_for(socket, endpoint);
    return zmq_bind(zsock_resolve(socket), endpoint) == 0 ? 0 : zmq_errno();
}

int endpoint_socket_connect(zsock_t *socket, const char *endpoint)
{
    set_ipv6_for(socket, endpoint);
    return zmq_connect(zsock_resolve(socket), endpoint) == 0 ? 0 : zmq_errno();
}
