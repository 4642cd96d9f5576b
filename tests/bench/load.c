/* load: a core that sends events as fast as it can, or at a rate, for the benchmark.
 *
 * Usage: load --intake ENDPOINT | --push ENDPOINT  --count N [--array N] [--window N] [--rate N]
 *             [--key PREFIX] [--objects N] [--size BYTES] [--event ID] [--seconds MAX]
 * --intake pipelines: at most --window events wait for their answers. Prints one line of JSON at
 * the end; exits 1 when an event was not accepted, 2 after MAX seconds. Each event carries the time
 * (ns, monotonic clock) at which it was sent as data.t and its number as data.n. */
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <zmq.h>

#include "tests/bench/samples.h"

enum { WINDOW_MAX = 1 << 20 };

typedef struct {
    const char *intake, *push, *key, *event;
    int64_t count, array, window, rate, objects, size, seconds;
} options_t;

typedef struct {
    options_t options;
    void *socket;
    int fd;        /* of the socket: something may have come */
    char *text;    /* the request */
    char *padding; /* of options.size */
    int64_t sent, answered, accepted, refused;
    int64_t n_sent, n_answered; /* requests */
    int64_t begun_ns, last_ns;
    int64_t sent_ns[WINDOW_MAX]; /* of requests without an answer; a ring */
    samples_t acks;
} load_t;

static size_t add_event(load_t *load, char *at, int64_t t_ns)
{
    const options_t *o = &load->options;
    int64_t n = load->sent++;
    char *begin = at;
    *at++ = '{';
    if (o->key)
        at += sprintf(at, "\"id\":\"%s-%" PRId64 "\",", o->key, n);
    char *event = at;
    at += sprintf(at,
                  "\"event\":{\"dt\":\"2026-01-01T00:00:00+00:00\",\"events_id\":\"%s\",\"object_"
                  "id\":%" PRId64 "},\"data\":{\"t\":%" PRId64 ",\"n\":%" PRId64 ",\"pad\":\"",
                  o->event, n % o->objects + 1, t_ns, n);
    /* what a handler gets is {, the event from here, and }} : of the size asked for */
    int64_t padding = o->size - (at - event) - 4;
    if (padding > 0) {
        memcpy(at, load->padding, (size_t)padding);
        at += padding;
    }
    at += sprintf(at, "\"}}");
    return (size_t)(at - begin);
}

static int64_t make_request(load_t *load, size_t *ret_size)
{
    const options_t *o = &load->options;
    int64_t left = o->count - load->sent, n = o->array < left ? o->array : left;
    int64_t t_ns = now_ns();
    char *at = load->text;
    if (o->array > 1)
        *at++ = '[';
    for (int64_t i = 0; i < n; i++) {
        if (i)
            *at++ = ',';
        at += add_event(load, at, t_ns);
    }
    if (o->array > 1)
        *at++ = ']';
    *ret_size = (size_t)(at - load->text);
    return t_ns;
}

static int64_t count(const char *text, size_t size, const char *needle)
{
    int64_t n = 0;
    const char *at = text, *end = text + size;
    while ((at = memmem(at, (size_t)(end - at), needle, strlen(needle)))) {
        n++;
        at += strlen(needle);
    }
    return n;
}

/* Reads what has come; each request has one answer, in order. */
static void read_answers(load_t *load)
{
    zmq_msg_t answer;
    zmq_msg_init(&answer);
    while (load->n_answered < load->n_sent &&
           zmq_msg_recv(&answer, load->socket, ZMQ_DONTWAIT) >= 0) {
        const char *text = zmq_msg_data(&answer);
        size_t size = zmq_msg_size(&answer);
        int64_t n = count(text, size, "\"status\":"), ok = count(text, size, ":\"accepted\"");
        if (ok < n && load->refused == 0)
            fprintf(stderr, "load: %.*s\n", (int)(size < 300 ? size : 300), text);
        load->last_ns = now_ns();
        samples_add(&load->acks, load->last_ns - load->sent_ns[load->n_answered++ % WINDOW_MAX]);
        load->answered += n;
        load->accepted += ok;
        load->refused += n - ok;
    }
    zmq_msg_close(&answer);
}

/* Waits until something may have come, or until the time. */
static void wait_until(load_t *load, int64_t until_ns)
{
    int64_t left_ns = until_ns - now_ns();
    struct timespec rest = {left_ns / 1000000000, left_ns % 1000000000};
    struct pollfd item = {.fd = load->fd, .events = POLLIN};
    if (left_ns > 0)
        ppoll(&item, 1, &rest, NULL);
}

static bool may_send(const load_t *load)
{
    const options_t *o = &load->options;
    return load->sent < o->count && load->sent - load->answered + o->array <= o->window;
}

static int64_t due_ns(const load_t *load)
{
    const options_t *o = &load->options;
    return o->rate ? load->begun_ns + (int64_t)((double)load->sent * 1e9 / (double)o->rate) : 0;
}

static void send_acknowledged(load_t *load)
{
    const options_t *o = &load->options;
    int64_t end_ns = load->begun_ns + o->seconds * 1000000000;
    while ((load->sent < o->count || load->answered < load->sent) && now_ns() < end_ns) {
        size_t size;
        int64_t due = due_ns(load);
        read_answers(load);
        if (!may_send(load) || due > now_ns()) {
            if (load->answered < load->sent || load->sent < o->count)
                wait_until(load, may_send(load) && due < end_ns ? due : end_ns);
            continue;
        }
        int64_t t_ns = make_request(load, &size);
        load->sent_ns[load->n_sent++ % WINDOW_MAX] = t_ns;
        zmq_send(load->socket, load->text, size, 0);
    }
}

/* Full: waits for room, as long as the timeout of the socket. */
static void send_pushed(load_t *load)
{
    const options_t *o = &load->options;
    while (load->sent < o->count) {
        size_t size;
        wait_until(load, due_ns(load));
        make_request(load, &size);
        if (zmq_send(load->socket, load->text, size, 0) < 0)
            break;
        load->accepted++;
    }
    load->last_ns = now_ns();
}

static void parse(options_t *o, int argc, char **argv)
{
    const struct {
        const char *name;
        const char **text;
        int64_t *number;
    } known[] = {
        {"--intake", &o->intake, NULL},   {"--push", &o->push, NULL},
        {"--key", &o->key, NULL},         {"--event", &o->event, NULL},
        {"--count", NULL, &o->count},     {"--array", NULL, &o->array},
        {"--window", NULL, &o->window},   {"--rate", NULL, &o->rate},
        {"--objects", NULL, &o->objects}, {"--size", NULL, &o->size},
        {"--seconds", NULL, &o->seconds},
    };
    for (int i = 1; i + 1 < argc; i += 2) {
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
            if (strcmp(argv[i], known[k].name) != 0)
                continue;
            if (known[k].text)
                *known[k].text = argv[i + 1];
            else
                *known[k].number = strtoll(argv[i + 1], NULL, 10);
        }
    }
    if (!o->intake == !o->push || o->count < 1 || o->objects < 1 || o->array < 1 ||
        o->window < o->array || o->window > WINDOW_MAX) {
        fprintf(stderr, "load: --intake or --push, and --count\n");
        exit(1);
    }
}

static void load_connect(load_t *load, void *context)
{
    const options_t *o = &load->options;
    int timeout_ms = (int)o->seconds * 1000, linger_ms = o->push ? timeout_ms : 0;
    size_t size = sizeof load->fd;
    load->socket = zmq_socket(context, o->push ? ZMQ_PUSH : ZMQ_DEALER);
    zmq_setsockopt(load->socket, ZMQ_SNDTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(load->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    if (zmq_connect(load->socket, o->push ? o->push : o->intake) != 0) {
        perror("load: zmq_connect");
        exit(1);
    }
    zmq_getsockopt(load->socket, ZMQ_FD, &load->fd, &size);
}

int main(int argc, char **argv)
{
    load_t *load = calloc(1, sizeof *load);
    options_t *o = &load->options;
    *o = (options_t){.array = 1, .window = 1000, .objects = 10000, .size = 400, .seconds = 120};
    o->event = "clients.update";
    parse(o, argc, argv);
    prctl(PR_SET_TIMERSLACK, 1UL);
    load->text = malloc((size_t)o->array * ((size_t)o->size + 512));
    load->padding = malloc((size_t)o->size + 1);
    memset(load->padding, 'x', (size_t)o->size);
    void *context = zmq_ctx_new();
    load_connect(load, context);
    load->begun_ns = now_ns();
    if (o->push)
        send_pushed(load);
    else
        send_acknowledged(load);

    char quantiles[160];
    samples_print(&load->acks, quantiles, sizeof quantiles);
    printf("{\"sent\":%" PRId64 ",\"accepted\":%" PRId64 ",\"refused\":%" PRId64
           ",\"first_ns\":%" PRId64 ",\"last_ns\":%" PRId64 ",%s}\n",
           load->sent, load->accepted, load->refused, load->begun_ns, load->last_ns, quantiles);
    fflush(stdout);
    zmq_close(load->socket);
    zmq_ctx_term(context);
    return load->refused ? 1 : load->accepted < o->count ? 2 : 0;
}
