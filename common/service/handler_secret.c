#include "common/service/handler.h"

#include <ctype.h>

enum { KEY_MIN_BYTES = 24, KEY_MAX_BYTES = 64 };

/* -1: not of the alphabet. */
static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Strict, as the receivers' libraries are: padded, nothing between, no bits left over. A secret
 * that only one side can read would fail at every receiver. */
static bool add_base64(slice_t text, buf_t *to)
{
    unsigned bits = 0;
    int n_bits = 0;
    size_t padding = 0;
    while (padding < 2 && padding < text.size && text.data[text.size - 1 - padding] == '=')
        padding++;
    if (text.size % 4 != 0)
        return false;
    for (size_t i = 0; i < text.size - padding; i++) {
        int digit = digit_of(text.data[i]);
        if (digit < 0)
            return false;
        bits = (bits << 6 | (unsigned)digit) & 0xffff;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            buf_add_char(to, (char)(bits >> n_bits));
        }
    }
    return (bits & ((1u << n_bits) - 1)) == 0;
}

result_t handler_secret_decode(slice_t secret, buf_t *ret_key, fault_t *fault)
{
    static const char prefix[] = "whsec_";
    const size_t prefix_size = sizeof prefix - 1;
    AUTO_BUF key = {0};
    if (secret.size >= prefix_size && memcmp(secret.data, prefix, prefix_size) == 0) {
        slice_t text = {secret.data + prefix_size, secret.size - prefix_size};
        if (!add_base64(text, &key))
            return fault_set(fault, RESULT_INVALID,
                             "secrets: what follows whsec_ must be padded base64");
    } else {
        for (size_t i = 0; i < secret.size; i++)
            if (!isgraph((unsigned char)secret.data[i]))
                return fault_set(fault, RESULT_INVALID,
                                 "secrets: a plain text secret has printable ASCII characters "
                                 "only; encode others as whsec_<base64>");
        buf_add_slice(&key, secret);
    }
    if (key.size < KEY_MIN_BYTES || key.size > KEY_MAX_BYTES)
        return fault_set(fault, RESULT_INVALID,
                         "secrets: a secret has %d to %d bytes, this one has %zu; --secret "
                         "generate makes a good one",
                         KEY_MIN_BYTES, KEY_MAX_BYTES, key.size);
    buf_clear(ret_key);
    buf_add_slice(ret_key, buf_slice(&key));
    return RESULT_OK;
}
