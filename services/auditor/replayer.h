/* replayer: sends what replays plan (plan.h) to the emitter (5552, DEALER), at their rate.
 *
 * Jobs that run take turns; one request is on its way at a time, and each answer moves a job on. No
 * answer for a while: the same is sent again, under the same keys, which makes it harmless. busy:
 * the emitter is left alone for a moment. Progress is written each second and with each page, so a
 * killed process repeats at most what one page holds, and the emitter knows the keys. */
#ifndef PROVISOR_REPLAYER_H
#define PROVISOR_REPLAYER_H

#include "common/base/json.h"
#include "common/service/endpoint.h"
#include "services/auditor/desk.h"

typedef struct replayer_t replayer_t;

/* Takes the peers over (a DEALER); desk is borrowed. Goes on with the jobs that run. on_failed: the
 * disk failed, the process must stop. */
replayer_t *replayer_new(zloop_t *loop, endpoint_peers_t **peers, desk_t *desk,
                         void (*on_failed)(void *owner, const char *text), void *owner);
/* The worker must be gone before: it drops what waits. */
void replayer_destroy(replayer_t **replayer);
/* The job was started or cancelled. */
void replayer_job(replayer_t *replayer, int64_t job);
/* Each second. */
void replayer_tick(replayer_t *replayer);
void replayer_stats(const replayer_t *replayer, json_writer_t *w);

#endif
