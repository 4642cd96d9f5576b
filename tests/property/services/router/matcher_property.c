/* Random handler tables and random events against a matcher that walks all handlers and all their
 * patterns, letter by letter. */
#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/service/filter.h"
#include "services/router/matcher.h"

enum { TABLES = 400, EVENTS = 60, HANDLERS_MAX = 40 };

static const char *const labels[] = {"a", "b", "ab", "abc", "", "*", "create"};
enum { LABELS = sizeof labels / sizeof *labels };
static const char *const filters[] = {NULL,
                                      NULL,
                                      NULL,
                                      "",
                                      "/data/x = 1",
                                      "/data/x > 1 and /data/y exists",
                                      "/event/object_id = 7",
                                      "/data/x in (0, 1.0)",
                                      "/event/object_id = 7.0 and /data/x = 2",
                                      "/data/x != 0"};
enum { FILTERS = sizeof filters / sizeof *filters };

static void add_id(unsigned *seed, unsigned n_labels, buf_t *to)
{
    for (unsigned n = 1 + unit_chance(seed, 4); n > 0; n--)
        buf_printf(to, "%s%s", labels[unit_chance(seed, n_labels)], n > 1 ? "." : "");
}

static char *random_patterns(unsigned *seed)
{
    AUTO_BUF text = {0};
    for (unsigned n = 1 + unit_chance(seed, 4); n > 0; n--) {
        if (!unit_chance(seed, 8)) {
            buf_add_str(&text, "*");
        } else {
            add_id(seed, LABELS - 2, &text);
            buf_add_str(&text, unit_chance(seed, 2) ? ".*" : "");
        }
        buf_add_char(&text, ' ');
    }
    return buf_take(&text);
}

static size_t random_table(unsigned *seed, handler_t *handlers, const handler_t **ret_pointers)
{
    size_t n = unit_chance(seed, HANDLERS_MAX + 1);
    for (size_t i = 0; i < n; i++) {
        handlers[i] =
            (handler_t){.id = (int64_t)i * 3 + 1,
                        .priority = (int64_t)unit_chance(seed, 4) - 2,
                        .status = unit_chance(seed, 2) ? HANDLER_ENABLED : unit_chance(seed, 5),
                        .events = random_patterns(seed),
                        .filter = (char *)filters[unit_chance(seed, FILTERS)]};
        ret_pointers[i] = &handlers[i];
    }
    for (size_t i = 0; i + 1 < n; i++) { /* in any order */
        size_t j = i + unit_chance(seed, (unsigned)(n - i));
        const handler_t *swapped = ret_pointers[i];
        ret_pointers[i] = ret_pointers[j];
        ret_pointers[j] = swapped;
    }
    return n;
}

/* --- the naive matcher --- */

static bool covers(const char *pattern, size_t size, slice_t id)
{
    size_t i = 0;
    while (i < size && i < id.size && pattern[i] == id.data[i] &&
           !(pattern[i] == '*' && i + 1 == size))
        i++;
    if (i == size)
        return i == id.size;
    bool star = i + 1 == size && pattern[i] == '*' && (i == 0 || pattern[i - 1] == '.');
    return star && (i == 0 || i < id.size);
}

static bool naive_passes(const char *text, slice_t json)
{
    AUTO(filter) filter = NULL;
    fault_t fault;
    assert_int_equal(filter_parse(slice_of(text ? text : ""), &filter, &fault), RESULT_OK);
    AUTO(filter_body) body = filter_body_new();
    filter_body_set(body, json);
    return filter_pass(filter, body);
}

static bool naive_matches(const handler_t *handler, const event_t *event)
{
    if (event->replay_handler)
        return handler->id == event->replay_handler && handler->status != HANDLER_ARCHIVED &&
               handler->status != HANDLER_DELETED;
    if (handler->status != HANDLER_ENABLED && handler->status != HANDLER_SUSPENDED)
        return false;
    for (const char *at = handler->events; *at;) {
        size_t size = strcspn(at, " ");
        if (size && covers(at, size, event->events_id))
            return naive_passes(handler->filter, event->body);
        at += size + 1;
    }
    return false;
}

/* Expects the handlers that match, by selection from all of them. */
static void assert_targets(const handler_t *handlers, size_t n, const event_t *event,
                           const target_t *targets, size_t n_targets)
{
    bool taken[HANDLERS_MAX] = {false};
    for (size_t place = 0;; place++) {
        const handler_t *next = NULL;
        for (size_t i = 0; i < n; i++)
            if (!taken[i] && naive_matches(&handlers[i], event) &&
                (!next || handlers[i].priority < next->priority))
                next = &handlers[i];
        if (!next) {
            assert_int_equal(n_targets, place);
            return;
        }
        taken[next - handlers] = true;
        assert_true(place < n_targets);
        assert_int_equal(targets[place].handler_id, next->id);
        assert_int_equal(targets[place].priority, next->priority);
    }
}

static void random_event(unsigned *seed, buf_t *id, buf_t *body, event_t *ret_event)
{
    buf_clear(id);
    buf_clear(body);
    add_id(seed, LABELS, id);
    buf_printf(body, "{\"event\":{\"object_id\":%u},\"data\":{%s\"x\":%u}}",
               6 + unit_chance(seed, 2), unit_chance(seed, 2) ? "\"y\":{}," : "",
               unit_chance(seed, 3));
    *ret_event = (event_t){.events_id = buf_slice(id), .body = buf_slice(body)};
    if (!unit_chance(seed, 5))
        ret_event->replay_handler = 1 + unit_chance(seed, HANDLERS_MAX * 3);
}

static void matches_as_a_naive_matcher(void **state)
{
    (void)state;
    unsigned seed = unit_seed();
    size_t matched = 0;
    for (int table = 0; table < TABLES; table++) {
        handler_t handlers[HANDLERS_MAX];
        const handler_t *pointers[HANDLERS_MAX];
        size_t n = random_table(&seed, handlers, pointers);
        AUTO(matcher) matcher = matcher_new(pointers, n);
        AUTO_BUF id = {0}, body = {0};
        for (int i = 0; i < EVENTS; i++) {
            event_t event;
            const target_t *targets;
            random_event(&seed, &id, &body, &event);
            size_t n_targets = matcher_match(matcher, &event, &targets);
            assert_targets(handlers, n, &event, targets, n_targets);
            matched += n_targets;
        }
        for (size_t i = 0; i < n; i++)
            free(handlers[i].events);
    }
    assert_true(matched > TABLES * EVENTS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(matches_as_a_naive_matcher)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
