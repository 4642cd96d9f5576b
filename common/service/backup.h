/* backup: a stage copies the stores it owns into a folder while it goes on working
 * (docs/operations.md says in which order the command line asks for them, and why).
 *
 * Two questions of the control socket: {"op":"backup","part":"journal","dir":"/absolute"} starts a
 * copy on a thread of its own, one at a time; {"op":"backup_status"} says how far it is:
 * state (none, running, done, failed), done and total (bytes of the file that is being copied),
 * error. Nothing in the folder is ever replaced.
 *
 * Numbers. Stores are copied one after the other, so an earlier copy knows less than a later one:
 * the auditor's copy may have taken records under numbers that the copied journal has not given
 * yet, and people outside have heard of numbers given after the backup. So the copy of every
 * counter is moved on by BACKUP_JUMP, which nobody reaches otherwise. */
#ifndef PROVISOR_BACKUP_H
#define PROVISOR_BACKUP_H

#include "common/base/json.h"
#include "common/db/db.h"

typedef struct backup_t backup_t;

/* More than a year of the highest rates; a thousand restores leave numbers that JSON holds. */
#define BACKUP_JUMP 1000000000000

/* A store, or several that belong together. */
typedef struct {
    const char *name; /* "journal" */
    /* On the backup's thread: calls backup_file for each file. Reads nothing that the loop changes.
     * Any failure ends this backup only. */
    result_t (*copy)(void *self, backup_t *backup, const char *dir, fault_t *fault);
} backup_part_t;

/* parts ends with {NULL}. free_min: what must be left on the file system of data_dir, if that is
 * where copies go. */
backup_t *backup_new(const backup_part_t *parts, void *self, const char *data_dir,
                     int64_t free_min);
/* Gives up what runs. */
void backup_destroy(backup_t **backup);

result_t backup_start(backup_t *backup, const json_tree_t *question, fault_t *fault) MUST_CHECK;
void backup_status(backup_t *backup, json_writer_t *w);

/* For copy: from (a path) as of now to dir/name. move_on (may be NULL) changes the copy, in a
 * transaction. */
result_t backup_file(backup_t *backup, const char *from, const char *dir, const char *name,
                     result_t (*move_on)(db_t *copy), fault_t *fault) MUST_CHECK;

#endif
