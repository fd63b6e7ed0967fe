// Where CPython's structures keep what a walk needs, one table for each minor version.
#pragma once

#include "base.h"

// Where an object keeps the values of its attributes, in the order of its type's keys.
typedef enum {
    VALUES_BEFORE,        // 3.11: behind a pointer four words before the object
    VALUES_BEFORE_TAGGED, // 3.12: behind a pointer three words before it, less one to distinguish it from a dict's
    VALUES_INLINE,        // 3.13 on: after the object itself
} Values;

enum { LEAVING = 4 };

typedef struct {
    uint32_t runtime_interpreters;                                                  // in _PyRuntime
    uint32_t interpreter_next, interpreter_threads;                                 // in PyInterpreterState
    uint32_t gil_locked, gil_holder;                                                // in the runtime or the interpreter,
    bool gil_in_runtime;                                                            // ... as this says
    uint32_t thread_next, thread_interpreter, thread_native_id, thread_frame;       // in PyThreadState
    uint32_t thread_calls_left, thread_calls_most;                                  // ints in it: how deep the stack may grow,
                                                                                    // ... and in all; both 0 where C calls count, too
    bool has_cframe;                                                                // thread_frame leads to a _PyCFrame,
    uint32_t cframe_frame;                                                          // ... and that to the frame
    uint32_t frame_code, frame_previous, frame_instruction, frame_owner, frame_locals; // in _PyInterpreterFrame
    uint32_t frame_stack_top; // in it: an int, which is -1 while the frame itself runs and not one that it called;
    uint32_t frame_stack_pointer; // from 3.14 on a pointer instead, which says the end of what it held when it called last
    uint32_t frame_entry;     // in it: whether C code called it; 0 where a frame of its own stands for that code
    uint32_t code_file, code_name, code_qualname, code_lines, code_first_line, code_units; // in PyCodeObject
    uint32_t text_ascii, text_compact;                                              // the characters of a str
    uint32_t type_size, type_keys;                                                  // in PyTypeObject and PyHeapTypeObject
    Values values;
    uint8_t leaving[LEAVING]; // instructions with which a frame ends or pauses: RETURN_VALUE, RETURN_CONST, YIELD_VALUE, RETURN_GENERATOR
} Layout;

enum {
    FRAME_BYTES = 128,  // no more of a frame or a code object is read than this, whatever a target says of itself
    CODE_BYTES = 256,
    OBJECT_TYPE = 8,    // ob_type, ob_size, the hash and the state of a str, the characters of a bytes: as in all versions
    OBJECT_SIZE = 16,
    TEXT_HASH = 24,
    TEXT_STATE = 32,
    BYTES_START = 32,
    KEYS_INDEX_LOG = 9, // in PyDictKeysObject: the size of its index as a power of two, the number of its keys, its index
    KEYS_COUNT = 24,
    KEYS_START = 32,
    KEY_BYTES = 16,     // a key and a place for its value
    INLINE_VALUES_START = 8,
    DEBUG_WORDS = 81,   // of _Py_DebugOffsets, from its cookie to the last one that is used
};

// For `version` as in Py_Version (0x030b07f0 is 3.11.7); NULL where it is not known.
const Layout *layout_of(uint32_t version);

// What a runtime of 3.13 or 3.14 describes at its beginning; false where the description cannot be true.
bool layout_from_debug_offsets(const uint64_t words[DEBUG_WORDS], Layout *layout);
bool has_debug_offsets(const uint64_t words[DEBUG_WORDS]);
uint32_t version_in(const uint64_t words[DEBUG_WORDS]);
bool is_free_threaded(const uint64_t words[DEBUG_WORDS]);
