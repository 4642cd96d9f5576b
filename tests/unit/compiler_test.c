/* What the compiler makes of correct C. GCC 12 at -O2 takes the load of lists->here.first out of
 * the second loop below, because it believes that no store through element->list changes it, and
 * the loop never ends; with -fno-strict-aliasing (CMakeLists.txt) it does not. */
#include "tests/support/unit.h"

typedef struct {
    struct element *first, *last;
} list_t;

typedef struct element {
    struct element *prev, *next;
    list_t *list; /* that it stands in */
} element_t;

typedef struct {
    element_t **arriving; /* ends with NULL */
    list_t here, there;
} lists_t;

enum { ELEMENTS = 3, MOVES_MAX = 100 };

static void list_remove(list_t *list, const element_t *element)
{
    if (element->prev)
        element->prev->next = element->next;
    else
        list->first = element->next;
    if (element->next)
        element->next->prev = element->prev;
    else
        list->last = element->prev;
}

static void list_add(list_t *list, element_t *element)
{
    element->prev = list->last;
    element->next = NULL;
    if (list->last)
        list->last->next = element;
    else
        list->first = element;
    list->last = element;
    element->list = list;
}

__attribute__((noinline)) static int move_all(lists_t *lists)
{
    element_t *element;
    int moved = 0;
    while ((element = *lists->arriving)) {
        lists->arriving++;
        list_add(&lists->here, element);
    }
    while (moved < MOVES_MAX && (element = lists->here.first)) {
        if (element->list)
            list_remove(element->list, element);
        element->list = NULL;
        list_add(&lists->there, element);
        moved++;
    }
    return moved;
}

static void stores_through_a_pointer_to_a_member_are_seen(void **state)
{
    element_t elements[ELEMENTS] = {0};
    element_t *arriving[ELEMENTS + 1] = {&elements[0], &elements[1], &elements[2]};
    lists_t lists = {.arriving = arriving};
    (void)state;
    assert_int_equal(move_all(&lists), ELEMENTS);
    assert_null(lists.here.first);
    assert_ptr_equal(lists.there.first, &elements[0]);
    assert_ptr_equal(lists.there.last, &elements[ELEMENTS - 1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_through_a_pointer_to_a_member_are_seen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
