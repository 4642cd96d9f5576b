#include "services/auditor/tail.h"

static int compare(slice_t event_id, const char *text)
{
    slice_t other = slice_of(text);
    size_t common = event_id.size < other.size ? event_id.size : other.size;
    int order = memcmp(event_id.data, other.data, common);
    return order ? order : (event_id.size > other.size) - (event_id.size < other.size);
}

void tail_init(tail_t *tail)
{
    *tail = (tail_t){.next_id = 1};
    tail->span.first_id = 1;
}

static tail_topic_t *find_topic(tail_t *tail, slice_t topic)
{
    for (size_t i = 0; i < tail->n_topics; i++)
        if (slice_is(topic, tail->topics[i].topic))
            return &tail->topics[i];
    if (tail->n_topics == TAIL_TOPICS_MAX || topic.size > ENTRY_TOPIC_MAX)
        return NULL;
    tail_topic_t *added = &tail->topics[tail->n_topics++];
    *added = (tail_topic_t){""};
    memcpy(added->topic, topic.data, topic.size);
    return added;
}

void tail_restore_topic(tail_t *tail, slice_t topic, int64_t last_id)
{
    tail_topic_t *found = find_topic(tail, topic);
    if (found)
        found->last_id = last_id;
}

static void keep_event(char to[static ENTRY_EVENT_ID_MAX + 1], slice_t event_id)
{
    memcpy(to, event_id.data, event_id.size);
    to[event_id.size] = 0;
}

static void widen(tail_span_t *span, const record_t *record)
{
    if (!span->first_ms || record->at_ms < span->first_ms)
        span->first_ms = record->at_ms;
    if (record->at_ms > span->last_ms)
        span->last_ms = record->at_ms;
    slice_t id = record->event_id;
    if (id.size == 0 || id.size > ENTRY_EVENT_ID_MAX)
        return;
    if (!*span->first_event || compare(id, span->first_event) < 0)
        keep_event(span->first_event, id);
    if (compare(id, span->last_event) > 0)
        keep_event(span->last_event, id);
}

void tail_give(tail_t *tail, entry_t *entry)
{
    tail_topic_t *topic = find_topic(tail, entry->record.topic);
    entry->audit_id = tail->next_id++;
    entry->prev_id = topic ? topic->last_id : 0;
    if (topic)
        topic->last_id = entry->audit_id;
    tail->span.attempts += entry_status(entry->record.topic) != ENTRY_NO_STATUS;
    widen(&tail->span, &entry->record);
}

void tail_start_segment(tail_t *tail, int64_t wall_ms)
{
    tail->span = (tail_span_t){.first_id = tail->next_id, .created_ms = wall_ms};
}

bool tail_span_covers(const tail_span_t *span, slice_t event_id)
{
    return *span->first_event && event_id.size > 0 && compare(event_id, span->first_event) >= 0 &&
           compare(event_id, span->last_event) <= 0;
}

bool tail_span_reaches(const tail_span_t *span, slice_t event_id)
{
    return *span->first_event && compare(event_id, span->last_event) <= 0;
}
