#include "tests/support/folder.h"

#include "common/db/store.h"
#include "services/emitter/keys.h"

enum { KEEP_MS = 1000, KEYS = 50, STEPS = 3000 };

static const char *const migrations[] = {keys_migration, NULL};

typedef struct {
    folder_t folder;
    store_t *store;
    keys_t *keys;
    int now[KEYS], committed[KEYS]; /* the content that each key was added with; 0: it was not */
} world_t;

static void reopen(world_t *world, int64_t keys_max)
{
    fault_t fault = {""};
    store_spec_t spec = {
        .dir = world->folder.path, .name = "keys", .service = "test", .migrations = migrations};
    keys_close(&world->keys);
    store_close(&world->store);
    if (store_open(&spec, &world->store, &fault) != RESULT_OK)
        fail_msg("%s", fault.text);
    assert_int_equal(keys_open(store_db(world->store), KEEP_MS, keys_max, &world->keys), RESULT_OK);
}

static void begin(world_t *world, int64_t now_ms)
{
    assert_int_equal(db_begin(store_db(world->store)), RESULT_OK);
    assert_int_equal(keys_begin(world->keys, store_db(world->store), now_ms), RESULT_OK);
}

static void commit(world_t *world)
{
    assert_int_equal(keys_end(world->keys, store_db(world->store)), RESULT_OK);
    assert_int_equal(db_commit(store_db(world->store)), RESULT_OK);
    keys_committed(world->keys);
    memcpy(world->committed, world->now, sizeof world->now);
}

static ulid_t id_of(int key)
{
    ulid_t id;
    snprintf(id.text, sizeof id.text, "01JG%022d", key);
    return id;
}

/* Takes a key with some content as the journal does, and compares with the model. */
static void take(world_t *world, int key, int content)
{
    char text[16];
    char space = key % 2 ? 'c' : 'r'; /* two keys share each text */
    intake_digest_t digest = {.words = {(uint64_t)content}};
    ulid_t id = id_of(key), found = {""};
    snprintf(text, sizeof text, "key-%d", key / 2);
    result_t r =
        keys_find(world->keys, store_db(world->store), space, slice_of(text), &digest, &found);
    if (!world->now[key]) {
        assert_int_equal(r, RESULT_NOT_FOUND);
        assert_int_equal(
            keys_add(world->keys, store_db(world->store), space, slice_of(text), &digest, &id),
            RESULT_OK);
        world->now[key] = content;
        return;
    }
    assert_int_equal(r, world->now[key] == content ? RESULT_OK : RESULT_EXISTS);
    assert_string_equal(found.text, id.text);
}

static int set_up(void **state)
{
    world_t *world = calloc(1, sizeof *world);
    *state = world;
    return folder_make(&world->folder);
}

static int tear_down(void **state)
{
    world_t *world = *state;
    keys_close(&world->keys);
    store_close(&world->store);
    folder_remove(&world->folder);
    free(world);
    return 0;
}

static void keys_are_found_as_they_were_committed(void **state)
{
    world_t *world = *state;
    unsigned chance = unit_seed();
    reopen(world, 10 * KEYS);
    begin(world, 1);
    for (int i = 0; i < STEPS; i++) {
        take(world, (int)unit_chance(&chance, KEYS), 1 + (int)unit_chance(&chance, 2));
        if (unit_chance(&chance, 8))
            continue;
        if (unit_chance(&chance, 3)) {
            commit(world);
        } else { /* what a row says counts, not what memory remembers of it */
            db_rollback(store_db(world->store));
            memcpy(world->now, world->committed, sizeof world->now);
        }
        if (unit_chance(&chance, 4) == 0)
            reopen(world, 10 * KEYS);
        begin(world, 1);
    }
    commit(world);
    int64_t n = 0;
    for (int key = 0; key < KEYS; key++)
        n += world->committed[key] != 0;
    assert_int_equal(keys_count(world->keys), n);
}

static void what_is_too_old_is_forgotten(void **state)
{
    world_t *world = *state;
    reopen(world, 10 * KEYS);
    begin(world, 1);
    take(world, 1, 1);
    commit(world);
    begin(world, KEEP_MS);
    take(world, 1, 1); /* is there */
    commit(world);
    reopen(world, 10 * KEYS);
    begin(world, 10 * KEEP_MS);
    world->now[1] = 0;
    take(world, 1, 2);
    commit(world);
    assert_int_equal(keys_count(world->keys), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keys_are_found_as_they_were_committed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_too_old_is_forgotten, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
