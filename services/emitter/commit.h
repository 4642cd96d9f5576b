/* commit: what goes to the journal in one transaction, and who is to be answered afterwards. Filled
 * on the loop, written by journal_apply () on the writer's thread, answered on the loop again. */
#ifndef PROVISOR_COMMIT_H
#define PROVISOR_COMMIT_H

#include "common/base/ulid.h"
#include "services/emitter/answer.h"
#include "services/emitter/settle.h"

/* Stored in rows. */
typedef enum { SOURCE_PUSH = 1, SOURCE_INTAKE = 2, SOURCE_REPLAY = 3 } source_t;

/* "push", "intake", "replay" */
const char *source_str(source_t source);

/* An event to be taken in, or one that is refused or answered busy and only waits for its turn to
 * be answered. Slices live in the commit's arena. */
typedef struct {
    source_t source;
    bool is_event; /* the journal decides about it; otherwise the answer stands already */
    answer_t answer;
    slice_t key; /* idempotency key as given; absent: none */
    intake_digest_t digest;
    slice_t events_id;
    slice_t object_kind;
    slice_t object_id;
    slice_t body;
    slice_t webhook_id; /* replay */
    int64_t replay_handler, replay;
    int64_t accepted_ms;
    /* set by the journal when it was accepted */
    int64_t seq;
    uint64_t object;
    size_t frame_at, frame_size; /* the encoded event_t in the commit's frames */
} entry_t;

/* A request that is to be answered. */
typedef struct {
    source_t source; /* which socket: SOURCE_INTAKE, SOURCE_REPLAY */
    uint64_t peer;   /* hash of the connection */
    intake_encoding_t encoding;
    bool is_array;
    size_t first, n;  /* entries */
    slice_t envelope; /* frames before the last one, each with its size in front */
    size_t n_frames;  /* of the envelope */
} request_t;

typedef struct {
    int64_t seq;
    receipt_kind_t receipt;
    int partition;
    ulid_t id; /* of the event */
} stored_receipt_t;

typedef struct {
    arena_t arena;
    entry_t *entries;
    size_t n_entries, entries_capacity;
    size_t n_events; /* entries that are events */
    request_t *requests;
    size_t n_requests, requests_capacity;
    /* rows that may go; while the disk is full these and the receipts are at most as many as the
     * windows of outgoing and audit hold, for then nothing is read from the journal */
    int64_t *deletes;
    size_t n_deletes, deletes_capacity;
    bool deletes_mixed;         /* not in order */
    stored_receipt_t *receipts; /* to be stored in their rows */
    size_t n_receipts, receipts_capacity;
    bool receipts_sorted;
    buf_t frames;
} commit_t;

commit_t *commit_new(void);
void commit_destroy(commit_t **commit);
/* Empties it and keeps some of the memory. */
void commit_clear(commit_t *commit);
/* Empties all but what is to be deleted and stored. */
void commit_clear_requests(commit_t *commit);
/* The entry is zeroed; valid until the next call. */
entry_t *commit_add_entry(commit_t *commit);
request_t *commit_add_request(commit_t *commit);
void commit_add_delete(commit_t *commit, int64_t seq);
void commit_add_receipt(commit_t *commit, const stored_receipt_t *receipt);
/* RECEIPT_NONE when none of this row is to be stored. */
receipt_kind_t commit_find_receipt(commit_t *commit, int64_t seq);
/* Is this row to be deleted? */
bool commit_has_delete(commit_t *commit, int64_t seq);
/* Before it goes to the writer: from then on the loop may only look for receipts and deletions in
 * it. */
void commit_seal(commit_t *commit);
/* Is there anything for the journal? */
bool commit_writes(const commit_t *commit);
/* Memory in use. */
size_t commit_bytes(const commit_t *commit);

#endif
