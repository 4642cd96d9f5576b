/* A monitoring subscriber in C: prints the records of a topic, with a warning at each gap.
 *
 *     cc subscriber.c -lzmq -o subscriber && ./subscriber ENDPOINT TOPIC [COUNT]
 *     ./subscriber tcp://127.0.0.1:5571 delivery.exhausted
 *
 * COUNT ends it after that many records. A gap is filled with a question to 5572
 * (docs/protocol.md). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* The number behind "name": in the JSON text; enough for these two, which are always numbers. */
static long long number(const char *json, const char *name)
{
    const char *at = strstr(json, name);
    return at ? strtoll(at + strlen(name), NULL, 10) : 0;
}

int main(int argc, char **argv)
{
    static char topic[256], body[1 << 20];
    long long last = -1, left = argc > 3 ? atoll(argv[3]) : -1;
    if (argc < 3)
        return 2;
    void *context = zmq_ctx_new();
    void *stream = zmq_socket(context, ZMQ_SUB);
    zmq_setsockopt(stream, ZMQ_SUBSCRIBE, argv[2], strlen(argv[2]));
    if (zmq_connect(stream, argv[1]) != 0)
        return 2;
    while (left != 0) {
        int topic_size = zmq_recv(stream, topic, sizeof topic - 1, 0);
        int size = topic_size < 0 ? -1 : zmq_recv(stream, body, sizeof body - 1, 0);
        if (size < 0)
            break;
        body[size < (int)sizeof body ? size : (int)sizeof body - 1] = 0;
        long long prev = number(body, "\"prev_id\":");
        if (last >= 0 && prev > last)
            fprintf(stderr, "gap: ask 5572 for %lld..%lld\n", last + 1, prev);
        last = number(body, "\"audit_id\":");
        printf("%s\n", body);
        fflush(stdout);
        if (left > 0)
            left--;
    }
    zmq_close(stream);
    zmq_ctx_term(context);
    return 0;
}
