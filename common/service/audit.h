/* audit: a stage's records on their way to the auditor (architecture.md 3.7), go-back-N.
 *
 * Records get numbers from 1 in the order in which they are added and are kept, encoded, until the
 * auditor's mark has passed them. At most a window (10,000 records, 8 MiB) is kept; everything in
 * it is sent when it is added, and again when the auditor's subscription arrives or it is heard
 * after a silence; after 1 s without progress of the mark one message from there is repeated until
 * it rises (audit_window.h). While neither marks nor AUDIT_BEAT are heard (3 s) nothing is sent. A
 * burst of additions in one turn of the loop leaves as one message. At most 64 messages are on
 * their way, then what is added waits for the mark and leaves together. Subscribers that do not
 * read miss messages and hold up nobody. A stage with nothing to send answers a beat with a message
 * of no records (count 0), so that the auditor knows that it lives. Every 10 s while marks are
 * heard it adds stage.stats.
 *
 * Two kinds of record. A durable one has a row behind it in the stage's store (origin > 0): the
 * stage adds it only while audit_room () says so, and when it stopped for lack of room it goes on
 * from the row after the last one it added when on_room is called. It may delete a row when
 * audit_mark () has passed its number. The others are dropped and counted when there is no room;
 * stage.audit_dropped says so later. */
#ifndef PROVISOR_AUDIT_H
#define PROVISOR_AUDIT_H

#include "common/service/service.h"
#include "common/wire/messages.h"

typedef struct audit_publisher_t audit_publisher_t;

typedef struct {
    /* The mark rose: rows up to it may go. */
    void (*on_mark)(void *owner, int64_t number);
    /* There is room again after audit_room () had said no. */
    void (*on_room)(void *owner);
} audit_calls_t;

/* Opens the XPUB socket (SUB peers see a PUB) of <section>.audit and the SUB socket of
 * <section>.marks, adds a stage.started record. calls may be NULL. */
result_t audit_new(service_t *service, const char *section, const char *node,
                   const audit_calls_t *calls, void *owner, audit_publisher_t **ret_audit,
                   fault_t *fault) MUST_CHECK;
/* Adds stage.stopped, sends what is there. */
void audit_destroy(audit_publisher_t **audit);
/* May a durable record be added? */
bool audit_room(const audit_publisher_t *audit);
/* Copies the record. Returns its number. Durable records: requires audit_room (). Others: 0 when
 * dropped. */
int64_t audit_add(audit_publisher_t *audit, const record_t *record);
/* Every number up to this one is committed in history. */
int64_t audit_mark(const audit_publisher_t *audit);
/* True while marks are heard. */
bool audit_alive(const audit_publisher_t *audit);
/* "audit": {...} for stats. */
void audit_stats(const audit_publisher_t *audit, json_writer_t *w);

#endif
