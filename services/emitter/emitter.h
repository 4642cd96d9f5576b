/* emitter: takes events in, commits them to the journal, and hands them to routers until a
 * deliverer has them in custody (architecture.md 3.1). One loop, and the journal's writer. */
#ifndef PROVISOR_EMITTER_H
#define PROVISOR_EMITTER_H

#include "common/service/service.h"

extern const service_spec_t emitter_spec;

#endif
