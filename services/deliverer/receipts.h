/* receipts: which events are in custody, told to their emitters. Collects, then one message per
 * emitter and partition: [emitter's node][receipt][receipted...]. */
#ifndef PROVISOR_RECEIPTS_H
#define PROVISOR_RECEIPTS_H

#include <czmq.h>

#include "common/wire/messages.h"

typedef struct receipts_t receipts_t;

/* node: the deliverer's; socket: PUB, borrowed. */
receipts_t *receipts_new(const char *node, zsock_t *socket);
void receipts_destroy(receipts_t **receipts);
void receipts_add(receipts_t *receipts, slice_t emitter, int partition, slice_t event_id,
                  bool unmatched);
/* Sends what was added. A message that cannot be sent is lost without harm: the emitter sends the
 * events again and they are receipted again. */
void receipts_send(receipts_t *receipts);
int64_t receipts_count(const receipts_t *receipts);

#endif
