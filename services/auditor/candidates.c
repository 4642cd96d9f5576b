#include "services/auditor/candidates.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "services/auditor/segment.h"

#include <stdio.h>

bool candidates_match(const char *status, slice_t outcome)
{
    bool delivered = slice_is(outcome, "delivered"), cancelled = slice_is(outcome, "cancelled");
    bool exhausted = slice_is(outcome, "exhausted");
    if (strcmp(status, "all") == 0)
        return delivered || cancelled || exhausted;
    if (strcmp(status, "failed") == 0)
        return cancelled || exhausted;
    return slice_is(outcome, status) && (delivered || cancelled || exhausted);
}

static void copy_text(char *to, size_t size, slice_t text)
{
    snprintf(to, size, "%.*s", SLICE_ARG(text));
}

static int64_t min_id(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- Those that ended for one handler --------------------------------------------------- */

#define ROW                                                                                        \
    "SELECT audit_id, topic, event_id, webhook_id, object_kind, object, handler_id FROM record"

static void read_candidate(db_stmt_t *row, candidate_t *candidate)
{
    slice_t event_id = db_slice(row, 2), object = db_slice(row, 5);
    *candidate = (candidate_t){0};
    candidate->item.audit_id = db_int(row, 0);
    candidate->item.handler_id = db_int(row, 6);
    copy_text(candidate->outcome, sizeof candidate->outcome, entry_outcome(db_slice(row, 1)));
    copy_text(candidate->item.event_id, sizeof candidate->item.event_id, event_id);
    copy_text(candidate->item.original_id, sizeof candidate->item.original_id,
              entry_original_id(event_id, db_slice(row, 3)));
    copy_text(candidate->kind, sizeof candidate->kind, db_slice(row, 4));
    if (object.size <= CANDIDATES_OBJECT_MAX) /* a longer one is never seen as superseded */
        copy_text(candidate->object, sizeof candidate->object, object);
}

static db_stmt_t *select_ended(db_t *db, const job_t *job, int64_t after_id)
{
    db_stmt_t *stmt = db_stmt(db, ROW " WHERE handler_id = $1 AND audit_id > $2 AND audit_id <= $3"
                                      " AND at_ms >= $4 AND at_ms <= $5 AND status <> 0"
                                      " ORDER BY audit_id");
    db_bind_int(stmt, 1, job->handler_id);
    db_bind_int(stmt, 2, after_id);
    db_bind_int(stmt, 3, job->until_id);
    db_bind_int(stmt, 4, job->since_ms);
    db_bind_int(stmt, 5, job->until_ms);
    return stmt;
}

typedef struct {
    desk_t *desk;
    const job_t *job;
    candidates_t *found; /* NULL: only counted */
    int64_t count;
    int64_t began_ms;
    bool ended; /* before the end of history */
} find_t;

/* True: no more now. */
static bool is_enough(const find_t *find)
{
    return desk_is_late(find->desk, find->began_ms) ||
           (find->found && find->found->n == CANDIDATES_MAX);
}

static result_t find_in_segment(find_t *find, db_t *db, int64_t last_id)
{
    db_stmt_t *stmt = select_ended(db, find->job, find->job->planned_id);
    result_t r;
    while ((r = db_step(stmt)) == RESULT_OK) {
        find->ended = is_enough(find);
        if (find->ended)
            break;
        if (candidates_match(find->job->status, entry_outcome(db_slice(stmt, 1)))) {
            find->count++;
            if (find->found)
                read_candidate(stmt, &find->found->list[find->found->n++]);
        }
        if (find->found)
            find->found->searched_id = db_int(stmt, 0);
    }
    db_reset(stmt);
    if (r == RESULT_NOT_FOUND && find->found)
        find->found->searched_id = min_id(last_id, find->job->until_id);
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

static result_t find_ended(find_t *find, fault_t *fault)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = archive_segments(find->desk->archive, &segments);
    for (size_t i = 0; i < n && !find->ended; i++) {
        const shelf_segment_t *segment = &segments[i];
        db_t *db = NULL;
        if (segment->last_id <= find->job->planned_id ||
            segment->span.first_id > find->job->until_id)
            continue;
        result_t r = archive_open(find->desk->archive, segment, &db, fault);
        if (r == RESULT_OK)
            r = find_in_segment(find, db, segment->last_id);
        r = archive_end(find->desk->archive, segment, db, r, fault);
        if (r != RESULT_OK && r != RESULT_NOT_FOUND)
            return r;
        find->ended |= is_enough(find);
    }
    if (!find->ended && find->found)
        find->found->searched_id = find->job->until_id;
    return RESULT_OK;
}

/* ---- Those of one event ----------------------------------------------------------------- */

/* The newest end for each handler counts. */
static void keep_newest(candidates_t *found, const candidate_t *candidate)
{
    for (size_t i = 0; i < found->n; i++)
        if (found->list[i].item.handler_id == candidate->item.handler_id) {
            found->list[i] = *candidate;
            return;
        }
    if (found->n < CANDIDATES_MAX)
        found->list[found->n++] = *candidate;
}

static result_t find_event_in_segment(const job_t *job, db_t *db, candidates_t *found)
{
    db_stmt_t *stmt = db_stmt(db, ROW " WHERE event_id = $1 UNION " ROW " WHERE webhook_id = $2"
                                      " ORDER BY audit_id");
    db_bind_text(stmt, 1, slice_of(job->event_id));
    db_bind_text(stmt, 2, slice_of(job->event_id));
    result_t r;
    while ((r = db_step(stmt)) == RESULT_OK) {
        candidate_t candidate;
        slice_t topic = db_slice(stmt, 1);
        bool accepted =
            slice_is(topic, "event.accepted") && slice_is(db_slice(stmt, 2), job->event_id);
        bool ended = candidates_match("all", entry_outcome(topic)) &&
                     (!job->handler_id || db_int(stmt, 6) == job->handler_id);
        if (!ended && !(accepted && job->handler_id))
            continue;
        read_candidate(stmt, &candidate);
        if (accepted) /* also a handler that it never went to may be named */
            candidate.item.handler_id = job->handler_id;
        keep_newest(found, &candidate);
    }
    db_reset(stmt);
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

/* A status that was asked for holds for the newest end. */
static void keep_matching(const job_t *job, candidates_t *found)
{
    size_t kept = 0;
    for (size_t i = 0; i < found->n; i++)
        if (!*job->status || candidates_match(job->status, slice_of(found->list[i].outcome)))
            found->list[kept++] = found->list[i];
    found->n = kept;
}

static result_t find_event(desk_t *desk, const job_t *job, candidates_t *found, fault_t *fault)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = archive_segments(desk->archive, &segments);
    for (size_t i = 0; i < n; i++) {
        db_t *db = NULL;
        if (!segments[i].live && !tail_span_reaches(&segments[i].span, slice_of(job->event_id)))
            continue;
        result_t r = archive_open(desk->archive, &segments[i], &db, fault);
        if (r == RESULT_OK)
            r = find_event_in_segment(job, db, found);
        r = archive_end(desk->archive, &segments[i], db, r, fault);
        if (r != RESULT_OK && r != RESULT_NOT_FOUND)
            return r;
    }
    keep_matching(job, found);
    found->searched_id = job->until_id;
    return RESULT_OK;
}

/* ---- Both ------------------------------------------------------------------------------- */

result_t candidates_find(desk_t *desk, const job_t *job, candidates_t *ret_found, fault_t *fault)
{
    ret_found->n = 0;
    ret_found->searched_id = job->planned_id;
    if (*job->event_id)
        return find_event(desk, job, ret_found, fault);
    find_t find = {.desk = desk, .job = job, .found = ret_found, .began_ms = clk_mono_ms()};
    return find_ended(&find, fault);
}

result_t candidates_count(desk_t *desk, const job_t *job, int64_t *ret_count, fault_t *fault)
{
    find_t find = {.desk = desk, .job = job, .began_ms = clk_mono_ms()};
    if (*job->event_id) {
        AUTO_FREE candidates_t *found = mem_alloc(sizeof *found);
        result_t r = find_event(desk, job, found, fault);
        *ret_count = (int64_t)found->n;
        return r;
    }
    result_t r = find_ended(&find, fault);
    *ret_count = find.count;
    return r;
}
