/* arguments: the members of a question, checked. A member that is absent gives its default; one of
 * another type or out of range is RESULT_INVALID, and the fault names it. */
#ifndef PROVISOR_ARGUMENTS_H
#define PROVISOR_ARGUMENTS_H

#include "common/base/json.h"

result_t argument_int(const json_tree_t *question, const char *key, int64_t otherwise, int64_t min,
                      int64_t max, int64_t *ret_value, fault_t *fault) MUST_CHECK;
result_t argument_bool(const json_tree_t *question, const char *key, bool *ret_value,
                       fault_t *fault) MUST_CHECK;
/* Borrowed from the question; absent: {NULL, 0}. A number's text is taken too (object_id: 12). */
result_t argument_text(const json_tree_t *question, const char *key, size_t max, slice_t *ret_value,
                       fault_t *fault) MUST_CHECK;

#endif
