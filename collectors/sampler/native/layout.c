#include "layout.h"

#include <string.h>

// 3.11 and 3.12 tell nothing of themselves; layout_check.c holds these numbers against their headers.
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

bool layout_from_debug_offsets(const uint64_t words[DEBUG_WORDS], Layout *layout) {
    if (!has_debug_offsets(words) || version_in(words) >> 16 != 0x030d) return false;
    for (int i = 3; i < DEBUG_WORDS; i++)
        if (words[i] > UINT32_MAX) return false;
    *layout = (Layout){
        .runtime_interpreters = (uint32_t)words[5],
        .interpreter_next = (uint32_t)words[8],
        .interpreter_threads = (uint32_t)words[9],
        .gil_locked = (uint32_t)words[17],
        .gil_holder = (uint32_t)words[18],
        .thread_next = (uint32_t)words[21],
        .thread_interpreter = (uint32_t)words[22],
        .thread_frame = (uint32_t)words[23],
        .thread_native_id = (uint32_t)words[25],
        .frame_previous = (uint32_t)words[29],
        .frame_code = (uint32_t)words[30],
        .frame_instruction = (uint32_t)words[31],
        .frame_locals = (uint32_t)words[32],
        .frame_owner = (uint32_t)words[33],
        .code_file = (uint32_t)words[35],
        .code_name = (uint32_t)words[36],
        .code_qualname = (uint32_t)words[37],
        .code_lines = (uint32_t)words[38],
        .code_first_line = (uint32_t)words[39],
        .code_units = (uint32_t)words[43],
        .text_ascii = (uint32_t)words[70],
        .text_compact = (uint32_t)words[70] + 16,
        .thread_calls_left = 44, // this and what follows it does not tell
        .thread_calls_most = 48,
        .frame_stack_top = 64,
        .type_size = 32,
        .type_keys = 880,
        .values = VALUES_INLINE,
        .leaving = { 36, 103, 118, 35 },
    };
    const Layout *l = layout;
    return l->frame_locals <= FRAME_BYTES && l->frame_previous + 8 <= l->frame_locals && l->frame_code + 8 <= l->frame_locals &&
           l->frame_instruction + 8 <= l->frame_locals && l->frame_owner < l->frame_locals && l->frame_stack_top + 4 <= l->frame_locals && l->code_units <= CODE_BYTES &&
           l->code_file + 8 <= l->code_units && l->code_name + 8 <= l->code_units && l->code_qualname + 8 <= l->code_units &&
           l->code_lines + 8 <= l->code_units && l->code_first_line + 4 <= l->code_units;
}
