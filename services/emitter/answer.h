/* answer: what a core hears, in the encoding of its request. Pure. */
#ifndef PROVISOR_ANSWER_H
#define PROVISOR_ANSWER_H

#include "common/base/ulid.h"
#include "services/emitter/intake.h"

typedef enum { ANSWER_ACCEPTED, ANSWER_DUPLICATE, ANSWER_BUSY, ANSWER_REJECTED } answer_status_t;

const char *answer_status_str(answer_status_t status);

typedef struct {
    answer_status_t status;
    ulid_t id;              /* accepted, duplicate */
    int64_t retry_after_ms; /* busy */
    intake_error_t error;   /* rejected */
} answer_t;

/* The head of an array of n answers; they follow. */
void answer_open_array(intake_encoding_t encoding, size_t n, buf_t *text);
/* The i-th answer of an array, or the only one (i = 0). */
void answer_add(intake_encoding_t encoding, size_t i, const answer_t *answer, buf_t *text);
void answer_close_array(intake_encoding_t encoding, buf_t *text);

#endif
