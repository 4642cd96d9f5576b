#include "common/wire/messages.h"

#define TABLE(type, text)                                                                          \
    const field_table_t type##_table = {                                                           \
        text, type##_fields, sizeof type##_fields / sizeof *type##_fields, sizeof(type##_t)}

static const field_t batch_fields[] = {
    FIELD(1, batch_t, INT, version, FIELD_REQUIRED, "version of the message"),
    FIELD(2, batch_t, SLICE, node, FIELD_REQUIRED, "the emitter's node id"),
    FIELD(3, batch_t, INT, partition, FIELD_REQUIRED, "0..63"),
    FIELD(4, batch_t, SLICE, low_water, FIELD_REQUIRED, "smaller ids have their receipt"),
};
TABLE(batch, "batch");

static const field_t event_fields[] = {
    FIELD(1, event_t, SLICE, id, FIELD_REQUIRED, "the event's id"),
    FIELD(2, event_t, SLICE, events_id, FIELD_REQUIRED, "which event"),
    FIELD(3, event_t, SLICE, object_kind, FIELD_REQUIRED, "kind of the object"),
    FIELD(4, event_t, SLICE, object_id, 0, "JSON as written"),
    FIELD(5, event_t, SLICE, body, FIELD_REQUIRED, "what a handler receives"),
    FIELD(6, event_t, INT, accepted_ms, FIELD_REQUIRED, "when it was accepted"),
    FIELD(7, event_t, SLICE, webhook_id, 0, "a replay's original id"),
    FIELD(8, event_t, INT, replay_handler, 0, "a replay's handler"),
    FIELD(9, event_t, INT, replay, 0, "number of the replay"),
};
TABLE(event, "event");

static const field_t match_fields[] = {
    FIELD(1, match_t, INT, version, FIELD_REQUIRED, "version of the message"),
    FIELD(2, match_t, INT, table_version, FIELD_REQUIRED, "of the handler table"),
};
TABLE(match, "match");

static const field_t target_fields[] = {
    FIELD(1, target_t, INT, event, FIELD_REQUIRED, "index of the event"),
    FIELD(2, target_t, INT, handler_id, FIELD_REQUIRED, "the handler"),
    FIELD(3, target_t, INT, priority, FIELD_REQUIRED, "its priority"),
};
TABLE(target, "target");

static const field_t receipt_fields[] = {
    FIELD(1, receipt_t, INT, version, FIELD_REQUIRED, "version of the message"),
    FIELD(2, receipt_t, SLICE, node, FIELD_REQUIRED, "the deliverer's node id"),
    FIELD(3, receipt_t, INT, partition, FIELD_REQUIRED, "0..63"),
};
TABLE(receipt, "receipt");

static const field_t receipted_fields[] = {
    FIELD(1, receipted_t, SLICE, event_id, FIELD_REQUIRED, "in custody"),
    FIELD(2, receipted_t, INT, unmatched, 0, "1: no handler matched"),
};
TABLE(receipted, "receipted");

static const field_t audit_fields[] = {
    FIELD(1, audit_t, INT, version, FIELD_REQUIRED, "version of the message"),
    FIELD(2, audit_t, SLICE, node, FIELD_REQUIRED, "the stage's node id"),
    FIELD(3, audit_t, SLICE, service, FIELD_REQUIRED, "emitter, router, deliverer"),
    FIELD(4, audit_t, INT, boot, FIELD_REQUIRED, "differs at each start"),
    FIELD(5, audit_t, INT, first, FIELD_REQUIRED, "number of the first record"),
    FIELD(6, audit_t, INT, oldest, FIELD_REQUIRED, "oldest number still there"),
    FIELD(7, audit_t, INT, count, FIELD_REQUIRED, "records that follow"),
};
TABLE(audit, "audit");

static const field_t record_fields[] = {
    FIELD(1, record_t, SLICE, topic, FIELD_REQUIRED, "what happened"),
    FIELD(2, record_t, INT, at_ms, FIELD_REQUIRED, "when"),
    FIELD(3, record_t, INT, origin, 0, "number of the durable row behind it"),
    FIELD(4, record_t, SLICE, event_id, 0, "the event"),
    FIELD(5, record_t, SLICE, webhook_id, 0, "webhook-id, where it is not the event id"),
    FIELD(6, record_t, SLICE, events_id, 0, "which event"),
    FIELD(7, record_t, SLICE, object_kind, 0, "kind of the object"),
    FIELD(8, record_t, SLICE, object_id, 0, "JSON as written"),
    FIELD(9, record_t, SLICE, body, 0, "what handlers receive"),
    FIELD(10, record_t, INT, accepted_ms, 0, "when it was accepted"),
    FIELD(11, record_t, INT, handler_id, 0, "the handler"),
    FIELD(12, record_t, SLICE, handler, 0, "its name"),
    FIELD(13, record_t, SLICE, url, 0, "where it was sent"),
    FIELD(14, record_t, INT, attempt, 0, "from 1"),
    FIELD(15, record_t, INT, http_status, 0, "0: no response"),
    FIELD(16, record_t, SLICE, error, 0, "why there was none"),
    FIELD(17, record_t, SLICE, request, 0, "request line and headers"),
    FIELD(18, record_t, SLICE, response_headers, 0, "as received"),
    FIELD(19, record_t, SLICE, response, 0, "first 16 KiB"),
    FIELD(20, record_t, INT, duration_us, 0, "of the attempt"),
    FIELD(21, record_t, INT, next_ms, 0, "next attempt"),
    FIELD(22, record_t, SLICE, reason, 0, "why it ended"),
    FIELD(23, record_t, INT, replay, 0, "number of the replay"),
    FIELD(24, record_t, SLICE, code, 0, "error code of a refusal"),
    FIELD(25, record_t, SLICE, path, 0, "JSON pointer of a refusal"),
    FIELD(26, record_t, SLICE, message, 0, "text for people"),
    FIELD(27, record_t, SLICE, source, 0, "push, intake, replay"),
    FIELD(28, record_t, SLICE, idempotency_key, 0, "the core's key"),
    FIELD(29, record_t, INT, count, 0, "how many"),
    FIELD(30, record_t, SLICE, stats, 0, "a JSON object"),
    FIELD(31, record_t, INT, replay_handler, 0, "the one handler of a replay"),
};
TABLE(record, "record");

static const field_t mark_fields[] = {
    FIELD(1, mark_t, INT, version, FIELD_REQUIRED, "version of the message"),
    FIELD(2, mark_t, SLICE, node, FIELD_REQUIRED, "the stage's node id"),
    FIELD(3, mark_t, INT, boot, FIELD_REQUIRED, "of the stage"),
    FIELD(4, mark_t, INT, number, FIELD_REQUIRED, "everything up to it is committed"),
};
TABLE(mark, "mark");

static const field_t replay_fields[] = {
    FIELD(1, replay_t, SLICE, key, FIELD_REQUIRED, "makes it idempotent"),
    FIELD(2, replay_t, SLICE, events_id, FIELD_REQUIRED, "which event"),
    FIELD(3, replay_t, SLICE, object_kind, FIELD_REQUIRED, "kind of the object"),
    FIELD(4, replay_t, SLICE, object_id, 0, "JSON as written"),
    FIELD(5, replay_t, SLICE, body, FIELD_REQUIRED, "what the handler receives"),
    FIELD(6, replay_t, SLICE, webhook_id, FIELD_REQUIRED, "of the original"),
    FIELD(7, replay_t, INT, handler_id, FIELD_REQUIRED, "the one handler"),
    FIELD(8, replay_t, INT, replay, FIELD_REQUIRED, "number of the replay"),
};
TABLE(replay, "replay");

static const field_t replayed_fields[] = {
    FIELD(1, replayed_t, SLICE, key, FIELD_REQUIRED, "of the request"),
    FIELD(2, replayed_t, SLICE, status, FIELD_REQUIRED, "accepted, duplicate, busy, rejected"),
    FIELD(3, replayed_t, SLICE, event_id, 0, "of the new event"),
    FIELD(4, replayed_t, SLICE, message, 0, "why not"),
};
TABLE(replayed, "replayed");
