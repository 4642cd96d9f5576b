/* shelf: which segments there are, known to every thread. The loop's thread changes it; the others
 * take a copy per task, and may say that a segment is damaged. A segment leaves the shelf before
 * its file goes, so who cannot open a file that is not on the shelf any more has lost nothing but
 * old records. */
#ifndef PROVISOR_SHELF_H
#define PROVISOR_SHELF_H

#include "services/auditor/tail.h"

typedef struct {
    tail_span_t span; /* of a live one: only first_id and created_ms */
    int64_t last_id;  /* INT64_MAX: live */
    int64_t bytes;    /* of a live one: 0 */
    bool live;        /* the last on the shelf is */
    bool indexed;     /* by object and handler */
    bool damaged;     /* not read any more: its records are missing */
    bool told;        /* and history has a record that says so */
    bool aside;       /* and its file has been renamed (segment_set_aside) */
} shelf_segment_t;

typedef struct shelf_t shelf_t;

shelf_t *shelf_new(void);
void shelf_destroy(shelf_t **shelf);
/* After the last one, which must not be live. */
void shelf_add(shelf_t *shelf, const shelf_segment_t *segment);
/* Changes what is known of the segment with the same first id, if it is there. A damaged one stays
 * so, and a good one too: only shelf_set_damaged makes one damaged. */
void shelf_update(shelf_t *shelf, const shelf_segment_t *segment);
/* The oldest one; there must be one. */
void shelf_remove_first(shelf_t *shelf);
/* Oldest first; *ret_segments for free (). */
size_t shelf_copy(shelf_t *shelf, shelf_segment_t **ret_segments);
/* Is it there, and not damaged? */
bool shelf_has(shelf_t *shelf, int64_t first_id);
/* Any thread: a sealed segment turned out to be damaged. */
void shelf_set_damaged(shelf_t *shelf, int64_t first_id);
bool shelf_is_damaged(shelf_t *shelf, int64_t first_id);
/* The smallest audit_id that is still kept. */
int64_t shelf_oldest_id(shelf_t *shelf);

#endif
