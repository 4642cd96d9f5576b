#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/service/ops.h"

static result_t answer_name(void *self, const json_tree_t *question, json_writer_t *w,
                            fault_t *fault)
{
    (void)fault;
    json_key_str(w, "who", self);
    json_key_int(w, "n", json_get_int(question, "n", -1));
    return RESULT_OK;
}

static result_t answer_fault(void *self, const json_tree_t *question, json_writer_t *w,
                             fault_t *fault)
{
    (void)self;
    json_key_str(w, "half", "written");
    return json_get_bool(question, "silent", false)
               ? RESULT_TIMEOUT
               : fault_set(fault, RESULT_NOT_FOUND, "there is no \"it\"");
}

static const service_op_t first_ops[] = {
    {"name", answer_name},
    {"fail", answer_fault},
    {NULL, NULL},
};

static const service_op_t second_ops[] = {
    {"name", answer_name},
    {"other", answer_name},
    {NULL, NULL},
};

static const struct {
    const char *question, *answer;
} cases[] = {
    {"{\"op\":\"name\",\"n\":7}", "{\"ok\":true,\"who\":\"first\",\"n\":7}"},
    {"{\"n\":7,\"op\":\"other\"}", "{\"ok\":true,\"who\":\"second\",\"n\":7}"},
    {"{\"op\":\"fail\"}", "{\"ok\":false,\"error\":\"there is no \\\"it\\\"\"}"},
    {"{\"op\":\"fail\",\"silent\":true}", "{\"ok\":false,\"error\":\"timeout\"}"},
    {"{\"op\":\"nam\"}", "{\"ok\":false,\"error\":\"small has no op \\\"nam\\\"; it "
                         "has name fail name other\"}"},
    {"{\"op\":7}", "{\"ok\":false,\"error\":\"expected an object with a text "
                   "\\\"op\\\"\"}"},
    {"{}", "{\"ok\":false,\"error\":\"expected an object with a text "
           "\\\"op\\\"\"}"},
    {"[1]", "{\"ok\":false,\"error\":\"expected an object with a text "
            "\\\"op\\\"\"}"},
};

static void questions_are_answered_by_the_table(void **state)
{
    (void)state;
    const ops_table_t tables[] = {
        {first_ops, (void *)"first"},
        {NULL, NULL},
        {second_ops, (void *)"second"},
    };
    AUTO_BUF answer = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ops_answer("small", tables, 3, slice_of(cases[i].question), &answer);
        assert_string_equal(answer.data, cases[i].answer);
    }
}

static void what_is_no_json_gets_an_answer_too(void **state)
{
    (void)state;
    static const char *const questions[] = {"", "{", "{\"op\":\"name\"", "\xff\xfe", "op"};
    const ops_table_t table = {first_ops, (void *)"first"};
    AUTO_BUF answer = {0};
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        AUTO(json_tree) tree = NULL;
        ops_answer("small", &table, 1, slice_of(questions[i]), &answer);
        assert_int_equal(json_parse(buf_slice(&answer), &tree, NULL), RESULT_OK);
        assert_false(json_get_bool(tree, "ok", true));
        assert_true(strlen(json_get_str(tree, "error")) > 0);
    }
}

static void a_long_name_is_cut(void **state)
{
    (void)state;
    const ops_table_t table = {first_ops, NULL};
    AUTO_BUF question = {0}, answer = {0};
    buf_add_str(&question, "{\"op\":\"");
    for (int i = 0; i < 5000; i++)
        buf_add_char(&question, 'x');
    buf_add_str(&question, "\"}");
    ops_answer("small", &table, 1, buf_slice(&question), &answer);
    assert_true(answer.size < 200);
    assert_non_null(strstr(answer.data, "it has name fail"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_are_answered_by_the_table),
        cmocka_unit_test(what_is_no_json_gets_an_answer_too),
        cmocka_unit_test(a_long_name_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
