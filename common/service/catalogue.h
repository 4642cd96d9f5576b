/* catalogue: which events there are, of which object kind, with sample data for each.
 *
 * The 35 of product.md, and ids that an operator added by configuration
 * (catalogue.extra = "crm.ticket.create=ticket crm.ticket.close=ticket"). */
#ifndef PROVISOR_CATALOGUE_H
#define PROVISOR_CATALOGUE_H

#include "common/base/buf.h"

typedef struct {
    const char *id;        /* "clients.update" */
    const char *kind;      /* "client": orders events together with object_id */
    const char *when;      /* one line for people */
    const char *object_id; /* sample, JSON: 12 */
    const char *object;    /* what object_id is, for the documentation: "id of the client" */
    const char *data;      /* sample, a JSON object; "{}" where the event has no data */
} catalogue_event_t;

typedef struct catalogue_t catalogue_t;

/* extra may be NULL or "". RESULT_INVALID: an entry is not id=kind (both [a-z0-9_.]+). */
result_t catalogue_new(const char *extra, catalogue_t **ret_catalogue, fault_t *fault) MUST_CHECK;
void catalogue_destroy(catalogue_t **catalogue);
size_t catalogue_size(const catalogue_t *catalogue);
/* In the order of product.md, the added ones after them. */
const catalogue_event_t *catalogue_at(const catalogue_t *catalogue, size_t i);
/* NULL when there is none. O(1). */
const catalogue_event_t *catalogue_find(const catalogue_t *catalogue, slice_t id);
/* The known id with the smallest edit distance. */
const catalogue_event_t *catalogue_nearest(const catalogue_t *catalogue, slice_t id);
/* Does the pattern ("*", "clients.*", exact) cover at least one known id? */
bool catalogue_covers(const catalogue_t *catalogue, slice_t pattern);
/* The complete sample event as a core would push it: {"event":{...},"data":{...}}. */
void catalogue_sample(const catalogue_event_t *event, buf_t *ret_json);

#endif
