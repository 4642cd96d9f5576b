/* subscriptions: what the subscribers of an XPUB socket want, by prefix of the topic. Pure.
 * Bounded: beyond SUBSCRIPTIONS_MAX different prefixes everything counts as wanted. */
#ifndef PROVISOR_SUBSCRIPTIONS_H
#define PROVISOR_SUBSCRIPTIONS_H

#include <stdbool.h>

#include "common/base/buf.h"

enum { SUBSCRIPTIONS_MAX = 256 };

typedef struct subscriptions_t subscriptions_t;

subscriptions_t *subscriptions_new(void);
void subscriptions_destroy(subscriptions_t **subscriptions);
/* A message of an XPUB socket with ZMQ_XPUB_VERBOSER: 1 or 0 and the prefix; others are ignored. */
void subscriptions_take(subscriptions_t *subscriptions, slice_t message);
bool subscriptions_want(const subscriptions_t *subscriptions, slice_t topic);
/* Of all peers together. */
int64_t subscriptions_count(const subscriptions_t *subscriptions);

#endif
