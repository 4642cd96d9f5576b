#include "services/auditor/fill.h"
#include "common/base/cleanup.h"
#include "services/auditor/arguments.h"
#include "services/auditor/record_json.h"
#include "services/auditor/segment.h"

enum { RECORDS_MAX = 1000, TOPICS_MAX = 64 };

typedef struct {
    desk_t *desk;
    int64_t began_ms;
    int64_t from, to;
    slice_t topics[TOPICS_MAX]; /* borrowed from the question */
    size_t n_topics;            /* 0: all */
    json_writer_t *w;
    size_t n_records;
    int64_t next; /* the first id that was not looked at */
    bool ended;   /* before to was reached */
} fill_t;

static result_t read_topics(const json_tree_t *question, fill_t *fill, fault_t *fault)
{
    const json_tree_t *topics = json_get(question, "topics");
    if (!topics || YAJL_IS_NULL(topics))
        return RESULT_OK;
    if (!YAJL_IS_ARRAY(topics) || topics->u.array.len > TOPICS_MAX)
        return fault_set(fault, RESULT_INVALID, "\"topics\" is to be an array of at most %d",
                         TOPICS_MAX);
    for (size_t i = 0; i < topics->u.array.len; i++) {
        const json_tree_t *topic = topics->u.array.values[i];
        if (!YAJL_IS_STRING(topic))
            return fault_set(fault, RESULT_INVALID, "\"topics\" is to hold texts");
        fill->topics[fill->n_topics++] = slice_of(topic->u.string);
    }
    return RESULT_OK;
}

static bool is_wanted(const fill_t *fill, slice_t topic)
{
    for (size_t i = 0; i < fill->n_topics; i++)
        if (slice_equal(fill->topics[i], topic))
            return true;
    return fill->n_topics == 0;
}

static result_t add_record(fill_t *fill, db_t *db, int64_t audit_id)
{
    AUTO_BUF bytes = {0};
    entry_t entry;
    result_t r = segment_read(db, audit_id, &bytes, &entry);
    if (r == RESULT_OK) {
        record_json(&entry, false, fill->w);
        fill->n_records++;
    }
    return r;
}

static result_t read_segment(fill_t *fill, db_t *db)
{
    db_stmt_t *stmt = db_stmt(db, "SELECT audit_id, topic FROM record WHERE audit_id >= $1"
                                  " AND audit_id <= $2 ORDER BY audit_id");
    db_bind_int(stmt, 1, fill->next);
    db_bind_int(stmt, 2, fill->to);
    result_t r;
    while ((r = db_step(stmt)) == RESULT_OK) {
        int64_t audit_id = db_int(stmt, 0);
        if (is_wanted(fill, db_slice(stmt, 1)))
            r = add_record(fill, db, audit_id);
        if (r != RESULT_OK)
            break;
        fill->next = audit_id + 1;
        fill->ended = fill->n_records == RECORDS_MAX || fill->w->to->size >= DESK_ANSWER_BYTES ||
                      desk_is_late(fill->desk, fill->began_ms);
        if (fill->ended)
            break;
    }
    db_reset(stmt);
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

static result_t read_all(fill_t *fill, fault_t *fault)
{
    AUTO_FREE shelf_segment_t *segments = NULL;
    size_t n = archive_segments(fill->desk->archive, &segments);
    for (size_t i = 0; i < n && !fill->ended; i++) {
        db_t *db = NULL;
        if (segments[i].last_id < fill->next || segments[i].span.first_id > fill->to)
            continue;
        result_t r = archive_open(fill->desk->archive, &segments[i], &db, fault);
        if (r == RESULT_OK)
            r = read_segment(fill, db);
        r = archive_end(fill->desk->archive, &segments[i], db, r, fault);
        if (r != RESULT_OK && r != RESULT_NOT_FOUND)
            return r;
    }
    return RESULT_OK;
}

result_t fill_answer(desk_t *desk, const json_tree_t *question, json_writer_t *w, fault_t *fault)
{
    fill_t fill = {.desk = desk, .began_ms = clk_mono_ms(), .w = w};
    result_t r = argument_int(question, "from", 1, 0, INT64_MAX - 1, &fill.from, fault);
    if (r == RESULT_OK)
        r = argument_int(question, "to", INT64_MAX - 1, 0, INT64_MAX - 1, &fill.to, fault);
    if (r == RESULT_OK)
        r = read_topics(question, &fill, fault);
    if (r != RESULT_OK)
        return r;
    fill.next = fill.from;
    json_key(w, "records");
    json_open_array(w);
    r = read_all(&fill, fault);
    json_close_array(w);
    json_key(w, "next");
    if (fill.ended && fill.next <= fill.to)
        json_int(w, fill.next);
    else
        json_null(w);
    json_key_int(w, "oldest", shelf_oldest_id(archive_shelf(desk->archive)));
    return r;
}
