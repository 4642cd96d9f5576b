#include "common/service/handlers.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/db/store.h"
#include "common/service/handlers_row.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    CHANGES_KEPT = 100000,
    CHECKPOINT_BYTES = 256 * 1024, /* writes are rare: no thread of its own for it */
};

struct handlers_t {
    store_t *store;
    handler_t *rows; /* ascending by id */
    size_t count, capacity;
    int64_t version;        /* of the table that rows show: the greatest of a row */
    int64_t polled_version; /* as of the last poll */
    int64_t data_version;   /* of the file when rows were read; -1: not known */
    buf_t select_sql, put_sql;
};

/* seq of a change is the table's version that it made. */
static const char *const migrations[] = {
    handlers_row_schema,
    "CREATE TABLE changes (seq ${key}, at_ms BIGINT NOT NULL, handler_id BIGINT NOT NULL,"
    " name TEXT NOT NULL, what TEXT NOT NULL, reason TEXT)",
    NULL,
};

static db_t *db_of(const handlers_t *handlers)
{
    return store_db(handlers->store);
}

static result_t db_fault(const handlers_t *handlers, result_t r, fault_t *fault)
{
    if (r == RESULT_AGAIN)
        return fault_set(fault, r, "%s is busy; try again", store_path(handlers->store));
    return fault_set(fault, r, "%s: %s", store_path(handlers->store), db_error(db_of(handlers)));
}

/* Where the id is, or would be. */
static size_t place_of(const handlers_t *handlers, int64_t id)
{
    size_t low = 0, high = handlers->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (handlers->rows[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static handler_t *find(const handlers_t *handlers, int64_t id)
{
    size_t i = place_of(handlers, id);
    return i < handlers->count && handlers->rows[i].id == id ? &handlers->rows[i] : NULL;
}

/* The entry of this id; a new one when it is not there yet. */
static handler_t *entry(handlers_t *handlers, int64_t id)
{
    size_t i = place_of(handlers, id);
    if (i < handlers->count && handlers->rows[i].id == id)
        return &handlers->rows[i];
    if (handlers->count == handlers->capacity) {
        handlers->capacity = handlers->capacity ? handlers->capacity * 2 : 16;
        handlers->rows = mem_realloc(handlers->rows, handlers->capacity * sizeof *handlers->rows);
    }
    memmove(&handlers->rows[i + 1], &handlers->rows[i],
            (handlers->count - i) * sizeof *handlers->rows);
    handlers->count++;
    handler_init(&handlers->rows[i]);
    return &handlers->rows[i];
}

/* Reads the rows that changed since the snapshot; rows never vanish. */
static result_t read_changed(handlers_t *handlers)
{
    int64_t version = handlers->version;
    db_stmt_t *stmt = db_stmt(db_of(handlers), handlers->select_sql.data);
    db_bind_int(stmt, 1, version);
    result_t r;
    while ((r = db_step(stmt)) == RESULT_OK) {
        handler_t *row = entry(handlers, db_int(stmt, 0));
        handlers_row_read(stmt, row);
        if (row->version > version)
            version = row->version;
    }
    if (r != RESULT_NOT_FOUND)
        return r; /* the version stays: what was read is read again */
    handlers->version = version;
    return RESULT_OK;
}

result_t handlers_poll(handlers_t *handlers, bool *ret_changed)
{
    int64_t data_version = 0;
    result_t r = db_data_version(db_of(handlers), &data_version);
    if (r == RESULT_OK && data_version != handlers->data_version) {
        r = read_changed(handlers);
        if (r == RESULT_OK)
            handlers->data_version = data_version;
    }
    if (r != RESULT_OK)
        return r;
    if (ret_changed)
        *ret_changed = handlers->version != handlers->polled_version;
    handlers->polled_version = handlers->version;
    return RESULT_OK;
}

result_t handlers_open(const char *dir, handlers_t **ret_handlers, fault_t *fault)
{
    handlers_t *handlers = MEM_NEW(handlers_t);
    handlers->data_version = -1;
    handlers_row_select_sql(&handlers->select_sql);
    handlers_row_put_sql(&handlers->put_sql);
    const store_spec_t spec = {.dir = dir,
                               .name = "handlers",
                               .service = "handlers",
                               .migrations = migrations,
                               .shared = true};
    result_t r = store_open(&spec, &handlers->store, fault);
    if (r == RESULT_OK) {
        r = handlers_poll(handlers, NULL);
        if (r != RESULT_OK)
            db_fault(handlers, r, fault);
    }
    if (r != RESULT_OK) {
        handlers_close(&handlers);
        return r;
    }
    *ret_handlers = handlers;
    return RESULT_OK;
}

void handlers_close(handlers_t **handlers_ref)
{
    handlers_t *handlers = *handlers_ref;
    if (!handlers)
        return;
    for (size_t i = 0; i < handlers->count; i++)
        handler_release(&handlers->rows[i]);
    free(handlers->rows);
    buf_release(&handlers->select_sql);
    buf_release(&handlers->put_sql);
    store_close(&handlers->store);
    free(handlers);
    *handlers_ref = NULL;
}

void handlers_never_wait(handlers_t *handlers)
{
    db_set_busy_timeout(db_of(handlers), 0);
}

int64_t handlers_version(const handlers_t *handlers)
{
    return handlers->version;
}

size_t handlers_count(const handlers_t *handlers)
{
    return handlers->count;
}

const handler_t *handlers_at(const handlers_t *handlers, size_t i)
{
    ENSURE(i < handlers->count);
    return &handlers->rows[i];
}

const handler_t *handlers_find(const handlers_t *handlers, int64_t id)
{
    return find(handlers, id);
}

/* One change on its way: the row as it shall be, and what the change log says about it. */
typedef struct {
    handler_t row; /* its texts are borrowed */
    const char *what;
    const char *reason;
} change_t;

static result_t put_row(handlers_t *handlers, const handler_t *row)
{
    db_stmt_t *stmt = db_stmt(db_of(handlers), handlers->put_sql.data);
    handlers_row_bind(stmt, row);
    return db_run(stmt);
}

static result_t put_change(handlers_t *handlers, const change_t *change)
{
    db_stmt_t *stmt =
        db_stmt(db_of(handlers), "INSERT INTO changes (seq, at_ms, handler_id, name, what, reason)"
                                 " VALUES ($1, $2, $3, $4, $5, $6)");
    db_bind_int(stmt, 1, change->row.version);
    db_bind_int(stmt, 2, change->row.updated_ms);
    db_bind_int(stmt, 3, change->row.id);
    db_bind_text(stmt, 4, slice_of(change->row.name));
    db_bind_text(stmt, 5, slice_of(change->what));
    db_bind_text(stmt, 6, slice_of(change->reason));
    result_t r = db_run(stmt);
    if (r != RESULT_OK)
        return r;
    stmt = db_stmt(db_of(handlers), "DELETE FROM changes WHERE seq <= $1");
    db_bind_int(stmt, 1, change->row.version - CHANGES_KEPT);
    return db_run(stmt);
}

/* In the open transaction. */
static result_t write_change(handlers_t *handlers, change_t *change)
{
    int64_t version = 0;
    result_t r = store_meta_int(db_of(handlers), "table_version", &version);
    if (r != RESULT_OK)
        return r;
    change->row.version = version + 1;
    change->row.updated_ms = clk_wall_ms();
    if (!change->row.created_ms)
        change->row.created_ms = change->row.updated_ms;
    r = store_meta_set_int(db_of(handlers), "table_version", version + 1);
    r = r == RESULT_OK ? put_row(handlers, &change->row) : r;
    return r == RESULT_OK ? put_change(handlers, change) : r;
}

/* Begins a write: the transaction is open and the snapshot is what it will change. */
static result_t begin(handlers_t *handlers, fault_t *fault)
{
    result_t r = db_begin(db_of(handlers));
    if (r == RESULT_OK)
        r = read_changed(handlers);
    if (r != RESULT_OK) {
        db_rollback(db_of(handlers));
        return db_fault(handlers, r, fault);
    }
    return RESULT_OK;
}

/* Ends a write that begin began. The snapshot shows it afterwards. */
static result_t finish(handlers_t *handlers, change_t *change, fault_t *fault)
{
    db_t *db = db_of(handlers);
    result_t r = write_change(handlers, change);
    if (r == RESULT_OK)
        r = db_commit(db);
    if (r != RESULT_OK) {
        db_rollback(db);
        return db_fault(handlers, r, fault);
    }
    if (db_wal_bytes(db) > CHECKPOINT_BYTES)
        (void)!db_checkpoint(db); /* the next write tries again */
    r = read_changed(handlers);
    return r == RESULT_OK ? r : db_fault(handlers, r, fault);
}

static result_t refuse(handlers_t *handlers, result_t r)
{
    db_rollback(db_of(handlers));
    return r;
}

result_t handlers_add(handlers_t *handlers, handler_t *handler, fault_t *fault)
{
    result_t r = handler_check(handler, fault);
    if (r != RESULT_OK)
        return r;
    if (handler->status > HANDLER_DISABLED)
        return fault_set(fault, RESULT_INVALID, "a new handler is enabled or disabled, not %s",
                         handler_status_str(handler->status));
    r = begin(handlers, fault);
    if (r != RESULT_OK)
        return r;
    /* Rows never vanish, so the last one has the greatest id that was ever given. */
    change_t change = {.row = *handler, .what = "created"};
    change.row.id = handlers->count ? handlers->rows[handlers->count - 1].id + 1 : 1;
    change.row.created_ms = 0;
    change.row.status_reason = NULL;
    r = finish(handlers, &change, fault);
    if (r != RESULT_OK)
        return r;
    handler->id = change.row.id;
    handler->version = change.row.version;
    handler->created_ms = change.row.created_ms;
    handler->updated_ms = change.row.updated_ms;
    return RESULT_OK;
}

static result_t not_found(int64_t id, fault_t *fault)
{
    return fault_set(fault, RESULT_NOT_FOUND, "there is no handler %lld", (long long)id);
}

static result_t has_ended(const handler_t *handler, fault_t *fault)
{
    return fault_set(fault, RESULT_INVALID, "handler %lld is %s, which is for ever; add a new one",
                     (long long)handler->id, handler_status_str(handler->status));
}

result_t handlers_update(handlers_t *handlers, const handler_t *handler, fault_t *fault)
{
    result_t r = handler_check(handler, fault);
    if (r == RESULT_OK)
        r = begin(handlers, fault);
    if (r != RESULT_OK)
        return r;
    const handler_t *old = find(handlers, handler->id);
    if (!old)
        return refuse(handlers, not_found(handler->id, fault));
    if (old->status >= HANDLER_ARCHIVED)
        return refuse(handlers, has_ended(old, fault));
    if (old->version != handler->version)
        return refuse(handlers, fault_set(fault, RESULT_INVALID,
                                          "handler %lld was changed meanwhile, try again",
                                          (long long)old->id));
    change_t change = {.row = *handler, .what = "updated"};
    change.row.status = old->status;
    change.row.status_reason = old->status_reason;
    change.row.created_ms = old->created_ms;
    return finish(handlers, &change, fault);
}

/* Copies what fits, whole characters only. */
static void copy_text(slice_t from, char *to, size_t size)
{
    size_t n = from.size < size ? from.size : size - 1;
    while (n < from.size && n > 0 && ((unsigned char)from.data[n] & 0xc0) == 0x80)
        n--;
    if (n)
        memcpy(to, from.data, n);
    to[n] = 0;
}

result_t handlers_set_status(handlers_t *handlers, int64_t id, handler_status_t status,
                             const char *reason, fault_t *fault)
{
    char kept[sizeof((handler_change_t *)NULL)->reason];
    copy_text(slice_of(reason), kept, sizeof kept);
    ENSURE((size_t)status <= HANDLER_DELETED);
    result_t r = begin(handlers, fault);
    if (r != RESULT_OK)
        return r;
    const handler_t *old = find(handlers, id);
    if (!old)
        return refuse(handlers, not_found(id, fault));
    bool same = old->status == status && status != HANDLER_DELETED;
    if (same || (status == HANDLER_SUSPENDED && old->status == HANDLER_DISABLED))
        return refuse(handlers, RESULT_OK);
    if (old->status == HANDLER_DELETED ||
        (old->status == HANDLER_ARCHIVED && status != HANDLER_DELETED))
        return refuse(handlers, has_ended(old, fault));
    change_t change = {
        .row = *old, .what = handler_status_str(status), .reason = reason ? kept : NULL};
    change.row.status = status;
    change.row.status_reason = status == HANDLER_SUSPENDED && reason ? kept : NULL;
    return finish(handlers, &change, fault);
}

result_t handlers_next_change(handlers_t *handlers, int64_t after_seq, handler_change_t *ret_change)
{
    db_stmt_t *stmt =
        db_stmt(db_of(handlers), "SELECT seq, at_ms, handler_id, name, what, reason FROM changes"
                                 " WHERE seq > $1 ORDER BY seq LIMIT 1");
    db_bind_int(stmt, 1, after_seq);
    result_t r = db_step(stmt);
    if (r == RESULT_OK) {
        ret_change->seq = db_int(stmt, 0);
        ret_change->at_ms = db_int(stmt, 1);
        ret_change->handler_id = db_int(stmt, 2);
        copy_text(db_slice(stmt, 3), ret_change->name, sizeof ret_change->name);
        copy_text(db_slice(stmt, 4), ret_change->what, sizeof ret_change->what);
        copy_text(db_slice(stmt, 5), ret_change->reason, sizeof ret_change->reason);
    }
    db_reset(stmt);
    return r;
}
