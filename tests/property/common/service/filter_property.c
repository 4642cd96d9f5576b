/* Random filters over random bodies against an evaluator that is written as naively as can be: it
 * walks yajl's tree, and compares numbers as whole multiples of 10^-16. */
#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/base/json.h"
#include "common/service/filter.h"

enum { ROUNDS = 4000, FILTERS = 8, CONDITIONS = 3, TOKENS = 4, VALUES = 3 };

static const struct {
    const char *json, *pointer, *text; /* the same name in three notations */
} names[] = {{"a", "a", "a"},
             {"b", "b", "b"},
             {"0", "0", "0"},
             {"1", "1", "1"},
             {"2", "2", "2"},
             {"", "", ""},
             {"caf\\u00e9", "caf\xc3\xa9", "caf\xc3\xa9"},
             {"x\\/y", "x~1y", "x/y"},
             {"m~n", "m~0n", "m~n"},
             {"q\\\"}", "q\\\"}", "q\"}"},
             {"01", "01", "01"},
             {"two w", "two w", "two w"},
             {"\\\\n", "\\\\n", "\\n"},
             {"data", "data", "data"}};
enum { NAMES = sizeof names / sizeof *names };

static const char *const strings[] = {"\"\"",
                                      "\"a\"",
                                      "\"ab\"",
                                      "\"abc\"",
                                      "\"b\"",
                                      "\"\\u0061b\"",
                                      "\"\xc3\xa9\"",
                                      "\"\\u00e9\"",
                                      "\"\\u00E9t\"",
                                      "\"\\\"{[\"",
                                      "\"\\ud83d\\ude00\"",
                                      "\"\xf0\x9f\x98\x80!\"",
                                      "\"12\"",
                                      "\"a\\n\\t\\\\\""};
static const char *const operators[] = {"=", "!=", "<", "<=", ">", ">=", "in", "exists", "prefix"};
enum { OP_IN = 6, OP_EXISTS, OP_PREFIX, OPS };

static void add_spaces(unsigned *seed, buf_t *to)
{
    for (unsigned n = unit_chance(seed, 4) ? 0 : unit_chance(seed, 3); n > 0; n--)
        buf_add_char(to, " \t\n\r"[unit_chance(seed, 4)]);
}

/* -1234.5678e-2 and its like: few digits, so that many are equal */
static void add_number(unsigned *seed, buf_t *to)
{
    if (!unit_chance(seed, 3))
        buf_add_char(to, '-');
    buf_printf(to, "%u", unit_chance(seed, unit_chance(seed, 3) ? 3 : 1200));
    if (!unit_chance(seed, 2)) {
        buf_add_char(to, '.');
        for (unsigned n = 1 + unit_chance(seed, 3); n > 0; n--)
            buf_add_char(to, "0001259"[unit_chance(seed, 7)]);
    }
    if (!unit_chance(seed, 3))
        buf_printf(
            to, "%c%s%u", "eE" [unit_chance(seed, 2)],
            (const char *[]) { "", "+", "-" }[unit_chance(seed, 3)], unit_chance(seed, 5));
}

static void add_scalar(unsigned *seed, buf_t *to)
{
    static const char *const words[] = {"true", "false", "null"};
    switch (unit_chance(seed, 5)) {
    case 0:
        buf_add_str(to, words[unit_chance(seed, 3)]);
        break;
    case 1:
    case 2:
        add_number(seed, to);
        break;
    default:
        buf_add_str(to, strings[unit_chance(seed, sizeof strings / sizeof *strings)]);
    }
}

static void add_json(unsigned *seed, unsigned depth, buf_t *to)
{
    unsigned kind = depth == 0 ? 9 : unit_chance(seed, 10);
    if (kind > 5) {
        add_scalar(seed, to);
        return;
    }
    bool object = kind > 1;
    unsigned n = unit_chance(seed, 5), name = unit_chance(seed, NAMES);
    buf_add_char(to, object ? '{' : '[');
    for (unsigned i = 0; i < n; i++) {
        add_spaces(seed, to);
        if (object)
            buf_printf(to, "\"%s\"", names[(name + i * 3) % NAMES].json);
        if (object)
            add_spaces(seed, to);
        if (object)
            buf_add_char(to, ':');
        add_spaces(seed, to);
        add_json(seed, depth - 1, to);
        add_spaces(seed, to);
        if (i + 1 < n)
            buf_add_char(to, ',');
    }
    add_spaces(seed, to);
    buf_add_char(to, object ? '}' : ']');
}

/* --- a filter as data --- */

typedef struct {
    unsigned tokens[TOKENS], n_tokens; /* below /data */
    unsigned op;
    char values[VALUES][64];
    unsigned n_values;
} condition_t;

static const json_tree_t *step(const json_tree_t *value, const char *name)
{
    if (YAJL_IS_OBJECT(value))
        return json_get(value, name);
    if (!YAJL_IS_ARRAY(value) || name[0] < '0' || name[0] > '9' || name[1])
        return NULL;
    size_t index = (size_t)(name[0] - '0');
    return index < value->u.array.len ? value->u.array.values[index] : NULL;
}

/* Any path, or, most of the time, one that exists in the body. */
static void random_path(unsigned *seed, const json_tree_t *data, condition_t *condition)
{
    bool exists = unit_chance(seed, 4);
    condition->n_tokens = unit_chance(seed, TOKENS + 1);
    for (unsigned i = 0; i < condition->n_tokens; i++) {
        const json_tree_t *next = NULL;
        unsigned first = unit_chance(seed, NAMES), n = 0;
        for (; n < NAMES && !next; n++)
            next = data ? step(data, names[condition->tokens[i] = (first + n) % NAMES].text) : NULL;
        if (exists && !next)
            condition->n_tokens = i;
        if (!next)
            condition->tokens[i] = first;
        data = next;
    }
}

static void random_condition(unsigned *seed, const json_tree_t *data, condition_t *ret_condition)
{
    *ret_condition = (condition_t){.op = unit_chance(seed, OPS), .n_values = 1};
    random_path(seed, data, ret_condition);
    if (ret_condition->op == OP_IN)
        ret_condition->n_values = 1 + unit_chance(seed, VALUES);
    if (ret_condition->op == OP_EXISTS)
        ret_condition->n_values = 0;
    for (unsigned i = 0; i < ret_condition->n_values; i++) {
        bool ordered = ret_condition->op >= 2 && ret_condition->op <= 5;
        AUTO_BUF value = {0};
        do {
            buf_clear(&value);
            add_scalar(seed, &value);
        } while ((ordered && strchr("tfn", value.data[0])) ||
                 (ret_condition->op == OP_PREFIX && value.data[0] != '"'));
        snprintf(ret_condition->values[i], sizeof ret_condition->values[i], "%s", value.data);
    }
}

static void add_condition(unsigned *seed, const condition_t *condition, buf_t *to)
{
    buf_add_str(to, "\"/data");
    for (unsigned i = 0; i < condition->n_tokens; i++)
        buf_printf(to, "/%s", names[condition->tokens[i]].pointer);
    buf_add_char(to, '"');
    add_spaces(seed, to);
    buf_add_str(to, operators[condition->op]);
    add_spaces(seed, to);
    if (condition->op == OP_IN)
        buf_add_char(to, '(');
    for (unsigned i = 0; i < condition->n_values; i++) {
        buf_add_str(to, i ? "," : "");
        add_spaces(seed, to);
        buf_add_str(to, condition->values[i]);
        add_spaces(seed, to);
    }
    if (condition->op == OP_IN)
        buf_add_char(to, ')');
}

/* --- the naive evaluator --- */

static json_tree_t *parse(const char *text)
{
    json_tree_t *tree = NULL;
    fault_t fault;
    AUTO_BUF wrapped = {0};
    buf_printf(&wrapped, "[%s]", text);
    if (json_parse(buf_slice(&wrapped), &tree, &fault) != RESULT_OK)
        fail_msg("%s: %s", text, fault.text);
    return tree; /* the value is its only element */
}

static const json_tree_t *walk(const json_tree_t *value, const condition_t *condition)
{
    value = json_get(value, "data");
    for (unsigned i = 0; value && i < condition->n_tokens; i++)
        value = step(value, names[condition->tokens[i]].text);
    return value;
}

/* In units of 10^-16. */
static __int128 units(const char *text)
{
    bool negative = *text == '-';
    int exponent = 16;
    __int128 value = 0;
    const char *at = text + negative;
    for (; *at && *at != 'e' && *at != 'E' && *at != '.'; at++)
        value = value * 10 + (*at - '0');
    if (*at == '.')
        for (at++; *at && *at != 'e' && *at != 'E'; at++, exponent--)
            value = value * 10 + (*at - '0');
    if (*at)
        exponent += atoi(at + 1);
    for (; exponent > 0; exponent--)
        value *= 10;
    return negative ? -value : value;
}

/* 2: not to be compared */
static int naive_compare(const json_tree_t *a, const json_tree_t *b)
{
    if (YAJL_IS_STRING(a) && YAJL_IS_STRING(b)) {
        int order = strcmp(a->u.string, b->u.string);
        return (order > 0) - (order < 0);
    }
    if (YAJL_IS_NUMBER(a) && YAJL_IS_NUMBER(b)) {
        __int128 x = units(a->u.number.r), y = units(b->u.number.r);
        return (x > y) - (x < y);
    }
    bool same_word = a->type == b->type && (YAJL_IS_TRUE(a) || YAJL_IS_FALSE(a) || YAJL_IS_NULL(a));
    return same_word ? 0 : 2;
}

static bool naive_value(const json_tree_t *found, unsigned op, const json_tree_t *value)
{
    int order = found ? naive_compare(found, value) : 2;
    if (op == OP_PREFIX)
        return YAJL_IS_STRING(found) &&
               strncmp(found->u.string, value->u.string, strlen(value->u.string)) == 0;
    const bool holds[] = {order == 0,  order != 0,
                          order == -1, order == -1 || order == 0,
                          order == 1,  order == 1 || order == 0,
                          order == 0};
    return holds[op];
}

static bool naive_holds(const json_tree_t *body, const condition_t *condition)
{
    const json_tree_t *found = walk(body, condition);
    bool any = condition->op == OP_EXISTS && found;
    for (unsigned i = 0; i < condition->n_values; i++) {
        json_tree_t *value = parse(condition->values[i]);
        any |= naive_value(found, condition->op, value->u.array.values[0]);
        json_tree_destroy(&value);
    }
    return any;
}

static void filters_agree_with_a_naive_evaluator(void **state)
{
    (void)state;
    unsigned seed = unit_seed(), n_passed = 0;
    AUTO(filter_body) body = filter_body_new();
    for (int round = 0; round < ROUNDS; round++) {
        AUTO_BUF json = {0};
        buf_add_str(&json, "{\"event\":{\"object_id\":1},\"data\":");
        add_json(&seed, 4, &json);
        buf_add_char(&json, '}');
        json_tree_t *tree = parse(json.data);
        const json_tree_t *root = tree->u.array.values[0];
        filter_body_set(body, buf_slice(&json));
        for (int i = 0; i < FILTERS; i++) {
            AUTO_BUF text = {0};
            bool expected = true;
            for (unsigned n = 1 + unit_chance(&seed, CONDITIONS); n > 0; n--) {
                condition_t condition;
                random_condition(&seed, json_get(root, "data"), &condition);
                add_condition(&seed, &condition, &text);
                buf_add_str(&text, n > 1 ? " and " : "");
                expected &= naive_holds(root, &condition);
            }
            AUTO(filter) filter = NULL;
            fault_t fault = {""};
            if (filter_parse(buf_slice(&text), &filter, &fault) != RESULT_OK)
                fail_msg("%s\n%s", text.data, fault.text);
            if (!unit_chance(&seed, 3)) { /* with few paths, reading ends early */
                filter_body_destroy(&body);
                body = filter_body_new();
                filter_body_set(body, buf_slice(&json));
            }
            if (unit_chance(&seed, 2))
                filter_body_want(body, filter);
            if (filter_pass(filter, body) != expected)
                fail_msg("%s\n%s\nexpected %d", json.data, text.data, expected);
            n_passed += expected;
        }
        json_tree_destroy(&tree);
    }
    assert_true(n_passed > ROUNDS * FILTERS / 20); /* both answers happen */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(filters_agree_with_a_naive_evaluator)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
