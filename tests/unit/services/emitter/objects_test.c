#include "tests/support/unit.h"

#include "services/emitter/objects.h"

static outgoing_event_t event(int64_t seq)
{
    return (outgoing_event_t){.seq = seq, .frame = SLICE("frame")};
}

static void an_object_is_made_once(void **state)
{
    (void)state;
    objects_t objects = {0};
    object_t *made[1000];
    for (uint64_t i = 0; i < 1000; i++)
        made[i] = objects_get(&objects, i * 7 * PARTITIONS + i % PARTITIONS);
    assert_int_equal(objects.n, 1000);
    for (uint64_t i = 0; i < 1000; i++)
        assert_ptr_equal(objects_get(&objects, i * 7 * PARTITIONS + i % PARTITIONS), made[i]);
    for (uint64_t i = 0; i < 1000; i++)
        objects_remove(&objects, made[i]);
    assert_int_equal(objects.n, 0);
    assert_null(objects.buckets); /* idle costs nothing */
    objects_release(&objects);
}

static void events_keep_their_order_when_one_goes(void **state)
{
    (void)state;
    static const int64_t cases[][4] = {
        {1, 2, 3, 0},
        {2, 1, 3, 0},
        {3, 1, 2, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        objects_t objects = {0};
        object_t *object = objects_get(&objects, 5);
        waiting_t *added[4];
        for (int64_t seq = 1; seq <= 3; seq++) {
            outgoing_event_t one = event(seq);
            added[seq] = object_add(object, &one);
            assert_ptr_not_equal(added[seq]->event.frame.data, one.frame.data); /* a copy */
            assert_true(slice_is(added[seq]->event.frame, "frame"));
            added[seq]->sent = true;
            object->n_sent++;
        }
        object_take(added[cases[i][0]]);
        free(added[cases[i][0]]);
        assert_int_equal(object->n_sent, 2);
        assert_int_equal(object->first->event.seq, cases[i][1]);
        assert_int_equal(object->first->next->event.seq, cases[i][2]);
        assert_int_equal(object->last->event.seq, cases[i][2]);
        assert_ptr_equal(object->last->previous, object->first);
        assert_null(object->last->next);
        objects_release(&objects);
    }
}

static void a_list_is_first_in_first_out(void **state)
{
    (void)state;
    objects_t objects = {0};
    object_list_t list = {0};
    object_t *made[4];
    for (uint64_t i = 0; i < 4; i++) {
        made[i] = objects_get(&objects, i);
        object_list_push(&list, made[i]);
    }
    object_list_remove(made[1]);
    object_list_remove(made[1]); /* in none */
    static const int order[] = {0, 2, 3};
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(list.first, made[order[i]]);
        object_list_remove(list.first);
    }
    assert_null(list.first);
    assert_null(list.last);
    objects_release(&objects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_is_made_once),
        cmocka_unit_test(events_keep_their_order_when_one_goes),
        cmocka_unit_test(a_list_is_first_in_first_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
