#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "common/service/endpoint_socket.h"
#include "common/service/resolver.h"

enum { ENDPOINTS_MAX = 256, RESOLVE_MS = 5000 };

/* One word of the list. */
typedef struct {
    char *name;       /* the host name; NULL: an address, connected for good */
    char *port;       /* with a name */
    char **endpoints; /* what it stands for now */
    size_t n_endpoints;
} peer_t;

struct endpoint_peers_t {
    zsock_t *socket;
    peers_t *connected; /* endpoint_options_t.peers */
    const log_t *log;   /* endpoint_options_t.log */
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
    if (uses(peers, endpoint) == 0 && endpoint_socket_connect(peers->socket, endpoint) != 0)
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
    if (uses(peers, endpoint) > 0)
        return;
    (void)zmq_disconnect(zsock_resolve(peers->socket), endpoint);
    if (peers->connected)
        peers_forget(peers->connected, endpoint);
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

/* resolver_unknown_fn */
static void on_unknown(void *owner, size_t name)
{
    const endpoint_peers_t *peers = owner;
    if (peers->log)
        log_line(peers->log, LEVEL_WARN,
                 "event=name_unknown name=%s next=\"looked up again every few seconds\"",
                 peers->peers[peers->named[name]].name);
}

static result_t add_peer(endpoint_peers_t *peers, slice_t word, fault_t *fault)
{
    peer_t *peer = &peers->peers[peers->n_peers++];
    slice_t host, port;
    if (endpoint_split_tcp(word, &host, &port) && !endpoint_is_numeric(host)) {
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

static void start_resolver(endpoint_peers_t *peers, zloop_t *loop, int64_t interval_ms)
{
    char *names[ENDPOINTS_MAX];
    size_t n_names = 0;
    for (size_t i = 0; i < peers->n_peers; i++)
        if (peers->peers[i].name) {
            names[n_names] = peers->peers[i].name;
            peers->named[n_names++] = i;
        }
    if (n_names > 0)
        peers->resolver =
            resolver_new(loop, names, n_names, interval_ms, on_resolved, on_unknown, peers);
}

result_t endpoint_connect(zloop_t *loop, const char *list, const endpoint_options_t *options,
                          endpoint_peers_t **ret_peers, fault_t *fault)
{
    AUTO(endpoint_peers) peers = MEM_NEW(endpoint_peers_t);
    peers->socket = endpoint_socket_new(options);
    peers->connected = options->peers;
    peers->log = options->log;
    peers->peers = mem_alloc(ENDPOINTS_MAX * sizeof *peers->peers);
    peers->named = mem_alloc(ENDPOINTS_MAX * sizeof *peers->named);
    result_t r = add_list(peers, list, fault);
    if (r != RESULT_OK)
        return r;
    start_resolver(peers, loop, options->resolve_ms ? options->resolve_ms : RESOLVE_MS);
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
    endpoint_close(&peers->socket);
    free(peers);
    *peers_p = NULL;
}
