/* Random structs of every message: what is encoded decodes to the same; every truncation is
 * refused; an unknown field between the known ones changes nothing. */
#include "tests/support/unit.h"

#include "common/wire/codec.h"
#include "common/wire/messages.h"

static const field_table_t *const tables[] = {
    &batch_table, &event_table,  &match_table, &target_table, &receipt_table, &receipted_table,
    &audit_table, &record_table, &mark_table,  &replay_table, &replayed_table};
enum { TABLES = sizeof tables / sizeof *tables, ROUNDS = 3000 };

static char bytes[70000];

static int64_t random_int(unsigned *seed)
{
    int64_t value = (int64_t)unit_chance(seed, 1 << 24) << unit_chance(seed, 39);
    return unit_chance(seed, 4) ? value : -value;
}

static void fill(const field_table_t *table, unsigned *seed, void *object)
{
    static const unsigned sizes[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    for (size_t i = 0; i < table->n_fields; i++) {
        const field_t *field = &table->fields[i];
        bool present = (field->flags & FIELD_REQUIRED) || unit_chance(seed, 2);
        if (field->type == FIELD_INT)
            *field_int(field, object) = present ? random_int(seed) : 0;
        else if (present)
            *field_slice(field, object) =
                (slice_t){bytes, sizes[unit_chance(seed, unit_chance(seed, 9) ? 4 : 8)]};
    }
}

static void assert_same(const field_table_t *table, const void *a, const void *b)
{
    for (size_t i = 0; i < table->n_fields; i++) {
        const field_t *field = &table->fields[i];
        if (field->type == FIELD_INT) {
            assert_true(*field_int(field, a) == *field_int(field, b));
        } else {
            slice_t x = *field_slice(field, a), y = *field_slice(field, b);
            assert_true(slice_equal(x, y) && !x.data == !y.data);
        }
    }
}

static void what_is_encoded_decodes_to_the_same(void **state)
{
    (void)state;
    unsigned seed = unit_seed();
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)unit_chance(&seed, 256);
    for (int round = 0; round < ROUNDS; round++) {
        const field_table_t *table = tables[round % TABLES];
        char object[1024] __attribute__((aligned(16))) = {0},
                          again[1024] __attribute__((aligned(16)));
        fill(table, &seed, object);
        AUTO_BUF frame = {0};
        codec_add(table, object, &frame);
        assert_int_equal(codec_decode(buf_slice(&frame), table, again), RESULT_OK);
        assert_same(table, object, again);
        size_t cut = unit_chance(&seed, (unsigned)frame.size);
        assert_int_equal(codec_decode((slice_t){frame.data, cut}, table, again), RESULT_INVALID);
    }
}

static void a_newer_field_is_skipped(void **state)
{
    (void)state;
    AUTO_BUF newer = {0};
    mark_t mark = {1, SLICE("node"), 7, 9}, got;
    AUTO_BUF frame = {0};
    codec_add(&mark_table, &mark, &frame);
    assert_int_equal((unsigned char)frame.data[0], 0x84);
    buf_add(&newer, "\x85\x63\x92\xa1x\x01", 6); /* 5 members; field 99 is an array */
    buf_add(&newer, frame.data + 1, frame.size - 1);
    assert_int_equal(codec_decode(buf_slice(&newer), &mark_table, &got), RESULT_OK);
    assert_same(&mark_table, &mark, &got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_decodes_to_the_same),
        cmocka_unit_test(a_newer_field_is_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
