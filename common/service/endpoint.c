#include "common/service/endpoint.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/service/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
    RECONNECT_MS = 50,
    RECONNECT_MAX_MS = 2000,
    CONNECT_TIMEOUT_MS = 5000,
    HANDSHAKE_MS = 10000,
    HEARTBEAT_MS = 5000,
    HEARTBEAT_TIMEOUT_MS = 15000,
    BACKLOG = 1024,
    ENDPOINTS_MAX = 256,
};

/* ---- One endpoint's text ---------------------------------------------------------------- */

/* tcp://HOST:PORT; host keeps its brackets. False for other transports and malformed text. */
static bool split_tcp(slice_t endpoint, slice_t *ret_host, slice_t *ret_port)
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

static bool is_numeric(slice_t host)
{
    struct in_addr v4;
    struct in6_addr v6;
    return is_ipv4(host, &v4) || is_ipv6(host, &v6);
}

static bool is_loopback(slice_t host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (is_ipv4(host, &v4))
        return ntohl(v4.s_addr) >> 24 == 127;
    return is_ipv6(host, &v6) && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* ---- Options ---------------------------------------------------------------------------- */

static zsock_t *socket_new(const endpoint_options_t *options)
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
        {ZMQ_SNDHWM,            options->send_hwm ? options->send_hwm : options->hwm    },
        {ZMQ_RCVHWM,            options->hwm                                            },
        {ZMQ_LINGER,            0                                                       },
        {ZMQ_RECONNECT_IVL,     RECONNECT_MS                                            },
        {ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS                                        },
        {ZMQ_CONNECT_TIMEOUT,   CONNECT_TIMEOUT_MS                                      },
        {ZMQ_HANDSHAKE_IVL,     HANDSHAKE_MS                                            },
        {ZMQ_HEARTBEAT_IVL,     HEARTBEAT_MS                                            },
        {ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS                                    },
        {ZMQ_HEARTBEAT_TTL,     HEARTBEAT_TIMEOUT_MS                                    },
        {ZMQ_TCP_KEEPALIVE,     1                                                       },
        {ZMQ_BACKLOG,           BACKLOG                                                 },
        {ZMQ_IPV6,              0                                                       },
        {ZMQ_IMMEDIATE,         options->type == ZMQ_PUSH || options->type == ZMQ_DEALER},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        ENSURE(zmq_setsockopt(handle, settings[i].name, &settings[i].value,
                              sizeof settings[i].value) == 0);
    if (options->monitor)
        ENSURE(zmq_socket_monitor(handle, options->monitor,
                                  ZMQ_EVENT_CONNECTED | ZMQ_EVENT_DISCONNECTED) == 0);
    return socket;
}

/* Only where an IPv6 address is named: a machine may have no IPv6 at all. */
static void set_ipv6_for(zsock_t *socket, slice_t host)
{
    if (host.size > 0 && host.data[0] == '[')
        zsock_set_ipv6(socket, 1);
}

/* ---- Bind ------------------------------------------------------------------------------- */

result_t endpoint_check_bind(const config_t *config, const char *section, const char *key,
                             fault_t *fault)
{
    const char *endpoint = config_text(config, section, key);
    slice_t host, port;
    if (!split_tcp(slice_of(endpoint), &host, &port)) /* local transports */
        return RESULT_OK;
    if (is_loopback(host) || config_int(config, "provisor", "trusted_network"))
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
    strcpy(address.sun_path, path);
    if (*path == '@')
        address.sun_path[0] = 0;
    AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    int connected = fd >= 0 ? connect(fd, (struct sockaddr *)&address, size) : -1;
    return connected == 0 || (fd >= 0 && errno == EAGAIN);
}

static result_t bind_fault(const config_t *config, const char *section, const char *key, int why,
                           fault_t *fault)
{
    const char *endpoint = config_text(config, section, key);
    AUTO_BUF name = {0};
    config_env_name(section, key, &name);
    if (why == EADDRINUSE)
        return fault_set(fault, RESULT_LOCKED,
                         "cannot bind %s (%s.%s): address in use; stop the other process or set %s",
                         endpoint, section, key, name.data);
    return fault_set(fault, RESULT_INVALID, "%s: cannot bind %s: %s; set %s",
                     config_source(config, section, key), endpoint, zmq_strerror(why), name.data);
}

result_t endpoint_bind(const config_t *config, const char *section, const char *key,
                       const endpoint_options_t *options, zsock_t **ret_socket, fault_t *fault)
{
    const char *endpoint = config_text(config, section, key);
    slice_t host = {0}, port;
    result_t r = endpoint_check_bind(config, section, key, fault);
    if (r != RESULT_OK)
        return r;
    if (ipc_in_use(endpoint))
        return bind_fault(config, section, key, EADDRINUSE, fault);
    AUTO(zsock) socket = socket_new(options);
    if (split_tcp(slice_of(endpoint), &host, &port))
        set_ipv6_for(socket, host);
    if (zmq_bind(zsock_resolve(socket), endpoint) != 0)
        return bind_fault(config, section, key, zmq_errno(), fault);
    *ret_socket = TAKE(socket);
    return RESULT_OK;
}

/* ---- Connect ---------------------------------------------------------------------------- */

/* One word of the list. */
typedef struct {
    char *name;       /* the host name; NULL: an address, connected for good */
    char *port;       /* with a name */
    char **endpoints; /* what it stands for now */
    size_t n_endpoints;
} peer_t;

struct endpoint_peers_t {
    zsock_t *socket;
    peer_t *peers;
    size_t n_peers;
    resolver_t *resolver; /* NULL: no names */
    size_t *named;        /* index in peers of each name that the resolver knows */
};

/* How many peers stand for this endpoint: two names may mean the same address. */
static size_t uses(const endpoint_peers_t *peers, const char *endpoint)
{
    size_t n = 0;
    for (size_t i = 0; i < peers->n_peers; i++)
        for (size_t j = 0; j < peers->peers[i].n_endpoints; j++)
            n += strcmp(peers->peers[i].endpoints[j], endpoint) == 0;
    return n;
}

static result_t add_endpoint(endpoint_peers_t *peers, peer_t *peer, const char *endpoint)
{
    slice_t host = {0}, port;
    if (split_tcp(slice_of(endpoint), &host, &port))
        set_ipv6_for(peers->socket, host);
    if (uses(peers, endpoint) == 0 && zmq_connect(zsock_resolve(peers->socket), endpoint) != 0)
        return RESULT_INVALID;
    peer->endpoints =
        mem_realloc(peer->endpoints, (peer->n_endpoints + 1) * sizeof *peer->endpoints);
    peer->endpoints[peer->n_endpoints++] = mem_strdup(endpoint);
    return RESULT_OK;
}

static void remove_endpoint(endpoint_peers_t *peers, peer_t *peer, size_t i)
{
    AUTO_FREE char *endpoint = peer->endpoints[i];
    peer->endpoints[i] = peer->endpoints[--peer->n_endpoints];
    if (uses(peers, endpoint) == 0)
        (void)zmq_disconnect(zsock_resolve(peers->socket), endpoint);
}

static bool contains(char *const *list, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], text) == 0)
            return true;
    return false;
}

/* resolver_fn: connects what is new first, so that a peer that only moved is never missing. */
static void on_resolved(void *owner, size_t name, char *const *addresses, size_t n_addresses)
{
    endpoint_peers_t *peers = owner;
    peer_t *peer = &peers->peers[peers->named[name]];
    char *wanted[RESOLVER_ADDRESSES_MAX];
    for (size_t i = 0; i < n_addresses; i++) {
        AUTO_BUF text = {0};
        buf_printf(&text, "tcp://%s:%s", addresses[i], peer->port);
        wanted[i] = buf_take(&text);
        if (!contains(peer->endpoints, peer->n_endpoints, wanted[i]))
            (void)add_endpoint(peers, peer, wanted[i]); /* tried again when it changes */
    }
    for (size_t i = peer->n_endpoints; i-- > 0;)
        if (!contains(wanted, n_addresses, peer->endpoints[i]))
            remove_endpoint(peers, peer, i);
    for (size_t i = 0; i < n_addresses; i++)
        free(wanted[i]);
}

static result_t add_peer(endpoint_peers_t *peers, slice_t word, fault_t *fault)
{
    peer_t *peer = &peers->peers[peers->n_peers++];
    slice_t host, port;
    if (split_tcp(word, &host, &port) && !is_numeric(host)) {
        peer->name = mem_strndup(host.data, host.size);
        peer->port = mem_strndup(port.data, port.size);
        return RESULT_OK;
    }
    AUTO_FREE char *endpoint = mem_strndup(word.data, word.size);
    if (add_endpoint(peers, peer, endpoint) == RESULT_OK)
        return RESULT_OK;
    return fault_set(fault, RESULT_INVALID, "cannot connect to \"%s\": %s", endpoint,
                     zmq_strerror(zmq_errno()));
}

static result_t add_list(endpoint_peers_t *peers, const char *list, fault_t *fault)
{
    result_t r = RESULT_OK;
    for (const char *at = list + strspn(list, " "); *at && r == RESULT_OK; at += strspn(at, " ")) {
        slice_t word = {at, strcspn(at, " ")};
        if (peers->n_peers == ENDPOINTS_MAX)
            return fault_set(fault, RESULT_INVALID, "more than %d endpoints", ENDPOINTS_MAX);
        r = add_peer(peers, word, fault);
        at += word.size;
    }
    return r;
}

static void start_resolver(endpoint_peers_t *peers, zloop_t *loop)
{
    char *names[ENDPOINTS_MAX];
    size_t n_names = 0;
    for (size_t i = 0; i < peers->n_peers; i++)
        if (peers->peers[i].name) {
            names[n_names] = peers->peers[i].name;
            peers->named[n_names++] = i;
        }
    if (n_names > 0)
        peers->resolver = resolver_new(loop, names, n_names, on_resolved, peers);
}

result_t endpoint_connect(zloop_t *loop, const char *list, const endpoint_options_t *options,
                          endpoint_peers_t **ret_peers, fault_t *fault)
{
    AUTO(endpoint_peers) peers = MEM_NEW(endpoint_peers_t);
    peers->socket = socket_new(options);
    peers->peers = mem_alloc(ENDPOINTS_MAX * sizeof *peers->peers);
    peers->named = mem_alloc(ENDPOINTS_MAX * sizeof *peers->named);
    result_t r = add_list(peers, list, fault);
    if (r != RESULT_OK)
        return r;
    start_resolver(peers, loop);
    *ret_peers = TAKE(peers);
    return RESULT_OK;
}

zsock_t *endpoint_socket(endpoint_peers_t *peers)
{
    return peers->socket;
}

size_t endpoint_count(const endpoint_peers_t *peers)
{
    size_t n = 0;
    for (size_t i = 0; i < peers->n_peers; i++)
        n += peers->peers[i].n_endpoints;
    return n;
}

void endpoint_peers_destroy(endpoint_peers_t **peers_p)
{
    endpoint_peers_t *peers = *peers_p;
    if (!peers)
        return;
    resolver_destroy(&peers->resolver);
    for (size_t i = 0; i < peers->n_peers; i++) {
        peer_t *peer = &peers->peers[i];
        for (size_t j = 0; j < peer->n_endpoints; j++)
            free(peer->endpoints[j]);
        free(peer->endpoints);
        free(peer->name);
        free(peer->port);
    }
    free(peers->peers);
    free(peers->named);
    zsock_destroy(&peers->socket);
    free(peers);
    *peers_p = NULL;
}

/* ---- Ask -------------------------------------------------------------------------------- */

result_t endpoint_ask(const char *endpoint, slice_t question, int64_t timeout_ms, buf_t *ret_answer)
{
    AUTO(zsock) socket = socket_new(&(endpoint_options_t){.type = ZMQ_DEALER, .hwm = 10});
    void *handle = zsock_resolve(socket);
    int64_t until_ms = clk_mono_ms() + timeout_ms;
    zsock_set_sndtimeo(socket, (int)timeout_ms);
    if (zmq_connect(handle, endpoint) != 0)
        return RESULT_INVALID;
    if (zmq_send(handle, question.data, question.size, 0) < 0)
        return RESULT_TIMEOUT;
    int64_t left_ms = until_ms - clk_mono_ms();
    zsock_set_rcvtimeo(socket, (int)(left_ms > 0 ? left_ms : 0));
    AUTO(zframe) frame = zframe_recv(socket);
    if (!frame)
        return RESULT_TIMEOUT;
    buf_clear(ret_answer);
    buf_add(ret_answer, zframe_data(frame), zframe_size(frame));
    return RESULT_OK;
}
