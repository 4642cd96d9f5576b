/* filter_index: which of many filters a body passes, without asking each of them.
 *
 * A filter with a condition = or in is only asked when the body has one of that condition's values
 * at its path: those are found by a hash of the value, one look-up for each path that such
 * conditions name. All others are asked one by one. So the cost of a body depends on the filters
 * that it may pass, not on how many there are. Of several such conditions of a filter, the one
 * whose values the fewest other filters name is taken. */
#ifndef PROVISOR_FILTER_INDEX_H
#define PROVISOR_FILTER_INDEX_H

#include "common/service/filter.h"

typedef struct filter_index_t filter_index_t;

/* Borrows the filters, not the array, for as long as it lives. NULL: everything passes it. */
filter_index_t *filter_index_new(const filter_t *const *filters, size_t n);
void filter_index_destroy(filter_index_t **index);
/* The places, in the array that it was made from, of the filters that the body passes: each once,
 * in no order. ret_places has room for all of them. Returns how many. */
size_t filter_index_pass(const filter_index_t *index, filter_body_t *body, uint32_t *ret_places);

#endif
