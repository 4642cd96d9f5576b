/* terminal: text from outside, shown to people. What a handler answers must not steer the terminal
 * it is read on: nothing here passes an escape sequence or a control that reorders text.
 *
 * Controls (C0, DEL, C1), bidi controls (U+202A-U+202E, U+2066-U+2069) and malformed UTF-8 become
 * U+FFFD; a tab becomes a space. */
#ifndef PROVISOR_TERMINAL_H
#define PROVISOR_TERMINAL_H

#include "common/base/buf.h"

/* For one line: line ends are spaces too. */
void terminal_add_line(buf_t *to, slice_t text);
/* For text of several lines: line feeds stay, CR LF is one. */
void terminal_add_lines(buf_t *to, slice_t text);
/* To stdout: before, text as one line, after. Nothing when text is NULL. */
void terminal_print(const char *before, const char *text, const char *after);

#endif
