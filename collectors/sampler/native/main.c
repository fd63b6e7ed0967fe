// Samples the Python stacks of other processes without stopping them: one resident process for all targets.
//
// Takes commands on standard input, a line each, and ends with it:
//   + TARGET PID START_TICKS HZ    sample a process (again: at another rate); TARGET is a number of the reader's own
//   - TARGET                       let it go
//   w MILLISECONDS                 length of a window
//   r NUMBER                       release all and start over for another reader: ["again", NUMBER] comes before the first line
// Writes what it sees to standard output, as stream.h says. An argument is the descriptor of a file of memory, where stands which target
// is being looked at, and since when: a process whose memory or files do not answer holds us up, and the reader sees which one it is.
#include "dictionary.h"
#include "faults.h"
#include "stream.h"
#include "target.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    MOST_TARGETS = 1024,
    LONGEST_COMMANDS = 65536, // that wait to be read
    FLUSH_EVERY_NS = 100 * MS,
    WAIT_NS = SECOND,
    HIGHEST_HZ = 10000,
    MOST_MEMORY = 512 << 20,
};

// What is being done. `since_ns` is 0 while nothing is.
typedef struct {
    uint64_t target, since_ns;
} Turn;

static Turn nowhere;
static volatile Turn *turn = &nowhere;

static Target *target[MOST_TARGETS];
static int targets;
static uint64_t window_ns = 5ull * SECOND;

static int place_of(int id) {
    int i = 0;
    while (i < targets && target[i]->process.id != id) i++;
    return i;
}

static void follow(int id, int pid, uint64_t start_ticks, double hz) {
    int i = place_of(id);
    if (!(hz > 0 && hz <= HIGHEST_HZ)) return;
    if (i < targets)
        target_set_rate(target[i], hz, clock_ns());
    else if (targets < MOST_TARGETS)
        target[targets++] = target_new(id, pid, start_ticks, hz, clock_ns());
    else
        target_refuse(id, "crowd", "too many processes");
}

static void let_go(int i) {
    target_free(target[i]);
    target[i] = target[--targets];
}

static void obey(const char *command) {
    int id, pid;
    uint64_t number;
    double hz;
    if (sscanf(command, "+ %d %d %" SCNu64 " %lf", &id, &pid, &number, &hz) == 4) follow(id, pid, number, hz);
    if (sscanf(command, "- %d", &id) == 1 && place_of(id) < targets) let_go(place_of(id));
    if (sscanf(command, "w %" SCNu64, &number) == 1) window_ns = number * MS;
    if (sscanf(command, "r %" SCNu64, &number) == 1) {
        while (targets) let_go(0);
        dictionary_forget();
        stream_again(number);
    }
}

// False at the end of the input: the process that started us is gone.
static bool read_commands(void) {
    static char waiting[LONGEST_COMMANDS];
    static size_t length;
    ssize_t got = read(STDIN_FILENO, waiting + length, sizeof waiting - 1 - length);
    if (got < 0) return errno == EINTR || errno == EAGAIN;
    if (got == 0) return false;
    length += (size_t)got;
    waiting[length] = 0;
    char *line = waiting, *end;
    for (; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        obey(line);
    }
    length = strlen(line);
    memmove(waiting, line, length);
    return length < sizeof waiting - 1; // a line of that length is no command
}

static void show_turns(int file) {
    void *shown = mmap(NULL, sizeof(Turn), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shown == MAP_FAILED) return;
    turn = shown;
    close(file);
}

static bool take_turn(Target *one) {
    turn->target = (uint64_t)one->process.id;
    turn->since_ns = clock_ns();
    faults_hang(one->process.remote.pid);
    bool goes_on = target_turn(one, window_ns);
    turn->since_ns = 0;
    return goes_on;
}

// Samples what is due; the time of the next that will be.
static uint64_t take_turns(uint64_t next_ns) {
    for (int i = 0; i < targets;) {
        if (target[i]->due_ns <= clock_ns() && !take_turn(target[i])) {
            let_go(i);
            continue;
        }
        if (target[i]->due_ns < next_ns) next_ns = target[i]->due_ns;
        i++;
    }
    return next_ns;
}

// Numbers are not kept for ever, and those that were dropped on the way are not known to the reader.
static void start_over(void) {
    if (!stream_is_cut())
        for (int i = 0; i < targets; i++) target_cut(target[i], clock_ns());
    for (int i = 0; i < targets; i++) target_forget(target[i]);
    dictionary_forget();
    stream_reset();
}

// Waits for a command, until there is room for what could not be written, or until a time. False: the end.
static bool wait_until(uint64_t until_ns) {
    uint64_t now_ns = clock_ns();
    struct timespec timeout = { .tv_nsec = until_ns > now_ns ? (long)(until_ns - now_ns) : 0 };
    struct pollfd pipes[] = { { STDIN_FILENO, POLLIN, 0 }, { stream_is_blocked() ? STDOUT_FILENO : -1, POLLOUT, 0 } };
    if (ppoll(pipes, 2, &timeout, NULL) <= 0) return true;
    return (!pipes[1].revents || stream_flush()) && (!pipes[0].revents || read_commands());
}

// A file for each target and each thread; and no more memory than this, whatever the targets hold: beyond, we end, and are started again.
static void set_limits(void) {
    struct rlimit files, memory = { MOST_MEMORY, MOST_MEMORY };
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
#ifndef __SANITIZE_ADDRESS__ // which takes all of the address space
    setrlimit(RLIMIT_AS, &memory);
#endif
}

int main(int count, char **argument) {
    signal(SIGPIPE, SIG_IGN);
    if (count > 1) show_turns(atoi(argument[1]));
    set_limits();
    stream_open();
    uint64_t flush_ns = 0;
    bool goes_on = true;
    while (goes_on) {
        uint64_t now_ns = clock_ns(), next_ns = take_turns(now_ns + WAIT_NS - 1);
        if (now_ns >= flush_ns) {
            goes_on = stream_flush();
            flush_ns = now_ns + FLUSH_EVERY_NS;
        }
        if ((stream_is_cut() && stream_is_empty()) || dictionary_is_full()) start_over();
        if (!stream_is_empty() && flush_ns < next_ns) next_ns = flush_ns;
        goes_on = goes_on && wait_until(next_ns);
    }
    return 0;
}
