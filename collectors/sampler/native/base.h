// What all parts share: addresses of another process, the clock, memory that is never missing.
#pragma once

#define _GNU_SOURCE // process_vm_readv

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if !defined(__linux__) || !(defined(__x86_64__) || defined(__aarch64__))
#error "the sampler reads 64-bit little-endian processes of Linux: x86-64 or aarch64"
#endif

typedef uint64_t Address; // in the process that is read, never in this one

enum { MS = 1000000, SECOND = 1000000000 }; // in nanoseconds

uint64_t clock_ns(void);                      // CLOCK_MONOTONIC
void *allocate(size_t size);                  // zeroed; ends the program where there is no memory
void *resize(void *memory, size_t size);      // the same for realloc
uint64_t mix(uint64_t value);                 // spreads the bits of a key
uint64_t word_at(const void *bytes, size_t at); // 8 bytes, whatever their alignment
