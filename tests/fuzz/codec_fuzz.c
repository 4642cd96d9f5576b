/* sources: common/base/buf.c common/base/mem.c common/base/result.c common/wire/codec.c
 * common/wire/messages.c */
/* Feeds arbitrary bytes to the wire codec as every message there is; what decodes must encode to
 * something that decodes to the same again. */
#include <stdint.h>

#include "common/wire/codec.h"
#include "common/wire/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const field_table_t *table, const void *a, const void *b)
{
    for (size_t i = 0; i < table->n_fields; i++) {
        const field_t *field = &table->fields[i];
        if (field->type == FIELD_INT)
            ENSURE(*field_int(field, a) == *field_int(field, b));
        else
            ENSURE(slice_equal(*field_slice(field, a), *field_slice(field, b)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const field_table_t *const tables[] = {
        &batch_table, &event_table,  &match_table, &target_table, &receipt_table, &receipted_table,
        &audit_table, &record_table, &mark_table,  &replay_table, &replayed_table};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        codec_reader_t reader;
        char object[1024] __attribute__((aligned(16)));
        codec_reader_init(&reader, (slice_t){(const char *)data, size});
        while (codec_next(&reader, tables[i], object) == RESULT_OK) {
            char again[1024] __attribute__((aligned(16)));
            AUTO_BUF frame = {0};
            codec_add(tables[i], object, &frame);
            ENSURE(codec_decode(buf_slice(&frame), tables[i], again) == RESULT_OK);
            check_same(tables[i], object, again);
        }
    }
    return 0;
}
