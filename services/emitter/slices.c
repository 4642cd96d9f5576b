#include "services/emitter/slices.h"

void slices_init(slices_t *slices, int64_t keep_ms, int64_t keys_max)
{
    *slices = (slices_t){.keep_ms = keep_ms, .keys_max = keys_max};
}

int64_t slices_rows(const slices_t *slices)
{
    int64_t rows = 0;
    for (int i = 0; i < IDEMPOTENCY_TABLES; i++)
        rows += slices->slices[i].rows;
    return rows;
}

static int after(int slice)
{
    return (slice + 1) % IDEMPOTENCY_TABLES;
}

/* How long keys go to the same slice; beside the whole ones one is always being emptied. */
static int64_t span_ms(const slices_t *slices)
{
    return slices->keep_ms / (IDEMPOTENCY_TABLES - 1);
}

static bool is_over(const slices_t *slices, int64_t now_ms)
{
    const slice_state_t *current = &slices->slices[slices->current];
    int64_t share = slices->keys_max / IDEMPOTENCY_TABLES;
    return current->rows > 0 && (now_ms - current->started_ms >= span_ms(slices) ||
                                 current->rows >= (share > 0 ? share : 1));
}

static int empty(slices_t *slices, int slice)
{
    slices->slices[slice] = (slice_state_t){0};
    return slice;
}

/* Everything in it is older than keep_ms. */
static bool is_expired(const slices_t *slices, int slice, int64_t now_ms)
{
    const slice_state_t *state = &slices->slices[slice];
    return state->rows > 0 && now_ms - state->started_ms >= span_ms(slices) + slices->keep_ms;
}

static int oldest(const slices_t *slices)
{
    int slice = after(slices->current);
    while (slices->slices[slice].rows == 0 && slice != slices->current)
        slice = after(slice);
    return slice;
}

int slices_expire(slices_t *slices, int64_t now_ms)
{
    for (int i = 0; i < IDEMPOTENCY_TABLES; i++)
        if (is_expired(slices, i, now_ms))
            return empty(slices, i);
    if (slices->keys_max > 0 && is_over(slices, now_ms)) {
        int next = after(slices->current);
        if (slices->slices[next].rows > 0)
            return empty(slices, next);
        slices->current = next;
    }
    /* a limit smaller than the number of slices, or one that was lowered */
    if (slices_rows(slices) > 0 && slices_rows(slices) >= slices->keys_max)
        return empty(slices, oldest(slices));
    return -1;
}

idempotency_place_t slices_place(slices_t *slices, int64_t now_ms)
{
    slice_state_t *current = &slices->slices[slices->current];
    if (current->rows == 0)
        current->started_ms = now_ms > 0 ? now_ms : 1;
    return (idempotency_place_t){slices->current, ++current->rows};
}
