/* messages: every message between Provisor's processes, declared once.
 *
 * A ZeroMQ message is a row of frames. Each frame holds either one struct (codec_encode) or any
 * number of structs of one kind, one after the other (codec_add). The rows:
 *
 *   emitter -> router (5560)      batch | event...
 *   router -> deliverer (5561)    batch | event... | match | target...    first two frames
 * untouched deliverer -> emitter (5562)   <emitter node> | receipt | receipted... stage -> auditor
 * (5563-5565)  <stage node> | audit | record... auditor -> stage (5570)       <stage node> | mark
 *   auditor -> emitter (5552)     replay...        answered by       replayed...
 *
 * Field numbers are append-only. Unknown fields are skipped, missing required ones refused. Slices
 * borrow from the frame they were decoded from. Times are wall clock milliseconds. */
#ifndef PROVISOR_MESSAGES_H
#define PROVISOR_MESSAGES_H

#include "common/base/field.h"

enum { PARTITIONS = 64 };

/* Events of one partition on their way to the deliverer that owns it. */
typedef struct {
    int64_t version;   /* of this message: BATCH_VERSION */
    slice_t node;      /* the emitter's node id */
    int64_t partition; /* 0..63 */
    slice_t
        low_water; /* every event of this node and partition with a smaller id has its receipt */
} batch_t;
enum { BATCH_VERSION = 1 };

typedef struct {
    slice_t id;          /* ulid, 26 characters */
    slice_t events_id;   /* "clients.update" */
    slice_t object_kind; /* of the catalogue: "client" */
    slice_t object_id;   /* JSON as written: 12, "abc"; absent when the event has none or null */
    slice_t body;        /* exactly what a handler receives */
    int64_t accepted_ms;
    slice_t webhook_id;     /* a replay's original event id; absent: same as id */
    int64_t replay_handler; /* a replay goes to this handler only; 0: not a replay */
    int64_t replay;         /* 1 for the first replay, ... */
} event_t;

/* Which handler table the targets were matched with. */
typedef struct {
    int64_t version; /* of this message: MATCH_VERSION */
    int64_t table_version;
} match_t;
enum { MATCH_VERSION = 1 };

/* One handler of one event of the batch. An event that no target names matched nothing. */
typedef struct {
    int64_t event; /* index into the event frame, from 0 */
    int64_t handler_id;
    int64_t priority;
} target_t;

typedef struct {
    int64_t version; /* of this message: RECEIPT_VERSION */
    slice_t node;    /* the deliverer's node id */
    int64_t partition;
} receipt_t;
enum { RECEIPT_VERSION = 1 };

typedef struct {
    slice_t event_id;
    int64_t unmatched; /* 1: the set of handlers that custody fixed is empty */
} receipted_t;

/* Audit records first .. first + count - 1 of one boot of a stage. */
typedef struct {
    int64_t version; /* of this message: AUDIT_VERSION */
    slice_t node;
    slice_t service; /* "emitter" */
    int64_t boot;    /* chosen at each start; differs from every earlier one */
    int64_t first;   /* numbers start at 1 with each boot */
    int64_t oldest;  /* the smallest number that the stage can still send */
    int64_t count;
} audit_t;
enum { AUDIT_VERSION = 1 };

/* One thing that happened. Which fields are there depends on the topic (docs/protocol.md). */
typedef struct {
    slice_t topic; /* "delivery.delivered" */
    int64_t at_ms;
    int64_t origin; /* rising number of the durable row behind it; the auditor takes each once; 0:
                       none */
    slice_t event_id;
    slice_t webhook_id;
    slice_t events_id;
    slice_t object_kind;
    slice_t object_id; /* JSON as written */
    slice_t body; /* event.accepted: exactly what handlers receive; event.rejected: first 4 KiB */
    int64_t accepted_ms; /* event.accepted: as in the event */
    int64_t handler_id;
    slice_t handler; /* its name at that time */
    slice_t url;
    int64_t attempt;     /* from 1 */
    int64_t http_status; /* 0: no response */
    slice_t error;       /* no response: why; text for people */
    slice_t request;     /* request line and headers as sent, secrets as *** */
    slice_t response_headers;
    slice_t response;    /* first 16 KiB of the body */
    int64_t duration_us; /* of the attempt */
    int64_t next_ms;     /* retrying: when the next attempt is due */
    slice_t reason;      /* exhausted: attempts, max_age, backlog_full; cancelled: archived, ... */
    int64_t replay;
    slice_t code; /* rejected: the error code */
    slice_t path; /* rejected: JSON pointer */
    slice_t message;
    slice_t source;          /* accepted, rejected, duplicate: push, intake, replay */
    slice_t idempotency_key; /* accepted, duplicate */
    int64_t count;           /* audit_dropped, audit_gap: how many */
    slice_t stats;           /* stage.stats: a JSON object */
    int64_t replay_handler;  /* accepted: the one handler of a replay */
} record_t;

/* A message of this one frame, without a mark, tells every stage each second that the auditor
 * lives: a stage that has just started has no marks yet, and sends nothing before it hears it. */
#define AUDIT_BEAT "beat"

/* "Everything of this boot up to number is committed." */
typedef struct {
    int64_t version; /* of this message: MARK_VERSION */
    slice_t node;
    int64_t boot;
    int64_t number;
} mark_t;
enum { MARK_VERSION = 1 };

/* An event out of history, to be taken in once more for one handler. key makes it idempotent. */
typedef struct {
    slice_t key;
    slice_t events_id;
    slice_t object_kind;
    slice_t object_id;
    slice_t body;
    slice_t webhook_id; /* the original event's webhook-id */
    int64_t handler_id;
    int64_t replay;
} replay_t;

/* The emitter's answer, one per replay_t and in the same order. */
typedef struct {
    slice_t key;
    slice_t status;   /* accepted, duplicate, busy, rejected */
    slice_t event_id; /* of the new event (or of the first, if duplicate) */
    slice_t message;  /* rejected: why */
} replayed_t;

extern const field_table_t batch_table, event_table, match_table, target_table, receipt_table,
    receipted_table, audit_table, record_table, mark_table, replay_table, replayed_table;

#endif
