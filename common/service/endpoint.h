/* endpoint: sockets with every option said explicitly, and peers found by name.
 *
 * Every socket gets HWM, MAXMSGSIZE, LINGER 0, reconnect interval (50 ms .. 2 s) and TCP
 * keep-alive (a peer that vanished is given up after 25 s); never ZMTP heartbeats, since a socket
 * that stops reading must neither cut its peers nor abort (docs/adr/0007-heartbeats.md). A socket
 * that sends also IMMEDIATE where losing a queued message to a dead peer would cost a time-out
 * (PUSH, DEALER). Non-blocking use: callers pass ZMQ_DONTWAIT. A host name that resolves to several
 * addresses is several peers; names are resolved on a thread of its own at the start and every 5 s.
 */
#ifndef PROVISOR_ENDPOINT_H
#define PROVISOR_ENDPOINT_H

#include <czmq.h>

#include "common/base/log.h"
#include "common/service/config.h"
#include "common/service/peers.h"

typedef struct {
    int type;              /* ZMQ_PULL, ... */
    int hwm;               /* messages, both directions; ROUTER and PUB per peer */
    int64_t max_msg_bytes; /* 0: not limited (trusted inner sockets still set one) */
    int64_t resolve_ms;    /* how often names are looked up; 0: every 5 s */
    int send_hwm;          /* where answers are small and requests are not; 0: hwm */
    const char *monitor;   /* "inproc://...": where peers.h hears of connections, from before the
                              first one; NULL: nobody asks */
    peers_t *peers;        /* who listens at monitor, when the socket connects to names: told of
                              addresses that are given up; outlives the socket */
    const log_t *log;      /* is told of names that are not known; NULL: nobody */
} endpoint_options_t;

/* Binds. A host name stands for the one of its addresses that this machine has, as it is at the
 * start. RESULT_LOCKED: the port is in use; RESULT_INVALID: malformed, or not loopback while
 * trusted_network is 0. The fault names the key and the way out. */
result_t endpoint_bind(const config_t *config, const char *section, const char *key,
                       const endpoint_options_t *options, zsock_t **ret_socket,
                       fault_t *fault) MUST_CHECK;

/* The part of endpoint_bind that needs no socket: for --check. */
result_t endpoint_check_bind(const config_t *config, const char *section, const char *key,
                             fault_t *fault) MUST_CHECK;

/* Closes a socket that endpoint_bind or endpoint_connect made; its monitor's other end, if any,
 * goes afterwards. */
void endpoint_close(zsock_t **socket);

typedef struct endpoint_peers_t endpoint_peers_t;

/* Connects a socket to every endpoint of the (space separated) list and keeps it connected to what
 * their names resolve to: new addresses are connected, vanished ones disconnected. The socket is
 * ret_socket, owned by the peers object. */
result_t endpoint_connect(zloop_t *loop, const char *list, const endpoint_options_t *options,
                          endpoint_peers_t **ret_peers, fault_t *fault) MUST_CHECK;
zsock_t *endpoint_socket(endpoint_peers_t *peers);
/* How many addresses it is told to be connected to (not: how many answer). */
size_t endpoint_count(const endpoint_peers_t *peers);
void endpoint_peers_destroy(endpoint_peers_t **peers);

/* What an endpoint means at this moment: itself, or, where it names a host, one endpoint for each
 * of the host's addresses, space separated. Waits for the look-up; itself and false when that
 * fails. */
bool endpoint_resolve(const char *endpoint, buf_t *ret_list);
/* Whether it names a host. */
bool endpoint_has_name(const char *endpoint);

/* The next endpoint of a space separated list: false at its end. *list moves on behind it. */
bool endpoint_next(const char **list, buf_t *ret_one);

/* One process, one question: connects, sends one frame, waits for one frame. For the command line.
 * RESULT_TIMEOUT when nothing answered in timeout_ms, or nobody took the question in 2 s: a peer
 * may think for long, but it connects at once or is not there. RESULT_ENDED: it took the question
 * and its connection ended; whether it did what was asked is not known. RESULT_NOT_FOUND: it names
 * a host that is not known; the time of the look-up comes on top. */
result_t endpoint_ask(const char *endpoint, slice_t question, int64_t timeout_ms,
                      buf_t *ret_answer) MUST_CHECK;

#endif
