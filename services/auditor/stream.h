/* stream: the audit stream (XPUB 5571): [topic][JSON], for whoever subscribes.
 *
 * audit_id rises by one from record to record, prev_id names the one before of the same topic, so a
 * subscriber to a few topics sees a gap and fills it by 5572. A slow one misses what is beyond the
 * HWM. stage.heartbeat comes after a second of silence, and at least every five, and lists the last
 * id of each topic. Nothing is put into words that nobody subscribes to. */
#ifndef PROVISOR_STREAM_H
#define PROVISOR_STREAM_H

#include <czmq.h>

#include "common/base/json.h"
#include "services/auditor/commit.h"
#include "services/auditor/tail.h"

typedef struct stream_t stream_t;

/* Takes the socket over. */
stream_t *stream_new(zloop_t *loop, zsock_t **socket);
void stream_destroy(stream_t **stream);
/* All records of a commit, and what passes through with it. */
void stream_publish(stream_t *stream, const commit_t *commit);
/* Each second. */
void stream_tick(stream_t *stream, const tail_t *tail, int64_t mono_ms);
bool stream_wants(const stream_t *stream, const char *topic);
/* A message of the auditor's own that is no record. */
void stream_send(stream_t *stream, const char *topic, const buf_t *json);
void stream_stats(const stream_t *stream, json_writer_t *w);

#endif
