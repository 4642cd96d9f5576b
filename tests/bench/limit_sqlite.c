/* limit_sqlite: how many rows of 400 bytes SQLite takes, WAL and synchronous=FULL, 500 in each
 * commit, for the benchmark. Usage: limit_sqlite FILE SECONDS; prints rows per second. */
#include <sqlite3.h>
#include <string.h>

#include "tests/bench/samples.h"

static void run(sqlite3 *db, const char *sql)
{
    char *error = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK) {
        fprintf(stderr, "limit_sqlite: %s: %s\n", sql, error);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    sqlite3 *db;
    sqlite3_stmt *insert;
    char body[400];
    if (argc < 3 || sqlite3_open(argv[1], &db) != SQLITE_OK)
        return 1;
    run(db, "PRAGMA journal_mode = WAL");
    run(db, "PRAGMA synchronous = FULL");
    run(db, "CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB)");
    if (sqlite3_prepare_v2(db, "INSERT INTO rows VALUES (?, ?)", -1, &insert, NULL) != SQLITE_OK)
        return 1;
    memset(body, 'x', sizeof body);
    int64_t begun_ns = now_ns(), end_ns = begun_ns + (int64_t)(atof(argv[2]) * 1e9), n = 0;
    while (now_ns() < end_ns) {
        run(db, "BEGIN");
        for (int i = 0; i < 500; i++) {
            sqlite3_bind_int64(insert, 1, ++n);
            sqlite3_bind_blob(insert, 2, body, sizeof body, SQLITE_STATIC);
            sqlite3_step(insert);
            sqlite3_reset(insert);
        }
        run(db, "COMMIT");
    }
    printf("%.0f\n", (double)n * 1e9 / (double)(now_ns() - begun_ns));
    sqlite3_finalize(insert);
    return sqlite3_close(db) == SQLITE_OK ? 0 : 1;
}
