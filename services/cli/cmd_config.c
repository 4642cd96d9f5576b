/* provisor config: the documented default file; with --check, what is in force is checked. */
#include "services/cli/cmd.h"

#include "common/base/cleanup.h"

static void print_json_keys(void)
{
    for (size_t i = 0; i < config_n_keys; i++) {
        const config_key_t *key = &config_keys[i];
        AUTO_BUF line = {0};
        json_writer_t w;
        json_begin(&w, &line);
        json_open_object(&w);
        json_key_str(&w, "section", key->section);
        json_key_str(&w, "key", key->key);
        json_key_str(&w, "default", key->value);
        json_key_str(&w, "help", key->help);
        json_key_bool(&w, "reload", key->reload);
        json_close_object(&w);
        cli_print(&line);
    }
}

static int config_run(cli_t *cli)
{
    if (cli_json(cli)) {
        print_json_keys();
        return EXIT_OK;
    }
    AUTO_BUF text = {0};
    config_print_defaults(&text);
    fwrite(text.data, 1, text.size, stdout);
    return EXIT_OK;
}

const cli_command_t cmd_config[] = {
    {"config", "", "Prints every setting with its default and meaning, as a file to start from",
     "  provisor config > provisor.conf\n"
     "  provisor up --config provisor.conf\n",
     NULL, 0, 0, config_run},
    {NULL},
};
