/* jobs: replays as rows (history/jobs.db): what was asked for, how far it has come, and what it is
 * about to send. An item's replay number is fixed before it is sent for the first time, so that a
 * job that goes on after a crash says the same thing again under the same key.
 *
 * Functions that change something take part in the caller's transaction. */
#ifndef PROVISOR_JOBS_H
#define PROVISOR_JOBS_H

#include "common/db/db.h"
#include "services/auditor/entry.h"

enum {
    JOBS_RUNNING_MAX = 16,
    JOBS_KEPT = 1000, /* ended ones that can still be asked for */
    JOBS_SKIPPED_MAX = 100,
    JOBS_ERROR_MAX = 255,
};

typedef struct {
    int64_t id;
    char event_id[ENTRY_EVENT_ID_MAX + 1]; /* "": all that ended for handler_id */
    int64_t handler_id;                    /* 0: each that the event went to */
    char status[16];                       /* exhausted, cancelled, delivered, failed, all */
    int64_t since_ms, until_ms;
    int64_t until_id; /* what came later is not part of it */
    int64_t rate;     /* per second; 0: as fast as it goes */
    bool superseded;  /* sends those too */
    char state[16];   /* running, done, failed, cancelled */
    int64_t total;    /* expected */
    int64_t sent, skipped;
    int64_t planned_id; /* history was searched up to it */
    int64_t done_id;    /* items up to it have their answer */
    char error[JOBS_ERROR_MAX + 1];
    int64_t created_ms, ended_ms;
} job_t;

/* A delivery to be replayed. */
typedef struct {
    int64_t audit_id; /* of the record that it was found by; with the job, the key */
    char event_id[ENTRY_EVENT_ID_MAX + 1];
    char original_id[ENTRY_EVENT_ID_MAX + 1]; /* webhook-id */
    int64_t handler_id;
    int64_t replay; /* from 1 */
} job_item_t;

extern const char *const jobs_migrations[];

/* Sets id; ids are never used again. RESULT_AGAIN: JOBS_RUNNING_MAX run. */
result_t jobs_add(db_t *db, job_t *job) MUST_CHECK;
result_t jobs_get(db_t *db, int64_t id, job_t *ret_job) MUST_CHECK;
/* Newest first; running: only those, oldest first. *ret_jobs for free (). */
result_t jobs_list(db_t *db, bool running, job_t **ret_jobs, size_t *ret_n) MUST_CHECK;
/* total, sent, skipped, planned_id, done_id and error. */
result_t jobs_save(db_t *db, const job_t *job) MUST_CHECK;
/* RESULT_NOT_FOUND: it does not run. */
result_t jobs_end(db_t *db, int64_t id, const char *state, int64_t wall_ms) MUST_CHECK;
/* An event for "skipped_events"; those beyond JOBS_SKIPPED_MAX are only counted (in job->skipped,
 * raised here). */
result_t jobs_skip(db_t *db, job_t *job, const char *event_id) MUST_CHECK;
typedef void jobs_skipped_fn(void *owner, slice_t event_id);
result_t jobs_skipped(db_t *db, int64_t id, jobs_skipped_fn *call, void *owner) MUST_CHECK;

/* RESULT_EXISTS: the job has an item of this delivery (original and handler). */
result_t jobs_add_item(db_t *db, int64_t job, const job_item_t *item) MUST_CHECK;
/* Items after done_id, in order; returns how many through ret_n. */
result_t jobs_items(db_t *db, int64_t job, int64_t done_id, job_item_t *items, size_t max,
                    size_t *ret_n) MUST_CHECK;
/* The greatest replay number that any job gave to this delivery; 0: none. */
result_t jobs_last_replay(db_t *db, const char *original_id, int64_t handler_id,
                          int64_t *ret_replay) MUST_CHECK;
/* For a backup's copy: job ids that are given after it are not given again. */
result_t jobs_move_on(db_t *copy) MUST_CHECK;
/* Removes items of jobs that ended before ended_ms and jobs beyond JOBS_KEPT, a step of each. */
result_t jobs_prune(db_t *db, int64_t ended_ms) MUST_CHECK;

#endif
