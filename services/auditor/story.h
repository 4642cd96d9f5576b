/* story: everything that history knows of one event.
 *
 * {"op":"event","event_id":".."} -> "event": how it was accepted, with its body (null when that is
 * no longer kept); "records": every record of it and of its replays, oldest first, in full; "more"
 * when they did not fit into one answer. */
#ifndef PROVISOR_STORY_H
#define PROVISOR_STORY_H

#include "common/base/json.h"
#include "services/auditor/desk.h"

/* RESULT_NOT_FOUND: nothing is known of it. */
result_t story_answer(desk_t *desk, const json_tree_t *question, json_writer_t *w,
                      fault_t *fault) MUST_CHECK;

#endif
