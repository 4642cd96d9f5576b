/* questions: the ROUTER socket 5572. A question is answered on the worker's thread, so that the
 * loop never waits for a search. At most QUESTIONS_MAX wait, of them QUESTIONS_OF_ONE_MAX of one
 * client; beyond that the answer is {"ok":false,"error":"busy"}. REQ and DEALER clients both work.
 */
#ifndef PROVISOR_QUESTIONS_H
#define PROVISOR_QUESTIONS_H

#include "common/base/json.h"
#include "services/auditor/desk.h"

enum { QUESTIONS_MAX = 64, QUESTIONS_OF_ONE_MAX = 16 };

typedef struct questions_t questions_t;

typedef struct {
    /* A replay was started or cancelled. */
    void (*on_job)(void *owner, int64_t job);
    /* The disk failed; stop: the process must. */
    void (*on_failed)(void *owner, bool stop);
} questions_calls_t;

/* Takes the socket over; the rest is borrowed. */
questions_t *questions_new(zloop_t *loop, zsock_t **socket, desk_t *desk,
                           const questions_calls_t *calls, void *owner);
/* The worker must be gone before: it drops what waits. */
void questions_destroy(questions_t **questions);
/* Each second: when nothing was asked for rest_s, the worker closes its connections to segments. */
void questions_tick(questions_t *questions, int64_t rest_s);
void questions_stats(const questions_t *questions, json_writer_t *w);

#endif
