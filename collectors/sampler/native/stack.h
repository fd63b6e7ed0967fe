// One thread's stack as it was at one moment, read from a process that runs on.
//
// The double collect: what a walk needs is copied twice, one copy after the other, and the stack is walked in both. Where
// the two agree, it stood so between them, unless it changed and changed back, as a loop of a few microseconds may. Against
// that: callers must hold the same values in both copies, must wait for whom they called, and the copies must have been quick.
#pragma once

#include "copies.h"
#include "layout.h"

typedef struct {
    Address at, code, previous, instruction;
    uint8_t owner;
    bool entry;   // C code called it
    int8_t waits; // for a frame that it called: 1 or 0, -1 where that is unknown
    uint64_t held; // where it may wait: a hash of its variables and of what it was computing
} Frame;

typedef enum {
    LOOK_STACK, // the frames are known
    LOOK_IDLE,  // a thread without a Python frame
    LOOK_TORN,  // nothing agreed, or memory that cannot be read
    LOOK_OVER   // no longer a thread of this interpreter; `next` is not known
} Outcome;

typedef struct {
    Outcome outcome;
    uint64_t moment_ns; // when the copies were taken
    const Frame *frame; // from the innermost to the outermost, until the next look at any thread
    int count;
    bool whole;         // false: only the outer part agreed, or there was more
    bool gil;           // this thread holds it
    uint32_t native_id; // of the thread, as its own container counts
    Address next;       // thread state in the interpreter's list; 0 at its end
} Look;

typedef struct {
    const Remote *remote;
    const Layout *layout;
    Address interpreter, gil; // `gil`: what its offsets count from
    Address thread;           // PyThreadState
} Place;

// About 10 us for a thread with 20 frames.
Look stack_look(Place place, Copies *copies);

// Whether the outermost `count` frames of the last look still stand as they did.
bool stack_stands(Place place, Copies *copies, int count);

const Frame *outer_frame(const Look *look, int i); // the i-th, from the outermost
bool is_python(const Frame *frame);                // false for the frame that stands for the C code which called Python
