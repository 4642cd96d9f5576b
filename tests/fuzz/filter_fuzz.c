/* sources: common/service/filter.c common/service/filter_parse.c common/service/filter_body.c
 * common/service/decimal.c common/service/json_scan.c common/base/buf.c common/base/mem.c
 * common/base/result.c common/base/utf8.c common/base/json.c
 */
/* A filter, a zero byte, a body: neither may be read past its end, and a body of JSON is decided
 * the same when it is read again, whatever other paths are known by then. */
#include "common/base/cleanup.h"
#include "common/base/json.h"
#include "common/service/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *begin = (const char *)data;
    const char *zero = size ? memchr(begin, 0, size) : NULL;
    size_t text = zero ? (size_t)(zero - begin) : size;
    slice_t json = zero ? (slice_t){zero + 1, size - text - 1} : (slice_t){"", 0};
    AUTO(json_tree) tree = NULL;
    AUTO(filter) filter = NULL;
    AUTO(filter) other = NULL;
    fault_t fault = {""};
    if (filter_parse((slice_t){begin, text}, &filter, &fault) != RESULT_OK)
        return 0;
    ENSURE(filter_parse(SLICE("/data/a/0 = 1 and /data exists"), &other, &fault) == RESULT_OK);
    bool is_json = json_parse(json, &tree, &fault) == RESULT_OK;
    AUTO(filter_body) body = filter_body_new();
    filter_body_set(body, json);
    bool passed = filter_pass(filter, body);
    filter_pass(other, body);
    ENSURE(filter_pass(filter, body) == passed || !is_json);
    filter_body_set(body, json);
    ENSURE(filter_pass(filter, body) == passed || !is_json);
    return 0;
}
