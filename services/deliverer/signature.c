#include "services/deliverer/signature.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/core_names.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/cleanup.h"
#include "common/base/mem.h"

#define SECRET_PREFIX "whsec_"

enum {
    SECRET_MIN = 24,
    SECRET_MAX = 64,
    BASE64_MAX = (SECRET_MAX + 2) / 3 * 4, /* characters, with padding */
    SECRETS_MAX = 8,
    MAC_SIZE = 32,
    MAC_TEXT_SIZE = 44, /* base64 of it */
};

struct signature_t {
    EVP_MAC_CTX
    *macs[SECRETS_MAX]; /* one per secret, its key set: init without a key starts again */
    size_t n_macs;      /* > 0 */
};

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* Standard alphabet with padding, so that a character lost in copying is noticed. False: it is not
 * that, or longer than SECRET_MAX. */
static bool decode_base64(slice_t text, unsigned char ret_key[static BASE64_MAX], size_t *ret_size)
{
    size_t n = 0;
    while (n < text.size && is_base64(text.data[n]))
        n++;
    size_t padding = text.size - n;
    if (text.size == 0 || text.size > BASE64_MAX || text.size % 4 != 0 || padding > 2)
        return false;
    for (size_t i = n; i < text.size; i++)
        if (text.data[i] != '=')
            return false;
    int size = EVP_DecodeBlock(ret_key, (const unsigned char *)text.data, (int)text.size);
    if (size < 0)
        return false;
    *ret_size = (size_t)size - padding;
    return true;
}

static EVP_MAC_CTX *new_mac(const unsigned char *key, size_t size)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac = EVP_MAC_CTX_new(hmac);
    EVP_MAC_free(hmac);
    ENSURE(mac && EVP_MAC_init(mac, key, size, params));
    return mac;
}

static result_t add_secret(signature_t *self, slice_t secret, fault_t *fault)
{
    unsigned char key[BASE64_MAX];
    const size_t prefix = sizeof SECRET_PREFIX - 1;
    size_t size = secret.size;
    if (self->n_macs == SECRETS_MAX)
        return fault_set(fault, RESULT_TOO_LARGE, "more than %d signing secrets", SECRETS_MAX);
    if (secret.size >= prefix && memcmp(secret.data, SECRET_PREFIX, prefix) == 0) {
        slice_t text = {secret.data + prefix, secret.size - prefix};
        if (!decode_base64(text, key, &size))
            return fault_set(
                fault, RESULT_INVALID,
                "signing secret %zu: not base64 of %d to %d bytes after " SECRET_PREFIX,
                self->n_macs + 1, SECRET_MIN, SECRET_MAX);
    } else {
        memcpy(key, secret.data, size < sizeof key ? size : sizeof key);
    }
    if (size < SECRET_MIN || size > SECRET_MAX)
        return fault_set(fault, RESULT_INVALID,
                         "signing secret %zu has %zu bytes, must have %d to %d", self->n_macs + 1,
                         size, SECRET_MIN, SECRET_MAX);
    self->macs[self->n_macs++] = new_mac(key, size);
    OPENSSL_cleanse(key, sizeof key);
    return RESULT_OK;
}

result_t signature_new(const char *secrets, signature_t **ret_signature, fault_t *fault)
{
    AUTO(signature) self = MEM_NEW(signature_t);
    for (const char *at = secrets + strspn(secrets, " "); *at; at += strspn(at, " ")) {
        slice_t secret = {at, strcspn(at, " ")};
        result_t r = add_secret(self, secret, fault);
        if (r != RESULT_OK)
            return r;
        at += secret.size;
    }
    if (self->n_macs == 0)
        return fault_set(fault, RESULT_INVALID, "no signing secret");
    *ret_signature = TAKE(self);
    return RESULT_OK;
}

void signature_destroy(signature_t **signature)
{
    signature_t *self = *signature;
    if (!self)
        return;
    for (size_t i = 0; i < self->n_macs; i++)
        EVP_MAC_CTX_free(self->macs[i]);
    free(self);
    *signature = NULL;
}

static void update(EVP_MAC_CTX *mac, slice_t part)
{
    ENSURE(part.size == 0 || EVP_MAC_update(mac, (const unsigned char *)part.data, part.size));
}

void signature_add(signature_t *self, slice_t id, int64_t timestamp_s, slice_t body,
                   buf_t *ret_value)
{
    char stamp[32];
    slice_t middle = {stamp,
                      (size_t)snprintf(stamp, sizeof stamp, ".%lld.", (long long)timestamp_s)};
    for (size_t i = 0; i < self->n_macs; i++) {
        EVP_MAC_CTX *mac = self->macs[i];
        unsigned char digest[MAC_SIZE];
        size_t size;
        ENSURE(EVP_MAC_init(mac, NULL, 0, NULL));
        update(mac, id);
        update(mac, middle);
        update(mac, body);
        ENSURE(EVP_MAC_final(mac, digest, &size, sizeof digest) && size == MAC_SIZE);
        buf_add_str(ret_value, i ? " v1," : "v1,");
        unsigned char *to = (unsigned char *)buf_reserve(ret_value, MAC_TEXT_SIZE);
        ret_value->size += (size_t)EVP_EncodeBlock(to, digest, MAC_SIZE);
    }
}
