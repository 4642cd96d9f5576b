#include "tests/support/unit.h"

#include <stdlib.h>

#include "common/base/cleanup.h"
#include "services/emitter/intake.h"

static const intake_limits_t limits = {4096, 16384, 5};
enum { NOW_MS = 1767225600 };             /* any time */
#define STAMP "1970-01-21T10:53:45+00:00" /* the same, as it is stamped */

typedef struct {
    catalogue_t *catalogue;
    intake_t *intake;
    arena_t arena;
    intake_request_t request;
} fixture_t;

static int set_up(void **state)
{
    fixture_t *f = calloc(1, sizeof *f);
    fault_t fault;
    if (catalogue_new("crm.ticket=ticket", &f->catalogue, &fault) != RESULT_OK)
        return -1;
    f->intake = intake_new(f->catalogue, &limits);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture_t *f = *state;
    intake_destroy(&f->intake);
    catalogue_destroy(&f->catalogue);
    arena_release(&f->arena);
    free(f);
    return 0;
}

/* From memory of exactly that size, so that a sanitizer sees one byte too far. */
static const intake_request_t *decode(fixture_t *f, slice_t bytes)
{
    AUTO_FREE char *copy = malloc(bytes.size ? bytes.size : 1);
    if (bytes.size)
        memcpy(copy, bytes.data, bytes.size);
    arena_clear(&f->arena);
    intake_decode(f->intake, (slice_t){copy, bytes.size}, NOW_MS, &f->arena, &f->request);
    return &f->request;
}

static void assert_slice(slice_t slice, const char *expected, const char *name)
{
    if (!slice_is(slice, expected))
        fail_msg("%s: \"%.*s\" instead of \"%s\"", name, SLICE_ARG(slice), expected);
}

static const intake_event_t *decode_one(fixture_t *f, slice_t bytes, const char *name)
{
    const intake_request_t *request = decode(f, bytes);
    if (request->error.code != INTAKE_OK || request->n_events != 1)
        fail_msg("%s: %s, %zu events", name, intake_code_str(request->error.code),
                 request->n_events);
    return request->events;
}

/* ---- What is taken ---------------------------------------------------------------------- */

#define EVENT(members) "{\"event\":{" members "}}"
#define BODY(dt, events_id, object_id, data)                                                       \
    "{\"event\":{\"dt\":\"" dt "\",\"events_id\":\"" events_id "\",\"object_id\":" object_id       \
    "},\"data\":" data "}"
#define DATA                                                                                       \
    "{\"amount\":0.10,\"big\":12345678901234567890,\"z\":1,\"a\":2,\"u\":\"\\u00e9\", \"sp\" : [ " \
    "1 ]}"
#define DEPTH_30 "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"

static void test_taken(void **state)
{
    static const struct {
        const char *name, *text, *body, *key, *object_id;
    } cases[] = {
        {"smallest", EVENT("\"events_id\":\"clients.create\""),
         BODY(STAMP, "clients.create", "null", "{}"), NULL, NULL},
        {"everything",
         "{\"id\":\"k "
         "1~\",\"event\":{\"dt\":\"2026-01-01T00:00:00Z\",\"events_id\":\"clients.update\","
         "\"object_id\":12},\"data\":" DATA "}",
         BODY("2026-01-01T00:00:00Z", "clients.update", "12", DATA), "k 1~", "12"},
        {"any order, spaces",
         " \t\r\n{ \"data\" : " DATA " , \"event\" : { \"object_id\" : \"abc\" , \"events_id\" : "
         "\"dids.block\" } }\n ",
         BODY(STAMP, "dids.block", "\"abc\"", DATA), NULL, "\"abc\""},
        {"null object", EVENT("\"events_id\":\"importd.process_failed\",\"object_id\":null"),
         BODY(STAMP, "importd.process_failed", "null", "{}"), NULL, NULL},
        {"dt with fraction and offset",
         EVENT("\"dt\":\"2026-02-28T23:59:59.123456-03:30\",\"events_id\":\"clients.create\""),
         BODY("2026-02-28T23:59:59.123456-03:30", "clients.create", "null", "{}"), NULL, NULL},
        {"dt as written, with escapes",
         EVENT("\"dt\":\"2026-01-01T00:00:00\\u005a\",\"events_id\":\"clients.create\""),
         BODY("2026-01-01T00:00:00\\u005a", "clients.create", "null", "{}"), NULL, NULL},
        {"escapes in keys and ids", "{\"\\u0065vent\":{\"events_id\":\"clients\\u002ecreate\"}}",
         BODY(STAMP, "clients.create", "null", "{}"), NULL, NULL},
        {"added by configuration", EVENT("\"events_id\":\"crm.ticket\",\"object_id\":-5"),
         BODY(STAMP, "crm.ticket", "-5", "{}"), NULL, "-5"},
        {"object_id beyond 64 bits",
         EVENT("\"events_id\":\"clients.create\",\"object_id\":123456789012345678901234567890"),
         BODY(STAMP, "clients.create", "123456789012345678901234567890", "{}"), NULL,
         "123456789012345678901234567890"},
        {"same key in different objects",
         "{\"event\":{\"events_id\":\"clients.create\"},\"data\":{\"a\":{\"a\":1},\"b\":[{\"a\":1},"
         "{\"a\":1}]}}",
         BODY(STAMP, "clients.create", "null", "{\"a\":{\"a\":1},\"b\":[{\"a\":1},{\"a\":1}]}"),
         NULL, NULL},
        {"depth 32", "{\"event\":{\"events_id\":\"clients.create\"},\"data\":{\"a\":" DEPTH_30 "}}",
         BODY(STAMP, "clients.create", "null", "{\"a\":" DEPTH_30 "}"), NULL, NULL},
        {"UTF-8 and pairs of surrogates",
         "{\"event\":{\"events_id\":\"clients.create\"},\"data\":{\"\xc3\xa9\":\"\xf0\x9f\x98\x80 "
         "\\ud83d\\ude00 \\\\ud800\"}}",
         BODY(STAMP, "clients.create", "null",
              "{\"\xc3\xa9\":\"\xf0\x9f\x98\x80 \\ud83d\\ude00 \\\\ud800\"}"),
         NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const intake_event_t *event = decode_one(*state, slice_of(cases[i].text), cases[i].name);
        if (event->error.code != INTAKE_OK)
            fail_msg("%s: %.*s", cases[i].name, SLICE_ARG(event->error.message));
        assert_slice(event->body, cases[i].body, cases[i].name);
        assert_true(slice_equal(event->key, slice_of(cases[i].key)));
        assert_true(slice_equal(event->object_id, slice_of(cases[i].object_id)));
        assert_false(((fixture_t *)*state)->request.is_array);
    }
}

static void test_kind(void **state)
{
    const intake_event_t *event = decode_one(
        *state, SLICE(EVENT("\"events_id\":\"crm.ticket\",\"object_id\":\"x\"")), "kind");
    assert_string_equal(event->kind->kind, "ticket");
}

/* ---- What is refused, one event --------------------------------------------------------- */

#define GOOD   "\"events_id\":\"clients.create\""
#define KEY_64 "0123456789012345678901234567890123456789012345678901234567890123"

static const struct refused_t {
    const char *name;
    slice_t text;
    intake_code_t code;
    const char *path;
} refused[] = {
    {"empty", SLICE(""), INTAKE_BAD_JSON, ""},
    {"spaces", SLICE(" \n"), INTAKE_BAD_JSON, ""},
    {"a zero byte", SLICE("\0"), INTAKE_BAD_JSON, ""},
    {"truncated", SLICE("{\"event\":{"), INTAKE_BAD_JSON, ""},
    {"truncated string", SLICE("{\"ev"), INTAKE_BAD_JSON, ""},
    {"truncated escape", SLICE("{\"e\\u00"), INTAKE_BAD_JSON, ""},
    {"trailing text", SLICE(EVENT(GOOD) " x"), INTAKE_BAD_JSON, ""},
    {"trailing zero", SLICE(EVENT(GOOD) "\0"), INTAKE_BAD_JSON, ""},
    {"two values", SLICE(EVENT(GOOD) EVENT(GOOD)), INTAKE_BAD_JSON, ""},
    {"comment", SLICE(EVENT(GOOD "/* no */")), INTAKE_BAD_JSON, ""},
    {"comma at the end", SLICE(EVENT(GOOD ",")), INTAKE_BAD_JSON, ""},
    {"leading zero", SLICE(EVENT(GOOD ",\"object_id\":012")), INTAKE_BAD_JSON, ""},
    {"plus", SLICE(EVENT(GOOD ",\"object_id\":+1")), INTAKE_BAD_JSON, ""},
    {"NaN", SLICE(EVENT(GOOD ",\"object_id\":NaN")), INTAKE_BAD_JSON, ""},
    {"single quotes", SLICE("{'event':{}}"), INTAKE_BAD_JSON, ""},
    {"line feed in a string", SLICE(EVENT("\"events_id\":\"a\nb\"")), INTAKE_BAD_JSON, ""},
    {"byte order mark", SLICE("\xef\xbb\xbf" EVENT(GOOD)), INTAKE_BAD_JSON, ""},
    {"UTF-16", SLICE("{\0\"\0"), INTAKE_BAD_JSON, ""},
    {"number", SLICE("12"), INTAKE_WRONG_TYPE, ""},
    {"string", SLICE(" \"x\" "), INTAKE_WRONG_TYPE, ""},
    {"null", SLICE("null"), INTAKE_WRONG_TYPE, ""},
    {"empty object", SLICE("{}"), INTAKE_MISSING_MEMBER, "/event"},
    {"no events_id", SLICE(EVENT("\"object_id\":1")), INTAKE_MISSING_MEMBER, "/event/events_id"},
    {"unknown member", SLICE("{\"Event\":1}"), INTAKE_UNKNOWN_MEMBER, "/Event"},
    {"unknown member below", SLICE(EVENT(GOOD ",\"id\":\"x\"")), INTAKE_UNKNOWN_MEMBER,
     "/event/id"},
    {"unknown member, strange", SLICE("{\"a/b~\":1}"), INTAKE_UNKNOWN_MEMBER, "/a~1b~0"},
    {"event is a string", SLICE("{\"event\":\"x\"}"), INTAKE_WRONG_TYPE, "/event"},
    {"event is an array", SLICE("{\"event\":[" EVENT(GOOD) "]}"), INTAKE_WRONG_TYPE, "/event"},
    {"data is null", SLICE("{\"event\":{" GOOD "},\"data\":null}"), INTAKE_WRONG_TYPE, "/data"},
    {"data is an array", SLICE("{\"event\":{" GOOD "},\"data\":[]}"), INTAKE_WRONG_TYPE, "/data"},
    {"id is a number", SLICE("{\"id\":1,\"event\":{" GOOD "}}"), INTAKE_WRONG_TYPE, "/id"},
    {"id is empty", SLICE("{\"id\":\"\",\"event\":{" GOOD "}}"), INTAKE_BAD_ID, "/id"},
    {"id of 65", SLICE("{\"id\":\"" KEY_64 "x\",\"event\":{" GOOD "}}"), INTAKE_BAD_ID, "/id"},
    {"id with a tab", SLICE("{\"id\":\"a\\tb\",\"event\":{" GOOD "}}"), INTAKE_BAD_ID, "/id"},
    {"id is not ASCII", SLICE("{\"id\":\"\xc3\xa9\",\"event\":{" GOOD "}}"), INTAKE_BAD_ID, "/id"},
    {"dt is a number", SLICE(EVENT(GOOD ",\"dt\":1")), INTAKE_WRONG_TYPE, "/event/dt"},
    {"dt without offset", SLICE(EVENT(GOOD ",\"dt\":\"2026-01-01T00:00:00\"")), INTAKE_BAD_DT,
     "/event/dt"},
    {"a day that does not exist", SLICE(EVENT(GOOD ",\"dt\":\"2026-02-30T00:00:00Z\"")),
     INTAKE_BAD_DT, "/event/dt"},
    {"object_id is a float", SLICE(EVENT(GOOD ",\"object_id\":1.0")), INTAKE_WRONG_TYPE,
     "/event/object_id"},
    {"object_id with exponent", SLICE(EVENT(GOOD ",\"object_id\":1e3")), INTAKE_WRONG_TYPE,
     "/event/object_id"},
    {"object_id is an object", SLICE(EVENT(GOOD ",\"object_id\":{}")), INTAKE_WRONG_TYPE,
     "/event/object_id"},
    {"object_id of 257", SLICE(EVENT(GOOD ",\"object_id\":\"" KEY_64 KEY_64 KEY_64 KEY_64 "x\"")),
     INTAKE_TOO_LARGE, "/event/object_id"},
    {"events_id is null", SLICE(EVENT("\"events_id\":null")), INTAKE_WRONG_TYPE,
     "/event/events_id"},
    {"unknown event", SLICE(EVENT("\"events_id\":\"clients.updat\"")), INTAKE_UNKNOWN_EVENT,
     "/event/events_id"},
    {"duplicate key", SLICE("{\"event\":{" GOOD "},\"event\":{" GOOD "}}"), INTAKE_DUPLICATE_KEY,
     "/event"},
    {"duplicate key in event", SLICE(EVENT(GOOD "," GOOD)), INTAKE_DUPLICATE_KEY,
     "/event/events_id"},
    {"duplicate key in data",
     SLICE("{\"event\":{" GOOD "},\"data\":{\"a\":[1,{\"b\":1,\"\\u0062\":2}]}}"),
     INTAKE_DUPLICATE_KEY, "/data/a/1/b"},
    {"too deep", SLICE("{\"event\":{" GOOD "},\"data\":{\"a\":[" DEPTH_30 "]}}"), INTAKE_TOO_DEEP,
     "/data/a/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0"},
    {"half a pair", SLICE("{\"event\":{" GOOD "},\"data\":{\"a\":\"\\ud800\"}}"), INTAKE_BAD_UTF8,
     "/data/a"},
    {"half a pair, low", SLICE("{\"event\":{" GOOD "},\"data\":{\"a\":\"x\\uDC00\"}}"),
     INTAKE_BAD_UTF8, "/data/a"},
    {"high and no low", SLICE("{\"event\":{" GOOD "},\"data\":{\"a\":\"\\ud800\\u0041\"}}"),
     INTAKE_BAD_UTF8, "/data/a"},
    {"half a pair in a key", SLICE("{\"event\":{" GOOD "},\"data\":{\"\\ud800\":1}}"),
     INTAKE_BAD_UTF8, "/data"},
    {"overlong UTF-8", SLICE("{\"event\":{" GOOD "},\"data\":{\"a\":[\"\xc0\xaf\"]}}"),
     INTAKE_BAD_UTF8, "/data/a/0"},
    {"surrogate in UTF-8", SLICE("{\"event\":{" GOOD "},\"data\":{\"a\":\"\xed\xa0\x80\"}}"),
     INTAKE_BAD_UTF8, "/data/a"},
    {"beyond Unicode", SLICE("{\"event\":{" GOOD "},\"data\":{\"a\":\"\xf4\x90\x80\x80\"}}"),
     INTAKE_BAD_UTF8, "/data/a"},
    {"msgpack: empty map", SLICE("\x80"), INTAKE_MISSING_MEMBER, "/event"},
    {"msgpack: truncated", SLICE("\x81\xa5"), INTAKE_BAD_MSGPACK, ""},
    {"msgpack: promises 4 billion", SLICE("\xdf\xff\xff\xff\xff"), INTAKE_BAD_MSGPACK, ""},
    {"msgpack: string of 4 GB", SLICE("\x81\xdb\xff\xff\xff\xff"), INTAKE_BAD_MSGPACK, ""},
    {"msgpack: never used type", SLICE("\x81\xa1\x61\xc1"), INTAKE_BAD_MSGPACK, ""},
    {"msgpack: something follows", SLICE("\x80\xc0"), INTAKE_BAD_MSGPACK, ""},
    {"msgpack: key is a number", SLICE("\x81\x01\x02"), INTAKE_WRONG_TYPE, ""},
    {"msgpack: bin",
     SLICE("\x81\xa4"
           "data\x81\xa1"
           "a\xc4\x01x"),
     INTAKE_WRONG_TYPE, "/data/a"},
    {"msgpack: ext",
     SLICE("\x81\xa4"
           "data\x81\xa1"
           "a\x92\x01\xd4\x01\x02"),
     INTAKE_WRONG_TYPE, "/data/a/1"},
    {"msgpack: NaN",
     SLICE("\x81\xa4"
           "data\x81\xa1"
           "a\xcb\x7f\xf8\0\0\0\0\0\0"),
     INTAKE_WRONG_TYPE, "/data/a"},
    {"msgpack: Inf",
     SLICE("\x81\xa4"
           "data\x81\xa1"
           "a\xca\xff\x80\0\0"),
     INTAKE_WRONG_TYPE, "/data/a"},
    {"msgpack: not UTF-8",
     SLICE("\x81\xa4"
           "data\x81\xa1"
           "a\xa1\xff"),
     INTAKE_BAD_UTF8, "/data/a"},
    {"msgpack: key is not UTF-8",
     SLICE("\x81\xa4"
           "data\x81\xa1\xff\x01"),
     INTAKE_BAD_UTF8, "/data"},
    {"msgpack: duplicate key",
     SLICE("\x81\xa4"
           "data\x82\xa1"
           "a\x01\xa1"
           "a\x02"),
     INTAKE_DUPLICATE_KEY, "/data/a"},
    {"msgpack: unknown member",
     SLICE("\x81\xa1"
           "a\x01"),
     INTAKE_UNKNOWN_MEMBER, "/a"},
};

static void test_refused(void **state)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const struct refused_t *c = &refused[i];
        const intake_request_t *request = decode(*state, c->text);
        const intake_error_t *error =
            request->error.code == INTAKE_OK ? &request->events[0].error : &request->error;
        if (error->code != c->code || !slice_is(error->path, c->path))
            fail_msg("%s: %s at \"%.*s\" (%.*s)", c->name, intake_code_str(error->code),
                     SLICE_ARG(error->path), SLICE_ARG(error->message));
        assert_true(error->message.size > 0);
        assert_false(request->is_array);
    }
}

static void test_nearest_is_named(void **state)
{
    const intake_event_t *event =
        decode_one(*state, SLICE(EVENT("\"events_id\":\"clients.updat\"")), "nearest");
    assert_slice(event->error.message,
                 "there is no event \"clients.updat\"; did you mean \"clients.update\"?",
                 "nearest");
}

/* ---- Sizes ------------------------------------------------------------------------------ */

/* {"event":{...},"data":{"x":"aaa..."}} of exactly size bytes */
static void event_of(size_t size, buf_t *text)
{
    buf_add_str(text, "{\"event\":{" GOOD "},\"data\":{\"x\":\"");
    while (text->size < size - 3)
        buf_add_char(text, 'a');
    buf_add_str(text, "\"}}");
    assert_int_equal(text->size, size);
}

static void test_event_size(void **state)
{
    AUTO_BUF largest = {0}, larger = {0}, array = {0};
    event_of((size_t)limits.event_max_bytes, &largest);
    event_of((size_t)limits.event_max_bytes + 1, &larger);
    assert_int_equal(decode_one(*state, buf_slice(&largest), "largest")->error.code, INTAKE_OK);
    assert_int_equal(decode(*state, buf_slice(&larger))->error.code, INTAKE_TOO_LARGE);
    buf_printf(&array, "[%s,%s]", larger.data, largest.data);
    const intake_request_t *request = decode(*state, buf_slice(&array));
    assert_int_equal(request->n_events, 2);
    assert_int_equal(request->events[0].error.code, INTAKE_TOO_LARGE);
    assert_int_equal(request->events[1].error.code, INTAKE_OK);
}

static void test_request_size(void **state)
{
    AUTO_BUF text = {0};
    buf_add_str(&text, "[");
    while ((int64_t)text.size <= limits.request_max_bytes)
        buf_add_char(&text, ' ');
    buf_add_str(&text, "]");
    const intake_request_t *request = decode(*state, buf_slice(&text));
    assert_int_equal(request->error.code, INTAKE_TOO_LARGE);
    assert_int_equal(request->n_events, 0);
}

static void test_json_of_msgpack_is_measured_too(void **state)
{
    /* control characters take six bytes in JSON */
    static const char head[] = "\x82\xa5"
                               "event\x81\xa9"
                               "events_id\xae"
                               "clients.create\xa4"
                               "data\x81\xa1"
                               "a\xda\x0a"; /* and the terminating zero */
    AUTO_BUF bytes = {0};
    buf_add(&bytes, head, sizeof head);
    for (int i = 0; i < 0x0a00; i++)
        buf_add_char(&bytes, 1);
    const intake_event_t *event = decode_one(*state, buf_slice(&bytes), "measured");
    assert_int_equal(event->error.code, INTAKE_TOO_LARGE);
}

static void test_many_keys_are_fast(void **state)
{
    fixture_t *f = *state;
    intake_t *intake = intake_new(f->catalogue, &(intake_limits_t){1 << 20, 1 << 20, 1});
    AUTO_BUF text = {0};
    buf_add_str(&text, "{\"event\":{" GOOD "},\"data\":{\"x\":1");
    for (int i = 0; text.size < 1000000; i++)
        buf_printf(&text, ",\"%d\":1", i);
    buf_add_str(&text, ",\"777\":1}}");
    intake_decode(intake, buf_slice(&text), NOW_MS, &f->arena, &f->request);
    assert_int_equal(f->request.events[0].error.code, INTAKE_DUPLICATE_KEY);
    assert_slice(f->request.events[0].error.path, "/data/777", "many keys");
    intake_destroy(&intake);
}

static void test_depth_of_10000(void **state)
{
    fixture_t *f = *state;
    AUTO_BUF json = {0}, msgpack = {0};
    for (int i = 0; i < 10000; i++) {
        buf_add_char(&json, '[');
        buf_add_char(&msgpack, i ? (char)0x91 : (char)0x81);
        if (i == 0)
            buf_add_str(&msgpack, "\xa1"
                                  "a");
    }
    buf_add_char(&msgpack, 1);
    assert_int_equal(decode(f, buf_slice(&json))->error.code, INTAKE_BAD_JSON);
    for (int i = 0; i < 10000; i++)
        buf_add_char(&json, ']');
    intake_t *intake = intake_new(f->catalogue, &(intake_limits_t){1 << 20, 1 << 20, 5});
    intake_decode(intake, buf_slice(&json), NOW_MS, &f->arena, &f->request);
    assert_int_equal(f->request.n_events, 1);
    assert_int_equal(f->request.events[0].error.code, INTAKE_TOO_DEEP);
    intake_decode(intake, buf_slice(&msgpack), NOW_MS, &f->arena, &f->request);
    assert_int_equal(f->request.events[0].error.code, INTAKE_TOO_DEEP);
    intake_destroy(&intake);
}

static void test_long_paths_are_cut(void **state)
{
    AUTO_BUF text = {0};
    buf_add_str(&text, "{\"event\":{" GOOD "},\"data\":{\"");
    for (int i = 0; i < 500; i++)
        buf_add_str(&text, "\xc3\xa9");
    buf_add_str(&text, "\":\"\\ud800\"}}");
    const intake_event_t *event = decode_one(*state, buf_slice(&text), "long path");
    assert_int_equal(event->error.code, INTAKE_BAD_UTF8);
    assert_in_range(event->error.path.size, 250, 260);
}

/* ---- Arrays ----------------------------------------------------------------------------- */

static void test_one_bad_event_harms_no_other(void **state)
{
    static const struct {
        const char *name, *text;
    } cases[] = {
        {"json",
         " [" EVENT(GOOD) ", {\"data\":{\"a\":[1,{\"b\":[\"\\ud800\"]}]}} ,7,[{\"a\":[]}]," EVENT(
             GOOD) "] "},
        {"msgpack", "\x95\x81\xa5"
                    "event\x81\xa9"
                    "events_id\xae"
                    "clients.create"
                    "\x81\xa4"
                    "data\x81\xa1"
                    "a\x92\x01\x81\xa1"
                    "b\x91\xa1\xff"
                    "\x07\x91\x80"
                    "\x81\xa5"
                    "event\x81\xa9"
                    "events_id\xae"
                    "clients.create"},
    };
    static const intake_code_t codes[] = {INTAKE_OK, INTAKE_BAD_UTF8, INTAKE_WRONG_TYPE,
                                          INTAKE_WRONG_TYPE, INTAKE_OK};
    for (size_t c = 0; c < 2; c++) {
        const intake_request_t *request = decode(*state, slice_of(cases[c].text));
        assert_int_equal(request->error.code, INTAKE_OK);
        assert_true(request->is_array);
        assert_int_equal(request->n_events, 5);
        for (size_t i = 0; i < 5; i++)
            if (request->events[i].error.code != codes[i])
                fail_msg("%s %zu: %s", cases[c].name, i,
                         intake_code_str(request->events[i].error.code));
        assert_slice(request->events[1].error.path, "/data/a/1/b/0", cases[c].name);
        assert_int_equal(request->encoding, c ? INTAKE_MSGPACK : INTAKE_JSON);
    }
}

static void test_text_of_each_event(void **state)
{
    fixture_t *f = *state;
    static const char text[] = "[ {\"a\":1} ,12, " EVENT(GOOD) "]";
    intake_decode(f->intake, slice_of(text), NOW_MS, &f->arena, &f->request);
    assert_slice(f->request.events[0].text, "{\"a\":1}", "object");
    assert_slice(f->request.events[1].text, "12", "number");
    assert_slice(f->request.events[2].text, EVENT(GOOD), "event");
    static const char one[] = " 12";
    intake_decode(f->intake, slice_of(one), NOW_MS, &f->arena, &f->request);
    assert_slice(f->request.events[0].text, " 12", "a number alone");
}

static void test_requests_refused_as_a_whole(void **state)
{
    static const struct {
        const char *name;
        slice_t text;
        intake_code_t code;
    } cases[] = {
        {"six of five", SLICE("[1,2,3,4,5,6]"), INTAKE_TOO_MANY},
        {"six of five, msgpack", SLICE("\x96\1\2\3\4\5\6"), INTAKE_TOO_MANY},
        {"4 billion, msgpack", SLICE("\xdd\xff\xff\xff\xff"), INTAKE_TOO_MANY},
        {"half a head, msgpack", SLICE("\xdc\0"), INTAKE_BAD_MSGPACK},
        {"second is broken", SLICE("[" EVENT(GOOD) ",{\"event\"]"), INTAKE_BAD_JSON},
        {"second is broken, msgpack", SLICE("\x92\x80\x81\x01"), INTAKE_BAD_MSGPACK},
        {"something follows, msgpack", SLICE("\x91\x80\x80"), INTAKE_BAD_MSGPACK},
        {"not closed", SLICE("[" EVENT(GOOD)), INTAKE_BAD_JSON},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const intake_request_t *request = decode(*state, cases[i].text);
        if (request->error.code != cases[i].code || request->n_events != 0)
            fail_msg("%s: %s, %zu events", cases[i].name, intake_code_str(request->error.code),
                     request->n_events);
    }
}

static void test_empty_arrays(void **state)
{
    static const slice_t texts[] = {SLICE("[ ]"), SLICE("\x90")};
    for (size_t i = 0; i < 2; i++) {
        const intake_request_t *request = decode(*state, texts[i]);
        assert_int_equal(request->error.code, INTAKE_OK);
        assert_true(request->is_array);
        assert_int_equal(request->n_events, 0);
    }
}

/* ---- msgpack to JSON -------------------------------------------------------------------- */

static void test_msgpack_values(void **state)
{
    static const struct {
        slice_t value;
        const char *json;
    } cases[] = {
        {SLICE("\xc0"), "null"},
        {SLICE("\xc3"), "true"},
        {SLICE("\x7f"), "127"},
        {SLICE("\xe0"), "-32"},
        {SLICE("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), "18446744073709551615"},
        {SLICE("\xd3\x80\0\0\0\0\0\0\0"), "-9223372036854775808"},
        {SLICE("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"), "0.1"},
        {SLICE("\xcb\x40\x28\0\0\0\0\0\0"), "12.0"},
        {SLICE("\xcb\x80\0\0\0\0\0\0\0"), "-0.0"},
        {SLICE("\xcb\x44\x15\xaf\x1d\x78\xb5\x8c\x40"), "1e+20"},
        {SLICE("\xcb\x3f\xd3\x33\x33\x33\x33\x33\x34"), "0.30000000000000004"},
        {SLICE("\xcb\x7f\xef\xff\xff\xff\xff\xff\xff"), "1.7976931348623157e+308"},
        {SLICE("\xca\x3d\xcc\xcc\xcd"), "0.1"},
        {SLICE("\xa0"), "\"\""},
        {SLICE("\xa6"
               "a\"\\\n\x7f/"),
         "\"a\\\"\\\\\\u000a\x7f/\""},
        {SLICE("\xa2\xc3\xa9"), "\"\xc3\xa9\""},
        {SLICE("\x93\x01\x90\x80"), "[1,[],{}]"},
        {SLICE("\x82\xa1z\x01\xa1"
               "a\x02"),
         "{\"z\":1,\"a\":2}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF bytes = {0}, body = {0};
        buf_add_str(&bytes, "\x82\xa5"
                            "event\x81\xa9"
                            "events_id\xae"
                            "clients.create\xa4"
                            "data\x81\xa1"
                            "v");
        buf_add_slice(&bytes, cases[i].value);
        buf_printf(&body, BODY(STAMP, "clients.create", "null", "{\"v\":%s}"), cases[i].json);
        assert_slice(decode_one(*state, buf_slice(&bytes), cases[i].json)->body, body.data,
                     cases[i].json);
    }
}

static void test_msgpack_event(void **state)
{
    static const char bytes[] = "\x83\xa2"
                                "id\xa3"
                                "k-1\xa5"
                                "event\x83\xa2"
                                "dt\xb4"
                                "2026-01-01T00:00:00Z\xa9"
                                "events_id\xae"
                                "clients.create\xa9"
                                "object_id\x0c\xa4"
                                "data\x81\xa1"
                                "a\x01";
    const intake_event_t *event = decode_one(*state, slice_of(bytes), "msgpack");
    assert_slice(event->body, BODY("2026-01-01T00:00:00Z", "clients.create", "12", "{\"a\":1}"),
                 "body");
    assert_slice(event->key, "k-1", "key");
    assert_slice(event->object_id, "12", "object_id");
}

static void test_msgpack_float_is_no_object_id(void **state)
{
    static const char bytes[] = "\x81\xa5"
                                "event\x82\xa9"
                                "events_id\xae"
                                "clients.create\xa9"
                                "object_id\xcb\x40\x28\0\0\0\0\0\0";
    const intake_event_t *event = decode_one(*state, (slice_t){bytes, sizeof bytes - 1}, "float");
    assert_int_equal(event->error.code, INTAKE_WRONG_TYPE);
    assert_slice(event->error.path, "/event/object_id", "float");
}

/* ---- Digest ----------------------------------------------------------------------------- */

static intake_digest_t digest_of(fixture_t *f, const char *text)
{
    return decode_one(f, slice_of(text), text)->digest;
}

static void test_digest_tells_content_apart(void **state)
{
    static const char *const texts[] = {
        "{\"id\":\"k\",\"event\":{" GOOD "}}",
        "{\"id\":\"k\",\"event\":{" GOOD "},\"data\":{\"a\":1}}",
        "{\"id\":\"k\",\"event\":{" GOOD ",\"object_id\":1}}",
        "{\"id\":\"k\",\"event\":{" GOOD ",\"object_id\":\"1\"}}",
        "{\"id\":\"k\",\"event\":{" GOOD ",\"dt\":\"2026-01-01T00:00:00Z\"}}",
        "{\"id\":\"k\",\"event\":{\"events_id\":\"clients.update\"}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (size_t j = 0; j < sizeof texts / sizeof *texts; j++) {
            intake_digest_t a = digest_of(*state, texts[i]), b = digest_of(*state, texts[j]);
            assert_int_equal(memcmp(&a, &b, sizeof a) == 0, i == j);
        }
}

static void test_digest_does_not_hold_the_stamp(void **state)
{
    fixture_t *f = *state;
    static const char text[] = "{\"id\":\"k\",\"event\":{" GOOD "}}";
    intake_digest_t first = digest_of(f, text);
    intake_decode(f->intake, slice_of(text), NOW_MS + 60000, &f->arena, &f->request);
    assert_memory_equal(&first, &f->request.events[0].digest, sizeof first);
    assert_false(slice_is(f->request.events[0].body, BODY(STAMP, "clients.create", "null", "{}")));
}

/* Stored digests must still be understood after an update. */
static void test_digest_never_changes(void **state)
{
    intake_digest_t digest =
        digest_of(*state, "{\"id\":\"k\",\"event\":{" GOOD ",\"object_id\":12},\"data\":" DATA "}");
    assert_int_equal(digest.words[0], 0x5b374b86138a3b03);
    assert_int_equal(digest.words[1], 0x2d0b4d5fbde71108);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_taken),
        TEST(test_kind),
        TEST(test_refused),
        TEST(test_nearest_is_named),
        TEST(test_event_size),
        TEST(test_request_size),
        TEST(test_json_of_msgpack_is_measured_too),
        TEST(test_many_keys_are_fast),
        TEST(test_depth_of_10000),
        TEST(test_long_paths_are_cut),
        TEST(test_one_bad_event_harms_no_other),
        TEST(test_text_of_each_event),
        TEST(test_requests_refused_as_a_whole),
        TEST(test_empty_arrays),
        TEST(test_msgpack_values),
        TEST(test_msgpack_event),
        TEST(test_msgpack_float_is_no_object_id),
        TEST(test_digest_tells_content_apart),
        TEST(test_digest_does_not_hold_the_stamp),
        TEST(test_digest_never_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
