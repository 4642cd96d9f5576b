#include "tests/support/unit.h"

#include "services/emitter/gate.h"

enum { A = 11, B = 12, C = 13 }; /* requests */

static void open_admits(void **state)
{
    (void)state;
    gate_t gate = {0};
    assert_true(gate_admits(&gate, 1, A, 0));
}

/* What a pipelining core had sent behind the refused request must not be taken before it. */
static void a_refused_peer_begins_again_with_the_first_refused_request(void **state)
{
    (void)state;
    gate_t gate = {.closed = true};
    assert_false(gate_admits(&gate, 1, A, 100));
    assert_false(gate_admits(&gate, 1, B, 101));
    gate.closed = false;
    assert_true(gate_admits(&gate, 2, B, 102));
    assert_false(gate_admits(&gate, 1, C, 5000)); /* was held up by the network */
    assert_true(gate_admits(&gate, 1, A, 5001));
    assert_true(gate_admits(&gate, 1, B, 5002));
    assert_true(gate_admits(&gate, 1, C, 5003));
}

static void it_stays_the_first_however_often_it_is_refused(void **state)
{
    (void)state;
    gate_t gate = {.closed = true};
    for (int64_t ms = 0; ms < 3 * GATE_HELD_MS; ms += 1000) {
        assert_false(gate_admits(&gate, 1, A, ms));
        assert_false(gate_admits(&gate, 1, B, ms));
    }
    gate.closed = false;
    assert_false(gate_admits(&gate, 1, B, 3 * GATE_HELD_MS));
    assert_true(gate_admits(&gate, 1, A, 3 * GATE_HELD_MS));
}

static void who_gives_it_up_goes_on_in_the_end(void **state)
{
    (void)state;
    gate_t gate = {.closed = true};
    assert_false(gate_admits(&gate, 1, A, 100));
    assert_false(gate_admits(&gate, 2, A, 200));
    assert_false(gate_admits(&gate, 1, B, 900)); /* prolongs: the gate is closed */
    gate.closed = false;
    assert_false(gate_admits(&gate, 1, B, 900 + GATE_HELD_MS - 1)); /* does not: it is open */
    assert_true(gate_admits(&gate, 2, B, 200 + GATE_HELD_MS));
    assert_true(gate_admits(&gate, 1, B, 900 + GATE_HELD_MS));
    gate.closed = true;
    assert_false(gate_admits(&gate, 1, C, 20000));
    gate.closed = false;
    assert_true(gate_admits(&gate, 1, C, 20001));
}

static void the_oldest_is_forgotten_when_there_are_too_many(void **state)
{
    (void)state;
    gate_t gate = {.closed = true};
    for (uint64_t peer = 0; peer <= GATE_PEERS_MAX; peer++)
        assert_false(gate_admits(&gate, peer, A, (int64_t)peer / 100));
    gate.closed = false;
    assert_true(gate_admits(&gate, 0, B, 20));
    assert_false(gate_admits(&gate, 1, B, 20));
    assert_false(gate_admits(&gate, GATE_PEERS_MAX, B, 20));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_admits),
        cmocka_unit_test(a_refused_peer_begins_again_with_the_first_refused_request),
        cmocka_unit_test(it_stays_the_first_however_often_it_is_refused),
        cmocka_unit_test(who_gives_it_up_goes_on_in_the_end),
        cmocka_unit_test(the_oldest_is_forgotten_when_there_are_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
