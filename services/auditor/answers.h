/* answers: from a question's bytes to an answer's, whatever the question is. On the thread that
 * answers questions. */
#ifndef PROVISOR_ANSWERS_H
#define PROVISOR_ANSWERS_H

#include "services/auditor/desk.h"

/* What the loop is to do besides sending the answer. */
typedef struct {
    int64_t job; /* the replay that was started or cancelled; 0: none */
    bool failed; /* the disk failed: a human must look at it */
    bool stop;   /* while something was written: the process must stop */
} answers_effect_t;

/* ret_answer is empty before. */
void answers_give(desk_t *desk, slice_t question, buf_t *ret_answer, answers_effect_t *ret_effect);

#endif
