#include "services/deliverer/partitions.h"

/* Reads a number of at most two digits at *at and moves on. */
static bool take_number(slice_t text, size_t *at, int *ret_value)
{
    int value = 0;
    size_t first = *at;
    for (; *at < text.size && text.data[*at] >= '0' && text.data[*at] <= '9'; (*at)++) {
        if (*at - first == 2)
            return false;
        value = value * 10 + (text.data[*at] - '0');
    }
    *ret_value = value;
    return *at > first;
}

static bool take_range(slice_t text, size_t *at, int *ret_first, int *ret_last)
{
    if (!take_number(text, at, ret_first))
        return false;
    *ret_last = *ret_first;
    if (*at < text.size && text.data[*at] == '-') {
        (*at)++;
        if (!take_number(text, at, ret_last))
            return false;
    }
    return *ret_first <= *ret_last && *ret_last < PARTITIONS &&
           (*at == text.size || text.data[*at] == ' ');
}

result_t partitions_parse(slice_t text, partitions_t *ret_set, fault_t *fault)
{
    partitions_t set = 0;
    size_t at = 0;
    while (at < text.size) {
        int first = 0;
        int last = 0;
        if (text.data[at] == ' ') {
            at++;
            continue;
        }
        if (!take_range(text, &at, &first, &last))
            return fault_set(fault, RESULT_INVALID,
                             "\"%.*s\" is not a list of partitions 0..63; "
                             "write for example 0-31 or \"0-15 40\"",
                             SLICE_ARG(text));
        for (int p = first; p <= last; p++)
            set |= UINT64_C(1) << p;
    }
    if (!set)
        return fault_set(fault, RESULT_INVALID,
                         "it is empty; a deliverer owns at least one of 0..63");
    *ret_set = set;
    return RESULT_OK;
}

void partitions_format(partitions_t set, buf_t *ret_text)
{
    for (int p = 0; p < PARTITIONS; p++) {
        int first = p;
        if (!partitions_has(set, p))
            continue;
        while (partitions_has(set, p + 1))
            p++;
        buf_printf(ret_text, "%s%d", ret_text->size ? " " : "", first);
        if (p > first)
            buf_printf(ret_text, "-%d", p);
    }
}
