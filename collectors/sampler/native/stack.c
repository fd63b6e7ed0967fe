#include "stack.h"

#include <string.h>

enum {
    DEEPEST = 4096, // frames
    TRIES = 13,
    MOST_HELD = 64,           // values of a caller that are compared
    QUICK_BLOCKS = 10,        // both copies are quick that take no longer than so many blocks more would,
    QUICK_BLOCK_NS = 1000,    // at so much a block, or twice what it has been lately,
    SLOWEST_BLOCK_NS = 5000,  // but no more than this
    CALMS_BY = 64,            // the part by which "lately" rises where memory became slower
    OWNED_BY_GENERATOR = 1,
    OWNED_BY_C_STACK = 3,
    OWNED_BY_INTERPRETER = 4, // 3.14 has these two the other way round
    UNKNOWN = -1,
};

typedef struct {
    Frame frame[DEEPEST]; // innermost first
    int count;
    bool sound;     // everything could be read
    int32_t calls;  // how many Python frames the thread itself counts, -1 where it does not
} Walk;

bool is_python(const Frame *frame) { return frame->owner != OWNED_BY_C_STACK && frame->owner != OWNED_BY_INTERPRETER; }

static Walk first, second; // of copy A and of copy B

static bool get_word(Place place, Copies *copies, Which which, Address at, uint64_t *to) {
    return copies_get(copies, place.remote, which, at, to, sizeof *to);
}

// Asked for first: its two copies are closest together.
static bool find_innermost(Place place, Copies *copies, Which which, Address *at) {
    const Layout *layout = place.layout;
    return get_word(place, copies, which, place.thread + layout->thread_frame, at) &&
           (!layout->has_cframe || (*at && get_word(place, copies, which, *at + layout->cframe_frame, at)));
}

static int32_t count_calls(Place place, Copies *copies, Which which) {
    const Layout *layout = place.layout;
    int32_t left, most;
    bool counted = layout->thread_calls_most &&
                copies_get(copies, place.remote, which, place.thread + layout->thread_calls_left, &left, sizeof left) &&
                copies_get(copies, place.remote, which, place.thread + layout->thread_calls_most, &most, sizeof most);
    return counted ? most - left : -1;
}

// How many values a frame holds, its variables and those below the call; -1 where it has called none.
static int64_t count_held(const Layout *layout, const unsigned char *bytes, const Frame *frame, bool innermost) {
    if (!layout->frame_stack_pointer) return (int32_t)word_at(bytes, layout->frame_stack_top);
    int64_t held = (int64_t)(word_at(bytes, layout->frame_stack_pointer) - frame->at - layout->frame_locals) / 8;
    return innermost || held < 0 ? -1 : held;
}

static bool hash_held(Place place, Copies *copies, Which which, Frame *frame, int64_t count) {
    uint64_t held[MOST_HELD];
    if (count > MOST_HELD) count = MOST_HELD;
    if (!copies_get(copies, place.remote, which, frame->at + place.layout->frame_locals, held, (size_t)count * sizeof *held)) return false;
    for (int i = 0; i < count; i++) frame->held = mix(frame->held ^ held[i]);
    return true;
}

static void walk(Place place, Copies *copies, Which which, Walk *walk) {
    const Layout *layout = place.layout;
    unsigned char bytes[FRAME_BYTES];
    Address at = 0;
    walk->count = 0;
    walk->sound = find_innermost(place, copies, which, &at);
    walk->calls = count_calls(place, copies, which);
    while (walk->sound && at && walk->count < DEEPEST) {
        walk->sound = at % 8 == 0 && copies_get(copies, place.remote, which, at, bytes, layout->frame_locals);
        if (!walk->sound) return;
        Frame *frame = &walk->frame[walk->count++];
        *frame = (Frame){ .at = at,
                          .code = word_at(bytes, layout->frame_code) & ~(Address)3, // the lowest bits may be a tag
                          .previous = word_at(bytes, layout->frame_previous),
                          .instruction = word_at(bytes, layout->frame_instruction),
                          .owner = bytes[layout->frame_owner],
                          .entry = layout->frame_entry && bytes[layout->frame_entry] };
        int64_t held = count_held(layout, bytes, frame, walk->count == 1);
        frame->waits = layout->frame_stack_pointer ? UNKNOWN : held >= 0;
        if (held >= 0) walk->sound = hash_held(place, copies, which, frame, held);
        at = frame->previous;
    }
}

// Whether a caller waits for a frame exactly when it has called one, and not C code that called one: else the callee is left over
// from an earlier call. Not so under a trace function, whose own frames are therefore not seen.
static bool may_have_called(const Frame *caller, const Frame *callee) {
    return !is_python(caller) || caller->waits == UNKNOWN || caller->waits == (is_python(callee) && !callee->entry);
}

// How many frames the two walks share, counted from the outermost. That the frames lie at the same addresses is not enough:
// all callees of one depth do. A caller must also stand at the same instruction and hold the same, or it is not known whom it calls.
static int agreed(const Walk *a, const Walk *b) {
    int shared = 0;
    while (shared < a->count && shared < b->count) {
        const Frame *x = &a->frame[a->count - 1 - shared], *y = &b->frame[b->count - 1 - shared];
        if (x->at != y->at || x->code != y->code || x->previous != y->previous) break;
        if (shared && !may_have_called(x + 1, x)) break;
        shared++;
        bool innermost = shared == a->count && shared == b->count;
        if ((x->instruction != y->instruction || x->held != y->held) && !innermost) break;
    }
    return shared;
}

// Whether both copies were taken without a pause, in which a loop may have gone round. On a machine whose memory is slow to read,
// all copies take longer: what counts there is how long they take without a pause, the least of the last hundred or so.
static bool is_quick(Copies *copies, uint64_t took_ns) {
    uint64_t blocks = QUICK_BLOCKS + (uint64_t)copies->count, each_ns = took_ns / blocks;
    if (each_ns < copies->usual_ns)
        copies->usual_ns = each_ns;
    else if (copies->usual_ns < SLOWEST_BLOCK_NS / 2)
        copies->usual_ns += copies->usual_ns / CALMS_BY + 1;
    uint64_t most_ns = 2 * copies->usual_ns < QUICK_BLOCK_NS ? QUICK_BLOCK_NS : 2 * copies->usual_ns;
    return each_ns < most_ns;
}

// One double collect; how many frames agree.
static int collect(Place place, Copies *copies, uint64_t *moment_ns, bool *quick) {
    *moment_ns = clock_ns();
    copies_take_both(copies, place.remote);
    *quick = is_quick(copies, clock_ns() - *moment_ns);
    walk(place, copies, COPY_A, &first);
    if (!first.sound || !copies_complete(copies)) { // B comes after all of A
        copies_take_second(copies, place.remote);
        *quick = false;
    }
    walk(place, copies, COPY_B, &second);
    return first.sound && second.sound ? agreed(&first, &second) : 0;
}

// Whether there are as many frames as the thread counts. Where an old frame was taken for a new one, its callers are others.
static bool calls_match(const Walk *walk) {
    int count = 0;
    for (int i = 0; i < walk->count; i++) count += is_python(&walk->frame[i]);
    return walk->calls < 0 || walk->calls == count || walk->count == DEEPEST;
}

static bool all_agree(int shared) {
    return first.sound && second.sound && shared == first.count && shared == second.count && calls_match(&first);
}

// What else is sent about the thread, from copy B. False: it is no thread of this interpreter any more.
static bool describe(Place place, Copies *copies, Look *look) {
    const Layout *layout = place.layout;
    uint64_t native_id = 0, holder = 0;
    uint32_t locked = 0;
    Address interpreter = 0;
    bool known = get_word(place, copies, COPY_B, place.thread + layout->thread_next, &look->next) &&
                 get_word(place, copies, COPY_B, place.thread + layout->thread_interpreter, &interpreter) &&
                 get_word(place, copies, COPY_B, place.thread + layout->thread_native_id, &native_id);
    look->gil = copies_get(copies, place.remote, COPY_B, place.gil + layout->gil_locked, &locked, sizeof locked) && locked == 1 &&
                get_word(place, copies, COPY_B, place.gil + layout->gil_holder, &holder) && holder == place.thread;
    look->native_id = (uint32_t)native_id;
    return known && interpreter == place.interpreter;
}

// Whether the innermost frame may be one that was left already, or is only about to be entered, while its place is another one's.
static bool at_an_end(Place place, Copies *copies) {
    const Frame *frame = &first.frame[0];
    uint8_t opcode;
    if (!first.count || !is_python(frame) || frame->instruction == copies->inside) return false;
    if (frame->instruction <= frame->code + place.layout->code_units) return true;
    if (!remote_read(place.remote, frame->instruction, &opcode, sizeof opcode)) return true;
    if (memchr(place.layout->leaving, opcode, LEAVING)) return true;
    copies->inside = frame->instruction;
    return false;
}

// A number that stands for the stack of the first walk: who called whom, from where, holding what.
static uint64_t mark_of_stack(void) {
    uint64_t mark = (uint64_t)first.count;
    for (int i = 0; i < first.count; i++) {
        const Frame *frame = &first.frame[i];
        mark = mix(mark ^ frame->at) ^ frame->code;
        if (i) mark = mix(mark ^ frame->instruction) ^ frame->held;
    }
    return mark;
}

static bool has_generator(void) {
    for (int i = 0; i < first.count; i++)
        if (first.frame[i].owner == OWNED_BY_GENERATOR) return true;
    return false;
}

// Generators and coroutines have their frames apart from the others, so that their copies are further apart in time.
static bool is_doubtful(Place place, Copies *copies) { return has_generator() || at_an_end(place, copies); }

// Whether a stack was found before, at this look or the last one.
static bool is_confirmed(Copies *copies, uint64_t marks[TRIES], int try) {
    marks[try] = mark_of_stack();
    for (int i = 0; i < try; i++)
        if (marks[i] == marks[try]) copies->stood = marks[try];
    return copies->stood == marks[try];
}

// The outer part that agreed in one of the tries, the longest.
static struct {
    Frame frame[DEEPEST];
    int count;
    uint64_t moment_ns;
} best;

static void keep_if_better(const Look *look) {
    if (look->count <= best.count) return;
    best.count = look->count;
    best.moment_ns = look->moment_ns;
    memcpy(best.frame, first.frame + first.count - look->count, (size_t)look->count * sizeof *best.frame);
}

// Tries until a whole stack is found, and else is content with its outer part. On a slow machine the last try need not be quick.
static bool settle(Place place, Copies *copies, Look *look) {
    bool settled = false, quick;
    uint64_t marks[TRIES] = { 0 };
    best.count = 0;
    for (int try = 0; try < TRIES && !settled; try++) {
        look->count = collect(place, copies, &look->moment_ns, &quick);
        quick = quick || try == TRIES - 1;
        settled = quick && all_agree(look->count) && (!is_doubtful(place, copies) || is_confirmed(copies, marks, try));
        if (quick && !settled) keep_if_better(look);
    }
    if (!settled && best.count > look->count) {
        memcpy(first.frame, best.frame, (size_t)best.count * sizeof *best.frame);
        first.count = look->count = best.count;
        look->moment_ns = best.moment_ns;
    }
    // From here on only the frames that agree are frames of this look.
    look->frame = first.frame + first.count - look->count;
    return settled;
}

Look stack_look(Place place, Copies *copies) {
    Look look = { .frame = first.frame };
    bool settled = settle(place, copies, &look);
    if (!describe(place, copies, &look))
        look.outcome = LOOK_OVER;
    else if (look.count)
        look.outcome = LOOK_STACK;
    else
        look.outcome = settled ? LOOK_IDLE : LOOK_TORN;
    look.whole = settled && first.count < DEEPEST;
    copies_settle(copies);
    return look;
}

bool stack_stands(Place place, Copies *copies, int count) {
    copies_take_second(copies, place.remote);
    walk(place, copies, COPY_B, &second);
    return second.sound && agreed(&first, &second) >= count;
}

const Frame *outer_frame(const Look *look, int i) { return &look->frame[look->count - 1 - i]; }
