#include "tests/support/unit.h"

#include "services/emitter/answer.h"

static const answer_t accepted = {.status = ANSWER_ACCEPTED, .id = {"01KDVDNG00A1B2C3D4E5F6G7H8"}};
static const answer_t duplicate = {.status = ANSWER_DUPLICATE,
                                   .id = {"01KDVDNG00A1B2C3D4E5F6G7H8"}};
static const answer_t busy = {.status = ANSWER_BUSY, .retry_after_ms = 1000};

static answer_t rejected(void)
{
    return (answer_t){
        .status = ANSWER_REJECTED,
        .error = {INTAKE_UNKNOWN_EVENT, SLICE("say \"what\"\xff"), SLICE("/event/events_id")}};
}

static void json_answers(void **state)
{
    (void)state;
    const answer_t refusal = rejected();
    const struct {
        const char *name;
        const answer_t *answer;
        const char *text;
    } cases[] = {
        {"accepted", &accepted, "{\"status\":\"accepted\",\"id\":\"01KDVDNG00A1B2C3D4E5F6G7H8\"}"},
        {"duplicate", &duplicate,
         "{\"status\":\"duplicate\",\"id\":\"01KDVDNG00A1B2C3D4E5F6G7H8\"}"},
        {"busy", &busy, "{\"status\":\"busy\",\"retry_after_ms\":1000}"},
        {"rejected", &refusal,
         "{\"status\":\"rejected\",\"error\":{\"code\":\"unknown_event\",\"message\":\"say "
         "\\\"what\\\"\xef\xbf\xbd\",\"path\":\"/event/events_id\"}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF text = {0};
        answer_add(INTAKE_JSON, 0, cases[i].answer, &text);
        if (!slice_is(buf_slice(&text), cases[i].text))
            fail_msg("%s: %s", cases[i].name, text.data);
    }
}

static void msgpack_answers(void **state)
{
    (void)state;
    const answer_t refusal = rejected();
    const struct {
        const char *name;
        const answer_t *answer;
        const char *text;
    } cases[] = {
        {"accepted", &accepted,
         "\x82\xa6status\xa8"
         "accepted\xa2id\xba"
         "01KDVDNG00A1B2C3D4E5F6G7H8"},
        {"duplicate", &duplicate,
         "\x82\xa6status\xa9"
         "duplicate\xa2id\xba"
         "01KDVDNG00A1B2C3D4E5F6G7H8"},
        {"busy", &busy,
         "\x82\xa6status\xa4"
         "busy\xaeretry_after_ms\xcd\x03\xe8"},
        {"rejected", &refusal,
         "\x82\xa6status\xa8rejected\xa5"
         "error\x83\xa4"
         "code\xadunknown_event\xa7message\xadsay "
         "\"what\"\xef\xbf\xbd\xa4path\xb0/event/events_id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF text = {0};
        answer_add(INTAKE_MSGPACK, 0, cases[i].answer, &text);
        if (!slice_is(buf_slice(&text), cases[i].text))
            fail_msg("%s: %s", cases[i].name, text.data);
    }
}

static void arrays(void **state)
{
    (void)state;
    AUTO_BUF json = {0}, msgpack = {0}, empty = {0}, one = {0};
    answer_open_array(INTAKE_JSON, 2, &json);
    answer_open_array(INTAKE_MSGPACK, 2, &msgpack);
    for (size_t i = 0; i < 2; i++) {
        answer_add(INTAKE_JSON, i, &busy, &json);
        answer_add(INTAKE_MSGPACK, i, &busy, &msgpack);
    }
    answer_close_array(INTAKE_JSON, &json);
    answer_close_array(INTAKE_MSGPACK, &msgpack);
    assert_string_equal(json.data, "[{\"status\":\"busy\",\"retry_after_ms\":1000},"
                                   "{\"status\":\"busy\",\"retry_after_ms\":1000}]");
    assert_int_equal((unsigned char)msgpack.data[0], 0x92);
    answer_add(INTAKE_MSGPACK, 0, &busy, &one);
    assert_int_equal(msgpack.size, 1 + 2 * one.size);
    answer_open_array(INTAKE_JSON, 0, &empty);
    answer_close_array(INTAKE_JSON, &empty);
    assert_string_equal(empty.data, "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_answers),
        cmocka_unit_test(msgpack_answers),
        cmocka_unit_test(arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
