#include "services/auditor/inventory.h"
#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/base/mem.h"
#include "common/service/backup.h"
#include "services/auditor/segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *dir;
    const log_t *log;
    marks_t *marks;
    inventory_t found;
} start_t;

static result_t load_fault(const char *path, const db_t *db, result_t r, fault_t *fault)
{
    if (r == RESULT_VERSION)
        return fault_set(fault, r, "%s: written by a newer provisor: use that one", path);
    if (r == RESULT_NOT_FOUND)
        return fault_set(fault, r, "%s: nothing was ever committed to it", path);
    return fault_set(fault, r, "%s: %s", path, db_error(db));
}

/* RESULT_NOT_FOUND: nothing was ever committed to it. */
static result_t load(const char *dir, int64_t first_id, db_mode_t mode, tail_t *ret_tail,
                     bool *ret_indexed, marks_t *marks, db_t **ret_db, fault_t *fault)
{
    char path[PATH_MAX];
    db_t *db = NULL;
    segment_path(dir, first_id, path);
    result_t r = segment_probe(dir, first_id, fault);
    if (r == RESULT_OK)
        r = db_open(path, mode, &db, fault);
    if (r != RESULT_OK)
        return r == RESULT_NOT_FOUND ? load_fault(path, NULL, r, fault) : r;
    r = segment_load(db, ret_tail, ret_indexed, marks);
    if (r != RESULT_OK)
        load_fault(path, db, r, fault);
    else if (ret_tail->span.first_id != first_id)
        r = fault_set(fault, RESULT_CORRUPT, "%s is a copy of segment %lld: move it out of %s",
                      path, (long long)ret_tail->span.first_id, dir);
    if (r == RESULT_OK)
        *ret_db = db;
    else
        db_close(&db);
    return r;
}

/* ---- The live one ----------------------------------------------------------------------- */

static result_t remove_unfinished(const start_t *start, int64_t first_id, fault_t *fault)
{
    log_line(start->log, LEVEL_INFO, "event=unfinished_segment_removed first_id=%lld",
             (long long)first_id);
    result_t r = segment_remove(start->dir, first_id);
    return r == RESULT_OK
               ? r
               : fault_set(fault, r, "cannot remove an unfinished segment: %s", strerror(errno));
}

/* The newest that holds anything; newer ones were not finished. RESULT_NOT_FOUND: there is none.
 * *n becomes how many sealed ones are before it. */
static result_t open_live(start_t *start, const int64_t *ids, size_t *n, fault_t *fault)
{
    while (*n > 0) {
        bool indexed;
        int64_t first_id = ids[--*n];
        db_t **db = &start->found.live;
        result_t r = load(start->dir, first_id, DB_WRITE, &start->found.tail, &indexed,
                          start->marks, db, fault);
        if (r == RESULT_OK && (r = db_settle(*db)) != RESULT_OK)
            return fault_set(fault, r, "the live segment: %s", db_error(*db));
        if (r == RESULT_NOT_FOUND)
            r = remove_unfinished(start, first_id, fault);
        else
            return r;
        if (r != RESULT_OK)
            return r;
    }
    return RESULT_NOT_FOUND;
}

static result_t make_first(start_t *start, fault_t *fault)
{
    char path[PATH_MAX];
    tail_t *tail = &start->found.tail;
    tail_init(tail);
    tail->span.created_ms = clk_wall_ms();
    start->found.fresh = true;
    result_t r = segment_prepare(start->dir, fault);
    if (r == RESULT_OK)
        r = segment_name(start->dir, tail->next_id, fault);
    segment_path(start->dir, tail->next_id, path);
    return r == RESULT_OK ? db_open(path, DB_WRITE, &start->found.live, fault) : r;
}

/* ---- Sealed ones ------------------------------------------------------------------------ */

static result_t read_sealed(const start_t *start, int64_t first_id, shelf_segment_t *ret_sealed,
                            fault_t *fault)
{
    tail_t tail = {.span.first_id = first_id};
    shelf_segment_t sealed = {.bytes = segment_bytes(start->dir, first_id)};
    db_t *db = NULL;
    result_t r = RESULT_CORRUPT;
    if (!segment_is_half_aside(start->dir, first_id))
        r = load(start->dir, first_id, DB_READ, &tail, &sealed.indexed, NULL, &db, fault);
    db_close(&db);
    if (r == RESULT_NOT_FOUND) /* newer ones hold records, so it had some */
        r = RESULT_CORRUPT;
    if (r != RESULT_OK && r != RESULT_CORRUPT)
        return r;
    sealed.damaged = r == RESULT_CORRUPT;
    /* what it says itself may be another's: it may be a copy */
    sealed.span = sealed.damaged ? (tail_span_t){.first_id = first_id} : tail.span;
    sealed.last_id = tail.next_id - 1;
    *ret_sealed = sealed;
    return RESULT_OK;
}

/* What a damaged one cannot tell itself: it ended where the next began. The numbers that a restored
 * backup has left out were not in it. */
static void end_damaged(shelf_segment_t *segment, const tail_span_t *next)
{
    int64_t first_id = segment->span.first_id, last_id = next->first_id - 1;
    if (last_id - first_id >= BACKUP_JUMP)
        last_id = first_id + (last_id - first_id) % BACKUP_JUMP;
    segment->last_id = last_id;
    segment->span.created_ms = next->created_ms;
}

static void shelve(shelf_t *shelf, shelf_segment_t *segments, size_t n, const tail_span_t *live)
{
    const tail_span_t *next = live;
    for (size_t i = n; i-- > 0; next = &segments[i].span)
        if (segments[i].damaged)
            end_damaged(&segments[i], next);
    for (size_t i = 0; i < n; i++)
        shelf_add(shelf, &segments[i]);
}

/* Both lists rise. One that was set aside and is there again, restored, is whole. */
static result_t shelve_sealed(start_t *start, shelf_t *shelf, const int64_t *ids, size_t n,
                              fault_t *fault)
{
    AUTO_FREE int64_t *aside = NULL;
    size_t n_aside = 0, a = 0, n_all = 0;
    int64_t live_id = start->found.tail.span.first_id;
    result_t r = segment_list_aside(start->dir, &aside, &n_aside, fault);
    AUTO_FREE shelf_segment_t *all = mem_alloc((n + n_aside + 1) * sizeof *all);
    for (size_t i = 0; i <= n && r == RESULT_OK; i++) {
        int64_t first_id = i < n ? ids[i] : live_id;
        for (; a < n_aside && aside[a] < first_id; a++)
            all[n_all++] = (shelf_segment_t){
                .span.first_id = aside[a], .damaged = true, .told = true, .aside = true};
        a += a < n_aside && aside[a] == first_id;
        if (i < n)
            r = read_sealed(start, first_id, &all[n_all++], fault);
    }
    if (r == RESULT_OK)
        shelve(shelf, all, n_all, &start->found.tail.span);
    return r;
}

result_t inventory_take(const char *dir, const log_t *log, marks_t *marks, shelf_t *shelf,
                        inventory_t *ret_inventory, fault_t *fault)
{
    start_t start = {.dir = dir, .log = log, .marks = marks};
    AUTO_FREE int64_t *ids = NULL;
    size_t n = 0;
    result_t r = segment_list(dir, &ids, &n, fault);
    if (r == RESULT_OK)
        r = open_live(&start, ids, &n, fault);
    if (r == RESULT_NOT_FOUND)
        r = make_first(&start, fault);
    if (r == RESULT_OK)
        r = shelve_sealed(&start, shelf, ids, n, fault);
    if (r == RESULT_OK)
        *ret_inventory = start.found;
    else
        db_close(&start.found.live);
    return r;
}
