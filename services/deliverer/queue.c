#include "services/deliverer/queue.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "common/wire/object.h"

/* clang-format off */
static const char *const migrations[] = {
    "CREATE TABLE events ("
    " seq ${key},"                 /* order of custody */
    " id TEXT NOT NULL,"
    " node TEXT NOT NULL,"         /* the emitter's */
    " partition BIGINT NOT NULL,"
    " unmatched BIGINT NOT NULL,"  /* 1: custody fixed an empty set of handlers */
    " object BIGINT NOT NULL,"     /* object_hash() */
    " events_id TEXT,"
    " kind TEXT,"
    " object_id TEXT,"             /* JSON as written */
    " webhook_id TEXT,"
    " replay_handler BIGINT,"
    " replay BIGINT,"
    " accepted_ms BIGINT,"
    " body BLOB);"                 /* NULL: nothing left to deliver, only the id is known */
    "CREATE UNIQUE INDEX events_source ON events (node, partition, id);"

    "CREATE TABLE deliveries ("
    " event_seq BIGINT NOT NULL,"
    " handler_id BIGINT NOT NULL,"
    " object BIGINT NOT NULL,"     /* lane key */
    " attempts BIGINT NOT NULL,"
    " first_ms BIGINT NOT NULL,"
    " due_ms BIGINT NOT NULL,"
    " PRIMARY KEY (event_seq, handler_id)) ${clustered};"
    "CREATE INDEX deliveries_lane ON deliveries (handler_id, object, event_seq);"

    "CREATE TABLE low_water ("
    " node TEXT NOT NULL,"
    " partition BIGINT NOT NULL,"
    " id TEXT NOT NULL,"
    " PRIMARY KEY (node, partition)) ${clustered};"

    "CREATE TABLE outbox (seq ${key}, record BLOB NOT NULL);"

    "CREATE TABLE failing (handler_id ${key}, since_ms BIGINT NOT NULL);"

    "CREATE TABLE cancels ("       /* asked for by an operator and not carried out yet */
    " id ${key},"
    " handler_id BIGINT NOT NULL,"
    " object BIGINT NOT NULL,"     /* lane key; 0: all of the handler */
    " first_seq BIGINT NOT NULL,"
    " last_seq BIGINT NOT NULL);",

    /* a row holds n records one behind the other, seq is the last one's number */
    "ALTER TABLE outbox ADD COLUMN n BIGINT NOT NULL DEFAULT 1;",

    /* what came into custody with one transaction, per source: QUEUE_KNOWN_SIZE bytes of each event,
       its id and 1 if nothing matched it. An event's row goes with its last delivery */
    "CREATE TABLE known ("
    " node TEXT NOT NULL,"         /* the emitter's */
    " partition BIGINT NOT NULL,"
    " last_id TEXT NOT NULL,"      /* the greatest */
    " ids TEXT NOT NULL,"
    " PRIMARY KEY (node, partition, last_id)) ${clustered};"
    "INSERT INTO known SELECT node, partition, id, id || unmatched FROM events"
    " WHERE id >= COALESCE((SELECT l.id FROM low_water l"
    "  WHERE l.node = events.node AND l.partition = events.partition), '');"
    "DELETE FROM events WHERE body IS NULL"
    " OR NOT EXISTS (SELECT 1 FROM deliveries WHERE event_seq = seq);"
    "DROP INDEX events_source;"
    "ALTER TABLE events DROP COLUMN unmatched;"
    "CREATE INDEX events_id ON events (id);",
    NULL,
};
/* clang-format on */

struct queue_t {
    store_t *store;
};

static result_t count(db_stmt_t *stmt, int partition, int64_t *ret_count)
{
    db_bind_int(stmt, 1, partition);
    result_t r = db_step(stmt);
    if (r == RESULT_OK)
        *ret_count = db_int(stmt, 0);
    db_reset(stmt);
    return r;
}

/* Those that wait, else those that their emitter may still ask for. */
static result_t count_events(db_t *db, int partition, int64_t *ret_count)
{
    result_t r = count(db_stmt(db, "SELECT COUNT(*) FROM events WHERE partition = $1"), partition,
                       ret_count);
    if (r != RESULT_OK || *ret_count)
        return r;
    r = count(db_stmt(db, "SELECT COALESCE(SUM(LENGTH(ids)), 0) FROM known WHERE partition = $1"
                          " AND last_id >= COALESCE((SELECT l.id FROM low_water l"
                          "  WHERE l.node = known.node AND l.partition = known.partition), '')"),
              partition, ret_count);
    *ret_count /= QUEUE_KNOWN_SIZE;
    return r;
}

/* Rows of a partition that was given away would never be delivered by anybody. */
static result_t check_lost(db_t *db, partitions_t lost, fault_t *fault)
{
    for (int p = 0; p < PARTITIONS; p++) {
        int64_t rows = 0;
        if (!partitions_has(lost, p))
            continue;
        result_t r = count_events(db, p, &rows);
        if (r != RESULT_OK)
            return fault_set(fault, r, "queue.db: %s", db_error(db));
        if (rows)
            return fault_set(fault, RESULT_INVALID,
                             "deliverer.partitions no longer has partition %d, but queue.db still "
                             "holds %lld events of it; put it back, start, run `provisor "
                             "drain`, then change the map",
                             p, (long long)rows);
    }
    return RESULT_OK;
}

static result_t store_map(db_t *db, partitions_t partitions, fault_t *fault)
{
    AUTO_BUF text = {0};
    partitions_format(partitions, &text);
    result_t r = db_begin(db);
    if (r == RESULT_OK)
        r = store_meta_set_text(db, "partitions", buf_slice(&text));
    if (r == RESULT_OK)
        r = db_commit(db);
    else
        db_rollback(db);
    if (r != RESULT_OK)
        return fault_set(fault, r, "queue.db: cannot store the map of partitions: %s",
                         db_error(db));
    return RESULT_OK;
}

static result_t take_map(db_t *db, partitions_t partitions, fault_t *fault)
{
    AUTO_BUF text = {0};
    partitions_t stored = 0;
    result_t r = store_meta_text(db, "partitions", &text);
    if (r == RESULT_OK)
        r = partitions_parse(buf_slice(&text), &stored, fault);
    if (r == RESULT_OK)
        r = check_lost(db, stored & ~partitions, fault);
    if (r != RESULT_OK && r != RESULT_NOT_FOUND)
        return r;
    return stored == partitions ? RESULT_OK : store_map(db, partitions, fault);
}

result_t queue_open(const char *dir, partitions_t partitions, queue_t **ret_queue, fault_t *fault)
{
    queue_t *queue = MEM_NEW(queue_t);
    store_spec_t spec = {
        .dir = dir, .name = "queue", .service = "deliverer", .migrations = migrations};
    result_t r = store_open(&spec, &queue->store, fault);
    if (r == RESULT_OK)
        r = take_map(store_db(queue->store), partitions, fault);
    if (r == RESULT_OK)
        *ret_queue = queue;
    else
        queue_close(&queue);
    return r;
}

void queue_close(queue_t **queue)
{
    if (!*queue)
        return;
    store_close(&(*queue)->store);
    free(TAKE(*queue));
}

const store_t *queue_store(const queue_t *queue)
{
    return queue->store;
}

db_t *queue_db(queue_t *queue)
{
    return store_db(queue->store);
}

const char *queue_node(const queue_t *queue)
{
    return store_node(queue->store);
}

result_t queue_put_event(db_t *db, int64_t seq, const event_t *event, slice_t node, int partition)
{
    db_stmt_t *stmt =
        db_stmt(db, "INSERT INTO events (seq, id, node, partition, object, events_id, kind,"
                    " object_id, webhook_id, replay_handler, replay, accepted_ms, body)"
                    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)");
    db_bind_int(stmt, 1, seq);
    db_bind_text(stmt, 2, event->id);
    db_bind_text(stmt, 3, node);
    db_bind_int(stmt, 4, partition);
    db_bind_int(stmt, 5, (int64_t)object_hash(event->object_kind, event->object_id, event->id));
    db_bind_text(stmt, 6, event->events_id);
    db_bind_text(stmt, 7, event->object_kind);
    db_bind_text(stmt, 8, event->object_id);
    db_bind_text(stmt, 9, event->webhook_id);
    db_bind_int(stmt, 10, event->replay_handler);
    db_bind_int(stmt, 11, event->replay);
    db_bind_int(stmt, 12, event->accepted_ms);
    db_bind_blob(stmt, 13, event->body);
    return db_run(stmt);
}

result_t queue_put_known(db_t *db, slice_t node, int partition, const ulid_t *last_id, slice_t ids)
{
    db_stmt_t *stmt = db_stmt(db, "INSERT INTO known (node, partition, last_id, ids)"
                                  " VALUES ($1, $2, $3, $4)");
    db_bind_text(stmt, 1, node);
    db_bind_int(stmt, 2, partition);
    db_bind_text(stmt, 3, slice_of(last_id->text));
    db_bind_text(stmt, 4, ids);
    return db_run(stmt);
}

result_t queue_put_delivery(db_t *db, const queue_delivery_t *delivery)
{
    db_stmt_t *stmt = db_stmt(
        db, "INSERT INTO deliveries (event_seq, handler_id, object, attempts, first_ms, due_ms)"
            " VALUES ($1, $2, $3, $4, $5, $6)");
    db_bind_int(stmt, 1, delivery->seq);
    db_bind_int(stmt, 2, delivery->handler_id);
    db_bind_int(stmt, 3, (int64_t)delivery->object);
    db_bind_int(stmt, 4, delivery->attempts);
    db_bind_int(stmt, 5, delivery->first_ms);
    db_bind_int(stmt, 6, delivery->due_ms);
    return db_run(stmt);
}

result_t queue_retry(db_t *db, const queue_delivery_t *delivery)
{
    db_stmt_t *stmt = db_stmt(db, "UPDATE deliveries SET attempts = $3, first_ms = $4, due_ms = $5"
                                  " WHERE event_seq = $1 AND handler_id = $2");
    db_bind_int(stmt, 1, delivery->seq);
    db_bind_int(stmt, 2, delivery->handler_id);
    db_bind_int(stmt, 3, delivery->attempts);
    db_bind_int(stmt, 4, delivery->first_ms);
    db_bind_int(stmt, 5, delivery->due_ms);
    return db_run(stmt);
}

result_t queue_finish(db_t *db, int64_t seq, int64_t handler_id)
{
    db_stmt_t *stmt =
        db_stmt(db, "DELETE FROM deliveries WHERE event_seq = $1 AND handler_id = $2");
    db_bind_int(stmt, 1, seq);
    db_bind_int(stmt, 2, handler_id);
    result_t r = db_run(stmt);
    if (r != RESULT_OK)
        return r;
    stmt = db_stmt(db, "DELETE FROM events WHERE seq = $1"
                       " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event_seq = $1)");
    db_bind_int(stmt, 1, seq);
    return db_run(stmt);
}

result_t queue_raise_low_water(db_t *db, slice_t node, int partition, slice_t id)
{
    db_stmt_t *stmt = db_stmt(db, "INSERT INTO low_water (node, partition, id) VALUES ($1, $2, $3)"
                                  " ON CONFLICT (node, partition) DO UPDATE SET id = excluded.id");
    db_bind_text(stmt, 1, node);
    db_bind_int(stmt, 2, partition);
    db_bind_text(stmt, 3, id);
    result_t r = db_run(stmt);
    if (r != RESULT_OK)
        return r;
    stmt = db_stmt(db, "DELETE FROM known WHERE node = $1 AND partition = $2 AND last_id < $3");
    db_bind_text(stmt, 1, node);
    db_bind_int(stmt, 2, partition);
    db_bind_text(stmt, 3, id);
    return db_run(stmt);
}

result_t queue_put_outbox(db_t *db, int64_t last_seq, int64_t n, slice_t records)
{
    db_stmt_t *stmt = db_stmt(db, "INSERT INTO outbox (seq, n, record) VALUES ($1, $2, $3)");
    db_bind_int(stmt, 1, last_seq);
    db_bind_int(stmt, 2, n);
    db_bind_blob(stmt, 3, records);
    return db_run(stmt);
}

result_t queue_settle_outbox(db_t *db, int64_t seq)
{
    db_stmt_t *stmt = db_stmt(db, "DELETE FROM outbox WHERE seq <= $1");
    db_bind_int(stmt, 1, seq);
    return db_run(stmt);
}

result_t queue_set_outbox_last(db_t *db, int64_t seq)
{
    return store_meta_set_int(db, "outbox_last", seq);
}

static result_t move_on(db_t *copy)
{
    int64_t last = 0;
    result_t r = store_meta_int(copy, "outbox_last", &last);
    return r == RESULT_OK ? queue_set_outbox_last(copy, last + BACKUP_JUMP) : r;
}

result_t queue_backup(const queue_t *queue, backup_t *backup, const char *dir, fault_t *fault)
{
    return backup_file(backup, store_path(queue->store), dir, "queue.db", move_on, fault);
}

result_t queue_set_table_version(db_t *db, int64_t version)
{
    return store_meta_set_int(db, "table_version", version);
}

result_t queue_set_failing(db_t *db, int64_t handler_id, int64_t since_ms)
{
    db_stmt_t *stmt = since_ms
                          ? db_stmt(db, "INSERT INTO failing (handler_id, since_ms) VALUES ($1, $2)"
                                        " ON CONFLICT (handler_id) DO UPDATE"
                                        " SET since_ms = excluded.since_ms")
                          : db_stmt(db, "DELETE FROM failing WHERE handler_id = $1");
    db_bind_int(stmt, 1, handler_id);
    if (since_ms)
        db_bind_int(stmt, 2, since_ms);
    return db_run(stmt);
}

result_t queue_put_cancel(db_t *db, const queue_cancel_t *cancel)
{
    db_stmt_t *stmt =
        db_stmt(db, "INSERT INTO cancels (id, handler_id, object, first_seq, last_seq)"
                    " VALUES ($1, $2, $3, $4, $5)"
                    " ON CONFLICT (id) DO UPDATE SET last_seq = excluded.last_seq");
    db_bind_int(stmt, 1, cancel->id);
    db_bind_int(stmt, 2, cancel->handler_id);
    db_bind_int(stmt, 3, (int64_t)cancel->object);
    db_bind_int(stmt, 4, cancel->first_seq);
    db_bind_int(stmt, 5, cancel->last_seq);
    return db_run(stmt);
}

result_t queue_end_cancel(db_t *db, int64_t id)
{
    db_stmt_t *stmt = db_stmt(db, "DELETE FROM cancels WHERE id = $1");
    db_bind_int(stmt, 1, id);
    return db_run(stmt);
}

result_t queue_test_write(db_t *db, int64_t boot)
{
    return store_meta_set_int(db, "boot", boot);
}
