#include "services/cli/follow.h"

#include "common/base/cleanup.h"
#include "common/service/endpoint.h"

enum { TOPICS = 4, ANSWER_MS = 10000, PAUSE_MS = 200 };

static const char *const topics[TOPICS] = {"delivery.delivered", "delivery.retrying",
                                           "delivery.exhausted", "delivery.cancelled"};

typedef struct {
    const cli_t *cli;
    follow_show_fn *show;
    int64_t last[TOPICS]; /* everything of the topic up to here was seen */
} follow_t;

zsock_t *follow_subscribe(const cli_t *cli)
{
    zsock_t *stream = zsock_new(ZMQ_SUB);
    zsock_set_linger(stream, 0);
    zsock_set_subscribe(stream, "delivery.");
    zsock_set_subscribe(stream, "stage.heartbeat");
    if (zsock_connect(stream, "%s", cli_endpoint(cli, "stream", "auditor", "stream")) != 0)
        zsock_destroy(&stream);
    return stream;
}

int follow_newest(const cli_t *cli, int64_t *ret_audit_id)
{
    AUTO_BUF question = {0};
    AUTO(json_tree) answer = NULL;
    buf_add_str(&question, "{\"op\":\"log\",\"limit\":1,\"since_ms\":1}");
    int code = cli_ask_history(cli, &question, &answer);
    if (code != EXIT_OK)
        return code;
    const json_tree_t *records = json_get(answer, "records");
    bool any = YAJL_IS_ARRAY(records) && records->u.array.len;
    *ret_audit_id = any ? json_get_int(records->u.array.values[0], "audit_id", 0) : 0;
    return EXIT_OK;
}

static int topic_of(const json_tree_t *record)
{
    const char *topic = json_get_str(record, "topic");
    for (int i = 0; topic && i < TOPICS; i++)
        if (strcmp(topics[i], topic) == 0)
            return i;
    return -1;
}

static void see(follow_t *self, const json_tree_t *record)
{
    int topic = topic_of(record);
    int64_t audit_id = json_get_int(record, "audit_id", 0);
    if (topic < 0 || audit_id <= self->last[topic])
        return;
    self->last[topic] = audit_id;
    self->show(self->cli, record);
}

static void build_fill(int64_t from, int64_t to, const bool *of, buf_t *ret_question)
{
    json_writer_t w;
    json_begin(&w, ret_question);
    json_open_object(&w);
    json_key_int(&w, "from", from);
    json_key_int(&w, "to", to);
    json_key(&w, "topics");
    json_open_array(&w);
    for (int i = 0; i < TOPICS; i++)
        if (of[i])
            json_str(&w, topics[i]);
    json_close_array(&w);
    json_close_object(&w);
}

/* Asks until there is an answer: to go on without it would lose what the gap holds. */
static int ask(const follow_t *self, const buf_t *question, json_tree_t **ret_answer)
{
    const char *endpoint = cli_endpoint(self->cli, "questions", "auditor", "questions");
    for (;;) {
        AUTO_BUF answer = {0};
        AUTO(json_tree) tree = NULL;
        if (endpoint_ask(endpoint, buf_slice(question), ANSWER_MS, &answer) == RESULT_OK &&
            json_parse(buf_slice(&answer), &tree, NULL) == RESULT_OK) {
            const char *why = json_get_str(tree, "error");
            if (!json_get_bool(tree, "ok", false))
                return cli_fail(self->cli, EXIT_FAILED, "history does not fill a gap: %s",
                                why ? why : "refused, without a reason");
            *ret_answer = TAKE(tree);
            return EXIT_OK;
        }
        zclock_sleep(PAUSE_MS);
    }
}

/* Everything of these topics from .. to, out of history. */
static int fill(follow_t *self, int64_t from, int64_t to, const bool *of)
{
    while (from && from <= to) {
        AUTO_BUF question = {0};
        AUTO(json_tree) answer = NULL;
        build_fill(from, to, of, &question);
        int code = ask(self, &question, &answer);
        if (code != EXIT_OK)
            return code;
        const json_tree_t *records = json_get(answer, "records");
        for (size_t i = 0; YAJL_IS_ARRAY(records) && i < records->u.array.len; i++)
            see(self, records->u.array.values[i]);
        int64_t next = json_get_int(answer, "next", 0); /* null: that was all */
        from = next > from ? next : 0;
    }
    return EXIT_OK;
}

static int on_heartbeat(follow_t *self, const json_tree_t *heartbeat)
{
    bool behind[TOPICS] = {false};
    const json_tree_t *last = json_get(heartbeat, "last");
    int64_t from = INT64_MAX;
    for (int i = 0; i < TOPICS; i++) {
        behind[i] = json_get_int(last, topics[i], 0) > self->last[i];
        if (behind[i] && self->last[i] < from)
            from = self->last[i] + 1;
    }
    if (from == INT64_MAX)
        return EXIT_OK;
    int code = fill(self, from, json_get_int(heartbeat, "last_audit_id", 0), behind);
    for (int i = 0; i < TOPICS && code == EXIT_OK; i++)
        if (behind[i] && json_get_int(last, topics[i], 0) > self->last[i])
            self->last[i] =
                json_get_int(last, topics[i], 0); /* retention took it: no gap for ever */
    return code;
}

static int on_message(follow_t *self, const json_tree_t *message)
{
    const char *name = json_get_str(message, "topic");
    int topic = topic_of(message), code = EXIT_OK;
    if (name && strcmp(name, "stage.heartbeat") == 0)
        return on_heartbeat(self, message);
    if (topic < 0)
        return EXIT_OK;
    if (json_get_int(message, "prev_id", 0) > self->last[topic]) {
        bool only[TOPICS] = {false};
        only[topic] = true;
        code = fill(self, self->last[topic] + 1, json_get_int(message, "prev_id", 0), only);
    }
    if (code == EXIT_OK)
        see(self, message);
    return code;
}

int follow_run(const cli_t *cli, zsock_t *stream, int64_t seen_id, follow_show_fn *show)
{
    follow_t self = {.cli = cli, .show = show};
    for (int i = 0; i < TOPICS; i++)
        self.last[i] = seen_id;
    for (;;) {
        int code = EXIT_OK;
        AUTO(zmsg) msg = zmsg_recv(stream);
        if (!msg)
            return EXIT_OK; /* interrupted */
        zframe_t *body = zmsg_last(msg);
        slice_t text = {(const char *)zframe_data(body), zframe_size(body)};
        AUTO(json_tree) message = NULL;
        if (json_parse(text, &message, NULL) == RESULT_OK)
            code = on_message(&self, message);
        if (code != EXIT_OK)
            return code;
    }
}
