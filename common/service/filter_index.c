#include "common/service/filter_index.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/service/filter_parts.h"

#include <stdlib.h>

/* Of a value's text: what is found is asked all the same, so equal values need equal hashes and
 * nothing more, and a large value costs no more than a small one. */
enum { HASHED_BYTES = 64 };

/* The filter at place passes only bodies with a value of this hash at path. */
typedef struct {
    const filter_path_t *path; /* of the filter */
    uint64_t value;
    uint32_t place;
} demand_t;

/* The demands that name one path, in the order of (value, place). */
typedef struct {
    const filter_path_t *path;
    const demand_t *demands;
    size_t n;
} group_t;

struct filter_index_t {
    const filter_t **filters;
    uint32_t *others; /* places of those that are asked for every body */
    size_t n_others;
    demand_t *demands; /* sorted */
    group_t *groups;
    size_t n_groups;
};

/* --- hashes of values --- */

static uint64_t add_digits(uint64_t state, slice_t digits)
{
    for (size_t i = 0; i < digits.size && i < HASHED_BYTES; i++)
        if (digits.data[i] != '.')
            state = hash_add(state, &digits.data[i], 1);
    return state;
}

/* Equal values have equal ones: 1, 1.0 and 10e-1 too, "1" is another value. False for what equals
 * nothing: what is missing, objects and arrays. */
static bool hash_value(const filter_value_t *value, uint64_t *ret_hash)
{
    uint64_t state = hash_add(hash_begin(), &value->type, sizeof value->type);
    if (value->type == FILTER_MISSING || value->type == FILTER_CONTAINER)
        return false;
    if (value->type == FILTER_STRING) {
        size_t size = value->text.size < HASHED_BYTES ? value->text.size : HASHED_BYTES;
        state = hash_add(state, &value->text.size, sizeof value->text.size);
        state = hash_add(state, value->text.data, size);
    } else if (value->type == FILTER_NUMBER) {
        const decimal_t *decimal = &value->decimal;
        state = hash_add(state, &decimal->sign, sizeof decimal->sign);
        state = hash_add(state, &decimal->exponent, sizeof decimal->exponent);
        state = add_digits(state, decimal->digits);
    }
    *ret_hash = hash_end(state);
    return true;
}

/* --- building --- */

static int compare_paths(const filter_path_t *a, const filter_path_t *b)
{
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    if (a->size != b->size)
        return a->size < b->size ? -1 : 1;
    return memcmp(a->bytes, b->bytes, a->size);
}

/* By path and value only. */
static int compare_keys(const void *a, const void *b)
{
    const demand_t *x = a, *y = b;
    int order = compare_paths(x->path, y->path);
    return order ? order : (x->value > y->value) - (x->value < y->value);
}

static int compare_demands(const void *a, const void *b)
{
    const demand_t *x = a, *y = b;
    int order = compare_keys(a, b);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

static bool is_demand(const filter_condition_t *condition)
{
    return condition->op == FILTER_EQUAL || condition->op == FILTER_IN;
}

/* Adds a demand for each value of the condition. */
static size_t add_demands(const filter_condition_t *condition, uint32_t place, demand_t *to)
{
    size_t n = 0;
    for (size_t i = 0; i < condition->n_values; i++) {
        to[n] = (demand_t){.path = &condition->path, .place = place};
        n += hash_value(&condition->values[i], &to[n].value);
    }
    return n;
}

/* The first place of demands where key could stand. */
static size_t lower_bound(const demand_t *demands, size_t n, const demand_t *key,
                          int (*compare)(const void *, const void *))
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&demands[middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Every demand of every filter, sorted. */
static demand_t *list_all(const filter_t *const *filters, size_t n, size_t *ret_n)
{
    size_t n_values = 0, n_all = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; filters[i] && j < filters[i]->n_conditions; j++)
            n_values += filters[i]->conditions[j].n_values;
    demand_t *all = mem_alloc((n_values + 1) * sizeof *all);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; filters[i] && j < filters[i]->n_conditions; j++)
            if (is_demand(&filters[i]->conditions[j]))
                n_all += add_demands(&filters[i]->conditions[j], (uint32_t)i, all + n_all);
    qsort(all, n_all, sizeof *all, compare_demands);
    *ret_n = n_all;
    return all;
}

/* How many of all demands are for the path and the values of the condition. */
static size_t count_rivals(const filter_condition_t *condition, const demand_t *all, size_t n)
{
    size_t rivals = 0;
    for (size_t i = 0; i < condition->n_values; i++) {
        demand_t key = {.path = &condition->path};
        if (!hash_value(&condition->values[i], &key.value))
            continue;
        size_t begin = lower_bound(all, n, &key, compare_demands);
        key.place = UINT32_MAX;
        rivals += lower_bound(all, n, &key, compare_demands) - begin;
    }
    return rivals;
}

/* NULL: the filter has no demand. */
static const filter_condition_t *rarest(const filter_t *filter, const demand_t *all, size_t n)
{
    const filter_condition_t *found = NULL;
    size_t fewest = SIZE_MAX;
    for (size_t i = 0; filter && i < filter->n_conditions; i++) {
        const filter_condition_t *condition = &filter->conditions[i];
        size_t rivals = is_demand(condition) ? count_rivals(condition, all, n) : SIZE_MAX;
        if (rivals < fewest) {
            fewest = rivals;
            found = condition;
        }
    }
    return found;
}

/* in (1, 1.0) demands the same twice. */
static size_t drop_repeats(demand_t *demands, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || compare_demands(&demands[kept - 1], &demands[i]) != 0)
            demands[kept++] = demands[i];
    return kept;
}

static void make_groups(filter_index_t *index, size_t n_demands)
{
    index->groups = mem_alloc((n_demands + 1) * sizeof *index->groups);
    for (size_t i = 0; i < n_demands; i++) {
        const demand_t *demand = &index->demands[i];
        if (i == 0 || compare_paths(demand[-1].path, demand->path) != 0)
            index->groups[index->n_groups++] = (group_t){demand->path, demand, 0};
        index->groups[index->n_groups - 1].n++;
    }
}

filter_index_t *filter_index_new(const filter_t *const *filters, size_t n)
{
    filter_index_t *index = MEM_NEW(filter_index_t);
    size_t n_all, n_demands = 0;
    demand_t *all = list_all(filters, n, &n_all);
    index->filters = mem_alloc((n + 1) * sizeof *index->filters);
    index->others = mem_alloc((n + 1) * sizeof *index->others);
    index->demands = mem_alloc((n_all + 1) * sizeof *index->demands);
    for (size_t i = 0; i < n; i++) {
        index->filters[i] = filters[i];
        const filter_condition_t *condition = rarest(filters[i], all, n_all);
        if (condition)
            n_demands += add_demands(condition, (uint32_t)i, index->demands + n_demands);
        else
            index->others[index->n_others++] = (uint32_t)i;
    }
    free(all);
    qsort(index->demands, n_demands, sizeof *index->demands, compare_demands);
    make_groups(index, drop_repeats(index->demands, n_demands));
    return index;
}

void filter_index_destroy(filter_index_t **index)
{
    if (!*index)
        return;
    free((*index)->filters);
    free((*index)->others);
    free((*index)->demands);
    free((*index)->groups);
    free(*index);
    *index = NULL;
}

/* --- asking --- */

static int compare_values(const void *a, const void *b)
{
    const demand_t *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

static size_t pass_group(const filter_index_t *index, const group_t *group, filter_body_t *body,
                         uint32_t *ret_places)
{
    demand_t key = {0};
    size_t n = 0;
    if (!hash_value(filter_body_get(body, group->path), &key.value))
        return 0;
    for (size_t i = lower_bound(group->demands, group->n, &key, compare_values);
         i < group->n && group->demands[i].value == key.value; i++) {
        uint32_t place = group->demands[i].place;
        if (filter_pass(index->filters[place], body))
            ret_places[n++] = place;
    }
    return n;
}

size_t filter_index_pass(const filter_index_t *index, filter_body_t *body, uint32_t *ret_places)
{
    size_t n = 0;
    for (size_t i = 0; i < index->n_others; i++) {
        uint32_t place = index->others[i];
        if (!index->filters[place] || filter_pass(index->filters[place], body))
            ret_places[n++] = place;
    }
    for (size_t i = 0; i < index->n_groups; i++)
        n += pass_group(index, &index->groups[i], body, ret_places + n);
    return n;
}
