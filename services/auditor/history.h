/* history: every record, in segments on disk, written by the store's writer thread.
 *
 *     commit_t *next = history_next (history)      add to it what arrives (intake.h)
 *     history_kick (history)                       hands it over as soon as it is due
 *     on_committed                                 it is on disk: publish it, then its marks
 *
 * All that arrives while a commit runs, and within gather_ms of a commit's first record, is one
 * commit. Everything a commit brings about is one
 * transaction: records, marks, origins, the next id. When the live segment is full (in attempts,
 * records or age) the next commit goes to a new one; nothing waits for that.
 *
 * event.unmatched is kept once per event: an emitter that was restarted may say it again. */
#ifndef PROVISOR_HISTORY_H
#define PROVISOR_HISTORY_H

#include "common/base/json.h"
#include "common/base/log.h"
#include "services/auditor/commit.h"
#include "services/auditor/retention.h"

typedef struct {
    const char *dir;          /* locked by the caller */
    int64_t segment_attempts; /* a segment is full with so many records of delivery.* */
    int64_t segment_records;  /* or with so many of any */
    int64_t segment_age_ms;
    retention_t retention;
    size_t room_bytes; /* of records that wait for a commit */
    int64_t gather_ms; /* so long a commit waits for more records; 0: not at all */
} history_settings_t;

typedef struct {
    /* Items have their ids; those with audit_id 0 are not in history. The marks are committed. */
    void (*on_committed)(void *owner, const commit_t *commit);
    /* Nothing can be written for now, and why; NULL: it can again. */
    void (*on_full)(void *owner, const char *why);
    void (*on_failed)(void *owner, const char *text);
    /* A sealed segment is damaged: a record that says so is to be added at once. From within
     * history_tick. */
    void (*on_damaged)(void *owner, const shelf_segment_t *segment);
} history_calls_t;

typedef struct history_t history_t;

/* Recovers what a killed process left and restores marks. log and marks are borrowed. */
result_t history_open(zloop_t *loop, const history_settings_t *settings, const log_t *log,
                      marks_t *marks, const history_calls_t *calls, void *owner,
                      history_t **ret_history, fault_t *fault) MUST_CHECK;
/* What was handed over is committed or lost, as in a crash. */
void history_close(history_t **history);

/* What the next commit will carry. The pointer lives until the next history_kick. */
commit_t *history_next(history_t *history);
void history_kick(history_t *history);
/* False: so much waits that nothing more should be read. */
bool history_room(const history_t *history);
const char *history_full(const history_t *history);
/* Nothing waits and no commit runs. */
bool history_idle(const history_t *history);
/* Each second: age, retention, indexes. */
void history_tick(history_t *history);
void history_set_retention(history_t *history, const retention_t *retention);

/* The state as of the last commit. */
const tail_t *history_tail(const history_t *history);
/* For readers on other threads. */
shelf_t *history_shelf(history_t *history);
void history_stats(history_t *history, json_writer_t *w);

#endif
