#include "stream.h"

#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef WAITING
#define WAITING (1 << 20) // bytes that wait for the reader; the tests make do with less
#endif

enum { LONGEST_TEXT = 8192 };

static char waiting[WAITING]; // lines that were not yet written
static size_t length;
static bool cut, blocked;

void stream_open(void) {
    fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
    stream_line("[\"native\",%d]\n", STREAM_VERSION);
}

// What waits was meant for the reader before; a part of its first line may have been written.
void stream_again(uint64_t reader) {
    length = 0;
    cut = false;
    stream_line("\n[\"again\",%" PRIu64 "]\n[\"native\",%d]\n", reader, STREAM_VERSION);
}

void stream_line(const char *format, ...) {
    if (cut) return;
    if (length > WAITING / 2 && !blocked) stream_flush(); // whether the reader is there is asked in the loop
    size_t room = WAITING - length;
    va_list values;
    va_start(values, format);
    int needed = vsnprintf(waiting + length, room, format, values);
    va_end(values);
    cut = needed < 0 || (size_t)needed >= room;
    if (!cut) length += (size_t)needed;
}

// A JSON string without its quotes, cut to LONGEST_TEXT. Bytes that are no UTF-8 become U+FFFD, each: a thread's name and a path may hold any.
static const char *quoted(const char *text) {
    static char to[LONGEST_TEXT];
    size_t at = 0;
    for (size_t bytes; *text && at < LONGEST_TEXT - 8; text += bytes ? bytes : 1) {
        unsigned char c = (unsigned char)*text;
        bytes = utf8_length(text);
        if (!bytes || c < ' ' || c == '"' || c == '\\') {
            at += (size_t)snprintf(to + at, 8, "\\u%04x", bytes ? c : 0xfffdu);
        } else {
            memcpy(to + at, text, bytes);
            at += bytes;
        }
    }
    to[at] = 0;
    return to;
}

void stream_text(uint32_t number, const char *text) { stream_line("[\"n\",%u,\"%s\"]\n", number, quoted(text)); }

bool stream_flush(void) {
    size_t done = 0;
    while (done < length) {
        ssize_t written = write(STDOUT_FILENO, waiting + done, length - done);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0 && errno != EAGAIN) return false;
        if (written <= 0) break;
        done += (size_t)written;
    }
    memmove(waiting, waiting + done, length - done);
    length -= done;
    blocked = length > 0;
    return true;
}

bool stream_is_empty(void) { return length == 0; }
bool stream_is_blocked(void) { return blocked; }
bool stream_is_cut(void) { return cut; }

void stream_reset(void) {
    cut = false;
    stream_line("[\"reset\"]\n");
}
