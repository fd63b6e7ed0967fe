#include "layout.h"

#include <string.h>

enum { MOST_OFFSET = 1 << 24 }; // in any structure

// 3.11 and 3.12 do not describe themselves; layout_check.c holds these numbers against their headers.
static const Layout python_3_11 = {
    .runtime_interpreters = 40,
    .interpreter_next = 0,
    .interpreter_threads = 16,
    .gil_locked = 376,
    .gil_holder = 368,
    .gil_in_runtime = true,
    .thread_next = 8,
    .thread_interpreter = 16,
    .thread_native_id = 160,
    .thread_frame = 56,
    .has_cframe = true,
    .cframe_frame = 8,
    .frame_code = 32,
    .frame_previous = 48,
    .frame_instruction = 56,
    .frame_owner = 69,
    .frame_locals = 72,
    .frame_stack_top = 64,
    .frame_entry = 68,
    .code_file = 112,
    .code_name = 120,
    .code_qualname = 128,
    .code_lines = 136,
    .code_first_line = 72,
    .code_units = 184,
    .text_ascii = 48,
    .text_compact = 72,
    .type_size = 32,
    .type_keys = 872,
    .values = VALUES_BEFORE,
    .leaving = { 83, 83, 86, 75 }, // it has no RETURN_CONST
};
static const Layout python_3_12 = {
    .runtime_interpreters = 40,
    .interpreter_next = 0,
    .interpreter_threads = 72,
    .gil_locked = 1056,
    .gil_holder = 1048,
    .gil_in_runtime = false,
    .thread_next = 8,
    .thread_interpreter = 16,
    .thread_native_id = 144,
    .thread_frame = 56,
    .thread_calls_left = 28,
    .thread_calls_most = 32,
    .has_cframe = true,
    .cframe_frame = 0,
    .frame_code = 0,
    .frame_previous = 8,
    .frame_instruction = 56,
    .frame_owner = 70,
    .frame_locals = 72,
    .frame_stack_top = 64,
    .code_file = 112,
    .code_name = 120,
    .code_qualname = 128,
    .code_lines = 136,
    .code_first_line = 68,
    .code_units = 192,
    .text_ascii = 40,
    .text_compact = 56,
    .type_size = 32,
    .type_keys = 880,
    .values = VALUES_BEFORE_TAGGED,
    .leaving = { 83, 121, 150, 75 },
};

// 3.13 and 3.14 describe most of it themselves, but not this.
static const Layout python_3_13 = {
    .thread_calls_left = 44,
    .thread_calls_most = 48,
    .frame_stack_top = 64,
    .type_size = 32,
    .type_keys = 880,
    .values = VALUES_INLINE,
    .leaving = { 36, 103, 118, 35 },
};
static const Layout python_3_14 = {
    .thread_calls_left = 48,
    .thread_calls_most = 52,
    .type_size = 32,
    .type_keys = 880,
    .values = VALUES_INLINE,
    .leaving = { 35, 35, 120, 34 }, // it has no RETURN_CONST
};

// What they describe: the index of each field among the words of _Py_DebugOffsets, in 3.13 and in 3.14; 0 where there is none.
static const struct {
    size_t field;
    int word[2];
} described[] = {
    { offsetof(Layout, runtime_interpreters), { 5, 5 } },
    { offsetof(Layout, interpreter_next), { 8, 8 } },
    { offsetof(Layout, interpreter_threads), { 9, 9 } },
    { offsetof(Layout, gil_locked), { 17, 18 } },
    { offsetof(Layout, gil_holder), { 18, 19 } },
    { offsetof(Layout, thread_next), { 21, 24 } },
    { offsetof(Layout, thread_interpreter), { 22, 25 } },
    { offsetof(Layout, thread_frame), { 23, 26 } },
    { offsetof(Layout, thread_native_id), { 25, 28 } },
    { offsetof(Layout, frame_previous), { 29, 32 } },
    { offsetof(Layout, frame_code), { 30, 33 } },
    { offsetof(Layout, frame_instruction), { 31, 34 } },
    { offsetof(Layout, frame_locals), { 32, 35 } },
    { offsetof(Layout, frame_owner), { 33, 36 } },
    { offsetof(Layout, frame_stack_pointer), { 0, 37 } },
    { offsetof(Layout, code_file), { 35, 40 } },
    { offsetof(Layout, code_name), { 36, 41 } },
    { offsetof(Layout, code_qualname), { 37, 42 } },
    { offsetof(Layout, code_lines), { 38, 43 } },
    { offsetof(Layout, code_first_line), { 39, 44 } },
    { offsetof(Layout, code_units), { 43, 48 } },
    { offsetof(Layout, text_ascii), { 70, 80 } },
};

const Layout *layout_of(uint32_t version) {
    switch (version >> 16) {
    case 0x030b: return &python_3_11;
    case 0x030c: return &python_3_12;
    default: return NULL;
    }
}

bool has_debug_offsets(const uint64_t words[DEBUG_WORDS]) { return !memcmp(words, "xdebugpy", 8); }
uint32_t version_in(const uint64_t words[DEBUG_WORDS]) { return (uint32_t)words[1]; }
bool is_free_threaded(const uint64_t words[DEBUG_WORDS]) { return words[2] != 0; }

static bool lies_before(uint32_t at, uint32_t length, uint32_t end) { return at + length <= end; }

static bool is_possible(const Layout *l) {
    return l->frame_locals <= FRAME_BYTES && lies_before(l->frame_previous, 8, l->frame_locals) &&
           lies_before(l->frame_code, 8, l->frame_locals) && lies_before(l->frame_instruction, 8, l->frame_locals) &&
           lies_before(l->frame_owner, 1, l->frame_locals) && lies_before(l->frame_stack_top, 4, l->frame_locals) &&
           lies_before(l->frame_stack_pointer, 8, l->frame_locals) && l->code_units <= CODE_BYTES &&
           lies_before(l->code_file, 8, l->code_units) && lies_before(l->code_name, 8, l->code_units) &&
           lies_before(l->code_qualname, 8, l->code_units) && lies_before(l->code_lines, 8, l->code_units) &&
           lies_before(l->code_first_line, 4, l->code_units);
}

bool layout_from_debug_offsets(const uint64_t words[DEBUG_WORDS], Layout *layout) {
    enum { CANDIDATE = 0xc0 }; // before it, structures still change
    uint32_t version = version_in(words), minor = (version >> 16) - 0x030d;
    if (!has_debug_offsets(words) || minor > 1 || (version & 0xff) < CANDIDATE) return false;
    *layout = minor ? python_3_14 : python_3_13;
    for (size_t i = 0; i < sizeof described / sizeof *described; i++) {
        int word = described[i].word[minor];
        if (!word) continue;
        if (words[word] > MOST_OFFSET) return false;
        uint32_t offset = (uint32_t)words[word];
        memcpy((char *)layout + described[i].field, &offset, sizeof offset);
    }
    layout->text_compact = layout->text_ascii + 16;
    return is_possible(layout);
}
