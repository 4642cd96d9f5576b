#include "services/auditor/segment.h"
#include "common/base/crash.h"
#include "common/wire/codec.h"
#include "common/wire/object.h"

#include <stdio.h>

enum { SEGMENT_VERSION = 1, STATE_ROW = 1 };

/* What a sealed segment gets, in this order; state.indexed says how many are there. By object only
 * attempts are searched (the query has to say status <> 0 as well): half of the rows. */
static const char *const indexes[] = {
    "CREATE INDEX record_object ON record (object) WHERE object IS NOT NULL AND status <> 0",
    "CREATE INDEX record_handler ON record (handler_id) WHERE handler_id IS NOT NULL",
};
enum { N_INDEXES = sizeof indexes / sizeof *indexes };

/* ---- Writing ---------------------------------------------------------------------------- */

static result_t add_detail(db_t *db, int64_t audit_id, slice_t encoded)
{
    db_stmt_t *stmt = db_stmt(db, "INSERT INTO detail (audit_id, bytes) VALUES ($1, $2)");
    db_bind_int(stmt, 1, audit_id);
    db_bind_blob(stmt, 2, encoded);
    return db_run(stmt);
}

result_t segment_add(db_t *db, const entry_t *entry, slice_t encoded)
{
    const record_t *record = &entry->record;
    db_stmt_t *stmt =
        db_stmt(db, "INSERT INTO record (audit_id, prev_id, at_ms, topic, node, service, status,"
                    " event_id, webhook_id, events_id, object_kind, object, handler_id)"
                    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)");
    db_bind_int(stmt, 1, entry->audit_id);
    db_bind_int(stmt, 2, entry->prev_id);
    db_bind_int(stmt, 3, record->at_ms);
    db_bind_text(stmt, 4, record->topic);
    db_bind_text(stmt, 5, entry->node);
    db_bind_text(stmt, 6, entry->service);
    db_bind_int(stmt, 7, entry_status(record->topic));
    db_bind_text(stmt, 8, record->event_id);
    db_bind_text(stmt, 9, record->webhook_id);
    db_bind_text(stmt, 10, record->events_id);
    db_bind_text(stmt, 11, record->object_kind);
    if (object_is_ordered(record->object_id))
        db_bind_text(stmt, 12, object_unquoted(record->object_id));
    int64_t handler_id = record->handler_id ? record->handler_id : record->replay_handler;
    if (handler_id)
        db_bind_int(stmt, 13, handler_id);
    result_t r = db_run(stmt);
    return r == RESULT_OK ? add_detail(db, entry->audit_id, encoded) : r;
}

static result_t save_topic(db_t *db, const tail_topic_t *topic)
{
    db_stmt_t *stmt = db_stmt(db, "INSERT INTO topic (topic, last_id) VALUES ($1, $2)"
                                  " ON CONFLICT (topic) DO UPDATE SET last_id = excluded.last_id");
    db_bind_text(stmt, 1, slice_of(topic->topic));
    db_bind_int(stmt, 2, topic->last_id);
    return db_run(stmt);
}

static result_t save_state(db_t *db, const tail_t *tail)
{
    db_stmt_t *stmt = db_stmt(
        db, "INSERT INTO state (id, version, first_id, next_id, handlers_seq, created_ms, first_ms,"
            " last_ms, first_event, last_event, attempts, indexed)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0)"
            " ON CONFLICT (id) DO UPDATE SET next_id = excluded.next_id,"
            " handlers_seq = excluded.handlers_seq, first_ms = excluded.first_ms,"
            " last_ms = excluded.last_ms, first_event = excluded.first_event,"
            " last_event = excluded.last_event, attempts = excluded.attempts");
    db_bind_int(stmt, 1, STATE_ROW);
    db_bind_int(stmt, 2, SEGMENT_VERSION);
    db_bind_int(stmt, 3, tail->span.first_id);
    db_bind_int(stmt, 4, tail->next_id);
    db_bind_int(stmt, 5, tail->handlers_seq);
    db_bind_int(stmt, 6, tail->span.created_ms);
    db_bind_int(stmt, 7, tail->span.first_ms);
    db_bind_int(stmt, 8, tail->span.last_ms);
    db_bind_text(stmt, 9, slice_of(tail->span.first_event));
    db_bind_text(stmt, 10, slice_of(tail->span.last_event));
    db_bind_int(stmt, 11, tail->span.attempts);
    return db_run(stmt);
}

result_t segment_save_tail(db_t *db, const tail_t *tail, int64_t since_id)
{
    result_t r = save_state(db, tail);
    for (size_t i = 0; i < tail->n_topics && r == RESULT_OK; i++)
        if (tail->topics[i].last_id >= since_id)
            r = save_topic(db, &tail->topics[i]);
    return r;
}

static result_t save_mark(db_t *db, const marks_row_t *row)
{
    db_stmt_t *stmt =
        db_stmt(db, "INSERT INTO mark (node, boot, service, number, heard_ms)"
                    " VALUES ($1, $2, $3, $4, $5)"
                    " ON CONFLICT (node, boot) DO UPDATE SET number = excluded.number,"
                    " heard_ms = excluded.heard_ms");
    db_bind_text(stmt, 1, slice_of(row->node));
    db_bind_int(stmt, 2, row->boot);
    db_bind_text(stmt, 3, slice_of(row->service));
    db_bind_int(stmt, 4, row->number);
    db_bind_int(stmt, 5, row->heard_wall_ms);
    return db_run(stmt);
}

static result_t save_origin(db_t *db, const marks_row_t *row)
{
    db_stmt_t *stmt = db_stmt(db, "INSERT INTO origin (node, number) VALUES ($1, $2)"
                                  " ON CONFLICT (node) DO UPDATE SET number = excluded.number");
    db_bind_text(stmt, 1, slice_of(row->node));
    db_bind_int(stmt, 2, row->origin);
    return db_run(stmt);
}

result_t segment_save_marks(db_t *db, const marks_rows_t *rows)
{
    result_t r = RESULT_OK;
    for (size_t i = 0; i < rows->n_rows && r == RESULT_OK; i++) {
        const marks_row_t *row = &rows->rows[i];
        if (row->boot)
            r = save_mark(db, row);
        if (r == RESULT_OK && row->origin)
            r = save_origin(db, row);
    }
    return r;
}

/* ---- Loading ---------------------------------------------------------------------------- */

static void copy_text(char *to, size_t size, slice_t text)
{
    snprintf(to, size, "%.*s", SLICE_ARG(text));
}

static result_t load_state(db_t *db, tail_t *tail, bool *ret_indexed)
{
    db_stmt_t *stmt = db_stmt(
        db, "SELECT version, first_id, next_id, handlers_seq, created_ms, first_ms, last_ms,"
            " first_event, last_event, attempts, indexed FROM state WHERE id = $1");
    db_bind_int(stmt, 1, STATE_ROW);
    result_t r = db_step(stmt);
    if (r != RESULT_OK)
        return r;
    if (db_int(stmt, 0) > SEGMENT_VERSION) {
        db_reset(stmt);
        return RESULT_VERSION;
    }
    tail->span.first_id = db_int(stmt, 1);
    tail->next_id = db_int(stmt, 2);
    tail->handlers_seq = db_int(stmt, 3);
    tail->span.created_ms = db_int(stmt, 4);
    tail->span.first_ms = db_int(stmt, 5);
    tail->span.last_ms = db_int(stmt, 6);
    copy_text(tail->span.first_event, sizeof tail->span.first_event, db_slice(stmt, 7));
    copy_text(tail->span.last_event, sizeof tail->span.last_event, db_slice(stmt, 8));
    tail->span.attempts = db_int(stmt, 9);
    *ret_indexed = db_int(stmt, 10) >= N_INDEXES;
    db_reset(stmt);
    return RESULT_OK;
}

static result_t load_topics(db_t *db, tail_t *tail)
{
    db_stmt_t *stmt = db_stmt(db, "SELECT topic, last_id FROM topic ORDER BY topic");
    result_t r;
    while ((r = db_step(stmt)) == RESULT_OK)
        tail_restore_topic(tail, db_slice(stmt, 0), db_int(stmt, 1));
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

static result_t load_marks(db_t *db, marks_t *marks)
{
    result_t r;
    db_stmt_t *stmt = db_stmt(db, "SELECT node, boot, service, number, heard_ms FROM mark"
                                  " ORDER BY heard_ms");
    while ((r = db_step(stmt)) == RESULT_OK) {
        marks_row_t row = {
            .boot = db_int(stmt, 1), .number = db_int(stmt, 3), .heard_wall_ms = db_int(stmt, 4)};
        copy_text(row.node, sizeof row.node, db_slice(stmt, 0));
        copy_text(row.service, sizeof row.service, db_slice(stmt, 2));
        marks_restore(marks, &row);
    }
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

static result_t load_origins(db_t *db, marks_t *marks)
{
    result_t r;
    db_stmt_t *stmt = db_stmt(db, "SELECT node, number FROM origin ORDER BY node");
    while ((r = db_step(stmt)) == RESULT_OK) {
        marks_row_t row = {.origin = db_int(stmt, 1)};
        copy_text(row.node, sizeof row.node, db_slice(stmt, 0));
        marks_restore(marks, &row);
    }
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

result_t segment_load(db_t *db, tail_t *ret_tail, bool *ret_indexed, marks_t *marks)
{
    tail_t tail;
    bool indexed = false;
    tail_init(&tail);
    result_t r = load_state(db, &tail, &indexed);
    if (r == RESULT_OK)
        r = load_topics(db, &tail);
    if (r == RESULT_OK && marks)
        r = load_origins(db, marks);
    if (r == RESULT_OK && marks)
        r = load_marks(db, marks);
    if (r != RESULT_OK)
        return r;
    *ret_tail = tail;
    *ret_indexed = indexed;
    return RESULT_OK;
}

/* ---- Indexes of a sealed one ------------------------------------------------------------ */

static result_t count_indexes(db_t *db, int64_t *ret_steps)
{
    db_stmt_t *stmt = db_stmt(db, "SELECT indexed FROM state WHERE id = $1");
    db_bind_int(stmt, 1, STATE_ROW);
    result_t r = db_step(stmt);
    if (r == RESULT_OK)
        *ret_steps = db_int(stmt, 0);
    db_reset(stmt);
    return r;
}

static result_t make_index(db_t *db, int64_t step, fault_t *fault)
{
    if (step >= N_INDEXES)
        return RESULT_NOT_FOUND;
    result_t r = db_exec(db, indexes[step], fault);
    if (r != RESULT_OK)
        return r;
    db_stmt_t *stmt = db_stmt(db, "UPDATE state SET indexed = $2 WHERE id = $1");
    db_bind_int(stmt, 1, STATE_ROW);
    db_bind_int(stmt, 2, step + 1);
    return db_run(stmt);
}

result_t segment_index_step(db_t *db, fault_t *fault)
{
    int64_t steps = 0;
    result_t r = db_begin(db);
    if (r == RESULT_OK)
        r = count_indexes(db, &steps);
    if (r == RESULT_OK)
        r = make_index(db, steps, fault);
    CRASH_POINT("auditor.sealing");
    if (r == RESULT_OK)
        r = db_commit(db);
    if (r != RESULT_OK) {
        db_rollback(db);
        return r == RESULT_NOT_FOUND ? r : fault_set(fault, r, "indexing: %s", db_error(db));
    }
    return db_checkpoint(db);
}

/* ---- Reading ---------------------------------------------------------------------------- */

result_t segment_newest_id(db_t *db, int64_t *ret_id)
{
    db_stmt_t *stmt = db_stmt(db, "SELECT audit_id FROM record ORDER BY audit_id DESC LIMIT 1");
    result_t r = db_step(stmt);
    if (r == RESULT_OK)
        *ret_id = db_int(stmt, 0);
    db_reset(stmt);
    return r;
}

result_t segment_find(db_t *db, slice_t event_id, const char *topic, int64_t *ret_id)
{
    db_stmt_t *stmt = db_stmt(db, "SELECT audit_id FROM record WHERE event_id = $1 AND topic = $2"
                                  " ORDER BY audit_id LIMIT 1");
    db_bind_text(stmt, 1, event_id);
    db_bind_text(stmt, 2, slice_of(topic));
    result_t r = db_step(stmt);
    if (r == RESULT_OK)
        *ret_id = db_int(stmt, 0);
    db_reset(stmt);
    return r;
}

static slice_t add_bytes(buf_t *bytes, slice_t slice)
{
    buf_add_slice(bytes, slice);
    return (slice_t){bytes->data + bytes->size - slice.size, slice.size};
}

static result_t take_entry(db_stmt_t *stmt, buf_t *bytes, entry_t *entry)
{
    slice_t node = db_slice(stmt, 1), service = db_slice(stmt, 2), encoded = db_slice(stmt, 3);
    buf_clear(bytes);
    buf_reserve(bytes, node.size + service.size + encoded.size);
    entry->prev_id = db_int(stmt, 0);
    entry->node = add_bytes(bytes, node);
    entry->service = add_bytes(bytes, service);
    encoded = add_bytes(bytes, encoded);
    result_t r = codec_decode(encoded, &record_table, &entry->record);
    return r == RESULT_OK ? r : RESULT_CORRUPT;
}

result_t segment_read(db_t *db, int64_t audit_id, buf_t *bytes, entry_t *ret_entry)
{
    entry_t entry = {.audit_id = audit_id};
    db_stmt_t *stmt =
        db_stmt(db, "SELECT r.prev_id, r.node, r.service, d.bytes FROM record r"
                    " JOIN detail d ON d.audit_id = r.audit_id WHERE r.audit_id = $1");
    db_bind_int(stmt, 1, audit_id);
    result_t r = db_step(stmt);
    if (r == RESULT_OK)
        r = take_entry(stmt, bytes, &entry);
    db_reset(stmt);
    if (r == RESULT_OK)
        *ret_entry = entry;
    return r;
}
