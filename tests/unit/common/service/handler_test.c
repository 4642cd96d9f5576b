#include "tests/support/unit.h"
#include "common/base/cleanup.h"
#include "common/base/mem.h"
#include "common/service/handler.h"

#define AUTO_HANDLER __attribute__((cleanup(handler_release))) handler_t

#define SECRET_24 "123456789012345678901234"
#define SECRET_64 "1234567890123456789012345678901234567890123456789012345678901234"
#define TEN(x)    x x x x x x x x x x

static void set(char **member, const char *text)
{
    free(*member);
    *member = text ? mem_strdup(text) : NULL;
}

static void good_handler(handler_t *handler)
{
    handler_init(handler);
    set(&handler->name, "CRM");
    set(&handler->events, "clients.*");
    set(&handler->task, "https://my-domain.org/api");
}

/* Which text member a case changes. */
typedef enum { NAME, EVENTS, TASK, DESCRIPTION, FILTER, SECRETS, HEADERS, RETRY, CA, CERT } text_t;

static char **text_member(handler_t *handler, text_t which)
{
    char **members[] = {&handler->name,        &handler->events, &handler->task,
                        &handler->description, &handler->filter, &handler->secrets,
                        &handler->headers,     &handler->retry,  &handler->ca_file,
                        &handler->cert_file};
    return members[which];
}

/* expected NULL: accepted; otherwise what the message says. */
static void expect(const handler_t *handler, const char *what, const char *expected)
{
    fault_t fault = {""};
    result_t r = handler_check(handler, &fault);
    if (!expected && r != RESULT_OK)
        fail_msg("\"%s\" was refused: %s", what, fault.text);
    if (expected && (r != RESULT_INVALID || !strstr(fault.text, expected)))
        fail_msg("\"%s\": %s, \"%s\" instead of \"%s\"", what, result_str(r), fault.text, expected);
}

static void texts_are_checked(void **state)
{
    (void)state;
    static const struct {
        text_t member;
        const char *text;
        const char *expected;
    } cases[] = {
        {NAME, "x", NULL},
        {NAME, TEN("1234567890") "1234567890123456789012345678", NULL},
        {NAME, TEN("1234567890") "12345678901234567890123456789",
         "1 to 128 characters, this has 129"},
        {NAME, TEN("äöüßäöüßäö") "äöüßäöüßäöüßäöüßäöüßäöüßäöüß", NULL},
        {NAME, "", "name: 1 to 128"},
        {NAME, NULL, "name: 1 to 128"},
        {NAME, "a\nb", "name: control"},
        {NAME, "a\x7f", "name: control"},
        {NAME, "a\xc2\x85", "name: control"},
        {NAME, "a\xe2\x80\xae", "name: invisible"}, /* U+202E */
        {NAME, "\xe2\x80\x8b", "name: invisible"},  /* U+200B */
        {NAME,
         "a\xef\xbb\xbf"
         "b",
         "name: invisible"},                           /* U+FEFF */
        {NAME, "a\xc2\xad", "name: invisible"},        /* U+00AD */
        {NAME, "\xf3\xa0\x81\x81", "name: invisible"}, /* U+E0041 */
        {NAME, "a\xc2\xa0z", NULL},
        {NAME, "\xff", "name: not valid UTF-8"},

        {EVENTS, "clients.create", NULL},
        {EVENTS, "*", NULL},
        {EVENTS, "clients.accounts.*", NULL},
        {EVENTS, "  clients.create   dids.* ", NULL},
        {EVENTS, "crm_2.ticket-open", NULL},
        {EVENTS, NULL, "events: at least one"},
        {EVENTS, "", "events: at least one"},
        {EVENTS, "   ", "events: at least one"},
        {EVENTS, "clients.* Clients.create", "\"Clients.create\" is not a pattern"},
        {EVENTS, "clients*", "is not a pattern"},
        {EVENTS, "*.create", "is not a pattern"},
        {EVENTS, "clients.*.create", "is not a pattern"},
        {EVENTS, ".*", "is not a pattern"},
        {EVENTS, "clients..create", "is not a pattern"},
        {EVENTS, "clients.", "is not a pattern"},
        {EVENTS, ".create", "is not a pattern"},
        {EVENTS, "clients.create,dids.*", "is not a pattern"},
        {EVENTS, TEN("1234567890") "12345678901234567890123456789.*", "is not a pattern"},
        {EVENTS, TEN("a b c d e f ") "a b c d", NULL},
        {EVENTS, TEN("a b c d e f ") "a b c d e", "more than 64 patterns"},

        {TASK, "my-domain.org/api", NULL},
        {TASK, "HTTPS://my-domain.org", NULL},
        {TASK, "localhost:8080/x?back=http://y", NULL},
        {TASK, "https://[::1]:8443/api", NULL},
        {TASK, "https://127.0.0.1:65535?q#f", NULL},
        {TASK, NULL, "task: 1 to 2048 bytes"},
        {TASK, "", "task: 1 to 2048 bytes"},
        {TASK, "http://my-domain.org", "the URL says http, the type says https"},
        {TASK, "ftp://my-domain.org", "the URL says ftp, the type says https"},
        {TASK, "https://", "has no host name"},
        {TASK, "/api", "has no host name"},
        {TASK, ":80/api", "has no host name"},
        {TASK, "https://[::1/api", "has no host name"},
        {TASK, "https://[::1]x/api", "has no host name"},
        {TASK, "https://a:0/", "is not a port"},
        {TASK, "https://a:65536/", "is not a port"},
        {TASK, "https://a:99999999999999999999/", "is not a port"},
        {TASK, "https://a:80a/", "is not a port"},
        {TASK, "https://a:/", "is not a port"},
        {TASK, "https://user:pw@a/", "Authorization"},
        {TASK, "https://a/b c", "character 12 of the URL must be percent-encoded"},
        {TASK, "https://a/\r\nX: y", "must be percent-encoded"},
        {TASK, "https://ä.org/", "must be percent-encoded"},

        {DESCRIPTION, "lines\nand\ttabs, ü", NULL},
        {DESCRIPTION, "bell\a", "description: must be UTF-8"},
        {DESCRIPTION, "\xc0\x80", "description: must be UTF-8"},

        {FILTER, "", NULL},
        {FILTER, "/data/amount >= 10.50 and /data/currency = \"EUR\"", NULL},
        {FILTER, "/data/amount >=", "^"},
        {FILTER, "\xff", "filter: must be UTF-8"},

        {SECRETS, "", NULL},
        {SECRETS, SECRET_24, NULL},
        {SECRETS, SECRET_64, NULL},
        {SECRETS, " " SECRET_24 "  whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0 ", NULL},
        {SECRETS, "12345678901234567890123", "24 to 64 bytes, this one has 23"},
        {SECRETS, SECRET_64 "5", "24 to 64 bytes, this one has 65"},
        {SECRETS, "whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM=", "this one has 23"},
        {SECRETS, "whsec_", "this one has 0"},
        {SECRETS, "whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NQ", "padded base64"},
        {SECRETS, "whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM_", "padded base64"},
        {SECRETS, "whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMj==MTIz", "padded base64"},
        {SECRETS, "whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NR==", "padded base64"},
        {SECRETS, "not-ascii-äöüäöüäöüäöü", "printable ASCII"},
        {SECRETS, SECRET_24 "\t", "printable ASCII"},
        {SECRETS, SECRET_24 " " SECRET_24 " " SECRET_24 " " SECRET_24 " " SECRET_24, "at most 4"},

        {HEADERS, "", NULL},
        {HEADERS, "X-Tenant: 7\nAuthorization: Basic Zm9v", NULL},
        {HEADERS, "X-Tenant:7", NULL},
        {HEADERS, "X-Hosted: yes", NULL},
        {HEADERS, "Accept: text/plain", NULL},
        {HEADERS, "X-Tenant", "a line is \"Name: value\""},
        {HEADERS, ": x", "a line is \"Name: value\""},
        {HEADERS, "X Tenant: 7", "a line is \"Name: value\""},
        {HEADERS, "X-Tenant : 7", "a line is \"Name: value\""},
        {HEADERS, "X-Tenant:   ", "X-Tenant has no value"},
        {HEADERS, "X-Tenant: a\rb", "control characters"},
        {HEADERS, "X-Tenant: a\x01", "control characters"},
        {HEADERS, "content-type: text/plain", "content-type is set by Provisor"},
        {HEADERS, "Content-Length: 5", "is set by Provisor"},
        {HEADERS, "TRANSFER-ENCODING: chunked", "is set by Provisor"},
        {HEADERS, "Connection: close", "is set by Provisor"},
        {HEADERS, "Host: other", "is set by Provisor"},
        {HEADERS, "Expect: 100-continue", "is set by Provisor"},
        {HEADERS, "User-Agent: x", "is set by Provisor"},
        {HEADERS, "Webhook-Id: x", "is set by Provisor"},
        {HEADERS, "webhook-: x", "is set by Provisor"},
        {HEADERS, "provisor-replay: 1", "is set by Provisor"},
        {HEADERS, "X-A: 1\nHost: other", "Host is set by Provisor"},
        {HEADERS, TEN("A: 1\n") TEN("A: 1\n") TEN("A: 1\n") "A: 1\nA: 1\n", NULL},
        {HEADERS, TEN("A: 1\n") TEN("A: 1\n") TEN("A: 1\n") "A: 1\nA: 1\nA: 1", "at most 32"},

        {RETRY, NULL, NULL},
        {RETRY, "", NULL},
        {RETRY, "0", NULL},
        {RETRY, "5s, 5m ,30m", NULL},
        {RETRY, "366d", NULL},
        {RETRY, "367d", "delay 1, \"367d\""},
        {RETRY, "5s,5x", "delay 2, \"5x\""},
        {RETRY, "5s,", "delay 2, \"\""},
        {RETRY, " ", "delay 1, \"\""},
        {RETRY, "5s 5m", "delay 1, \"5s 5m\""},
        {RETRY, TEN("1s,1s,1s,") "1s,1s", NULL},
        {RETRY, TEN("1s,1s,1s,") "1s,1s,1s", "more than 32 delays; write fewer"},

        {CA, "/etc/ssl/ca.pem", NULL},
        {CA, "ca.pem", "ca-file: an absolute path"},
        {CA, "/etc/\x01", "ca-file: must be UTF-8"},
        {CERT, "/etc/ssl/cert.pem", "cert-file and key-file go together"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_HANDLER handler;
        good_handler(&handler);
        set(text_member(&handler, cases[i].member), cases[i].text);
        expect(&handler, cases[i].text ? cases[i].text : "(NULL)", cases[i].expected);
    }
}

static void long_texts_are_refused(void **state)
{
    (void)state;
    static const struct {
        text_t member;
        const char *before;
        size_t limit;
        const char *expected;
    } cases[] = {
        {TASK, "https://a/", 2048, "task: 1 to 2048 bytes"},
        {DESCRIPTION, "", 4096, "description: at most 4096 bytes"},
        {FILTER, "/data/", 4096, "filter: at most 4096 bytes"},
        {HEADERS, "X-A: ", 8192, "headers: at most 8192 bytes"},
        {CA, "/", 1024, "ca-file: at most 1024 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_HANDLER handler;
        AUTO_BUF text = {0};
        good_handler(&handler);
        buf_add_str(&text, cases[i].before);
        while (text.size < cases[i].limit)
            buf_add_char(&text, 'x');
        set(text_member(&handler, cases[i].member), text.data);
        expect(&handler, "at the limit", cases[i].member == FILTER ? "^" : NULL);
        buf_add_char(&text, 'x');
        set(text_member(&handler, cases[i].member), text.data);
        expect(&handler, "beyond the limit", cases[i].expected);
    }
}

static void numbers_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t offset;
        int64_t min, max;
        bool minus_one; /* -1 is the default */
    } cases[] = {
        {"priority", offsetof(handler_t, priority), -1000000, 1000000, false},
        {"timeout", offsetof(handler_t, timeout_ms), 10, 600000, true},
        {"max-age", offsetof(handler_t, max_age_ms), 0, INT64_C(316224000000), true},
        {"hold", offsetof(handler_t, hold_ms), 0, INT64_C(316224000000), true},
        {"window", offsetof(handler_t, window), 1, 1000, true},
        {"rate", offsetof(handler_t, rate), 0, 1000000, false},
        {"http2", offsetof(handler_t, http2), 0, 1, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t good[] = {cases[i].min, cases[i].max, cases[i].minus_one ? -1 : cases[i].min};
        const int64_t bad[] = {cases[i].min - 1 == -1 && cases[i].minus_one ? -2 : cases[i].min - 1,
                               cases[i].max + 1, INT64_MIN, INT64_MAX};
        AUTO_HANDLER handler;
        good_handler(&handler);
        int64_t *member = (int64_t *)((char *)&handler + cases[i].offset);
        for (size_t j = 0; j < 3; j++) {
            *member = good[j];
            expect(&handler, cases[i].name, NULL);
        }
        for (size_t j = 0; j < 4; j++) {
            *member = bad[j];
            expect(&handler, cases[i].name, cases[i].name);
        }
    }
}

static void http_and_script_have_their_tasks(void **state)
{
    (void)state;
    static const struct {
        handler_type_t type;
        const char *task;
        const char *expected;
    } cases[] = {
        {HANDLER_HTTP, "http://a/", NULL},
        {HANDLER_HTTP, "a:8080", NULL},
        {HANDLER_HTTP, "https://a/", "the URL says https, the type says http"},
        {HANDLER_SCRIPT, "/usr/bin/notify", NULL},
        {HANDLER_SCRIPT, "my script.sh", NULL},
        {HANDLER_SCRIPT, "https://a/", "this is a URL, the type says script"},
        {HANDLER_SCRIPT, "a\nb", "a script's path"},
        {HANDLER_SCRIPT, "", "task: 1 to"},
        {7, "https://a/", "type: 7 is not between"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_HANDLER handler;
        good_handler(&handler);
        handler.type = cases[i].type;
        set(&handler.task, cases[i].task);
        expect(&handler, cases[i].task, cases[i].expected);
    }
}

static void a_client_certificate_has_two_files(void **state)
{
    (void)state;
    AUTO_HANDLER handler;
    good_handler(&handler);
    set(&handler.key_file, "/k.pem");
    expect(&handler, "key only", "go together");
    set(&handler.cert_file, "/c.pem");
    expect(&handler, "both", NULL);
    set(&handler.key_file, "k.pem");
    expect(&handler, "relative", "key-file: an absolute path");
}

static void patterns_cover(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *id;
        bool covers;
    } cases[] = {
        {"*", "clients.create", true},
        {"clients.create", "clients.create", true},
        {"clients.create", "clients.created", false},
        {"clients.create", "clients", false},
        {"clients.*", "clients.create", true},
        {"clients.*", "clients.accounts.create", true},
        {"clients.*", "clients", false},
        {"clients.*", "clients.", false},
        {"clients.*", "clientsx.create", false},
        {"clients.*", "dids.create", false},
        {"a.*", "a", false},
        {"", "a", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (handler_pattern_covers(slice_of(cases[i].pattern), slice_of(cases[i].id)) !=
            cases[i].covers)
            fail_msg("%s over %s", cases[i].pattern, cases[i].id);
}

static void urls_get_their_scheme(void **state)
{
    (void)state;
    static const struct {
        handler_type_t type;
        const char *task, *url;
    } cases[] = {
        {HANDLER_HTTPS, "my-domain.org/api", "https://my-domain.org/api"},
        {HANDLER_HTTP, "localhost:8080", "http://localhost:8080"},
        {HANDLER_HTTPS, "HTTPS://my-domain.org/api", "HTTPS://my-domain.org/api"},
        {HANDLER_HTTP, "http://a?b=http://c", "http://a?b=http://c"},
        {HANDLER_HTTPS, "a?b=https://c", "https://a?b=https://c"},
        {HANDLER_SCRIPT, "/usr/bin/notify", "/usr/bin/notify"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_HANDLER handler;
        AUTO_BUF url = {0};
        handler_init(&handler);
        handler.type = cases[i].type;
        set(&handler.task, cases[i].task);
        buf_add_str(&url, "old");
        handler_url(&handler, &url);
        assert_string_equal(url.data, cases[i].url);
    }
}

static void secrets_decode(void **state)
{
    (void)state;
    static const struct {
        const char *secret;
        const char *key;
    } cases[] = {
        {SECRET_24, SECRET_24},
        {"whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0", SECRET_24},
        {"whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NQ==", SECRET_24 "5"},
        {"whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY=", SECRET_24 "56"},
        {"whsec_+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/",
         "\xfb\xff\xbf\xfb\xff\xbf\xfb\xff\xbf\xfb\xff\xbf\xfb\xff\xbf\xfb\xff\xbf\xfb\xff\xbf\xfb"
         "\xff\xbf"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF key = {0};
        assert_int_equal(handler_secret_decode(slice_of(cases[i].secret), &key, NULL), RESULT_OK);
        assert_string_equal(key.data, cases[i].key);
    }
    AUTO_BUF kept = {0};
    buf_add_str(&kept, "kept");
    assert_int_equal(handler_secret_decode(SLICE("short"), &kept, NULL), RESULT_INVALID);
    assert_string_equal(kept.data, "kept");
}

static void json_shows_everything_but_secrets(void **state)
{
    (void)state;
    AUTO_HANDLER handler;
    AUTO_BUF text = {0};
    json_writer_t w;
    good_handler(&handler);
    handler.id = 3;
    handler.created_ms = 1767225600123;
    set(&handler.events, "clients.*  dids.create");
    set(&handler.task, "my-domain.org/api");
    set(&handler.headers, "Authorization: Basic hidden\nX-Tenant:7");
    set(&handler.secrets, SECRET_24 " whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0");
    set(&handler.retry, "");
    handler.window = 4;
    json_begin(&w, &text);
    handler_json(&handler, &w);
    assert_string_equal(
        text.data,
        "{\"id\":3,\"name\":\"CRM\",\"type\":\"https\",\"status\":\"enabled\","
        "\"status_reason\":null,\"events\":[\"clients.*\",\"dids.create\"],"
        "\"task\":\"my-domain.org/api\",\"url\":\"https://my-domain.org/api\",\"priority\":100,"
        "\"description\":null,\"filter\":null,"
        "\"secrets\":[\"sha256:05ae4505\",\"sha256:05ae4505\"],"
        "\"headers\":[\"Authorization: ***\",\"X-Tenant: ***\"],\"timeout_ms\":null,\"retry\":\"\","
        "\"max_age_ms\":null,\"hold_ms\":null,\"window\":4,\"rate\":0,\"ordering\":\"object\","
        "\"http2\":false,\"tls\":\"verify\",\"ca_file\":null,\"cert_file\":null,\"key_file\":null,"
        "\"created_at\":\"2026-01-01T00:00:00.123Z\",\"updated_at\":null,\"version\":0}");
    AUTO(json_tree) tree = NULL;
    assert_int_equal(json_parse(buf_slice(&text), &tree, NULL), RESULT_OK);
}

static void names_of_types_and_statuses(void **state)
{
    (void)state;
    assert_string_equal(handler_type_str(HANDLER_SCRIPT), "script");
    assert_string_equal(handler_status_str(HANDLER_SUSPENDED), "suspended");
    assert_string_equal(handler_status_str(HANDLER_DELETED), "deleted");
    assert_string_equal(handler_type_str(9), "unknown");
    assert_string_equal(handler_status_str(-1), "unknown");
}

static void a_released_handler_is_as_new(void **state)
{
    (void)state;
    handler_t handler, fresh;
    good_handler(&handler);
    handler.window = 5;
    handler_release(&handler);
    handler_init(&fresh);
    assert_memory_equal(&handler, &fresh, sizeof handler);
    handler_release(&handler); /* harmless */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_checked),
        cmocka_unit_test(long_texts_are_refused),
        cmocka_unit_test(numbers_are_checked),
        cmocka_unit_test(http_and_script_have_their_tasks),
        cmocka_unit_test(a_client_certificate_has_two_files),
        cmocka_unit_test(patterns_cover),
        cmocka_unit_test(urls_get_their_scheme),
        cmocka_unit_test(secrets_decode),
        cmocka_unit_test(json_shows_everything_but_secrets),
        cmocka_unit_test(names_of_types_and_statuses),
        cmocka_unit_test(a_released_handler_is_as_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
