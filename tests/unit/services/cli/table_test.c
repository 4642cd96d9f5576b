#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "services/cli/table.h"

static const char *const titles[] = {"ID", "NAME", "WHAT"};

static void columns_are_as_wide_as_their_cells(void **state)
{
    (void)state;
    AUTO(table) table = table_new(titles, 3);
    AUTO_BUF text = {0};
    table_cell(table, "1");
    table_cell(table, "caf\xc3\xa9");
    table_cell(table, "x");
    table_cellf(table, "%d", 100);
    table_cell(table, NULL);
    table_cell(table, "y");
    table_print(table, 0, &text);
    assert_string_equal(text.data, "ID   NAME  WHAT\n"
                                   "1    caf\xc3\xa9  x\n"
                                   "100        y\n");
}

static void the_last_column_takes_what_the_terminal_has_left(void **state)
{
    (void)state;
    AUTO(table) table = table_new(titles, 3);
    AUTO_BUF text = {0};
    table_cell(table, "1");
    table_cell(table, "n");
    table_cell(table, "0123456789012345678901234567890123456789");
    table_print(table, 30, &text);
    assert_string_equal(text.data, "ID  NAME  WHAT\n1   n     01234567890123456789\n");
}

static void what_a_handler_answers_cannot_steer_the_terminal(void **state)
{
    (void)state;
    AUTO(table) table = table_new(titles, 3);
    AUTO_BUF text = {0};
    table_cell(table, "1");
    table_cell(table, "a\x1b[2J");
    table_cell(table, "b\r\nc");
    table_print(table, 0, &text);
    assert_null(strchr(text.data, '\x1b'));
    assert_non_null(strstr(text.data, "a\xef\xbf\xbd[2J  b  c\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_their_cells),
        cmocka_unit_test(the_last_column_takes_what_the_terminal_has_left),
        cmocka_unit_test(what_a_handler_answers_cannot_steer_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
