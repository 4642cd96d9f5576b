#include "services/auditor/entry.h"

static bool is_topic(slice_t topic)
{
    if (topic.size == 0 || topic.size > ENTRY_TOPIC_MAX)
        return false;
    for (size_t i = 0; i < topic.size; i++) {
        char c = topic.data[i];
        if (!(c >= 'a' && c <= 'z') && c != '.' && c != '_')
            return false;
    }
    return true;
}

bool entry_is_valid(const record_t *record)
{
    return is_topic(record->topic) && record->event_id.size <= ENTRY_EVENT_ID_MAX &&
           record->webhook_id.size <= ENTRY_EVENT_ID_MAX;
}

slice_t entry_outcome(slice_t topic)
{
    static const slice_t prefix = {"delivery.", 9};
    if (topic.size <= prefix.size || memcmp(topic.data, prefix.data, prefix.size) != 0)
        return (slice_t){0};
    return (slice_t){topic.data + prefix.size, topic.size - prefix.size};
}

entry_status_t entry_status(slice_t topic)
{
    slice_t outcome = entry_outcome(topic);
    if (!outcome.data)
        return ENTRY_NO_STATUS;
    return slice_is(outcome, "delivered") ? ENTRY_SUCCESS : ENTRY_FAIL;
}

const char *entry_status_str(entry_status_t status)
{
    static const char *const names[] = {"", "success", "fail"};
    return names[status];
}

slice_t entry_original_id(slice_t event_id, slice_t webhook_id)
{
    return webhook_id.data ? webhook_id : event_id;
}

bool entry_passes_through(slice_t topic)
{
    return slice_is(topic, "stage.heartbeat") || slice_is(topic, "stage.stats");
}
