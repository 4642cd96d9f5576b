#include "services/deliverer/backlog.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "common/wire/codec.h"

struct backlog_t {
    db_t *db;
};

result_t backlog_open(const queue_t *queue, backlog_t **ret_backlog, fault_t *fault)
{
    backlog_t *backlog = MEM_NEW(backlog_t);
    result_t r = store_reader(queue_store(queue), &backlog->db, fault);
    if (r == RESULT_OK)
        *ret_backlog = backlog;
    else
        free(backlog);
    return r;
}

void backlog_close(backlog_t **backlog)
{
    if (!*backlog)
        return;
    db_close(&(*backlog)->db);
    free(TAKE(*backlog));
}

const char *backlog_error(const backlog_t *backlog)
{
    return db_error(backlog->db);
}

int64_t backlog_size_bytes(const backlog_t *backlog)
{
    return db_size_bytes(backlog->db);
}

/* The end of a loop over rows: having seen them all is what was wanted. */
static result_t end_rows(result_t r)
{
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

/* One number of one row. */
static result_t one_int(db_stmt_t *stmt, int64_t *ret_value)
{
    result_t r = db_step(stmt);
    if (r == RESULT_OK)
        *ret_value = db_int(stmt, 0);
    db_reset(stmt);
    return r;
}

result_t backlog_last_seq(backlog_t *backlog, int64_t *ret_seq)
{
    return one_int(db_stmt(backlog->db, "SELECT COALESCE(MAX(seq), 0) FROM events"), ret_seq);
}

result_t backlog_outbox_last(backlog_t *backlog, int64_t *ret_seq)
{
    return store_meta_int(backlog->db, "outbox_last", ret_seq);
}

result_t backlog_table_version(backlog_t *backlog, int64_t *ret_version)
{
    return store_meta_int(backlog->db, "table_version", ret_version);
}

result_t backlog_outbox_first(backlog_t *backlog, int64_t *ret_seq)
{
    *ret_seq = 0;
    return end_rows(one_int(
        db_stmt(backlog->db, "SELECT seq - n + 1 FROM outbox ORDER BY seq LIMIT 1"), ret_seq));
}

result_t backlog_outbox_newest(backlog_t *backlog, int64_t *ret_seq)
{
    return one_int(db_stmt(backlog->db, "SELECT COALESCE(MAX(seq), 0) FROM outbox"), ret_seq);
}

result_t backlog_low_waters(backlog_t *backlog, backlog_on_low_water *on_low_water, void *owner)
{
    result_t r;
    db_stmt_t *stmt = db_stmt(backlog->db, "SELECT node, partition, id FROM low_water");
    while ((r = db_step(stmt)) == RESULT_OK)
        on_low_water(owner, db_slice(stmt, 0), (int)db_int(stmt, 1), db_slice(stmt, 2));
    return end_rows(r);
}

static void give_known(slice_t ids, slice_t low_water, slice_t node, int partition,
                       backlog_on_known *on_known, void *owner)
{
    for (size_t at = 0; at + QUEUE_KNOWN_SIZE <= ids.size; at += QUEUE_KNOWN_SIZE) {
        slice_t id = {ids.data + at, ULID_SIZE};
        if (low_water.size < ULID_SIZE || memcmp(id.data, low_water.data, ULID_SIZE) >= 0)
            on_known(owner, node, partition, id, ids.data[at + ULID_SIZE] == '1');
    }
}

result_t backlog_known(backlog_t *backlog, slice_t node, int partition, slice_t low_water,
                       backlog_on_known *on_known, void *owner)
{
    result_t r;
    db_stmt_t *stmt = db_stmt(backlog->db, "SELECT ids FROM known"
                                           " WHERE node = $1 AND partition = $2 AND last_id >= $3"
                                           " ORDER BY last_id");
    db_bind_text(stmt, 1, node);
    db_bind_int(stmt, 2, partition);
    db_bind_text(stmt, 3, low_water);
    while ((r = db_step(stmt)) == RESULT_OK)
        give_known(db_slice(stmt, 0), low_water, node, partition, on_known, owner);
    return end_rows(r);
}

result_t backlog_failing(backlog_t *backlog, backlog_on_failing *on_failing, void *owner)
{
    result_t r;
    db_stmt_t *stmt = db_stmt(backlog->db, "SELECT handler_id, since_ms FROM failing");
    while ((r = db_step(stmt)) == RESULT_OK)
        on_failing(owner, db_int(stmt, 0), db_int(stmt, 1));
    return end_rows(r);
}

result_t backlog_cancels(backlog_t *backlog, backlog_on_cancel *on_cancel, void *owner)
{
    result_t r;
    db_stmt_t *stmt = db_stmt(
        backlog->db, "SELECT id, handler_id, object, first_seq, last_seq FROM cancels ORDER BY id");
    while ((r = db_step(stmt)) == RESULT_OK) {
        queue_cancel_t cancel = {.id = db_int(stmt, 0),
                                 .handler_id = db_int(stmt, 1),
                                 .object = (uint64_t)db_int(stmt, 2),
                                 .first_seq = db_int(stmt, 3),
                                 .last_seq = db_int(stmt, 4)};
        on_cancel(owner, &cancel);
    }
    return end_rows(r);
}

/* event_seq, handler_id, object, attempts, first_ms, due_ms from column 0 on */
static queue_delivery_t delivery_of(db_stmt_t *stmt)
{
    return (queue_delivery_t){.seq = db_int(stmt, 0),
                              .handler_id = db_int(stmt, 1),
                              .object = (uint64_t)db_int(stmt, 2),
                              .attempts = db_int(stmt, 3),
                              .first_ms = db_int(stmt, 4),
                              .due_ms = db_int(stmt, 5)};
}

result_t backlog_waiting(backlog_t *backlog, backlog_on_waiting *on_waiting, void *owner)
{
    result_t r;
    db_stmt_t *stmt =
        db_stmt(backlog->db, "SELECT event_seq, handler_id, object, attempts, first_ms, due_ms"
                             " FROM deliveries ORDER BY event_seq, handler_id");
    while ((r = db_step(stmt)) == RESULT_OK) {
        queue_delivery_t delivery = delivery_of(stmt);
        on_waiting(owner, &delivery);
    }
    return end_rows(r);
}

result_t backlog_lane(backlog_t *backlog, int64_t handler_id, uint64_t object, int64_t after_seq,
                      size_t max, queue_delivery_t *ret_deliveries, size_t *ret_n)
{
    result_t r = RESULT_OK;
    size_t n = 0;
    db_stmt_t *stmt =
        db_stmt(backlog->db, "SELECT event_seq, handler_id, object, attempts, first_ms, due_ms"
                             " FROM deliveries"
                             " WHERE handler_id = $1 AND object = $2 AND event_seq > $3"
                             " ORDER BY event_seq LIMIT $4");
    db_bind_int(stmt, 1, handler_id);
    db_bind_int(stmt, 2, (int64_t)object);
    db_bind_int(stmt, 3, after_seq);
    db_bind_int(stmt, 4, (int64_t)max);
    while (n < max && (r = db_step(stmt)) == RESULT_OK)
        ret_deliveries[n++] = delivery_of(stmt);
    db_reset(stmt);
    *ret_n = n;
    return end_rows(r);
}

result_t backlog_lane_count(backlog_t *backlog, int64_t handler_id, uint64_t object,
                            int64_t max_seq, int64_t *ret_count)
{
    db_stmt_t *stmt = db_stmt(backlog->db, "SELECT COUNT(*) FROM deliveries WHERE handler_id = $1"
                                           " AND object = $2 AND event_seq <= $3");
    db_bind_int(stmt, 1, handler_id);
    db_bind_int(stmt, 2, (int64_t)object);
    db_bind_int(stmt, 3, max_seq);
    return one_int(stmt, ret_count);
}

/* id, events_id, kind, object_id, webhook_id, replay_handler, replay, accepted_ms from column on */
static event_t event_of(db_stmt_t *stmt, int column)
{
    return (event_t){.id = db_slice(stmt, column),
                     .events_id = db_slice(stmt, column + 1),
                     .object_kind = db_slice(stmt, column + 2),
                     .object_id = db_slice(stmt, column + 3),
                     .webhook_id = db_slice(stmt, column + 4),
                     .replay_handler = db_int(stmt, column + 5),
                     .replay = db_int(stmt, column + 6),
                     .accepted_ms = db_int(stmt, column + 7)};
}

result_t backlog_event(backlog_t *backlog, int64_t seq, backlog_on_event *on_event, void *owner)
{
    db_stmt_t *stmt =
        db_stmt(backlog->db, "SELECT id, events_id, kind, object_id, webhook_id, replay_handler,"
                             " replay, accepted_ms, body FROM events"
                             " WHERE seq = $1 AND body IS NOT NULL");
    db_bind_int(stmt, 1, seq);
    result_t r = db_step(stmt);
    if (r == RESULT_OK) {
        event_t event = event_of(stmt, 0);
        event.body = db_slice(stmt, 8);
        on_event(owner, &event);
    }
    db_reset(stmt);
    return r;
}

/* The records of a row from from_seq on. False: on_record wants no more, or it holds none. */
static bool give_records(slice_t records, int64_t seq, int64_t from_seq,
                         backlog_on_record *on_record, void *owner, result_t *ret_result)
{
    codec_reader_t reader;
    codec_reader_init(&reader, records);
    record_t record;
    for (; reader.at < records.size; seq++) {
        if (codec_next(&reader, &record_table, &record) != RESULT_OK) {
            *ret_result = RESULT_CORRUPT;
            return false;
        }
        if (seq >= from_seq && !on_record(owner, seq, &record))
            return false;
    }
    return true;
}

result_t backlog_outbox(backlog_t *backlog, int64_t from_seq, backlog_on_record *on_record,
                        void *owner)
{
    result_t r;
    db_stmt_t *stmt =
        db_stmt(backlog->db, "SELECT seq - n + 1, record FROM outbox WHERE seq >= $1 ORDER BY seq");
    db_bind_int(stmt, 1, from_seq);
    while ((r = db_step(stmt)) == RESULT_OK)
        if (!give_records(db_slice(stmt, 1), db_int(stmt, 0), from_seq, on_record, owner, &r))
            break;
    db_reset(stmt);
    return end_rows(r);
}

result_t backlog_find_event(backlog_t *backlog, slice_t id, int64_t *ret_seq)
{
    db_stmt_t *stmt = db_stmt(backlog->db, "SELECT seq FROM events WHERE id = $1");
    db_bind_text(stmt, 1, id);
    return one_int(stmt, ret_seq);
}

static result_t count_before(backlog_t *backlog, const queue_delivery_t *delivery,
                             int64_t *ret_before)
{
    db_stmt_t *stmt =
        db_stmt(backlog->db, "SELECT COUNT(*) FROM deliveries"
                             " WHERE handler_id = $1 AND object = $2 AND event_seq < $3");
    db_bind_int(stmt, 1, delivery->handler_id);
    db_bind_int(stmt, 2, (int64_t)delivery->object);
    db_bind_int(stmt, 3, delivery->seq);
    return one_int(stmt, ret_before);
}

result_t backlog_delivery(backlog_t *backlog, int64_t seq, int64_t handler_id,
                          queue_delivery_t *ret_delivery, int64_t *ret_before)
{
    queue_delivery_t delivery = {0};
    db_stmt_t *stmt =
        db_stmt(backlog->db, "SELECT event_seq, handler_id, object, attempts, first_ms, due_ms"
                             " FROM deliveries WHERE event_seq = $1 AND handler_id = $2");
    db_bind_int(stmt, 1, seq);
    db_bind_int(stmt, 2, handler_id);
    result_t r = db_step(stmt);
    if (r == RESULT_OK)
        delivery = delivery_of(stmt);
    db_reset(stmt);
    if (r == RESULT_OK)
        r = count_before(backlog, &delivery, ret_before);
    if (r == RESULT_OK)
        *ret_delivery = delivery;
    return r;
}

result_t backlog_event_handlers(backlog_t *backlog, int64_t seq, size_t max, int64_t *ret_ids,
                                size_t *ret_n)
{
    result_t r = RESULT_OK;
    size_t n = 0;
    db_stmt_t *stmt = db_stmt(backlog->db, "SELECT handler_id FROM deliveries WHERE event_seq = $1"
                                           " ORDER BY handler_id");
    db_bind_int(stmt, 1, seq);
    while (n < max && (r = db_step(stmt)) == RESULT_OK)
        ret_ids[n++] = db_int(stmt, 0);
    db_reset(stmt);
    *ret_n = n;
    return end_rows(r);
}

static result_t accepted_ms(backlog_t *backlog, int64_t seq, int64_t *ret_ms)
{
    db_stmt_t *stmt = db_stmt(backlog->db, "SELECT accepted_ms FROM events WHERE seq = $1");
    db_bind_int(stmt, 1, seq);
    return one_int(stmt, ret_ms);
}

result_t backlog_oldest(backlog_t *backlog, int64_t handler_id, int64_t *left, int64_t *seq,
                        int64_t *ret_accepted_ms)
{
    result_t r = RESULT_OK;
    bool found = false;
    db_stmt_t *stmt = db_stmt(backlog->db, "SELECT event_seq, handler_id FROM deliveries"
                                           " WHERE event_seq >= $1 ORDER BY event_seq");
    db_bind_int(stmt, 1, *seq);
    while (!found && *left > 0 && (r = db_step(stmt)) == RESULT_OK) {
        --*left;
        *seq = db_int(stmt, 0);
        found = db_int(stmt, 1) == handler_id;
    }
    db_reset(stmt);
    if (found)
        return accepted_ms(backlog, *seq, ret_accepted_ms);
    return r == RESULT_OK ? RESULT_AGAIN : r;
}

static db_stmt_t *deliveries_stmt(backlog_t *backlog, int64_t handler_id, const uint64_t *object,
                                  int64_t max, const backlog_cursor_t *cursor)
{
#define COLUMNS                                                                                    \
    "SELECT d.event_seq, d.handler_id, d.object, d.attempts, d.first_ms, d.due_ms, e.id,"          \
    " e.events_id, e.kind, e.object_id, e.webhook_id, e.replay_handler, e.replay, e.accepted_ms"   \
    " FROM deliveries d JOIN events e ON e.seq = d.event_seq WHERE d.handler_id = $1"
    db_stmt_t *stmt =
        object ? db_stmt(backlog->db, COLUMNS " AND d.object = $2 AND d.event_seq > $3"
                                              " ORDER BY d.event_seq LIMIT $4")
               : db_stmt(backlog->db, COLUMNS " AND (d.object, d.event_seq) > ($2, $3)"
                                              " ORDER BY d.object, d.event_seq LIMIT $4");
#undef COLUMNS
    int64_t lane = cursor->started ? (int64_t)cursor->object : INT64_MIN;
    db_bind_int(stmt, 1, handler_id);
    db_bind_int(stmt, 2, object ? (int64_t)*object : lane);
    db_bind_int(stmt, 3, cursor->started ? cursor->seq : -1);
    db_bind_int(stmt, 4, max);
    return stmt;
}

result_t backlog_deliveries(backlog_t *backlog, int64_t handler_id, const uint64_t *object,
                            int64_t max, backlog_cursor_t *cursor, backlog_on_delivery *on_delivery,
                            void *owner, int64_t *ret_n)
{
    result_t r;
    int64_t n = 0;
    db_stmt_t *stmt = deliveries_stmt(backlog, handler_id, object, max, cursor);
    while ((r = db_step(stmt)) == RESULT_OK) {
        queue_delivery_t delivery = delivery_of(stmt);
        event_t event = event_of(stmt, 6);
        *cursor = (backlog_cursor_t){delivery.object, delivery.seq, true};
        on_delivery(owner, &delivery, &event);
        n++;
    }
    *ret_n = n;
    return end_rows(r);
}
