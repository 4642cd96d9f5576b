/* matcher: which handlers an event goes to. Pure: made from the handler table as it is, and made
 * again when the table has changed.
 *
 * Enabled and suspended handlers match (what a suspended one gets parks at the deliverer), by their
 * patterns first and then by their filter. The cost of an event depends on the handlers whose
 * patterns cover it and whose filters it may pass (filter_index), not on how many there are. */
#ifndef PROVISOR_MATCHER_H
#define PROVISOR_MATCHER_H

#include "common/service/handler.h"
#include "common/wire/messages.h"

typedef struct matcher_t matcher_t;

/* Borrows the handlers only until it returns. */
matcher_t *matcher_new(const handler_t *const *handlers, size_t n);
void matcher_destroy(matcher_t **matcher);
/* How many handlers it matches with. */
size_t matcher_size(const matcher_t *matcher);
/* A handler whose filter this version cannot read (a newer one wrote it): which and why. NULL:
 * there is none. */
const char *matcher_fault(const matcher_t *matcher);
/* The event's targets in the order of (priority, id), each handler once; their member event is 0. A
 * replay has the one that it names, unless that is archived, deleted or was never there, whatever
 * its patterns and filter are. Returns how many; they live until the next call. */
size_t matcher_match(matcher_t *matcher, const event_t *event, const target_t **ret_targets);
/* The last event may also be for a handler whose filter cannot be read: its targets are not known.
 */
bool matcher_unsure(const matcher_t *matcher);

#endif
