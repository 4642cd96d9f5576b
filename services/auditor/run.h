/* run: one replay on its way: its page, its pace, what has happened since it was saved. Pure. */
#ifndef PROVISOR_RUN_H
#define PROVISOR_RUN_H

#include "services/auditor/plan.h"

enum { RUN_REFUSED_MAX = CANDIDATES_MAX };

typedef struct {
    int64_t job;
    plan_page_t page;
    size_t at; /* items of the page before it have their answer */
    plan_progress_t progress;
    char refused[RUN_REFUSED_MAX][ENTRY_EVENT_ID_MAX + 1];
    int64_t allowance; /* thousandths of an item that may be sent now */
    int64_t paced_ms;  /* monotonic: when allowance was right */
    bool busy;         /* a task of it is with the worker */
    bool poked;        /* it may have been cancelled: nothing is sent before it was asked */
    bool waits;        /* the disk is full: until the next tick */
} run_t;

run_t *run_new(int64_t job, int64_t mono_ms);
void run_destroy(run_t **run);
/* Takes the next page over. */
void run_turn_page(run_t *run, plan_page_t *page);
bool run_has_items(const run_t *run);
bool run_is_dirty(const run_t *run);
/* How many items may be sent now, at most max; 0: *ret_wait_ms until one may. What is sent counts
 * when it has its answer. */
size_t run_allowed(run_t *run, int64_t mono_ms, size_t max, int64_t *ret_wait_ms);

/* The item at run->at has its answer. */
void run_accepted(run_t *run);
void run_refused(run_t *run, slice_t why);
/* Hands over what has happened, for a task; run_give_back: it could not be saved. */
void run_take_progress(run_t *run, plan_progress_t *ret_progress,
                       char (*ret_refused)[ENTRY_EVENT_ID_MAX + 1]);
void run_give_back(run_t *run, const plan_progress_t *progress);

/* "replay:<job>:<audit_id>" */
enum { RUN_KEY_SIZE = 64 };
void run_key(int64_t job, int64_t audit_id, char ret_key[static RUN_KEY_SIZE]);

#endif
