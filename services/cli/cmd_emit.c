/* provisor emit: plays a core. Sends NDJSON events over the acknowledged intake, pipelined and in
 * order. */
#include "services/cli/cmd.h"

#include <czmq.h>
#include <errno.h>

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"

enum { WINDOW = 256, ANSWER_TIMEOUT_MS = 10000 };

typedef struct {
    char *text;
    size_t size;
    int64_t number; /* in the input, from 1 */
} line_t;

/* Lines first .. first + n - 1 wait for their answers, in a ring. Each request carries its number
 * in a frame of its own in front, which comes back with the answer: a DEALER connects again by
 * itself, and an answer to a later request than the oldest one tells that the ones between were
 * lost with the emitter. */
typedef struct {
    cli_t *cli;
    FILE *input;
    zsock_t *socket;
    line_t lines[WINDOW];
    int64_t first; /* number of the oldest request without an answer, from 0 */
    size_t n;
    size_t n_sent; /* of the n, how many are with the emitter */
    int64_t read;  /* lines of the input so far */
    bool end;      /* of the input */
    bool progress;
    int64_t accepted, duplicate, rejected;
    int64_t started_ms, shown_ms;
} emit_t;

static line_t *line_at(emit_t *self, size_t i)
{
    return &self->lines[(size_t)(self->first + (int64_t)i) % WINDOW];
}

static void say_rejected(const emit_t *self, int64_t line, const char *code, const char *path,
                         const char *message)
{
    fprintf(stderr, "%sline %lld refused: %s at \"%s\": %s\n", self->progress ? "\r" : "",
            (long long)line, code, path, message);
}

/* What the emitter would end the connection for is refused here. */
static bool fits(emit_t *self, size_t size)
{
    char message[128];
    int64_t max_bytes = config_int(cli_config(self->cli), "emitter", "request_max");
    if ((int64_t)size <= max_bytes)
        return true;
    snprintf(message, sizeof message, "%zu bytes; emitter.request_max is %lld", size,
             (long long)max_bytes);
    say_rejected(self, self->read, "too_large", "", message);
    self->rejected++;
    return false;
}

/* Reads ahead until the window is full; empty lines are passed over. */
static void read_lines(emit_t *self)
{
    char *line = NULL;
    size_t capacity = 0;
    while (self->n < WINDOW && !self->end) {
        ssize_t size = getline(&line, &capacity, self->input);
        if (size < 0) {
            self->end = true;
            break;
        }
        self->read++;
        while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r'))
            line[--size] = 0;
        if (size == 0 || !fits(self, (size_t)size))
            continue;
        *line_at(self, self->n++) =
            (line_t){mem_strndup(line, (size_t)size), (size_t)size, self->read};
    }
    free(line);
}

static void send_lines(emit_t *self)
{
    void *socket = zsock_resolve(self->socket);
    for (; self->n_sent < self->n; self->n_sent++) {
        const line_t *line = line_at(self, self->n_sent);
        int64_t number = self->first + (int64_t)self->n_sent;
        /* the send timeout: the emitter is not there; the answer's timeout will say so */
        if (zmq_send(socket, &number, sizeof number, ZMQ_SNDMORE) < 0 ||
            zmq_send(socket, "", 0, ZMQ_SNDMORE) < 0 ||
            zmq_send(socket, line->text, line->size, 0) < 0)
            break;
    }
}

static void show_progress(emit_t *self, bool last)
{
    int64_t now_ms = clk_mono_ms();
    if (!self->progress || (!last && now_ms - self->shown_ms < 200))
        return;
    self->shown_ms = now_ms;
    int64_t done = self->accepted + self->duplicate + self->rejected;
    int64_t rate = done * 1000 / (now_ms - self->started_ms + 1);
    fprintf(stderr, "\r%lld sent, %lld refused, %lld/s %s", (long long)done,
            (long long)self->rejected, (long long)rate, last ? "\n" : "");
}

static void say_error(emit_t *self, const json_tree_t *answer)
{
    const json_tree_t *error = json_get(answer, "error");
    const char *code = json_get_str(error, "code"), *message = json_get_str(error, "message");
    const char *path = json_get_str(error, "path");
    say_rejected(self, line_at(self, 0)->number, code ? code : "?", path ? path : "",
                 message ? message : "");
}

/* One answer (or one of an array) counts; returns the milliseconds to wait when it is busy. */
static int64_t take_status(emit_t *self, const json_tree_t *answer)
{
    const char *status = json_get_str(answer, "status");
    if (status && strcmp(status, "busy") == 0)
        return json_get_int(answer, "retry_after_ms", 1000);
    if (status && strcmp(status, "accepted") == 0)
        self->accepted++;
    else if (status && strcmp(status, "duplicate") == 0)
        self->duplicate++;
    else {
        self->rejected++;
        say_error(self, answer);
    }
    return 0;
}

/* The answer to the oldest request, NULL when that was lost or nothing came in time. */
static zframe_t *receive(emit_t *self, int64_t number)
{
    AUTO(zmsg) msg = zmsg_recv(self->socket);
    zframe_t *first = msg ? zmsg_first(msg) : NULL;
    if (!first || zmsg_size(msg) != 3 || zframe_size(first) != sizeof number ||
        memcmp(zframe_data(first), &number, sizeof number) != 0)
        return NULL;
    zframe_t *body = zmsg_last(msg);
    zmsg_remove(msg, body);
    return body;
}

static int lost(emit_t *self)
{
    int64_t line = line_at(self, 0)->number;
    return cli_fail(self->cli, EXIT_UNAVAILABLE,
                    "no answer from the emitter to line %lld; what stands before it is taken in, "
                    "whether it and what follows are is unknown. Lines with an \"id\" may safely "
                    "be sent again, from there on",
                    (long long)line);
}

/* The emitter is busy: what was sent after this one is answered busy too; take those answers off,
 * wait, and send again from here. */
static int wait_busy(emit_t *self, int64_t wait_ms)
{
    for (size_t i = 1; i < self->n_sent; i++) {
        zframe_t *frame = receive(self, self->first + (int64_t)i);
        if (!frame)
            return lost(self);
        zframe_destroy(&frame);
    }
    self->n_sent = 0;
    if (self->progress)
        fprintf(stderr, "\rthe emitter is busy; going on in %lld ms ", (long long)wait_ms);
    zclock_sleep((int)wait_ms);
    return EXIT_OK;
}

static void line_done(emit_t *self)
{
    free(line_at(self, 0)->text);
    self->first++;
    self->n--;
    self->n_sent--;
}

static int take_answer(emit_t *self)
{
    zframe_t *frame = receive(self, self->first);
    if (!frame)
        return lost(self);
    AUTO_BUF text = {0};
    buf_add(&text, zframe_data(frame), zframe_size(frame));
    zframe_destroy(&frame);
    AUTO(json_tree) answer = NULL;
    fault_t fault;
    if (json_parse(buf_slice(&text), &answer, &fault) != RESULT_OK)
        return cli_fail(self->cli, EXIT_FAILED, "malformed answer: %s", fault.text);
    int64_t busy_ms = 0;
    if (YAJL_IS_ARRAY(answer)) {
        for (size_t i = 0; i < answer->u.array.len && !busy_ms; i++)
            busy_ms = take_status(self, answer->u.array.values[i]);
    } else {
        busy_ms = take_status(self, answer);
    }
    if (busy_ms)
        return wait_busy(self, busy_ms);
    line_done(self);
    return EXIT_OK;
}

static int send_all(emit_t *self)
{
    int code = EXIT_OK;
    for (;;) {
        read_lines(self);
        if (self->n == 0)
            return ferror(self->input)
                       ? cli_fail(self->cli, EXIT_FAILED, "cannot read: %s", strerror(errno))
                       : EXIT_OK;
        send_lines(self);
        code = take_answer(self);
        if (code != EXIT_OK)
            return code;
        show_progress(self, false);
    }
}

static void print_summary(const emit_t *self)
{
    int64_t took_ms = clk_mono_ms() - self->started_ms;
    if (!cli_json(self->cli)) {
        printf("%lld accepted, %lld duplicate, %lld refused in %lld.%03lld s\n",
               (long long)self->accepted, (long long)self->duplicate, (long long)self->rejected,
               (long long)took_ms / 1000, (long long)took_ms % 1000);
        return;
    }
    AUTO_BUF line = {0};
    json_writer_t w;
    json_begin(&w, &line);
    json_open_object(&w);
    json_key_int(&w, "accepted", self->accepted);
    json_key_int(&w, "duplicate", self->duplicate);
    json_key_int(&w, "rejected", self->rejected);
    json_key_int(&w, "duration_ms", took_ms);
    json_close_object(&w);
    cli_print(&line);
}

static int emit_run(cli_t *cli)
{
    const char *path = cli_argument(cli, 0);
    FILE *input = !path || strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    if (!input)
        return cli_fail(cli, EXIT_FAILED, "cannot read %s: %s", path, strerror(errno));
    emit_t self = {.cli = cli, .input = input, .started_ms = clk_mono_ms()};
    self.progress = isatty(STDERR_FILENO) && !cli_json(cli);
    self.socket = zsock_new(ZMQ_DEALER);
    zsock_set_linger(self.socket, 0);
    zsock_set_rcvtimeo(self.socket, ANSWER_TIMEOUT_MS);
    zsock_set_sndtimeo(self.socket, ANSWER_TIMEOUT_MS);
    const char *endpoint = cli_endpoint(cli, "intake", "emitter", "intake");
    int code = EXIT_OK;
    if (zsock_connect(self.socket, "%s", endpoint) != 0)
        code = cli_fail(cli, EXIT_CONFIG, "cannot connect to \"%s\"", endpoint);
    if (code == EXIT_OK)
        code = send_all(&self);
    show_progress(&self, true);
    print_summary(&self);
    for (size_t i = 0; i < self.n; i++)
        free(line_at(&self, i)->text);
    zsock_destroy(&self.socket);
    if (input != stdin)
        fclose(input);
    return code != EXIT_OK ? code : self.rejected ? EXIT_FAILED : EXIT_OK;
}

const cli_command_t cmd_emit[] = {
    {"emit", "[FILE|-]",
     "Sends events, one JSON object (or array) per line, and waits for each to be accepted",
     "  provisor events --sample clients.create | provisor emit\n"
     "  provisor emit events.ndjson\n",
     NULL, 0, 1, emit_run},
    {NULL},
};
