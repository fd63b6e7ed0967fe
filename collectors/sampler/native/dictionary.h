// Short numbers for what the stream names repeatedly: texts, frames, stacks. Each is sent to the reader once.
#pragma once

#include "base.h"

enum { EMPTY = 0 }; // the stack without a frame

uint32_t number_of_text(const char *text);                                 // UTF-8
uint32_t number_of_frame(uint32_t file, uint32_t function, uint32_t line);
uint32_t number_of_stack(uint32_t caller, uint32_t frame);                 // `frame` called by a stack

bool dictionary_is_full(void); // it may grow on, but should be forgotten soon
void dictionary_forget(void);
