#include "dictionary.h"

#include "stream.h"

#include <stdlib.h>
#include <string.h>

#ifndef FULL
#define FULL (1 << 16) // numbers; the tests make do with less
#endif

enum { FIRST_SIZE = 1024 };

typedef struct {
    uint64_t a, b;
    uint32_t number; // 0: free
} Slot;

typedef struct {
    Slot *slot;
    uint32_t size, used; // `size` is a power of two
} Map;

static Map texts, frames, stacks;

static Slot *slot_of(const Map *map, uint64_t a, uint64_t b) {
    uint32_t i = (uint32_t)mix(a ^ mix(b)) & (map->size - 1);
    while (map->slot[i].number && (map->slot[i].a != a || map->slot[i].b != b)) i = (i + 1) & (map->size - 1);
    return &map->slot[i];
}

static void widen(Map *map) {
    Map wider = { .size = map->size ? map->size * 2 : FIRST_SIZE, .used = map->used };
    wider.slot = allocate(sizeof(Slot) * wider.size);
    for (uint32_t i = 0; i < map->size; i++)
        if (map->slot[i].number) *slot_of(&wider, map->slot[i].a, map->slot[i].b) = map->slot[i];
    free(map->slot);
    *map = wider;
}

static uint32_t number_of(Map *map, uint64_t a, uint64_t b, bool *fresh) {
    if (map->used >= map->size / 4 * 3) widen(map);
    Slot *slot = slot_of(map, a, b);
    *fresh = !slot->number;
    if (*fresh) *slot = (Slot){ a, b, ++map->used };
    return slot->number;
}

uint32_t number_of_text(const char *text) {
    uint64_t a = 0xcbf29ce484222325u, b = 88172645463325252u; // two hashes stand for the text
    for (const char *at = text; *at; at++) {
        a = (a ^ (unsigned char)*at) * 0x100000001b3u;
        b = mix(b + (unsigned char)*at);
    }
    bool fresh;
    uint32_t number = number_of(&texts, a, b, &fresh);
    if (fresh) stream_text(number, text);
    return number;
}

uint32_t number_of_frame(uint32_t file, uint32_t function, uint32_t line) {
    bool fresh;
    uint32_t number = number_of(&frames, (uint64_t)file << 32 | function, line, &fresh);
    if (fresh) stream_line("[\"f\",%u,%u,%u,%u]\n", number, file, function, line);
    return number;
}

uint32_t number_of_stack(uint32_t caller, uint32_t frame) {
    bool fresh;
    uint32_t number = number_of(&stacks, caller, frame, &fresh);
    if (fresh) stream_line("[\"k\",%u,%u,%u]\n", number, caller, frame);
    return number;
}

bool dictionary_is_full(void) { return texts.used > FULL || frames.used > FULL || stacks.used > FULL; }

static void forget(Map *map) {
    free(map->slot);
    *map = (Map){ 0 };
}

void dictionary_forget(void) {
    forget(&texts);
    forget(&frames);
    forget(&stacks);
}
