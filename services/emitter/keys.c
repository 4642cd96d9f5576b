#include "services/emitter/keys.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "common/db/store.h"
#include "services/emitter/slices.h"

#include <stdlib.h>

struct keys_t {
    idempotency_t *index;
    slices_t slices;  /* of the transaction that runs */
    slices_t written; /* as of the last commit */
    int64_t now_ms;
};

#define TABLE(n)                                                                                   \
    "CREATE TABLE keys_" n " (seq ${key}, key TEXT NOT NULL, digest BLOB NOT NULL, "               \
    "event_id TEXT NOT NULL);"
const char keys_migration[] = TABLE("0") TABLE("1") TABLE("2") TABLE("3") TABLE("4") TABLE("5")
    TABLE("6") TABLE("7") "CREATE TABLE keys_slices (slice ${key}, started_ms INTEGER NOT NULL);";

static const char current_key[] = "keys_current";

/* One text per table: statements are prepared once and kept. */
#define EACH(before, after)                                                                        \
    {                                                                                              \
        before "0" after, before "1" after, before "2" after, before "3" after, before "4" after,  \
            before "5" after, before "6" after, before "7" after                                   \
    }
static const char *const select_all[] = EACH("SELECT seq, key FROM keys_", " ORDER BY seq");
static const char *const select_one[] =
    EACH("SELECT key, digest, event_id FROM keys_", " WHERE seq = $1");
static const char *const insert_one[] =
    EACH("INSERT INTO keys_", " (seq, key, digest, event_id) VALUES ($1, $2, $3, $4)");
static const char *const delete_all[] = EACH("DELETE FROM keys_", "");

_Static_assert(sizeof select_all / sizeof *select_all == IDEMPOTENCY_TABLES, "a text per table");

/* ---- Loading ---------------------------------------------------------------------------- */

static result_t load_table(keys_t *keys, db_t *db, int table)
{
    db_stmt_t *stmt = db_stmt(db, select_all[table]);
    result_t r;
    while ((r = db_step(stmt)) == RESULT_OK) {
        idempotency_place_t place = {table, db_int(stmt, 0)};
        idempotency_add(keys->index, db_slice(stmt, 1), place);
        keys->slices.slices[table].rows = place.row;
    }
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

static result_t load_slices(keys_t *keys, db_t *db)
{
    int64_t current = 0;
    result_t r = store_meta_int(db, current_key, &current);
    if (r != RESULT_OK)
        return r;
    keys->slices.current = (int)(current & (IDEMPOTENCY_TABLES - 1));
    db_stmt_t *stmt = db_stmt(db, "SELECT slice, started_ms FROM keys_slices");
    while ((r = db_step(stmt)) == RESULT_OK)
        keys->slices.slices[db_int(stmt, 0) & (IDEMPOTENCY_TABLES - 1)].started_ms =
            db_int(stmt, 1);
    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}

result_t keys_open(db_t *db, int64_t keep_ms, int64_t keys_max, keys_t **ret_keys)
{
    keys_t *keys = MEM_NEW(keys_t);
    keys->index = idempotency_new();
    slices_init(&keys->slices, keep_ms, keys_max);
    result_t r = load_slices(keys, db);
    for (int table = 0; table < IDEMPOTENCY_TABLES && r == RESULT_OK; table++)
        r = load_table(keys, db, table);
    if (r != RESULT_OK) {
        keys_close(&keys);
        return r;
    }
    keys->written = keys->slices;
    *ret_keys = keys;
    return RESULT_OK;
}

void keys_close(keys_t **keys)
{
    if (!*keys)
        return;
    idempotency_destroy(&(*keys)->index);
    free(*keys);
    *keys = NULL;
}

/* ---- In a transaction ------------------------------------------------------------------- */

static result_t expire(keys_t *keys, db_t *db)
{
    for (int slice; (slice = slices_expire(&keys->slices, keys->now_ms)) >= 0;) {
        idempotency_drop(keys->index, slice);
        result_t r = db_run(db_stmt(db, delete_all[slice]));
        if (r != RESULT_OK)
            return r;
    }
    return RESULT_OK;
}

result_t keys_begin(keys_t *keys, db_t *db, int64_t now_ms)
{
    keys->slices = keys->written;
    keys->now_ms = now_ms;
    return expire(keys, db);
}

static void full_key(buf_t *text, char space, slice_t key)
{
    buf_add_char(text, space);
    buf_add_slice(text, key);
}

static slice_t digest_bytes(const intake_digest_t *digest)
{
    return (slice_t){(const char *)digest->words, sizeof digest->words};
}

result_t keys_find(keys_t *keys, db_t *db, char space, slice_t key, const intake_digest_t *digest,
                   ulid_t *ret_id)
{
    AUTO_BUF text = {0};
    full_key(&text, space, key);
    idempotency_place_t place;
    idempotency_probe_t probe = idempotency_probe(keys->index, buf_slice(&text));
    while (idempotency_next(keys->index, &probe, &place)) {
        db_stmt_t *stmt = db_stmt(db, select_one[place.table]);
        db_bind_int(stmt, 1, place.row);
        result_t r = db_step(stmt);
        if (r != RESULT_OK && r != RESULT_NOT_FOUND)
            return r;
        bool is_it = r == RESULT_OK && slice_equal(db_slice(stmt, 0), buf_slice(&text));
        bool is_same = is_it && slice_equal(db_slice(stmt, 1), digest_bytes(digest));
        if (is_it)
            r = ulid_parse(db_slice(stmt, 2), ret_id);
        db_reset(stmt);
        if (is_it)
            return r != RESULT_OK ? RESULT_IO : is_same ? RESULT_OK : RESULT_EXISTS;
    }
    return RESULT_NOT_FOUND;
}

result_t keys_add(keys_t *keys, db_t *db, char space, slice_t key, const intake_digest_t *digest,
                  const ulid_t *id)
{
    if (keys->slices.keys_max == 0)
        return RESULT_OK;
    AUTO_BUF text = {0};
    full_key(&text, space, key);
    result_t r = expire(keys, db);
    if (r != RESULT_OK)
        return r;
    idempotency_place_t place = slices_place(&keys->slices, keys->now_ms);
    idempotency_add(keys->index, buf_slice(&text), place);
    db_stmt_t *stmt = db_stmt(db, insert_one[place.table]);
    db_bind_int(stmt, 1, place.row);
    db_bind_text(stmt, 2, buf_slice(&text));
    db_bind_blob(stmt, 3, digest_bytes(digest));
    db_bind_text(stmt, 4, slice_of(id->text));
    return db_run(stmt);
}

static result_t write_slice(db_t *db, int slice, int64_t started_ms)
{
    db_stmt_t *stmt = db_stmt(db, "INSERT INTO keys_slices (slice, started_ms) VALUES ($1, $2) "
                                  "ON CONFLICT (slice) DO UPDATE SET "
                                  "started_ms = excluded.started_ms");
    db_bind_int(stmt, 1, slice);
    db_bind_int(stmt, 2, started_ms);
    return db_run(stmt);
}

result_t keys_end(keys_t *keys, db_t *db)
{
    result_t r = RESULT_OK;
    if (keys->slices.current != keys->written.current)
        r = store_meta_set_int(db, current_key, keys->slices.current);
    for (int i = 0; i < IDEMPOTENCY_TABLES && r == RESULT_OK; i++)
        if (keys->slices.slices[i].started_ms != keys->written.slices[i].started_ms)
            r = write_slice(db, i, keys->slices.slices[i].started_ms);
    return r;
}

void keys_committed(keys_t *keys)
{
    keys->written = keys->slices;
}

int64_t keys_count(const keys_t *keys)
{
    return slices_rows(&keys->written);
}
