#include "base.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

void *allocate(size_t size) {
    void *memory = calloc(1, size ? size : 1);
    if (!memory) abort(); // the collector starts us again
    return memory;
}

void *resize(void *memory, size_t size) {
    memory = realloc(memory, size ? size : 1);
    if (!memory) abort();
    return memory;
}

uint64_t mix(uint64_t value) {
    for (int round = 0; round < 2; round++) value = (value ^ value >> 32) * 0xd6e8feb86659fd93u;
    return value ^ value >> 32;
}

uint64_t word_at(const void *bytes, size_t at) {
    uint64_t word;
    memcpy(&word, (const char *)bytes + at, sizeof word);
    return word;
}
