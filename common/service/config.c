#include "common/service/config.h"

#define MIB 1048576

/* clang-format off */
const config_key_t config_keys[] = {
    {"provisor", "data", CONFIG_TEXT, "./provisor-data", 0, 0, "Folder of every store. --data and PROVISOR_DATA win.", false},
    {"provisor", "handlers", CONFIG_TEXT, "", 0, 0, "Folder of handlers.db; empty: the data folder.", false},
    {"provisor", "log_level", CONFIG_TEXT, "info", 0, 0, "error, warn, info or debug.", true},
    {"provisor", "trusted_network", CONFIG_BOOL, "0", 0, 1, "1: sockets may bind other addresses than loopback without CURVE; only on a private network.", false},
    {"provisor", "stop_deadline", CONFIG_DURATION, "20s", 0, 600000, "SIGTERM: how long a stage may take to hand back what is in flight.", false},

    {"catalogue", "extra", CONFIG_TEXT, "", 0, 0, "Event ids added to the catalogue: id=kind, space separated.", false},

    {"disk", "min_free", CONFIG_SIZE, "1GiB", 0, 0, "Intake answers busy below it, custody stops at half of it.", true},

    {"emitter", "push", CONFIG_BIND, "tcp://127.0.0.1:5550", 0, 0, "PULL: events, fire and forget.", false},
    {"emitter", "intake", CONFIG_BIND, "tcp://127.0.0.1:5551", 0, 0, "ROUTER: events, acknowledged.", false},
    {"emitter", "replay", CONFIG_BIND, "tcp://127.0.0.1:5552", 0, 0, "ROUTER: the auditor's replays.", false},
    {"emitter", "routers", CONFIG_CONNECT, "tcp://127.0.0.1:5560", 0, 0, "PUSH: every router.", false},
    {"emitter", "receipts", CONFIG_CONNECT, "tcp://127.0.0.1:5562", 0, 0, "SUB: receipts of every deliverer.", false},
    {"emitter", "audit", CONFIG_BIND, "tcp://127.0.0.1:5563", 0, 0, "PUB: audit records.", false},
    {"emitter", "marks", CONFIG_CONNECT, "tcp://127.0.0.1:5570", 0, 0, "SUB: the auditor's commit marks.", false},
    {"emitter", "control", CONFIG_BIND, "tcp://127.0.0.1:5580", 0, 0, "ROUTER: ping, stats, drain.", false},
    {"emitter", "event_max", CONFIG_SIZE, "1MiB", 1024, 64 * MIB, "Largest event.", false},
    {"emitter", "request_max", CONFIG_SIZE, "8MiB", 1024, 256 * MIB, "Largest request on the intake socket.", false},
    {"emitter", "array_max", CONFIG_INT, "1000", 1, 100000, "Most events in one array.", false},
    {"emitter", "idempotency_max", CONFIG_INT, "1000000", 0, 100000000, "Most idempotency keys remembered.", false},
    {"emitter", "idempotency_keep", CONFIG_DURATION, "24h", 1000, 0, "How long an idempotency key is remembered.", false},
    {"emitter", "batch_events", CONFIG_INT, "256", 1, 4096, "Most events in one message to a router.", false},
    {"emitter", "batch_bytes", CONFIG_SIZE, "1MiB", 1024, 64 * MIB, "Most bytes in one message to a router.", false},
    {"emitter", "window_events", CONFIG_INT, "2048", 1, 100000, "Per partition: most events in memory; later ones wait on disk.", false},
    {"emitter", "window_bytes", CONFIG_SIZE, "512KiB", 1024, 64 * MIB, "Per partition: most bytes in memory; at least one event fits always.", false},
    {"emitter", "pending_bytes", CONFIG_SIZE, "32MiB", 1024, 0, "Most bytes waiting for a commit; beyond it intake sockets are not read.", false},
    {"emitter", "resend_after", CONFIG_DURATION, "2s", 10, 600000, "A message without a receipt is sent again after this long.", false},

    {"router", "intake", CONFIG_BIND, "tcp://127.0.0.1:5560", 0, 0, "PULL: batches of every emitter.", false},
    {"router", "deliverers", CONFIG_TEXT, "0-63=tcp://127.0.0.1:5561", 0, 0, "Which deliverer owns which partitions: FIRST-LAST=ENDPOINT, space separated, all 64.", false},
    {"router", "audit", CONFIG_BIND, "tcp://127.0.0.1:5564", 0, 0, "PUB: audit records.", false},
    {"router", "marks", CONFIG_CONNECT, "tcp://127.0.0.1:5570", 0, 0, "SUB: the auditor's commit marks.", false},
    {"router", "control", CONFIG_BIND, "tcp://127.0.0.1:5581", 0, 0, "ROUTER: ping, stats, drain.", false},

    {"deliverer", "intake", CONFIG_BIND, "tcp://127.0.0.1:5561", 0, 0, "PULL: matched batches of every router.", false},
    {"deliverer", "receipts", CONFIG_BIND, "tcp://127.0.0.1:5562", 0, 0, "PUB: receipts for emitters.", false},
    {"deliverer", "audit", CONFIG_BIND, "tcp://127.0.0.1:5565", 0, 0, "PUB: audit records.", false},
    {"deliverer", "marks", CONFIG_CONNECT, "tcp://127.0.0.1:5570", 0, 0, "SUB: the auditor's commit marks.", false},
    {"deliverer", "control", CONFIG_BIND, "tcp://127.0.0.1:5582", 0, 0, "ROUTER: ping, stats, drain, cancel, retry.", false},
    {"deliverer", "partitions", CONFIG_TEXT, "0-63", 0, 0, "Partitions that this deliverer owns.", false},
    {"deliverer", "concurrency", CONFIG_INT, "256", 1, 10000, "Most requests in flight over all handlers.", true},
    {"deliverer", "window", CONFIG_INT, "16", 1, 1000, "Requests in flight per handler, where the handler sets none.", true},
    {"deliverer", "timeout", CONFIG_DURATION, "15s", 10, 600000, "Deadline of one exchange, where the handler sets none.", true},
    {"deliverer", "connect_timeout", CONFIG_DURATION, "5s", 10, 600000, "Deadline of connecting.", true},
    {"deliverer", "retry", CONFIG_TEXT, "5s,5m,30m,2h,5h,10h,14h,20h,24h", 0, 0, "Delays after the first attempt, where the handler sets none.", true},
    {"deliverer", "priority_wait", CONFIG_DURATION, "1s", 0, 600000, "How long a handler waits for those of lower numbers; 0: not at all.", true},
    {"deliverer", "response_max", CONFIG_SIZE, "16KiB", 0, MIB, "Bytes of a response that are kept.", true},
    {"deliverer", "suspend_after", CONFIG_DURATION, "5d", 0, 0, "A handler that only failed for this long is suspended; 0: never.", true},
    {"deliverer", "breaker_failures", CONFIG_INT, "10", 1, 1000, "Failures in a row that open a handler's circuit.", true},
    {"deliverer", "breaker_probe", CONFIG_DURATION, "10s", 10, 3600000, "An open circuit tries one request this often.", true},
    {"deliverer", "queue_max", CONFIG_INT, "10000000", 100, 0, "Most deliveries in the queue.", true},
    {"deliverer", "backlog_share", CONFIG_INT, "50", 1, 100, "Percent of queue_max that one handler may hold.", true},
    {"deliverer", "on_full", CONFIG_TEXT, "exhaust", 0, 0, "Beyond backlog_share: exhaust (ends as exhausted, replayable) or block.", true},
    {"deliverer", "body_cache", CONFIG_SIZE, "32MiB", 0, 0, "Most bytes of event bodies kept in memory.", true},
    {"deliverer", "script_dir", CONFIG_TEXT, "", 0, 0, "Folder that scripts may come from; empty: no handler of type script.", false},

    {"auditor", "emitters", CONFIG_CONNECT, "tcp://127.0.0.1:5563", 0, 0, "SUB: audit records of every emitter.", false},
    {"auditor", "routers", CONFIG_CONNECT, "tcp://127.0.0.1:5564", 0, 0, "SUB: audit records of every router.", false},
    {"auditor", "deliverers", CONFIG_CONNECT, "tcp://127.0.0.1:5565", 0, 0, "SUB: audit records of every deliverer.", false},
    {"auditor", "marks", CONFIG_BIND, "tcp://127.0.0.1:5570", 0, 0, "PUB: commit marks.", false},
    {"auditor", "stream", CONFIG_BIND, "tcp://127.0.0.1:5571", 0, 0, "XPUB: the audit stream.", false},
    {"auditor", "questions", CONFIG_BIND, "tcp://127.0.0.1:5572", 0, 0, "ROUTER: questions about the past, gap filling, replay.", false},
    {"auditor", "replay", CONFIG_CONNECT, "tcp://127.0.0.1:5552", 0, 0, "DEALER: the emitter that takes replays.", false},
    {"auditor", "control", CONFIG_BIND, "tcp://127.0.0.1:5583", 0, 0, "ROUTER: ping, stats, drain.", false},
    {"auditor", "segment_attempts", CONFIG_INT, "200000", 100, 100000000, "Records after which a segment is sealed.", false},
    {"auditor", "segment_age", CONFIG_DURATION, "1d", 1000, 0, "Age after which a segment is sealed.", false},
    {"auditor", "retention_age", CONFIG_DURATION, "30d", 1000, 0, "Segments older than this are removed.", true},
    {"auditor", "retention_bytes", CONFIG_SIZE, "10GiB", MIB, 0, "The oldest segments beyond this are removed.", true},
};
/* clang-format on */
const size_t config_n_keys = sizeof config_keys / sizeof *config_keys;
