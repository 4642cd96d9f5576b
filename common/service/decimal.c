#include "common/service/decimal.h"

static const int64_t exponent_max = 1000000000000000000;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* text = "e+15", or what comes behind a number without exponent */
static int64_t read_exponent(slice_t text)
{
    if (text.size == 0 || (text.data[0] | 0x20) != 'e')
        return 0;
    size_t i = 1;
    bool negative = text.size > 1 && text.data[1] == '-';
    if (text.size > 1 && (text.data[1] == '-' || text.data[1] == '+'))
        i++;
    int64_t value = 0;
    for (; i < text.size && is_digit(text.data[i]); i++)
        value = value < exponent_max / 10 ? value * 10 + (text.data[i] - '0') : exponent_max;
    return negative ? -value : value;
}

decimal_t decimal_of(slice_t text)
{
    size_t i = text.size && text.data[0] == '-', begin = i;
    size_t point = SIZE_MAX, first = SIZE_MAX, last = 0;
    for (; i < text.size && (is_digit(text.data[i]) || text.data[i] == '.'); i++) {
        if (text.data[i] == '.') {
            point = i;
        } else if (text.data[i] != '0') {
            first = first == SIZE_MAX ? i : first;
            last = i;
        }
    }
    if (first == SIZE_MAX)
        return (decimal_t){0};
    if (point == SIZE_MAX)
        point = i;
    int64_t exponent = read_exponent((slice_t){text.data + i, text.size - i});
    exponent += first < point ? (int64_t)(point - first) : -(int64_t)(first - point - 1);
    return (decimal_t){begin ? -1 : 1, exponent, {text.data + first, last - first + 1}};
}

/* The digit at *at, with *at moved behind it; '0' at the end. */
static char next_digit(slice_t digits, size_t *at)
{
    if (*at < digits.size && digits.data[*at] == '.')
        ++*at;
    return *at < digits.size ? digits.data[(*at)++] : '0';
}

static int compare_digits(slice_t a, slice_t b)
{
    size_t i = 0, j = 0;
    while (i < a.size && j < b.size) {
        char x = next_digit(a, &i), y = next_digit(b, &j);
        if (x != y)
            return x < y ? -1 : 1;
    }
    /* neither ends with a 0, so what is left over counts */
    return (i < a.size) - (j < b.size);
}

int decimal_compare(const decimal_t *a, const decimal_t *b)
{
    if (a->sign != b->sign)
        return a->sign < b->sign ? -1 : 1;
    if (a->exponent != b->exponent)
        return a->exponent < b->exponent ? -a->sign : a->sign;
    return a->sign * compare_digits(a->digits, b->digits);
}
