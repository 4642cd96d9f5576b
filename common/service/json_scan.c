#include "common/service/json_scan.h"

const char *json_scan_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

const char *json_scan_string(const char *at, const char *end, bool *ret_escaped)
{
    bool escaped = false;
    for (at++; at < end && *at != '"'; at++) {
        if (*at == '\\') {
            escaped = true;
            if (++at == end)
                return NULL;
        }
    }
    if (at == end)
        return NULL;
    *ret_escaped = escaped;
    return at + 1;
}

const char *json_scan_close(const char *at, const char *end)
{
    static const char special[256] = {['"'] = 1, ['{'] = 1, ['['] = 1, ['}'] = 1, [']'] = 1};
    bool escaped;
    for (size_t depth = 1; depth > 0;) {
        while (at < end && !special[(unsigned char)*at])
            at++;
        if (at == end)
            return NULL;
        if (*at == '"') {
            at = json_scan_string(at, end, &escaped);
            if (!at)
                return NULL;
            continue;
        }
        if (*at == '{' || *at == '[')
            depth++;
        else
            depth--;
        at++;
    }
    return at;
}

const char *json_scan_value(const char *at, const char *end)
{
    bool escaped;
    if (at == end)
        return NULL;
    if (*at == '"')
        return json_scan_string(at, end, &escaped);
    if (*at == '{' || *at == '[')
        return json_scan_close(at + 1, end);
    static const char ends[256] = {
        [','] = 1, ['}'] = 1, [']'] = 1, [':'] = 1, [' '] = 1, ['\t'] = 1, ['\n'] = 1, ['\r'] = 1};
    const char *begin = at;
    while (at < end && !ends[(unsigned char)*at])
        at++;
    return at == begin ? NULL : at;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* text = "\\u00e9..."; -1 when it is not that */
static int32_t read_unit(slice_t text)
{
    int32_t value = 0;
    if (text.size < 6 || text.data[0] != '\\' || text.data[1] != 'u')
        return -1;
    for (size_t i = 2; i < 6; i++) {
        int digit = hex_digit(text.data[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static void add_code_point(buf_t *to, uint32_t c)
{
    if (c < 0x80) {
        buf_add_char(to, (char)c);
    } else if (c < 0x800) {
        buf_add_char(to, (char)(0xc0 | c >> 6));
        buf_add_char(to, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_add_char(to, (char)(0xe0 | c >> 12));
        buf_add_char(to, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_add_char(to, (char)(0x80 | (c & 0x3f)));
    } else {
        buf_add_char(to, (char)(0xf0 | c >> 18));
        buf_add_char(to, (char)(0x80 | (c >> 12 & 0x3f)));
        buf_add_char(to, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_add_char(to, (char)(0x80 | (c & 0x3f)));
    }
}

/* raw begins with a backslash; how many characters were taken */
static size_t add_escape(slice_t raw, buf_t *to)
{
    static const char simple[256] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                     ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
    if (raw.size > 1 && simple[(unsigned char)raw.data[1]]) {
        buf_add_char(to, simple[(unsigned char)raw.data[1]]);
        return 2;
    }
    int32_t unit = read_unit(raw);
    if (unit < 0) { /* not JSON */
        buf_add_char(to, raw.data[0]);
        return 1;
    }
    int32_t low = -1;
    if (unit >= 0xd800 && unit < 0xdc00)
        low = read_unit((slice_t){raw.data + 6, raw.size - 6});
    if (low < 0xdc00 || low > 0xdfff) {
        add_code_point(to, (uint32_t)unit);
        return 6;
    }
    add_code_point(to, 0x10000u + ((uint32_t)(unit - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
    return 12;
}

void json_scan_unescape(slice_t raw, buf_t *to)
{
    for (size_t i = 0; i < raw.size;) {
        const char *backslash = memchr(raw.data + i, '\\', raw.size - i);
        size_t plain = backslash ? (size_t)(backslash - raw.data) - i : raw.size - i;
        buf_add(to, raw.data + i, plain);
        i += plain;
        if (i < raw.size)
            i += add_escape((slice_t){raw.data + i, raw.size - i}, to);
    }
}
