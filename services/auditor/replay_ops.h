/* replay_ops: the questions about replays: replay, replay_status, replay_cancel, replay_jobs. */
#ifndef PROVISOR_REPLAY_OPS_H
#define PROVISOR_REPLAY_OPS_H

#include "common/base/json.h"
#include "services/auditor/desk.h"

/* {"op":"replay","event_id":..|"handler_id":n,"status","since_ms","until_ms","rate","superseded"}
 * -> "job". Refused for a handler that does not exist, or is archived or deleted. *ret_job is the
 * job that was started, for the replayer. */
result_t replay_ops_start(desk_t *desk, const json_tree_t *question, json_writer_t *w,
                          int64_t *ret_job, fault_t *fault) MUST_CHECK;
/* "job" -> its state; cancel also ends it: *ret_job, for the replayer. */
result_t replay_ops_status(desk_t *desk, const json_tree_t *question, json_writer_t *w,
                           fault_t *fault) MUST_CHECK;
result_t replay_ops_cancel(desk_t *desk, const json_tree_t *question, json_writer_t *w,
                           int64_t *ret_job, fault_t *fault) MUST_CHECK;
/* -> "jobs", newest first */
result_t replay_ops_list(desk_t *desk, json_writer_t *w, fault_t *fault) MUST_CHECK;

#endif
