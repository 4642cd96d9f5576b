#include "common/base/utf8.h"

/* Length of the well-formed sequence at p, 0 if there is none. */
static size_t sequence(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    size_t size = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
                  : p[0] >= 0xe0 && p[0] <= 0xef ? 3
                  : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                                 : 0;
    if (size == 0 || size > left)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return size;
}

bool utf8_valid(slice_t text)
{
    const unsigned char *p = (const unsigned char *)text.data;
    for (size_t at = 0; at < text.size;) {
        size_t size = sequence(p + at, text.size - at);
        if (size == 0)
            return false;
        at += size;
    }
    return true;
}

void utf8_repair(buf_t *buf, slice_t text)
{
    const unsigned char *p = (const unsigned char *)text.data;
    for (size_t at = 0; at < text.size;) {
        size_t size = sequence(p + at, text.size - at);
        if (size)
            buf_add(buf, text.data + at, size);
        else
            buf_add_str(buf, "\xef\xbf\xbd");
        at += size ? size : 1;
    }
}
