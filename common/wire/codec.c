#include "common/wire/codec.h"

#include <msgpack.h>

static int write_to_buf(void *to, const char *data, size_t size)
{
    buf_add(to, data, size);
    return 0;
}

static bool is_present(const field_t *field, const void *object)
{
    if (field->flags & FIELD_REQUIRED)
        return true;
    return field->type == FIELD_INT ? *field_int(field, object) != 0
                                    : field_slice(field, object)->data != NULL;
}

static void pack_field(msgpack_packer *packer, const field_t *field, const void *object)
{
    msgpack_pack_uint32(packer, field->number);
    if (field->type == FIELD_INT) {
        msgpack_pack_int64(packer, *field_int(field, object));
        return;
    }
    slice_t value = *field_slice(field, object);
    msgpack_pack_bin_with_body(packer, value.data ? value.data : "", value.size);
}

void codec_add(const field_table_t *table, const void *object, buf_t *frame)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, frame, write_to_buf);
    size_t present = 0;
    for (size_t i = 0; i < table->n_fields; i++)
        present += is_present(&table->fields[i], object);
    msgpack_pack_map(&packer, present);
    for (size_t i = 0; i < table->n_fields; i++)
        if (is_present(&table->fields[i], object))
            pack_field(&packer, &table->fields[i], object);
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

static const field_t *find_field(const field_table_t *table, const msgpack_object *key)
{
    if (key->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return NULL;
    for (size_t i = 0; i < table->n_fields; i++)
        if (table->fields[i].number == key->via.u64)
            return &table->fields[i];
    return NULL;
}

static result_t take_value(const field_t *field, const msgpack_object *value, void *object)
{
    if (field->type == FIELD_INT) {
        if (value->type == MSGPACK_OBJECT_POSITIVE_INTEGER && value->via.u64 <= INT64_MAX)
            *field_int(field, object) = (int64_t)value->via.u64;
        else if (value->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
            *field_int(field, object) = value->via.i64;
        else
            return RESULT_INVALID;
        return RESULT_OK;
    }
    if (value->type != MSGPACK_OBJECT_BIN && value->type != MSGPACK_OBJECT_STR)
        return RESULT_INVALID;
    const char *data = value->via.bin.ptr ? value->via.bin.ptr : "";
    *field_slice(field, object) = (slice_t){data, value->via.bin.size};
    return RESULT_OK;
}

static result_t take_map(const msgpack_object *map, const field_table_t *table, char *object)
{
    uint64_t seen = 0;
    if (map->type != MSGPACK_OBJECT_MAP)
        return RESULT_INVALID;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *entry = &map->via.map.ptr[i];
        const field_t *field = find_field(table, &entry->key);
        if (!field)
            continue;
        if (take_value(field, &entry->val, object) != RESULT_OK)
            return RESULT_INVALID;
        seen |= 1ull << (field - table->fields);
    }
    for (size_t i = 0; i < table->n_fields; i++)
        if ((table->fields[i].flags & FIELD_REQUIRED) && !(seen >> i & 1))
            return RESULT_INVALID;
    return RESULT_OK;
}

enum { FRAME_DEPTH = 4 };

result_t codec_next(codec_reader_t *reader, const field_table_t *table, void *ret_object)
{
    ENSURE(table->n_fields <= 64 && table->size_bytes <= 1024);
    if (reader->at >= reader->frame.size)
        return RESULT_NOT_FOUND;
    size_t end = reader->at;
    if (codec_skip(reader->frame, FRAME_DEPTH, &end) != RESULT_OK)
        return RESULT_INVALID;
    char object[1024] __attribute__((aligned(16))) = {0};
    size_t used = 0;
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    msgpack_unpack_return got =
        msgpack_unpack_next(&unpacked, reader->frame.data + reader->at, end - reader->at, &used);
    result_t r =
        got == MSGPACK_UNPACK_SUCCESS ? take_map(&unpacked.data, table, object) : RESULT_INVALID;
    msgpack_unpacked_destroy(&unpacked);
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
