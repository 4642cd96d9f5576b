/* sources: services/emitter/arena.c services/emitter/intake.c services/emitter/intake_event.c
 * services/emitter/intake_json.c services/emitter/intake_msgpack.c services/emitter/intake_text.c
 * common/service/catalogue.c common/service/catalogue_events.c common/wire/codec.c
 * common/base/buf.c common/base/clk.c common/base/json.c common/base/mem.c common/base/result.c
 * common/base/utf8.c
 */
/* Feeds arbitrary bytes to the intake decoder, JSON and msgpack. Whatever it accepts must make a
 * body that is JSON by another reader, holds the data as written, and decodes to the same again. */
#include <stdint.h>
#include <stdlib.h>

#include "common/base/cleanup.h"
#include "common/base/json.h"
#include "common/base/utf8.h"
#include "services/emitter/intake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW_MS = 1767225600 };
static const intake_limits_t limits = {4096, 65536, 8};

static void check_error(const intake_error_t *error)
{
    ENSURE(error->message.size > 0 && utf8_valid(error->message));
    ENSURE(error->path.size <= 260 && utf8_valid(error->path));
    ENSURE(strcmp(intake_code_str(error->code), "ok") != 0);
}

/* The body is what a core could send, but for the members that only an answer needs. */
static void check_body(intake_t *intake, slice_t body)
{
    json_tree_t *tree = NULL;
    fault_t fault;
    ENSURE(utf8_valid(body));
    if (!memmem(body.data, body.size, "\\u0000", 6)) { /* json_parse ends a name there */
        ENSURE(json_parse(body, &tree, &fault) == RESULT_OK);
        ENSURE(json_get(tree, "event") && json_get(tree, "data"));
        json_tree_destroy(&tree);
    }
    arena_t arena = {0};
    intake_request_t again;
    intake_decode(intake, body, NOW_MS, &arena, &again);
    bool is_larger =
        again.error.code == INTAKE_TOO_LARGE || (int64_t)body.size > limits.event_max_bytes;
    ENSURE(is_larger || (again.n_events == 1 && again.events[0].error.code == INTAKE_OK));
    if (!is_larger)
        ENSURE(slice_equal(again.events[0].body, body));
    arena_release(&arena);
}

static void check_event(intake_t *intake, slice_t input, const intake_event_t *event)
{
    ENSURE(event->text.data >= input.data &&
           event->text.data + event->text.size <= input.data + input.size);
    if (event->error.code != INTAKE_OK) {
        check_error(&event->error);
        return;
    }
    ENSURE(event->kind);
    ENSURE(!event->key.data || (event->key.size >= 1 && event->key.size <= INTAKE_KEY_MAX));
    check_body(intake, event->body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    catalogue_t *catalogue;
    fault_t fault;
    arena_t arena = {0};
    intake_request_t request;
    slice_t input = {(const char *)data, size};
    ENSURE(catalogue_new(NULL, &catalogue, &fault) == RESULT_OK);
    intake_t *intake = intake_new(catalogue, &limits);
    intake_decode(intake, input, NOW_MS, &arena, &request);
    if (request.error.code != INTAKE_OK) {
        check_error(&request.error);
        ENSURE(request.n_events == 0);
    }
    ENSURE(request.is_array || request.n_events <= 1);
    for (size_t i = 0; i < request.n_events; i++)
        check_event(intake, input, &request.events[i]);
    arena_release(&arena);
    intake_destroy(&intake);
    catalogue_destroy(&catalogue);
    return 0;
}
