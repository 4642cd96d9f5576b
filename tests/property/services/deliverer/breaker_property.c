/* Random requests through a breaker, against the history of their results, read naively. */
#include "services/deliverer/breaker.h"
#include "tests/support/unit.h"

enum { ROUNDS = 5000, STEPS = 300 };

/* What follows from the whole history of one breaker. */
typedef struct {
    breaker_settings_t settings;
    char history[STEPS + 1]; /* S, F: results; F only while closed */
    int n;
    bool is_open;
    bool is_probing;
    int failed_probes; /* since it opened */
    int64_t probe_at_ms;
} model_t;

static int64_t interval_ms(const model_t *model)
{
    int64_t ms = model->settings.probe_ms;
    for (int i = 0; i < model->failed_probes && ms < model->settings.probe_ms * 32; i++)
        ms *= 2;
    return ms;
}

static bool has_failed_enough(const model_t *model)
{
    int in_a_row = 0;
    while (in_a_row < model->n && model->history[model->n - 1 - in_a_row] == 'F')
        in_a_row++;
    return in_a_row >= model->settings.failures_max;
}

static void take(breaker_t *breaker, model_t *model, int64_t now_ms)
{
    bool expected = !model->is_open || (!model->is_probing && now_ms >= model->probe_at_ms);
    assert_int_equal(breaker_take(breaker, now_ms), expected);
    model->is_probing |= model->is_open && expected;
}

static void succeed_one(breaker_t *breaker, model_t *model)
{
    assert_int_equal(breaker_success(breaker), model->is_open);
    model->is_open = model->is_probing = false;
    model->history[model->n++] = 'S';
}

static void fail_one(breaker_t *breaker, model_t *model, int64_t now_ms)
{
    bool opens = false;
    if (model->is_probing) {
        model->failed_probes++;
        model->is_probing = false;
        model->probe_at_ms = now_ms + interval_ms(model);
    } else if (!model->is_open) {
        model->history[model->n++] = 'F';
        opens = model->is_open = has_failed_enough(model);
    }
    if (opens) {
        model->failed_probes = 0;
        model->probe_at_ms = now_ms + interval_ms(model);
    }
    assert_int_equal(breaker_failure(breaker, &model->settings, now_ms), opens);
}

static void give_back(breaker_t *breaker, model_t *model, int64_t now_ms, bool later)
{
    if (model->is_probing && later)
        model->probe_at_ms = now_ms + interval_ms(model);
    model->is_probing = false;
    if (later)
        breaker_postpone(breaker, now_ms);
    else
        breaker_give_back(breaker);
}

static void hurry(breaker_t *breaker, model_t *model, int64_t now_ms)
{
    if (model->is_open && !model->is_probing && model->probe_at_ms > now_ms)
        model->probe_at_ms = now_ms;
    breaker_hurry(breaker, now_ms);
}

static void check(const breaker_t *breaker, const model_t *model)
{
    breaker_state_t expected = BREAKER_CLOSED;
    int64_t due_ms = 0;
    if (model->is_open) {
        expected = model->is_probing ? BREAKER_PROBING : BREAKER_OPEN;
        due_ms = model->is_probing ? INT64_MAX : model->probe_at_ms;
    }
    assert_int_equal(breaker->state, expected);
    assert_int_equal(breaker_due_ms(breaker), due_ms);
}

static void one_round(unsigned seed)
{
    unsigned random = seed;
    breaker_t breaker;
    int64_t now_ms = 1000;
    model_t model = {.settings = {.failures_max = 1 + (int)unit_chance(&random, 6),
                                  .probe_ms = 1 + unit_chance(&random, 50)}};
    unsigned healthy = unit_chance(&random, 10);
    breaker_init(&breaker);
    for (int i = 0; i < STEPS; i++) {
        unsigned what = unit_chance(&random, 20);
        now_ms += unit_chance(&random, 40);
        if (what < 9)
            take(&breaker, &model, now_ms);
        else if (what < 17 && unit_chance(&random, 10) < healthy)
            succeed_one(&breaker, &model);
        else if (what < 17)
            fail_one(&breaker, &model, now_ms);
        else if (what < 19)
            give_back(&breaker, &model, now_ms, what == 17);
        else
            hurry(&breaker, &model, now_ms);
        check(&breaker, &model);
    }
}

static void breakers_follow_the_history_of_results(void **state)
{
    unsigned seed = unit_seed();
    (void)state;
    fflush(stdout);
    for (unsigned i = 0; i < ROUNDS; i++)
        one_round(seed + i * 2654435761u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(breakers_follow_the_history_of_results)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
