/* announcer: the marks socket (5570): tells stages how far history has their records.
 *
 *   <node> | mark      after each commit, and each second for who was heard in the last minute
 *   beat               each second
 *
 * A stage that has just subscribed hears the beat and its marks at once. */
#ifndef PROVISOR_ANNOUNCER_H
#define PROVISOR_ANNOUNCER_H

#include <czmq.h>

#include "services/auditor/marks.h"

typedef struct announcer_t announcer_t;

/* Takes the socket over (an XPUB); marks are borrowed. */
announcer_t *announcer_new(zloop_t *loop, zsock_t **socket, const marks_t *marks);
void announcer_destroy(announcer_t **announcer);
/* What a commit has brought about. */
void announcer_committed(announcer_t *announcer, const marks_rows_t *rows);
/* Each second. */
void announcer_tick(announcer_t *announcer, int64_t mono_ms);

#endif
