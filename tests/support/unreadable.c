/* unreadable: makes reads of a process's queue.db fail while a file exists (LD_PRELOAD): sqlite is
 * interrupted, which is RESULT_AGAIN. PROVISOR_UNREADABLE names the file; what it holds must stand
 * in the statement, with its values. Writes go on. */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Does what runs contain the text? */
static int is_meant(sqlite3 *db, const char *text)
{
    for (sqlite3_stmt *s = sqlite3_next_stmt(db, NULL); s; s = sqlite3_next_stmt(db, s)) {
        char *sql = sqlite3_stmt_busy(s) ? sqlite3_expanded_sql(s) : NULL;
        int found = sql && strstr(sql, text);
        sqlite3_free(sql);
        if (found)
            return 1;
    }
    return 0;
}

static int is_unreadable(void *db)
{
    char text[256] = "";
    const char *path = getenv("PROVISOR_UNREADABLE");
    const char *store = sqlite3_db_filename(db, "main");
    if (!path || !store || !strstr(store, "/queue.db") || sqlite3_db_readonly(db, "main") != 1)
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    return size <= 0 || is_meant(db, text);
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
