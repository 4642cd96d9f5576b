/* inventory: what a start finds in history's folder. The newest segment becomes the live one, or a
 * first one is made; the sealed ones go on the shelf, those that are damaged or were set aside as
 * damaged; what a killed process left unfinished is removed. */
#ifndef PROVISOR_INVENTORY_H
#define PROVISOR_INVENTORY_H

#include "common/base/log.h"
#include "common/db/db.h"
#include "services/auditor/marks.h"
#include "services/auditor/shelf.h"

typedef struct {
    tail_t tail;
    db_t *live; /* not on the shelf */
    bool fresh; /* nothing was committed to it yet */
} inventory_t;

/* Marks are restored from the live segment, which must be whole: RESULT_CORRUPT else, and
 * RESULT_VERSION when any was written by a newer provisor. */
result_t inventory_take(const char *dir, const log_t *log, marks_t *marks, shelf_t *shelf,
                        inventory_t *ret_inventory, fault_t *fault) MUST_CHECK;

#endif
