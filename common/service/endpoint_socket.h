/* endpoint_socket: what binding and connecting share. Internal to endpoint. */
#ifndef PROVISOR_ENDPOINT_SOCKET_H
#define PROVISOR_ENDPOINT_SOCKET_H

#include "common/service/endpoint.h"

/* tcp://HOST:PORT; host keeps its brackets. False for other transports and malformed text. */
bool endpoint_split_tcp(slice_t endpoint, slice_t *ret_host, slice_t *ret_port);
/* An address, not a name. */
bool endpoint_is_numeric(slice_t host);
bool endpoint_is_loopback(slice_t host);

/* A socket with every option of endpoint.h said. */
zsock_t *endpoint_socket_new(const endpoint_options_t *options);
/* zmq_bind, zmq_connect; IPv6 only where an IPv6 address is named, since a machine may have none. 0
 * or errno. */
int endpoint_socket_bind(zsock_t *socket, const char *endpoint);
int endpoint_socket_connect(zsock_t *socket, const char *endpoint);

#endif
