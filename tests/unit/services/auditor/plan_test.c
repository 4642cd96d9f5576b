#include "tests/support/desk_world.h"

#include "services/auditor/plan.h"

/* Plays what the replayer does: asks for pages, and answers each item at once. What it sent, as
 * "event>handler#replay". */
static void play(desk_world_t *world, int64_t job, size_t pages_max, buf_t *ret_sent)
{
    plan_progress_t progress = {0};
    for (size_t pages = 0; pages < pages_max; pages++) {
        plan_page_t page;
        fault_t fault = {""};
        result_t r = plan_next(&world->desk, job, &progress, &page, &fault);
        if (r != RESULT_OK)
            fail_msg("%s", fault.text);
        progress = (plan_progress_t){0};
        for (size_t i = 0; i < page.n_items; i++) {
            const plan_item_t *item = &page.items[i];
            buf_printf(ret_sent, "%s%d>%lld#%lld%s", ret_sent->size ? " " : "",
                       atoi(item->item.original_id + 7), (long long)item->item.handler_id,
                       (long long)item->item.replay, item->missing ? "?" : "");
            progress.done_id = item->item.audit_id;
            progress.sent += !item->missing;
        }
        bool finished = page.finished;
        plan_page_release(&page);
        if (finished)
            return;
    }
}

static int64_t start(desk_world_t *world, const char *members)
{
    AUTO_BUF question = {0};
    buf_printf(&question, "{\"op\":\"replay\",%s}", members);
    AUTO(json_tree) answer = desk_ask_ok(world, question.data);
    int64_t job = json_get_int(answer, "job", 0);
    assert_int_equal(world->effect.job, job);
    return job;
}

static void assert_replay(desk_world_t *world, const char *members, const char *expected)
{
    AUTO_BUF sent = {0};
    buf_add_str(&sent, "");
    int64_t job = start(world, members);
    play(world, job, 100, &sent);
    if (strcmp(sent.data ? sent.data : "", expected) != 0)
        fail_msg("%s\n  sent     %s\n  expected %s", members, sent.data, expected);
}

static void assert_status(desk_world_t *world, int64_t job, const char *state, int64_t total,
                          int64_t sent, int64_t skipped)
{
    AUTO_BUF question = {0};
    buf_printf(&question, "{\"op\":\"replay_status\",\"job\":%lld}", (long long)job);
    AUTO(json_tree) answer = desk_ask_ok(world, question.data);
    assert_string_equal(json_get_str(answer, "state"), state);
    assert_int_equal(json_get_int(answer, "total", -1), total);
    assert_int_equal(json_get_int(answer, "sent", -1), sent);
    assert_int_equal(json_get_int(answer, "skipped", -1), skipped);
}

static void end(desk_world_t *world, const char *outcome, int event, const char *object_id,
                int64_t handler_id)
{
    world_deliver(world->history, outcome, event, object_id, handler_id, "x");
}

/* Handler 7:  1 exhausted (A)   2 exhausted (B)   3 delivered (A)   4 exhausted (no object)
 *             5 cancelled (B)   6 exhausted (A)   7 delivered ("B" of another kind)
 * Handler 8:  8 delivered (A), 1 exhausted (A) */
static void fill_history(desk_world_t *world)
{
    static const char *const objects[] = {"1", "2", "1", NULL, "2", "1", "2", "1"};
    for (int n = 1; n <= 8; n++)
        world_accept(world->history, n, objects[n - 1]);
    end(world, "exhausted", 1, "1", 7);
    end(world, "exhausted", 1, "1", 8);
    end(world, "exhausted", 2, "2", 7);
    end(world, "retrying", 3, "1", 7);
    end(world, "delivered", 3, "1", 7);
    end(world, "exhausted", 4, NULL, 7);
    end(world, "cancelled", 5, "2", 7);
    end(world, "exhausted", 6, "1", 7);
    world_id_t id = world_event(7);
    record_t other = {.topic = SLICE("delivery.delivered"),
                      .event_id = slice_of(id.text),
                      .object_kind = SLICE("account"),
                      .object_id = SLICE("2"),
                      .handler_id = 7,
                      .attempt = 1};
    world_send(world->history, &other);
    end(world, "delivered", 8, "1", 8);
    world_commit(world->history);
}

static void what_ended_is_replayed_once_and_in_order(void **state)
{
    desk_world_t *world = *state;
    fill_history(world);
    assert_replay(world, "\"handler_id\":7", "2>7#1 4>7#1 6>7#1");
    assert_status(world, 1, "done", 4, 3, 1);
    assert_replay(world, "\"handler_id\":7,\"superseded\":true", "1>7#1 2>7#2 4>7#2 6>7#2");
    assert_replay(world, "\"handler_id\":7,\"status\":\"cancelled\"", "5>7#1");
    assert_replay(world, "\"handler_id\":7,\"status\":\"failed\"", "2>7#3 4>7#3 5>7#2 6>7#3");
    assert_replay(world, "\"handler_id\":7,\"status\":\"delivered\"", "3>7#1 7>7#1");
    assert_replay(world, "\"handler_id\":8", "");
    assert_replay(world, "\"handler_id\":9", "");
    assert_replay(world, "\"handler_id\":7,\"until_ms\":5", "");
}

static void one_event_goes_to_whoever_had_it(void **state)
{
    desk_world_t *world = *state;
#define E "\"event_id\":\"01EVENT000000000000000000"
    fill_history(world);
    assert_replay(world, E "8\"", "8>8#1");
    assert_replay(world, E "1\",\"superseded\":true", "1>7#1 1>8#1");
    assert_replay(world, E "1\"", "");
    assert_replay(world, E "1\",\"superseded\":true,\"handler_id\":8", "1>8#2");
    assert_replay(world, E "6\",\"handler_id\":9", "6>9#1"); /* it never went there */
    assert_replay(world, E "6\",\"handler_id\":9", "6>9#2");
    AUTO(json_tree) none = desk_ask(world, "{\"op\":\"replay\"," E "8\",\"status\":\"exhausted\"}");
    assert_non_null(strstr(json_get_str(none, "error"), "nothing to replay"));
}

/* The event of a replay is the original's; and what was delivered by it does not go again. */
static void replays_are_known_by_their_original(void **state)
{
    desk_world_t *world = *state;
    fill_history(world);
    record_t accepted = {.topic = SLICE("event.accepted"),
                         .event_id = SLICE("02REPLAY000000000000000001"),
                         .webhook_id = SLICE("01EVENT0000000000000000002"),
                         .object_kind = SLICE("client"),
                         .object_id = SLICE("2"),
                         .body = SLICE("{}"),
                         .replay = 1,
                         .replay_handler = 7};
    record_t exhausted = accepted, delivered = accepted;
    exhausted.topic = SLICE("delivery.exhausted");
    exhausted.handler_id = 7;
    exhausted.replay_handler = 0;
    world_send(world->history, &accepted);
    world_send(world->history, &exhausted);
    world_commit(world->history);
    assert_replay(world, "\"handler_id\":7", "2>7#2 4>7#1 6>7#1"); /* it ended twice */
    assert_status(world, 1, "done", 4, 3, 1);
    assert_replay(world, "\"event_id\":\"02REPLAY000000000000000001\"", "2>7#3");
    delivered = exhausted;
    delivered.topic = SLICE("delivery.delivered");
    delivered.event_id = SLICE("02REPLAY000000000000000002");
    world_send(world->history, &delivered);
    world_commit(world->history);
    assert_replay(world, "\"handler_id\":7", "4>7#2 6>7#2");
    assert_replay(world, E "2\"", "2>7#4"); /* asked for by name */
}

static void the_same_holds_for_sealed_segments(void **state)
{
    desk_world_t *world = *state;
    desk_close(world);
    world_close(world->history);
    world->history->settings.segment_records = 18;
    world_open(world->history);
    desk_open(world);
    fill_history(world);
    world_run(world->history, desk_has_turned);
    for (int n = 20; n < 25; n++)
        world_accept(world->history, n, "5");
    world_commit(world->history);
    world_run(world->history, desk_is_sealed);
    assert_replay(world, "\"handler_id\":7", "2>7#1 4>7#1 6>7#1");
    assert_replay(world, "\"handler_id\":7,\"superseded\":true", "1>7#1 2>7#2 4>7#2 6>7#2");
    assert_replay(world, E "8\"", "8>8#1");
}

/* Later records are not part of a job, however many pages it has. */
static void many_pages_end_where_history_ended(void **state)
{
    desk_world_t *world = *state;
    AUTO_BUF sent = {0};
    enum { EVENTS = CANDIDATES_MAX * 2 + 50 };
    for (int n = 1; n <= EVENTS; n++) {
        world_accept(world->history, n, NULL);
        end(world, "exhausted", n, NULL, 7);
    }
    world_commit(world->history);
    int64_t job = start(world, "\"handler_id\":7");
    play(world, job, 2, &sent);
    world_accept(world->history, EVENTS + 1, NULL);
    end(world, "exhausted", EVENTS + 1, NULL, 7);
    world_commit(world->history);
    assert_status(world, job, "running", EVENTS, 0, 0);
    buf_clear(&sent);
    play(world, job, 100, &sent);
    assert_status(world, job, "done", EVENTS, EVENTS, 0);
}

/* What was planned and has no answer comes again with the same number, also after a restart. */
static void an_interrupted_job_says_the_same_again(void **state)
{
    desk_world_t *world = *state;
    AUTO_BUF first = {0}, again = {0};
    fill_history(world);
    int64_t job = start(world, "\"handler_id\":7");
    play(world, job, 2, &first);
    assert_string_equal(first.data, "2>7#1 4>7#1 6>7#1");
    desk_close(world);
    desk_open(world);
    play(world, job, 100, &again);
    assert_string_equal(again.data, first.data);
    assert_status(world, job, "done", 4, 3, 1);
}

static void a_cancelled_job_ends(void **state)
{
    desk_world_t *world = *state;
    AUTO_BUF sent = {0};
    plan_progress_t progress = {.done_id = 1};
    fault_t fault;
    fill_history(world);
    int64_t job = start(world, "\"handler_id\":7");
    play(world, job, 1, &sent);
    AUTO(json_tree) answer = desk_ask_ok(world, "{\"op\":\"replay_cancel\",\"job\":1}");
    assert_string_equal(json_get_str(answer, "state"), "cancelled");
    assert_int_equal(world->effect.job, 1);
    assert_int_equal(plan_save(&world->desk, job, &progress, &fault), RESULT_NOT_FOUND);
    play(world, job, 1, &sent);
    assert_int_equal(sent.size, 0);
    AUTO(json_tree) twice = desk_ask_ok(world, "{\"op\":\"replay_cancel\",\"job\":1}");
    assert_string_equal(json_get_str(twice, "state"), "cancelled");
}

static void what_the_emitter_refused_is_listed(void **state)
{
    desk_world_t *world = *state;
    char refused[][ENTRY_EVENT_ID_MAX + 1] = {"01EVENT0000000000000000002"};
    plan_progress_t progress = {
        .done_id = 1, .error = "unknown event", .refused = refused, .n_refused = 1};
    fault_t fault;
    fill_history(world);
    int64_t job = start(world, "\"handler_id\":7");
    assert_int_equal(plan_save(&world->desk, job, &progress, &fault), RESULT_OK);
    AUTO(json_tree) answer = desk_ask_ok(world, "{\"op\":\"replay_status\",\"job\":1}");
    assert_string_equal(json_get_str(answer, "error"), "unknown event");
    const json_tree_t *skipped = json_get(answer, "skipped_events");
    assert_int_equal(skipped->u.array.len, 1);
    assert_string_equal(skipped->u.array.values[0]->u.string, refused[0]);
}

/* Events 1 to 3 of one object were given up, each in a segment of its own. */
static void fill_three_segments(desk_world_t *world)
{
    desk_close(world);
    world_close(world->history);
    world->history->settings.segment_records = 2;
    world_open(world->history);
    desk_open(world);
    for (int n = 1; n <= 3; n++) {
        world_accept(world->history, n, NULL);
        end(world, "exhausted", n, NULL, 7);
        world_commit(world->history);
        world_run(world->history, desk_has_turned);
    }
    world_accept(world->history, 4, "1");
    world_commit(world->history);
    world_run(world->history, desk_is_sealed);
}

/* Whether something older was superseded is known there only; what is newer, and what is wanted
 * even so, is sent. */
static void what_a_damaged_segment_may_know_better_is_not_sent(void **state)
{
    desk_world_t *world = *state;
    AUTO_BUF sent = {0};
    fill_three_segments(world);
    shelf_set_damaged(history_shelf(world->history->history), 3);
    int64_t job = start(world, "\"handler_id\":7");
    play(world, job, 100, &sent);
    assert_int_equal(sent.size, 0);
    assert_status(world, job, "failed", 2, 0, 0);
    AUTO(json_tree) answer = desk_ask_ok(world, "{\"op\":\"replay_status\",\"job\":1}");
    assert_non_null(strstr(json_get_str(answer, "error"), "from 3 to 4 is damaged"));
    assert_replay(world, "\"handler_id\":7,\"superseded\":true", "1>7#1 3>7#1");
    assert_replay(world, E "3\"", "3>7#2");
}

#define LATER "7ZZZZZZ0000000000000000009"

/* After a start only the time tells what it may hold. */
static void what_one_that_was_damaged_at_the_start_may_know_better_is_not_sent(void **state)
{
    desk_world_t *world = *state;
    AUTO_BUF sent = {0};
    record_t later = {.topic = SLICE("event.accepted"),
                      .event_id = SLICE(LATER),
                      .events_id = SLICE("clients.update"),
                      .body = SLICE("{}")};
    fill_three_segments(world);
    desk_close(world);
    world_close(world->history);
    const char *path = folder_file(&world->history->folder, "segment-00000000000000000003.db");
    assert_int_equal(truncate(path, 0), 0);
    world_open(world->history);
    desk_open(world);
    int64_t job = start(world, E "3\"");
    play(world, job, 100, &sent);
    assert_int_equal(sent.size, 0);
    assert_status(world, job, "failed", 1, 0, 0);
    world_send(world->history, &later);
    later.topic = SLICE("delivery.exhausted");
    later.handler_id = 7;
    world_send(world->history, &later);
    world_commit(world->history);
    assert_replay(world, "\"event_id\":\"" LATER "\"", "9>7#1");
}

static void an_event_that_is_gone_is_missing(void **state)
{
    desk_world_t *world = *state;
    end(world, "exhausted", 5, "1", 7); /* without its event.accepted */
    world_commit(world->history);
    assert_replay(world, "\"handler_id\":7", "5>7#1?");
}

static void the_event_comes_as_it_was(void **state)
{
    desk_world_t *world = *state;
    plan_progress_t progress = {0};
    plan_page_t page;
    fault_t fault;
    fill_history(world);
    int64_t job = start(world, "\"handler_id\":7,\"rate\":5");
    assert_int_equal(plan_next(&world->desk, job, &progress, &page, &fault), RESULT_OK);
    assert_int_equal(page.n_items, 0);
    assert_false(page.finished);
    plan_page_release(&page);
    assert_int_equal(plan_next(&world->desk, job, &progress, &page, &fault), RESULT_OK);
    assert_int_equal(page.rate, 5);
    const plan_item_t *item = &page.items[0];
    assert_true(slice_is(item->events_id, "clients.update"));
    assert_true(slice_is(item->object_kind, "client"));
    assert_true(slice_is(item->object_id, "2"));
    assert_true(slice_is(item->body, "{\"event\":{},\"data\":{\"n\":0.10}}"));
    assert_null(page.items[1].object_id.data);
    plan_page_release(&page);
}

static void as_many_jobs_run_as_are_bounded(void **state)
{
    desk_world_t *world = *state;
    fill_history(world);
    for (int i = 0; i < JOBS_RUNNING_MAX; i++)
        assert_int_equal(start(world, "\"handler_id\":7"), i + 1);
    AUTO(json_tree) one_more = desk_ask(world, "{\"op\":\"replay\",\"handler_id\":7}");
    assert_non_null(strstr(json_get_str(one_more, "error"), "are running"));
    AUTO(json_tree) list = desk_ask_ok(world, "{\"op\":\"replay_jobs\"}");
    const json_tree_t *jobs = json_get(list, "jobs");
    assert_int_equal(jobs->u.array.len, JOBS_RUNNING_MAX);
    assert_int_equal(json_get_int(jobs->u.array.values[0], "job", 0), JOBS_RUNNING_MAX);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, desk_setup, desk_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_ended_is_replayed_once_and_in_order),
        TEST(one_event_goes_to_whoever_had_it),
        TEST(replays_are_known_by_their_original),
        TEST(the_same_holds_for_sealed_segments),
        TEST(many_pages_end_where_history_ended),
        TEST(an_interrupted_job_says_the_same_again),
        TEST(a_cancelled_job_ends),
        TEST(what_the_emitter_refused_is_listed),
        TEST(what_a_damaged_segment_may_know_better_is_not_sent),
        TEST(what_one_that_was_damaged_at_the_start_may_know_better_is_not_sent),
        TEST(an_event_that_is_gone_is_missing),
        TEST(the_event_comes_as_it_was),
        TEST(as_many_jobs_run_as_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
