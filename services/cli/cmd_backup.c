/* provisor backup: a copy of all stores while everything runs. Each stage copies what it owns; this
 * asks them in the order that makes the copies fit together: who is earlier on an event's way is
 * copied earlier, so that what leaves one store between two copies is in the later one.
 *
 *     jobs -> journal -> queues -> (history has what emitters told) -> history -> handlers
 *
 * docs/operations.md reasons about it. */
#include "services/cli/cmd.h"

#include <czmq.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/clk.h"
#include "common/db/db.h"
#include "common/service/endpoint.h"
#include "services/cli/target.h"

enum { ANSWER_MS = 10000, ASK_EVERY_MS = 50, CATCH_UP_MS = 60000 };

typedef struct {
    const cli_t *cli;
    const char *dir; /* where copies go until all are there */
    bool progress;
    int64_t began_ms;
    json_writer_t w; /* of backup.json */
} backup_t;

static void show(const backup_t *self, const char *part, int64_t done, int64_t total)
{
    if (self->progress)
        fprintf(stderr, "\r%-8s %lld of %lld MiB   ", part, (long long)(done >> 20),
                (long long)(total >> 20));
}

static void end_line(const backup_t *self)
{
    if (self->progress)
        fputc('\n', stderr);
}

/* ---- Stages ----------------------------------------------------------------------------- */

static void question(buf_t *ret_question, const char *op, const char *part, const char *dir)
{
    json_writer_t w;
    json_begin(&w, ret_question);
    json_open_object(&w);
    json_key_str(&w, "op", op);
    json_key_str(&w, "part", part);
    json_key_str(&w, "dir", dir);
    json_close_object(&w);
}

static int wait_for_copy(const backup_t *self, const char *kind, const char *endpoint,
                         const char *part)
{
    AUTO_BUF asked = {0};
    buf_add_str(&asked, "{\"op\":\"backup_status\"}");
    for (;;) {
        AUTO(json_tree) answer = NULL;
        int code = cli_ask(self->cli, kind, endpoint, &asked, ANSWER_MS, &answer);
        if (code != EXIT_OK)
            return code;
        const char *state = json_get_str(answer, "state");
        show(self, part, json_get_int(answer, "done", 0), json_get_int(answer, "total", 0));
        if (state && strcmp(state, "done") == 0) {
            end_line(self);
            return EXIT_OK;
        }
        if (!state || strcmp(state, "running") != 0) {
            const char *why = json_get_str(answer, "error");
            end_line(self);
            return cli_fail(self->cli, EXIT_FAILED, "%s: %s", part,
                            why ? why : "the stage was restarted");
        }
        zclock_sleep(ASK_EVERY_MS);
    }
}

/* folder: under the backup's, "" is that one itself. */
static int copy_part(backup_t *self, const char *kind, const char *endpoint, const char *part,
                     const char *folder)
{
    AUTO_BUF dir = {0}, asked = {0};
    AUTO(json_tree) answer = NULL;
    fault_t fault;
    buf_printf(&dir, "%s%s%s", self->dir, *folder ? "/" : "", folder);
    if (access(dir.data, F_OK) != 0 && target_make(dir.data, &fault) != RESULT_OK)
        return cli_fail(self->cli, EXIT_FAILED, "%s", fault.text);
    question(&asked, "backup", part, dir.data);
    int code = cli_ask(self->cli, kind, endpoint, &asked, ANSWER_MS, &answer);
    code = code ? code : wait_for_copy(self, kind, endpoint, part);
    json_open_object(&self->w);
    json_key_str(&self->w, "part", part);
    json_key_str(&self->w, "folder", folder);
    json_key_str(&self->w, "control", endpoint);
    json_close_object(&self->w);
    return code;
}

/* Of each stage of the list. One of a kind: the backup is laid out as a data folder. */
static int copy_each(backup_t *self, const char *kind, const char *key, const char *part)
{
    AUTO_BUF list = {0}, one = {0};
    int n = 0;
    cli_controls(self->cli, key, kind, &list);
    for (const char *at = list.data; endpoint_next(&at, &one);)
        n++;
    const char *at = list.data;
    for (int i = 1; endpoint_next(&at, &one); i++) {
        char folder[32] = "";
        if (n > 1)
            snprintf(folder, sizeof folder, "%s-%d", kind, i);
        int code = copy_part(self, kind, one.data, part, folder);
        if (code != EXIT_OK)
            return code;
    }
    return EXIT_OK;
}

static int copy_of_auditor(backup_t *self, const char *part)
{
    const char *endpoint = cli_endpoint(self->cli, "auditor", "auditor", "control");
    return copy_part(self, "auditor", endpoint, part, "history");
}

/* ---- Between queues and history --------------------------------------------------------- */

static int ask_audit(const backup_t *self, const char *endpoint, int64_t *ret_added,
                     int64_t *ret_marked)
{
    AUTO_BUF asked = {0};
    AUTO(json_tree) answer = NULL;
    buf_add_str(&asked, "{\"op\":\"stats\"}");
    int code = cli_ask(self->cli, "emitter", endpoint, &asked, ANSWER_MS, &answer);
    const json_tree_t *audit = code ? NULL : json_get(json_get(answer, "stats"), "audit");
    *ret_added = json_get_int(audit, "added", 0);
    *ret_marked = json_get_int(audit, "marked", 0);
    return code;
}

/* A queue that was copied may have forgotten an event that matched nothing, and nobody else could
 * say so again: history must have the record before it is copied. */
static int wait_for_history(backup_t *self)
{
    AUTO_BUF list = {0}, one = {0};
    cli_controls(self->cli, "emitters", "emitter", &list);
    int64_t deadline_ms = clk_mono_ms() + CATCH_UP_MS;
    for (const char *at = list.data; endpoint_next(&at, &one);) {
        int64_t told, marked, added;
        int code = ask_audit(self, one.data, &told, &marked);
        while (code == EXIT_OK && marked < told && clk_mono_ms() < deadline_ms) {
            zclock_sleep(ASK_EVERY_MS);
            code = ask_audit(self, one.data, &added, &marked);
        }
        if (code != EXIT_OK)
            return code;
        if (marked < told)
            return cli_fail(self->cli, EXIT_UNAVAILABLE,
                            "the auditor does not take what the emitter tells; see provisor "
                            "status");
    }
    return EXIT_OK;
}

/* ---- The handler table ------------------------------------------------------------------ */

static bool on_copied(void *owner, int64_t done_bytes, int64_t total_bytes)
{
    show(owner, "handlers", done_bytes, total_bytes);
    return true;
}

static int copy_handlers(backup_t *self)
{
    AUTO_BUF from = {0}, to = {0};
    fault_t fault;
    db_t *db = NULL;
    buf_printf(&from, "%s/handlers.db", config_handlers_dir(cli_config(self->cli)));
    buf_printf(&to, "%s/handlers.db", self->dir);
    result_t r = db_open(from.data, DB_READ, &db, &fault);
    if (r == RESULT_OK)
        r = db_copy(db, to.data, on_copied, self, &fault);
    db_close(&db);
    end_line(self);
    return r == RESULT_OK ? EXIT_OK : cli_fail(self->cli, EXIT_FAILED, "%s", fault.text);
}

/* ---- All of it -------------------------------------------------------------------------- */

static int copy_all(backup_t *self)
{
    int code = copy_of_auditor(self, "jobs");
    code = code ? code : copy_each(self, "emitter", "emitters", "journal");
    code = code ? code : copy_each(self, "deliverer", "deliverers", "queue");
    code = code ? code : wait_for_history(self);
    code = code ? code : copy_of_auditor(self, "history");
    return code ? code : copy_handlers(self);
}

/* backup.json says what is where. */
static int describe_and_copy(backup_t *self)
{
    AUTO_BUF text = {0}, path = {0};
    char at[CLK_ISO_SIZE];
    fault_t fault;
    clk_iso_millis(clk_wall_ms(), at);
    json_begin(&self->w, &text);
    json_open_object(&self->w);
    json_key_str(&self->w, "version", PROVISOR_VERSION);
    json_key_str(&self->w, "began", at);
    json_key(&self->w, "parts");
    json_open_array(&self->w);
    int code = copy_all(self);
    json_close_array(&self->w);
    json_close_object(&self->w);
    if (code != EXIT_OK)
        return code;
    buf_add_char(&text, '\n');
    buf_printf(&path, "%s/backup.json", self->dir);
    if (target_write(path.data, &text, &fault) != RESULT_OK)
        return cli_fail(self->cli, EXIT_FAILED, "%s", fault.text);
    return EXIT_OK;
}

static void print_result(const backup_t *self, const char *dir)
{
    double seconds = (double)(clk_mono_ms() - self->began_ms) / 1000;
    AUTO_BUF line = {0};
    json_writer_t w;
    if (!cli_json(self->cli)) {
        printf("%s is complete (%.1f s); with the stages stopped, copy it back as the data "
               "folder\n",
               dir, seconds);
        return;
    }
    json_begin(&w, &line);
    json_open_object(&w);
    json_key_str(&w, "dir", dir);
    json_key_int(&w, "duration_ms", clk_mono_ms() - self->began_ms);
    json_close_object(&w);
    cli_print(&line);
}

static int backup_run(cli_t *cli)
{
    AUTO_BUF dir = {0}, part = {0};
    fault_t fault;
    result_t r = target_absolute(cli_argument(cli, 0), &dir, &fault);
    if (r == RESULT_OK)
        r = target_vacant(dir.data, &fault);
    if (r != RESULT_OK)
        return cli_fail(cli, EXIT_FAILED, "%s", fault.text);
    buf_printf(&part, "%s.part", dir.data);
    r = target_make(part.data, &fault);
    if (r == RESULT_EXISTS)
        return cli_fail(cli, EXIT_FAILED,
                        "%s is there: another backup is running, or one was cut short; then remove "
                        "it: rm -r '%s'",
                        part.data, part.data);
    if (r != RESULT_OK)
        return cli_fail(cli, EXIT_FAILED, "%s", fault.text);
    backup_t self = {.cli = cli,
                     .dir = part.data,
                     .progress = isatty(STDERR_FILENO) && !cli_json(cli),
                     .began_ms = clk_mono_ms()};
    int code = describe_and_copy(&self);
    if (code == EXIT_OK && target_publish(part.data, dir.data, &fault) != RESULT_OK)
        code = cli_fail(cli, EXIT_FAILED, "%s", fault.text);
    if (code == EXIT_OK)
        print_result(&self, dir.data);
    else
        target_remove(part.data);
    return code;
}

/* clang-format off */
const cli_command_t cmd_backup[] = {
    {"backup", "DIR", "Copies all stores into a new folder while everything runs; the stages write "
     "there, so it is a path of their machine",
     "  provisor backup /var/backups/provisor-$(date +%F)\n", NULL, 1, 1, backup_run},
    {NULL},
};
/* clang-format on */
