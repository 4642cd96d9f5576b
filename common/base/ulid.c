#include "common/base/ulid.h"

#include <sys/random.h>

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
enum { TIME_CHARS = 10 };

static int digit(char c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

void ulid_gen_init(ulid_gen_t *gen, const ulid_t *last)
{
    gen->last = *last;
}

static void put_time(ulid_t *id, int64_t wall_ms)
{
    uint64_t value = wall_ms < 0 ? 0 : (uint64_t)wall_ms & 0xffffffffffffull;
    for (int i = TIME_CHARS - 1; i >= 0; i--, value >>= 5)
        id->text[i] = alphabet[value & 31];
}

static void put_chance(ulid_t *id)
{
    unsigned char bytes[ULID_SIZE - TIME_CHARS];
    ENSURE(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
    for (int i = TIME_CHARS; i < ULID_SIZE; i++)
        id->text[i] = alphabet[bytes[i - TIME_CHARS] & 31];
    /* half of the range stays free above, so that counting up within a millisecond never ends */
    id->text[TIME_CHARS] = alphabet[digit(id->text[TIME_CHARS]) & 15];
}

static void count_up(ulid_t *id)
{
    for (int i = ULID_SIZE - 1; i >= 0; i--) {
        int value = digit(id->text[i]);
        id->text[i] = alphabet[(value + 1) & 31];
        if (value != 31)
            return;
    }
    PANIC("event ids are used up");
}

ulid_t ulid_next(ulid_gen_t *gen, int64_t wall_ms)
{
    ulid_t id = {{0}};
    put_time(&id, wall_ms);
    if (memcmp(id.text, gen->last.text, TIME_CHARS) > 0) {
        put_chance(&id);
    } else {
        id = gen->last;
        count_up(&id);
    }
    gen->last = id;
    return id;
}

result_t ulid_parse(slice_t text, ulid_t *ret_id)
{
    if (text.size != ULID_SIZE || text.data[0] > '7')
        return RESULT_INVALID;
    for (size_t i = 0; i < text.size; i++)
        if (digit(text.data[i]) < 0)
            return RESULT_INVALID;
    *ret_id = (ulid_t){{0}};
    memcpy(ret_id->text, text.data, ULID_SIZE);
    return RESULT_OK;
}

int64_t ulid_wall_ms(const ulid_t *id)
{
    int64_t value = 0;
    for (int i = 0; i < TIME_CHARS; i++)
        value = value * 32 + digit(id->text[i]);
    return value;
}
