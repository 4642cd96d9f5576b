/* custody against a naive model: per node and partition a low_water and a list of ids that is never
 * shortened; an id below low_water counts as forgotten. */
#include "tests/support/unit.h"
#include "common/base/cleanup.h"
#include "services/deliverer/custody.h"

enum { SOURCES = 6, IDS = 400, STEPS = 300000 };

typedef struct {
    bool taken, committed, unmatched;
} model_id_t;

typedef struct {
    bool seen;
    int low_water; /* number of the id; 0: "" */
    model_id_t ids[IDS];
} model_t;

static const struct {
    const char *node;
    int partition;
} sources[SOURCES] = {{"a", 0}, {"a", 1}, {"b", 0}, {"b", 63}, {"ab", 0}, {"ab", 1}};

static ulid_t id_of(int n)
{
    ulid_t id = {"01M86F6QRC0000000000000000"};
    for (int i = ULID_SIZE - 1; n; i--, n /= 10)
        id.text[i] = (char)('0' + n % 10);
    return id;
}

static custody_verdict_t model_take(model_t *model, int n, bool *unmatched)
{
    model_id_t *id = &model->ids[n];
    model->seen = true;
    if (n < model->low_water) {
        *unmatched = false;
        return CUSTODY_BELOW;
    }
    if (!id->taken) {
        *id = (model_id_t){.taken = true, .unmatched = *unmatched};
        return CUSTODY_NEW;
    }
    *unmatched = id->unmatched;
    return id->committed ? CUSTODY_KNOWN : CUSTODY_RUNNING;
}

static void check_take(custody_t *custody, model_t *model, int source, int n, bool unmatched)
{
    bool expected_unmatched = unmatched;
    ulid_t id = id_of(n);
    custody_verdict_t expected = model_take(model, n, &expected_unmatched);
    assert_int_equal(custody_take(custody, slice_of(sources[source].node),
                                  sources[source].partition, &id, &unmatched),
                     expected);
    assert_int_equal(unmatched, expected_unmatched);
}

static void check_raise(custody_t *custody, model_t *model, int source, int n)
{
    ulid_t low_water = n ? id_of(n) : (ulid_t){""};
    bool expected = !model->seen || n > model->low_water;
    assert_int_equal(custody_raise(custody, slice_of(sources[source].node),
                                   sources[source].partition, &low_water),
                     expected);
    model->seen = true;
    if (n > model->low_water)
        model->low_water = n;
}

static void check_commit(custody_t *custody, model_t *model, int source, int n, bool restored)
{
    ulid_t id = id_of(n);
    slice_t node = slice_of(sources[source].node);
    if (restored && n >= model->low_water && !model->ids[n].taken) {
        custody_restore(custody, node, sources[source].partition, &id, true);
        model->ids[n] = (model_id_t){.taken = true, .committed = true, .unmatched = true};
        model->seen = true;
        return;
    }
    custody_committed(custody, node, sources[source].partition, &id);
    if (model->ids[n].taken)
        model->ids[n].committed = true;
}

static size_t model_size(const model_t *models)
{
    size_t size = 0;
    for (int s = 0; s < SOURCES; s++)
        for (int n = models[s].low_water; n < IDS; n++)
            size += models[s].ids[n].taken;
    return size;
}

static void custody_does_what_the_model_does(void **state)
{
    static model_t models[SOURCES];
    unsigned chance = unit_seed();
    AUTO(custody) custody = custody_new();
    (void)state;
    for (int step = 0; step < STEPS; step++) {
        int source = (int)unit_chance(&chance, SOURCES);
        model_t *model = &models[source];
        /* ids come around a place that moves up, as an emitter's do */
        int middle = (int)((int64_t)step * IDS / STEPS);
        int n = 1 + (middle + (int)unit_chance(&chance, 60)) % (IDS - 1);
        switch (unit_chance(&chance, 16)) {
        case 0:
            check_raise(custody, model, source, n > 50 ? n - 50 : 0);
            break;
        case 1:
            check_raise(custody, model, source, (int)unit_chance(&chance, (unsigned)middle + 1));
            break;
        case 2:
        case 3:
        case 4:
            check_commit(custody, model, source, n, unit_chance(&chance, 8) == 0);
            break;
        default:
            check_take(custody, model, source, n, unit_chance(&chance, 3) == 0);
        }
        if (step % 1000 == 0)
            assert_int_equal(custody_size(custody), model_size(models));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(custody_does_what_the_model_does)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
