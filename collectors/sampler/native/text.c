#include "text.h"

#include <string.h>

static char *put_utf8(char *to, uint32_t c) {
    if (c >= 0xd800 && c < 0xe000) c = 0xfffd; // half a pair: no UTF-8
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
        to = put_utf8(to, c ? c : 0xfffd);
    }
    *to = 0;
    return true;
}
