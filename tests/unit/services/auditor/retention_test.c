#include "tests/support/unit.h"

#include "services/auditor/retention.h"

/* Segments as (created_ms, bytes), the last one live; keep 1000 ms and 100 bytes; it is 5000. */
static const struct {
    const char *name;
    int64_t segments[5][2];
    size_t n;
    int64_t live_bytes;
    size_t gone;
} cases[] = {
    {"only the live one", {{1, 0}}, 1, 500, 0},
    {"young and small", {{4000, 10}, {4500, 0}}, 2, 10, 0},
    {"sealed long ago", {{1000, 10}, {3999, 0}}, 2, 10, 1},
    {"sealed just now, begun long ago", {{1000, 10}, {4000, 0}}, 2, 10, 0},
    {"some of them", {{1, 10}, {2, 10}, {3000, 10}, {4100, 10}, {4200, 0}}, 5, 10, 2},
    {"too much: as few as will do", {{4000, 40}, {4100, 40}, {4200, 40}, {4300, 0}}, 4, 10, 1},
    {"the live one counts", {{4000, 40}, {4100, 40}, {4200, 0}}, 3, 30, 1},
    {"the live one alone is too much", {{4000, 40}, {4100, 40}, {4200, 0}}, 3, 300, 2},
    {"none", {{0, 0}}, 0, 0, 0},
};

static void the_oldest_go_first(void **state)
{
    (void)state;
    retention_t retention = {.age_ms = 1000, .bytes = 100};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        shelf_segment_t segments[5] = {0};
        for (size_t s = 0; s < cases[i].n; s++) {
            segments[s].span.created_ms = cases[i].segments[s][0];
            segments[s].bytes = cases[i].segments[s][1];
            segments[s].live = s + 1 == cases[i].n;
        }
        size_t gone = retention_choose(&retention, segments, cases[i].n, cases[i].live_bytes, 5000);
        if (gone != cases[i].gone)
            fail_msg("%s: %zu", cases[i].name, gone);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_oldest_go_first)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
