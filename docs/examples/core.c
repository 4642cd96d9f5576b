/* A core in C: pushes one event over the acknowledged intake and waits until it is on disk.
 *
 *     cc core.c -lzmq -o core && ./core [ENDPOINT]        (default tcp://127.0.0.1:5551) */
#include <stdio.h>
#include <string.h>
#include <zmq.h>

int main(int argc, char **argv)
{
    const char *event = "{\"id\":\"invoice-4711-zero-c\","
                        "\"event\":{\"events_id\":\"clients.balance_zero\",\"object_id\":12}}";
    char answer[4096];
    int timeout_ms = 10000, no_linger = 0;
    void *context = zmq_ctx_new();
    void *intake = zmq_socket(context, ZMQ_REQ);
    zmq_setsockopt(intake, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(intake, ZMQ_LINGER, &no_linger, sizeof no_linger);
    if (zmq_connect(intake, argc > 1 ? argv[1] : "tcp://127.0.0.1:5551") != 0)
        return 2;
    zmq_send(intake, event, strlen(event), 0);
    int size = zmq_recv(intake, answer, sizeof answer - 1, 0);
    if (size < 0) {
        fprintf(stderr, "no answer in 10 s: send the same event again, with the same id\n");
        return 1;
    }
    answer[size < (int)sizeof answer ? size : (int)sizeof answer - 1] = 0;
    printf("%s\n", answer);
    zmq_close(intake);
    zmq_ctx_term(context);
    return strstr(answer, "\"accepted\"") || strstr(answer, "\"duplicate\"") ? 0 : 1;
}
