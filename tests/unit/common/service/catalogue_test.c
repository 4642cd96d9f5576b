#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "common/base/json.h"
#include "common/service/catalogue.h"

/* product.md's list, in its order. */
static const char *const ids[] = {"clients.create",
                                  "clients.update",
                                  "clients.archive",
                                  "clients.delete",
                                  "clients.balance_zero",
                                  "clients.balance_notzero",
                                  "clients.custom_fields.update",
                                  "clients.accounts.create",
                                  "clients.accounts.update",
                                  "clients.accounts.delete",
                                  "clients.subscriptions.assign",
                                  "clients.subscriptions.activate",
                                  "clients.subscriptions.deactivate",
                                  "clients.subscriptions.renew",
                                  "clients.subscriptions.close",
                                  "dids.create",
                                  "dids.update",
                                  "dids.activate",
                                  "dids.stock",
                                  "dids.block",
                                  "dids.reserve",
                                  "dids.hold",
                                  "dids.archive",
                                  "email_rates_manager.import",
                                  "email_rates_manager.rate_tables_no_match",
                                  "email_rates_manager.no_attachments",
                                  "email_rates_manager.file_processing_error",
                                  "importd.process_success",
                                  "importd.process_failed",
                                  "accounting.charges.create",
                                  "accounting.charges.update",
                                  "accounting.charges.delete",
                                  "accounting.payments.create",
                                  "accounting.payments.update",
                                  "accounting.payments.delete"};
enum { IDS = sizeof ids / sizeof *ids };

static catalogue_t *make(const char *extra)
{
    catalogue_t *catalogue = NULL;
    fault_t fault;
    assert_int_equal(catalogue_new(extra, &catalogue, &fault), RESULT_OK);
    return catalogue;
}

static void the_35_events_in_order(void **state)
{
    (void)state;
    AUTO(catalogue) catalogue = make(NULL);
    assert_int_equal(IDS, 35);
    assert_int_equal(catalogue_size(catalogue), IDS);
    for (size_t i = 0; i < IDS; i++) {
        assert_string_equal(catalogue_at(catalogue, i)->id, ids[i]);
        assert_ptr_equal(catalogue_find(catalogue, slice_of(ids[i])), catalogue_at(catalogue, i));
    }
    assert_null(catalogue_find(catalogue, SLICE("clients.creat")));
    assert_null(catalogue_find(catalogue, SLICE("")));
}

static void every_sample_is_an_event(void **state)
{
    (void)state;
    static const char *const without_data[] = {"clients.archive", "clients.delete",
                                               "clients.balance_zero", "clients.balance_notzero",
                                               "clients.accounts.delete"};
    AUTO(catalogue) catalogue = make("");
    size_t n_without_data = 0;
    for (size_t i = 0; i < IDS; i++) {
        const catalogue_event_t *event = catalogue_at(catalogue, i);
        AUTO_BUF text = {0};
        catalogue_sample(event, &text);
        json_tree_t *tree = NULL;
        fault_t fault;
        assert_int_equal(json_parse(buf_slice(&text), &tree, &fault), RESULT_OK);
        const json_tree_t *data = json_get(tree, "data");
        assert_true(YAJL_IS_OBJECT(data));
        assert_string_equal(json_get_str(json_get(tree, "event"), "events_id"), ids[i]);
        assert_true(json_get_int(json_get(tree, "event"), "object_id", 0) > 0);
        bool none = data->u.object.len == 0;
        n_without_data += none;
        json_tree_destroy(&tree);
        bool expected = false;
        for (size_t j = 0; j < sizeof without_data / sizeof *without_data; j++)
            expected |= strcmp(ids[i], without_data[j]) == 0;
        assert_int_equal(none, expected);
        assert_true(*event->when && strncmp(event->object, "id of the ", 10) == 0);
    }
    assert_int_equal(n_without_data, 5);
}

static void ids_are_added_by_configuration(void **state)
{
    (void)state;
    AUTO(catalogue) catalogue = make("  crm.ticket.create=ticket\n crm.ticket.close=ticket ");
    assert_int_equal(catalogue_size(catalogue), IDS + 2);
    const catalogue_event_t *event = catalogue_find(catalogue, SLICE("crm.ticket.close"));
    assert_ptr_equal(event, catalogue_at(catalogue, IDS + 1));
    assert_string_equal(event->kind, "ticket");
    assert_string_equal(event->data, "{}");
    assert_non_null(catalogue_find(catalogue, SLICE("clients.create")));
}

static void hundreds_of_added_ids_are_found(void **state)
{
    (void)state;
    AUTO_BUF extra = {0};
    for (int i = 0; i < 500; i++)
        buf_printf(&extra, "crm.e%d=ticket ", i);
    AUTO(catalogue) catalogue = make(extra.data);
    for (int i = 0; i < 500; i++) {
        char id[32];
        snprintf(id, sizeof id, "crm.e%d", i);
        assert_string_equal(catalogue_find(catalogue, slice_of(id))->id, id);
    }
}

static void a_bad_entry_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"crm.ticket",
                                        "=ticket",
                                        "crm.ticket=",
                                        "crm..ticket=ticket",
                                        ".crm=ticket",
                                        "crm.=ticket",
                                        "Crm.ticket=ticket",
                                        "crm.ticket=tic=ket",
                                        "crm.*=ticket",
                                        "a.b=k a.b=k",
                                        "clients.create=thing",
                                        "a.b=k, c.d=k",
                                        "a.b=k bad",
                                        "crm.t\xc3=tic",
                                        "a.b = k"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        catalogue_t *catalogue = NULL;
        fault_t fault = {""};
        if (catalogue_new(cases[i], &catalogue, &fault) != RESULT_INVALID || !fault.text[0])
            fail_msg("%s", cases[i]);
        assert_null(catalogue);
    }
}

static size_t naive_distance(slice_t a, slice_t b)
{
    size_t row[256];
    for (size_t j = 0; j <= b.size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t best = diagonal + (a.data[i - 1] != b.data[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b.size];
}

static void nearest_is_what_a_naive_search_finds(void **state)
{
    (void)state;
    unsigned seed = unit_seed();
    AUTO(catalogue) catalogue = make("a=k");
    for (int round = 0; round < 2000; round++) {
        char text[80];
        size_t size = (size_t)snprintf(text, 64, "%s", ids[unit_chance(&seed, IDS)]);
        for (unsigned n = unit_chance(&seed, 12); n > 0; n--)
            text[unit_chance(&seed, (unsigned)size)] = (char)(96 + unit_chance(&seed, 27));
        slice_t id = {text, size - unit_chance(&seed, (unsigned)size + 1)};
        size_t best = SIZE_MAX;
        for (size_t i = 0; i < catalogue_size(catalogue); i++) {
            size_t d = naive_distance(id, slice_of(catalogue_at(catalogue, i)->id));
            best = d < best ? d : best;
        }
        const catalogue_event_t *nearest = catalogue_nearest(catalogue, id);
        assert_int_equal(naive_distance(id, slice_of(nearest->id)), best);
    }
}

static void nearest_of_typing_errors(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"clients.craete", "clients.create"},
        {"client.update", "clients.update"},
        {"dids.activated", "dids.activate"},
        {"accounting.payment.create", "accounting.payments.create"}};
    AUTO(catalogue) catalogue = make(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(catalogue_nearest(catalogue, slice_of(cases[i][0]))->id, cases[i][1]);
    char long_id[5000];
    memset(long_id, 'x', sizeof long_id);
    assert_non_null(catalogue_nearest(catalogue, (slice_t){long_id, sizeof long_id}));
}

static void patterns_cover_known_ids(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        bool covers;
    } cases[] = {{"*", true},
                 {"clients.*", true},
                 {"clients.create", true},
                 {"clients", false},
                 {"clients.", false},
                 {"client.*", false},
                 {"cl*", false},
                 {".*", false},
                 {"clients.accounts.*", true},
                 {"", false},
                 {"clients.create.*", false},
                 {"crm.*", true},
                 {"crm.ticket", true}};
    AUTO(catalogue) catalogue = make("crm.ticket=ticket");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (catalogue_covers(catalogue, slice_of(cases[i].pattern)) != cases[i].covers)
            fail_msg("%s", cases[i].pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_35_events_in_order),
        cmocka_unit_test(every_sample_is_an_event),
        cmocka_unit_test(ids_are_added_by_configuration),
        cmocka_unit_test(hundreds_of_added_ids_are_found),
        cmocka_unit_test(a_bad_entry_is_refused),
        cmocka_unit_test(nearest_is_what_a_naive_search_finds),
        cmocka_unit_test(nearest_of_typing_errors),
        cmocka_unit_test(patterns_cover_known_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
