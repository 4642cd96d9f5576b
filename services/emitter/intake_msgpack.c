#include "services/emitter/intake_msgpack.h"
#include "common/base/utf8.h"
#include "common/wire/codec.h"
#include "services/emitter/intake_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* An element deeper than INTAKE_DEPTH_MAX is refused alone as long as its end can be found with a
 * bounded stack. */
enum { SKIP_DEPTH_MAX = 1000 };

/* The way from the outermost value to this one, for the error's path. */
typedef struct way_t {
    const struct way_t *up;
    slice_t key; /* of a map; absent: index */
    size_t index;
} way_t;

typedef struct {
    buf_t *json;
    buf_t *path;
    fault_t *fault;
} writer_t;

static void write_path(buf_t *path, const way_t *way)
{
    if (!way)
        return;
    write_path(path, way->up);
    char index[24];
    snprintf(index, sizeof index, "%zu", way->index);
    intake_path_add(path, way->key.data ? way->key : slice_of(index));
}

static intake_code_t refuse(writer_t *w, const way_t *way, intake_code_t code, const char *why)
{
    write_path(w->path, way);
    (void)fault_set(w->fault, RESULT_INVALID, "%s", why);
    return code;
}

/* Stays a JSON number, and stays a float: 12.0, not 12. */
static void write_float(buf_t *json, double value, bool is_single)
{
    char text[40];
    int digits = is_single ? 6 : 15, digits_max = is_single ? 9 : 17;
    for (; digits <= digits_max; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (is_single ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
            break;
    }
    buf_add_str(json, text);
    if (!strpbrk(text, ".e"))
        buf_add_str(json, ".0");
}

static void write_escaped(buf_t *json, slice_t text)
{
    size_t plain = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_add(json, text.data + plain, i - plain);
        plain = i + 1;
        if (c == '"' || c == '\\')
            buf_printf(json, "\\%c", c);
        else
            buf_printf(json, "\\u%04x", c);
    }
    buf_add(json, text.data + plain, text.size - plain);
}

static intake_code_t write_string(writer_t *w, const way_t *way, slice_t text)
{
    if (!utf8_valid(text))
        return refuse(w, way, INTAKE_BAD_UTF8, "a string is not UTF-8");
    buf_add_char(w->json, '"');
    write_escaped(w->json, text);
    buf_add_char(w->json, '"');
    return INTAKE_OK;
}

static slice_t str_slice(const msgpack_object *object)
{
    return (slice_t){object->via.str.size ? object->via.str.ptr : "", object->via.str.size};
}

static intake_code_t write_value(writer_t *w, const way_t *way, const msgpack_object *value);

static intake_code_t write_array(writer_t *w, const way_t *way, const msgpack_object_array *array)
{
    intake_code_t code = INTAKE_OK;
    buf_add_char(w->json, '[');
    for (uint32_t i = 0; i < array->size && code == INTAKE_OK; i++) {
        way_t element = {.up = way, .index = i};
        if (i)
            buf_add_char(w->json, ',');
        code = write_value(w, &element, &array->ptr[i]);
    }
    buf_add_char(w->json, ']');
    return code;
}

static intake_code_t write_map(writer_t *w, const way_t *way, const msgpack_object_map *map)
{
    intake_code_t code = INTAKE_OK;
    buf_add_char(w->json, '{');
    for (uint32_t i = 0; i < map->size && code == INTAKE_OK; i++) {
        const msgpack_object_kv *member = &map->ptr[i];
        if (member->key.type != MSGPACK_OBJECT_STR)
            return refuse(w, way, INTAKE_WRONG_TYPE, "keys of a map must be strings");
        way_t below = {.up = way, .key = str_slice(&member->key)};
        if (i)
            buf_add_char(w->json, ',');
        code = write_string(w, way, below.key);
        buf_add_char(w->json, ':');
        if (code == INTAKE_OK)
            code = write_value(w, &below, &member->val);
    }
    buf_add_char(w->json, '}');
    return code;
}

static intake_code_t write_value(writer_t *w, const way_t *way, const msgpack_object *value)
{
    switch (value->type) {
    case MSGPACK_OBJECT_NIL:
        buf_add_str(w->json, "null");
        return INTAKE_OK;
    case MSGPACK_OBJECT_BOOLEAN:
        buf_add_str(w->json, value->via.boolean ? "true" : "false");
        return INTAKE_OK;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        buf_printf(w->json, "%llu", (unsigned long long)value->via.u64);
        return INTAKE_OK;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        buf_printf(w->json, "%lld", (long long)value->via.i64);
        return INTAKE_OK;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        if (!isfinite(value->via.f64))
            return refuse(w, way, INTAKE_WRONG_TYPE, "NaN and Inf are not JSON numbers");
        write_float(w->json, value->via.f64, value->type == MSGPACK_OBJECT_FLOAT32);
        return INTAKE_OK;
    case MSGPACK_OBJECT_STR:
        return write_string(w, way, str_slice(value));
    case MSGPACK_OBJECT_ARRAY:
        return write_array(w, way, &value->via.array);
    case MSGPACK_OBJECT_MAP:
        return write_map(w, way, &value->via.map);
    case MSGPACK_OBJECT_BIN:
        return refuse(w, way, INTAKE_WRONG_TYPE, "bin is not taken; text is str");
    case MSGPACK_OBJECT_EXT:
        break;
    }
    return refuse(w, way, INTAKE_WRONG_TYPE, "ext types are not taken");
}

intake_code_t intake_msgpack_to_json(slice_t msgpack, msgpack_zone *zone, buf_t *json,
                                     buf_t *ret_path, fault_t *fault)
{
    writer_t w = {json, ret_path, fault};
    size_t end = 0, used = 0;
    result_t r = codec_skip(msgpack, INTAKE_DEPTH_MAX, &end);
    if (r == RESULT_TOO_LARGE)
        return refuse(&w, NULL, INTAKE_TOO_DEEP, "nested deeper than 32 levels");
    if (r != RESULT_OK)
        return refuse(&w, NULL, INTAKE_BAD_MSGPACK, "not msgpack: truncated or malformed");
    if (end != msgpack.size)
        return refuse(&w, NULL, INTAKE_BAD_MSGPACK, "something follows the msgpack value");
    msgpack_object value;
    msgpack_unpack_return got = msgpack_unpack(msgpack.data, msgpack.size, &used, zone, &value);
    intake_code_t code = got == MSGPACK_UNPACK_SUCCESS ? write_value(&w, NULL, &value)
                                                       : refuse(&w, NULL, INTAKE_BAD_MSGPACK,
                                                                "not msgpack: cannot be unpacked");
    msgpack_zone_clear(zone);
    return code;
}

static unsigned char first_byte(slice_t msgpack)
{
    return msgpack.size ? (unsigned char)msgpack.data[0] : 0;
}

bool intake_msgpack_is_map(slice_t msgpack)
{
    unsigned char type = first_byte(msgpack);
    return (type >= 0x80 && type <= 0x8f) || type == 0xde || type == 0xdf;
}

bool intake_msgpack_is_array(slice_t msgpack)
{
    unsigned char type = first_byte(msgpack);
    return (type >= 0x90 && type <= 0x9f) || type == 0xdc || type == 0xdd;
}

result_t intake_msgpack_open(slice_t msgpack, intake_msgpack_array_t *ret_array)
{
    unsigned char type = first_byte(msgpack);
    size_t length_bytes = type == 0xdc ? 2 : type == 0xdd ? 4 : 0;
    if (msgpack.size < 1 + length_bytes)
        return RESULT_INVALID;
    uint32_t n = length_bytes ? 0 : type & 15u;
    for (size_t i = 0; i < length_bytes; i++)
        n = n << 8 | (unsigned char)msgpack.data[1 + i];
    *ret_array = (intake_msgpack_array_t){msgpack, 1 + length_bytes, n};
    return RESULT_OK;
}

result_t intake_msgpack_next(intake_msgpack_array_t *array, slice_t *ret_element)
{
    if (array->left == 0)
        return array->at == array->msgpack.size ? RESULT_NOT_FOUND : RESULT_INVALID;
    size_t end = array->at;
    result_t r = codec_skip(array->msgpack, SKIP_DEPTH_MAX, &end);
    if (r != RESULT_OK)
        return r;
    *ret_element = (slice_t){array->msgpack.data + array->at, end - array->at};
    array->at = end;
    array->left--;
    return RESULT_OK;
}
