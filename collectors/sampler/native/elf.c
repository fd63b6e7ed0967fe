#include "elf.h"

#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, MOST_HEADERS = 4096, MOST_BYTES = 64 << 20, MOST_IN_ALL = 256 << 20 };

static uint64_t left; // bytes that may still be read of the file at hand: one that was made to be read for ever costs only itself

// A part of the file on the heap, ended by a zero byte; NULL where the file is shorter or the part is too large to be true.
// Read, not mapped: a file that is cut short under a mapping would end the sampler.
static void *part(int file, uint64_t at, uint64_t length) {
    if (length > MOST_BYTES || length > left || at > INT64_MAX) return NULL;
    left -= length;
    char *bytes = allocate(length + 1);
    if (pread(file, bytes, length, (off_t)at) == (ssize_t)length) return bytes;
    free(bytes);
    return NULL;
}

static void note(Symbols *symbols, const char *name, Address value) {
    if (!strcmp(name, "_PyRuntime")) symbols->runtime = value;
    if (!strcmp(name, "Py_Version")) symbols->version = value;
    if (!strcmp(name, "PyCode_Type")) symbols->code_type = value;
}

static void read_table(int file, const Elf64_Shdr *table, const Elf64_Shdr *texts, Symbols *symbols) {
    Elf64_Sym *symbol = part(file, table->sh_offset, table->sh_size);
    char *text = part(file, texts->sh_offset, texts->sh_size);
    for (uint64_t i = 0; symbol && text && i < table->sh_size / sizeof *symbol; i++)
        if (symbol[i].st_value && symbol[i].st_name < texts->sh_size) note(symbols, text + symbol[i].st_name, symbol[i].st_value);
    free(symbol);
    free(text);
}

static void read_tables(int file, const Elf64_Ehdr *head, uint32_t kind, Symbols *symbols) {
    Elf64_Shdr *section = part(file, head->e_shoff, head->e_shnum * sizeof *section);
    for (int i = 0; section && i < head->e_shnum; i++)
        if (section[i].sh_type == kind && section[i].sh_link < head->e_shnum)
            read_table(file, &section[i], &section[section[i].sh_link], symbols);
    free(section);
}

static void read_segments(int file, const Elf64_Ehdr *head, Symbols *symbols) {
    Elf64_Phdr *segment = part(file, head->e_phoff, head->e_phnum * sizeof *segment);
    symbols->first = UINT64_MAX;
    for (int i = 0; segment && i < head->e_phnum; i++) {
        Address page = segment[i].p_vaddr & -(Address)PAGE;
        if (segment[i].p_type == PT_LOAD && page < symbols->first) symbols->first = page;
    }
    free(segment);
}

Symbols elf_symbols(const char *path) {
    Symbols symbols = { 0 };
    struct stat about;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe under that name by now would wait for its writer
    if (file < 0) return symbols;
    left = MOST_IN_ALL;
    bool regular = fstat(file, &about) == 0 && S_ISREG(about.st_mode);
    Elf64_Ehdr *head = regular ? part(file, 0, sizeof *head) : NULL;
    bool sound = head && !memcmp(head->e_ident, ELFMAG, SELFMAG) && head->e_ident[EI_CLASS] == ELFCLASS64 &&
                 head->e_shnum <= MOST_HEADERS && head->e_phnum <= MOST_HEADERS;
    if (sound) {
        symbols.moves = head->e_type == ET_DYN;
        read_segments(file, head, &symbols);
        read_tables(file, head, SHT_DYNSYM, &symbols);
        if (!symbols.runtime) read_tables(file, head, SHT_SYMTAB, &symbols); // ten times as long
    }
    free(head);
    close(file);
    return symbols;
}
