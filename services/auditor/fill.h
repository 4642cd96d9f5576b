/* fill: records by their ids, for subscribers that missed some.
 *
 * {"from":n,"to":m,"topics":["delivery.exhausted"]} -> "records", oldest first; "next": where to go
 * on when the answer ended before the range did, else null; "oldest": the smallest id still kept.
 */
#ifndef PROVISOR_FILL_H
#define PROVISOR_FILL_H

#include "common/base/json.h"
#include "services/auditor/desk.h"

result_t fill_answer(desk_t *desk, const json_tree_t *question, json_writer_t *w,
                     fault_t *fault) MUST_CHECK;

#endif
