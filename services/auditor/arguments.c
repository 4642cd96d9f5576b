#include "services/auditor/arguments.h"

result_t argument_int(const json_tree_t *question, const char *key, int64_t otherwise, int64_t min,
                      int64_t max, int64_t *ret_value, fault_t *fault)
{
    const json_tree_t *value = json_get(question, key);
    if (!value || YAJL_IS_NULL(value)) {
        *ret_value = otherwise;
        return RESULT_OK;
    }
    if (!YAJL_IS_INTEGER(value))
        return fault_set(fault, RESULT_INVALID, "\"%s\" is to be an integer", key);
    if (value->u.number.i < min || value->u.number.i > max)
        return fault_set(fault, RESULT_INVALID, "\"%s\" is to be from %lld to %lld", key,
                         (long long)min, (long long)max);
    *ret_value = value->u.number.i;
    return RESULT_OK;
}

result_t argument_bool(const json_tree_t *question, const char *key, bool *ret_value,
                       fault_t *fault)
{
    const json_tree_t *value = json_get(question, key);
    if (value && !YAJL_IS_NULL(value) && !YAJL_IS_TRUE(value) && !YAJL_IS_FALSE(value))
        return fault_set(fault, RESULT_INVALID, "\"%s\" is to be true or false", key);
    *ret_value = YAJL_IS_TRUE(value);
    return RESULT_OK;
}

result_t argument_text(const json_tree_t *question, const char *key, size_t max, slice_t *ret_value,
                       fault_t *fault)
{
    const json_tree_t *value = json_get(question, key);
    slice_t text = {0};
    if (YAJL_IS_STRING(value))
        text = slice_of(value->u.string);
    else if (YAJL_IS_NUMBER(value))
        text = slice_of(value->u.number.r);
    else if (value && !YAJL_IS_NULL(value))
        return fault_set(fault, RESULT_INVALID, "\"%s\" is to be a text", key);
    if (text.size > max)
        return fault_set(fault, RESULT_INVALID, "\"%s\" is longer than %zu bytes", key, max);
    *ret_value = text;
    return RESULT_OK;
}
