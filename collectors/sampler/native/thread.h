// One thread of a process that is sampled: what it was last seen to do, and since when.
#pragma once

#include "code.h"
#include "python.h"

// What all threads of a process share.
typedef struct {
    int id; // by which the reader knows it
    Remote remote;
    Python python;
    Codes codes;
    uint64_t period_ns; // between two samples
} Process;

// A frame of the last sample, and the number of the stack that ends with it.
typedef struct {
    Address code, instruction;
    uint64_t since_ns; // when the code object was read
    uint32_t stack;
} Step;

// A stack that stands since `start_ns`; a sample holds until the thread's next one, but for no more than five periods. Looks that
// failed in between belong half to the stack before them and half to the one after.
typedef struct {
    bool open, gil, whole;
    uint32_t stack;
    uint64_t start_ns, last_ns; // `last_ns`: of the last sample that found it so
    int64_t cpu_ns;             // the thread's CPU time at its start; -1 where that is not known
} Span;

typedef struct {
    Address state; // its PyThreadState
    uint32_t native_id;
    int tid;
    uint32_t name; // number of the text, 0 while it is not known
    bool named;    // its name was sent in the window at hand
    bool seen;     // at the sample at hand
    int cpu_file;
    Copies copies;
    Step *step; // outermost first
    int steps, room;
    Span span;
    uint64_t looks;
    uint64_t failing_ns;    // the first look that failed since the last one that did not; 0 where none did
    int64_t failing_cpu_ns; // the thread's CPU time at it
} Thread;

typedef enum { SAMPLE_TAKEN, SAMPLE_NONE, SAMPLE_FAILED } Sample;

Thread *thread_new(Address state);
Sample thread_sample(Thread *thread, Process *process, Place place, const Look *look);
void thread_cut(Thread *thread, const Process *process, uint64_t now_ns); // sends the open span up to now; it goes on
void thread_free(Thread *thread);
