// The parts of another process's memory that one walk of a stack needs, copied twice.
//
// A walk asks for bytes by their address. Whatever it asks for is expected to be needed again, and the next time all of it
// is copied beforehand in one system call: first copy A, from what was asked for last to what was asked for first, and then
// copy B the other way round. So what changes most often, the thread's state and its innermost frame, is asked for first and
// has the shortest time between its two copies.
#pragma once

#include "remote.h"

typedef enum { COPY_A, COPY_B } Which;

typedef struct {
    Address at;              // of a block of BLOCK bytes
    unsigned char *bytes[2]; // the copies, BLOCK bytes each; filled where `from` to `to`
    uint16_t from, to;       // what is copied of it
    uint16_t asked_from, asked_to; // what was asked for since the last tidying
    bool filled[2];
    bool asked;  // in the sample at hand,
    int order;   // ... as the how-manieth
} Block;

typedef struct {
    Block *block; // in the order in which the last sample asked for them
    int count, hint, age, asked;
    uint64_t usual_ns; // what two copies of one block have taken lately, where memory is slow to read; see is_quick
    // What was found at the last sample:
    Address inside;   // an instruction that does not leave its frame
    uint64_t stood;   // the mark of the stack
} Copies;

void copies_take_both(Copies *copies, const Remote *remote);
void copies_take_second(Copies *copies, const Remote *remote);

// False where the memory cannot be read.
bool copies_get(Copies *copies, const Remote *remote, Which which, Address at, void *to, size_t length);

bool copies_complete(const Copies *copies); // copy B holds all that the walk of copy A asked for
void copies_settle(Copies *copies);         // after each sample: forget what has not been asked for in a while
void copies_free(Copies *copies);
