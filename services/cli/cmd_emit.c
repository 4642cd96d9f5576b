/* provisor emit: plays a core. Sends NDJSON events over the acknowledged intake, pipelined and in
 * order. */
#include "services/cli/cmd.h"

#include <czmq.h>

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"

enum { WINDOW = 256, ANSWER_TIMEOUT_MS = 30000, LINE_MAX_BYTES = 8 << 20 };

/* Lines first_line .. first_line + n - 1 are sent and wait for their answers, in a ring. */
typedef struct {
    cli_t *cli;
    FILE *input;
    zsock_t *socket;
    char *lines[WINDOW];
    int64_t first_line; /* number of the oldest unanswered line, from 1 */
    size_t n;
    size_t n_sent; /* of the n, how many are with the emitter */
    bool end;      /* of the input */
    bool progress;
    int64_t accepted, duplicate, rejected;
    int64_t started_ms, shown_ms;
} emit_t;

static char *line_at(emit_t *self, size_t i)
{
    return self->lines[(size_t)(self->first_line + (int64_t)i) % WINDOW];
}

/* Reads ahead until the window is full; empty lines are skipped but counted as nothing. */
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
        while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r'))
            line[--size] = 0;
        if (size == 0)
            continue;
        self->lines[(size_t)(self->first_line + (int64_t)self->n) % WINDOW] = mem_strdup(line);
        self->n++;
    }
    free(line);
}

static void send_lines(emit_t *self)
{
    while (self->n_sent < self->n) {
        const char *line = line_at(self, self->n_sent);
        if (zmq_send(zsock_resolve(self->socket), line, strlen(line), 0) < 0)
            break; /* the send timeout: the emitter is not there; the answer's timeout will say so
                    */
        self->n_sent++;
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

static void say_rejected(const emit_t *self, const json_tree_t *answer)
{
    const json_tree_t *error = json_get(answer, "error");
    const char *code = json_get_str(error, "code"), *message = json_get_str(error, "message");
    const char *path = json_get_str(error, "path");
    fprintf(stderr, "%sline %lld refused: %s at \"%s\": %s\n", self->progress ? "\r" : "",
            (long long)self->first_line, code ? code : "?", path ? path : "",
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
        say_rejected(self, answer);
    }
    return 0;
}

/* The emitter is busy: what was sent after this one is answered busy too; take those answers off,
 * wait, and send again from here. */
static int wait_busy(emit_t *self, int64_t wait_ms)
{
    for (size_t left = self->n_sent - 1; left > 0; left--) {
        zframe_t *frame = zframe_recv(self->socket);
        if (!frame)
            return EXIT_UNAVAILABLE;
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
    free(line_at(self, 0));
    self->first_line++;
    self->n--;
    self->n_sent--;
}

static int take_answer(emit_t *self)
{
    zframe_t *frame = zframe_recv(self->socket);
    if (!frame)
        return cli_fail(self->cli, EXIT_UNAVAILABLE,
                        "no answer from the emitter; the first %lld lines are taken in, whether "
                        "line %lld and what follows are is unknown. Lines with an \"id\" may "
                        "safely be sent again",
                        (long long)(self->first_line - 1), (long long)self->first_line);
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
            return EXIT_OK;
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
    emit_t self = {.cli = cli, .input = input, .first_line = 1, .started_ms = clk_mono_ms()};
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
    while (self.n) {
        free(line_at(&self, 0));
        self.first_line++;
        self.n--;
    }
    zsock_destroy(&self.socket);
    if (input != stdin)
        fclose(input);
    return code != EXIT_OK ? code : self.rejected ? EXIT_FAILED : EXIT_OK;
}

const cli_command_t cmd_emit[] = {
    {"emit",                                                                                 "[FILE|-]",
     "Sends events, one JSON object (or array) per line, and waits for each to be accepted", "  provisor events --sample clients.create | provisor emit\n"
     "  provisor emit events.ndjson\n", NULL, 0, 1, emit_run},
    {NULL},
};
