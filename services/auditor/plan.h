/* plan: what a replay sends next. On the thread that answers questions.
 *
 * A page is chosen, its replay numbers are fixed and what is left out is written down in one
 * transaction, before anything of it is sent. After a crash what was planned and not done comes
 * again, with the same keys and numbers. */
#ifndef PROVISOR_PLAN_H
#define PROVISOR_PLAN_H

#include "services/auditor/candidates.h"

/* One delivery with its event; slices borrow from the page. */
typedef struct {
    job_item_t item;
    bool missing; /* its event is no longer kept */
    slice_t events_id, object_kind, object_id, body;
    size_t events_at, kind_at, object_at, body_at; /* plan's own: places in bytes */
} plan_item_t;

typedef struct {
    plan_item_t *items;
    size_t n_items;
    buf_t bytes;
    int64_t rate;  /* of the job */
    bool finished; /* nothing more will come; or the job does not run any more */
} plan_page_t;

/* What has happened to a job since it was saved last. */
typedef struct {
    int64_t sent;
    int64_t done_id;                /* 0: as before */
    char error[JOBS_ERROR_MAX + 1]; /* "": none */
    char (*refused)[ENTRY_EVENT_ID_MAX + 1];
    size_t n_refused; /* events that the emitter did not take */
} plan_progress_t;

/* RESULT_NOT_FOUND: the job does not run. */
result_t plan_save(desk_t *desk, int64_t job, const plan_progress_t *progress,
                   fault_t *fault) MUST_CHECK;
/* Saves, and gives the next page: a page without items that is not finished means "ask again".
 * Ends the job when there is nothing left. *ret_page ends with plan_page_release. */
result_t plan_next(desk_t *desk, int64_t job, const plan_progress_t *progress,
                   plan_page_t *ret_page, fault_t *fault) MUST_CHECK;
void plan_page_release(plan_page_t *page);

#endif
