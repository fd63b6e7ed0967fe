#include "target.h"

#include "stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    LIST_EVERY_NS = SECOND,       // interpreters come and go
    SEEK_EVERY_NS = 10 * MS,      // a process that is just starting
    PATIENCE_NS = SECOND,         // with a process that is no Python: perhaps it becomes one
    FIRST_WINDOW_NS = 500 * MS,   // a new process shows soon
    MOST_LISTED = 1 << 13,
    JITTER_PARTS = 1000,
    JITTER = 400,                 // of them: +-20 % of a period, against lockstep with the target
};

Target *target_new(int id, int pid, uint64_t start_ticks, double hz, uint64_t now_ns) {
    Target *target = allocate(sizeof *target);
    target->process.id = id;
    target->process.remote = (Remote){ .pid = pid, .memory = -1, .sizes = -1 };
    target->start_ticks = start_ticks;
    target->since_ns = target->due_ns = now_ns;
    target->resident_kib = -1;
    target->hz = hz;
    target->process.period_ns = (uint64_t)(SECOND / hz);
    return target;
}

void target_set_rate(Target *target, double hz, uint64_t now_ns) {
    target_cut(target, now_ns);
    target->hz = hz;
    target->process.period_ns = (uint64_t)(SECOND / hz);
    target->turn = 0;
    target->due_ns = now_ns;
}

void target_refuse(int id, const char *reason, const char *detail) {
    stream_line("[\"refused\",%d,\"%s\",\"%s\"]\n", id, reason, detail);
}

void target_cut(Target *target, uint64_t now_ns) {
    if (!target->window_ns) return;
    for (int i = 0; i < target->threads; i++) {
        thread_cut(target->thread[i], &target->process, now_ns);
        target->thread[i]->named = false;
    }
    stream_line("[\"w\",%d,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.6f]\n", target->process.id, target->window_ns, now_ns,
                target->samples, target->errors, target->hz);
    // What was dropped is counted as errors of the first window that comes through.
    target->errors = stream_is_cut() ? target->errors + target->samples : 0;
    target->samples = 0;
    target->resident_kib = -1;
    target->window_ns = now_ns;
    target->first = false;
}

static void forget_threads(Target *target) {
    for (int i = 0; i < target->threads; i++) thread_free(target->thread[i]);
    target->threads = 0;
}

void target_forget(Target *target) {
    forget_threads(target);
    codes_forget(&target->process.codes);
    target->errors += target->samples;
    target->samples = 0;
    target->window_ns = 0;
}

// The program has ended, or another one was started in its place.
static void detach(Target *target, uint64_t now_ns) {
    target_cut(target, now_ns);
    target_forget(target);
    remote_close(&target->process.remote);
    target->attached = false;
    target->interpreters = 0;
    target->since_ns = now_ns;
}

void target_free(Target *target) {
    detach(target, clock_ns());
    stream_line("[\"gone\",%d]\n", target->process.id);
    free(target);
}

static bool lives(const Target *target) { return process_start_ticks(target->process.remote.pid) == target->start_ticks; }

// Whether to go on after a process could not be opened: it may be another user's, or between two programs.
static bool not_opened(const Target *target, int error) {
    bool forbidden = error == EACCES || error == EPERM, full = error == EMFILE || error == ENFILE;
    if (!forbidden && !full) return true;
    if (lives(target)) target_refuse(target->process.id, forbidden ? "permission" : "crowd", strerror(error));
    return false;
}

static bool attach(Target *target, uint64_t now_ns) {
    Process *process = &target->process;
    char version[VERSION_TEXT];
    if (!lives(target)) return false;
    if (process->remote.memory < 0 && !remote_open(&process->remote, process->remote.pid)) return not_opened(target, errno);
    Found found = python_find(&process->python, &process->remote);
    version_text(process->python.version, version);
    if (found == PYTHON_FOUND) {
        target->attached = target->first = true;
        stream_line("[\"attached\",%d,\"%s\",%" PRIu64 "]\n", process->id, version, (clock_ns() - now_ns) / 1000);
        return true;
    }
    remote_close(&process->remote);
    if (found == PYTHON_NONE && now_ns - target->since_ns < PATIENCE_NS) return true;
    target_refuse(process->id, found == PYTHON_NONE ? "python" : found == PYTHON_UNKNOWN ? "version" : "free-threaded", version);
    return false;
}

// False where the program is no longer there.
static bool list_interpreters(Target *target, uint64_t now_ns) {
    const Remote *remote = &target->process.remote;
    const Python *python = &target->process.python;
    Address at;
    if (!remote_read(remote, python->runtime + python->layout.runtime_interpreters, &at, sizeof at)) return false;
    target->interpreters = 0;
    target->listed_ns = now_ns;
    for (; at && target->interpreters < MOST_INTERPRETERS; at = remote_word(remote, at + python->layout.interpreter_next))
        target->interpreter[target->interpreters++] = at;
    return true;
}

// The list of threads is nearly always in the order of the last time: `hint` is the place to look at first.
static Thread *thread_at(Target *target, Address state, int hint) {
    if (hint < target->threads && target->thread[hint]->state == state) return target->thread[hint];
    for (int i = 0; i < target->threads; i++)
        if (target->thread[i]->state == state) return target->thread[i];
    if (target->threads == MOST_THREADS) return NULL;
    return target->thread[target->threads++] = thread_new(state);
}

// The list begins with the newest thread and ends with the main one.
static Address oldest_thread(const Target *target, Address at) {
    Address next;
    for (int i = 0; i < MOST_LISTED && (next = remote_word(&target->process.remote, at + target->process.python.layout.thread_next)); i++)
        at = next;
    return at;
}

static void count(Target *target, Sample sample) {
    if (sample == SAMPLE_TAKEN) target->samples++;
    if (sample == SAMPLE_FAILED) target->errors++;
}

// False where the list of threads broke off under our eyes: some were not seen.
static bool sample_interpreter(Target *target, Address interpreter, int *seen) {
    Process *process = &target->process;
    const Layout *layout = &process->python.layout;
    Place place = { .remote = &process->remote,
                    .layout = layout,
                    .interpreter = interpreter,
                    .gil = layout->gil_in_runtime ? process->python.runtime : interpreter,
                    .thread = remote_word(&process->remote, interpreter + layout->interpreter_threads) };
    while (place.thread && *seen < MOST_THREADS) {
        if (*seen == MOST_THREADS - 1) place.thread = oldest_thread(target, place.thread);
        Thread *thread = thread_at(target, place.thread, *seen);
        if (!thread) return true;
        thread->seen = true;
        (*seen)++;
        Look look = stack_look(place, &thread->copies);
        if (look.outcome == LOOK_OVER) {
            count(target, SAMPLE_FAILED);
            return false;
        }
        count(target, thread_sample(thread, process, place, &look));
        place.thread = look.next;
    }
    return true;
}

static void drop_unseen(Target *target, uint64_t now_ns) {
    int kept = 0;
    for (int i = 0; i < target->threads; i++) {
        Thread *thread = target->thread[i];
        if (thread->seen) {
            target->thread[kept++] = thread;
        } else {
            thread_cut(thread, &target->process, now_ns);
            thread_free(thread);
        }
    }
    target->threads = kept;
}

// After its threads, so that the stacks that were just seen are those at the time that is sent.
static void sample_memory(Target *target) {
    int64_t kib = remote_resident_kib(&target->process.remote);
    if (kib < 0 || kib == target->resident_kib) return;
    target->resident_kib = kib;
    stream_line("[\"m\",%d,%" PRIu64 ",%" PRId64 "]\n", target->process.id, clock_ns(), kib);
}

// False where the program is no longer there.
static bool sample(Target *target, uint64_t now_ns) {
    bool due = now_ns - target->listed_ns >= LIST_EVERY_NS || !target->interpreters || !target->threads;
    if (due && !list_interpreters(target, now_ns)) return false;
    bool whole = true;
    int seen = 0;
    for (int i = 0; i < target->threads; i++) target->thread[i]->seen = false;
    for (int i = 0; i < target->interpreters; i++) whole &= sample_interpreter(target, target->interpreter[i], &seen);
    if (!seen && !list_interpreters(target, now_ns)) return false;
    if (whole) drop_unseen(target, now_ns);
    if (!target->window_ns && target->threads) target->window_ns = now_ns;
    if (target->window_ns) sample_memory(target);
    return true;
}

// Targets of one rate share their deadlines: one waking serves them all.
static void schedule(Target *target, uint64_t now_ns) {
    uint64_t period_ns = target->process.period_ns;
    uint64_t missed = now_ns / period_ns;
    target->turn = target->turn < missed ? missed + 1 : target->turn + 1;
    uint64_t jitter_ns = period_ns / JITTER_PARTS * (mix(target->turn) % JITTER);
    target->due_ns = target->turn * period_ns + jitter_ns - period_ns / JITTER_PARTS * JITTER / 2;
}

bool target_turn(Target *target, uint64_t window_ns) {
    uint64_t now_ns = clock_ns();
    schedule(target, now_ns);
    if (!target->attached && !attach(target, now_ns)) return false;
    if (!target->attached) {
        target->due_ns = now_ns + SEEK_EVERY_NS;
        return true;
    }
    if (!sample(target, now_ns)) {
        detach(target, now_ns);
        target->due_ns = now_ns;
        return lives(target);
    }
    if (!target->threads) target->due_ns = now_ns + SEEK_EVERY_NS; // its interpreter is not ready
    if (target->first && window_ns > FIRST_WINDOW_NS) window_ns = FIRST_WINDOW_NS;
    if (target->window_ns && now_ns - target->window_ns >= window_ns) target_cut(target, clock_ns());
    return true;
}
