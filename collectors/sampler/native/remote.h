// Another process: its memory, and whether it is still the one that it was.
#pragma once

#include "base.h"

#include <sys/uio.h>

typedef struct {
    int pid;
    // /proc/<pid>/mem belongs to the program for which it was opened: once that has ended or was replaced by exec,
    // it reads nothing, even if another process has the pid by then. It keeps none of the memory alive.
    int memory;
    int sizes; // /proc/<pid>/statm, opened with it
} Remote;

bool remote_open(Remote *remote, int pid); // false: errno says why
void remote_close(Remote *remote);

// All of `length` bytes, or false. About 1 us.
bool remote_read(const Remote *remote, Address at, void *to, size_t length);
Address remote_word(const Remote *remote, Address at); // 0 where it cannot be read

// Scattered reads in one call, each whole or not at all, in order, up to the first that fails; bytes read, or -1.
ssize_t remote_gather(const Remote *remote, const struct iovec *to, const struct iovec *from, int count);

// Resident memory in KiB, -1 where it is not known. Some kernels from 6.2 on keep a count per core, and may be behind by some pages of
// each.
int64_t remote_resident_kib(const Remote *remote);

// When a process started, in clock ticks since boot; 0 where it is gone or a zombie.
uint64_t process_start_ticks(int pid);

// A thread's id in /proc here, from the one by which the process itself knows it; they differ where it lives in a container
// with its own process ids. 0 where it has no such thread, and more than one.
int process_thread(int pid, uint32_t inner_id);

enum { THREAD_NAME = 256 };
void process_thread_name(int pid, int tid, char name[THREAD_NAME]); // as the kernel knows it; "" where it has ended
