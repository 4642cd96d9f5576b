/* control: a ROUTER socket whose questions are answered by a function. REQ and DEALER clients both
 * work: whatever stands before the last frame goes back in front of the answer. */
#ifndef PROVISOR_CONTROL_H
#define PROVISOR_CONTROL_H

#include <czmq.h>

#include "common/base/buf.h"

typedef struct control_t control_t;

/* Fills ret_answer (empty before), whatever the question is. */
typedef void control_fn(void *owner, slice_t question, buf_t *ret_answer);

/* Takes the socket over. */
control_t *control_new(zloop_t *loop, zsock_t **socket, control_fn *answer, void *owner);
void control_destroy(control_t **control);

#endif
