#include "tests/support/desk_world.h"

#include "services/auditor/search.h"
#include "services/auditor/segment.h"

/* Ten events of two objects to two handlers, in segments of one event each when small:
 *   event n (1..5): accepted; delivered to 7; retrying, then exhausted, for 8
 * so that audit ids are 4n-3 .. 4n. */
static void fill_history(desk_world_t *world)
{
    for (int n = 1; n <= 5; n++) {
        const char *object_id = n % 2 ? "12" : "\"a b\"";
        char response[32];
        snprintf(response, sizeof response, "Reply number %d", n);
        world_accept(world->history, n, object_id);
        world_deliver(world->history, "delivered", n, object_id, 7, response);
        world_deliver(world->history, "retrying", n, object_id, 8, "Bad Gateway");
        world_deliver(world->history, "exhausted", n, object_id, 8, NULL);
        world_commit(world->history);
        if (world->history->settings.segment_records == 4)
            world_run(world->history, desk_has_turned);
    }
    world_run(world->history, desk_is_sealed);
}

typedef struct {
    const char *question, *ids;
} case_t;

#define LOG(members) "{\"op\":\"log\"" members "}"
static const case_t cases[] = {
    {"{\"from\":1,\"to\":3}", "1 2 3"},
    {"{\"op\":\"fill\",\"from\":19}", "19 20"},
    {"{\"from\":0,\"to\":1000,\"topics\":[]}",
     "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"},
    {"{\"from\":5,\"to\":1000,\"topics\":[\"delivery.exhausted\"]}", "8 12 16 20"},
    {"{\"from\":5,\"to\":12,\"topics\":[\"event.accepted\",\"delivery.exhausted\"]}", "5 8 9 12"},
    {"{\"from\":1,\"to\":1000,\"topics\":[\"never\"]}", ""},
    {"{\"from\":21,\"to\":1000}", ""},
    {"{\"from\":9,\"to\":3}", ""},
    {LOG(""), "20 19 18 16 15 14 12 11 10 8 7 6 4 3 2"},
    {LOG(",\"limit\":2"), "20 19"},
    {LOG(",\"before\":7,\"limit\":3"), "6 4 3"},
    {LOG(",\"status\":\"success\""), "18 14 10 6 2"},
    {LOG(",\"status\":\"fail\",\"handler_id\":7"), ""},
    {LOG(",\"handler_id\":8"), "20 19 16 15 12 11 8 7 4 3"},
    {LOG(",\"object_id\":\"12\""), "20 19 18 12 11 10 4 3 2"},
    {LOG(",\"object_id\":12,\"handler_id\":7"), "18 10 2"},
    {LOG(",\"object_id\":\"a b\",\"status\":\"success\""), "14 6"},
    {LOG(",\"object_id\":\"1\""), ""},
    {LOG(",\"event\":\"clients.*\",\"limit\":1"), "20"},
    {LOG(",\"event\":\"clients.update\",\"limit\":1"), "20"},
    {LOG(",\"event\":\"clients.create\""), ""},
    {LOG(",\"text\":\"REPLY number\""), "18 14 10 6 2"},
    {LOG(",\"text\":\"number 3\""), "10"},
    {LOG(",\"text\":\"gateway\",\"object_id\":12,\"handler_id\":8"), "19 11 3"},
    {LOG(",\"text\":\"nowhere\""), ""},
    {LOG(",\"until_ms\":1"), ""},
    {LOG(",\"since_ms\":99999999999999"), ""},
    {"{\"op\":\"event\",\"event_id\":\"01EVENT0000000000000000003\"}", "9 10 11 12"},
};

static void check_cases(desk_world_t *world)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        desk_assert_ids(world, cases[i].question, cases[i].ids);
}

static void use_small_segments(desk_world_t *world)
{
    desk_close(world);
    world_close(world->history);
    world->history->settings.segment_records = 4;
    world_open(world->history);
    desk_open(world);
}

static void one_live_segment_is_asked(void **state)
{
    fill_history(*state);
    check_cases(*state);
}

static void many_sealed_segments_are_asked(void **state)
{
    desk_world_t *world = *state;
    use_small_segments(world);
    fill_history(world);
    AUTO_FREE shelf_segment_t *segments = NULL;
    assert_true(archive_segments(world->desk.archive, &segments) == 5);
    check_cases(world);
}

static void bad_questions_are_told_why(void **state)
{
    static const struct {
        const char *question, *error;
    } bad[] = {
        {"", "empty"},
        {"{", ""},
        {"[]", "op"},
        {"{}", "one of fill log event"},
        {"{\"op\":7}", "op"},
        {"{\"op\":\"nope\"}", "op"},
        {"{\"from\":\"1\"}", "\"from\" is to be an integer"},
        {"{\"from\":-1}", "\"from\""},
        {"{\"from\":1,\"topics\":\"a\"}", "\"topics\""},
        {"{\"from\":1,\"topics\":[1]}", "\"topics\""},
        {LOG(",\"status\":\"maybe\""), "success or fail"},
        {LOG(",\"limit\":0"), "\"limit\""},
        {LOG(",\"limit\":1.5"), "\"limit\""},
        {LOG(",\"text\":{}"), "\"text\""},
        {LOG(",\"handler_id\":\"7\""), "\"handler_id\""},
        {"{\"op\":\"event\"}", "\"event_id\" is missing"},
        {"{\"op\":\"event\",\"event_id\":\"x\"}", "not found"},
        {"{\"op\":\"event\",\"event_id\":\"01234567890123456789012345678901\"}", "longer"},
        {"{\"op\":\"replay\"}", "say what"},
        {"{\"op\":\"replay\",\"event_id\":\"x\"}", "not found"},
        {"{\"op\":\"replay\",\"handler_id\":10}", "no handler 10"},
        {"{\"op\":\"replay\",\"handler_id\":10,\"event_id\":\"x\"}", "no handler 10"},
        {"{\"op\":\"replay\",\"handler_id\":7,\"status\":\"x\"}", "\"status\""},
        {"{\"op\":\"replay\",\"handler_id\":7,\"superseded\":1}", "\"superseded\""},
        {"{\"op\":\"replay\",\"handler_id\":7,\"rate\":-1}", "\"rate\""},
        {"{\"op\":\"replay_status\"}", "no replay 0"},
        {"{\"op\":\"replay_cancel\",\"job\":5}", "no replay 5"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        AUTO(json_tree) answer = desk_ask(*state, bad[i].question);
        const char *error = json_get_str(answer, "error");
        if (json_get_bool(answer, "ok", true) || !error || !strstr(error, bad[i].error))
            fail_msg("%s: %s", bad[i].question, error);
    }
}

static void a_limited_answer_says_where_to_go_on(void **state)
{
    desk_world_t *world = *state;
    fill_history(world);
    AUTO(json_tree) first = desk_ask_ok(world, LOG(",\"limit\":4"));
    assert_true(json_get_bool(first, "more", false));
    assert_int_equal(json_get_int(first, "before", 0), 16);
    assert_true(json_get_int(first, "searched_to_ms", 0) > 0);
    AUTO(json_tree) last = desk_ask_ok(world, LOG(",\"before\":4,\"since_ms\":5"));
    assert_false(json_get_bool(last, "more", true));
    assert_int_equal(json_get_int(last, "searched_to_ms", 0), 5);
}

/* More than fits into one answer: next leads through all of it. */
static void a_long_fill_goes_on(void **state)
{
    desk_world_t *world = *state;
    for (int n = 1; n <= 2500; n++)
        world_accept(world->history, n, "1");
    world_commit(world->history);
    int64_t from = 1, records = 0, answers = 0;
    while (from) {
        AUTO_BUF question = {0};
        buf_printf(&question, "{\"from\":%lld,\"to\":99999}", (long long)from);
        AUTO(json_tree) answer = desk_ask_ok(world, question.data);
        const json_tree_t *list = json_get(answer, "records");
        for (size_t i = 0; i < list->u.array.len; i++)
            assert_int_equal(json_get_int(list->u.array.values[i], "audit_id", 0), ++records);
        from = json_get_int(answer, "next", 0);
        assert_int_equal(json_get_int(answer, "oldest", 0), 1);
        answers++;
    }
    assert_int_equal(records, 2500);
    assert_int_equal(answers, 3);
}

static void an_event_is_told_with_its_replays(void **state)
{
    desk_world_t *world = *state;
    fill_history(world);
    record_t replay = {.topic = SLICE("event.accepted"),
                       .event_id = SLICE("02REPLAY000000000000000001"),
                       .webhook_id = SLICE("01EVENT0000000000000000003"),
                       .replay = 1,
                       .replay_handler = 8};
    world_send(world->history, &replay);
    world_commit(world->history);
    desk_assert_ids(world, "{\"op\":\"event\",\"event_id\":\"01EVENT0000000000000000003\"}",
                    "9 10 11 12 21");
    desk_assert_ids(world, "{\"op\":\"event\",\"event_id\":\"02REPLAY000000000000000001\"}", "21");
    AUTO(json_tree)
    answer = desk_ask_ok(world, "{\"op\":\"event\",\"event_id\":\"01EVENT0000000000000000003\"}");
    const json_tree_t *event = json_get(answer, "event");
    assert_string_equal(json_get_str(event, "topic"), "event.accepted");
    const json_tree_t *data = json_get(json_get(event, "body"), "data");
    assert_string_equal(json_get(data, "n")->u.number.r, "0.10");
    const json_tree_t *delivery = json_get(answer, "records")->u.array.values[1];
    assert_string_equal(json_get_str(delivery, "request"), "POST /api HTTP/1.1");
    assert_string_equal(json_get_str(delivery, "delivery_id"), "01EVENT0000000000000000003-7");
}

static void an_event_may_be_known_by_its_deliveries_only(void **state)
{
    desk_world_t *world = *state;
    world_deliver(world->history, "delivered", 1, "1", 7, "x");
    world_commit(world->history);
    AUTO(json_tree)
    answer = desk_ask_ok(world, "{\"op\":\"event\",\"event_id\":\"01EVENT0000000000000000001\"}");
    assert_true(YAJL_IS_NULL(json_get(answer, "event")));
    desk_assert_ids(world, "{\"op\":\"event\",\"event_id\":\"01EVENT0000000000000000001\"}", "1");
}

static void a_removed_segment_is_passed_by(void **state)
{
    desk_world_t *world = *state;
    use_small_segments(world);
    fill_history(world);
    archive_rest(world->desk.archive, true);
    assert_int_equal(segment_remove(world->history->folder.path, 1), RESULT_OK);
    AUTO(json_tree) answer = desk_ask_ok(world, "{\"from\":1,\"to\":99}");
    assert_true(json_get_int(json_get(answer, "records")->u.array.values[0], "audit_id", 0) > 1);
    shelf_remove_first(history_shelf(world->history->history));
    AUTO(json_tree) rest = desk_ask_ok(world, "{\"from\":1,\"to\":99}");
    assert_true(json_get_int(rest, "oldest", 0) > 1);
}

/* Garbage that opening does not see. */
static void spoil(const folder_t *folder, const char *name)
{
    FILE *file = fopen(folder_file(folder, name), "r+");
    assert_non_null(file);
    fseek(file, 4096, SEEK_SET);
    for (int64_t i = folder_file_size(folder, name) - 4096; i > 0; i--)
        fputc('x', file);
    fclose(file);
}

static void assert_damaged(const json_tree_t *answer, int64_t from, int64_t to)
{
    const json_tree_t *ranges = json_get(answer, "damaged");
    assert_true(YAJL_IS_ARRAY(ranges) && ranges->u.array.len == 1);
    assert_int_equal(json_get_int(ranges->u.array.values[0], "from", 0), from);
    assert_int_equal(json_get_int(ranges->u.array.values[0], "to", 0), to);
}

/* Each of the questions may be the one that finds it. */
static void a_damaged_segment_is_passed_by_and_set_aside(void **state)
{
    static const case_t asked[] = {
        {"{\"from\":1,\"to\":20}", "1 2 3 4 9 10 11 12 13 14 15 16 17 18 19 20"},
        {LOG(""), "20 19 18 16 15 14 12 11 10 4 3 2"},
        {LOG(",\"object_id\":\"a b\""), "16 15 14"},
        {"{\"op\":\"event\",\"event_id\":\"01EVENT0000000000000000001\"}", "1 2 3 4"},
    };
    const char *name = "segment-00000000000000000005.db";
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        void *fresh = NULL;
        if (desk_setup(&fresh) != 0 || !fresh) {
            fail();
            return;
        }
        desk_world_t *world = fresh;
        const folder_t *folder = &world->history->folder;
        use_small_segments(world);
        fill_history(world);
        archive_rest(world->desk.archive, true);
        spoil(folder, name);
        desk_assert_ids(world, asked[i].question, asked[i].ids);
        assert_false(world->effect.failed);
        world_run(world->history, world_has_set_aside);
        assert_int_equal(folder_file_size(folder, name), -1);
        assert_true(folder_file_size(folder, "segment-00000000000000000005.db.damaged") > 0);
        for (size_t again = 0; again < sizeof asked / sizeof *asked; again++) {
            AUTO(json_tree) answer = desk_ask_ok(world, asked[again].question);
            assert_damaged(answer, 5, 8);
            desk_assert_ids(world, asked[again].question, asked[again].ids);
        }
        AUTO(json_tree)
        lost = desk_ask(world, "{\"op\":\"event\",\"event_id\":\"01EVENT0000000000000000002\"}");
        assert_false(json_get_bool(lost, "ok", true));
        assert_damaged(lost, 5, 8);
        assert_int_equal(desk_teardown(&fresh), 0);
    }
    (void)state;
}

/* Marks live there: it is for a human, and the question is refused. */
static void a_damaged_live_segment_is_never_set_aside(void **state)
{
    desk_world_t *world = *state;
    world_accept(world->history, 1, "1");
    world_commit(world->history);
    shelf_t *shelf = history_shelf(world->history->history);
    shelf_set_damaged(shelf, 1);
    assert_false(shelf_is_damaged(shelf, 1));
    desk_assert_ids(world, "{\"from\":1,\"to\":99}", "1");
}

static void text_is_found_in_any_case(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
        bool found;
    } texts[] = {
        {"abc", "", true},   {"", "", true},
        {"", "a", false},    {"abc", "ABC", true},
        {"abc", "BC", true}, {"abc", "c", true},
        {"abc", "d", false}, {"ab", "abc", false},
        {"aab", "ab", true}, {"a\xc3\xa4", "\xc3\xa4", true},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (search_contains(slice_of(texts[i].text), slice_of(texts[i].part)) != texts[i].found)
            fail_msg("\"%s\" in \"%s\"", texts[i].part, texts[i].text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, desk_setup, desk_teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_live_segment_is_asked),
        TEST(many_sealed_segments_are_asked),
        TEST(bad_questions_are_told_why),
        TEST(a_limited_answer_says_where_to_go_on),
        TEST(a_long_fill_goes_on),
        TEST(an_event_is_told_with_its_replays),
        TEST(an_event_may_be_known_by_its_deliveries_only),
        TEST(a_removed_segment_is_passed_by),
        TEST(a_damaged_live_segment_is_never_set_aside),
        cmocka_unit_test(a_damaged_segment_is_passed_by_and_set_aside),
        cmocka_unit_test(text_is_found_in_any_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
