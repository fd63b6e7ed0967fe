// What a process's code objects are called, and which line an instruction belongs to; read once, and checked again.
//
// A code object that is freed may leave its address to another one. So each is remembered by what it holds (its texts'
// addresses, its line table's, its size, its name's hash) and looked at again: at every sample while it is younger than a
// second or its address was used twice before, else every 100 ms.
#pragma once

#include "stack.h"

typedef struct {
    Address type, file, qualname, lines; // of the objects that it holds
    uint64_t units;                      // two bytes each: its length
    uint64_t first_line;
    uint64_t name_hash;
} Identity;

typedef struct {
    Address at, name_at; // `name_at`: of the str whose hash is part of the identity
    Identity identity;
    uint32_t file, name;  // numbers of their texts
    unsigned char *lines; // the line table
    uint32_t lines_length;
    uint64_t checked_ns, since_ns;
    bool reused, loaded;
    bool is_bootstrap; // Thread._bootstrap: the frame below all that a thread of `threading` does
} Code;

typedef struct {
    Code **slot; // by address; its size is a power of two
    uint32_t size, used;
    size_t table_bytes; // of all line tables
} Codes;

// Look again at those of a stack's code objects that are due, all in one call.
void codes_check(Codes *codes, const Remote *remote, const Layout *layout, const Look *look, uint64_t now_ns);

// The code object at an address, its names read; NULL where there is none. After codes_check.
Code *codes_get(Codes *codes, const Remote *remote, Address code_type, const Layout *layout, Address at, uint64_t now_ns);

// The number of the frame that stands at `instruction`; 0 where that is not of this code object.
uint32_t code_frame(const Code *code, const Layout *layout, Address instruction);

void codes_forget(Codes *codes);
