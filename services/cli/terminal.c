#include "services/cli/terminal.h"

#include <stdio.h>

#include "common/base/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd"

/* Bytes that steer at p, in well-formed UTF-8: 0 when what is there is harmless. */
static size_t steers(const unsigned char *p, size_t left)
{
    if (p[0] < 0x20 || p[0] == 0x7f)
        return 1;
    if (left >= 2 && p[0] == 0xc2 && p[1] <= 0x9f) /* U+0080-U+009F */
        return 2;
    if (left < 3 || p[0] != 0xe2)
        return 0;
    bool embeds = p[1] == 0x80 && p[2] >= 0xaa && p[2] <= 0xae;   /* U+202A-U+202E */
    bool isolates = p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9; /* U+2066-U+2069 */
    return embeds || isolates ? 3 : 0;
}

static void add(buf_t *to, slice_t text, bool lines)
{
    AUTO_BUF repaired = {0};
    utf8_repair(&repaired, text);
    for (size_t at = 0; at < repaired.size;) {
        const char *c = repaired.data + at;
        size_t size = steers((const unsigned char *)c, repaired.size - at);
        if (size == 0)
            buf_add_char(to, *c);
        else if (lines && *c == '\n')
            buf_add_char(to, '\n');
        else if (lines && *c == '\r' && c[1] == '\n')
            ; /* the line feed follows */
        else if (*c == '\t' || (!lines && (*c == '\r' || *c == '\n')))
            buf_add_char(to, ' ');
        else
            buf_add_str(to, REPLACEMENT);
        at += size ? size : 1;
    }
}

void terminal_add_line(buf_t *to, slice_t text)
{
    add(to, text, false);
}

void terminal_add_lines(buf_t *to, slice_t text)
{
    add(to, text, true);
}

void terminal_print(const char *before, const char *text, const char *after)
{
    AUTO_BUF clean = {0};
    if (!text)
        return;
    terminal_add_line(&clean, slice_of(text));
    printf("%s%s%s", before, clean.data ? clean.data : "", after);
}
