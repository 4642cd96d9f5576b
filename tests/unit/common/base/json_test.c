#include "tests/support/unit.h"

#include "common/base/json.h"

static void writes_what_it_is_told(void **state)
{
    (void)state;
    AUTO_BUF text = {0};
    json_writer_t w;
    json_begin(&w, &text);
    json_open_object(&w);
    json_key_str(&w, "a", "quote \" back \\ line \n bell \a");
    json_key_slice(&w, "latin", SLICE("caf\xe9"));
    json_key_slice(&w, "absent", (slice_t){0});
    json_key_int(&w, "n", -5);
    json_key(&w, "list");
    json_open_array(&w);
    json_bool(&w, true);
    json_raw(&w, SLICE("0.10"));
    json_open_object(&w);
    json_close_object(&w);
    json_close_array(&w);
    json_close_object(&w);
    assert_string_equal(text.data, "{\"a\":\"quote \\\" back \\\\ line \\n bell \\u0007\","
                                   "\"latin\":\"caf\xef\xbf\xbd\",\"absent\":null,\"n\":-5,"
                                   "\"list\":[true,0.10,{}]}");
}

static void reads_what_it_wrote(void **state)
{
    (void)state;
    json_tree_t *tree = NULL;
    fault_t fault;
    slice_t text = SLICE("{\"op\":\"log\",\"limit\":20,\"live\":true,\"deep\":{\"x\":[1]}}");
    assert_int_equal(json_parse(text, &tree, &fault), RESULT_OK);
    assert_string_equal(json_get_str(tree, "op"), "log");
    assert_int_equal(json_get_int(tree, "limit", -1), 20);
    assert_true(json_get_bool(tree, "live", false));
    assert_null(json_get_str(tree, "limit"));
    assert_int_equal(json_get_int(tree, "missing", -1), -1);
    assert_non_null(json_get(json_get(tree, "deep"), "x"));
    json_tree_destroy(&tree);
    assert_null(tree);
}

static void hostile_text_is_refused(void **state)
{
    (void)state;
    char deep[20001];
    memset(deep, '[', 10000);
    memset(deep + 10000, ']', 10000);
    deep[20000] = 0;
    const struct {
        const char *name;
        slice_t text;
    } cases[] = {
        {"empty", SLICE("")},
        {"truncated", SLICE("{\"a\":")},
        {"two values", SLICE("{} {}")},
        {"depth 10,000", slice_of(deep)},
        {"duplicate", SLICE("{\"a\":1,\"a\":2}")},
        {"duplicate, escaped", SLICE("{\"a\":1,\"\\u0061\":2}")},
        {"invalid UTF-8", SLICE("{\"a\":\"\xff\"}")},
        {"zero byte", SLICE("{}\0")},
        {"not JSON", SLICE("hello")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_tree_t *tree = NULL;
        fault_t fault = {""};
        if (json_parse(cases[i].text, &tree, &fault) != RESULT_INVALID || !*fault.text || tree)
            fail_msg("%s", cases[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_it_is_told),
        cmocka_unit_test(reads_what_it_wrote),
        cmocka_unit_test(hostile_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
