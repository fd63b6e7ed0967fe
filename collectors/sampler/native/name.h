// What a thread is called in its own program.
#pragma once

#include "stack.h"
#include "text.h"

// The name that `threading` gave to a thread, from the object whose method is the outermost frame of its stack,
// `Thread._bootstrap`; "" where it has none that can be read. About 20 us, once for each thread.
void read_thread_name(Place place, const Frame *bootstrap, char name[TEXT_BYTES]);
