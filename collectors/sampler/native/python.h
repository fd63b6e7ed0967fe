// The CPython inside a process: where its runtime lies, and by which layout.
#pragma once

#include "layout.h"
#include "remote.h"

typedef enum {
    PYTHON_FOUND,
    PYTHON_NONE,         // no runtime among what is mapped: perhaps not yet
    PYTHON_UNKNOWN,      // a version without a layout
    PYTHON_FREE_THREADED
} Found;

typedef struct {
    Address runtime;   // _PyRuntime
    Address code_type; // 0 where the symbol is missing
    uint32_t version;
    Layout layout;
} Python;

Found python_find(Python *python, const Remote *remote);

enum { VERSION_TEXT = 24 };
void version_text(uint32_t version, char text[VERSION_TEXT]); // 0x030b07f0 -> "3.11.7", 0x030e00a7 -> "3.14.0a7"
