/* Reading the description of a machine (its words: README.md), and what its signals are at a time. */
#define _GNU_SOURCE
#include "machine.h"
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define AS_NAME(name, start) #name,
#define AS_START(name, start) start,
static const char *const signal_names[] = {SIGNALS(AS_NAME)};
static const double signal_starts[] = {SIGNALS(AS_START)};
static const char *const feature_names[] = {FEATURES(AS_NAME)};

enum { IDLE_PERIODS = 30 };
struct gpu gpus[GPUS];
int gpu_count;
double period_s;
char driver[32];
static double loop_s;
static struct control alone = {.now_s = -1};
struct control *control = &alone;

/* ---- the description ---- */

static int word_of(const char *word, const char *const *names, int count, int skip) {
    for (int i = 0; i < count; i++)
        if (!strcmp(word, names[i] + skip)) return i;
    fprintf(stderr, "fake_nvml: unknown word %s\n", word);
    exit(2);
}

static void change(struct gpu *gpu, int signal, double at, double value) {
    struct series *s = &gpu->signals[signal];
    struct change next = {at, value, 0};
    if (s->count) {
        struct change *last = &s->changes[s->count - 1];
        next.area = last->area + last->value * (at - last->at);
        if (at == last->at) { last->value = value; return; }
    }
    s->changes = realloc(s->changes, (s->count + 1) * sizeof next);
    s->changes[s->count++] = next;
}

static void reset(struct gpu *gpu, int index, int instance) {
    for (int i = 0; i < SIGNAL_COUNT; i++) free(gpu->signals[i].changes);
    for (int i = 0; i < gpu->instance_count; i++) { reset(gpu->instances[i], 0, 0); free(gpu->instances[i]); }
    memset(gpu, 0, sizeof *gpu);
    gpu->index = index, gpu->instance = instance, gpu->card = gpu;
    strcpy(gpu->name, "NVIDIA H100 80GB HBM3");
    sprintf(gpu->uuid, "GPU-00000000-fake-0000-0000-%012d", index);
    for (int i = 0; i < SIGNAL_COUNT; i++) change(gpu, i, 0, signal_starts[i]);
}

static void add_instance(struct gpu *card, int id, double memory) {
    struct gpu *gpu = calloc(1, sizeof *gpu);
    reset(gpu, card->index, id);
    gpu->card = card;
    sprintf(gpu->name, "%.70s MIG %d", card->name, id);
    sprintf(gpu->uuid, "MIG-00000000-fake-0000-%04d-%012d", id, card->index);
    gpu->lacks = ~0u & ~(1u << f_gpm | 1u << f_memory_v2 | 1u << f_compute);
    card->lacks |= 1u << f_rates | 1u << f_samples | 1u << f_process_utilization;
    change(gpu, memory_total, 0, memory);
    card->instances[card->instance_count++] = gpu;
}

static void describe(struct gpu *gpu, const char *verb, char *rest) {
    double at, value;
    char word[64];
    struct user user = {0};
    int id, used;
    if (!strcmp(verb, "name")) snprintf(gpu->name, sizeof gpu->name, "%s", rest);
    else if (!strcmp(verb, "at") && sscanf(rest, "%lf %63s %lf", &at, word, &value) == 3)
        change(gpu, word_of(word, signal_names, SIGNAL_COUNT, 0), at, value);
    else if (!strcmp(verb, "lacks"))
        for (; sscanf(rest, "%63s%n", word, &used) == 1; rest += used) gpu->lacks |= 1u << word_of(word, feature_names, FEATURE_COUNT, 2);
    else if (!strcmp(verb, "process") && sscanf(rest, "%u %lf %u %63s %lf", &user.pid, &value, &user.busy, word, &user.from_s) >= 4) {
        user.memory = value, user.graphics = !strcmp(word, "graphics");
        if (gpu->user_count < USERS) gpu->users[gpu->user_count++] = user;
    } else if (!strcmp(verb, "mig") && sscanf(rest, "%d %lf", &id, &value) == 2) add_instance(gpu, id, value);
    else { fprintf(stderr, "fake_nvml: cannot read: %s %s\n", verb, rest); exit(2); }
}

/* `0.2` is instance 2 of GPU 0. */
static struct gpu *meant(struct gpu *card, const char *which) {
    const char *dot = strchr(which, '.');
    for (int i = 0; dot && i < card->instance_count; i++)
        if (card->instances[i]->instance == atoi(dot + 1)) return card->instances[i];
    return card;
}

/* `at 3 12.5 utilization 8`: verb, GPU or *, rest. */
int load(const char *path) {
    FILE *file = fopen(path, "r");
    char line[512], verb[32], which[32], *rest;
    int used;
    if (!file) return 0;
    gpu_count = 0, loop_s = 0, period_s = 1 / 6.;
    strcpy(driver, "580.65.06");
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "#\n")] = 0;
        if (sscanf(line, "%31s %31s %n", verb, which, &used) < 2) continue;
        rest = line + used;
        if (!strcmp(verb, "gpus")) { gpu_count = atoi(which); for (int i = 0; i < gpu_count; i++) reset(&gpus[i], i, -1); }
        else if (!strcmp(verb, "loop")) loop_s = atof(which);
        else if (!strcmp(verb, "period")) period_s = atof(which);
        else if (!strcmp(verb, "driver")) snprintf(driver, sizeof driver, "%s", which);
        else for (int i = 0; i < gpu_count; i++) if (*which == '*' || atoi(which) == i) describe(meant(&gpus[i], which), verb, rest);
    }
    fclose(file);
    return 1;
}

void map_control(void) {
    const char *path = getenv("FAKE_NVML_CONTROL");
    int file = path ? open(path, O_RDWR) : -1;
    if (control != &alone) munmap(control, sizeof *control);
    control = file < 0 ? MAP_FAILED : mmap(0, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    if (control == MAP_FAILED) control = &alone;
}

/* ---- time and values ---- */

double clock_s(void) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t); return t.tv_sec + t.tv_nsec * 1e-9; }
double now_s(void) { return control->now_s >= 0 ? control->now_s : clock_s() - control->epoch_s; }

static struct change *change_before(struct series *s, double t) {
    int lo = 0, hi = s->count - 1;
    while (lo < hi) { int mid = (lo + hi + 1) / 2; if (s->changes[mid].at <= t) lo = mid; else hi = mid - 1; }
    return &s->changes[lo];
}

double value_at(struct gpu *gpu, int signal, double t) {
    return change_before(&gpu->signals[signal], loop_s ? fmod(t, loop_s) : t)->value;
}

static double area_within(struct gpu *gpu, int signal, double t) {
    struct change *c = change_before(&gpu->signals[signal], t);
    return c->area + c->value * (t - c->at);
}

double area(struct gpu *gpu, int signal, double t) {
    if (!loop_s) return area_within(gpu, signal, t);
    return floor(t / loop_s) * area_within(gpu, signal, loop_s) + area_within(gpu, signal, fmod(t, loop_s));
}

double mean(struct gpu *gpu, int signal, double from, double to) {
    return (area(gpu, signal, to) - area(gpu, signal, from)) / (to - from);
}

double now(struct gpu *gpu, int signal) { return value_at(gpu, signal, now_s()); }

u32 sample(struct gpu *gpu, int signal, long k) {
    if (k < 1) k = 1; /* asked before the first period is over */
    return lround(mean(gpu, signal, (k - 1) * period_s, k * period_s));
}
long newest(void) { return floor(now_s() / period_s + 1e-9); }
int idle(struct gpu *gpu) {
    double t = now_s(), from = fmax(0, t - IDLE_PERIODS * period_s);
    return t > from && mean(gpu, utilization, from, t) == 0;
}
