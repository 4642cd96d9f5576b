#include "services/emitter/emitter.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "services/emitter/emitter_self.h"

static const char router_monitor[] = "inproc://emitter-routers";
static const char receipt_monitor[] = "inproc://emitter-receipts";

/* What libzmq may hold of one connection is these many messages of at most that size, so sockets
 * for large messages have few. Somewhat too large messages are read, to be refused with a reason;
 * larger ones end the connection. */
enum {
    /* Messages that libzmq holds of one connection that is not read; each may be as large as a
     * request. 5550 is not read while intake is closed, 5551 is (for busy). Never changed while
     * they are in use: libzmq stalls a connection whose limit falls below what it holds. */
    PUSH_HWM = 8,
    INTAKE_HWM = 64,
    REPLAY_HWM = 8,
    ANSWERS_HWM = 2000, /* libzmq counts what was read late: 1,000 unread ones always fit */
    ROUTERS_HWM = 64,
    RECEIPTS_HWM = 1000,
    RECEIPT_BYTES_MAX = 4 * 1024 * 1024,
    OVERSIZE_PARTS = 4, /* a quarter more than allowed */
    LINGER_MS = 500,    /* the last answers still leave */
};

/* ---- Start ------------------------------------------------------------------------------ */

static int64_t setting(const emitter_t *self, const char *key)
{
    return config_int(service_config(self->service), "emitter", key);
}

static result_t open_intake(emitter_t *self, fault_t *fault)
{
    const char *extra = config_text(service_config(self->service), "catalogue", "extra");
    result_t r = catalogue_new(extra, &self->catalogue, fault);
    if (r != RESULT_OK)
        return r;
    self->event_max_bytes = setting(self, "event_max");
    self->request_max_bytes = setting(self, "request_max");
    self->array_max = setting(self, "array_max");
    self->pending_bytes_max = setting(self, "pending_bytes");
    self->intake =
        intake_new(self->catalogue, &(intake_limits_t){self->event_max_bytes,
                                                       self->request_max_bytes, self->array_max});
    return RESULT_OK;
}

static result_t open_journal(emitter_t *self, fault_t *fault)
{
    journal_settings_t settings = {.dir = config_data(service_config(self->service)),
                                   .idempotency_keep_ms = setting(self, "idempotency_keep"),
                                   .idempotency_max = setting(self, "idempotency_max"),
                                   .event_bytes_max =
                                       config_events_max(service_config(self->service))};
    result_t r = journal_open(&settings, &self->journal, fault);
    if (r != RESULT_OK)
        return r;
    outgoing_limits_t limits = {
        .batch_events = setting(self, "batch_events"),
        .batch_bytes = setting(self, "batch_bytes"),
        .window = {setting(self, "window_events"), setting(self, "window_bytes")},
        .resend_after_ms = setting(self, "resend_after")};
    self->outgoing = outgoing_new(&limits, journal_last_id(self->journal), clk_mono_ms());
    self->settle = settle_new();
    self->audit_behind = journal_rows(self->journal) > 0;
    self->next = commit_new();
    self->writer = writer_new(self->loop, journal_db(self->journal), &emitter_writer_calls, self);
    return RESULT_OK;
}

/* What is somewhat too large is read. */
static int64_t with_oversize(int64_t bytes)
{
    return bytes + bytes / OVERSIZE_PARTS;
}

static result_t open_outputs(emitter_t *self, fault_t *fault)
{
    const config_t *config = service_config(self->service);
    int64_t batch_bytes = setting(self, "batch_bytes");
    int64_t message_bytes =
        batch_bytes > self->event_max_bytes ? batch_bytes : self->event_max_bytes;
    /* the monitors' ends first, so that no event is missed */
    self->router_peers = peers_new(self->loop, router_monitor, sending_router_changed, self);
    self->deliverer_peers = peers_new(self->loop, receipt_monitor, sending_deliverer_changed, self);
    result_t r =
        endpoint_connect(self->loop, config_text(config, "emitter", "routers"),
                         &(endpoint_options_t){.type = ZMQ_PUSH,
                                               .hwm = ROUTERS_HWM,
                                               .max_msg_bytes = with_oversize(message_bytes),
                                               .monitor = router_monitor,
                                               .peers = self->router_peers,
                                               .log = service_log(self->service)},
                         &self->routers, fault);
    if (r == RESULT_OK)
        r = endpoint_connect(self->loop, config_text(config, "emitter", "receipts"),
                             &(endpoint_options_t){.type = ZMQ_SUB,
                                                   .hwm = RECEIPTS_HWM,
                                                   .max_msg_bytes = RECEIPT_BYTES_MAX,
                                                   .monitor = receipt_monitor,
                                                   .peers = self->deliverer_peers,
                                                   .log = service_log(self->service)},
                             &self->receipts, fault);
    if (r != RESULT_OK)
        return r;
    zsock_t *receipts = endpoint_socket(self->receipts);
    zsock_set_subscribe(receipts, journal_node(self->journal));
    zloop_reader(self->loop, receipts, receipts_read, self);
    zloop_reader_set_tolerant(self->loop, receipts);
    return RESULT_OK;
}

static result_t open_inputs(emitter_t *self, fault_t *fault)
{
    const struct {
        source_t source;
        const char *key;
        int type;
        int hwm;
    } kinds[] = {
        {SOURCE_PUSH, "push", ZMQ_PULL, PUSH_HWM},
        {SOURCE_INTAKE, "intake", ZMQ_ROUTER, INTAKE_HWM},
        {SOURCE_REPLAY, "replay", ZMQ_ROUTER, REPLAY_HWM},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        input_t *input = &self->inputs[i];
        *input = (input_t){.self = self, .source = kinds[i].source};
        result_t r = endpoint_bind(
            service_config(self->service), "emitter", kinds[i].key,
            &(endpoint_options_t){.type = kinds[i].type,
                                  .hwm = kinds[i].hwm,
                                  .send_hwm = ANSWERS_HWM,
                                  .max_msg_bytes = with_oversize(self->request_max_bytes)},
            &input->socket, fault);
        if (r != RESULT_OK)
            return r;
        zsock_set_linger(input->socket, LINGER_MS);
    }
    return RESULT_OK;
}

static result_t create(service_t *service, void **ret_self, fault_t *fault)
{
    emitter_t *self = MEM_NEW(emitter_t);
    self->service = service;
    self->loop = service_loop(service);
    self->timer = -1;
    *ret_self = self; /* what was opened is closed by destroy, also after a failure */
    result_t r = open_intake(self, fault);
    if (r == RESULT_OK)
        r = open_journal(self, fault);
    if (r == RESULT_OK)
        r = audit_new(service, "emitter", journal_node(self->journal), &emitter_audit_calls, self,
                      &self->audit, fault);
    if (r == RESULT_OK)
        r = open_outputs(self, fault);
    if (r == RESULT_OK)
        r = open_inputs(self, fault);
    if (r != RESULT_OK)
        return r;
    inputs_check_disk(self);
    emitter_turn(self);
    return RESULT_OK;
}

/* ---- End -------------------------------------------------------------------------------- */

static void close_sockets(emitter_t *self)
{
    inputs_stop(self);
    inputs_discard(self);
    for (size_t i = 0; i < sizeof self->inputs / sizeof *self->inputs; i++) {
        zsock_destroy(&self->inputs[i].socket);
        buf_release(&self->inputs[i].envelope);
    }
    if (self->blocked)
        zloop_poller_end(
            self->loop, &(zmq_pollitem_t){.socket = zsock_resolve(endpoint_socket(self->routers))});
    if (self->receipts)
        zloop_reader_end(self->loop, endpoint_socket(self->receipts));
    endpoint_peers_destroy(&self->routers);
    endpoint_peers_destroy(&self->receipts);
    peers_destroy(&self->router_peers);
    peers_destroy(&self->deliverer_peers);
}

static void destroy(void **self_p)
{
    emitter_t *self = *self_p;
    if (!self)
        return;
    if (self->timer >= 0)
        zloop_timer_end(self->loop, self->timer);
    writer_destroy(&self->writer);
    audit_destroy(&self->audit);
    close_sockets(self);
    commit_destroy(&self->next);
    commit_destroy(&self->current);
    commit_destroy(&self->spare);
    journal_close(&self->journal);
    outgoing_destroy(&self->outgoing);
    settle_destroy(&self->settle);
    intake_destroy(&self->intake);
    catalogue_destroy(&self->catalogue);
    buf_release(&self->batch);
    free(self);
    *self_p = NULL;
}

/* What was read is committed and answered; the rest stays with the cores, the journal on disk. */
static void drain(void *arg)
{
    emitter_t *self = arg;
    self->draining = true;
    emitter_turn(self);
}

static bool drained(void *arg)
{
    emitter_t *self = arg;
    emitter_turn(self);
    return emitter_is_idle(self);
}

/* ---- Questions -------------------------------------------------------------------------- */

static void stats(void *arg, json_writer_t *w)
{
    emitter_t *self = arg;
    const emitter_counts_t *counts = &self->counts;
    outgoing_stats_t outgoing;
    outgoing_stats(self->outgoing, &outgoing);
    inputs_check_disk(self);
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"accepted", counts->accepted},
        {"duplicate", counts->duplicate},
        {"rejected", counts->rejected},
        {"busy", counts->busy},
        {"replayed", counts->replayed},
        {"requests", counts->requests},
        {"commits", counts->commits},
        {"pending_bytes", (int64_t)commit_bytes(self->next)},
        {"journal_rows", journal_rows(self->journal)},
        {"journal_bytes", journal_size_bytes(self->journal)},
        {"idempotency_keys", journal_keys(self->journal)},
        {"unreceipted", outgoing.events},
        {"unreceipted_bytes", outgoing.bytes},
        {"in_flight", outgoing.in_flight},
        {"tails", outgoing.tails},
        {"messages", counts->sent},
        {"resent", outgoing.resent},
        {"receipts", counts->receipts},
        {"bad_receipts", counts->bad_receipts},
        {"unmatched", counts->unmatched},
        {"routers", peers_connected(self->router_peers)},
        {"deliverers", peers_connected(self->deliverer_peers)},
        {"disk_free_bytes", self->disk_free_bytes},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_key_int(w, numbers[i].name, numbers[i].value);
    json_key_bool(w, "open", !self->gate.closed);
    json_key_str(w, "last_id", journal_last_id(self->journal)->text);
    audit_stats(self->audit, w);
}

static bool ready(void *arg, char *ret_why, size_t size)
{
    emitter_t *self = arg;
    inputs_check_disk(self);
    if (self->disk_full) {
        snprintf(ret_why, size, "the journal cannot be written: %s", self->disk_why);
        return false;
    }
    const char *why = self->gate.closed ? "less disk space than disk.min_free"
                      : peers_connected(self->router_peers) == 0    ? "no router connected"
                      : peers_connected(self->deliverer_peers) == 0 ? "no deliverer connected"
                      : !audit_alive(self->audit)                   ? "no auditor is heard"
                                                                    : NULL;
    if (why)
        snprintf(ret_why, size, "%s", why);
    return !why;
}

static result_t answer_event(void *arg, const json_tree_t *question, json_writer_t *w,
                             fault_t *fault)
{
    emitter_t *self = arg;
    ulid_t id;
    bool found = false;
    if (ulid_parse(slice_of(json_get_str(question, "event_id")), &id) != RESULT_OK)
        return fault_set(fault, RESULT_INVALID, "event_id must be an event's id");
    result_t r = journal_has(self->journal, &id, &found);
    if (r != RESULT_OK)
        return fault_set(fault, r, "journal: %s", journal_read_error(self->journal));
    json_key_bool(w, "found", found);
    return RESULT_OK;
}

static result_t check(const config_t *config, fault_t *fault)
{
    catalogue_t *catalogue = NULL;
    fault_t why;
    result_t r = catalogue_new(config_text(config, "catalogue", "extra"), &catalogue, &why);
    catalogue_destroy(&catalogue);
    return r == RESULT_OK ? r
                          : fault_set(fault, r, "%s: %s",
                                      config_source(config, "catalogue", "extra"), why.text);
}

static const service_op_t ops[] = {
    {"event", answer_event},
    {NULL, NULL},
};

static result_t copy_journal(void *arg, backup_t *backup, const char *dir, fault_t *fault)
{
    const emitter_t *self = arg;
    return journal_backup(self->journal, backup, dir, fault);
}

static const backup_part_t parts[] = {
    {"journal", copy_journal},
    {NULL, NULL},
};

const service_spec_t emitter_spec = {
    .name = "emitter",
    .help = "Takes events in, commits them to the journal and hands them to routers.",
    .create = create,
    .destroy = destroy,
    .drain = drain,
    .drained = drained,
    .stats = stats,
    .ready = ready,
    .ops = ops,
    .backup = parts,
    .check = check,
};
