#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "services/auditor/record_json.h"

#define EVENT "01JGFJJZ00ABCDEFGHJKMNPQRS"

typedef struct {
    const char *name;
    entry_t entry;
    bool details;
    const char *json;
} case_t;

static const case_t cases[] = {
    {"accepted, in short",
     {.audit_id = 7,
      .prev_id = 3,
      .node = SLICE("n1"),
      .service = SLICE("emitter"),
      .record = {.topic = SLICE("event.accepted"),
                 .at_ms = 1767225600123,
                 .event_id = SLICE(EVENT),
                 .events_id = SLICE("clients.create"),
                 .object_kind = SLICE("client"),
                 .object_id = SLICE("12"),
                 .body = SLICE("{\"a\":0.10}"),
                 .source = SLICE("push"),
                 .idempotency_key = SLICE("k")}},
     false,
     "{\"audit_id\":7,\"prev_id\":3,\"topic\":\"event.accepted\",\"at\":\"2026-01-01T00:00:00."
     "123Z\",\"node\":\"n1\",\"service\":\"emitter\",\"event_id\":\"" EVENT
     "\",\"events_id\":\"clients.create\",\"object_kind\":\"client\",\"object_id\":12,"
     "\"source\":\"push\",\"idempotency_key\":\"k\"}"},
    {"accepted, in full: the body byte for byte",
     {.audit_id = 1,
      .record = {.topic = SLICE("event.accepted"),
                 .event_id = SLICE(EVENT),
                 .body = SLICE("{\"a\": 0.10 }")}},
     true,
     "{\"audit_id\":1,\"prev_id\":0,\"topic\":\"event.accepted\",\"at\":\"1970-01-01T00:00:00."
     "000Z\",\"event_id\":\"" EVENT "\",\"body\":{\"a\": 0.10 }}"},
    {"a delivery",
     {.audit_id = 9,
      .prev_id = 8,
      .record = {.topic = SLICE("delivery.retrying"),
                 .event_id = SLICE(EVENT),
                 .webhook_id = SLICE("W"),
                 .object_id = SLICE("\"a\\\"b\""),
                 .handler_id = 3,
                 .handler = SLICE("crm \"x\""),
                 .url = SLICE("http://x/"),
                 .attempt = 2,
                 .http_status = 503,
                 .response = SLICE("no\n"),
                 .duration_us = 12045,
                 .next_ms = 1767225601000,
                 .replay = 1,
                 .request = SLICE("POST / HTTP/1.1"),
                 .response_headers = SLICE("A: b")}},
     false,
     "{\"audit_id\":9,\"prev_id\":8,\"topic\":\"delivery.retrying\",\"at\":\"1970-01-01T00:00:00."
     "000Z\",\"event_id\":\"" EVENT "\",\"webhook_id\":\"W\",\"object_id\":\"a\\\"b\","
     "\"delivery_id\":\"" EVENT "-3\",\"handler_id\":3,\"handler\":\"crm \\\"x\\\"\","
     "\"status\":\"fail\",\"outcome\":\"retrying\",\"attempt\":2,\"http_status\":503,"
     "\"response\":\"no\\n\",\"duration_ms\":12.045,\"next_at\":\"2026-01-01T00:00:01.000Z\","
     "\"replay\":1,\"url\":\"http://x/\"}"},
    {"a delivery, in full",
     {.audit_id = 9,
      .record = {.topic = SLICE("delivery.delivered"),
                 .event_id = SLICE(EVENT),
                 .handler_id = 3,
                 .attempt = 1,
                 .http_status = 200,
                 .request = SLICE("POST"),
                 .response_headers = SLICE("A: b")}},
     true,
     "{\"audit_id\":9,\"prev_id\":0,\"topic\":\"delivery.delivered\",\"at\":\"1970-01-01T00:00:"
     "00.000Z\",\"event_id\":\"" EVENT "\",\"delivery_id\":\"" EVENT
     "-3\",\"handler_id\":3,\"status\":\"success\",\"outcome\":\"delivered\",\"attempt\":1,"
     "\"http_status\":200,\"duration_ms\":0.000,\"request\":\"POST\",\"response_headers\":"
     "\"A: b\"}"},
    {"a delivery that ended without an attempt",
     {.audit_id = 9,
      .record = {.topic = SLICE("delivery.cancelled"),
                 .event_id = SLICE("E"),
                 .handler_id = 3,
                 .reason = SLICE("archived")}},
     false,
     "{\"audit_id\":9,\"prev_id\":0,\"topic\":\"delivery.cancelled\",\"at\":\"1970-01-01T00:00:"
     "00.000Z\",\"event_id\":\"E\",\"delivery_id\":\"E-3\",\"handler_id\":3,\"status\":\"fail\","
     "\"outcome\":\"cancelled\",\"reason\":\"archived\"}"},
    {"rejected: what came is shown as text",
     {.audit_id = 2,
      .record = {.topic = SLICE("event.rejected"),
                 .code = SLICE("bad_json"),
                 .path = SLICE("/event"),
                 .message = SLICE("m"),
                 .body = SLICE("{\"x\xff")}},
     false,
     "{\"audit_id\":2,\"prev_id\":0,\"topic\":\"event.rejected\",\"at\":\"1970-01-01T00:00:00."
     "000Z\",\"code\":\"bad_json\",\"path\":\"/event\",\"message\":\"m\",\"body\":\"{\\\"x"
     "\xef\xbf\xbd\"}"},
    {"what passes through has no id",
     {.node = SLICE("n"),
      .record = {.topic = SLICE("stage.stats"), .stats = SLICE("{\"a\":1}"), .count = 2}},
     false,
     "{\"topic\":\"stage.stats\",\"at\":\"1970-01-01T00:00:00.000Z\",\"node\":\"n\",\"count\":2,"
     "\"stats\":{\"a\":1}}"},
    {"a replay that was accepted names its handler",
     {.audit_id = 2,
      .record = {.topic = SLICE("event.accepted"), .replay_handler = 4, .replay = 2}},
     false,
     "{\"audit_id\":2,\"prev_id\":0,\"topic\":\"event.accepted\",\"at\":\"1970-01-01T00:00:00."
     "000Z\",\"handler_id\":4,\"replay\":2}"},
};

static void records_are_written_as_documented(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF text = {0};
        AUTO(json_tree) tree = NULL;
        json_writer_t w;
        json_begin(&w, &text);
        record_json(&cases[i].entry, cases[i].details, &w);
        if (strcmp(text.data, cases[i].json) != 0)
            fail_msg("%s:\n%s\n%s", cases[i].name, text.data, cases[i].json);
        assert_int_equal(json_parse(buf_slice(&text), &tree, NULL), RESULT_OK);
    }
}

static size_t response_size(const char *response, size_t size, bool details)
{
    AUTO_BUF text = {0};
    AUTO(json_tree) tree = NULL;
    json_writer_t w;
    entry_t entry = {
        .audit_id = 1,
        .record = {.topic = SLICE("delivery.delivered"), .response = {response, size}}};
    json_begin(&w, &text);
    record_json(&entry, details, &w);
    assert_int_equal(json_parse(buf_slice(&text), &tree, NULL), RESULT_OK);
    return strlen(json_get_str(tree, "response"));
}

static void a_long_response_is_cut_between_characters(void **state)
{
    (void)state;
    char response[3000];
    memset(response, 'x', sizeof response);
    assert_int_equal(response_size(response, sizeof response, false), RECORD_JSON_RESPONSE_MAX);
    assert_int_equal(response_size(response, sizeof response, true), sizeof response);
    static const char euro[3] = {'\xe2', '\x82', '\xac'};
    memcpy(response + RECORD_JSON_RESPONSE_MAX - 1, euro, sizeof euro);
    assert_int_equal(response_size(response, sizeof response, false), RECORD_JSON_RESPONSE_MAX - 1);
    memset(response, 0x80, sizeof response); /* no character begins at all */
    assert_int_equal(response_size(response, sizeof response, false), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_written_as_documented),
        cmocka_unit_test(a_long_response_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
