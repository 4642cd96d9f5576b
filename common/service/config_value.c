#include "common/service/config_value.h"
#include "common/base/clk.h"
#include "common/base/cleanup.h"

#include <ctype.h>
#include <stdio.h>

static const struct {
    const char *unit;
    int64_t bytes;
} size_units[] = {
    {"GiB", 1LL << 30}, {"MiB", 1LL << 20}, {"KiB", 1LL << 10}, {"B", 1}, {"", 1},
};

/* Digits at the start of text; false when there are none or they are more than 16. */
static bool take_digits(slice_t text, size_t *ret_used, int64_t *ret_value)
{
    int64_t value = 0;
    size_t at = 0;
    for (; at < text.size && isdigit((unsigned char)text.data[at]); at++)
        value = at < 16 ? value * 10 + (text.data[at] - '0') : value;
    *ret_used = at;
    *ret_value = value;
    return at > 0 && at <= 16;
}

result_t config_value_parse_size(slice_t text, int64_t *ret_bytes)
{
    size_t used;
    int64_t value;
    if (!take_digits(text, &used, &value))
        return RESULT_INVALID;
    slice_t unit = {text.data + used, text.size - used};
    for (size_t i = 0; i < sizeof size_units / sizeof *size_units; i++)
        if (slice_is(unit, size_units[i].unit)) {
            if (value > INT64_MAX / size_units[i].bytes)
                return RESULT_INVALID;
            *ret_bytes = value * size_units[i].bytes;
            return RESULT_OK;
        }
    return RESULT_INVALID;
}

static result_t parse_int(slice_t text, int64_t *ret_value)
{
    size_t used;
    return take_digits(text, &used, ret_value) && used == text.size ? RESULT_OK : RESULT_INVALID;
}

static void add_number(buf_t *to, config_type_t type, int64_t number)
{
    char duration[CLK_ISO_SIZE];
    if (type == CONFIG_DURATION) {
        clk_format_duration(number, duration);
        buf_add_str(to, duration);
        return;
    }
    size_t unit = 0;
    while (type == CONFIG_SIZE && number != 0 && number % size_units[unit].bytes != 0)
        unit++;
    if (type == CONFIG_SIZE && number != 0)
        buf_printf(to, "%lld%s", (long long)(number / size_units[unit].bytes),
                   size_units[unit].unit);
    else
        buf_printf(to, "%lld", (long long)number);
}

void config_value_range(const config_key_t *key, buf_t *ret_text)
{
    if (key->type == CONFIG_BOOL || (key->min == 0 && key->max == 0))
        return;
    if (key->max == 0)
        buf_add_str(ret_text, "at least ");
    add_number(ret_text, key->type, key->min);
    if (key->max == 0)
        return;
    buf_add_str(ret_text, "..");
    add_number(ret_text, key->type, key->max);
}

static result_t check_range(const config_key_t *key, const char *text, int64_t number,
                            fault_t *fault)
{
    if (number >= key->min && (key->max == 0 || number <= key->max))
        return RESULT_OK;
    AUTO_BUF range = {0};
    config_value_range(key, &range);
    return fault_set(fault, RESULT_INVALID, "%s is out of range (%s)", text, range.data);
}

/* "tcp://host:port" or a local transport; names and addresses are looked at where they are used. */
static bool is_endpoint(slice_t text)
{
    static const char *const local[] = {"ipc://", "inproc://"};
    for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
        size_t size = strlen(local[i]);
        if (text.size > size && memcmp(text.data, local[i], size) == 0)
            return true;
    }
    if (text.size < 9 || memcmp(text.data, "tcp://", 6) != 0)
        return false;
    const char *colon = memrchr(text.data + 6, ':', text.size - 6);
    if (!colon || colon == text.data + 6)
        return false;
    slice_t port = {colon + 1, (size_t)(text.data + text.size - colon - 1)};
    int64_t number;
    return slice_is(port, "*") ||
           (parse_int(port, &number) == RESULT_OK && number > 0 && number <= 65535);
}

static result_t check_endpoints(const char *text, fault_t *fault)
{
    for (const char *at = text + strspn(text, " "); *at; at += strspn(at, " ")) {
        slice_t one = {at, strcspn(at, " ")};
        if (!is_endpoint(one))
            return fault_set(fault, RESULT_INVALID,
                             "\"%.*s\" is not an endpoint such as tcp://127.0.0.1:5550",
                             SLICE_ARG(one));
        at += one.size;
    }
    return RESULT_OK;
}

static result_t check_choices(const config_key_t *key, const char *text, fault_t *fault)
{
    size_t size = strlen(text);
    for (const char *at = key->choices; at && *at;) {
        slice_t choice = {at, strcspn(at, "|")};
        if (slice_equal(choice, (slice_t){text, size}))
            return RESULT_OK;
        at += choice.size + (at[choice.size] == '|');
    }
    return key->choices
               ? fault_set(fault, RESULT_INVALID, "\"%s\" is none of %s", text, key->choices)
               : RESULT_OK;
}

result_t config_value_parse(const config_key_t *key, const char *text, int64_t *ret_number,
                            fault_t *fault)
{
    static const struct {
        result_t (*parse)(slice_t text, int64_t *ret_number);
        const char *example;
    } numbers[] = {
        [CONFIG_INT] = {parse_int, "a whole number"},
        [CONFIG_BOOL] = {parse_int, "0 or 1"},
        [CONFIG_DURATION] = {clk_parse_duration, "a duration such as 500ms, 15s, 5m, 2h or 1d"},
        [CONFIG_SIZE] = {config_value_parse_size, "a size such as 64KiB, 8MiB or 1GiB"},
    };
    int64_t number = 0;
    if (key->type == CONFIG_TEXT)
        return check_choices(key, text, fault);
    if (key->type == CONFIG_BIND && (!*text || strchr(text, ' ')))
        return fault_set(fault, RESULT_INVALID, "\"%s\" is not one endpoint", text);
    if (key->type == CONFIG_BIND || key->type == CONFIG_CONNECT)
        return check_endpoints(text, fault);
    if (numbers[key->type].parse(slice_of(text), &number) != RESULT_OK ||
        (key->type == CONFIG_BOOL && number > 1))
        return fault_set(fault, RESULT_INVALID, "\"%s\" is not %s", text,
                         numbers[key->type].example);
    result_t r = check_range(key, text, number, fault);
    if (r == RESULT_OK)
        *ret_number = number;
    return r;
}

enum { NAME_MAX_SIZE = 80 };

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance of two names, of which the first NAME_MAX_SIZE characters count. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_SIZE + 1];
    size_t a_size = strnlen(a, NAME_MAX_SIZE), b_size = strnlen(b, NAME_MAX_SIZE);
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = min_of(change, min_of(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_size];
}

/* The same words in another order, as in max_event, are nearly the same name. */
static size_t key_distance(const char *key, const char *known)
{
    size_t d = distance(key, known);
    const char *second = strchr(key, '_');
    if (!second)
        return d;
    char swapped[2 * NAME_MAX_SIZE];
    snprintf(swapped, sizeof swapped, "%s_%.*s", second + 1, (int)(second - key), key);
    return min_of(d, distance(swapped, known) + 1);
}

const config_key_t *config_value_nearest(const char *section, const char *key)
{
    const config_key_t *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (size_t i = 0; i < config_n_keys; i++) {
        const config_key_t *known = &config_keys[i];
        /* The right key in a wrong section is nearer than one that is quite different. */
        size_t d = 2 * distance(section, known->section) + 4 * key_distance(key, known->key);
        if (d < best_distance) {
            best_distance = d;
            best = known;
        }
    }
    return best;
}

const char *config_value_near_section(const char *word)
{
    const char *best = NULL;
    size_t best_distance = 3; /* two letters at most, and one in three: "up" is near to much */
    for (size_t i = 0; i < config_n_keys; i++) {
        const char *section = config_keys[i].section;
        size_t d = distance(word, section);
        if (d < best_distance && 3 * d <= strlen(section)) {
            best_distance = d;
            best = section;
        }
    }
    return best;
}
