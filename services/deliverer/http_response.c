#include "services/deliverer/http_response.h"

#include <ctype.h>
#include <strings.h>

enum { SWITCHING_PROTOCOLS = 101 };

void http_response_begin(http_response_t *self, size_t body_max)
{
    buf_clear(&self->headers);
    buf_clear(&self->body);
    *self = (http_response_t){.headers = self->headers, .body = self->body, .body_max = body_max};
}

void http_response_release(http_response_t *self)
{
    buf_release(&self->headers);
    buf_release(&self->body);
}

static bool starts_with(slice_t line, const char *lower)
{
    size_t size = strlen(lower);
    return line.size >= size && strncasecmp(line.data, lower, size) == 0;
}

/* "HTTP/1.1 200 OK" */
static int64_t status_of(slice_t line)
{
    int64_t status = 0;
    size_t at = 0;
    while (at < line.size && line.data[at] != ' ')
        at++;
    for (at++; at < line.size && isdigit((unsigned char)line.data[at]) && status < 1000; at++)
        status = status * 10 + (line.data[at] - '0');
    return status;
}

static void begin_status(http_response_t *self, slice_t line)
{
    self->status = status_of(line);
    self->headers_done = false;
    self->retry_after_size = 0;
    buf_clear(&self->headers);
}

static void take_retry_after(http_response_t *self, slice_t value)
{
    while (value.size && isspace((unsigned char)value.data[0]))
        value.data++, value.size--;
    while (value.size && isspace((unsigned char)value.data[value.size - 1]))
        value.size--;
    if (value.size == 0 || value.size > sizeof self->retry_after)
        return;
    memcpy(self->retry_after, value.data, value.size);
    self->retry_after_size = value.size;
}

static size_t at_most(size_t size, size_t max)
{
    return size < max ? size : max;
}

bool http_response_header(http_response_t *self, slice_t line)
{
    static const char retry_after[] = "retry-after:";
    self->header_bytes += line.size;
    if (self->header_bytes > HTTP_HEADERS_MAX) {
        self->reading = HTTP_HEADERS_TOO_LARGE;
        return false;
    }
    if (starts_with(line, "http/"))
        begin_status(self, line);
    if (self->headers_done)
        return true;
    if (line.size == 0 || line.data[0] == '\r' || line.data[0] == '\n') {
        self->headers_done = true;
        /* nothing that follows is ours: the peer speaks another protocol from here on */
        if (self->status == SWITCHING_PROTOCOLS)
            self->reading = HTTP_ENOUGH;
        return self->reading == HTTP_READING;
    }
    if (starts_with(line, retry_after)) {
        size_t name = sizeof retry_after - 1;
        take_retry_after(self, (slice_t){line.data + name, line.size - name});
    }
    buf_add(&self->headers, line.data, at_most(line.size, HTTP_HEADERS_KEEP - self->headers.size));
    return true;
}

bool http_response_body(http_response_t *self, slice_t piece)
{
    size_t room = self->body_max - self->body.size;
    buf_add(&self->body, piece.data, at_most(piece.size, room));
    if (piece.size > room)
        self->reading = HTTP_ENOUGH;
    return self->reading == HTTP_READING;
}
