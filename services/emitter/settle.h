/* settle: when a row may leave the journal. It may when its receipt is there and the auditor has
 * committed that the event was accepted and, if nothing matched, that too. Pure.
 *
 * Accepted records are added in the order of seq, so what the auditor has of them is a prefix.
 * Memory holds only what was added and not marked yet, which the audit window bounds. A receipt
 * that comes before the accepted record was added is stored in its row. */
#ifndef PROVISOR_SETTLE_H
#define PROVISOR_SETTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As stored in a row. */
typedef enum { RECEIPT_NONE = 0, RECEIPT_MATCHED = 1, RECEIPT_UNMATCHED = 2 } receipt_kind_t;

typedef enum {
    SETTLE_WAIT,      /* nothing: settle_mark will give the row */
    SETTLE_DELETE,    /* the row may go now */
    SETTLE_STORE,     /* store the receipt in the row */
    SETTLE_UNMATCHED, /* add event.unmatched, then call settle_unmatched; store the receipt too, if
                         the row does not have it */
} settle_next_t;

typedef struct settle_t settle_t;

settle_t *settle_new(void);
void settle_destroy(settle_t **settle);
/* The accepted record of this row was added with this number; rows come in order. receipt is what
 * is stored in the row. SETTLE_WAIT or SETTLE_UNMATCHED. */
settle_next_t settle_accepted(settle_t *settle, int64_t seq, int64_t number,
                              receipt_kind_t receipt);
/* The row's first receipt. */
settle_next_t settle_receipt(settle_t *settle, int64_t seq, receipt_kind_t receipt);
/* The unmatched record of this row was added with this number. */
void settle_unmatched(settle_t *settle, int64_t seq, int64_t number);
/* The auditor has everything up to this number: gives one row that may go now, false when there is
 * none (more). */
bool settle_mark(settle_t *settle, int64_t number, int64_t *ret_seq);
/* The last row whose accepted record was added; 0: none yet. */
int64_t settle_last(const settle_t *settle);
/* Unmatched records that are on their way. */
size_t settle_unmatched_size(const settle_t *settle);
/* Rows in memory. */
size_t settle_size(const settle_t *settle);

#endif
