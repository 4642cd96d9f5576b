#include "common/service/filter_parts.h"

#include <stdlib.h>

void filter_destroy(filter_t **filter)
{
    if (!*filter)
        return;
    for (size_t i = 0; i < (*filter)->n_conditions; i++) {
        filter_condition_t *condition = &(*filter)->conditions[i];
        for (size_t j = 0; j < condition->n_values; j++)
            free(condition->values[j].memory);
        free(condition->values);
        free(condition->path.bytes);
    }
    free((*filter)->conditions);
    free(*filter);
    *filter = NULL;
}

void filter_body_want(filter_body_t *body, const filter_t *filter)
{
    for (size_t i = 0; i < filter->n_conditions; i++)
        filter_body_add_path(body, &filter->conditions[i].path);
}

static int compare_text(slice_t a, slice_t b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    if (order == 0)
        return (a.size > b.size) - (a.size < b.size);
    return order < 0 ? -1 : 1;
}

static bool is_equal(const filter_value_t *a, const filter_value_t *b)
{
    if (a->type != b->type)
        return false;
    if (a->type == FILTER_STRING)
        return slice_equal(a->text, b->text);
    if (a->type == FILTER_NUMBER)
        return decimal_compare(&a->decimal, &b->decimal) == 0;
    return a->type != FILTER_CONTAINER;
}

static bool is_any_of(const filter_value_t *value, const filter_condition_t *condition)
{
    for (size_t i = 0; i < condition->n_values; i++)
        if (is_equal(value, &condition->values[i]))
            return true;
    return false;
}

static bool has_prefix(const filter_value_t *value, const filter_value_t *prefix)
{
    return value->type == FILTER_STRING && value->text.size >= prefix->text.size &&
           slice_equal((slice_t){value->text.data, prefix->text.size}, prefix->text);
}

/* < <= > >= */
static bool is_in_order(const filter_value_t *value, filter_op_t op, const filter_value_t *limit)
{
    if (value->type != limit->type)
        return false;
    int order = value->type == FILTER_NUMBER ? decimal_compare(&value->decimal, &limit->decimal)
                                             : compare_text(value->text, limit->text);
    switch (op) {
    case FILTER_LESS:
        return order < 0;
    case FILTER_LESS_EQUAL:
        return order <= 0;
    case FILTER_GREATER:
        return order > 0;
    default:
        return order >= 0;
    }
}

static bool holds(const filter_condition_t *condition, const filter_value_t *value)
{
    switch (condition->op) {
    case FILTER_EXISTS:
        return value->type != FILTER_MISSING;
    case FILTER_EQUAL:
    case FILTER_IN:
        return is_any_of(value, condition);
    case FILTER_NOT_EQUAL:
        return !is_any_of(value, condition);
    case FILTER_PREFIX:
        return has_prefix(value, condition->values);
    default:
        return is_in_order(value, condition->op, condition->values);
    }
}

bool filter_pass(const filter_t *filter, filter_body_t *body)
{
    for (size_t i = 0; i < filter->n_conditions; i++) {
        const filter_condition_t *condition = &filter->conditions[i];
        if (!holds(condition, filter_body_get(body, &condition->path)))
            return false;
    }
    return true;
}

int filter_compare_numbers(slice_t a, slice_t b)
{
    decimal_t x = decimal_of(a), y = decimal_of(b);
    return decimal_compare(&x, &y);
}
