#include "services/auditor/story.h"
#include "common/base/cleanup.h"
#include "services/auditor/arguments.h"
#include "services/auditor/record_json.h"
#include "services/auditor/segment.h"

enum { RECORDS_MAX = 1000 };

typedef struct {
    slice_t event_id;
    json_writer_t *w;
    size_t n_records;
    bool more;
} story_t;

static result_t add_record(db_t *db, int64_t audit_id, json_writer_t *w)
{
    AUTO_BUF bytes = {0};
    entry_t entry;
    result_t r = segment_read(db, audit_id, &bytes, &entry);
    if (r == RESULT_OK)
        record_json(&entry, true, w);
    return r;
}

static result_t add_event(desk_t *desk, slice_t event_id, json_writer_t *w, fault_t *fault)
{
    AUTO_BUF bytes = {0};
    entry_t entry;
    json_key(w, "event");
    result_t r = archive_find(desk->archive, event_id, "event.accepted", 0, &bytes, &entry, fault);
    if (r == RESULT_NOT_FOUND) {
        json_null(w);
        return RESULT_OK;
    }
    if (r == RESULT_OK)
        record_json(&entry, true, w);
    return r;
}

/* Its replays have ids of their own and name it as webhook_id. */
static result_t add_records(story_t *story, db_t *db)
{
    db_stmt_t *stmt = db_stmt(db, "SELECT audit_id FROM record WHERE event_id = $1"
                                  " UNION SELECT audit_id FROM record WHERE webhook_id = $2"
                                  " ORDER BY audit_id");
    db_bind_text(stmt, 1, story->event_id);
    db_bind_text(stmt, 2, story->event_id);
    result_t r;
    while ((r = db_step(stmt)) == RESULT_OK) {
        story->more = story->n_records == RECORDS_MAX || story->w->to->size >= DESK_ANSWER_BYTES;
        if (story->more)
            break;
        r = add_record(db, db_int(stmt, 0), story->w);
        if (r != RESULT_OK)
            break;
        story->n_records++;
    }
    db_reset(stmt);
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

static result_t add_all(desk_t *desk, story_t *story, fault_t *fault)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = archive_segments(desk->archive, &segments);
    for (size_t i = 0; i < n && !story->more; i++) {
        db_t *db = NULL;
        if (!segments[i].live && !tail_span_reaches(&segments[i].span, story->event_id))
            continue;
        result_t r = archive_open(desk->archive, &segments[i], &db, fault);
        if (r == RESULT_OK)
            r = add_records(story, db);
        r = archive_end(desk->archive, &segments[i], db, r, fault);
        if (r != RESULT_OK && r != RESULT_NOT_FOUND)
            return r;
    }
    return RESULT_OK;
}

result_t story_answer(desk_t *desk, const json_tree_t *question, json_writer_t *w, fault_t *fault)
{
    story_t story = {.w = w};
    result_t r = argument_text(question, "event_id", ENTRY_EVENT_ID_MAX, &story.event_id, fault);
    if (r != RESULT_OK)
        return r;
    if (!story.event_id.size)
        return fault_set(fault, RESULT_INVALID, "\"event_id\" is missing");
    r = add_event(desk, story.event_id, w, fault);
    if (r != RESULT_OK)
        return r;
    json_key(w, "records");
    json_open_array(w);
    r = add_all(desk, &story, fault);
    json_close_array(w);
    json_key_bool(w, "more", story.more);
    if (r == RESULT_OK && story.n_records == 0)
        return fault_set(fault, RESULT_NOT_FOUND, "event %.*s is not found in history",
                         SLICE_ARG(story.event_id));
    return r;
}
