#include "services/auditor/upkeep.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "services/auditor/segment.h"

typedef enum { REMOVE, SET_ASIDE, PREPARE, INDEX, N_WORKS } work_t;

/* One step at a time: what is more urgent comes between two steps of what is not. */
typedef struct {
    worker_task_t task;
    upkeep_t *upkeep;
    work_t work;
    char *dir;
    shelf_segment_t segment; /* all but PREPARE */
    result_t result;
    fault_t fault;
} step_t;

struct upkeep_t {
    const char *dir;
    shelf_t *shelf;
    const log_t *log;
    void (*on_failed)(void *owner, const char *text);
    void *owner;
    worker_t *worker;
    bool busy;                /* a step is with the worker */
    bool prepared;            /* segment-next.new is there */
    bool waits[N_WORKS];      /* it failed: not again before the next tick */
    shelf_segment_t removing; /* not on the shelf any more; first_id 0: none */
    retention_t retention;
    int64_t wall_ms;  /* of the last tick */
    int64_t stuck_id; /* of a damaged one of which was told that it cannot be set aside */
};

static result_t index_step(step_t *step)
{
    char path[PATH_MAX];
    db_t *db = NULL;
    segment_path(step->dir, step->segment.span.first_id, path);
    if (access(path, F_OK) != 0) /* taken away by hand: opening it would make it anew */
        return RESULT_NOT_FOUND;
    result_t r = db_open(path, DB_WRITE, &db, &step->fault);
    if (r == RESULT_OK)
        r = segment_index_step(db, &step->fault);
    db_close(&db);
    return r;
}

/* On the worker's thread. */
static void run(worker_task_t *task)
{
    step_t *step = (step_t *)task;
    int64_t first_id = step->segment.span.first_id;
    if (step->work == PREPARE)
        step->result = segment_prepare(step->dir, &step->fault);
    else if (step->work == INDEX)
        step->result = index_step(step);
    else if (step->work == SET_ASIDE)
        step->result = segment_set_aside(step->dir, first_id, &step->fault);
    else if (!step->segment.told) /* one that history tells of only a human removes */
        step->result = segment_remove(step->dir, first_id);
    if (step->work != PREPARE)
        step->segment.bytes = segment_bytes(step->dir, first_id);
}

/* Closing is not a step: it may stand behind one. */
typedef struct {
    worker_task_t task;
    db_t *db;
} closing_t;

static void run_closing(worker_task_t *task)
{
    db_close(&((closing_t *)task)->db);
}

static void done_closing(worker_task_t *task)
{
    db_close(&((closing_t *)task)->db); /* if it was dropped */
    free(task);
}

static void next_step(upkeep_t *upkeep);

static void finish_index(upkeep_t *upkeep, step_t *step)
{
    step->segment.indexed = step->result == RESULT_NOT_FOUND;
    shelf_update(upkeep->shelf, &step->segment);
    if (!step->segment.indexed)
        return;
    step->result = RESULT_OK;
    log_line(upkeep->log, LEVEL_INFO, "event=segment_indexed first_id=%lld bytes=%lld",
             (long long)step->segment.span.first_id, (long long)step->segment.bytes);
}

static void finish_aside(upkeep_t *upkeep, step_t *step)
{
    shelf_segment_t *segment = &step->segment;
    if (step->result == RESULT_OK) {
        segment->aside = true;
        shelf_update(upkeep->shelf, segment);
        log_line(upkeep->log, LEVEL_INFO, "event=segment_set_aside first_id=%lld",
                 (long long)segment->span.first_id);
        return;
    }
    upkeep->waits[SET_ASIDE] = true;
    if (upkeep->stuck_id != segment->span.first_id)
        log_line(upkeep->log, LEVEL_ERROR,
                 "event=segment_not_set_aside first_id=%lld error=\"%s\" next=\"it is not read; "
                 "tried each second\"",
                 (long long)segment->span.first_id, step->fault.text);
    upkeep->stuck_id = segment->span.first_id;
}

static void finish(upkeep_t *upkeep, step_t *step)
{
    if (step->work == SET_ASIDE) {
        finish_aside(upkeep, step);
        return;
    }
    if (step->work == INDEX && step->result == RESULT_CORRUPT) {
        shelf_set_damaged(upkeep->shelf, step->segment.span.first_id);
        return;
    }
    if (step->work == INDEX && (step->result == RESULT_OK || step->result == RESULT_NOT_FOUND))
        finish_index(upkeep, step);
    if (step->work == PREPARE && step->result == RESULT_OK)
        upkeep->prepared = true;
    if (step->work == REMOVE && step->result == RESULT_OK) {
        upkeep->removing = (shelf_segment_t){0};
        if (!step->segment.told)
            log_line(upkeep->log, LEVEL_INFO, "event=segment_removed first_id=%lld",
                     (long long)step->segment.span.first_id);
    }
    if (step->result == RESULT_OK)
        return;
    upkeep->waits[step->work] = true; /* full or busy: later */
    if (step->result != RESULT_FULL && step->result != RESULT_AGAIN)
        upkeep->on_failed(upkeep->owner, step->fault.text);
}

static void done(worker_task_t *task)
{
    step_t *step = (step_t *)task;
    upkeep_t *upkeep = step->upkeep;
    upkeep->busy = false;
    if (!task->dropped) {
        finish(upkeep, step);
        next_step(upkeep);
    }
    free(step->dir);
    free(step);
}

static void start(upkeep_t *upkeep, work_t work, const shelf_segment_t *segment)
{
    step_t *step = MEM_NEW(step_t);
    step->task = (worker_task_t){.run = run, .done = done};
    step->upkeep = upkeep;
    step->work = work;
    step->dir = mem_strdup(upkeep->dir);
    if (segment)
        step->segment = *segment;
    upkeep->busy = true;
    worker_submit(upkeep->worker, &step->task);
}

static bool remove_oldest(upkeep_t *upkeep, const shelf_segment_t *segments, size_t n)
{
    if (upkeep->removing.span.first_id) {
        start(upkeep, REMOVE, &upkeep->removing);
        return true;
    }
    int64_t live_bytes = n ? segment_bytes(upkeep->dir, segments[n - 1].span.first_id) : 0;
    if (retention_choose(&upkeep->retention, segments, n, live_bytes, upkeep->wall_ms) == 0)
        return false;
    const shelf_segment_t *oldest = &segments[0];
    /* What was told of is set aside first. What was not may wait for room to be told of: it makes
     * some. */
    if (oldest->told && !oldest->aside && upkeep->stuck_id != oldest->span.first_id)
        return false;
    shelf_remove_first(upkeep->shelf);
    upkeep->removing = segments[0];
    start(upkeep, REMOVE, &upkeep->removing);
    return true;
}

static void next_step(upkeep_t *upkeep)
{
    if (upkeep->busy)
        return;
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = shelf_copy(upkeep->shelf, &segments);
    /* First: it makes the room that the others need. */
    if (!upkeep->waits[REMOVE] && remove_oldest(upkeep, segments, n))
        return;
    for (size_t i = upkeep->waits[SET_ASIDE] ? n : 0; i < n; i++)
        if (segments[i].damaged && !segments[i].live && segments[i].told && !segments[i].aside) {
            start(upkeep, SET_ASIDE, &segments[i]);
            return;
        }
    if (!upkeep->prepared) {
        if (!upkeep->waits[PREPARE])
            start(upkeep, PREPARE, NULL);
        return;
    }
    for (size_t i = upkeep->waits[INDEX] ? 0 : n;
         i-- > 0;) /* the newest first: it is asked for most */
        if (!segments[i].live && !segments[i].indexed && !segments[i].damaged) {
            start(upkeep, INDEX, &segments[i]);
            return;
        }
}

upkeep_t *upkeep_new(zloop_t *loop, const char *dir, shelf_t *shelf, const log_t *log,
                     void (*on_failed)(void *owner, const char *text), void *owner)
{
    upkeep_t *upkeep = MEM_NEW(upkeep_t);
    *upkeep = (upkeep_t){.dir = dir,
                         .shelf = shelf,
                         .log = log,
                         .on_failed = on_failed,
                         .owner = owner,
                         .worker = worker_new(loop),
                         .waits = {true, true, true, true}};
    return upkeep;
}

void upkeep_destroy(upkeep_t **upkeep_ref)
{
    upkeep_t *upkeep = *upkeep_ref;
    if (!upkeep)
        return;
    worker_destroy(&upkeep->worker);
    free(upkeep);
    *upkeep_ref = NULL;
}

void upkeep_tick(upkeep_t *upkeep, const retention_t *retention, int64_t wall_ms)
{
    upkeep->retention = *retention;
    upkeep->wall_ms = wall_ms;
    memset(upkeep->waits, 0, sizeof upkeep->waits);
    next_step(upkeep);
}

bool upkeep_prepared(const upkeep_t *upkeep)
{
    return upkeep->prepared;
}

void upkeep_used(upkeep_t *upkeep)
{
    upkeep->prepared = false;
    next_step(upkeep);
}

void upkeep_close(upkeep_t *upkeep, db_t **db)
{
    closing_t *closing = MEM_NEW(closing_t);
    closing->task = (worker_task_t){.run = run_closing, .done = done_closing};
    closing->db = TAKE(*db);
    worker_submit(upkeep->worker, &closing->task);
}
