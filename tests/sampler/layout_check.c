// Holds layout.c against the headers of one CPython; a program of its own, which says what differs:
//   cc -I. -I$INCLUDE -I$INCLUDE/internal -o layout_check tests/sampler/layout_check.c layout.c base.c && ./layout_check
#define Py_BUILD_CORE 1
#include <Python.h>

#include <internal/pycore_dict.h>
#include <internal/pycore_frame.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_pystate.h>
#include <internal/pycore_runtime.h>
#include <opcode.h>

#include "layout.h"

#include <stdio.h>

static int wrong;

static void hold(const char *name, size_t ours, size_t theirs) {
    if (ours == theirs) return;
    printf(".%s = %zu, // not %zu\n", name, theirs, ours);
    wrong = 1;
}

#if PY_VERSION_HEX >= 0x030e0000
#define TOLD_OF_STACK .interpreter_frame.stackpointer = offsetof(_PyInterpreterFrame, stackpointer),
#else
#define TOLD_OF_STACK
#endif

#if PY_VERSION_HEX >= 0x030d0000
// What a runtime tells of itself: each word at its place in the structure holds the offset that it is named after.
static Layout layout_here(void) {
    uint64_t words[DEBUG_WORDS] = { 0 };
    _Py_DebugOffsets told = {
        .cookie = "xdebugpy",
        .version = PY_VERSION_HEX,
        .runtime_state.interpreters_head = offsetof(_PyRuntimeState, interpreters.head),
        .interpreter_state.next = offsetof(PyInterpreterState, next),
        .interpreter_state.threads_head = offsetof(PyInterpreterState, threads.head),
        .interpreter_state.gil_runtime_state_locked = offsetof(PyInterpreterState, _gil.locked),
        .interpreter_state.gil_runtime_state_holder = offsetof(PyInterpreterState, _gil.last_holder),
        .thread_state.next = offsetof(PyThreadState, next),
        .thread_state.interp = offsetof(PyThreadState, interp),
        .thread_state.current_frame = offsetof(PyThreadState, current_frame),
        .thread_state.native_thread_id = offsetof(PyThreadState, native_thread_id),
        .interpreter_frame.previous = offsetof(_PyInterpreterFrame, previous),
        .interpreter_frame.executable = offsetof(_PyInterpreterFrame, f_executable),
        .interpreter_frame.instr_ptr = offsetof(_PyInterpreterFrame, instr_ptr),
        .interpreter_frame.localsplus = offsetof(_PyInterpreterFrame, localsplus),
        .interpreter_frame.owner = offsetof(_PyInterpreterFrame, owner),
        TOLD_OF_STACK
        .code_object.filename = offsetof(PyCodeObject, co_filename),
        .code_object.name = offsetof(PyCodeObject, co_name),
        .code_object.qualname = offsetof(PyCodeObject, co_qualname),
        .code_object.linetable = offsetof(PyCodeObject, co_linetable),
        .code_object.firstlineno = offsetof(PyCodeObject, co_firstlineno),
        .code_object.co_code_adaptive = offsetof(PyCodeObject, co_code_adaptive),
        .unicode_object.asciiobject_size = sizeof(PyASCIIObject),
    };
    memcpy(words, &told, sizeof words);
    Layout layout = { 0 };
    if (!layout_from_debug_offsets(words, &layout)) wrong = !!printf("its debug offsets are not understood\n");
    return layout;
}
#define CODE f_executable
#define INSTRUCTION instr_ptr
#define FRAME current_frame
#else
static Layout layout_here(void) {
    const Layout *layout = layout_of(PY_VERSION_HEX);
    if (!layout) wrong = !!printf("no layout for this version\n");
    return layout ? *layout : (Layout){ 0 };
}
#define CODE f_code
#define INSTRUCTION prev_instr
#define FRAME cframe
#endif

#define HOLD(field, type, member) hold(#field, layout.field, offsetof(type, member))

int main(void) {
    Layout layout = layout_here();
    HOLD(runtime_interpreters, _PyRuntimeState, interpreters.head);
    HOLD(interpreter_next, PyInterpreterState, next);
    HOLD(interpreter_threads, PyInterpreterState, threads.head);
#if PY_VERSION_HEX >= 0x030c0000
    HOLD(gil_locked, PyInterpreterState, _gil.locked);
    HOLD(gil_holder, PyInterpreterState, _gil.last_holder);
    hold("gil_in_runtime", layout.gil_in_runtime, false);
#else
    HOLD(gil_locked, _PyRuntimeState, ceval.gil.locked);
    HOLD(gil_holder, _PyRuntimeState, ceval.gil.last_holder);
    hold("gil_in_runtime", layout.gil_in_runtime, true);
    HOLD(frame_entry, _PyInterpreterFrame, is_entry);
#endif
    HOLD(thread_next, PyThreadState, next);
    HOLD(thread_interpreter, PyThreadState, interp);
    HOLD(thread_native_id, PyThreadState, native_thread_id);
    HOLD(thread_frame, PyThreadState, FRAME);
#if PY_VERSION_HEX >= 0x030c0000
    HOLD(thread_calls_left, PyThreadState, py_recursion_remaining);
    HOLD(thread_calls_most, PyThreadState, py_recursion_limit);
#endif
#if PY_VERSION_HEX < 0x030d0000
    HOLD(cframe_frame, _PyCFrame, current_frame);
    hold("has_cframe", layout.has_cframe, true);
#endif
    HOLD(frame_code, _PyInterpreterFrame, CODE);
    HOLD(frame_previous, _PyInterpreterFrame, previous);
    HOLD(frame_instruction, _PyInterpreterFrame, INSTRUCTION);
    HOLD(frame_owner, _PyInterpreterFrame, owner);
#if PY_VERSION_HEX >= 0x030e0000
    HOLD(frame_stack_pointer, _PyInterpreterFrame, stackpointer);
    hold("frame_stack_top", layout.frame_stack_top, 0);
#else
    HOLD(frame_stack_top, _PyInterpreterFrame, stacktop);
    hold("frame_stack_pointer", layout.frame_stack_pointer, 0);
#endif
    HOLD(frame_locals, _PyInterpreterFrame, localsplus);
    HOLD(code_file, PyCodeObject, co_filename);
    HOLD(code_name, PyCodeObject, co_name);
    HOLD(code_qualname, PyCodeObject, co_qualname);
    HOLD(code_lines, PyCodeObject, co_linetable);
    HOLD(code_first_line, PyCodeObject, co_firstlineno);
    HOLD(code_units, PyCodeObject, co_code_adaptive);
    HOLD(type_size, PyTypeObject, tp_basicsize);
    HOLD(type_keys, PyHeapTypeObject, ht_cached_keys);
    hold("text_ascii", layout.text_ascii, sizeof(PyASCIIObject));
    hold("text_compact", layout.text_compact, sizeof(PyCompactUnicodeObject));
    hold("OBJECT_TYPE", OBJECT_TYPE, offsetof(PyObject, ob_type));
    hold("OBJECT_SIZE", OBJECT_SIZE, offsetof(PyVarObject, ob_size));
    hold("OBJECT_SIZE of a str", OBJECT_SIZE, offsetof(PyASCIIObject, length));
    hold("TEXT_HASH", TEXT_HASH, offsetof(PyASCIIObject, hash));
    hold("TEXT_STATE", TEXT_STATE, offsetof(PyASCIIObject, state));
    hold("BYTES_START", BYTES_START, offsetof(PyBytesObject, ob_sval));
    hold("KEYS_INDEX_LOG", KEYS_INDEX_LOG, offsetof(PyDictKeysObject, dk_log2_index_bytes));
    hold("KEYS_COUNT", KEYS_COUNT, offsetof(PyDictKeysObject, dk_nentries));
    hold("KEYS_START", KEYS_START, offsetof(PyDictKeysObject, dk_indices));
    hold("KEY_BYTES", KEY_BYTES, sizeof(PyDictUnicodeEntry));
    hold("values in their structure", layout.values == VALUES_INLINE ? INLINE_VALUES_START : 0, offsetof(PyDictValues, values));
    hold("RETURN_VALUE", layout.leaving[0], RETURN_VALUE);
#ifdef RETURN_CONST
    hold("RETURN_CONST", layout.leaving[1], RETURN_CONST);
#endif
    hold("YIELD_VALUE", layout.leaving[2], YIELD_VALUE);
    hold("RETURN_GENERATOR", layout.leaving[3], RETURN_GENERATOR);
    if (!wrong) printf("%s agrees\n", PY_VERSION);
    return wrong;
}
