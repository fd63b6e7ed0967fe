#ifdef FAULTS

#include "faults.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
    uint64_t seed, percent, burst, slow_ns, hang_pid;
} Faults;

static const Faults *asked_for(void) {
    static Faults faults = { .burst = 0 };
    const char *text = getenv("SAMPLER_FAULTS");
    if (!faults.burst && text)
        sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &faults.seed, &faults.percent, &faults.burst,
               &faults.slow_ns, &faults.hang_pid);
    if (!faults.burst) faults.burst = 1;
    return &faults;
}

bool faults_fail(uint64_t look) {
    const Faults *faults = asked_for();
    return mix(faults->seed * 0x9e3779b97f4a7c15u + look / faults->burst) % 100 < faults->percent;
}

void faults_hang(int pid) {
    while (asked_for()->hang_pid == (uint64_t)pid) pause();
}

void faults_delay(void) {
    uint64_t until_ns = clock_ns() + asked_for()->slow_ns;
    while (asked_for()->slow_ns && clock_ns() < until_ns) continue;
}

#endif
