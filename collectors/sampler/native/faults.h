// Faults that only the tests' own build has (-DFAULTS), as the environment's SAMPLER_FAULTS="SEED PERCENT BURST SLOW_NS HANG_PID" says.
//
// PERCENT of a thread's looks fail, in bursts of BURST looks; which ones follows from SEED alone. And memory is slow to read:
// each block takes SLOW_NS longer. Reading HANG_PID never comes back. Without the macro nothing of this is compiled.
#pragma once

#include "base.h"

#ifdef FAULTS

bool faults_fail(uint64_t look); // whether a thread's how-manieth look fails
void faults_delay(void);         // as long as a block of slow memory takes
void faults_hang(int pid);       // as on memory or files of that process that do not answer

#else

static inline bool faults_fail(uint64_t look) { return (void)look, false; }
static inline void faults_delay(void) {}
static inline void faults_hang(int pid) { (void)pid; }

#endif
