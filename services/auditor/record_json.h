/* record_json: a record as people's programs see it: in the stream, in answers. The members are a
 * contract (docs/protocol.md); only those that apply are written. */
#ifndef PROVISOR_RECORD_JSON_H
#define PROVISOR_RECORD_JSON_H

#include "common/base/json.h"
#include "services/auditor/entry.h"

enum { RECORD_JSON_RESPONSE_MAX = 1024 };

/* One object. details: also the request, the response's headers, the event's body, and the response
 * in full; without, its first RECORD_JSON_RESPONSE_MAX bytes. An audit_id of 0 (a record that
 * passes through) is left out. */
void record_json(const entry_t *entry, bool details, json_writer_t *w);

#endif
