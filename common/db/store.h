/* store: a file of SQL tables with one owner. Takes the lock, migrates, refuses what is newer.
 *
 *     static const char *const migrations [] = {"CREATE TABLE ...", "ALTER TABLE ...", NULL};
 *     store_open (&(store_spec_t) {.dir = data, .name = "journal", .migrations = migrations,
 *                 .service = "emitter"}, &store, &fault);
 *
 * <dir>/<name>.db with <dir>/<name>.lock beside it (flock; it holds pid and service as text, for
 * the message that the second owner gets). Folder 0700, files 0600. The number of the last
 * migration applied, the store's name and a random node id, made once, are kept in the table
 * store_meta (key TEXT, value). */
#ifndef PROVISOR_STORE_H
#define PROVISOR_STORE_H

#include "common/db/db.h"

typedef struct {
    const char *dir;     /* made when missing */
    const char *name;    /* "journal" */
    const char *service; /* who owns it, for messages */
    const char *const
        *migrations; /* NULL-terminated; number = place, from 1; each one transaction */
    bool shared;     /* no owner's lock (handlers.db: several short writers) */
} store_spec_t;

typedef struct store_t store_t;

/* RESULT_LOCKED: another process owns it (exit 75); RESULT_VERSION: a newer binary wrote it;
 * RESULT_CORRUPT: the file is damaged or not this store, and was left as it is. */
result_t store_open(const store_spec_t *spec, store_t **ret_store, fault_t *fault) MUST_CHECK;
/* Releases the lock last. */
void store_close(store_t **store);
/* The writing connection. It belongs to the writer's thread once a writer_t has it. */
db_t *store_db(store_t *store);
/* One more connection, read only; the caller's, db_close (). */
result_t store_reader(const store_t *store, db_t **ret_db, fault_t *fault) MUST_CHECK;
const char *store_path(const store_t *store);
/* "e3f1c05a9b2d4c66": stable for the life of the store. */
const char *store_node(const store_t *store);

/* A number kept in store_meta, 0 when it was never set. _set takes part in the open transaction. */
result_t store_meta_int(db_t *db, const char *key, int64_t *ret_value) MUST_CHECK;
result_t store_meta_set_int(db_t *db, const char *key, int64_t value) MUST_CHECK;
/* A text; RESULT_NOT_FOUND when it was never set. */
result_t store_meta_text(db_t *db, const char *key, buf_t *ret_value) MUST_CHECK;
result_t store_meta_set_text(db_t *db, const char *key, slice_t value) MUST_CHECK;

#endif
