/* limit_zmq: how many messages of 400 bytes ZeroMQ moves from a PUSH to a PULL over TCP, for the
 * benchmark. Usage: limit_zmq SECONDS; prints messages per second. */
#include <pthread.h>
#include <string.h>
#include <zmq.h>

#include "tests/bench/samples.h"

typedef struct {
    char endpoint[64];
    int64_t end_ns;
} push_t;

static void *push(void *arg)
{
    const push_t *self = arg;
    char body[400];
    int linger_ms = 0, timeout_ms = 1000;
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_PUSH);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt(socket, ZMQ_SNDTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_connect(socket, self->endpoint);
    memset(body, 'x', sizeof body);
    for (int64_t i = 0; i % 64 || now_ns() < self->end_ns; i++)
        zmq_send(socket, body, sizeof body, 0);
    zmq_close(socket);
    zmq_ctx_term(context);
    return NULL;
}

int main(int argc, char **argv)
{
    int64_t ns = (int64_t)((argc > 1 ? atof(argv[1]) : 2) * 1e9), begun_ns = now_ns(), n = 0;
    push_t peer = {.end_ns = begun_ns + ns};
    size_t size = sizeof peer.endpoint;
    int timeout_ms = 200;
    pthread_t thread;
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_PULL);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    if (zmq_bind(socket, "tcp://127.0.0.1:*") != 0 ||
        zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, peer.endpoint, &size) != 0 ||
        pthread_create(&thread, NULL, push, &peer) != 0)
        return 1;
    char body[400];
    while (n % 64 || now_ns() < peer.end_ns)
        n += zmq_recv(socket, body, sizeof body, 0) > 0 || now_ns() > peer.end_ns;
    printf("%.0f\n", (double)n * 1e9 / (double)(now_ns() - begun_ns));
    pthread_join(thread, NULL);
    zmq_close(socket);
    zmq_ctx_term(context);
    return 0;
}
