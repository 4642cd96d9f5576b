#include "services/auditor/subscriptions.h"
#include "common/base/mem.h"

#include <stdlib.h>

typedef struct {
    char *prefix;
    size_t size;
    int64_t count; /* > 0 */
} subscription_t;

struct subscriptions_t {
    subscription_t list[SUBSCRIPTIONS_MAX];
    size_t n;
    int64_t beyond; /* of prefixes that found no place */
};

subscriptions_t *subscriptions_new(void)
{
    return MEM_NEW(subscriptions_t);
}

void subscriptions_destroy(subscriptions_t **subscriptions_ref)
{
    subscriptions_t *subscriptions = *subscriptions_ref;
    if (!subscriptions)
        return;
    for (size_t i = 0; i < subscriptions->n; i++)
        free(subscriptions->list[i].prefix);
    free(subscriptions);
    *subscriptions_ref = NULL;
}

static subscription_t *find(subscriptions_t *subscriptions, slice_t prefix)
{
    for (size_t i = 0; i < subscriptions->n; i++) {
        subscription_t *at = &subscriptions->list[i];
        if (slice_equal(prefix, (slice_t){at->prefix, at->size}))
            return at;
    }
    return NULL;
}

static void add(subscriptions_t *subscriptions, slice_t prefix)
{
    subscription_t *found = find(subscriptions, prefix);
    if (found)
        found->count++;
    else if (subscriptions->n == SUBSCRIPTIONS_MAX)
        subscriptions->beyond++;
    else
        subscriptions->list[subscriptions->n++] =
            (subscription_t){mem_strndup(prefix.data, prefix.size), prefix.size, 1};
}

static void take_out(subscriptions_t *subscriptions, slice_t prefix)
{
    subscription_t *found = find(subscriptions, prefix);
    if (!found) {
        subscriptions->beyond -= subscriptions->beyond > 0;
        return;
    }
    if (--found->count > 0)
        return;
    free(found->prefix);
    *found = subscriptions->list[--subscriptions->n];
}

void subscriptions_take(subscriptions_t *subscriptions, slice_t message)
{
    if (message.size == 0)
        return;
    slice_t prefix = {message.data + 1, message.size - 1};
    if (message.data[0] == 1)
        add(subscriptions, prefix);
    else if (message.data[0] == 0)
        take_out(subscriptions, prefix);
}

bool subscriptions_want(const subscriptions_t *subscriptions, slice_t topic)
{
    for (size_t i = 0; i < subscriptions->n; i++) {
        const subscription_t *at = &subscriptions->list[i];
        if (at->size <= topic.size && memcmp(at->prefix, topic.data, at->size) == 0)
            return true;
    }
    return subscriptions->beyond > 0;
}

int64_t subscriptions_count(const subscriptions_t *subscriptions)
{
    int64_t count = subscriptions->beyond;
    for (size_t i = 0; i < subscriptions->n; i++)
        count += subscriptions->list[i].count;
    return count;
}
