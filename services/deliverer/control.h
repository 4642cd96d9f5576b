/* control: the questions of the control socket beyond ping, stats and drain (docs/protocol.md). */
#ifndef PROVISOR_DELIVERER_CONTROL_H
#define PROVISOR_DELIVERER_CONTROL_H

#include "common/service/service.h"

/* handlers, deliveries, cancel, retry; ends with {NULL}. */
extern const service_op_t control_ops[];

#endif
