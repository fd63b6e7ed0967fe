// What the sampler sends its reader: lines of JSON on standard output, which never make it wait.
//
//   ["native", 2]                                     the first line: the version of this format
//   ["attached", target, "3.11.7", us]                how long finding the runtime took
//   ["refused", target, "reason", "detail"]           it is let go; reason: permission, python, version, free-threaded, crowd
//   ["gone", target]                                  it has ended or was let go; its last window came before
//   ["n", number, "text"]                             a text, always UTF-8: bytes that are none became U+FFFD
//   ["f", number, text, text, line]                   a frame: file, function
//   ["k", number, stack, frame]                       a stack: its caller's, 0 where there is none, and one more frame
//   ["t", target, tid, text]                          a thread's name, in each window that has a span of it
//   ["s", target, tid, ns, ns, stack, flags, cpu_ns]  a span: start (CLOCK_MONOTONIC) and length; flags: 1 it held the GIL,
//                                                     2 the inner part of the stack is missing; cpu -1 where it is not known
//   ["m", target, ns, kib]                            resident memory: at a window's first sample, and at each that finds it changed
//   ["w", target, ns, ns, samples, errors, hz]        ends a window, from and to, of which the target's spans since the last
//                                                     one are; windows of one target touch
//   ["again", number]                                 another reader begins here, and next comes the first line
//   ["reset"]                                         all numbers and spans before are void
//
// Where the reader does not keep up, lines are dropped until it has taken all that is waiting. Then comes a reset, and
// the samples that were lost count as errors in their targets' next windows.
#pragma once

#include "base.h"

enum { STREAM_VERSION = 2 };

void stream_open(void);
void stream_again(uint64_t reader); // begins anew for a reader that knows itself by this number
void stream_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void stream_text(uint32_t number, const char *text); // an "n" line

bool stream_flush(void);      // writes what can be written; false: the reader has left
bool stream_is_empty(void);   // there is nothing to write
bool stream_is_blocked(void); // the last flush could not write all
bool stream_is_cut(void);     // lines are being dropped
void stream_reset(void);  // what follows stands for itself
