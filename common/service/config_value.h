/* config_value: the text of one setting, checked against its row of the table. Pure. */
#ifndef PROVISOR_CONFIG_VALUE_H
#define PROVISOR_CONFIG_VALUE_H

#include "common/service/config.h"

/* ret_number: ms, bytes, 0 or 1; 0 for texts. RESULT_INVALID: the fault says what it should be. */
result_t config_value_parse(const config_key_t *key, const char *text, int64_t *ret_number,
                            fault_t *fault) MUST_CHECK;
/* "8MiB", "64KiB", "1GiB", or bytes as a plain number. */
result_t config_value_parse_size(slice_t text, int64_t *ret_bytes) MUST_CHECK;
/* The limits of a number as they would stand in the file: "10ms..10m", "at least 1KiB"; "" when
 * there are none. */
void config_value_range(const config_key_t *key, buf_t *ret_text);
/* The known name ("section.key") nearest to one that is not known; in another section only if it is
 * much nearer there. */
const config_key_t *config_value_nearest(const char *section, const char *key);
/* The section that this word looks like a misspelling of; NULL: of none. */
const char *config_value_near_section(const char *word);

#endif
