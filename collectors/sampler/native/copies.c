#include "copies.h"

#include "faults.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 4096,     // never across a page, whatever the size of pages
    GRAIN = 64,       // ranges grow by lines of the processor's cache
    AT_ONCE = 1024,   // ranges in one call, the kernel's limit
    TIDY_EVERY = 32,  // samples, or where the last one needed less than half: what is copied for nothing makes all of it slow
    MOST = 1024,      // blocks of one thread
    LOWEST = BLOCK,   // no address below is mapped
#ifdef FAULTS
    SLOW = true,      // each block by itself, so that it can take its time
#else
    SLOW = false,
#endif
};

// What is left to read in one call.
typedef struct {
    struct iovec to[AT_ONCE], from[AT_ONCE];
    Block *block[AT_ONCE];
    Which which[AT_ONCE];
    int count;
} Batch;

// Its memory cannot be read: it is there no more, or never was, as where a torn stack had something else for an address.
static void forget(Block *block) {
    block->from = BLOCK, block->to = 0;
    block->filled[COPY_A] = block->filled[COPY_B] = false;
}

// The kernel ends a call at the first range that it cannot read; those behind it are asked for anew.
static void batch_read(Batch *batch, const Remote *remote) {
    for (int i = 0; i < batch->count; i++) {
        ssize_t got = remote_gather(remote, batch->to + i, batch->from + i, batch->count - i);
        for (; i < batch->count && (got -= (ssize_t)batch->to[i].iov_len) >= 0; i++) batch->block[i]->filled[batch->which[i]] = true;
        if (i < batch->count) forget(batch->block[i]);
    }
    batch->count = 0;
}

static void batch_add(Batch *batch, const Remote *remote, Block *block, Which which) {
    block->filled[which] = false;
    if (block->to <= block->from) return;
    size_t length = (size_t)(block->to - block->from);
    batch->to[batch->count] = (struct iovec){ block->bytes[which] + block->from, length };
    batch->from[batch->count] = (struct iovec){ (void *)(uintptr_t)(block->at + block->from), length };
    batch->block[batch->count] = block;
    batch->which[batch->count++] = which;
    if (batch->count == AT_ONCE || SLOW) batch_read(batch, remote);
    faults_delay();
}

static Batch batch; // 44 kB: not on the stack

void copies_take_both(Copies *copies, const Remote *remote) {
    for (int i = copies->count - 1; i >= 0; i--) batch_add(&batch, remote, &copies->block[i], COPY_A);
#if defined(__aarch64__)
    // Loads may pass each other there: copy A is complete before copy B begins.
    batch_read(&batch, remote);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
    copies_take_second(copies, remote);
}

void copies_take_second(Copies *copies, const Remote *remote) {
    for (int i = 0; i < copies->count; i++) batch_add(&batch, remote, &copies->block[i], COPY_B);
    if (batch.count) batch_read(&batch, remote);
}

static Block *block_at(Copies *copies, Address at) {
    if (copies->hint < copies->count && copies->block[copies->hint].at == at) return &copies->block[copies->hint];
    for (copies->hint = 0; copies->hint < copies->count; copies->hint++)
        if (copies->block[copies->hint].at == at) return &copies->block[copies->hint];
    if (copies->count == MOST) return NULL;
    copies->block = resize(copies->block, sizeof(Block) * (size_t)(copies->count + 1));
    Block *block = &copies->block[copies->count++];
    *block = (Block){ .at = at, .from = BLOCK, .asked_from = BLOCK };
    for (int which = 0; which < 2; which++) block->bytes[which] = allocate(BLOCK);
    return block;
}

static void widen(uint16_t *from, uint16_t *to, uint16_t low, uint16_t high) {
    if (low < *from) *from = low;
    if (high > *to) *to = high;
}

// Reads on demand what was not expected. The other copy no longer covers the range, then.
static bool fill(Block *block, const Remote *remote, Which which, uint16_t low, uint16_t high) {
    widen(&block->from, &block->to, low, high);
    block->filled[!which] = false;
    block->filled[which] =
        remote_read(remote, block->at + block->from, block->bytes[which] + block->from, (size_t)(block->to - block->from));
    if (block->filled[which]) return true;
    forget(block);
    return false;
}

static bool get_within(Copies *copies, Block *block, const Remote *remote, Which which, size_t offset, void *to, size_t length) {
    uint16_t low = (uint16_t)(offset / GRAIN * GRAIN), high = (uint16_t)((offset + length + GRAIN - 1) / GRAIN * GRAIN);
    bool expected = block->filled[which] && low >= block->from && high <= block->to;
    if (!expected && !fill(block, remote, which, low, high)) return false;
    widen(&block->asked_from, &block->asked_to, low, high);
    if (!block->asked) block->order = copies->asked++;
    block->asked = true;
    memcpy(to, block->bytes[which] + offset, length);
    return true;
}

bool copies_get(Copies *copies, const Remote *remote, Which which, Address at, void *to, size_t length) {
    while (length) {
        size_t offset = at % BLOCK, part = BLOCK - offset < length ? BLOCK - offset : length;
        Block *block = at < LOWEST ? NULL : block_at(copies, at - offset);
        if (!block || !get_within(copies, block, remote, which, offset, to, part)) return false;
        to = (char *)to + part;
        at += part;
        length -= part;
    }
    return true;
}

bool copies_complete(const Copies *copies) {
    for (int i = 0; i < copies->count; i++)
        if (copies->block[i].asked && !copies->block[i].filled[COPY_B]) return false;
    return true;
}

static void block_free(Block *block) {
    free(block->bytes[COPY_A]);
    free(block->bytes[COPY_B]);
}

static bool comes_before(const Block *a, const Block *b) { return a->asked && (!b->asked || a->order < b->order); }

// They are nearly in order already. Those that were not asked for come last, as they stood.
static void sort(Copies *copies) {
    for (int i = 1; i < copies->count; i++) {
        Block block = copies->block[i];
        int at = i;
        for (; at > 0 && comes_before(&block, &copies->block[at - 1]); at--) copies->block[at] = copies->block[at - 1];
        copies->block[at] = block;
    }
}

void copies_settle(Copies *copies) {
    bool tidy = ++copies->age >= TIDY_EVERY || 2 * copies->asked < copies->count;
    int kept = 0;
    sort(copies);
    copies->asked = 0;
    for (int i = 0; i < copies->count; i++) {
        Block block = copies->block[i];
        block.asked = false;
        if (tidy && block.asked_to <= block.asked_from) {
            block_free(&block);
            continue;
        }
        if (tidy) {
            block.from = block.asked_from, block.to = block.asked_to;
            block.asked_from = BLOCK, block.asked_to = 0;
        }
        copies->block[kept++] = block;
    }
    copies->count = kept;
    if (tidy) copies->age = 0;
}

void copies_free(Copies *copies) {
    for (int i = 0; i < copies->count; i++) block_free(&copies->block[i]);
    free(copies->block);
    *copies = (Copies){ 0 };
}
