#include "services/emitter/answer.h"
#include "common/base/json.h"
#include "common/base/utf8.h"

#include <msgpack.h>

const char *answer_status_str(answer_status_t status)
{
    static const char *const names[] = {"accepted", "duplicate", "busy", "rejected"};
    return names[status];
}

/* ---- JSON ------------------------------------------------------------------------------- */

static void add_json_error(const intake_error_t *error, buf_t *text)
{
    json_writer_t w;
    json_begin(&w, text);
    json_open_object(&w);
    json_key_str(&w, "code", intake_code_str(error->code));
    json_key_slice(&w, "message", error->message);
    json_key_slice(&w, "path", error->path);
    json_close_object(&w);
}

/* Almost every answer is the first; it is written without a detour. */
static void add_json(const answer_t *answer, buf_t *text)
{
    buf_add_str(text, "{\"status\":\"");
    buf_add_str(text, answer_status_str(answer->status));
    switch (answer->status) {
    case ANSWER_ACCEPTED:
    case ANSWER_DUPLICATE:
        buf_add_str(text, "\",\"id\":\"");
        buf_add(text, answer->id.text, ULID_SIZE);
        buf_add_str(text, "\"}");
        break;
    case ANSWER_BUSY:
        buf_printf(text, "\",\"retry_after_ms\":%lld}", (long long)answer->retry_after_ms);
        break;
    case ANSWER_REJECTED:
        buf_add_str(text, "\",\"error\":");
        add_json_error(&answer->error, text);
        buf_add_char(text, '}');
        break;
    }
}

/* ---- msgpack ---------------------------------------------------------------------------- */

static int write_to_buf(void *to, const char *data, size_t size)
{
    buf_add(to, data, size);
    return 0;
}

static void pack_slice(msgpack_packer *packer, slice_t text)
{
    msgpack_pack_str_with_body(packer, text.data ? text.data : "", text.size);
}

static void pack_member(msgpack_packer *packer, const char *key, slice_t text)
{
    pack_slice(packer, slice_of(key));
    pack_slice(packer, text);
}

static void pack_error(msgpack_packer *packer, const intake_error_t *error)
{
    AUTO_BUF message = {0}; /* it may show a piece of the input that was cut in a character */
    utf8_repair(&message, error->message);
    pack_slice(packer, SLICE("error"));
    msgpack_pack_map(packer, 3);
    pack_member(packer, "code", slice_of(intake_code_str(error->code)));
    pack_member(packer, "message", buf_slice(&message));
    pack_member(packer, "path", error->path);
}

static void add_msgpack(const answer_t *answer, buf_t *text)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, text, write_to_buf);
    msgpack_pack_map(&packer, 2);
    pack_member(&packer, "status", slice_of(answer_status_str(answer->status)));
    switch (answer->status) {
    case ANSWER_ACCEPTED:
    case ANSWER_DUPLICATE:
        pack_member(&packer, "id", (slice_t){answer->id.text, ULID_SIZE});
        break;
    case ANSWER_BUSY:
        pack_slice(&packer, SLICE("retry_after_ms"));
        msgpack_pack_int64(&packer, answer->retry_after_ms);
        break;
    case ANSWER_REJECTED:
        pack_error(&packer, &answer->error);
        break;
    }
}

/* ---- Both ------------------------------------------------------------------------------- */

void answer_open_array(intake_encoding_t encoding, size_t n, buf_t *text)
{
    if (encoding == INTAKE_JSON) {
        buf_add_char(text, '[');
        return;
    }
    msgpack_packer packer;
    msgpack_packer_init(&packer, text, write_to_buf);
    msgpack_pack_array(&packer, n);
}

void answer_add(intake_encoding_t encoding, size_t i, const answer_t *answer, buf_t *text)
{
    if (encoding == INTAKE_MSGPACK) {
        add_msgpack(answer, text);
        return;
    }
    if (i > 0)
        buf_add_char(text, ',');
    add_json(answer, text);
}

void answer_close_array(intake_encoding_t encoding, buf_t *text)
{
    if (encoding == INTAKE_JSON)
        buf_add_char(text, ']');
}
