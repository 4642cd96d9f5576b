/* unreadable: makes reads of a process's queue.db fail while a file exists (LD_PRELOAD): sqlite is
 * interrupted, which is RESULT_AGAIN. PROVISOR_UNREADABLE names the file. Writes go on. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_unreadable(void *db)
{
    const char *path = getenv("PROVISOR_UNREADABLE");
    const char *store = sqlite3_db_filename(db, "main");
    return path && store && strstr(store, "/queue.db") && sqlite3_db_readonly(db, "main") == 1 &&
           access(path, F_OK) == 0;
}

static int on_open(sqlite3 *db, char **ret_error, const void *routines)
{
    (void)ret_error;
    (void)routines;
    sqlite3_progress_handler(db, 1, is_unreadable, db);
    return SQLITE_OK;
}

__attribute__((constructor)) static void load(void)
{
    sqlite3_auto_extension((void (*)(void))on_open);
}
