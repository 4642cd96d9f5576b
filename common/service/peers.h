/* peers: who a socket is connected to, by the events of its monitor. A peer counts when its
 * handshake is done: then subscriptions are on their way, and what it sends can be heard. A socket
 * that connects knows its peers by their endpoints; one that is bound only counts them, and may
 * count one that has gone for as long as something that does not speak ZMTP holds a connection
 * open. */
#ifndef PROVISOR_PEERS_H
#define PROVISOR_PEERS_H

#include <czmq.h>

typedef struct peers_t peers_t;

/* On the loop: this endpoint was connected, or is not any more. Not for a socket that is bound. */
typedef void peers_fn(void *owner, const peers_t *peers, const char *endpoint, bool connected);

/* monitor is what the socket gets as endpoint_options_t.monitor, afterwards: so no event is missed.
 * changed may be NULL. */
peers_t *peers_new(zloop_t *loop, const char *monitor, peers_fn *changed, void *owner);
/* After the monitored socket. */
void peers_destroy(peers_t **peers);
/* The socket was told to disconnect from this endpoint: libzmq says nothing of connections that end
 * from this side. */
void peers_forget(peers_t *peers, const char *endpoint);
/* How many there are. */
int peers_connected(const peers_t *peers);

#endif
