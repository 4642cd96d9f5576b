#include "common/service/filter_parts.h"
#include "common/base/cleanup.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/utf8.h"
#include "common/service/json_scan.h"

/* Every reader below moves at behind what it read, or calls expected () and gives false. */
typedef struct {
    const char *begin, *at, *end;
    fault_t *fault;
} parser_t;

enum { SHOWN_BEFORE = 40, SHOWN_AFTER = 30 /* characters of the text around the caret */ };

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* The place up to n characters before at. */
static const char *back(const char *begin, const char *at, int n)
{
    while (n > 0 && at > begin) {
        at--;
        if (!is_continuation(*at))
            n--;
    }
    return at;
}

static const char *forward(const char *at, const char *end, int n)
{
    while (at < end && (n > 0 || is_continuation(*at))) {
        at++;
        if (at < end && !is_continuation(*at))
            n--;
    }
    return at;
}

/* "expected <what>", the text, a caret under at. */
static bool expected(const parser_t *p, const char *at, const char *what)
{
    const char *from = back(p->begin, at, SHOWN_BEFORE);
    const char *to = forward(at, p->end, SHOWN_AFTER);
    AUTO_BUF shown = {0};
    buf_printf(&shown, "expected %s\n  %s", what, from > p->begin ? "..." : "");
    for (const char *c = from; c < to; c++)
        buf_add_char(&shown, (unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c);
    buf_printf(&shown, "%s\n  %s", to < p->end ? "..." : "", from > p->begin ? "   " : "");
    for (const char *c = from; c < at; c++)
        if (!is_continuation(*c))
            buf_add_char(&shown, ' ');
    fault_set(p->fault, RESULT_INVALID, "%s^", shown.data);
    return false;
}

static void skip_space(parser_t *p)
{
    p->at = json_scan_space(p->at, p->end);
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The letters that begin at p->at. */
static slice_t word(const parser_t *p)
{
    const char *end = p->at;
    while (end < p->end && is_letter(*end))
        end++;
    return (slice_t){p->at, (size_t)(end - p->at)};
}

/* --- JSON values --- */

static bool is_one_of(char c, const char *set)
{
    return c != 0 && strchr(set, c);
}

/* at is behind the backslash; how many characters the escape has there, 0: none that JSON knows */
static size_t escape_size(const char *at, const char *end)
{
    if (at < end && is_one_of(*at, "\"\\/bfnrt"))
        return 1;
    if (end - at < 5 || *at != 'u')
        return 0;
    for (int i = 1; i < 5; i++)
        if (!is_one_of(at[i], "0123456789abcdefABCDEF"))
            return 0;
    return 5;
}

/* at is behind the backslash of \uXXXX. */
static unsigned escaped(const char *at)
{
    char digits[5] = {at[1], at[2], at[3], at[4]};
    return (unsigned)strtoul(digits, NULL, 16);
}

/* at is behind the backslash of an escape that escape_size () knows; a pair of surrogates is one.
 * 0: half a pair, which is no character. */
static size_t character_size(const char *at, const char *end)
{
    size_t size = escape_size(at, end);
    if (size != 5 || (escaped(at) & 0xf800) != 0xd800)
        return size;
    bool pair = (escaped(at) & 0xfc00) == 0xd800 && end - at > 6 && at[5] == '\\' &&
                escape_size(at + 6, end) == 5 && (escaped(at + 6) & 0xfc00) == 0xdc00;
    return pair ? 11 : 0;
}

static bool read_string(parser_t *p, buf_t *ret_text)
{
    const char *begin = p->at, *at = p->at + 1;
    while (at < p->end && *at != '"') {
        if ((unsigned char)*at < 0x20)
            return expected(p, at, "no control character in a string: \\n, \\t or \\u00xx");
        if (*at++ != '\\')
            continue;
        size_t size = escape_size(at, p->end);
        if (size == 0)
            return expected(p, at, "an escape of JSON: \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX");
        size = character_size(at, p->end);
        if (size == 0)
            return expected(p, at - 1,
                            "both halves of a surrogate pair: \\uD800-\\uDBFF, then "
                            "\\uDC00-\\uDFFF");
        at += size;
    }
    if (at == p->end)
        return expected(p, begin, "a closing '\"' for this string");
    json_scan_unescape((slice_t){begin + 1, (size_t)(at - begin) - 1}, ret_text);
    p->at = at + 1;
    return true;
}

static bool read_string_value(parser_t *p, filter_value_t *ret_value)
{
    AUTO_BUF text = {0};
    if (!read_string(p, &text))
        return false;
    *ret_value = (filter_value_t){.type = FILTER_STRING, .text.size = text.size};
    ret_value->memory = buf_take(&text);
    ret_value->text.data = ret_value->memory;
    return true;
}

static bool read_digits(const parser_t *p, const char **at)
{
    const char *begin = *at;
    while (*at < p->end && **at >= '0' && **at <= '9')
        ++*at;
    return *at > begin || expected(p, *at, "a digit");
}

static bool read_number_value(parser_t *p, filter_value_t *ret_value)
{
    const char *begin = p->at, *at = begin + (*begin == '-'), *integer = at;
    if (!read_digits(p, &at))
        return false;
    if (*integer == '0' && at > integer + 1)
        return expected(p, integer, "a number of JSON, without leading zeros");
    if (at < p->end && *at == '.') {
        at++;
        if (!read_digits(p, &at))
            return false;
    }
    if (at < p->end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < p->end && (*at == '+' || *at == '-'))
            at++;
        if (!read_digits(p, &at))
            return false;
    }
    size_t size = (size_t)(at - begin);
    *ret_value = (filter_value_t){.type = FILTER_NUMBER, .memory = mem_strndup(begin, size)};
    ret_value->decimal = decimal_of((slice_t){ret_value->memory, size});
    p->at = at;
    return true;
}

static const char value_names[] = "a value: \"text\", a number, true, false or null";

static bool read_word_value(parser_t *p, filter_value_t *ret_value)
{
    static const struct {
        const char *text;
        filter_type_t type;
    } words[] = {{"true", FILTER_TRUE}, {"false", FILTER_FALSE}, {"null", FILTER_NULL}};
    slice_t found = word(p);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (slice_is(found, words[i].text)) {
            *ret_value = (filter_value_t){.type = words[i].type};
            p->at += found.size;
            return true;
        }
    }
    return expected(p, p->at, value_names);
}

static bool read_value(parser_t *p, filter_value_t *ret_value)
{
    skip_space(p);
    if (p->at == p->end)
        return expected(p, p->at, value_names);
    if (*p->at == '"')
        return read_string_value(p, ret_value);
    if (*p->at == '-' || (*p->at >= '0' && *p->at <= '9'))
        return read_number_value(p, ret_value);
    return read_word_value(p, ret_value);
}

/* --- paths --- */

/* The pointer's text: bare, or as a JSON string. */
static bool read_pointer(parser_t *p, buf_t *ret_pointer)
{
    const char *begin = p->at;
    if (p->at < p->end && *p->at == '"') {
        if (!read_string(p, ret_pointer))
            return false;
    } else {
        const char *at = begin;
        while (at < p->end && (unsigned char)*at > ' ' && *at != 0x7f && !is_one_of(*at, "=!<>\""))
            at++;
        buf_add(ret_pointer, begin, (size_t)(at - begin));
        p->at = at;
    }
    if (ret_pointer->size == 0 || ret_pointer->data[0] != '/')
        return expected(p, begin, "a path: /data/... or /event/...");
    return true;
}

/* The one token that begins at *at, without ~0 and ~1; moves *at to the next '/' or the end. */
static bool read_token(const char **at, const char *end, buf_t *to)
{
    for (; *at < end && **at != '/'; ++*at) {
        char c = **at;
        if (c == '~') {
            if (*at + 1 == end || (*at)[1] < '0' || (*at)[1] > '1')
                return false;
            c = *++*at == '0' ? '~' : '/';
        }
        buf_add_char(to, c);
    }
    return true;
}

/* There is nothing else in a body, so anything else is a slip. */
static bool is_in_a_body(slice_t path)
{
    static const char *const whole[] = {"event\xff",
                                        "event\xff"
                                        "dt\xff",
                                        "event\xff"
                                        "events_id\xff",
                                        "event\xff"
                                        "object_id\xff"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (slice_is(path, whole[i]))
            return true;
    return path.size >= 5 && memcmp(path.data, "data\xff", 5) == 0;
}

static bool read_path(parser_t *p, filter_path_t *ret_path)
{
    skip_space(p);
    const char *begin = p->at;
    AUTO_BUF pointer = {0}, path = {0};
    if (!read_pointer(p, &pointer))
        return false;
    int tokens = 0;
    for (const char *at = pointer.data, *end = at + pointer.size; at < end;) {
        at++; /* the '/' */
        if (!read_token(&at, end, &path))
            return expected(p, begin, "a path in which '~' is written ~0 (and '/' in a name ~1)");
        buf_add_char(&path, FILTER_TOKEN_END);
        if (++tokens > FILTER_TOKENS_MAX)
            return expected(p, begin, "a path of at most 32 levels");
    }
    if (!is_in_a_body(buf_slice(&path)))
        return expected(p, begin,
                        "/data or a path below it, /event/dt, /event/events_id or "
                        "/event/object_id");
    ret_path->size = path.size;
    ret_path->hash = hash_bytes(path.data, path.size);
    ret_path->bytes = buf_take(&path);
    return true;
}

/* --- conditions --- */

static const struct {
    const char *text; /* where one begins another, the longer one stands first */
    filter_op_t op;
} operators[] = {
    {"=", FILTER_EQUAL}, {"!=", FILTER_NOT_EQUAL},     {"<=", FILTER_LESS_EQUAL},
    {"<", FILTER_LESS},  {">=", FILTER_GREATER_EQUAL}, {">", FILTER_GREATER},
    {"in", FILTER_IN},   {"exists", FILTER_EXISTS},    {"prefix", FILTER_PREFIX},
};

/* Does the text go on with this operator? A word ends where its letters end. */
static bool is_next(const parser_t *p, slice_t text)
{
    if (is_letter(*text.data))
        return slice_equal(word(p), text);
    return (size_t)(p->end - p->at) >= text.size && memcmp(p->at, text.data, text.size) == 0;
}

static bool read_operator(parser_t *p, filter_op_t *ret_op)
{
    skip_space(p);
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        slice_t text = slice_of(operators[i].text);
        if (is_next(p, text)) {
            *ret_op = operators[i].op;
            p->at += text.size;
            return true;
        }
    }
    return expected(p, p->at, "an operator: = != < <= > >= in exists prefix");
}

static bool add_value(parser_t *p, filter_condition_t *condition)
{
    filter_value_t value;
    if (!read_value(p, &value))
        return false;
    condition->values =
        mem_realloc(condition->values, (condition->n_values + 1) * sizeof *condition->values);
    condition->values[condition->n_values++] = value;
    return true;
}

static bool read_list(parser_t *p, filter_condition_t *condition)
{
    skip_space(p);
    if (p->at == p->end || *p->at != '(')
        return expected(p, p->at, "'(' and a list of values: in (\"a\", \"b\")");
    do {
        p->at++; /* '(' or ',' */
        if (!add_value(p, condition))
            return false;
        skip_space(p);
    } while (p->at < p->end && *p->at == ',');
    if (p->at == p->end || *p->at != ')')
        return expected(p, p->at, "',' or ')'");
    p->at++;
    return true;
}

static bool read_operand(parser_t *p, filter_condition_t *condition)
{
    if (condition->op == FILTER_EXISTS)
        return true;
    if (condition->op == FILTER_IN)
        return read_list(p, condition);
    skip_space(p);
    const char *begin = p->at;
    if (!add_value(p, condition))
        return false;
    filter_type_t type = condition->values[0].type;
    if (condition->op == FILTER_PREFIX && type != FILTER_STRING)
        return expected(p, begin, "a string: prefix \"+49\"");
    bool is_order = condition->op >= FILTER_LESS && condition->op <= FILTER_GREATER_EQUAL;
    if (is_order && type != FILTER_STRING && type != FILTER_NUMBER)
        return expected(p, begin, "a number or a string: only these have an order");
    return true;
}

static bool read_condition(parser_t *p, filter_condition_t *condition)
{
    return read_path(p, &condition->path) && read_operator(p, &condition->op) &&
           read_operand(p, condition);
}

static bool read_conditions(parser_t *p, filter_t *filter)
{
    for (;;) {
        size_t n = filter->n_conditions++;
        filter->conditions =
            mem_realloc(filter->conditions, filter->n_conditions * sizeof *filter->conditions);
        filter->conditions[n] = (filter_condition_t){0};
        if (!read_condition(p, &filter->conditions[n]))
            return false;
        const char *behind = p->at;
        skip_space(p);
        if (p->at == p->end)
            return true;
        if (!slice_is(word(p), "and") || p->at == behind)
            return expected(p, p->at, "\"and\" and another condition, or the end");
        p->at += 3;
    }
}

result_t filter_parse(slice_t text, filter_t **ret_filter, fault_t *fault)
{
    parser_t parser = {text.data, text.data, text.data + text.size, fault};
    if (text.size > FILTER_TEXT_MAX)
        return fault_set(fault, RESULT_INVALID, "a filter has at most %d bytes", FILTER_TEXT_MAX);
    if (!utf8_valid(text))
        return fault_set(fault, RESULT_INVALID, "a filter is UTF-8 text");
    AUTO(filter) filter = MEM_NEW(filter_t);
    skip_space(&parser);
    if (parser.at < parser.end && !read_conditions(&parser, filter))
        return RESULT_INVALID;
    *ret_filter = TAKE(filter);
    return RESULT_OK;
}
