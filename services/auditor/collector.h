/* collector: reads the audit records of all stages (SUB 5563-5565) into the next commit. When too
 * much waits for a commit it stops reading, and the stages send again what they must; while the
 * disk is full it reads on and throws away, so that nothing piles up in sockets. */
#ifndef PROVISOR_COLLECTOR_H
#define PROVISOR_COLLECTOR_H

#include "common/service/service.h"
#include "services/auditor/history.h"

typedef struct collector_t collector_t;

/* marks and history are borrowed. */
result_t collector_new(service_t *service, marks_t *marks, history_t *history,
                       collector_t **ret_collector, fault_t *fault) MUST_CHECK;
void collector_destroy(collector_t **collector);
/* There may be room again, or the disk is full or not any more. */
void collector_resume(collector_t *collector);
/* Reads nothing any more. */
void collector_stop(collector_t *collector);
void collector_stats(const collector_t *collector, json_writer_t *w);

#endif
