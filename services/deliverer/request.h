/* request: what one attempt sends, and how history shows it. Pure. */
#ifndef PROVISOR_REQUEST_H
#define PROVISOR_REQUEST_H

#include "common/wire/messages.h"
#include "services/deliverer/exchange.h"
#include "services/deliverer/settings.h"

typedef struct {
    exchange_request_t exchange;
    buf_t lines;           /* headers or environment, each ended by a zero byte */
    const char **pointers; /* to them; ends with NULL */
} request_t;

/* settings and event must outlive the request. attempt from 1; now is the wall clock's. */
void request_init(request_t *request, const settings_t *settings, const event_t *event,
                  int64_t attempt, int64_t now_ms);
void request_release(request_t *request);
/* Request line and headers (script: path and environment), one per line; values of the handler's
 * own headers as ***. */
void request_show(const request_t *request, const settings_t *settings, buf_t *ret_text);

/* webhook-id of an event: a replay has that of the first. */
slice_t request_webhook_id(const event_t *event);
/* "2026-01-01T00:00:00+00:00" of a body as the emitter writes it; "" when it is another one. */
slice_t request_dt(slice_t body);

#endif
