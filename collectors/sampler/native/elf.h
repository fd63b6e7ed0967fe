// The symbols of an executable or a shared library that say where CPython keeps its state.
#pragma once

#include "base.h"

typedef struct {
    Address runtime;   // _PyRuntime; 0 where the file holds no CPython
    Address version;   // Py_Version
    Address code_type; // PyCode_Type
    Address first;     // page of the first byte that is loaded
    bool moves;        // is loaded anywhere: addresses count from `first`
} Symbols;

// Of the file at `path`; all 0 where it is no ELF file or names none of them. 0.2 to 5 ms.
Symbols elf_symbols(const char *path);
