#include "common/service/peers.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "common/base/result.h"

enum { BURST = 64 };

struct peers_t {
    zloop_t *loop;
    zsock_t *events; /* the monitor's other end */
    peers_fn *changed;
    void *owner;
    char **endpoints; /* that are connected; of a socket that connects */
    int n;
    int accepted; /* connections that are open; of a socket that is bound */
    int shaken;   /* of them, at most: whose handshake is done */
};

static int find(const peers_t *peers, const char *endpoint)
{
    for (int i = 0; i < peers->n; i++)
        if (strcmp(peers->endpoints[i], endpoint) == 0)
            return i;
    return -1;
}

static void add(peers_t *peers, const char *endpoint)
{
    if (find(peers, endpoint) >= 0)
        return;
    peers->endpoints =
        mem_realloc(peers->endpoints, (size_t)(peers->n + 1) * sizeof *peers->endpoints);
    peers->endpoints[peers->n++] = mem_strdup(endpoint);
    if (peers->changed)
        peers->changed(peers->owner, peers, endpoint, true);
}

/* Also told of a connection whose handshake never came to an end. */
static void remove_endpoint(peers_t *peers, const char *endpoint)
{
    int i = find(peers, endpoint);
    if (i < 0)
        return;
    free(peers->endpoints[i]);
    peers->endpoints[i] = peers->endpoints[--peers->n];
    if (peers->changed)
        peers->changed(peers->owner, peers, endpoint, false);
}

/* Nothing tells which connection of a bound socket had its handshake: events name its own endpoint.
 */
static void count(peers_t *peers, uint16_t event)
{
    if (event == ZMQ_EVENT_ACCEPTED)
        peers->accepted++;
    else if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
        peers->shaken++;
    else if (event == ZMQ_EVENT_DISCONNECTED)
        peers->accepted--;
    if (peers->shaken > peers->accepted)
        peers->shaken = peers->accepted;
}

/* Two frames: event (16 bits) and value (32 bits); the endpoint. */
static void take_event(peers_t *peers, zmsg_t *msg)
{
    uint16_t event;
    zframe_t *head = zmsg_pop(msg);
    AUTO_FREE char *endpoint = zmsg_popstr(msg);
    if (head && endpoint && zframe_size(head) >= sizeof event) {
        memcpy(&event, zframe_data(head), sizeof event);
        if (event == ZMQ_EVENT_ACCEPTED || peers->accepted > 0) /* it is bound */
            count(peers, event);
        else if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            add(peers, endpoint);
        else if (event == ZMQ_EVENT_DISCONNECTED)
            remove_endpoint(peers, endpoint);
    }
    zframe_destroy(&head);
}

/* False: there is no event. */
static bool read_event(peers_t *peers)
{
    if (!(zsock_events(peers->events) & ZMQ_POLLIN))
        return false;
    AUTO(zmsg) msg = zmsg_recv(peers->events);
    if (msg)
        take_event(peers, msg);
    return msg != NULL;
}

static int on_event(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    (void)socket;
    for (int i = 0; i < BURST && read_event(arg); i++)
        ;
    return 0;
}

peers_t *peers_new(zloop_t *loop, const char *monitor, peers_fn *changed, void *owner)
{
    peers_t *peers = MEM_NEW(peers_t);
    *peers = (peers_t){.loop = loop, .changed = changed, .owner = owner};
    peers->events = zsock_new(ZMQ_PAIR);
    ENSURE(peers->events && zmq_connect(zsock_resolve(peers->events), monitor) == 0);
    zloop_reader(loop, peers->events, on_event, peers);
    return peers;
}

void peers_destroy(peers_t **peers_p)
{
    peers_t *peers = *peers_p;
    if (!peers)
        return;
    zloop_reader_end(peers->loop, peers->events);
    zsock_destroy(&peers->events);
    for (int i = 0; i < peers->n; i++)
        free(peers->endpoints[i]);
    free(peers->endpoints);
    free(peers);
    *peers_p = NULL;
}

/* An event that waits may say that it is connected. */
void peers_forget(peers_t *peers, const char *endpoint)
{
    while (read_event(peers))
        ;
    remove_endpoint(peers, endpoint);
}

int peers_connected(const peers_t *peers)
{
    return peers->n + peers->shaken;
}
