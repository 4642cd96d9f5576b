/* auditor: history, the audit stream, and answers about the past (architecture.md 3.7-3.9).
 *
 *   stages --records--> collector -> history (one commit for all that came meanwhile)
 *                                       | committed
 *                                       +-> stream, then announcer --marks--> stages
 *   handlers.db -> changes -> history
 *   questions <-> the worker's thread -> segments, replay jobs -> replayer --replays--> emitter */
#ifndef PROVISOR_AUDITOR_H
#define PROVISOR_AUDITOR_H

#include "common/service/service.h"

extern const service_spec_t auditor_spec;

#endif
