#include "remote.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool remote_open(Remote *remote, int pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    remote->pid = pid;
    remote->memory = open(path, O_RDONLY | O_CLOEXEC);
    if (remote->memory < 0) return false;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    remote->sizes = open(path, O_RDONLY | O_CLOEXEC);
    return true;
}

void remote_close(Remote *remote) {
    if (remote->memory >= 0) close(remote->memory);
    if (remote->sizes >= 0) close(remote->sizes);
    remote->memory = remote->sizes = -1;
}

int64_t remote_resident_kib(const Remote *remote) {
    char text[128];
    ssize_t length = pread(remote->sizes, text, sizeof text - 1, 0);
    text[length > 0 ? length : 0] = 0;
    const char *resident = strchr(text, ' '); // after the size of the address space, both in pages
    return resident ? strtoll(resident, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024) : -1;
}

bool remote_read(const Remote *remote, Address at, void *to, size_t length) {
    return at && at <= INT64_MAX && pread(remote->memory, to, length, (off_t)at) == (ssize_t)length;
}

Address remote_word(const Remote *remote, Address at) {
    Address word;
    return remote_read(remote, at, &word, sizeof word) ? word : 0;
}

ssize_t remote_gather(const Remote *remote, const struct iovec *to, const struct iovec *from, int count) {
    return process_vm_readv(remote->pid, to, (unsigned long)count, from, (unsigned long)count, 0);
}

// The beginning of a small file as a string, "" where there is none.
static void read_head(const char *path, char *to, size_t size) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, to, size - 1);
    if (file >= 0) close(file);
    to[length > 0 ? length : 0] = 0;
}

uint64_t process_start_ticks(int pid) {
    enum { AFTER_STATE = 19 }; // fields from the state, which is the third, to the start time, the 22nd
    char path[64], stat[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    read_head(path, stat, sizeof stat);
    const char *at = strrchr(stat, ')'); // the name before it may hold blanks and brackets
    if (!at || strlen(at) < 3 || strchr("ZXx", at[2])) return 0;
    at += 2;
    for (int field = 0; field < AFTER_STATE && at; field++) at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

// Of `NSpid: 4711 12 1`, the ids in ever deeper namespaces, the last; 0 where there is no such thread.
static uint32_t innermost_id(int pid, int tid) {
    char path[64], status[4096];
    snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, tid);
    read_head(path, status, sizeof status);
    const char *at = strstr(status, "\nNSpid:");
    if (!at) return status[0] ? (uint32_t)tid : 0; // a kernel built without namespaces
    char *end = (char *)at + strlen("\nNSpid:");
    uint32_t id = 0;
    while (*end == '\t') id = (uint32_t)strtoul(end + 1, &end, 10);
    return id;
}

int process_thread(int pid, uint32_t inner_id) {
    if (innermost_id(pid, (int)inner_id) == inner_id) return (int)inner_id; // no namespace of its own, the usual case
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    int found = 0, count = 0;
    for (struct dirent *task; tasks && !found && (task = readdir(tasks));) {
        int tid = atoi(task->d_name);
        count += tid > 0;
        if (tid && innermost_id(pid, tid) == inner_id) found = tid;
    }
    if (tasks) closedir(tasks);
    return count == 1 && !found ? pid : found; // a forked child may know itself by its parent's id
}

void process_thread_name(int pid, int tid, char name[THREAD_NAME]) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/comm", pid, tid);
    read_head(path, name, THREAD_NAME);
    size_t length = strlen(name);
    if (length && name[length - 1] == '\n') name[length - 1] = 0; // the kernel's; others may be of the name
}
