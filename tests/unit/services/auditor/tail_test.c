#include "tests/support/unit.h"

#include "services/auditor/tail.h"

static entry_t entry(const char *topic, int64_t at_ms, const char *event_id)
{
    return (entry_t){
        .record = {.topic = slice_of(topic), .at_ms = at_ms, .event_id = slice_of(event_id)}};
}

static void ids_rise_by_one_and_topics_are_chained(void **state)
{
    (void)state;
    static const struct {
        const char *topic;
        int64_t prev_id;
    } steps[] = {{"a", 0}, {"b", 0}, {"a", 1}, {"a", 3}, {"b", 2}};
    tail_t tail;
    tail_init(&tail);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        entry_t e = entry(steps[i].topic, 1, NULL);
        tail_give(&tail, &e);
        assert_int_equal(e.audit_id, i + 1);
        assert_int_equal(e.prev_id, steps[i].prev_id);
    }
}

static void a_new_segment_goes_on_with_the_ids(void **state)
{
    (void)state;
    tail_t tail;
    tail_init(&tail);
    entry_t a = entry("a", 5, "E5"), b = entry("a", 7, "E1");
    tail_give(&tail, &a);
    tail_start_segment(&tail, 99);
    assert_int_equal(tail.span.first_id, 2);
    assert_int_equal(tail.span.created_ms, 99);
    assert_string_equal(tail.span.first_event, "");
    tail_give(&tail, &b);
    assert_int_equal(b.audit_id, 2);
    assert_int_equal(b.prev_id, 1);
    assert_string_equal(tail.span.last_event, "E1");
}

static void only_attempts_count_as_attempts(void **state)
{
    (void)state;
    static const struct {
        const char *topic;
        int64_t attempts;
    } steps[] = {
        {"event.accepted", 0},     {"delivery.retrying", 1},  {"stage.started", 1},
        {"delivery.delivered", 2}, {"delivery.cancelled", 3},
    };
    tail_t tail;
    tail_init(&tail);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        entry_t e = entry(steps[i].topic, 1, NULL);
        tail_give(&tail, &e);
        assert_int_equal(tail.span.attempts, steps[i].attempts);
    }
    tail_start_segment(&tail, 1);
    assert_int_equal(tail.span.attempts, 0);
}

static void the_span_covers_what_is_in_it(void **state)
{
    (void)state;
    static const int64_t times[] = {50, 20, 80};
    static const char *const events[] = {"E30", NULL, "E10"};
    static const struct {
        const char *event_id;
        bool covers, reaches;
    } asked[] = {{"E10", true, true},  {"E20", true, true},   {"E30", true, true},
                 {"E09", false, true}, {"E31", false, false}, {"E300", false, false},
                 {"E1", false, true},  {"", false, true}};
    tail_t tail;
    tail_init(&tail);
    assert_false(tail_span_covers(&tail.span, SLICE("E1")));
    assert_false(tail_span_reaches(&tail.span, SLICE("E1")));
    for (size_t i = 0; i < 3; i++) {
        entry_t e = entry("a", times[i], events[i]);
        tail_give(&tail, &e);
    }
    assert_int_equal(tail.span.first_ms, 20);
    assert_int_equal(tail.span.last_ms, 80);
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        slice_t id = slice_of(asked[i].event_id);
        if (tail_span_covers(&tail.span, id) != asked[i].covers ||
            tail_span_reaches(&tail.span, id) != asked[i].reaches)
            fail_msg("%s", asked[i].event_id);
    }
}

static void topics_are_bounded(void **state)
{
    (void)state;
    tail_t tail;
    char topic[16];
    tail_init(&tail);
    for (int i = 0; i < TAIL_TOPICS_MAX + 5; i++) {
        snprintf(topic, sizeof topic, "t%d", i);
        entry_t e = entry(topic, 1, NULL);
        tail_give(&tail, &e);
    }
    assert_int_equal(tail.n_topics, TAIL_TOPICS_MAX);
    assert_int_equal(tail.next_id, TAIL_TOPICS_MAX + 6);
    entry_t e = entry("t0", 1, NULL);
    tail_give(&tail, &e);
    assert_int_equal(e.prev_id, 1);
    e = entry(topic, 1, NULL);
    tail_give(&tail, &e);
    assert_int_equal(e.prev_id, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_rise_by_one_and_topics_are_chained),
        cmocka_unit_test(a_new_segment_goes_on_with_the_ids),
        cmocka_unit_test(only_attempts_count_as_attempts),
        cmocka_unit_test(the_span_covers_what_is_in_it),
        cmocka_unit_test(topics_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
