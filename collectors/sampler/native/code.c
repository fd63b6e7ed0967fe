#include "code.h"

#include "dictionary.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

enum {
    FIRST_SIZE = 64,
    MOST_CODES = 4096, // of one process, before all are read anew
    MOST_TABLE_BYTES = 8 << 20,
    MOST_UNITS = 1 << 22,
    LONGEST_TABLE = 1 << 20,
    CHECK_EVERY_NS = 100 * MS,
    YOUNG_NS = SECOND,
    AT_ONCE = 256, // checks in one call
};

static Code **place_of(const Codes *codes, Address at) {
    uint32_t i = (uint32_t)mix(at) & (codes->size - 1);
    while (codes->slot[i] && codes->slot[i]->at != at) i = (i + 1) & (codes->size - 1);
    return &codes->slot[i];
}

static void widen(Codes *codes) {
    Codes wider = { .size = codes->size ? codes->size * 2 : FIRST_SIZE, .used = codes->used };
    wider.slot = allocate(sizeof(Code *) * wider.size);
    for (uint32_t i = 0; i < codes->size; i++)
        if (codes->slot[i]) *place_of(&wider, codes->slot[i]->at) = codes->slot[i];
    free(codes->slot);
    *codes = wider;
}

void codes_forget(Codes *codes) {
    for (uint32_t i = 0; i < codes->size; i++) {
        if (codes->slot[i]) free(codes->slot[i]->lines);
        free(codes->slot[i]);
    }
    free(codes->slot);
    *codes = (Codes){ 0 };
}

static Identity identity_of(const Layout *layout, const unsigned char *bytes, uint64_t name_hash) {
    return (Identity){ .type = word_at(bytes, OBJECT_TYPE),
                       .file = word_at(bytes, layout->code_file),
                       .qualname = word_at(bytes, layout->code_qualname),
                       .lines = word_at(bytes, layout->code_lines),
                       .units = word_at(bytes, OBJECT_SIZE),
                       .first_line = (uint32_t)word_at(bytes, layout->code_first_line),
                       .name_hash = name_hash };
}

// The head of a code object lies before its instructions.
static bool read_identity(const Remote *remote, const Layout *layout, Address at, Identity *identity, Address *name) {
    unsigned char bytes[CODE_BYTES + sizeof(uint64_t)];
    uint64_t hash;
    if (!remote_read(remote, at, bytes, layout->code_units)) return false;
    *name = word_at(bytes, layout->code_name);
    if (!remote_read(remote, *name + TEXT_HASH, &hash, sizeof hash)) return false; // a name is interned, hence hashed
    *identity = identity_of(layout, bytes, hash);
    return true;
}

static bool is_due(const Code *code, uint64_t now_ns) {
    bool watched = code->reused || now_ns - code->since_ns < YOUNG_NS;
    return code->loaded && code->checked_ns != now_ns && (watched || now_ns - code->checked_ns >= CHECK_EVERY_NS);
}

typedef struct {
    Code *code[AT_ONCE];
    struct iovec to[2 * AT_ONCE], from[2 * AT_ONCE];
    unsigned char bytes[AT_ONCE][CODE_BYTES + sizeof(uint64_t)];
    uint64_t hash[AT_ONCE];
    int count;
} Checks;

static void checks_add(Checks *checks, const Layout *layout, Code *code) {
    int i = checks->count++;
    checks->code[i] = code;
    checks->to[2 * i] = (struct iovec){ checks->bytes[i], layout->code_units };
    checks->from[2 * i] = (struct iovec){ (void *)(uintptr_t)code->at, layout->code_units };
    checks->to[2 * i + 1] = (struct iovec){ &checks->hash[i], sizeof(uint64_t) };
    checks->from[2 * i + 1] = (struct iovec){ (void *)(uintptr_t)(code->name_at + TEXT_HASH), sizeof(uint64_t) };
}

// A code object that is another one by now, or cannot be read, is to be loaded again.
static void checks_read(Checks *checks, const Remote *remote, const Layout *layout, uint64_t now_ns) {
    ssize_t got = remote_gather(remote, checks->to, checks->from, 2 * checks->count);
    ssize_t each = (ssize_t)(layout->code_units + sizeof(uint64_t));
    for (int i = 0; i < checks->count; i++) {
        Code *code = checks->code[i];
        Identity identity = identity_of(layout, checks->bytes[i], checks->hash[i]);
        bool same = got >= each * (i + 1) && !memcmp(&identity, &code->identity, sizeof identity);
        code->checked_ns = now_ns;
        code->loaded = same;
        code->reused |= !same;
    }
    checks->count = 0;
}

void codes_check(Codes *codes, const Remote *remote, const Layout *layout, const Look *look, uint64_t now_ns) {
    static Checks checks;
    if (!codes->size) return;
    for (int i = 0; i < look->count; i++) {
        Code *code = *place_of(codes, look->frame[i].code);
        if (!code || !is_due(code, now_ns)) continue;
        code->checked_ns = now_ns; // once for each that stands on the stack several times
        checks_add(&checks, layout, code);
        if (checks.count == AT_ONCE) checks_read(&checks, remote, layout, now_ns);
    }
    if (checks.count) checks_read(&checks, remote, layout, now_ns);
}

static bool read_lines(const Remote *remote, Code *code) {
    uint64_t length = remote_word(remote, code->identity.lines + OBJECT_SIZE);
    if (length > LONGEST_TABLE) return false;
    code->lines_length = (uint32_t)length;
    code->lines = resize(code->lines, length);
    return !length || remote_read(remote, code->identity.lines + BYTES_START, code->lines, length);
}

static bool load(Code *code, const Remote *remote, Address code_type, const Layout *layout, uint64_t now_ns) {
    char text[TEXT_BYTES];
    Identity *identity = &code->identity;
    if (!read_identity(remote, layout, code->at, identity, &code->name_at)) return false;
    if ((code_type && identity->type != code_type) || identity->units > MOST_UNITS || !read_lines(remote, code)) return false;
    if (!read_text(remote, layout, identity->file, text)) return false;
    code->file = number_of_text(text);
    if (!read_text(remote, layout, identity->qualname, text)) return false;
    code->name = number_of_text(text);
    code->is_bootstrap = !strcmp(text, "Thread._bootstrap");
    code->checked_ns = code->since_ns = now_ns;
    return true;
}

Code *codes_get(Codes *codes, const Remote *remote, Address code_type, const Layout *layout, Address at, uint64_t now_ns) {
    if (codes->used >= MOST_CODES || codes->table_bytes >= MOST_TABLE_BYTES) codes_forget(codes);
    if (codes->used >= codes->size / 4 * 3) widen(codes);
    Code **place = place_of(codes, at);
    if (!*place) {
        *place = allocate(sizeof(Code));
        (*place)->at = at;
        codes->used++;
    }
    Code *code = *place;
    if (!code->loaded) {
        code->loaded = at % 8 == 0 && load(code, remote, code_type, layout, now_ns);
        codes->table_bytes += code->lines_length;
    }
    return code->loaded ? code : NULL;
}

// An entry of the location table of 3.11 and later (CPython's Objects/locations.md).
enum { ONE_LINE_0 = 10, ONE_LINE_2 = 12, NO_COLUMNS = 13, LONG = 14, NO_LOCATION = 15 };

static int signed_varint(const Code *code, uint32_t *at) {
    uint32_t value = 0;
    for (int shift = 0; *at < code->lines_length && shift < 30; shift += 6) {
        unsigned char byte = code->lines[(*at)++];
        value |= (uint32_t)(byte & 63) << shift;
        if (!(byte & 64)) break;
    }
    return value & 1 ? -(int)(value >> 1) : (int)(value >> 1);
}

static uint32_t line_of(const Code *code, int64_t unit) {
    int64_t line = (int64_t)code->identity.first_line, begin = 0;
    for (uint32_t at = 0; at < code->lines_length;) {
        unsigned char head = code->lines[at++];
        int kind = head >> 3 & 15, units = (head & 7) + 1;
        if (kind == NO_COLUMNS || kind == LONG) line += signed_varint(code, &at);
        if (kind >= ONE_LINE_0 && kind <= ONE_LINE_2) line += kind - ONE_LINE_0;
        while (at < code->lines_length && !(code->lines[at] & 128)) at++; // columns
        if (unit < begin + units) return kind == NO_LOCATION || line < 0 ? (uint32_t)code->identity.first_line : (uint32_t)line;
        begin += units;
    }
    return (uint32_t)code->identity.first_line;
}

uint32_t code_frame(const Code *code, const Layout *layout, Address instruction) {
    int64_t unit = (int64_t)(instruction - (code->at + layout->code_units)) >> 1;
    if (unit < -1 || unit >= (int64_t)code->identity.units) return 0;
    uint32_t line = unit < 0 ? (uint32_t)code->identity.first_line : line_of(code, unit); // before its first instruction
    return number_of_frame(code->file, code->name, line);
}
