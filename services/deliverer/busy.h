/* busy: deliveries whose row in the store says less than memory knows: in flight, or final but not
 * yet committed as such. Whoever reads rows (refill, cancel, control) leaves these alone. */
#ifndef PROVISOR_BUSY_H
#define PROVISOR_BUSY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct busy_t busy_t;

busy_t *busy_new(void);
void busy_destroy(busy_t **busy);
/* value: the owner's, NULL allowed; replaces the one that is there. */
void busy_set(busy_t *busy, int64_t seq, int64_t handler_id, void *value);
/* ret_value may be NULL. */
bool busy_find(const busy_t *busy, int64_t seq, int64_t handler_id, void **ret_value);
/* No effect when it is not there. */
void busy_remove(busy_t *busy, int64_t seq, int64_t handler_id);
size_t busy_size(const busy_t *busy);

#endif
