/* emitter_self: the emitter's state, shared by the parts that its loop is made of:
 *
 *     inputs.c     reads the three sockets, stops reading when there is no room
 *     requests.c   bytes of a request to entries of the next commit
 *     replays.c    the same for events out of history
 *     commits.c    hands commits to the writer; what happens after one
 *     answers.c    answers to cores and to replays
 *     sending.c    batches to routers, again when receipts do not come
 *     receipts.c   receipts of deliverers
 *     recording.c  audit records, and which rows may leave the journal
 *     emitter.c    start, end, what the control socket asks
 *
 * Every handler of the loop ends with emitter_turn (). */
#ifndef PROVISOR_EMITTER_SELF_H
#define PROVISOR_EMITTER_SELF_H

#include <czmq.h>

#include "common/db/writer.h"
#include "common/service/audit.h"
#include "common/service/endpoint.h"
#include "common/service/peers.h"
#include "services/emitter/commit.h"
#include "services/emitter/gate.h"
#include "services/emitter/journal.h"
#include "services/emitter/unmatched.h"

typedef struct emitter_t emitter_t;

enum {
    ENVELOPE_FRAMES_MAX = 16,
    ENVELOPE_BYTES_MAX = 4096,
};

/* A socket that events come from. */
typedef struct {
    emitter_t *self;
    source_t source;
    zsock_t *socket;
    bool reading; /* registered with the loop */
    /* the frames of the request that is being read, each with its size in front; ROUTER only */
    buf_t envelope;
    size_t n_frames;
    bool overflow; /* more than an envelope may have: the request is refused */
} input_t;

typedef struct {
    int64_t accepted, duplicate, rejected, busy;
    int64_t replayed; /* of the accepted ones */
    int64_t requests;
    int64_t commits;
    int64_t sent;         /* messages to routers */
    int64_t receipts;     /* events */
    int64_t bad_receipts; /* messages that could not be read */
    int64_t unmatched;    /* events */
} emitter_counts_t;

struct emitter_t {
    service_t *service;
    zloop_t *loop;
    int64_t event_max_bytes, request_max_bytes, array_max, pending_bytes_max;

    catalogue_t *catalogue;
    intake_t *intake;
    input_t inputs[3]; /* push, intake, replay */
    gate_t gate;
    int64_t disk_checked_ms; /* monotonic; 0: look at the next occasion */
    int64_t disk_free_bytes;

    journal_t *journal;
    writer_t *writer;
    commit_t *next;        /* is being filled */
    commit_t *current;     /* is with the writer; NULL: none */
    commit_t *spare;       /* its memory is used again; NULL while there is none */
    int64_t writes_ms;     /* since when next holds deletions or receipts; 0: it does not */
    int64_t read_again_ms; /* reading the journal failed for now; 0: it did not */

    outgoing_t *outgoing;
    endpoint_peers_t *routers;  /* PUSH */
    endpoint_peers_t *receipts; /* SUB */
    peers_t *router_peers, *deliverer_peers;
    buf_t batch; /* head of the last message */

    audit_publisher_t *audit;
    settle_t *settle;
    unmatched_t unmatched;

    int64_t timer_due_ms;
    int timer;      /* -1: none */
    bool disk_full; /* the writer waits: nothing can be written for now */
    char disk_why[160];
    bool blocked;      /* no router takes more: the loop waits for POLLOUT */
    bool audit_behind; /* rows wait for room to be recorded; a cursor goes over them */
    bool draining;
    emitter_counts_t counts;
};

/* ---- commits.c -------------------------------------------------------------------------- */

/* After whatever happened: commits what waits, sends what can be sent, arms the timer. */
void emitter_turn(emitter_t *self);
/* Calls for the writer. */
extern const writer_calls_t emitter_writer_calls;
/* Nothing waits for a commit or an answer. */
bool emitter_is_idle(const emitter_t *self);
/* A read of the journal failed: RESULT_AGAIN and RESULT_FULL pass, anything else ends the process.
 */
void emitter_read_failed(emitter_t *self, result_t result);

/* ---- inputs.c --------------------------------------------------------------------------- */

/* Begins or stops to read each socket, as there is room. */
void inputs_update(emitter_t *self);
void inputs_stop(emitter_t *self);
/* Reads what is there and forgets it, for a moment: closing a connection with something unread on
 * it would take back the answers that the core has not read yet. */
void inputs_discard(emitter_t *self);
/* Looks at the free space, at most once a second. */
void inputs_check_disk(emitter_t *self);
/* When to look again without input; -1: there is no need. */
int64_t inputs_due_ms(const emitter_t *self);

/* ---- requests.c ------------------------------------------------------------------------- */

void requests_take_push(emitter_t *self, slice_t bytes);
/* The last frame of a request has come; its envelope is in the input. */
void requests_take(emitter_t *self, input_t *input, slice_t bytes);
void requests_add_refusal(emitter_t *self, source_t source, const intake_error_t *error);

/* ---- replays.c -------------------------------------------------------------------------- */

/* admitted: false: all of them are answered busy. */
void replays_take(emitter_t *self, request_t *request, slice_t bytes, bool admitted);

/* ---- answers.c -------------------------------------------------------------------------- */

/* Answers every request of a commit, in order. */
void answers_send(emitter_t *self, const commit_t *commit);
void answers_send_one(emitter_t *self, const commit_t *commit, const request_t *request);

/* ---- sending.c -------------------------------------------------------------------------- */

/* Reads tails that have room and sends what is due. */
void sending_turn(emitter_t *self);
/* When to send without anything else happening; -1: never. */
int64_t sending_due_ms(const emitter_t *self);
/* peers_fn for routers and for deliverers. */
void sending_router_changed(void *owner, const peers_t *peers, const char *endpoint,
                            bool connected);
void sending_deliverer_changed(void *owner, const peers_t *peers, const char *endpoint,
                               bool connected);

/* ---- receipts.c ------------------------------------------------------------------------- */

int receipts_read(zloop_t *loop, zsock_t *socket, void *arg);

/* ---- recording.c ------------------------------------------------------------------------ */

extern const audit_calls_t emitter_audit_calls;
/* A commit is done: event.accepted for its events while there is room, event.duplicate and
 * event.rejected for those that the journal decided about so. */
void recording_committed(emitter_t *self, const commit_t *commit);
/* An event was refused before it came near the journal. body may be absent. */
void recording_rejected(emitter_t *self, source_t source, const intake_error_t *error,
                        slice_t body);
void recording_receipt(emitter_t *self, const outgoing_event_t *event, receipt_kind_t receipt);
/* A commit is done: low_water may pass the unmatched events whose receipts it stored. */
void recording_stored(emitter_t *self, const commit_t *commit);
/* Goes on with the rows that wait for room. */
void recording_turn(emitter_t *self);
bool recording_is_due(const emitter_t *self);

#endif
