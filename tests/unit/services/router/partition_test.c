#include "tests/support/unit.h"

#include "common/base/cleanup.h"
#include "services/router/partition.h"

static partition_t *make(const char *text)
{
    partition_t *partition = NULL;
    fault_t fault = {""};
    if (partition_new(text, &partition, &fault) != RESULT_OK)
        fail_msg("%s: %s", text, fault.text);
    return partition;
}

static void every_partition_has_its_owner(void **state)
{
    (void)state;
    AUTO(partition) partition = make(" 32-62=tcp://b:5561  0-31=tcp://a:5561\n63=tcp://b:5561");
    assert_int_equal(partition_deliverers(partition), 2);
    for (int i = 0; i < 64; i++)
        assert_string_equal(partition_endpoint(partition, partition_owner(partition, i)),
                            i < 32 ? "tcp://a:5561" : "tcp://b:5561");
}

static void one_deliverer_owns_all(void **state)
{
    (void)state;
    AUTO(partition) partition = make("0-63=ipc:///run/deliverer=1");
    assert_int_equal(partition_deliverers(partition), 1);
    assert_string_equal(partition_endpoint(partition, 0), "ipc:///run/deliverer=1");
    assert_int_equal(partition_owner(partition, 0), 0);
    assert_int_equal(partition_owner(partition, 63), 0);
}

static void sixty_four_deliverers(void **state)
{
    (void)state;
    AUTO_BUF text = {0};
    for (int i = 0; i < 64; i++)
        buf_printf(&text, "%d=tcp://d%d:5561 ", i, i);
    AUTO(partition) partition = make(text.data);
    assert_int_equal(partition_deliverers(partition), 64);
    assert_int_equal(partition_owner(partition, 63), 63);
}

static void a_bad_map_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "0-63"},
        {"0-31=tcp://a:1", "32-63"},
        {"0-9=tcp://a:1 20-63=tcp://a:1", "10-19"},
        {"0-62=tcp://a:1", "63-63"},
        {"0-63=tcp://a:1 5=tcp://b:1", "partition 5 belongs to tcp://a:1"},
        {"0-40=tcp://a:1 40-63=tcp://b:1", "partition 40"},
        {"0-64=tcp://a:1", "is not FIRST-LAST"},
        {"0-63", "is not FIRST-LAST"},
        {"0-63=", "is not FIRST-LAST"},
        {"0-63=tcp://", "is not FIRST-LAST"},
        {"0-63=a:5561", "is not FIRST-LAST"},
        {"=tcp://a:1", "is not FIRST-LAST"},
        {"63-0=tcp://a:1", "is not FIRST-LAST"},
        {"-1-63=tcp://a:1", "is not FIRST-LAST"},
        {"0-=tcp://a:1", "is not FIRST-LAST"},
        {"0-6x=tcp://a:1", "is not FIRST-LAST"},
        {"0-99999999999999999999=tcp://a:1", "is not FIRST-LAST"},
        {"0-63 = tcp://a:1", "is not FIRST-LAST"},
        {"0-31=tcp://a:1,32-63=tcp://b:1", "32-63"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        partition_t *partition = NULL;
        fault_t fault = {""};
        result_t r = partition_new(cases[i].text, &partition, &fault);
        if (r != RESULT_INVALID || partition || !strstr(fault.text, cases[i].says))
            fail_msg("%s: %s", cases[i].text, fault.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_partition_has_its_owner),
        cmocka_unit_test(one_deliverer_owns_all),
        cmocka_unit_test(sixty_four_deliverers),
        cmocka_unit_test(a_bad_map_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
