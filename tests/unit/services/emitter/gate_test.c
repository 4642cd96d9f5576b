#include "tests/support/unit.h"

#include "services/emitter/gate.h"

static void open_admits(void **state)
{
    (void)state;
    gate_t gate = {0};
    assert_true(gate_admits(&gate, 1, 0));
}

/* What a pipelining core had sent behind the refused request must not be taken before it. */
static void a_refused_peer_waits_although_there_is_room_again(void **state)
{
    (void)state;
    gate_t gate = {.closed = true};
    assert_false(gate_admits(&gate, 1, 100));
    gate.closed = false;
    assert_true(gate_admits(&gate, 2, 101));
    assert_false(gate_admits(&gate, 1, 101));
    assert_false(gate_admits(&gate, 1, 100 + GATE_RETRY_AFTER_MS - 1));
    assert_true(gate_admits(&gate, 1, 100 + GATE_RETRY_AFTER_MS));
}

static void being_told_again_prolongs_only_while_closed(void **state)
{
    (void)state;
    gate_t gate = {.closed = true};
    assert_false(gate_admits(&gate, 1, 100));
    assert_false(gate_admits(&gate, 2, 200));
    assert_false(gate_admits(&gate, 1, 900));
    gate.closed = false;
    assert_false(gate_admits(&gate, 1, 1899));
    assert_true(gate_admits(&gate, 2, 1200));
    assert_true(gate_admits(&gate, 1, 1900));
}

static void the_oldest_is_forgotten_when_there_are_too_many(void **state)
{
    (void)state;
    gate_t gate = {.closed = true};
    for (uint64_t peer = 0; peer <= GATE_PEERS_MAX; peer++)
        assert_false(gate_admits(&gate, peer, (int64_t)peer / 100));
    gate.closed = false;
    assert_true(gate_admits(&gate, 0, 20));
    assert_false(gate_admits(&gate, 1, 20));
    assert_false(gate_admits(&gate, GATE_PEERS_MAX, 20));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_admits),
        cmocka_unit_test(a_refused_peer_waits_although_there_is_room_again),
        cmocka_unit_test(being_told_again_prolongs_only_while_closed),
        cmocka_unit_test(the_oldest_is_forgotten_when_there_are_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
