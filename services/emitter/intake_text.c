#include "services/emitter/intake_text.h"

#include <stdlib.h>

enum { PAIRWISE_KEYS_MAX = 12 };

void intake_path_add(buf_t *path, slice_t key)
{
    buf_add_char(path, '/');
    for (size_t i = 0; i < key.size && path->size < INTAKE_PATH_MAX; i++) {
        if (key.data[i] == '~')
            buf_add_str(path, "~0");
        else if (key.data[i] == '/')
            buf_add_str(path, "~1");
        else
            buf_add_char(path, key.data[i]);
    }
    if (path->size > INTAKE_PATH_MAX)
        path->size = INTAKE_PATH_MAX;
}

bool intake_is_ascii(slice_t text)
{
    const uint64_t high = 0x8080808080808080ull;
    size_t at = 0;
    for (uint64_t word; at + sizeof word <= text.size; at += sizeof word) {
        memcpy(&word, text.data + at, sizeof word);
        if (word & high)
            return false;
    }
    for (; at < text.size; at++)
        if (text.data[at] & 0x80)
            return false;
    return true;
}

static unsigned hex4(const char *digits)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)digits[i];
        value = value << 4 | (c <= '9' ? c - 48u : (c | 0x20u) - 'a' + 10u);
    }
    return value;
}

bool intake_has_lone_surrogate(slice_t raw)
{
    for (size_t i = 0; i + 1 < raw.size; i++) {
        if (raw.data[i] != '\\')
            continue;
        i++;
        if (raw.data[i] != 'u')
            continue;
        unsigned unit = hex4(raw.data + i + 1);
        i += 4;
        if (unit < 0xd800 || unit > 0xdfff)
            continue;
        bool low_follows = unit < 0xdc00 && i + 6 < raw.size && raw.data[i + 1] == '\\' &&
                           raw.data[i + 2] == 'u' && (hex4(raw.data + i + 3) & 0xfc00) == 0xdc00;
        if (!low_follows)
            return true;
        i += 6;
    }
    return false;
}

static int compare_keys(const void *a, const void *b)
{
    const slice_t *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return x->size ? memcmp(x->data, y->data, x->size) : 0;
}

const slice_t *intake_duplicate_key(slice_t *keys, size_t n)
{
    if (n > PAIRWISE_KEYS_MAX) {
        qsort(keys, n, sizeof *keys, compare_keys);
        for (size_t i = 1; i < n; i++)
            if (slice_equal(keys[i - 1], keys[i]))
                return &keys[i];
        return NULL;
    }
    for (size_t i = 1; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (slice_equal(keys[i], keys[j]))
                return &keys[i];
    return NULL;
}
