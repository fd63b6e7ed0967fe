#include "text.h"

#include <string.h>

enum { REPLACEMENT = 0xfffd, LAST = 0x10ffff };

static char *put_utf8(char *to, uint32_t c) {
    if ((c >= 0xd800 && c < 0xe000) || c > LAST) c = REPLACEMENT; // half a pair, or no character: no UTF-8
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    *to++ = (char)((0xff00 >> (more + 1) & 0xff) | c >> 6 * more);
    while (more--) *to++ = (char)(0x80 | (c >> 6 * more & 63));
    return to;
}

bool read_text(const Remote *remote, const Layout *layout, Address at, char to[TEXT_BYTES]) {
    enum { MOST_CHARACTERS = TEXT_BYTES / 4 - 1 };
    unsigned char head[TEXT_STATE + 8], raw[4 * MOST_CHARACTERS];
    if (!remote_read(remote, at, head, sizeof head)) return false;
    uint64_t length = word_at(head, OBJECT_SIZE);
    uint32_t state = (uint32_t)word_at(head, TEXT_STATE), kind = state >> 2 & 7;
    bool compact = state >> 5 & 1, ascii = state >> 6 & 1;
    if (!compact || (kind != 1 && kind != 2 && kind != 4)) return false;
    if (length > MOST_CHARACTERS) length = MOST_CHARACTERS;
    if (length && !remote_read(remote, at + (ascii ? layout->text_ascii : layout->text_compact), raw, length * kind)) return false;
    for (uint64_t i = 0; i < length; i++) {
        uint32_t c = 0;
        memcpy(&c, raw + i * kind, kind);
        to = put_utf8(to, c ? c : REPLACEMENT);
    }
    *to = 0;
    return true;
}

static size_t continued(const unsigned char *bytes, size_t length) {
    for (size_t i = 1; i < length; i++)
        if ((bytes[i] & 0xc0) != 0x80) return 0;
    return length;
}

size_t utf8_length(const char *text) {
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned char first = bytes[0];
    if (first < 0x80) return 1;
    if (first < 0xc2 || first > 0xf4) return 0;
    if (first < 0xe0) return continued(bytes, 2);
    // The second byte's least and greatest: nothing that is encoded in more bytes than it needs, no half of a pair, nothing above LAST.
    unsigned char least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80, most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (bytes[1] < least || bytes[1] > most) return 0;
    return continued(bytes, first < 0xf0 ? 3 : 4);
}
