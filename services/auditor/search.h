/* search: the execution log, one row per attempt, newest first.
 *
 * {"op":"log","event":"clients.*","status":"fail","handler_id":n,"object_id":"12","text":"..",
 *  "since_ms":n,"until_ms":n,"limit":n,"before":audit_id}
 * -> "records"; "more": it ended before since was reached, then "before" says from where to go on;
 * "searched_to_ms": nothing later than that was left out.
 *
 * since_ms is 24 hours ago unless given. text stands in the response or the error, in any case. A
 * segment that has its indexes is asked by object or handler; else the narrow table is scanned. */
#ifndef PROVISOR_SEARCH_H
#define PROVISOR_SEARCH_H

#include "common/base/json.h"
#include "services/auditor/desk.h"

result_t search_answer(desk_t *desk, const json_tree_t *question, json_writer_t *w,
                       fault_t *fault) MUST_CHECK;

/* Is part in text? Letters of ASCII in any case. */
bool search_contains(slice_t text, slice_t part);

#endif
