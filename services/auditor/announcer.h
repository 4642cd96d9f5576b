/* announcer: the marks socket (5570): tells stages how far history has their records.
 *
 *   <node> | mark      after each commit, and each second for who was heard in the last minute
 *   beat               each second, and at once for a stage that has just subscribed */
#ifndef PROVISOR_ANNOUNCER_H
#define PROVISOR_ANNOUNCER_H

#include <czmq.h>

#include "services/auditor/marks.h"

typedef struct announcer_t announcer_t;

/* Takes the socket over (an XPUB). */
announcer_t *announcer_new(zloop_t *loop, zsock_t **socket);
void announcer_destroy(announcer_t **announcer);
/* What a commit has brought about. */
void announcer_committed(announcer_t *announcer, const marks_rows_t *rows);
/* Each second. */
void announcer_tick(announcer_t *announcer, const marks_t *marks, int64_t mono_ms);

#endif
