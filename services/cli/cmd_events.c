/* provisor events: the catalogue, and sample events to start from. */
#include "services/cli/cmd.h"

#include "common/base/cleanup.h"
#include "common/service/catalogue.h"
#include "services/cli/table.h"

static void print_event_json(const catalogue_event_t *event)
{
    AUTO_BUF line = {0};
    json_writer_t w;
    json_begin(&w, &line);
    json_open_object(&w);
    json_key_str(&w, "id", event->id);
    json_key_str(&w, "object_kind", event->kind);
    json_key_str(&w, "when", event->when);
    json_key_str(&w, "object_id", event->object);
    json_close_object(&w);
    cli_print(&line);
}

static void print_catalogue(const catalogue_t *catalogue)
{
    static const char *const titles[] = {"EVENT", "OBJECT", "WHEN"};
    AUTO(table) table = table_new(titles, 3);
    for (size_t i = 0; i < catalogue_size(catalogue); i++) {
        const catalogue_event_t *event = catalogue_at(catalogue, i);
        table_cell(table, event->id);
        table_cell(table, event->kind);
        table_cell(table, event->when);
    }
    AUTO_BUF text = {0};
    table_print(table, table_terminal_width(), &text);
    fwrite(text.data, 1, text.size, stdout);
}

static int print_sample(const cli_t *cli, const catalogue_t *catalogue, const char *id)
{
    bool all = strcmp(id, "all") == 0, found = false;
    for (size_t i = 0; i < catalogue_size(catalogue); i++) {
        const catalogue_event_t *event = catalogue_at(catalogue, i);
        if (!all && strcmp(event->id, id) != 0)
            continue;
        AUTO_BUF sample = {0};
        catalogue_sample(event, &sample);
        cli_print(&sample);
        found = true;
    }
    if (found)
        return EXIT_OK;
    return cli_fail(cli, EXIT_FAILED, "there is no event \"%s\"; did you mean %s?", id,
                    catalogue_nearest(catalogue, slice_of(id))->id);
}

static int events_run(cli_t *cli)
{
    AUTO(catalogue) catalogue = NULL;
    fault_t fault;
    const char *extra = config_text(cli_config(cli), "catalogue", "extra");
    if (catalogue_new(extra, &catalogue, &fault) != RESULT_OK)
        return cli_fail(cli, EXIT_CONFIG, "%s", fault.text);
    const char *sample = cli_flag(cli, "sample");
    if (sample)
        return print_sample(cli, catalogue, sample);
    if (!cli_json(cli)) {
        print_catalogue(catalogue);
        return EXIT_OK;
    }
    for (size_t i = 0; i < catalogue_size(catalogue); i++)
        print_event_json(catalogue_at(catalogue, i));
    return EXIT_OK;
}

static const cli_flag_t flags[] = {
    {"sample", "ID", "a sample event as a core would push it; \"all\": one of each"},
    {NULL},
};

const cli_command_t cmd_events[] = {
    {"events", "", "Lists the events that a core can push, or prints samples of them",
     "  provisor events\n"
     "  provisor events --sample clients.update\n"
     "  provisor events --sample all | provisor emit\n",
     flags, 0, 0, events_run},
    {NULL},
};
