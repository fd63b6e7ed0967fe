// One process that is sampled: found by its id and start time, attached, looked at each period, reported window by window.
#pragma once

#include "thread.h"

enum { MOST_INTERPRETERS = 16, MOST_THREADS = 512 };

typedef struct {
    Process process;
    uint64_t start_ticks;
    double hz;
    uint64_t turn, due_ns;       // the next sample: its number, its time
    uint64_t since_ns;           // when it was begun to look for its Python
    bool attached;
    Address interpreter[MOST_INTERPRETERS];
    int interpreters;
    uint64_t listed_ns;          // when they were last looked for
    Thread *thread[MOST_THREADS];
    int threads;
    uint64_t window_ns;          // when the window at hand began; 0: none has
    bool first;                  // window since it was attached: a short one
    uint64_t samples, errors;    // in it
    int64_t resident_kib;        // as it was last sent in it, -1 where it was not
} Target;

Target *target_new(int id, int pid, uint64_t start_ticks, double hz, uint64_t now_ns);
void target_set_rate(Target *target, double hz, uint64_t now_ns);
bool target_turn(Target *target, uint64_t window_ns); // looks at all threads; false: it is over
void target_cut(Target *target, uint64_t now_ns);     // ends the window at hand, and begins the next
void target_forget(Target *target);                   // what was sent about it is void
void target_free(Target *target);                     // sends its last window, and that it is gone
void target_refuse(int id, const char *reason, const char *detail);
