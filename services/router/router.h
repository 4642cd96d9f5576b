/* router: matches events with handlers and forwards them to the deliverer that owns their
 * partition. It owns nothing durable and remembers no event: what it loses or drops has no receipt,
 * and the emitter sends it again.
 *
 * A message (5560) is two frames, batch | event...; both are forwarded untouched (so fields and
 * versions that are newer than this binary pass), with match | target... behind them (messages.h).
 * Only what cannot be decoded is refused: counted, and said in the log once a second at most. */
#ifndef PROVISOR_ROUTER_H
#define PROVISOR_ROUTER_H

#include "common/service/service.h"

extern const service_spec_t router_spec;

#endif
