/* candidates: the deliveries that a replay is about, and what history says of each: was it
 * delivered meanwhile, has a later event of the same object superseded it, how often was it
 * replayed. */
#ifndef PROVISOR_CANDIDATES_H
#define PROVISOR_CANDIDATES_H

#include "services/auditor/desk.h"
#include "services/auditor/jobs.h"

enum { CANDIDATES_MAX = 256, CANDIDATES_OBJECT_MAX = 256 };

typedef struct {
    job_item_t item;
    char kind[64];
    char object[CANDIDATES_OBJECT_MAX + 1]; /* unquoted; "": none, nothing supersedes it */
    char outcome[16];                       /* of the record that it was found by */
    bool superseded;                        /* a later event of the object was delivered */
    bool delivered;                         /* it was delivered itself, later */
} candidate_t;

typedef struct {
    candidate_t list[CANDIDATES_MAX];
    size_t n;
    int64_t searched_id; /* history was searched up to it */
} candidates_t;

/* The next ones of a job, after job->planned_id and up to job->until_id; ends early after a while,
 * searched_id says where. */
result_t candidates_find(desk_t *desk, const job_t *job, candidates_t *ret_found,
                         fault_t *fault) MUST_CHECK;
/* How many there are in all; stops counting after a while. */
result_t candidates_count(desk_t *desk, const job_t *job, int64_t *ret_count,
                          fault_t *fault) MUST_CHECK;
/* Fills superseded, delivered and item.replay (1 + how often history has it). sure: fails when a
 * damaged segment hides whether one was superseded. */
result_t candidates_inspect(desk_t *desk, candidates_t *candidates, bool sure,
                            fault_t *fault) MUST_CHECK;
/* Does a job of this status take a delivery that ended so? */
bool candidates_match(const char *status, slice_t outcome);

#endif
