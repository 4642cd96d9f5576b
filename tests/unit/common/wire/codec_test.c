#include "tests/support/unit.h"

#include "common/wire/codec.h"
#include "common/wire/messages.h"

static void several_structs_share_a_frame(void **state)
{
    (void)state;
    AUTO_BUF frame = {0};
    receipted_t a = {SLICE("01A"), 0}, b = {SLICE("01B"), 1}, got;
    codec_add(&receipted_table, &a, &frame);
    codec_add(&receipted_table, &b, &frame);
    codec_reader_t reader;
    codec_reader_init(&reader, buf_slice(&frame));
    assert_int_equal(codec_next(&reader, &receipted_table, &got), RESULT_OK);
    assert_true(slice_is(got.event_id, "01A") && got.unmatched == 0);
    assert_int_equal(codec_next(&reader, &receipted_table, &got), RESULT_OK);
    assert_true(slice_is(got.event_id, "01B") && got.unmatched == 1);
    assert_int_equal(codec_next(&reader, &receipted_table, &got), RESULT_NOT_FOUND);
    assert_int_equal(codec_decode(buf_slice(&frame), &receipted_table, &got), RESULT_INVALID);
}

static void absent_is_not_empty(void **state)
{
    (void)state;
    AUTO_BUF frame = {0};
    event_t event = {.id = SLICE("1"),
                     .events_id = SLICE("e"),
                     .object_kind = SLICE(""),
                     .body = SLICE("{}")},
            got;
    codec_add(&event_table, &event, &frame);
    assert_int_equal(codec_decode(buf_slice(&frame), &event_table, &got), RESULT_OK);
    assert_null(got.object_id.data);
    assert_non_null(got.object_kind.data);
    assert_int_equal(got.object_kind.size, 0);
}

/* Frames written by hand: fixmap, field numbers, values. */
static void odd_frames(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        slice_t frame;
        result_t result;
    } cases[] = {
        {"as written", {"\x82\x01\xc4\x01x\x02\x01", 7}, RESULT_OK},
        {"text for bytes", {"\x82\x01\xa1x\x02\x01", 6}, RESULT_OK},
        {"unknown field", {"\x83\x01\xa1x\x02\x01\x7f\x93\x01\x02\x03", 11}, RESULT_OK},
        {"unknown key type", {"\x82\xa1k\xc0\x01\xa1x", 7}, RESULT_OK},
        {"required missing", {"\x81\x02\x01", 3}, RESULT_INVALID},
        {"wrong type", {"\x82\x01\x05\x02\x01", 5}, RESULT_INVALID},
        {"int as text", {"\x82\x01\xa1x\x02\xa1y", 7}, RESULT_INVALID},
        {"not a map", {"\x91\x01", 2}, RESULT_INVALID},
        {"truncated", {"\x82\x01\xc4\x05x", 5}, RESULT_INVALID},
        {"empty", {"", 0}, RESULT_INVALID},
        {"reserved byte", {"\xc1", 1}, RESULT_INVALID},
        {"array bomb", {"\x82\x01\xa1x\x02\xdd\xff\xff\xff\xff", 10}, RESULT_INVALID},
        {"map bomb", {"\xdf\xff\xff\xff\xff", 5}, RESULT_INVALID},
        {"too deep", {"\x82\x01\xa1x\x7f\x91\x91\x91\x91\x91\x91\x01", 12}, RESULT_INVALID},
        {"uint64 above int64",
         {"\x82\x01\xa1x\x02\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 14},
         RESULT_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        receipted_t got;
        result_t r = codec_decode(cases[i].frame, &receipted_table, &got);
        if (r != cases[i].result)
            fail_msg("%s gave %s", cases[i].name, result_str(r));
        if (r == RESULT_OK)
            assert_true(slice_is(got.event_id, "x"));
    }
}

/* msgpack's shortest form of every number and of every length of bytes; each is read again. */
static void values_are_as_short_as_can_be(void **state)
{
    (void)state;
    static const struct {
        int64_t number;
        slice_t written;
    } cases[] = {
        {1, {"\x01", 1}},
        {127, {"\x7f", 1}},
        {128, {"\xcc\x80", 2}},
        {255, {"\xcc\xff", 2}},
        {256, {"\xcd\1\0", 3}},
        {65536, {"\xce\0\1\0\0", 5}},
        {UINT32_MAX + 1ll, {"\xcf\0\0\0\1\0\0\0\0", 9}},
        {INT64_MAX, {"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9}},
        {-1, {"\xff", 1}},
        {-32, {"\xe0", 1}},
        {-33, {"\xd0\xdf", 2}},
        {-129, {"\xd1\xff\x7f", 3}},
        {-32769, {"\xd2\xff\xff\x7f\xff", 5}},
        {INT32_MIN - 1ll, {"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff", 9}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF frame = {0};
        receipted_t item = {SLICE("x"), cases[i].number}, got;
        codec_add(&receipted_table, &item, &frame);
        slice_t tail = {frame.data + 5, frame.size - 5};
        assert_memory_equal(frame.data, "\x82\x01\xc4\x01x", 5);
        if (tail.data[0] != 2 ||
            !slice_equal((slice_t){tail.data + 1, tail.size - 1}, cases[i].written))
            fail_msg("%lld", (long long)cases[i].number);
        assert_int_equal(codec_decode(buf_slice(&frame), &receipted_table, &got), RESULT_OK);
        assert_true(got.unmatched == cases[i].number);
    }
}

/* By msgpack's signed forms too, whichever is chosen by who writes. */
static void every_form_of_a_number_is_read(void **state)
{
    (void)state;
    static const struct {
        int64_t number;
        slice_t written;
    } cases[] = {
        {5, {"\xd0\x05", 2}},
        {-5, {"\xd0\xfb", 2}},
        {5, {"\xd1\0\x05", 3}},
        {-5, {"\xd1\xff\xfb", 3}},
        {-5, {"\xd2\xff\xff\xff\xfb", 5}},
        {-5, {"\xd3\xff\xff\xff\xff\xff\xff\xff\xfb", 9}},
        {5, {"\xcf\0\0\0\0\0\0\0\5", 9}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        receipted_t got;
        AUTO_BUF frame = {0};
        buf_add(&frame, "\x82\xd0\x02", 3); /* also as a key, and out of order */
        buf_add_slice(&frame, cases[i].written);
        buf_add(&frame, "\x01\xd9\x01x", 4);
        assert_int_equal(codec_decode(buf_slice(&frame), &receipted_table, &got), RESULT_OK);
        assert_true(got.unmatched == cases[i].number && slice_is(got.event_id, "x"));
    }
}

static void skip_knows_every_format(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t size;
    } cases[] = {
        {"\x00", 1},
        {"\xff", 1},
        {"\xc0", 1},
        {"\xc2", 1},
        {"\xc4\x01x", 3},
        {"\xc5\0\1x", 4},
        {"\xc6\0\0\0\1x", 6},
        {"\xc7\1\0x", 4},
        {"\xc8\0\1\0x", 5},
        {"\xc9\0\0\0\1\0x", 7},
        {"\xca\0\0\0\0", 5},
        {"\xcb\0\0\0\0\0\0\0\0", 9},
        {"\xcc\0", 2},
        {"\xcd\0\0", 3},
        {"\xce\0\0\0\0", 5},
        {"\xcf\0\0\0\0\0\0\0\0", 9},
        {"\xd0\0", 2},
        {"\xd3\0\0\0\0\0\0\0\0", 9},
        {"\xd4\0x", 3},
        {"\xd5\0xx", 4},
        {"\xd6\0xxxx", 6},
        {"\xd7\0xxxxxxxx", 10},
        {"\xd8\0xxxxxxxxxxxxxxxx", 18},
        {"\xd9\1x", 3},
        {"\xda\0\1x", 4},
        {"\xdb\0\0\0\1x", 6},
        {"\xdc\0\1\1", 4},
        {"\xdd\0\0\0\1\1", 6},
        {"\xde\0\1\1\1", 5},
        {"\xdf\0\0\0\1\1\1", 7},
        {"\x81\x01\x02", 3},
        {"\x92\x01\x02", 3},
        {"\xa2xy", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t size = 0; size < cases[i].size; size++) {
            size_t at = 0;
            assert_int_equal(codec_skip((slice_t){cases[i].data, size}, 8, &at), RESULT_INVALID);
        }
        size_t at = 0;
        assert_int_equal(codec_skip((slice_t){cases[i].data, cases[i].size}, 8, &at), RESULT_OK);
        assert_int_equal(at, cases[i].size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_structs_share_a_frame),
        cmocka_unit_test(absent_is_not_empty),
        cmocka_unit_test(odd_frames),
        cmocka_unit_test(values_are_as_short_as_can_be),
        cmocka_unit_test(every_form_of_a_number_is_read),
        cmocka_unit_test(skip_knows_every_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
