/* intake: a message of audit records, from its frames into the batch. Knows no socket.
 *
 *   <node> | audit | record...      (messages.h)
 *
 * What is new is added in order; the rest, and what history has by its origin, is skipped. */
#ifndef PROVISOR_AUDITOR_INTAKE_H
#define PROVISOR_AUDITOR_INTAKE_H

#include "services/auditor/commit.h"

/* RESULT_INVALID: malformed, nothing of it is accepted (it will come again: a stage's bug);
 * RESULT_TOO_LARGE: too many stages. The message is used up. */
result_t intake_message(marks_t *marks, commit_t *commit, zmsg_t **msg, int64_t wall_ms,
                        int64_t mono_ms, fault_t *fault) MUST_CHECK;

#endif
