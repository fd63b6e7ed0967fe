#include "thread.h"

#include "dictionary.h"
#include "faults.h"
#include "name.h"
#include "stream.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FLAG_GIL = 1, FLAG_CUT = 2, NO_FILE = -1, HOLDS_PERIODS = 5, TICK_NS = 10000000 /* the longest that kernels have */ };

Thread *thread_new(Address state) {
    Thread *thread = allocate(sizeof *thread);
    thread->state = state;
    thread->cpu_file = NO_FILE;
    return thread;
}

static void forget_kernel_thread(Thread *thread) {
    if (thread->cpu_file >= 0) close(thread->cpu_file);
    thread->cpu_file = NO_FILE;
    thread->name = 0;
    thread->named = false;
    thread->steps = 0;
    thread->failing_ns = 0;
}

void thread_free(Thread *thread) {
    forget_kernel_thread(thread);
    copies_free(&thread->copies);
    free(thread->step);
    free(thread);
}

// CPU time so far, by the scheduler's account; -1 where the kernel gives none. For a thread that runs just now it may be one
// tick of the scheduler old.
static int64_t cpu_ns(Thread *thread, int pid) {
    char text[64];
    if (thread->cpu_file < 0) {
        snprintf(text, sizeof text, "/proc/%d/task/%d/schedstat", pid, thread->tid);
        thread->cpu_file = open(text, O_RDONLY | O_CLOEXEC);
    }
    ssize_t length = pread(thread->cpu_file, text, sizeof text - 1, 0);
    text[length > 0 ? length : 0] = 0;
    return length > 0 ? strtoll(text, NULL, 10) : -1;
}

static void send_name(Thread *thread, int target) {
    if (thread->name && !thread->named) stream_line("[\"t\",%d,%d,%u]\n", target, thread->tid, thread->name);
    thread->named = thread->name != 0;
}

// Sends the open span up to a time, at which the thread had used so much CPU time; it goes on from there. What a span seems to have used
// beyond its length, because the account was behind at its start, is the next one's: else each of many short spans would lose some.
static void send_until(Thread *thread, const Process *process, uint64_t until_ns, int64_t total_ns) {
    Span *span = &thread->span;
    uint64_t holds_ns = span->last_ns + HOLDS_PERIODS * process->period_ns;
    uint64_t end_ns = until_ns < holds_ns ? until_ns : holds_ns;
    int64_t used_ns = -1, beyond_ns = 0;
    if (end_ns > span->start_ns) {
        int64_t length_ns = (int64_t)(end_ns - span->start_ns);
        if (span->cpu_ns >= 0 && total_ns >= span->cpu_ns) used_ns = total_ns - span->cpu_ns;
        if (used_ns > length_ns) {
            beyond_ns = end_ns == until_ns ? used_ns - length_ns : 0;
            used_ns = length_ns;
        }
        send_name(thread, process->id);
        stream_line("[\"s\",%d,%d,%" PRIu64 ",%" PRId64 ",%u,%d,%" PRId64 "]\n", process->id, thread->tid, span->start_ns, length_ns,
                    span->stack, (span->gil ? FLAG_GIL : 0) | (span->whole ? 0 : FLAG_CUT), used_ns);
    }
    span->cpu_ns = total_ns - (beyond_ns < TICK_NS ? beyond_ns : TICK_NS);
    span->start_ns = until_ns;
    span->open = until_ns < holds_ns;
}

void thread_cut(Thread *thread, const Process *process, uint64_t now_ns) {
    if (thread->span.open) send_until(thread, process, now_ns, cpu_ns(thread, process->remote.pid));
}

// Ends the open span where another state begins: at this look, or in the middle of those that failed before it, so that neither what
// was seen before them nor what was seen after has all of their time. CPU time is shared out by the same measure.
static void turn_over(Thread *thread, const Process *process, uint64_t now_ns) {
    Span *span = &thread->span;
    int64_t total_ns = cpu_ns(thread, process->remote.pid);
    uint64_t at_ns = now_ns, earliest_ns = now_ns - HOLDS_PERIODS * process->period_ns;
    if (thread->failing_ns) {
        uint64_t failed_ns = now_ns - thread->failing_ns;
        at_ns = now_ns - failed_ns / 2;
        if (at_ns < earliest_ns) at_ns = earliest_ns;
        if (at_ns < span->start_ns) at_ns = span->start_ns; // up to there it is sent
        int64_t used_ns = thread->failing_cpu_ns < 0 ? -1 : total_ns - thread->failing_cpu_ns;
        if (used_ns > 0) total_ns -= (int64_t)((double)used_ns * (double)(now_ns - at_ns) / (double)failed_ns);
    }
    if (span->open) {
        send_until(thread, process, at_ns, total_ns);
        total_ns = span->cpu_ns;
    }
    *span = (Span){ .start_ns = at_ns, .cpu_ns = total_ns };
}

// Goes on with the open span, or ends it and begins another.
static void stand(Thread *thread, const Process *process, const Look *look, uint32_t stack) {
    Span *span = &thread->span;
    bool on_time = span->open && look->moment_ns < span->last_ns + HOLDS_PERIODS * process->period_ns;
    if (!on_time || span->stack != stack || span->gil != look->gil || span->whole != look->whole) {
        turn_over(thread, process, look->moment_ns);
        span->open = true;
        span->gil = look->gil;
        span->whole = look->whole;
        span->stack = stack;
    }
    span->last_ns = look->moment_ns;
    thread->failing_ns = 0;
}

// Another thread may have got the address of one that ended.
static void identify(Thread *thread, const Process *process, const Look *look) {
    if (thread->native_id == look->native_id && thread->tid) return;
    thread_cut(thread, process, look->moment_ns);
    thread->span.open = false;
    forget_kernel_thread(thread);
    thread->native_id = look->native_id;
    thread->tid = process_thread(process->remote.pid, look->native_id);
}

static void make_room(Thread *thread, int count) {
    if (thread->room >= count) return;
    thread->room = count * 2;
    thread->step = resize(thread->step, sizeof(Step) * (size_t)thread->room);
}

static const Code *code_of(Process *process, Place place, const Frame *frame, uint64_t now_ns) {
    return codes_get(&process->codes, place.remote, process->python.code_type, place.layout, frame->code, now_ns);
}

// The number of a stack, EMPTY where it has no Python frame; false where one of its frames is none. As long as the frames equal
// those of the thread's last sample, its numbers are taken over. `read` is up to which frame names were read just now.
static bool number_stack(Thread *thread, Process *process, Place place, const Look *look, uint32_t *stack, int *read) {
    make_room(thread, look->count);
    int steps = 0;
    bool same = true;
    for (int i = 0; i < look->count; i++) {
        const Frame *frame = outer_frame(look, i);
        if (!is_python(frame)) continue;
        const Code *code = code_of(process, place, frame, look->moment_ns);
        if (!code) return false;
        if (code->since_ns == look->moment_ns) *read = i + 1;
        Step *step = &thread->step[steps];
        same = same && steps < thread->steps && step->code == frame->code && step->instruction == frame->instruction &&
               step->since_ns == code->since_ns;
        if (!same) {
            uint32_t number = code_frame(code, place.layout, frame->instruction);
            if (!number) return false;
            *step = (Step){ frame->code, frame->instruction, code->since_ns, number_of_stack(*stack, number) };
        }
        *stack = step->stack;
        steps++;
    }
    thread->steps = steps;
    return true;
}

// A name is one line of a table: what would break it becomes a blank.
static void make_plain(char *name) {
    for (; *name; name++)
        if ((unsigned char)*name < ' ' || *name == 127) *name = ' ';
}

// The main thread has the process's id. One that `threading` does not know has its name from the kernel.
static void find_name(Thread *thread, Process *process, Place place, const Look *look) {
    int outermost = 0;
    while (!is_python(outer_frame(look, outermost))) outermost++;
    const Frame *frame = outer_frame(look, outermost);
    const Code *code = code_of(process, place, frame, look->moment_ns);
    char name[TEXT_BYTES] = "";
    if (thread->tid == process->remote.pid)
        snprintf(name, sizeof name, "MainThread");
    else if (code && code->is_bootstrap)
        read_thread_name(place, frame, name);
    if (!name[0]) process_thread_name(process->remote.pid, thread->tid, name);
    if (!stack_stands(place, &thread->copies, outermost + 1)) return; // it may have ended meanwhile: at the next sample
    make_plain(name);
    thread->name = number_of_text(name);
}

static Sample failed(Thread *thread, const Process *process, const Look *look) {
    thread->steps = 0;
    if (!thread->failing_ns && thread->tid) {
        thread->failing_ns = look->moment_ns;
        thread->failing_cpu_ns = cpu_ns(thread, process->remote.pid);
    }
    return SAMPLE_FAILED;
}

Sample thread_sample(Thread *thread, Process *process, Place place, const Look *look) {
    uint32_t stack = EMPTY;
    int read = 0;
    identify(thread, process, look);
    if (look->outcome == LOOK_TORN || !thread->tid || faults_fail(thread->looks++)) return failed(thread, process, look);
    codes_check(&process->codes, place.remote, place.layout, look, look->moment_ns);
    if (!number_stack(thread, process, place, look, &stack, &read)) return failed(thread, process, look);
    // Names that were just read are right if the frames still hold the code objects.
    if (read && !stack_stands(place, &thread->copies, read)) return failed(thread, process, look);
    if (stack == EMPTY) {
        if (thread->span.open) turn_over(thread, process, look->moment_ns);
        thread->span.start_ns = look->moment_ns;
        thread->failing_ns = 0;
        return SAMPLE_NONE;
    }
    if (!thread->name) find_name(thread, process, place, look);
    stand(thread, process, look, stack);
    return SAMPLE_TAKEN;
}
