/* forward: the way to one deliverer: its PUSH socket, and what waits for the deliverer to read.
 *
 * A burst that is too much for the socket's pipe waits in memory, at most pending_bytes of it.
 * Beyond that, or when nothing could be sent for two seconds (the deliverer is gone or stands
 * still), messages are dropped and counted: the emitter sends again what has no receipt. So one
 * deliverer never holds up another one. */
#ifndef PROVISOR_FORWARD_H
#define PROVISOR_FORWARD_H

#include "common/service/service.h"

enum { FORWARD_FRAMES = 4 };

typedef struct forward_t forward_t;

/* endpoint is borrowed. RESULT_INVALID: it is none. */
result_t forward_open(service_t *service, const char *endpoint, int64_t pending_bytes,
                      forward_t **ret_forward, fault_t *fault) MUST_CHECK;
/* What waits is lost (and sent again by the emitter). */
void forward_close(forward_t **forward);
/* Takes the frames over, without copying; sends them, keeps them or drops them. */
void forward_send(forward_t *forward, zmq_msg_t frames[FORWARD_FRAMES]);
/* The deliverer is connected and reads. */
bool forward_ready(const forward_t *forward);
/* Nothing waits (any more). */
bool forward_idle(forward_t *forward);
const char *forward_endpoint(const forward_t *forward);
/* One object. */
void forward_stats(const forward_t *forward, json_writer_t *w);

#endif
