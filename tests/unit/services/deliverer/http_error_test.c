/* What needs no server; the rest is in http_test.c and http_tls_test.c. */
#include "services/deliverer/http_error.h"
#include "common/base/cleanup.h"
#include "tests/support/unit.h"

#define URL "https://user:secret@example.org:8443/path"

typedef struct {
    const char *name;
    CURLcode code;
    const char *curl_text;
    bool connected;
    size_t header_bytes;
    const char *cert_file;
    http_reading_t reading;
    exchange_end_t end;
    const char *text;
} case_t;

static void check(const case_t *c, const char *url)
{
    AUTO_BUF text = {0};
    http_response_t response = {.header_bytes = c->header_bytes, .reading = c->reading};
    exchange_request_t request = {
        .url = url, .timeout_ms = 900, .connect_timeout_ms = 300, .cert_file = c->cert_file};
    http_progress_t progress = {.request = &request,
                                .response = &response,
                                .easy = curl_easy_init(),
                                .curl_text = c->curl_text ? c->curl_text : "",
                                .connected = c->connected};
    exchange_end_t end = http_error(&progress, c->code, &text);
    curl_easy_cleanup(progress.easy);
    if (end != c->end || strcmp(text.data, c->text) != 0)
        fail_msg("%s: %d \"%s\"", c->name, (int)end, text.data);
    assert_null(strstr(text.data, "secret"));
}

static void ends_and_texts(void **state)
{
    static const case_t cases[] = {
        {.name = "connect timeout",
         .code = CURLE_OPERATION_TIMEDOUT,
         .end = EXCHANGE_TIMEOUT,
         .text = "timed out after 300 ms (connecting)"},
        {.name = "no such host",
         .code = CURLE_COULDNT_RESOLVE_HOST,
         .end = EXCHANGE_REFUSED,
         .text = "host not found: example.org"},
        {.name = "refused without an errno",
         .code = CURLE_COULDNT_CONNECT,
         .curl_text = "Failed to connect",
         .end = EXCHANGE_REFUSED,
         .text = "cannot connect: failed to connect"},
        {.name = "another name",
         .code = CURLE_PEER_FAILED_VERIFICATION,
         .curl_text = "SSL: no alternative certificate subject name matches",
         .end = EXCHANGE_TLS,
         .text = "certificate is for another name (not for example.org)"},
        {.name = "CA file",
         .code = CURLE_SSL_CACERT_BADFILE,
         .end = EXCHANGE_INVALID,
         .text = "CA file cannot be read (the system's)"},
        {.name = "handshake, OpenSSL's words",
         .code = CURLE_SSL_CONNECT_ERROR,
         .curl_text = "error:0A00010B:SSL routines::wrong version number, errno 0",
         .end = EXCHANGE_TLS,
         .text = "TLS handshake failed: wrong version number"},
        {.name = "an abbreviation stays as it is",
         .code = CURLE_SSL_CIPHER,
         .curl_text = "SSL cipher",
         .end = EXCHANGE_TLS,
         .text = "TLS handshake failed: SSL cipher"},
        {.name = "nothing",
         .code = CURLE_GOT_NOTHING,
         .connected = true,
         .end = EXCHANGE_BROKEN,
         .text = "connection closed without an answer"},
        {.name = "half",
         .code = CURLE_PARTIAL_FILE,
         .connected = true,
         .end = EXCHANGE_BROKEN,
         .text = "connection closed in the middle of the answer"},
        {.name = "alert",
         .code = CURLE_RECV_ERROR,
         .connected = true,
         .curl_text = "error:0A000412:SSL routines::sslv3 alert bad certificate, errno 0",
         .end = EXCHANGE_TLS,
         .text = "TLS: sslv3 alert bad certificate"},
        {.name = "lost in the answer",
         .code = CURLE_RECV_ERROR,
         .connected = true,
         .curl_text = "Reset",
         .header_bytes = 9,
         .end = EXCHANGE_BROKEN,
         .text = "connection lost: reset"},
        {.name = "bad URL",
         .code = CURLE_URL_MALFORMAT,
         .curl_text = "Bad",
         .end = EXCHANGE_INVALID,
         .text = "bad URL: bad"},
        {.name = "not HTTP",
         .code = CURLE_UNSUPPORTED_PROTOCOL,
         .curl_text = "Bad",
         .connected = true,
         .end = EXCHANGE_BROKEN,
         .text = "malformed answer: bad"},
        {.name = "headers",
         .code = CURLE_WRITE_ERROR,
         .connected = true,
         .reading = HTTP_HEADERS_TOO_LARGE,
         .end = EXCHANGE_BROKEN,
         .text = "response headers are larger than 64 KiB"},
        {.name = "chunks",
         .code = CURLE_WRITE_ERROR,
         .connected = true,
         .curl_text = "Chunk",
         .end = EXCHANGE_BROKEN,
         .text = "malformed answer: chunk"},
        {.name = "anything else",
         .code = CURLE_OUT_OF_MEMORY,
         .curl_text = "Out",
         .end = EXCHANGE_BROKEN,
         .text = "failed: out"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(&cases[i], URL);
}

static void without_tls_a_loss_is_a_loss(void **state)
{
    static const case_t lost = {.name = "plain",
                                .code = CURLE_SEND_ERROR,
                                .connected = true,
                                .curl_text = "Broken pipe",
                                .end = EXCHANGE_BROKEN,
                                .text = "connection lost: broken pipe"};
    (void)state;
    check(&lost, "http://example.org");
}

static void a_timeout_says_how_far_it_came(void **state)
{
    static const struct {
        bool connected;
        size_t header_bytes;
        const char *text;
    } cases[] = {
        {false, 0, "timed out after 900 ms (connecting)"},
        {true, 0, "timed out after 900 ms (waiting for the response)"},
        {true, 9, "timed out after 900 ms (reading it)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF text = {0};
        http_response_t response = {.header_bytes = cases[i].header_bytes};
        exchange_request_t request = {.url = URL, .timeout_ms = 900};
        http_progress_t progress = {&request, &response, NULL, "", cases[i].connected};
        assert_int_equal(http_error_timeout(&progress, &text), EXCHANGE_TIMEOUT);
        assert_string_equal(text.data, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_and_texts),
        cmocka_unit_test(without_tls_a_loss_is_a_loss),
        cmocka_unit_test(a_timeout_says_how_far_it_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
