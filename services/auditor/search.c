#include "services/auditor/search.h"
#include "common/base/cleanup.h"
#include "common/service/handler.h"
#include "services/auditor/arguments.h"
#include "services/auditor/record_json.h"
#include "services/auditor/segment.h"

#include <ctype.h>

enum {
    LIMIT_MAX = 1000,
    LIMIT_DEFAULT = 50,
    TEXT_MAX = 1024,
    WINDOW = 16384, /* ids scanned between two looks at the clock */
};
static const int64_t since_default_ms = 86400000;

/* What is asked for; slices borrow from the question. */
typedef struct {
    slice_t events, object, text;
    entry_status_t status; /* ENTRY_NO_STATUS: any */
    int64_t handler_id;    /* 0: any */
    int64_t since_ms, until_ms;
    int64_t limit;
    int64_t before; /* ids below it */
} search_t;

/* How far the answer has come. */
typedef struct {
    desk_t *desk;
    int64_t began_ms;
    json_writer_t *w;
    int64_t n_records;
    int64_t at_id; /* every id from here on was looked at */
    int64_t at_ms; /* at_ms of the last row that was looked at */
    bool ended;    /* before all was searched */
} progress_t;

bool search_contains(slice_t text, slice_t part)
{
    if (part.size == 0)
        return true;
    int first = tolower((unsigned char)part.data[0]);
    for (size_t i = 0; i + part.size <= text.size; i++)
        if (tolower((unsigned char)text.data[i]) == first &&
            strncasecmp(text.data + i, part.data, part.size) == 0)
            return true;
    return false;
}

static result_t read_status(slice_t text, entry_status_t *ret_status, fault_t *fault)
{
    if (!text.data || slice_is(text, ""))
        *ret_status = ENTRY_NO_STATUS;
    else if (slice_is(text, "success"))
        *ret_status = ENTRY_SUCCESS;
    else if (slice_is(text, "fail"))
        *ret_status = ENTRY_FAIL;
    else
        return fault_set(fault, RESULT_INVALID, "\"status\" is to be success or fail");
    return RESULT_OK;
}

static result_t read_numbers(const json_tree_t *q, search_t *search, fault_t *fault)
{
    int64_t since_ms = clk_wall_ms() - since_default_ms;
    result_t r = argument_int(q, "handler_id", 0, 0, INT64_MAX, &search->handler_id, fault);
    if (r == RESULT_OK)
        r = argument_int(q, "since_ms", since_ms, 0, INT64_MAX, &search->since_ms, fault);
    if (r == RESULT_OK)
        r = argument_int(q, "until_ms", INT64_MAX, 0, INT64_MAX, &search->until_ms, fault);
    if (r == RESULT_OK)
        r = argument_int(q, "limit", LIMIT_DEFAULT, 1, INT64_MAX, &search->limit, fault);
    if (r == RESULT_OK)
        r = argument_int(q, "before", INT64_MAX, 1, INT64_MAX, &search->before, fault);
    if (search->limit > LIMIT_MAX)
        search->limit = LIMIT_MAX;
    return r;
}

static result_t read_question(const json_tree_t *q, search_t *search, fault_t *fault)
{
    slice_t status = {0};
    result_t r = argument_text(q, "event", TEXT_MAX, &search->events, fault);
    if (r == RESULT_OK)
        r = argument_text(q, "object_id", TEXT_MAX, &search->object, fault);
    if (r == RESULT_OK)
        r = argument_text(q, "text", TEXT_MAX, &search->text, fault);
    if (r == RESULT_OK)
        r = argument_text(q, "status", TEXT_MAX, &status, fault);
    if (r == RESULT_OK)
        r = read_status(status, &search->status, fault);
    return r == RESULT_OK ? read_numbers(q, search, fault) : r;
}

/* ---- One row ---------------------------------------------------------------------------- */

#define COLUMNS "SELECT audit_id, at_ms, status, events_id, object, handler_id FROM record WHERE "
#define RANGE                                                                                      \
    "audit_id >= $1 AND audit_id < $2 AND at_ms >= $3 AND at_ms <= $4 AND status <> 0"             \
    " ORDER BY audit_id DESC"

static bool is_wanted(const search_t *search, db_stmt_t *row)
{
    if (search->status && db_int(row, 2) != (int64_t)search->status)
        return false;
    if (search->handler_id && db_int(row, 5) != search->handler_id)
        return false;
    if (search->object.data && !slice_equal(search->object, db_slice(row, 4)))
        return false;
    return !search->events.data || handler_pattern_covers(search->events, db_slice(row, 3));
}

static result_t add_record(const search_t *search, progress_t *progress, db_t *db, int64_t audit_id)
{
    AUTO_BUF bytes = {0};
    entry_t entry;
    result_t r = segment_read(db, audit_id, &bytes, &entry);
    if (r != RESULT_OK)
        return r;
    const record_t *record = &entry.record;
    if (search->text.data && !search_contains(record->response, search->text) &&
        !search_contains(record->error, search->text))
        return RESULT_OK;
    record_json(&entry, false, progress->w);
    progress->n_records++;
    return RESULT_OK;
}

static result_t take_rows(const search_t *search, progress_t *progress, db_t *db, db_stmt_t *stmt)
{
    result_t r;
    while ((r = db_step(stmt)) == RESULT_OK) {
        progress->ended = progress->n_records == search->limit ||
                          progress->w->to->size >= DESK_ANSWER_BYTES ||
                          desk_is_late(progress->desk, progress->began_ms);
        if (progress->ended)
            break;
        int64_t audit_id = db_int(stmt, 0);
        progress->at_id = audit_id;
        progress->at_ms = db_int(stmt, 1);
        if (is_wanted(search, stmt))
            r = add_record(search, progress, db, audit_id);
        if (r != RESULT_OK)
            break;
    }
    db_reset(stmt);
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

/* ---- One segment ------------------------------------------------------------------------ */

static void bind_range(const search_t *search, db_stmt_t *stmt, int64_t low, int64_t high)
{
    db_bind_int(stmt, 1, low);
    db_bind_int(stmt, 2, high);
    db_bind_int(stmt, 3, search->since_ms);
    db_bind_int(stmt, 4, search->until_ms);
}

static result_t scan(const search_t *search, progress_t *progress, db_t *db, int64_t low)
{
    int64_t high = 0;
    result_t r = segment_newest_id(db, &high);
    if (r == RESULT_NOT_FOUND)
        return RESULT_OK;
    if (++high > search->before)
        high = search->before;
    while (r == RESULT_OK && high > low && !progress->ended) {
        int64_t from = high - low > WINDOW ? high - WINDOW : low;
        db_stmt_t *stmt = db_stmt(db, COLUMNS RANGE);
        bind_range(search, stmt, from, high);
        r = take_rows(search, progress, db, stmt);
        if (!progress->ended)
            progress->at_id = high = from;
        if (desk_is_late(progress->desk, progress->began_ms))
            progress->ended = true;
    }
    return r;
}

static result_t search_segment(const search_t *search, progress_t *progress,
                               const shelf_segment_t *segment, db_t *db)
{
    db_stmt_t *stmt;
    int64_t low = segment->span.first_id;
    if (!segment->indexed || (!search->object.data && !search->handler_id))
        return scan(search, progress, db, low);
    if (search->object.data) {
        stmt = db_stmt(db, COLUMNS "object = $5 AND " RANGE);
        db_bind_text(stmt, 5, search->object);
    } else {
        stmt = db_stmt(db, COLUMNS "handler_id = $5 AND " RANGE);
        db_bind_int(stmt, 5, search->handler_id);
    }
    bind_range(search, stmt, low, search->before);
    return take_rows(search, progress, db, stmt);
}

static bool may_have(const search_t *search, const shelf_segment_t *segment)
{
    if (segment->span.first_id >= search->before)
        return false;
    return segment->live || (segment->span.last_ms >= search->since_ms &&
                             segment->span.first_ms <= search->until_ms);
}

static result_t search_all(const search_t *search, progress_t *progress, fault_t *fault)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    archive_t *archive = progress->desk->archive;
    size_t n = archive_segments(archive, &segments);
    for (size_t i = n; i-- > 0 && !progress->ended;) {
        db_t *db = NULL;
        if (!may_have(search, &segments[i]))
            continue;
        result_t r = archive_open(archive, &segments[i], &db, fault);
        if (r == RESULT_OK)
            r = search_segment(search, progress, &segments[i], db);
        r = archive_end(archive, &segments[i], db, r, fault);
        if (r != RESULT_OK && r != RESULT_NOT_FOUND)
            return r;
    }
    return RESULT_OK;
}

result_t search_answer(desk_t *desk, const json_tree_t *question, json_writer_t *w, fault_t *fault)
{
    search_t search = {0};
    progress_t progress = {.desk = desk, .began_ms = clk_mono_ms(), .w = w};
    result_t r = read_question(question, &search, fault);
    if (r != RESULT_OK)
        return r;
    progress.at_id = search.before;
    progress.at_ms = search.until_ms == INT64_MAX ? clk_wall_ms() : search.until_ms;
    json_key(w, "records");
    json_open_array(w);
    r = search_all(&search, &progress, fault);
    json_close_array(w);
    json_key_bool(w, "more", progress.ended);
    if (progress.ended)
        json_key_int(w, "before", progress.at_id);
    json_key_int(w, "searched_to_ms", progress.ended ? progress.at_ms : search.since_ms);
    return r;
}
