/* resolver: looks host names up on a thread of its own, at the start and from time to time.
 *
 * At the start, a name that is not known yet is tried again soon, with back-off up to the interval:
 * where peers start together, the first one to look finds no other. getaddrinfo() may take many
 * seconds and cannot be stopped, so the thread is detached and shares only a small counted state
 * with the loop: resolver_destroy() never waits for it. */
#ifndef PROVISOR_RESOLVER_H
#define PROVISOR_RESOLVER_H

#include <czmq.h>

#include "common/base/buf.h"

enum { RESOLVER_ADDRESSES_MAX = 64 };

typedef struct resolver_t resolver_t;

/* On the loop's thread: the numeric addresses ("10.0.0.3", "[fd00::3]") of the name with this
 * index, when they have changed. Never called for a lookup that failed: what was known stays. */
typedef void resolver_fn(void *owner, size_t name, char *const *addresses, size_t n_addresses);

/* On the loop's thread: the name with this index has no address yet, and is not looked up sooner
 * than once an interval any more. Once per name. */
typedef void resolver_unknown_fn(void *owner, size_t name);

/* One family per name: IPv4 if it has such addresses, so that a peer is not met twice. */
resolver_t *resolver_new(zloop_t *loop, char *const *names, size_t n_names, int64_t interval_ms,
                         resolver_fn *on_change, resolver_unknown_fn *on_unknown, void *owner);
void resolver_destroy(resolver_t **resolver);

/* Looks one name up here and now, however long that takes: adds "tcp://ADDRESS:PORT " for each
 * address. False when it has none. */
bool resolver_add_endpoints(const char *name, const char *port, buf_t *ret_list);

#endif
