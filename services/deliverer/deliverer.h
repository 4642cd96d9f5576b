/* deliverer: takes matched events into custody and calls handlers until each has them or it is
 * given up.
 *
 * This is the table that the parts share. Each part has its own file and its own reason to change:
 * intake (custody), storage (commits), refill, sending, ended (outcomes), cancel, control, restart.
 * Everything runs on the loop's thread but commit_apply. A callback of a part ends with
 * deliverer_turn (), which starts what may start and hands over what is to be committed. */
#ifndef PROVISOR_DELIVERER_H
#define PROVISOR_DELIVERER_H

#include "common/db/writer.h"
#include "common/service/audit.h"
#include "common/service/service.h"
#include "services/deliverer/busy.h"
#include "services/deliverer/cache.h"
#include "services/deliverer/commit.h"
#include "services/deliverer/custody.h"
#include "services/deliverer/http.h"
#include "services/deliverer/lanes.h"
#include "services/deliverer/outbox.h"
#include "services/deliverer/partitions.h"
#include "services/deliverer/receipts.h"
#include "services/deliverer/roster.h"
#include "services/deliverer/script.h"

/* A batch that holds this much goes to disk before more is taken in or started. There are two of
 * them, one with the writer. */
#define COMMIT_BYTES_MAX 8388608
/* A batch with so many deliveries that will have an outcome soon is committed before more is read.
 * What waits in an emitter's journal has a row there; here it would get rows of its own, which cost
 * several times what an event costs whose deliveries are over when its batch is committed. */
#define COMMIT_SOON_MAX 1024

typedef struct {
    int64_t queue_max;   /* deliveries */
    int64_t share_max;   /* deliveries of one handler */
    bool block;          /* beyond its share: stop reading (true), or end as exhausted */
    int64_t free_min;    /* bytes on the disk below which custody stops */
    int64_t suspend_ms;  /* a handler that only failed for so long is suspended; 0: never */
    int64_t priority_ms; /* longest wait for handlers of lower numbers */
    settings_defaults_t defaults;
} deliverer_limits_t;

typedef struct {
    int64_t events;     /* came into custody */
    int64_t duplicates; /* receipted again */
    int64_t foreign;    /* messages for partitions that are not ours */
    int64_t malformed;  /* messages that could not be read */
    int64_t attempts;   /* exchanges that ended */
    int64_t delivered;
    int64_t failed; /* attempts that were not 2xx */
    int64_t exhausted;
    int64_t cancelled;
    int64_t starved; /* requests that found no descriptor left */
} deliverer_counts_t;

typedef struct intake_t intake_t;
typedef struct sending_t sending_t;
typedef struct refill_t refill_t;
typedef struct cancel_t cancel_t;

typedef struct {
    service_t *service;
    zloop_t *loop;
    const log_t *log;
    deliverer_limits_t limits;
    deliverer_counts_t counts;
    partitions_t partitions;

    queue_t *queue;
    backlog_t *backlog; /* the loop's view of the queue */
    writer_t *writer;
    commit_t *next;    /* collected, never NULL */
    commit_t *running; /* with the writer, or NULL */
    int storage_timer; /* outcomes wait until it fires; -1: none do */
    cache_t *cache;
    custody_t *custody;
    roster_t *roster;
    lanes_t *lanes;
    busy_t *busy; /* value: the flight_t, NULL when it is final */
    outbox_t *outbox;
    audit_publisher_t *audit;
    http_t *http;
    script_t *script;
    intake_t *intake;
    sending_t *sending;
    refill_t *refill;
    cancel_t *cancel;

    int64_t last_seq;      /* given to an event */
    int64_t committed_seq; /* every event up to it is in the store or gone */
    int64_t pending;       /* deliveries not final */
    bool open;             /* the first commit succeeded: the store can be written */
    bool full;             /* the store cannot be written for now: nothing new starts */
    char full_why[160];
    bool unreadable; /* it cannot be read just now: nothing starts until the next poll */
    bool told_unreadable;
    bool failed; /* the process stops */
    bool draining;
    bool emptying; /* takes nothing new into custody until it is restarted */
} deliverer_t;

extern const service_spec_t deliverer_spec;

/* Starts what may start, hands over what is to be committed, opens or closes the intake, sets the
 * timer. The end of every callback. */
void deliverer_turn(deliverer_t *deliverer);
/* The process cannot go on with the result of a store: logged once, then the loop ends. */
void deliverer_fail(deliverer_t *deliverer, result_t result, const char *what);
/* A read of the store did not succeed. Full or busy passes: it is tried again at the next poll, and
 * until then nothing starts. Everything else is deliverer_fail. */
void deliverer_unread(deliverer_t *deliverer, result_t result, const char *what);
/* May requests start and events come in? */
bool deliverer_working(const deliverer_t *deliverer);

#endif
