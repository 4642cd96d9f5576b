/* desk: what the thread that answers questions works with. It belongs to that thread from when the
 * worker runs until it is destroyed. */
#ifndef PROVISOR_DESK_H
#define PROVISOR_DESK_H

#include "common/base/clk.h"
#include "common/service/handlers.h"
#include "services/auditor/archive.h"
#include "services/auditor/worker.h"

typedef struct {
    archive_t *archive;
    db_t *jobs;           /* of replays, jobs.h */
    handlers_t *handlers; /* whom replays may be for */
    worker_t *worker;     /* to hear that it is to stop */
} desk_t;

enum {
    DESK_ANSWER_BYTES = 4 << 20, /* an answer ends when it has become so large */
    DESK_SEARCH_MS = 3000,       /* and a search after so long; what it found is the answer */
};

/* A search that began at began_ms (monotonic) is to end. */
static inline bool desk_is_late(const desk_t *desk, int64_t began_ms)
{
    return clk_mono_ms() - began_ms > DESK_SEARCH_MS ||
           (desk->worker && worker_stopping(desk->worker));
}

#endif
