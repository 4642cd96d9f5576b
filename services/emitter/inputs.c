#include "common/base/clk.h"
#include "services/emitter/emitter_self.h"

#include <sys/statvfs.h>

enum {
    DISCARD_MS = 100,
    BURST = 200, /* frames of one socket in one turn of the loop */
    DISK_CHECK_MS = 1000,
    COMMIT_ENTRIES_MAX = 8192, /* a commit stays short */
    REFUSALS_MAX = 8192,       /* entries beyond that, and bytes, while only busy is answered */
    REFUSAL_BYTES_MAX = 8 * 1024 * 1024,
};

/* ---- Room ------------------------------------------------------------------------------- */

static void note_closed(emitter_t *self, bool closed, int64_t min_free_bytes)
{
    if (closed == self->gate.closed)
        return;
    self->gate.closed = closed;
    log_line(service_log(self->service), closed ? LEVEL_WARN : LEVEL_INFO,
             "event=%s free_bytes=%lld min_free_bytes=%lld disk_full=%d next=\"%s\"",
             closed ? "intake_closed" : "intake_open", (long long)self->disk_free_bytes,
             (long long)min_free_bytes, self->disk_full,
             closed ? "answers busy until there is room" : "takes events");
}

void inputs_check_disk(emitter_t *self)
{
    int64_t now_ms = clk_mono_ms();
    if (self->disk_checked_ms && now_ms - self->disk_checked_ms < DISK_CHECK_MS)
        return;
    self->disk_checked_ms = now_ms;
    struct statvfs fs;
    const config_t *config = service_config(self->service);
    int64_t min_free_bytes = config_int(config, "disk", "min_free");
    if (statvfs(config_data(config), &fs) == 0)
        self->disk_free_bytes = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    note_closed(self, self->disk_full || self->disk_free_bytes < min_free_bytes, min_free_bytes);
}

int64_t inputs_due_ms(const emitter_t *self)
{
    return self->gate.closed && !self->draining ? self->disk_checked_ms + DISK_CHECK_MS : -1;
}

/* What waited when the disk became full must not keep others from hearing busy. */
static bool has_room(const emitter_t *self)
{
    size_t bytes = commit_bytes(self->next) + (self->current ? commit_bytes(self->current) : 0);
    int64_t bytes_max = self->pending_bytes_max + (self->gate.closed ? REFUSAL_BYTES_MAX : 0);
    size_t entries_max = COMMIT_ENTRIES_MAX + (self->gate.closed ? REFUSALS_MAX : 0);
    return (int64_t)bytes <= bytes_max && self->next->n_entries < entries_max &&
           self->next->n_requests < entries_max;
}

/* What is pushed cannot be answered busy, so it is left where it is. */
static bool may_read(const emitter_t *self, const input_t *input)
{
    if (self->draining || !has_room(self))
        return false;
    return input->source != SOURCE_PUSH || !self->gate.closed;
}

/* ---- Frames ----------------------------------------------------------------------------- */

static void add_to_envelope(input_t *input, slice_t frame)
{
    uint32_t size = (uint32_t)frame.size;
    if (input->n_frames == ENVELOPE_FRAMES_MAX ||
        input->envelope.size + frame.size > ENVELOPE_BYTES_MAX) {
        input->overflow = true;
        return;
    }
    buf_add(&input->envelope, &size, sizeof size);
    buf_add_slice(&input->envelope, frame);
    input->n_frames++;
}

static void take_frame(input_t *input, slice_t frame, bool more)
{
    emitter_t *self = input->self;
    if (input->source == SOURCE_PUSH) {
        requests_take_push(self, frame);
    } else if (more) {
        add_to_envelope(input, frame);
    } else {
        requests_take(self, input, frame);
        buf_clear(&input->envelope);
        input->n_frames = 0;
        input->overflow = false;
    }
}

/* False when there is nothing to read. */
static bool read_frame(input_t *input)
{
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    bool got = zmq_msg_recv(&msg, zsock_resolve(input->socket), ZMQ_DONTWAIT) >= 0;
    if (got)
        take_frame(input, (slice_t){zmq_msg_data(&msg), zmq_msg_size(&msg)}, zmq_msg_more(&msg));
    zmq_msg_close(&msg);
    return got;
}

static int on_input(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    (void)socket;
    input_t *input = arg;
    emitter_t *self = input->self;
    inputs_check_disk(self);
    for (int i = 0; i < BURST && may_read(self, input) && read_frame(input); i++)
        ;
    emitter_turn(self);
    return 0;
}

/* ---- Back-pressure ---------------------------------------------------------------------- */

static void set_reading(emitter_t *self, input_t *input, bool reading)
{
    if (!input->socket || reading == input->reading)
        return;
    input->reading = reading;
    if (!reading) {
        zloop_reader_end(self->loop, input->socket);
        return;
    }
    zloop_reader(self->loop, input->socket, on_input, input);
    zloop_reader_set_tolerant(self->loop, input->socket);
}

void inputs_update(emitter_t *self)
{
    for (size_t i = 0; i < sizeof self->inputs / sizeof *self->inputs; i++)
        set_reading(self, &self->inputs[i], may_read(self, &self->inputs[i]));
}

void inputs_stop(emitter_t *self)
{
    for (size_t i = 0; i < sizeof self->inputs / sizeof *self->inputs; i++)
        set_reading(self, &self->inputs[i], false);
}

void inputs_discard(emitter_t *self)
{
    int64_t until_ms = clk_mono_ms() + DISCARD_MS;
    for (size_t i = 0; i < sizeof self->inputs / sizeof *self->inputs; i++) {
        zsock_t *socket = self->inputs[i].socket;
        if (!socket || self->inputs[i].source == SOURCE_PUSH)
            continue;
        while (clk_mono_ms() < until_ms && zsock_events(socket) & ZMQ_POLLIN) {
            zmq_msg_t msg;
            zmq_msg_init(&msg);
            (void)zmq_msg_recv(&msg, zsock_resolve(socket), ZMQ_DONTWAIT);
            zmq_msg_close(&msg);
        }
    }
}
