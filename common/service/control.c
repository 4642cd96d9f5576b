#include "common/service/control.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"

enum {
    BURST = 64,             /* questions answered in one turn of the loop */
    FRAMES_MAX = 8,         /* of one question; more is nonsense */
    ANSWER_LINGER_MS = 200, /* the answer to the question that stops the process still leaves */
};

struct control_t {
    zloop_t *loop;
    zsock_t *socket;
    control_fn *answer;
    void *owner;
};

static void answer_one(control_t *control, zmsg_t *msg)
{
    size_t frames = zmsg_size(msg);
    if (frames < 2 || frames > FRAMES_MAX)
        return;
    AUTO(zframe) question = zmsg_last(msg);
    zmsg_remove(msg, question);
    AUTO_BUF answer = {0};
    control->answer(control->owner,
                    (slice_t){(const char *)zframe_data(question), zframe_size(question)}, &answer);
    zmsg_addmem(msg, buf_slice(&answer).data, answer.size);
    for (zframe_t *frame = zmsg_pop(msg); frame; frame = zmsg_pop(msg)) {
        int more = zmsg_size(msg) > 0 ? ZFRAME_MORE : 0;
        int sent = zframe_send(&frame, control->socket, more | ZFRAME_DONTWAIT);
        if (sent != 0) { /* the asker has gone */
            zframe_destroy(&frame);
            return;
        }
    }
}

static int on_question(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    for (int i = 0; i < BURST && (zsock_events(socket) & ZMQ_POLLIN); i++) {
        AUTO(zmsg) msg = zmsg_recv(socket);
        if (!msg)
            break;
        answer_one(arg, msg);
    }
    return 0;
}

control_t *control_new(zloop_t *loop, zsock_t **socket, control_fn *answer, void *owner)
{
    control_t *control = MEM_NEW(control_t);
    *control = (control_t){loop, TAKE(*socket), answer, owner};
    zsock_set_linger(control->socket, ANSWER_LINGER_MS);
    zloop_reader(loop, control->socket, on_question, control);
    zloop_reader_set_tolerant(loop, control->socket);
    return control;
}

void control_destroy(control_t **control_p)
{
    control_t *control = *control_p;
    if (!control)
        return;
    zloop_reader_end(control->loop, control->socket);
    zsock_destroy(&control->socket);
    free(control);
    *control_p = NULL;
}
