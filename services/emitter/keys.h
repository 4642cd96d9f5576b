/* keys: the idempotency keys in journal.db: what was taken in with them. Part of the journal's
 * transaction; used on the writer's thread, and before it starts. */
#ifndef PROVISOR_KEYS_H
#define PROVISOR_KEYS_H

#include "common/base/ulid.h"
#include "common/db/db.h"
#include "services/emitter/intake.h"

/* DDL of its tables, one of the journal's migrations. */
extern const char keys_migration[];

typedef struct keys_t keys_t;

/* Reads all keys into memory (8 bytes each). */
result_t keys_open(db_t *db, int64_t keep_ms, int64_t keys_max, keys_t **ret_keys) MUST_CHECK;
void keys_close(keys_t **keys);

/* A transaction begins (again, after a rollback); forgets what is too old. */
result_t keys_begin(keys_t *keys, db_t *db, int64_t now_ms) MUST_CHECK;
/* RESULT_OK: the key was taken in with the same content as ret_id; RESULT_EXISTS: with another;
 * RESULT_NOT_FOUND. space tells the keys of cores ('c') from those of replays ('r'). */
result_t keys_find(keys_t *keys, db_t *db, char space, slice_t key, const intake_digest_t *digest,
                   ulid_t *ret_id) MUST_CHECK;
/* Remembers a key that was not found. */
result_t keys_add(keys_t *keys, db_t *db, char space, slice_t key, const intake_digest_t *digest,
                  const ulid_t *id) MUST_CHECK;
/* Writes what changed about the slices; last in the transaction. */
result_t keys_end(keys_t *keys, db_t *db) MUST_CHECK;
/* The transaction is committed. On the loop's thread while no transaction runs. */
void keys_committed(keys_t *keys);
/* Remembered keys, as of the last commit. */
int64_t keys_count(const keys_t *keys);

#endif
