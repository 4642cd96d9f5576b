/* incoming: one matched message of a router, decoded and checked. Pure.
 *
 *     incoming_t incoming = {0};                    kept and used again for the next message
 *     incoming_decode (&incoming, frames, &fault)   batch | event... | match | target...
 *     incoming_release (&incoming)
 */
#ifndef PROVISOR_INCOMING_H
#define PROVISOR_INCOMING_H

#include "common/wire/messages.h"

enum { INCOMING_FRAMES = 4 };

typedef struct {
    event_t event; /* slices borrow from the frames */
    size_t first;  /* its targets are targets [first .. first + n - 1], by handler id, each once */
    size_t n;
} incoming_event_t;

typedef struct {
    batch_t batch;
    match_t match;
    incoming_event_t *events;
    size_t n_events, events_capacity;
    target_t *targets;
    size_t n_targets, targets_capacity;
} incoming_t;

void incoming_release(incoming_t *incoming);
/* RESULT_VERSION: an unknown version of the message. RESULT_INVALID: malformed, a bad node,
 * partition, low_water or event id, a target that names no event or no handler. incoming's former
 * contents are gone in any case. */
result_t incoming_decode(incoming_t *incoming, const slice_t frames[static INCOMING_FRAMES],
                         fault_t *fault) MUST_CHECK;

#endif
