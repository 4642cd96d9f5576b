/* signature: webhook-signature by Standard Webhooks 1.0.0: "v1," + base64 of HMAC-SHA256 over
 * "<webhook-id>.<webhook-timestamp>.<body>", one per secret, space separated. */
#ifndef PROVISOR_SIGNATURE_H
#define PROVISOR_SIGNATURE_H

#include "common/base/buf.h"

typedef struct signature_t signature_t;

/* secrets: "whsec_<base64>" or plain text, space separated, 24-64 bytes each once decoded. */
result_t signature_new(const char *secrets, signature_t **ret_signature, fault_t *fault) MUST_CHECK;
void signature_destroy(signature_t **signature);
/* The header's value is appended to ret_value. */
void signature_add(signature_t *signature, slice_t id, int64_t timestamp_s, slice_t body,
                   buf_t *ret_value);

#endif
