// Text of another process.
#pragma once

#include "layout.h"
#include "remote.h"

enum { TEXT_BYTES = 2048 };

// A str as UTF-8, cut to what has room; false where there is none.
bool read_text(const Remote *remote, const Layout *layout, Address at, char to[TEXT_BYTES]);

// Bytes of the character that a text, ended by 0, begins with; 0 where they are no UTF-8.
size_t utf8_length(const char *text);
