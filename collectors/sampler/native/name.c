#include "name.h"

#include <string.h>

enum { MOST_KEYS = 64, INLINE_VALID = 3 };

// The place of the attribute `_name` among those of a type, -1 where it has none.
static int place_of_name(Place place, Address type) {
    unsigned char head[KEYS_START];
    char text[TEXT_BYTES];
    Address keys = remote_word(place.remote, type + place.layout->type_keys);
    if (!remote_read(place.remote, keys, head, sizeof head) || head[KEYS_INDEX_LOG] > 16) return -1;
    Address key = keys + KEYS_START + (1ull << head[KEYS_INDEX_LOG]);
    uint64_t count = word_at(head, KEYS_COUNT);
    for (int i = 0; i < MOST_KEYS && (uint64_t)i < count; i++, key += KEY_BYTES)
        if (read_text(place.remote, place.layout, remote_word(place.remote, key), text) && !strcmp(text, "_name")) return i;
    return -1;
}

// Where the values of an object's attributes begin, 0 where they moved into a dict of their own.
static Address values_of(Place place, Address object, Address type) {
    enum { WORD = sizeof(Address) };
    Address values = 0;
    unsigned char head[INLINE_VALUES_START];
    switch (place.layout->values) {
    case VALUES_BEFORE: return remote_word(place.remote, object - 4 * WORD);
    case VALUES_BEFORE_TAGGED:
        values = remote_word(place.remote, object - 3 * WORD);
        return values & 1 ? values + 1 : 0;
    case VALUES_INLINE:
        values = object + (uint32_t)remote_word(place.remote, type + place.layout->type_size);
        if (!remote_read(place.remote, values, head, sizeof head) || !head[INLINE_VALID]) return 0;
        return values + INLINE_VALUES_START;
    }
    return 0;
}

void read_thread_name(Place place, const Frame *bootstrap, char name[TEXT_BYTES]) {
    // The first local is `self`; the lowest bits may be a tag.
    Address object = remote_word(place.remote, bootstrap->at + place.layout->frame_locals) & ~(Address)3;
    Address type = object ? remote_word(place.remote, object + OBJECT_TYPE) : 0;
    Address values = type ? values_of(place, object, type) : 0;
    int at = values ? place_of_name(place, type) : -1;
    if (at < 0 || !read_text(place.remote, place.layout, remote_word(place.remote, values + 8 * (Address)at), name)) name[0] = 0;
}
