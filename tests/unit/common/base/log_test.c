#include "tests/support/unit.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"

enum { TEXT_MAX = 4096 };

/* What one line writes to stderr. */
static void written(log_level_t level, const char *value, char ret_text[static TEXT_MAX])
{
    static const log_t log = {"emitter", LEVEL_INFO};
    int ends[2], copy = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    log_line(&log, level, "event=x reason=\"%s\"", value);
    dup2(copy, STDERR_FILENO);
    close(copy);
    ssize_t size = read(ends[0], ret_text, TEXT_MAX - 1);
    close(ends[0]);
    ret_text[size > 0 ? size : 0] = 0;
}

static void a_line_is_one_line_and_steers_no_terminal(void **state)
{
    (void)state;
    static const struct {
        const char *value, *end;
    } cases[] = {
        {"fine", "event=x reason=\"fine\"\n"},
        {"two\r\nlines", "event=x reason=\"two  lines\"\n"},
        {"\033[2J\007\177", "event=x reason=\" [2J  \"\n"},
        {"gr\xc3\xbc\xc3\x9f", "event=x reason=\"gr\xc3\xbc\xc3\x9f\"\n"},
    };
    char text[TEXT_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        written(LEVEL_WARN, cases[i].value, text);
        assert_non_null(strstr(text, " level=warn service=emitter "));
        assert_string_equal(strstr(text, "event="), cases[i].end);
    }
}

static void lines_above_the_level_are_not_written(void **state)
{
    (void)state;
    char text[TEXT_MAX];
    written(LEVEL_DEBUG, "x", text);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_one_line_and_steers_no_terminal),
        cmocka_unit_test(lines_above_the_level_are_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
