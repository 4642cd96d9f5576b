#include "services/emitter/journal.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/wire/codec.h"
#include "common/wire/object.h"
#include "services/emitter/keys.h"

#include <stdlib.h>

/* What the transactions move on. */
typedef struct {
    ulid_gen_t ids;
    int64_t seq;           /* of the last row */
    int64_t largest_bytes; /* no event is larger; what is stored may be more than that */
} progress_t;

struct journal_t {
    store_t *store;
    db_t *reader;
    keys_t *keys;
    progress_t next;    /* of the transaction that runs; the writer's thread's */
    progress_t written; /* as of the last commit; the loop's */
    int64_t rows;
};

static const char *const migrations[] = {
    "CREATE TABLE journal (seq ${key}, id TEXT NOT NULL, partition INTEGER NOT NULL, "
    "object INTEGER NOT NULL, source INTEGER NOT NULL, idempotency_key TEXT, "
    "receipt INTEGER NOT NULL, event BLOB NOT NULL);"
    "CREATE INDEX journal_partition ON journal (partition, seq);",
    keys_migration,
    NULL,
};

static const char last_id_key[] = "last_id", last_seq_key[] = "last_seq";
static const char largest_key[] = "largest_event";
static const char conflict_message[] = "this id was used before, for an event with other content";

/* ---- Opening ---------------------------------------------------------------------------- */

static result_t load_progress(journal_t *journal, db_t *db)
{
    AUTO_BUF id = {0};
    ulid_t last = {""};
    result_t r = store_meta_text(db, last_id_key, &id);
    if (r == RESULT_OK && ulid_parse(buf_slice(&id), &last) != RESULT_OK)
        return RESULT_CORRUPT;
    if (r != RESULT_OK && r != RESULT_NOT_FOUND)
        return r;
    ulid_gen_init(&journal->written.ids, &last);
    r = store_meta_int(db, last_seq_key, &journal->written.seq);
    if (r != RESULT_OK)
        return r;
    db_stmt_t *stmt = db_stmt(db, "SELECT COUNT(*) FROM journal");
    r = db_step(stmt);
    if (r == RESULT_OK)
        journal->rows = db_int(stmt, 0);
    db_reset(stmt);
    return r;
}

static result_t measure(db_t *db, int64_t *ret_bytes)
{
    db_stmt_t *stmt = db_stmt(db, "SELECT MAX(LENGTH(event)) FROM journal WHERE receipt = 0");
    result_t r = db_step(stmt);
    if (r == RESULT_OK)
        *ret_bytes = db_int(stmt, 0);
    db_reset(stmt);
    return r;
}

/* Routers and deliverers cut a connection on which something larger comes: the event would be sent
 * again and again for ever. All rows are looked at only when one may be too large, or in a journal
 * of before this was stored. */
static result_t check_largest(journal_t *journal, db_t *db, int64_t max_bytes, fault_t *fault)
{
    int64_t *largest = &journal->written.largest_bytes;
    result_t r = store_meta_int(db, largest_key, largest);
    if (r == RESULT_OK && journal->rows > 0 &&
        (*largest == 0 || (max_bytes && *largest > max_bytes)))
        r = measure(db, largest);
    if (r != RESULT_OK)
        return fault_set(fault, r, "%s: %s", store_path(journal->store), db_error(db));
    if (!max_bytes || *largest <= max_bytes || journal->rows == 0)
        return RESULT_OK;
    return fault_set(fault, RESULT_INVALID,
                     "%s holds an event of %lld bytes, more than can be sent with this "
                     "emitter.event_max; set PROVISOR_EMITTER_EVENT_MAX=%lld for all stages until "
                     "it is delivered",
                     store_path(journal->store), (long long)*largest, (long long)*largest);
}

static result_t open_parts(journal_t *journal, const journal_settings_t *settings, fault_t *fault)
{
    result_t r = store_open(&(store_spec_t){.dir = settings->dir,
                                            .name = "journal",
                                            .service = "emitter",
                                            .migrations = migrations},
                            &journal->store, fault);
    if (r != RESULT_OK)
        return r;
    db_t *db = store_db(journal->store);
    r = load_progress(journal, db);
    if (r == RESULT_OK)
        r = keys_open(db, settings->idempotency_keep_ms, settings->idempotency_max, &journal->keys);
    if (r != RESULT_OK)
        return fault_set(fault, r, "%s: %s", store_path(journal->store), db_error(db));
    r = check_largest(journal, db, settings->event_bytes_max, fault);
    if (r != RESULT_OK)
        return r;
    return store_reader(journal->store, &journal->reader, fault);
}

result_t journal_open(const journal_settings_t *settings, journal_t **ret_journal, fault_t *fault)
{
    journal_t *journal = MEM_NEW(journal_t);
    result_t r = open_parts(journal, settings, fault);
    if (r != RESULT_OK) {
        journal_close(&journal);
        return r;
    }
    *ret_journal = journal;
    return RESULT_OK;
}

void journal_close(journal_t **journal)
{
    if (!*journal)
        return;
    keys_close(&(*journal)->keys);
    db_close(&(*journal)->reader);
    store_close(&(*journal)->store);
    free(*journal);
    *journal = NULL;
}

const char *journal_node(const journal_t *journal)
{
    return store_node(journal->store);
}

db_t *journal_db(journal_t *journal)
{
    return store_db(journal->store);
}

/* ---- Backup ----------------------------------------------------------------------------- */

/* How far the ids of a copy are ahead of the clock: a queue that is copied later knows ids that
 * were given meanwhile, and takes what is smaller for known. */
static const int64_t ids_ahead_ms = 3600000;

static result_t move_on(db_t *copy)
{
    AUTO_BUF text = {0};
    ulid_t last = {""};
    int64_t seq = 0;
    ulid_gen_t ids;
    result_t r = store_meta_text(copy, last_id_key, &text);
    if (r == RESULT_OK && ulid_parse(buf_slice(&text), &last) != RESULT_OK)
        return RESULT_IO;
    if (r == RESULT_OK || r == RESULT_NOT_FOUND)
        r = store_meta_int(copy, last_seq_key, &seq);
    if (r != RESULT_OK)
        return r;
    int64_t wall_ms = clk_wall_ms(), given_ms = *last.text ? ulid_wall_ms(&last) : 0;
    ulid_gen_init(&ids, &last);
    last = ulid_next(&ids, (given_ms > wall_ms ? given_ms : wall_ms) + ids_ahead_ms);
    r = store_meta_set_text(copy, last_id_key, slice_of(last.text));
    return r == RESULT_OK ? store_meta_set_int(copy, last_seq_key, seq + BACKUP_JUMP) : r;
}

result_t journal_backup(const journal_t *journal, backup_t *backup, const char *dir, fault_t *fault)
{
    return backup_file(backup, store_path(journal->store), dir, "journal.db", move_on, fault);
}

/* ---- Writing ---------------------------------------------------------------------------- */

static result_t delete_rows(db_t *db, const commit_t *commit)
{
    result_t r = RESULT_OK;
    for (size_t i = 0; i < commit->n_deletes && r == RESULT_OK; i++) {
        db_stmt_t *stmt = db_stmt(db, "DELETE FROM journal WHERE seq = $1");
        db_bind_int(stmt, 1, commit->deletes[i]);
        r = db_run(stmt);
    }
    return r;
}

static result_t store_receipts(db_t *db, const commit_t *commit)
{
    result_t r = RESULT_OK;
    for (size_t i = 0; i < commit->n_receipts && r == RESULT_OK; i++) {
        db_stmt_t *stmt = db_stmt(db, "UPDATE journal SET receipt = $1 WHERE seq = $2");
        db_bind_int(stmt, 1, commit->receipts[i].receipt);
        db_bind_int(stmt, 2, commit->receipts[i].seq);
        r = db_run(stmt);
    }
    return r;
}

static slice_t encode(entry_t *entry, buf_t *frames)
{
    event_t event = {.id = slice_of(entry->answer.id.text),
                     .events_id = entry->events_id,
                     .object_kind = entry->object_kind,
                     .object_id = entry->object_id,
                     .body = entry->body,
                     .accepted_ms = entry->accepted_ms,
                     .webhook_id = entry->webhook_id,
                     .replay_handler = entry->replay_handler,
                     .replay = entry->replay};
    entry->frame_at = frames->size;
    codec_add(&event_table, &event, frames);
    entry->frame_size = frames->size - entry->frame_at;
    return (slice_t){frames->data + entry->frame_at, entry->frame_size};
}

static result_t insert(journal_t *journal, db_t *db, entry_t *entry, buf_t *frames)
{
    entry->answer.status = ANSWER_ACCEPTED;
    entry->answer.id = ulid_next(&journal->next.ids, entry->accepted_ms);
    entry->seq = ++journal->next.seq;
    entry->object =
        object_hash(entry->object_kind, entry->object_id, slice_of(entry->answer.id.text));
    db_stmt_t *stmt =
        db_stmt(db, "INSERT INTO journal (seq, id, partition, object, source, idempotency_key, "
                    "receipt, event) VALUES ($1, $2, $3, $4, $5, $6, 0, $7)");
    db_bind_int(stmt, 1, entry->seq);
    db_bind_text(stmt, 2, slice_of(entry->answer.id.text));
    db_bind_int(stmt, 3, object_partition(entry->object));
    db_bind_int(stmt, 4, (int64_t)entry->object);
    db_bind_int(stmt, 5, entry->source);
    db_bind_text(stmt, 6, entry->key);
    db_bind_blob(stmt, 7, encode(entry, frames));
    if ((int64_t)entry->frame_size > journal->next.largest_bytes)
        journal->next.largest_bytes = (int64_t)entry->frame_size;
    return db_run(stmt);
}

/* Looks the key up. RESULT_NOT_FOUND: the event is new; RESULT_OK: its answer stands. */
static result_t find_key(journal_t *journal, db_t *db, entry_t *entry, char space)
{
    if (!entry->key.data)
        return RESULT_NOT_FOUND;
    result_t r = keys_find(journal->keys, db, space, entry->key, &entry->digest, &entry->answer.id);
    if (r == RESULT_OK)
        entry->answer.status = ANSWER_DUPLICATE;
    if (r != RESULT_EXISTS)
        return r;
    entry->answer.status = ANSWER_REJECTED;
    entry->answer.error =
        (intake_error_t){INTAKE_ID_CONFLICT, SLICE(conflict_message), SLICE("/id")};
    return RESULT_OK;
}

static result_t take_event(journal_t *journal, db_t *db, entry_t *entry, buf_t *frames)
{
    char space = entry->source == SOURCE_REPLAY ? 'r' : 'c';
    result_t r = find_key(journal, db, entry, space);
    if (r != RESULT_NOT_FOUND)
        return r;
    r = insert(journal, db, entry, frames);
    if (r == RESULT_OK && entry->key.data)
        r = keys_add(journal->keys, db, space, entry->key, &entry->digest, &entry->answer.id);
    return r;
}

static result_t take_events(journal_t *journal, db_t *db, commit_t *commit)
{
    result_t r = keys_begin(journal->keys, db, clk_wall_ms());
    for (size_t i = 0; i < commit->n_entries && r == RESULT_OK; i++)
        if (commit->entries[i].is_event)
            r = take_event(journal, db, &commit->entries[i], &commit->frames);
    if (r == RESULT_OK)
        r = keys_end(journal->keys, db);
    if (r != RESULT_OK || journal->next.seq == journal->written.seq)
        return r;
    r = store_meta_set_text(db, last_id_key, slice_of(journal->next.ids.last.text));
    if (r == RESULT_OK)
        r = store_meta_set_int(db, last_seq_key, journal->next.seq);
    if (r == RESULT_OK && journal->next.largest_bytes > journal->written.largest_bytes)
        r = store_meta_set_int(db, largest_key, journal->next.largest_bytes);
    return r;
}

result_t journal_apply(journal_t *journal, db_t *db, commit_t *commit)
{
    journal->next = journal->written;
    buf_clear(&commit->frames);
    result_t r = delete_rows(db, commit);
    if (r == RESULT_OK)
        r = store_receipts(db, commit);
    if (r == RESULT_OK && commit->n_events > 0)
        r = take_events(journal, db, commit);
    return r;
}

void journal_committed(journal_t *journal, const commit_t *commit)
{
    journal->rows += journal->next.seq - journal->written.seq - (int64_t)commit->n_deletes;
    journal->written = journal->next;
    if (commit->n_events > 0)
        keys_committed(journal->keys);
}

int64_t journal_rows(const journal_t *journal)
{
    return journal->rows;
}

int64_t journal_keys(const journal_t *journal)
{
    return keys_count(journal->keys);
}

int64_t journal_last_seq(const journal_t *journal)
{
    return journal->written.seq;
}

const ulid_t *journal_last_id(const journal_t *journal)
{
    return &journal->written.ids.last;
}

int64_t journal_size_bytes(const journal_t *journal)
{
    return db_size_bytes(journal->reader);
}

/* ---- Reading ---------------------------------------------------------------------------- */

/* The rows ended by themselves and there were fewer than asked for. */
static result_t end_of_rows(db_stmt_t *stmt, result_t r, int64_t n, int64_t max, bool *ret_ended)
{
    db_reset(stmt);
    if (r != RESULT_OK && r != RESULT_NOT_FOUND)
        return r;
    *ret_ended = r == RESULT_NOT_FOUND && n < max;
    return RESULT_OK;
}

result_t journal_read_tail(journal_t *journal, const outgoing_want_t *want,
                           bool (*take)(void *owner, const outgoing_event_t *event), void *owner,
                           bool *ret_ended)
{
    db_stmt_t *stmt =
        db_stmt(journal->reader, "SELECT seq, id, object, event FROM journal WHERE partition = $1 "
                                 "AND seq > $2 AND receipt = 0 ORDER BY seq LIMIT $3");
    db_bind_int(stmt, 1, want->partition);
    db_bind_int(stmt, 2, want->after_seq);
    db_bind_int(stmt, 3, want->max_events);
    int64_t n = 0;
    result_t r;
    while ((r = db_step(stmt)) == RESULT_OK) {
        outgoing_event_t event = {.seq = db_int(stmt, 0),
                                  .object = (uint64_t)db_int(stmt, 2),
                                  .frame = db_slice(stmt, 3)};
        if (ulid_parse(db_slice(stmt, 1), &event.id) != RESULT_OK) {
            db_reset(stmt);
            return RESULT_IO;
        }
        n++;
        if (!take(owner, &event))
            break;
    }
    return end_of_rows(stmt, r, n, want->max_events, ret_ended);
}

result_t journal_read_rows(journal_t *journal, int64_t after_seq, int64_t max_rows,
                           bool (*take)(void *owner, const journal_row_t *row), void *owner,
                           bool *ret_ended)
{
    db_stmt_t *stmt =
        db_stmt(journal->reader, "SELECT seq, source, idempotency_key, receipt, event FROM journal "
                                 "WHERE seq > $1 ORDER BY seq LIMIT $2");
    db_bind_int(stmt, 1, after_seq);
    db_bind_int(stmt, 2, max_rows);
    int64_t n = 0;
    result_t r;
    while ((r = db_step(stmt)) == RESULT_OK) {
        journal_row_t row = {db_int(stmt, 0), (source_t)db_int(stmt, 1), db_slice(stmt, 2),
                             (receipt_kind_t)db_int(stmt, 3), db_slice(stmt, 4)};
        n++;
        if (!take(owner, &row))
            break;
    }
    return end_of_rows(stmt, r, n, max_rows, ret_ended);
}

/* The first row from seq on. */
static result_t read_id(journal_t *journal, int64_t seq, int64_t *ret_seq, ulid_t *ret_id)
{
    db_stmt_t *stmt = db_stmt(journal->reader,
                              "SELECT seq, id FROM journal WHERE seq >= $1 ORDER BY seq LIMIT 1");
    db_bind_int(stmt, 1, seq);
    result_t r = db_step(stmt);
    if (r == RESULT_OK) {
        *ret_seq = db_int(stmt, 0);
        if (ulid_parse(db_slice(stmt, 1), ret_id) != RESULT_OK)
            r = RESULT_IO;
    }
    db_reset(stmt);
    return r;
}

/* Ids rise with seq, so a binary search needs no index. */
result_t journal_has(journal_t *journal, const ulid_t *id, bool *ret_found)
{
    int64_t low = 1, high = journal->written.seq;
    while (low <= high) {
        int64_t middle = low + (high - low) / 2, seq;
        ulid_t found;
        result_t r = read_id(journal, middle, &seq, &found);
        if (r != RESULT_OK && r != RESULT_NOT_FOUND)
            return r;
        int order = r == RESULT_OK ? strcmp(found.text, id->text) : 1;
        if (order == 0) {
            *ret_found = true;
            return RESULT_OK;
        }
        if (order < 0)
            low = seq + 1;
        else
            high = middle - 1;
    }
    *ret_found = false;
    return RESULT_OK;
}

const char *journal_read_error(const journal_t *journal)
{
    return db_error(journal->reader);
}
