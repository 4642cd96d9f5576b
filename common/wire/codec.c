#include "common/wire/codec.h"

#include <string.h>

/* A type byte and a number, at most. */
enum { TAG_BYTES_MAX = 9 };

static bool is_present(const field_t *field, const void *object)
{
    if (field->flags & FIELD_REQUIRED)
        return true;
    return field->type == FIELD_INT ? *field_int(field, object) != 0
                                    : field_slice(field, object)->data != NULL;
}

/* A type byte and size bytes, big-endian. */
static char *put(char *to, unsigned char type, uint64_t value, int size)
{
    *to++ = (char)type;
    for (int i = size - 1; i >= 0; i--)
        *to++ = (char)(value >> 8 * i);
    return to;
}

static char *put_uint(char *to, uint64_t value)
{
    if (value < 0x80)
        return put(to, (unsigned char)value, 0, 0);
    if (value <= UINT8_MAX)
        return put(to, 0xcc, value, 1);
    if (value <= UINT16_MAX)
        return put(to, 0xcd, value, 2);
    return value <= UINT32_MAX ? put(to, 0xce, value, 4) : put(to, 0xcf, value, 8);
}

static char *put_int(char *to, int64_t value)
{
    if (value >= 0)
        return put_uint(to, (uint64_t)value);
    if (value >= -0x20)
        return put(to, (unsigned char)value, 0, 0);
    if (value >= INT8_MIN)
        return put(to, 0xd0, (uint64_t)value, 1);
    if (value >= INT16_MIN)
        return put(to, 0xd1, (uint64_t)value, 2);
    return value >= INT32_MIN ? put(to, 0xd2, (uint64_t)value, 4)
                              : put(to, 0xd3, (uint64_t)value, 8);
}

static char *put_bytes(char *to, slice_t bytes)
{
    if (bytes.size <= UINT8_MAX)
        to = put(to, 0xc4, bytes.size, 1);
    else if (bytes.size <= UINT16_MAX)
        to = put(to, 0xc5, bytes.size, 2);
    else
        to = put(to, 0xc6, bytes.size, 4);
    if (bytes.size)
        memcpy(to, bytes.data, bytes.size);
    return to + bytes.size;
}

/* Never less than codec_add writes. Also tells how many fields are present. */
static size_t size_max(const field_table_t *table, const void *object, size_t *ret_present)
{
    size_t size = TAG_BYTES_MAX, present = 0;
    for (size_t i = 0; i < table->n_fields; i++) {
        const field_t *field = &table->fields[i];
        if (!is_present(field, object))
            continue;
        present++;
        size += 2 * TAG_BYTES_MAX;
        size += field->type == FIELD_SLICE ? field_slice(field, object)->size : 0;
    }
    *ret_present = present;
    return size;
}

void codec_add(const field_table_t *table, const void *object, buf_t *frame)
{
    size_t present;
    char *begin = buf_reserve(frame, size_max(table, object, &present)), *to = begin;
    to = present < 16 ? put(to, (unsigned char)(0x80 | present), 0, 0) : put(to, 0xde, present, 2);
    for (size_t i = 0; i < table->n_fields; i++) {
        const field_t *field = &table->fields[i];
        if (!is_present(field, object))
            continue;
        to = put_uint(to, field->number);
        to = field->type == FIELD_INT ? put_int(to, *field_int(field, object))
                                      : put_bytes(to, *field_slice(field, object));
    }
    *to = 0;
    frame->size += (size_t)(to - begin);
}

void codec_reader_init(codec_reader_t *reader, slice_t frame)
{
    *reader = (codec_reader_t){frame, 0};
}

/* Big-endian unsigned of size bytes at *at; false when it is not all there. */
static bool take_uint(slice_t data, size_t size, size_t *at, uint64_t *ret_value)
{
    if (data.size - *at < size)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | (unsigned char)data.data[(*at)++];
    *ret_value = value;
    return true;
}

/* What a msgpack type byte announces (the msgpack specification's table of formats). */
typedef struct {
    uint64_t bytes;    /* that follow and are skipped */
    uint64_t elements; /* values that follow */
} announced_t;

static result_t read_type(slice_t data, size_t *at, announced_t *ret_announced)
{
    static const unsigned char fixed_bytes[] = {
        [0xca - 0xc0] = 4, [0xcb - 0xc0] = 8, [0xcc - 0xc0] = 1, [0xcd - 0xc0] = 2,
        [0xce - 0xc0] = 4, [0xcf - 0xc0] = 8, [0xd0 - 0xc0] = 1, [0xd1 - 0xc0] = 2,
        [0xd2 - 0xc0] = 4, [0xd3 - 0xc0] = 8, [0xd4 - 0xc0] = 2, [0xd5 - 0xc0] = 3,
        [0xd6 - 0xc0] = 5, [0xd7 - 0xc0] = 9, [0xd8 - 0xc0] = 17};
    static const unsigned char length_bytes[] = {
        [0xc4 - 0xc4] = 1, [0xc5 - 0xc4] = 2, [0xc6 - 0xc4] = 4, [0xc7 - 0xc4] = 1,
        [0xc8 - 0xc4] = 2, [0xc9 - 0xc4] = 4, [0xd9 - 0xc4] = 1, [0xda - 0xc4] = 2,
        [0xdb - 0xc4] = 4, [0xdc - 0xc4] = 2, [0xdd - 0xc4] = 4, [0xde - 0xc4] = 2,
        [0xdf - 0xc4] = 4};
    announced_t a = {0};
    uint64_t length = 0;
    unsigned char type = (unsigned char)data.data[(*at)++];
    if (type == 0xc1)
        return RESULT_INVALID;
    if (type >= 0xc4 && type <= 0xdf && length_bytes[type - 0xc4]) {
        if (!take_uint(data, length_bytes[type - 0xc4], at, &length))
            return RESULT_INVALID;
        if (type >= 0xdc)
            a.elements = type >= 0xde ? length * 2 : length;
        else
            a.bytes = length + (type >= 0xc7 && type <= 0xc9); /* ext: one byte for its type */
    } else if (type >= 0x80 && type <= 0x8f) {
        a.elements = (type & 15u) * 2u;
    } else if (type >= 0x90 && type <= 0x9f) {
        a.elements = type & 15u;
    } else if (type >= 0xa0 && type <= 0xbf) {
        a.bytes = type & 31u;
    } else if (type >= 0xc0 && type <= 0xd8) {
        a.bytes = fixed_bytes[type - 0xc0];
    }
    *ret_announced = a;
    return RESULT_OK;
}

result_t codec_skip(slice_t data, int depth, size_t *at)
{
    announced_t a;
    if (*at >= data.size)
        return RESULT_INVALID;
    result_t r = read_type(data, at, &a);
    if (r != RESULT_OK)
        return r;
    if (a.bytes > data.size - *at || a.elements > data.size - *at)
        return RESULT_INVALID;
    if (a.elements && depth == 0)
        return RESULT_TOO_LARGE;
    *at += a.bytes;
    for (uint64_t i = 0; i < a.elements && r == RESULT_OK; i++)
        r = codec_skip(data, depth - 1, at);
    return r;
}

/* A value as far as fields hold it. */
typedef struct {
    enum { VALUE_OTHER, VALUE_INT, VALUE_BYTES } kind;
    int64_t number;
    slice_t bytes;
} value_t;

enum { MEMBER_DEPTH = 3 };

static bool is_bytes(unsigned char type)
{
    return (type >= 0xa0 && type <= 0xbf) || (type >= 0xc4 && type <= 0xc6) ||
           (type >= 0xd9 && type <= 0xdb);
}

/* The number behind the type bytes 0xcc (uint8) to 0xd3 (int64). Beyond int64 it is none. */
static void set_number(value_t *value, unsigned char type, slice_t bytes)
{
    size_t at = 0;
    uint64_t number = 0;
    (void)take_uint(bytes, bytes.size, &at, &number);
    if (type >= 0xd0 && bytes.size < sizeof number) {
        unsigned unused_bits = 64 - 8 * (unsigned)bytes.size;
        number = (uint64_t)((int64_t)(number << unused_bits) >> unused_bits);
    }
    if (type == 0xcf && number > INT64_MAX)
        return;
    value->kind = VALUE_INT;
    value->number = (int64_t)number;
}

static result_t take_value(slice_t data, size_t *at, value_t *ret_value)
{
    announced_t a;
    size_t begin = *at;
    if (begin >= data.size)
        return RESULT_INVALID;
    unsigned char type = (unsigned char)data.data[begin];
    *ret_value = (value_t){.kind = VALUE_OTHER};
    if (type < 0x80 || type >= 0xe0) {
        *ret_value = (value_t){.kind = VALUE_INT, .number = (signed char)type};
        ++*at;
        return RESULT_OK;
    }
    if (read_type(data, at, &a) != RESULT_OK)
        return RESULT_INVALID;
    if (a.elements) {
        *at = begin;
        return codec_skip(data, MEMBER_DEPTH, at);
    }
    if (a.bytes > data.size - *at)
        return RESULT_INVALID;
    slice_t bytes = {data.data + *at, a.bytes};
    *at += a.bytes;
    if (is_bytes(type))
        *ret_value = (value_t){.kind = VALUE_BYTES, .bytes = bytes};
    else if (type >= 0xcc && type <= 0xd3)
        set_number(ret_value, type, bytes);
    return RESULT_OK;
}

/* Fields mostly come in the order of the table, so it is looked for from the hint on. */
static const field_t *find_field(const field_table_t *table, const value_t *key, size_t *hint)
{
    if (key->kind != VALUE_INT)
        return NULL;
    for (size_t n = 0; n < table->n_fields; n++) {
        size_t i = *hint + n < table->n_fields ? *hint + n : *hint + n - table->n_fields;
        if (table->fields[i].number != key->number)
            continue;
        *hint = i + 1 < table->n_fields ? i + 1 : 0;
        return &table->fields[i];
    }
    return NULL;
}

static result_t set_field(const field_t *field, const value_t *value, void *object)
{
    if (value->kind != (field->type == FIELD_INT ? VALUE_INT : VALUE_BYTES))
        return RESULT_INVALID;
    if (field->type == FIELD_INT)
        *field_int(field, object) = value->number;
    else
        *field_slice(field, object) = value->bytes;
    return RESULT_OK;
}

static result_t take_map(slice_t data, size_t *at, const field_table_t *table, void *object)
{
    announced_t map;
    uint64_t seen = 0;
    size_t hint = 0;
    unsigned char type = (unsigned char)data.data[*at];
    bool is_map = (type >= 0x80 && type <= 0x8f) || type == 0xde || type == 0xdf;
    if (!is_map || read_type(data, at, &map) != RESULT_OK || map.elements > data.size - *at)
        return RESULT_INVALID;
    for (uint64_t i = 0; i < map.elements; i += 2) {
        value_t key, value;
        if (take_value(data, at, &key) != RESULT_OK || take_value(data, at, &value) != RESULT_OK)
            return RESULT_INVALID;
        const field_t *field = find_field(table, &key, &hint);
        if (!field)
            continue;
        if (set_field(field, &value, object) != RESULT_OK)
            return RESULT_INVALID;
        seen |= 1ull << (field - table->fields);
    }
    for (size_t i = 0; i < table->n_fields; i++)
        if ((table->fields[i].flags & FIELD_REQUIRED) && !(seen >> i & 1))
            return RESULT_INVALID;
    return RESULT_OK;
}

enum { OBJECT_BYTES_MAX = 1024 };

result_t codec_next(codec_reader_t *reader, const field_table_t *table, void *ret_object)
{
    ENSURE(table->n_fields <= 64 && table->size_bytes <= OBJECT_BYTES_MAX);
    if (reader->at >= reader->frame.size)
        return RESULT_NOT_FOUND;
    char object[OBJECT_BYTES_MAX] __attribute__((aligned(16)));
    memset(object, 0, table->size_bytes);
    size_t end = reader->at;
    result_t r = take_map(reader->frame, &end, table, object);
    if (r == RESULT_OK) {
        memcpy(ret_object, object, table->size_bytes);
        reader->at = end;
    }
    return r;
}

result_t codec_decode(slice_t frame, const field_table_t *table, void *ret_object)
{
    codec_reader_t reader;
    codec_reader_init(&reader, frame);
    result_t r = codec_next(&reader, table, ret_object);
    if (r == RESULT_OK && reader.at != frame.size)
        return RESULT_INVALID;
    return r == RESULT_NOT_FOUND ? RESULT_INVALID : r;
}
