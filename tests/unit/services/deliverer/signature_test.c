#include "services/deliverer/signature.h"

#include "tests/support/unit.h"
#include "tests/support/child.h"
#include "common/base/cleanup.h"

#define KEY_24 "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define KEY_64                                                                                     \
    "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+"   \
    "Pw=="
#define KEY_65                                                                                     \
    "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+"   \
    "P0A="
#define PLAIN_24 "a-plain-secret-24-bytes."

static void sign(const char *secrets, slice_t id, int64_t timestamp_s, slice_t body, buf_t *ret)
{
    AUTO(signature) signature = NULL;
    fault_t fault;
    assert_int_equal(signature_new(secrets, &signature, &fault), RESULT_OK);
    signature_add(signature, id, timestamp_s, body, ret);
}

/* The vector of Standard Webhooks 1.0.0. */
static void test_vector(void **state)
{
    AUTO_BUF value = {0};
    (void)state;
    sign(KEY_24, SLICE("msg_p5jXN8AQM9LWM0D4loKWxJek"), 1614265330, SLICE("{\"test\": 2432232314}"),
         &value);
    assert_string_equal(value.data, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

/* While a secret rotates there are several; each value is the one that its secret alone gives. */
static void test_several(void **state)
{
    AUTO_BUF all = {0}, one = {0};
    (void)state;
    sign("  " KEY_24 "  " PLAIN_24 " " KEY_64, SLICE("id"), 1, SLICE("body"), &all);
    sign(KEY_24, SLICE("id"), 1, SLICE("body"), &one);
    buf_add_char(&one, ' ');
    sign(PLAIN_24, SLICE("id"), 1, SLICE("body"), &one);
    buf_add_char(&one, ' ');
    sign(KEY_64, SLICE("id"), 1, SLICE("body"), &one);
    assert_string_equal(all.data, one.data);
}

/* One object signs one body after the other. */
static void test_again(void **state)
{
    AUTO(signature) signature = NULL;
    AUTO_BUF first = {0}, other = {0}, again = {0};
    (void)state;
    assert_int_equal(signature_new(KEY_24 " " PLAIN_24, &signature, NULL), RESULT_OK);
    signature_add(signature, SLICE("id"), 1, SLICE("body"), &first);
    signature_add(signature, SLICE("id"), 2, SLICE("body"), &other);
    signature_add(signature, SLICE("id"), 1, SLICE("body"), &again);
    assert_string_not_equal(first.data, other.data);
    assert_string_equal(first.data, again.data);
}

static void test_refused(void **state)
{
    static const struct {
        const char *secrets;
        const char *message;
    } cases[] = {
        {"", "no signing secret"},
        {"   ", "no signing secret"},
        {"short", "signing secret 1 has 5 bytes, must have 24 to 64"},
        {KEY_24 " a-plain-secret-23-bytes", "signing secret 2 has 23 bytes, must have 24 to 64"},
        {"12345678901234567890123456789012345678901234567890123456789012345",
         "signing secret 1 has 65 bytes, must have 24 to 64"},
        {KEY_65, "signing secret 1 has 65 bytes, must have 24 to 64"},
        {"whsec_MTIz", "signing secret 1 has 3 bytes, must have 24 to 64"},
        {"whsec_", "signing secret 1: not base64 of 24 to 64 bytes after whsec_"},
        {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
         "signing secret 1: not base64 of 24 to 64 bytes after whsec_"},
        {"whsec_MfKQ9r8GKYqr=wjUPD8ILPZIo2LaLaSw",
         "signing secret 1: not base64 of 24 to 64 bytes after whsec_"},
        {"whsec_MfKQ9r8GKYqr-_jUPD8ILPZIo2LaLaSw",
         "signing secret 1: not base64 of 24 to 64 bytes after whsec_"},
        {KEY_64 "AAAA", "signing secret 1: not base64 of 24 to 64 bytes after whsec_"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO(signature) signature = NULL;
        fault_t fault;
        assert_int_not_equal(signature_new(cases[i].secrets, &signature, &fault), RESULT_OK);
        assert_string_equal(fault.text, cases[i].message);
        assert_null(signature);
    }
}

static void test_too_many(void **state)
{
    AUTO(signature) signature = NULL;
    AUTO_BUF secrets = {0};
    (void)state;
    for (int i = 0; i < 9; i++)
        buf_add_str(&secrets, PLAIN_24 " ");
    assert_int_equal(signature_new(secrets.data, &signature, NULL), RESULT_TOO_LARGE);
}

/* Python's hmac as the independent receiver: bodies of many sizes, with every byte value. */
static void test_python_agrees(void **state)
{
    static const char script[] =
        "import base64, hashlib, hmac\n"
        "keys = [base64.b64decode('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'), bytes(range(64)),\n"
        "        b'" PLAIN_24 "']\n"
        "for n in range(0, 3000, 7):\n"
        "    text = b'01J%d.%d.' % (n, 1700000000 + n) + bytes(i * 31 % 256 for i in range(n))\n"
        "    print(' '.join('v1,' + base64.b64encode(hmac.new(k, text, hashlib.sha256).digest())"
        ".decode() for k in keys))\n";
    AUTO(signature) signature = NULL;
    AUTO_BUF body = {0}, value = {0};
    child_t python;
    char line[512];
    (void)state;
    assert_int_equal(signature_new(KEY_24 " " KEY_64 " " PLAIN_24, &signature, NULL), RESULT_OK);
    child_start(&python, (const char *const[]){"/usr/bin/python3", "-c", script, NULL});
    for (int n = 0; n < 3000; n += 7) {
        char id[32];
        snprintf(id, sizeof id, "01J%d", n);
        while (body.size < (size_t)n)
            buf_add_char(&body, (char)(body.size * 31 % 256));
        buf_clear(&value);
        signature_add(signature, slice_of(id), 1700000000 + n, buf_slice(&body), &value);
        buf_add_char(&value, '\n');
        assert_non_null(fgets(line, sizeof line, python.out));
        assert_string_equal(value.data, line);
    }
    child_stop(&python);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),   cmocka_unit_test(test_several),
        cmocka_unit_test(test_again),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_many), cmocka_unit_test(test_python_agrees),
    };
    return cmocka_run_group_tests_name("signature", tests, NULL, NULL);
}
