#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/service/audit_window.h"

enum { REPEAT_MS = 1000, SILENCE_MS = 3000 };

static const audit_limits_t limits = {
    .records_max = 5,
    .bytes_max = 100,
    .message_bytes = 10,
    .messages_max = 5,
    .repeat_ms = REPEAT_MS,
    .silence_ms = SILENCE_MS,
};

/* Records "a", "bb": texts separated by spaces. */
static void add(audit_window_t *window, const char *texts)
{
    for (const char *at = texts; *at; at += strspn(at, " ")) {
        size_t size = strcspn(at, " ");
        audit_window_add(window, (slice_t){at, size});
        at += size;
    }
}

/* Everything that is to be sent now, messages as "first:records ". */
static void expect_sent(audit_window_t *window, int64_t now_ms, const char *expected)
{
    AUTO_BUF all = {0};
    audit_message_t message;
    while (audit_window_take(window, now_ms, &message)) {
        assert_int_equal(message.oldest, audit_window_marked(window) + 1);
        buf_printf(&all, "%lld:%s ", (long long)message.first, message.records.data);
        buf_release(&message.records);
    }
    assert_string_equal(buf_slice(&all).data, expected);
}

static audit_window_t *alive_window(int64_t now_ms)
{
    audit_window_t *window = audit_window_new(&limits);
    audit_window_join(window);
    audit_window_beat(window, now_ms);
    return window;
}

static void nothing_is_sent_before_somebody_listens(void **state)
{
    (void)state;
    AUTO(audit_window) window = audit_window_new(&limits);
    add(window, "a b");
    expect_sent(window, 0, "");
    audit_window_beat(window, 0); /* heard, but it has not subscribed */
    expect_sent(window, 0, "");
    assert_false(audit_window_alive(window, 0));
    audit_window_join(window);
    assert_true(audit_window_alive(window, 0));
    expect_sent(window, 0, "1:ab ");
}

static void a_subscriber_that_is_not_heard_gets_nothing(void **state)
{
    (void)state;
    AUTO(audit_window) window = audit_window_new(&limits);
    add(window, "a");
    audit_window_join(window);
    expect_sent(window, 0, "");
    audit_window_beat(window, 10);
    expect_sent(window, 10, "1:a ");
}

static void a_burst_leaves_in_messages_of_bounded_size(void **state)
{
    (void)state;
    AUTO(audit_window) window = alive_window(0);
    add(window, "aaaa bbbb cccc 0123456789abcdef d");
    expect_sent(window, 0, "1:aaaabbbb 3:cccc 4:0123456789abcdef 5:d ");
    add(window, "e");
    expect_sent(window, 0, "6:e ");
}

static void room_ends_by_number_and_by_bytes(void **state)
{
    (void)state;
    AUTO(audit_window) window = alive_window(0);
    add(window, "1 2 3 4");
    assert_true(audit_window_room(window));
    add(window, "5");
    assert_false(audit_window_room(window));
    expect_sent(window, 0, "1:12345 ");
    assert_true(audit_window_mark(window, 1, 0));
    assert_true(audit_window_room(window));
    char big[101];
    memset(big, 'x', 100);
    big[100] = 0;
    add(window, big);
    assert_int_equal(audit_window_bytes(window), 104);
    assert_false(audit_window_room(window));
    assert_true(audit_window_mark(window, 5, 0));
    assert_false(audit_window_room(window)); /* 100 bytes alone */
    assert_true(audit_window_mark(window, 6, 0));
    assert_true(audit_window_room(window));
}

static void marks_that_mean_nothing_are_ignored(void **state)
{
    (void)state;
    AUTO(audit_window) window = alive_window(0);
    add(window, "a b c");
    expect_sent(window, 0, "1:abc ");
    static const struct {
        int64_t number;
        bool news;
    } cases[] = {{0, false}, {2, true},   {2, false},         {1, false},
                 {4, false}, {-1, false}, {INT64_MAX, false}, {3, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (audit_window_mark(window, cases[i].number, 0) != cases[i].news)
            fail_msg("mark %lld", (long long)cases[i].number);
    assert_int_equal(audit_window_marked(window), 3);
    assert_int_equal(audit_window_bytes(window), 0);
}

static void without_progress_one_message_probes(void **state)
{
    (void)state;
    AUTO(audit_window) window = alive_window(0);
    add(window, "aaaaaaaaa bbbbbbbbb c");
    expect_sent(window, 0, "1:aaaaaaaaa 2:bbbbbbbbbc ");
    assert_int_equal(audit_window_tick(window, 999), 1);
    expect_sent(window, 999, "");
    assert_int_equal(audit_window_tick(window, 1000), REPEAT_MS);
    expect_sent(window, 1000, "1:aaaaaaaaa ");
    add(window, "d");
    expect_sent(window, 1500, ""); /* the probe is on its way */
    audit_window_beat(window, 1900);
    assert_int_equal(audit_window_tick(window, 2000), REPEAT_MS);
    expect_sent(window, 2000, "1:aaaaaaaaa ");
    assert_true(audit_window_mark(window, 1, 2001));
    expect_sent(window, 2001, "2:bbbbbbbbbc 4:d ");
    assert_int_equal(audit_window_repeated(window), 4); /* three, then the probe itself */
}

static void a_slow_receiver_gets_nothing_twice_but_the_probe(void **state)
{
    (void)state;
    AUTO(audit_window) window = alive_window(0);
    add(window, "aaaaaaaaa bbbbbbbbb c");
    expect_sent(window, 0, "1:aaaaaaaaa 2:bbbbbbbbbc ");
    (void)audit_window_tick(window, 1000);
    expect_sent(window, 1000, "1:aaaaaaaaa ");
    assert_true(audit_window_mark(window, 3, 1100)); /* it had them all */
    expect_sent(window, 1100, "");
    assert_int_equal(audit_window_tick(window, 1100), -1);
}

static void progress_restarts_the_clock(void **state)
{
    (void)state;
    AUTO(audit_window) window = alive_window(0);
    add(window, "a b");
    expect_sent(window, 0, "1:ab ");
    assert_true(audit_window_mark(window, 1, 900));
    assert_int_equal(audit_window_tick(window, 1000), 900);
    assert_true(audit_window_mark(window, 2, 1000));
    assert_int_equal(audit_window_tick(window, 1000), -1); /* nothing on its way: no timer */
    add(window, "c");
    expect_sent(window, 2500, "3:c ");
    assert_int_equal(audit_window_tick(window, 2600), REPEAT_MS - 100);
}

static void silence_stops_and_a_beat_starts_again(void **state)
{
    (void)state;
    AUTO(audit_window) window = alive_window(0);
    add(window, "a b");
    expect_sent(window, 0, "1:ab ");
    assert_true(audit_window_alive(window, SILENCE_MS));
    assert_false(audit_window_alive(window, SILENCE_MS + 1));
    add(window, "c");
    expect_sent(window, SILENCE_MS + 1, "");
    assert_int_equal(audit_window_tick(window, SILENCE_MS + 1), -1);
    audit_window_beat(window, 9000);
    expect_sent(window, 9000, "1:abc ");
    audit_window_beat(window, 9500);
    expect_sent(window, 9500, "");
}

static void a_new_subscriber_gets_everything_unmarked(void **state)
{
    (void)state;
    AUTO(audit_window) window = alive_window(0);
    add(window, "a b c");
    expect_sent(window, 0, "1:abc ");
    assert_true(audit_window_mark(window, 1, 0));
    audit_window_leave(window);
    assert_false(audit_window_alive(window, 1));
    add(window, "d");
    expect_sent(window, 1, "");
    audit_window_join(window);
    expect_sent(window, 2, "2:bcd ");
    audit_window_leave(window);
    audit_window_leave(window); /* one more than ever came */
    audit_window_join(window);
    assert_true(audit_window_alive(window, 2));
}

static void only_so_many_messages_are_on_their_way(void **state)
{
    (void)state;
    AUTO(audit_window) window = alive_window(0);
    static const char *const first[] = {"1:a ", "2:a ", "3:a ", "4:a ", "5:a "};
    for (size_t i = 0; i < 5; i++) {
        add(window, "a");
        expect_sent(window, 0, first[i]);
    }
    add(window, "b c");
    expect_sent(window, 0, "");
    assert_true(audit_window_mark(window, 2, 0));
    expect_sent(window, 0, "6:bc "); /* what waited leaves together */
    add(window, "d");
    expect_sent(window, 0, "8:d ");
    add(window, "e");
    expect_sent(window, 0, "");
    assert_int_equal(audit_window_tick(window, 1000), REPEAT_MS);
    expect_sent(window, 1000, "3:aaabcde ");
    assert_true(audit_window_mark(window, 9, 1001));
    add(window, "f");
    expect_sent(window, 1001, "10:f ");
}

static void the_ring_grows_past_its_first_size(void **state)
{
    (void)state;
    audit_limits_t wide = limits;
    wide.records_max = 100000;
    wide.bytes_max = 1 << 20;
    wide.message_bytes = 1 << 20;
    AUTO(audit_window) window = audit_window_new(&wide);
    audit_window_join(window);
    audit_window_beat(window, 0);
    for (int i = 0; i < 50; i++)
        add(window, "x");
    expect_sent(window, 0, "1:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ");
    assert_true(audit_window_mark(window, 49, 0));
    for (int i = 0; i < 1000; i++)
        add(window, "y");
    audit_message_t message;
    assert_true(audit_window_take(window, 0, &message));
    assert_int_equal(message.first, 51);
    assert_int_equal(message.count, 1000);
    assert_int_equal(message.records.size, 1000);
    buf_release(&message.records);
    assert_true(audit_window_mark(window, 1050, 0));
    assert_int_equal(audit_window_bytes(window), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_sent_before_somebody_listens),
        cmocka_unit_test(a_subscriber_that_is_not_heard_gets_nothing),
        cmocka_unit_test(a_burst_leaves_in_messages_of_bounded_size),
        cmocka_unit_test(room_ends_by_number_and_by_bytes),
        cmocka_unit_test(marks_that_mean_nothing_are_ignored),
        cmocka_unit_test(without_progress_one_message_probes),
        cmocka_unit_test(a_slow_receiver_gets_nothing_twice_but_the_probe),
        cmocka_unit_test(progress_restarts_the_clock),
        cmocka_unit_test(silence_stops_and_a_beat_starts_again),
        cmocka_unit_test(a_new_subscriber_gets_everything_unmarked),
        cmocka_unit_test(only_so_many_messages_are_on_their_way),
        cmocka_unit_test(the_ring_grows_past_its_first_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
