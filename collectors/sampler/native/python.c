#include "python.h"

#include "elf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LONGEST_PATH = 4096, MOST_KNOWN = 32 };

typedef struct {
    Address start, offset;
    char path[LONGEST_PATH];
} Mapping;

// Files whose symbols were read: hundreds of processes share a few.
static struct {
    dev_t device;
    ino_t inode;
    off_t size;
    int64_t changed_s;
    Symbols symbols;
} known[MOST_KNOWN];
static int known_count;

static Symbols symbols_of(const char *path) {
    struct stat file;
    if (stat(path, &file) < 0) return (Symbols){ 0 };
    int i = 0;
    while (i < known_count && (known[i].device != file.st_dev || known[i].inode != file.st_ino || known[i].size != file.st_size ||
                               known[i].changed_s != file.st_ctim.tv_sec))
        i++;
    if (i < known_count) return known[i].symbols;
    Symbols symbols = elf_symbols(path);
    int place = known_count < MOST_KNOWN ? known_count++ : (int)(mix((uint64_t)file.st_ino) % MOST_KNOWN);
    known[place].device = file.st_dev;
    known[place].inode = file.st_ino;
    known[place].size = file.st_size;
    known[place].changed_s = file.st_ctim.tv_sec;
    known[place].symbols = symbols;
    return symbols;
}

// One line of /proc/<pid>/maps: `7f00-7f80 r--p 00000000 fe:00 123   /usr/lib/libpython3.11.so.1.0`
static bool parse_mapping(const char *line, Mapping *mapping) {
    mapping->path[0] = 0;
    return sscanf(line, "%" SCNx64 "-%*x %*s %" SCNx64 " %*s %*u %4095[^\n]", &mapping->start, &mapping->offset, mapping->path) == 3;
}

// The path by which this process reaches the file of a mapping, in the other's own mount namespace; false: not worth a look.
static bool reach(const Mapping *mapping, const char *executable, int pid, char path[LONGEST_PATH]) {
    const char *name = strrchr(mapping->path, '/');
    if (mapping->offset || !name) return false;
    if (!strcmp(mapping->path, executable)) return snprintf(path, LONGEST_PATH, "/proc/%d/exe", pid) > 0; // also when deleted
    return !strncmp(name, "/libpython", 10) && snprintf(path, LONGEST_PATH, "/proc/%d/root%.4000s", pid, mapping->path) > 0;
}

static Found identify(Python *python, const Remote *remote, const Symbols *symbols, Address bias) {
    uint64_t words[DEBUG_WORDS] = { 0 };
    python->runtime = symbols->runtime + bias;
    python->code_type = symbols->code_type ? symbols->code_type + bias : 0;
    if (!remote_read(remote, python->runtime, words, sizeof words)) return PYTHON_NONE;
    if (has_debug_offsets(words)) {
        python->version = version_in(words);
        if (is_free_threaded(words)) return PYTHON_FREE_THREADED;
        return layout_from_debug_offsets(words, &python->layout) ? PYTHON_FOUND : PYTHON_UNKNOWN;
    }
    python->version = symbols->version ? (uint32_t)remote_word(remote, symbols->version + bias) : 0;
    const Layout *layout = layout_of(python->version);
    if (layout) python->layout = *layout;
    return layout ? PYTHON_FOUND : PYTHON_UNKNOWN;
}

Found python_find(Python *python, const Remote *remote) {
    static Mapping mapping;
    static char line[LONGEST_PATH + 128], path[LONGEST_PATH], executable[LONGEST_PATH];
    snprintf(path, sizeof path, "/proc/%d/exe", remote->pid);
    ssize_t length = readlink(path, executable, sizeof executable - 1);
    executable[length > 0 ? length : 0] = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", remote->pid);
    FILE *maps = fopen(path, "re");
    Found found = PYTHON_NONE;
    while (maps && found == PYTHON_NONE && fgets(line, sizeof line, maps)) {
        if (!parse_mapping(line, &mapping) || !reach(&mapping, executable, remote->pid, path)) continue;
        Symbols symbols = symbols_of(path);
        if (symbols.runtime) found = identify(python, remote, &symbols, symbols.moves ? mapping.start - symbols.first : 0);
    }
    if (maps) fclose(maps);
    return found;
}

void version_text(uint32_t version, char text[VERSION_TEXT]) {
    const char *level = (version & 0xf0) == 0xa0 ? "a" : (version & 0xf0) == 0xb0 ? "b" : (version & 0xf0) == 0xc0 ? "rc" : "";
    int length = snprintf(text, VERSION_TEXT, "%u.%u.%u%s", version >> 24, version >> 16 & 255, version >> 8 & 255, level);
    if (*level) snprintf(text + length, VERSION_TEXT - (size_t)length, "%u", version & 15);
}
