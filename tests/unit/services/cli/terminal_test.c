#include "tests/support/unit.h"

#include "services/cli/terminal.h"

#define BAD "\xef\xbf\xbd"

static void what_steers_a_terminal_is_replaced(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        slice_t text;
        const char *line, *lines;
    } cases[] = {
        {"nothing", SLICE(""), "", ""},
        {"plain text", SLICE("caf\xc3\xa9 \xe2\x82\xac"), "caf\xc3\xa9 \xe2\x82\xac",
         "caf\xc3\xa9 \xe2\x82\xac"},
        {"clear the screen", SLICE("a\x1b[2Jb"), "a" BAD "[2Jb", "a" BAD "[2Jb"},
        {"set the title", SLICE("\x1b]0;x\x07"), BAD "]0;x" BAD, BAD "]0;x" BAD},
        {"backspace, delete", SLICE("a\b\x7f"), "a" BAD BAD, "a" BAD BAD},
        {"a zero byte", SLICE("a\0b"), "a" BAD "b", "a" BAD "b"},
        {"CSI of C1",
         SLICE("\xc2\x9b"
               "31m"),
         BAD "31m", BAD "31m"},
        {"first and last C1", SLICE("\xc2\x80\xc2\x9f\xc2\xa0"), BAD BAD "\xc2\xa0",
         BAD BAD "\xc2\xa0"},
        {"C1 as a byte",
         SLICE("\x9b"
               "31m"),
         BAD "31m", BAD "31m"},
        {"bidi embeddings", SLICE("\xe2\x80\xaa\xe2\x80\xae"), BAD BAD, BAD BAD},
        {"bidi isolates", SLICE("\xe2\x81\xa6\xe2\x81\xa9"), BAD BAD, BAD BAD},
        {"next to bidi", SLICE("\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa"),
         "\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa",
         "\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa"},
        {"cut short", SLICE("a\xe2\x80"), "a" BAD BAD, "a" BAD BAD},
        {"line feeds", SLICE("a\nb\n"), "a b ", "a\nb\n"},
        {"header lines", SLICE("a: 1\r\nb: 2\r\n"), "a: 1  b: 2  ", "a: 1\nb: 2\n"},
        {"carriage return", SLICE("bad\rgood"), "bad good", "bad" BAD "good"},
        {"tab", SLICE("a\tb"), "a b", "a b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF line = {0}, lines = {0};
        terminal_add_line(&line, cases[i].text);
        terminal_add_lines(&lines, cases[i].text);
        if (!slice_is(buf_slice(&line), cases[i].line) ||
            !slice_is(buf_slice(&lines), cases[i].lines))
            fail_msg("%s: \"%s\", \"%s\"", cases[i].name, line.data, lines.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_steers_a_terminal_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
