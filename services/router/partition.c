#include "services/router/partition.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "common/wire/messages.h"

enum { NOBODY = PARTITIONS, SHOWN_MAX = 100 /* characters of an entry in messages */ };

struct partition_t {
    char *endpoints[PARTITIONS];
    size_t n_endpoints;
    size_t owner[PARTITIONS]; /* place in endpoints, NOBODY: none yet */
};

/* 0..63 at *at, moved behind it; -1: it is not that. */
static int read_number(const char **at, const char *end)
{
    int number = 0;
    const char *begin = *at;
    for (; *at < end && **at >= '0' && **at <= '9' && number < PARTITIONS; ++*at)
        number = number * 10 + (**at - '0');
    return *at > begin && number < PARTITIONS ? number : -1;
}

/* "0-31" or "7" */
static bool read_range(slice_t text, int *ret_first, int *ret_last)
{
    const char *at = text.data, *end = at + text.size;
    int first = read_number(&at, end), last = first;
    if (first >= 0 && at < end && *at == '-') {
        at++;
        last = read_number(&at, end);
    }
    if (first < 0 || last < first || at != end)
        return false;
    *ret_first = first;
    *ret_last = last;
    return true;
}

static size_t find_or_add(partition_t *partition, slice_t endpoint)
{
    size_t i = 0;
    while (i < partition->n_endpoints && !slice_is(endpoint, partition->endpoints[i]))
        i++;
    if (i == partition->n_endpoints)
        partition->endpoints[partition->n_endpoints++] = mem_strndup(endpoint.data, endpoint.size);
    return i;
}

static bool has_transport(slice_t endpoint)
{
    const char *colon = memmem(endpoint.data, endpoint.size, "://", 3);
    return colon && colon > endpoint.data && colon + 3 < endpoint.data + endpoint.size;
}

static result_t add_entry(partition_t *partition, slice_t entry, fault_t *fault)
{
    const char *equals = memchr(entry.data, '=', entry.size);
    size_t range = equals ? (size_t)(equals - entry.data) : entry.size;
    slice_t endpoint = {entry.data + range + !!equals, entry.size - range - !!equals};
    slice_t shown = {entry.data, entry.size < SHOWN_MAX ? entry.size : SHOWN_MAX};
    int first, last;
    if (!read_range((slice_t){entry.data, range}, &first, &last) || !has_transport(endpoint))
        return fault_set(fault, RESULT_INVALID,
                         "\"%.*s\" is not FIRST-LAST=ENDPOINT with partitions from 0 to 63, such "
                         "as 0-31=tcp://127.0.0.1:5561",
                         SLICE_ARG(shown));
    for (int i = first; i <= last; i++)
        if (partition->owner[i] != NOBODY)
            return fault_set(fault, RESULT_INVALID, "\"%.*s\": partition %d belongs to %s already",
                             SLICE_ARG(shown), i, partition->endpoints[partition->owner[i]]);
    size_t owner = find_or_add(partition, endpoint);
    for (int i = first; i <= last; i++)
        partition->owner[i] = owner;
    return RESULT_OK;
}

static result_t check_complete(const partition_t *partition, fault_t *fault)
{
    int first = 0;
    while (first < PARTITIONS && partition->owner[first] != NOBODY)
        first++;
    if (first == PARTITIONS)
        return RESULT_OK;
    int last = first;
    while (last + 1 < PARTITIONS && partition->owner[last + 1] == NOBODY)
        last++;
    return fault_set(fault, RESULT_INVALID,
                     "no deliverer owns the partitions %d-%d; each of 0-63 needs one", first, last);
}

result_t partition_new(const char *text, partition_t **ret_partition, fault_t *fault)
{
    static const char spaces[] = " \t\r\n";
    AUTO(partition) partition = MEM_NEW(partition_t);
    for (int i = 0; i < PARTITIONS; i++)
        partition->owner[i] = NOBODY;
    for (const char *entry = text + strspn(text, spaces); *entry;) {
        size_t size = strcspn(entry, spaces);
        result_t r = add_entry(partition, (slice_t){entry, size}, fault);
        if (r != RESULT_OK)
            return r;
        entry += size;
        entry += strspn(entry, spaces);
    }
    result_t r = check_complete(partition, fault);
    if (r == RESULT_OK)
        *ret_partition = TAKE(partition);
    return r;
}

void partition_destroy(partition_t **partition)
{
    if (!*partition)
        return;
    for (size_t i = 0; i < (*partition)->n_endpoints; i++)
        free((*partition)->endpoints[i]);
    free(*partition);
    *partition = NULL;
}

size_t partition_deliverers(const partition_t *partition)
{
    return partition->n_endpoints;
}

const char *partition_endpoint(const partition_t *partition, size_t deliverer)
{
    ENSURE(deliverer < partition->n_endpoints);
    return partition->endpoints[deliverer];
}

size_t partition_owner(const partition_t *partition, int64_t number)
{
    ENSURE(number >= 0 && number < PARTITIONS);
    return partition->owner[number];
}
