/* What history says of candidates: one walk through the segments that may know anything later. */
#include "services/auditor/candidates.h"
#include "common/base/cleanup.h"
#include "common/base/hash.h"
#include "common/base/ulid.h"
#include "services/auditor/segment.h"

/* A success for the same handler: of a later event of the object, or of the event itself. */
static void take_success(candidate_t *candidate, slice_t kind, slice_t original_id,
                         int64_t audit_id)
{
    slice_t own = slice_of(candidate->item.original_id);
    size_t common = own.size < original_id.size ? own.size : original_id.size;
    int order = original_id.data ? memcmp(original_id.data, own.data, common) : -1;
    if (order == 0 && original_id.size == own.size)
        candidate->delivered |= audit_id > candidate->item.audit_id;
    else if (order > 0 && slice_is(kind, candidate->kind))
        candidate->superseded = true;
}

#define SUCCESS "SELECT audit_id, object_kind, event_id, webhook_id, object, handler_id FROM record"

static void take_row(candidate_t *candidate, db_stmt_t *row)
{
    take_success(candidate, db_slice(row, 1), entry_original_id(db_slice(row, 2), db_slice(row, 3)),
                 db_int(row, 0));
}

static result_t ask_index(db_t *db, candidate_t *candidate)
{
    db_stmt_t *stmt = db_stmt(db, SUCCESS " WHERE object = $1 AND handler_id + 0 = $2"
                                          " AND status <> 0 AND status = 1");
    db_bind_text(stmt, 1, slice_of(candidate->object));
    db_bind_int(stmt, 2, candidate->item.handler_id);
    result_t r;
    while ((r = db_step(stmt)) == RESULT_OK)
        take_row(candidate, stmt);
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

/* Candidates by their object, for a scan. */
enum { SLOTS = 512, NONE = -1 };
typedef struct {
    int first[SLOTS];
    int next[CANDIDATES_MAX];
} by_object_t;

static size_t slot_of(slice_t object)
{
    return hash_bytes(object.data, object.size) % SLOTS;
}

static void fill_slots(const candidates_t *candidates, by_object_t *by_object)
{
    for (size_t i = 0; i < SLOTS; i++)
        by_object->first[i] = NONE;
    for (size_t i = 0; i < candidates->n; i++) {
        if (!*candidates->list[i].object)
            continue;
        size_t slot = slot_of(slice_of(candidates->list[i].object));
        by_object->next[i] = by_object->first[slot];
        by_object->first[slot] = (int)i;
    }
}

/* A segment without its indexes: one scan for all of them. */
static result_t scan(db_t *db, candidates_t *candidates)
{
    by_object_t by_object;
    fill_slots(candidates, &by_object);
    db_stmt_t *stmt = db_stmt(db, SUCCESS " WHERE status = 1 AND object IS NOT NULL");
    result_t r;
    while ((r = db_step(stmt)) == RESULT_OK) {
        slice_t object = db_slice(stmt, 4);
        for (int i = by_object.first[slot_of(object)]; i != NONE; i = by_object.next[i]) {
            candidate_t *candidate = &candidates->list[i];
            if (slice_is(object, candidate->object) &&
                db_int(stmt, 5) == candidate->item.handler_id)
                take_row(candidate, stmt);
        }
    }
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

/* Its own records: deliveries since, and replays, each of which was accepted as an event. */
static result_t ask_event(db_t *db, candidate_t *candidate)
{
    slice_t original_id = slice_of(candidate->item.original_id);
    db_stmt_t *stmt =
        db_stmt(db, "SELECT audit_id, status, topic, handler_id, event_id FROM record"
                    " WHERE event_id = $1 UNION"
                    " SELECT audit_id, status, topic, handler_id, event_id FROM record"
                    " WHERE webhook_id = $2");
    db_bind_text(stmt, 1, original_id);
    db_bind_text(stmt, 2, original_id);
    result_t r;
    while ((r = db_step(stmt)) == RESULT_OK) {
        if (db_int(stmt, 3) != candidate->item.handler_id)
            continue;
        if (db_int(stmt, 1) == ENTRY_SUCCESS && db_int(stmt, 0) > candidate->item.audit_id)
            candidate->delivered = true;
        if (slice_is(db_slice(stmt, 2), "event.accepted") &&
            !slice_equal(db_slice(stmt, 4), original_id))
            candidate->item.replay++;
    }
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

static result_t inspect_segment(const shelf_segment_t *segment, db_t *db, candidates_t *candidates)
{
    result_t r = RESULT_OK;
    for (size_t i = 0; i < candidates->n && r == RESULT_OK; i++) {
        candidate_t *candidate = &candidates->list[i];
        if (!segment->live &&
            !tail_span_reaches(&segment->span, slice_of(candidate->item.original_id)))
            continue;
        r = ask_event(db, candidate);
        if (r == RESULT_OK && segment->indexed && *candidate->object)
            r = ask_index(db, candidate);
    }
    return r == RESULT_OK && !segment->indexed ? scan(db, candidates) : r;
}

/* Of what was damaged at the start already nothing is known but when it ended: it may tell of
 * events that came later than one that was accepted before that. */
static bool may_hide(const shelf_segment_t *segment, const job_item_t *item)
{
    ulid_t id;
    const tail_span_t *span = &segment->span;
    if (!segment->damaged)
        return false;
    return segment->last_id > item->audit_id ||
           (!*span->last_event && (ulid_parse(slice_of(item->original_id), &id) != RESULT_OK ||
                                   ulid_wall_ms(&id) <= span->created_ms));
}

static bool may_know(const shelf_segment_t *segment, const candidates_t *candidates)
{
    for (size_t i = 0; i < candidates->n; i++)
        if (segment->live || may_hide(segment, &candidates->list[i].item) ||
            tail_span_reaches(&segment->span, slice_of(candidates->list[i].item.original_id)))
            return true;
    return false;
}

static result_t is_hidden(const shelf_segment_t *segment, fault_t *fault)
{
    return fault_set(fault, RESULT_CORRUPT,
                     "history from %lld to %lld is damaged, and might tell what was superseded: "
                     "restore it, or ask with superseded",
                     (long long)segment->span.first_id, (long long)segment->last_id);
}

result_t candidates_inspect(desk_t *desk, candidates_t *candidates, bool sure, fault_t *fault)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = archive_segments(desk->archive, &segments);
    for (size_t i = 0; i < candidates->n; i++)
        candidates->list[i].item.replay = 1;
    for (size_t i = 0; i < n; i++) {
        db_t *db = NULL;
        if (!may_know(&segments[i], candidates))
            continue;
        result_t r = archive_open(desk->archive, &segments[i], &db, fault);
        if (r == RESULT_OK)
            r = inspect_segment(&segments[i], db, candidates);
        r = archive_end(desk->archive, &segments[i], db, r, fault);
        if (r == RESULT_NOT_FOUND && sure)
            return is_hidden(&segments[i], fault);
        if (r != RESULT_OK && r != RESULT_NOT_FOUND)
            return r;
    }
    return RESULT_OK;
}
