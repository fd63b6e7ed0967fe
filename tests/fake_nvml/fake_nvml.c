/* A libnvidia-ml.so.1 that replays a described machine, so that the unmodified binding reads GPUs that are not there.
 *
 * FAKE_NVML_TRACE names the description (its words: README.md), FAKE_NVML_CONTROL a mapped `struct control` through which
 * a test pins the clock, counts calls and injects faults while the library is in use. Without a trace there is a library
 * but no driver. The ABI is that of the public NVML reference; only what the dashboard and nvitop ask is here.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9, TIMEOUT = 10, FUNCTION_NOT_FOUND = 13 };
enum { GPUS = 16, INSTANCES = 8, USERS = 16, RING = 100, IDLE_PERIODS = 30 };
typedef int ret;
typedef unsigned int u32;
typedef unsigned long long u64;

/* Mirrored in __init__.py. */
struct control {
    u64 calls;          /* of all functions that ask the driver */
    double epoch_s;     /* Unix time at which the trace began */
    double now_s;       /* trace time; below 0: it runs */
    int32_t init_error; /* of nvmlInit */
    int32_t error;      /* of every other call */
    int32_t gpu_error[GPUS];
    u32 xid[GPUS];      /* delivered once */
    u32 slow_us;        /* what a list of processes takes */
    u32 plugged;        /* GPUs that are there; 0: as many as the trace says */
};
static struct control alone = {.now_s = -1}, *control = &alone;

#define SIGNALS(X) \
    X(utilization, 0) X(memory_utilization, 0) X(memory_used, 0) X(memory_total, 85899345920.) X(memory_reserved, 536870912.) \
    X(power, 70) X(power_limit, 700) X(temperature, 40) X(memory_temperature, 45) X(margin, 47) X(slowdown, 87) X(shutdown, 92) \
    X(sm_clock, 1980) X(memory_clock, 2619) X(sm_clock_max, 1980) X(memory_clock_max, 2619) X(reasons, 0) X(pstate, 0) X(fan, 30) \
    X(encoder, 0) X(decoder, 0) X(sm_active, 0) X(sm_occupancy, 0) X(tensor, 0) X(dram, 0) X(pcie_tx, 0) X(pcie_rx, 0) \
    X(nvlink_tx, 0) X(nvlink_rx, 0) X(pcie_generation, 5) X(pcie_width, 16) X(pcie_replays, 0) X(ecc_corrected, 0) \
    X(ecc_uncorrected, 0) X(remapped_corrected, 0) X(remapped_uncorrected, 0) X(remap_pending, 0) X(remap_failed, 0) \
    X(slowed_by_power, 0) X(slowed_by_heat, 0) X(slowed_by_hw_heat, 0) X(slowed_by_power_brake, 0) X(nvlink_crc_errors, 0) \
    X(nvlink_replays, 0)
#define AS_ENUM(name, start) name,
#define AS_NAME(name, start) #name,
#define AS_START(name, start) start,
enum signal { SIGNALS(AS_ENUM) SIGNAL_COUNT };
static const char *const signal_names[] = {SIGNALS(AS_NAME)};
static const double signal_starts[] = {SIGNALS(AS_START)};

#define FEATURES(X) \
    X(f_rates, ) X(f_samples, ) X(f_memory_v2, ) X(f_power, ) X(f_power_instant, ) X(f_energy, ) X(f_power_limit, ) \
    X(f_temperature_v, ) X(f_temperature, ) X(f_margin, ) X(f_thresholds, ) X(f_clocks, ) X(f_reasons, ) X(f_pstate, ) X(f_fan, ) \
    X(f_video, ) X(f_gpm, ) X(f_pcie, ) X(f_pcie_counters, ) X(f_nvlink, ) X(f_ecc, ) X(f_remapped, ) X(f_counters, ) \
    X(f_process_utilization, ) X(f_compute, ) X(f_graphics, ) X(f_events, )
enum feature { FEATURES(AS_ENUM) FEATURE_COUNT };
static const char *const feature_names[] = {FEATURES(AS_NAME)};

/* A signal is constant between its changes; `area` is its integral up to the change. */
struct change { double at, value, area; };
struct series { struct change *changes; int count; };
struct user { u32 pid; u64 memory; u32 busy; int graphics; double from_s; };
struct gpu {
    int index, instance; /* instance: GPU instance id of a MIG device, -1 of a card */
    char name[96], uuid[96];
    struct series signals[SIGNAL_COUNT];
    u32 lacks;
    struct user users[USERS];
    int user_count;
    struct gpu *card, *instances[INSTANCES];
    int instance_count;
};
static struct gpu gpus[GPUS];
static int gpu_count, initialised;
static double loop_s, period_s;
static char driver[32];

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
static int load(const char *path) {
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

static void map_control(void) {
    const char *path = getenv("FAKE_NVML_CONTROL");
    int file = path ? open(path, O_RDWR) : -1;
    if (control != &alone) munmap(control, sizeof *control);
    control = file < 0 ? MAP_FAILED : mmap(0, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    if (control == MAP_FAILED) control = &alone;
}

/* ---- time and values ---- */

static double clock_s(void) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t); return t.tv_sec + t.tv_nsec * 1e-9; }
static double now_s(void) { return control->now_s >= 0 ? control->now_s : clock_s() - control->epoch_s; }

static struct change *change_before(struct series *s, double t) {
    int lo = 0, hi = s->count - 1;
    while (lo < hi) { int mid = (lo + hi + 1) / 2; if (s->changes[mid].at <= t) lo = mid; else hi = mid - 1; }
    return &s->changes[lo];
}

static double value_at(struct gpu *gpu, int signal, double t) {
    return change_before(&gpu->signals[signal], loop_s ? fmod(t, loop_s) : t)->value;
}

static double area_within(struct gpu *gpu, int signal, double t) {
    struct change *c = change_before(&gpu->signals[signal], t);
    return c->area + c->value * (t - c->at);
}

static double area(struct gpu *gpu, int signal, double t) {
    if (!loop_s) return area_within(gpu, signal, t);
    return floor(t / loop_s) * area_within(gpu, signal, loop_s) + area_within(gpu, signal, fmod(t, loop_s));
}

static double mean(struct gpu *gpu, int signal, double from, double to) {
    return (area(gpu, signal, to) - area(gpu, signal, from)) / (to - from);
}

static double now(struct gpu *gpu, int signal) { return value_at(gpu, signal, now_s()); }

/* What the driver's own period number `k` measured; an idle GPU writes no entries. */
static u32 sample(struct gpu *gpu, int signal, long k) {
    if (k < 1) k = 1; /* asked before the first period is over */
    return lround(mean(gpu, signal, (k - 1) * period_s, k * period_s));
}
static long newest(void) { return floor(now_s() / period_s + 1e-9); }
static int idle(struct gpu *gpu) {
    double t = now_s(), from = fmax(0, t - IDLE_PERIODS * period_s);
    return t > from && mean(gpu, utilization, from, t) == 0;
}

/* ---- the calls ---- */

static ret entered(void) {
    __atomic_add_fetch(&control->calls, 1, __ATOMIC_RELAXED);
    return initialised ? control->error : UNINITIALIZED;
}
static ret asked(struct gpu *g) {
    ret code = entered();
    return code ? code : control->gpu_error[g->index];
}
static ret needed(struct gpu *g, int feature) {
    ret code = asked(g);
    return code ? code : g->lacks >> feature & 1 ? NOT_SUPPORTED : OK;
}

#define EXPORT __attribute__((visibility("default"))) ret
#define TRY(answer) do { ret code = (answer); if (code) return code; } while (0)
#define GIVE(call, type, feature, value) EXPORT call(struct gpu *g, type *out) { TRY(needed(g, feature)); *out = (value); return OK; }

EXPORT nvmlInitWithFlags(u32 flags) {
    const char *trace = getenv("FAKE_NVML_TRACE");
    (void)flags;
    map_control();
    if (control->init_error) return control->init_error;
    if (initialised) { initialised++; return OK; }
    if (!trace || !load(trace)) return DRIVER_NOT_LOADED;
    if (!control->epoch_s) control->epoch_s = clock_s();
    initialised = 1;
    return OK;
}
EXPORT nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
EXPORT nvmlShutdown(void) { if (!initialised) return UNINITIALIZED; initialised--; return OK; }
EXPORT nvmlSystemGetDriverVersion(char *out, u32 length) { TRY(entered()); snprintf(out, length, "%s", driver); return OK; }
EXPORT nvmlSystemGetNVMLVersion(char *out, u32 length) { TRY(entered()); snprintf(out, length, "13.%s", driver); return OK; }
EXPORT nvmlSystemGetCudaDriverVersion_v2(int *out) { TRY(entered()); *out = 13000; return OK; }
EXPORT nvmlDeviceGetCount_v2(u32 *out) { TRY(entered()); *out = control->plugged ? control->plugged : (u32)gpu_count; return OK; }
EXPORT nvmlDeviceGetHandleByIndex_v2(u32 index, struct gpu **out) {
    if (index >= (u32)gpu_count) return INVALID_ARGUMENT;
    TRY(asked(&gpus[index]));
    *out = &gpus[index];
    return OK;
}
EXPORT nvmlDeviceGetHandleByUUID(const char *uuid, struct gpu **out) {
    TRY(entered());
    for (int i = 0; i < gpu_count; i++) if (!strcmp(uuid, gpus[i].uuid)) { *out = &gpus[i]; return OK; }
    return NOT_FOUND;
}
EXPORT nvmlDeviceGetIndex(struct gpu *g, u32 *out) { TRY(asked(g)); *out = g->index; return OK; }
EXPORT nvmlDeviceGetName(struct gpu *g, char *out, u32 length) { TRY(asked(g)); snprintf(out, length, "%s", g->name); return OK; }
EXPORT nvmlDeviceGetUUID(struct gpu *g, char *out, u32 length) { TRY(asked(g)); snprintf(out, length, "%s", g->uuid); return OK; }

/* Two CPUs with four cards each; NVLink joins the cards of one. */
EXPORT nvmlDeviceGetP2PStatus(struct gpu *a, struct gpu *b, u32 what, u32 *out) {
    TRY(needed(a, f_nvlink));
    *out = what == 2 && a->index / 4 == b->index / 4 ? 0 : 5;
    return OK;
}
EXPORT nvmlDeviceGetTopologyCommonAncestor(struct gpu *a, struct gpu *b, u32 *out) {
    TRY(asked(a));
    *out = a->index / 4 == b->index / 4 ? 40 : 50;
    return OK;
}

struct utilization { u32 gpu, memory; };
EXPORT nvmlDeviceGetUtilizationRates(struct gpu *g, struct utilization *out) {
    TRY(needed(g, f_rates));
    out->gpu = sample(g, utilization, newest()), out->memory = sample(g, memory_utilization, newest());
    return OK;
}

struct sample { u64 at_us; union { double d; u32 u; u64 ull; } value; };
EXPORT nvmlDeviceGetSamples(struct gpu *g, int kind, u64 seen_us, int *type, u32 *count, struct sample *out) {
    int signal = kind == 1 ? utilization : memory_utilization;
    u32 filled = 0;
    TRY(needed(g, f_samples));
    if (kind != 1 && kind != 2) return NOT_SUPPORTED;
    if (idle(g)) return NOT_FOUND;
    *type = 1;
    if (!out) { *count = RING; return OK; }
    long last = newest(), first = last - RING + 1;
    for (long k = first > 1 ? first : 1; k <= last && filled < *count; k++) {
        u64 at_us = (control->epoch_s + k * period_s) * 1e6;
        if (at_us > seen_us) out[filled++] = (struct sample){at_us, {.u = sample(g, signal, k)}};
    }
    *count = filled;
    return filled ? OK : NOT_FOUND;
}

struct memory { u64 total, free, used; };
struct memory_v2 { u32 version; u64 total, reserved, free, used; };
EXPORT nvmlDeviceGetMemoryInfo_v2(struct gpu *g, struct memory_v2 *out) {
    TRY(asked(g));
    if (g->lacks >> f_memory_v2 & 1) return FUNCTION_NOT_FOUND;
    out->total = now(g, memory_total), out->reserved = now(g, memory_reserved), out->used = now(g, memory_used);
    out->free = out->total - out->used - out->reserved;
    return OK;
}
EXPORT nvmlDeviceGetMemoryInfo(struct gpu *g, struct memory *out) {
    TRY(asked(g));
    out->total = now(g, memory_total), out->used = now(g, memory_used) + now(g, memory_reserved), out->free = out->total - out->used;
    return OK;
}

GIVE(nvmlDeviceGetPowerUsage, u32, f_power, mean(g, power, fmax(0, now_s() - 1), now_s() + 1e-6) * 1e3)
GIVE(nvmlDeviceGetTotalEnergyConsumption, u64, f_energy, area(g, power, now_s()) * 1e3)
GIVE(nvmlDeviceGetEnforcedPowerLimit, u32, f_power_limit, now(g, power_limit) * 1e3)
GIVE(nvmlDeviceGetPowerManagementLimit, u32, f_power_limit, now(g, power_limit) * 1e3)
GIVE(nvmlDeviceGetCurrentClocksEventReasons, u64, f_reasons, now(g, reasons))
GIVE(nvmlDeviceGetCurrentClocksThrottleReasons, u64, f_reasons, now(g, reasons))
GIVE(nvmlDeviceGetPerformanceState, int, f_pstate, now(g, pstate))
GIVE(nvmlDeviceGetFanSpeed, u32, f_fan, now(g, fan))
GIVE(nvmlDeviceGetCurrPcieLinkGeneration, u32, f_pcie, now(g, pcie_generation))
GIVE(nvmlDeviceGetCurrPcieLinkWidth, u32, f_pcie, now(g, pcie_width))
GIVE(nvmlDeviceGetSupportedEventTypes, u64, f_events, 8)

struct temperature { u32 version, sensor; int celsius; };
EXPORT nvmlDeviceGetTemperatureV(struct gpu *g, struct temperature *out) {
    TRY(asked(g));
    if (g->lacks >> f_temperature_v & 1) return FUNCTION_NOT_FOUND;
    out->celsius = now(g, temperature);
    return OK;
}
EXPORT nvmlDeviceGetTemperature(struct gpu *g, int sensor, u32 *out) {
    (void)sensor;
    TRY(needed(g, f_temperature));
    *out = now(g, temperature);
    return OK;
}
struct margin { u32 version; int celsius; };
EXPORT nvmlDeviceGetMarginTemperature(struct gpu *g, struct margin *out) {
    TRY(needed(g, f_margin));
    out->celsius = now(g, margin);
    return OK;
}
EXPORT nvmlDeviceGetTemperatureThreshold(struct gpu *g, int kind, u32 *out) {
    TRY(needed(g, f_thresholds));
    if (kind > 1) return NOT_SUPPORTED;
    *out = now(g, kind ? slowdown : shutdown);
    return OK;
}

enum { CLOCK_MEMORY = 2 };
EXPORT nvmlDeviceGetClockInfo(struct gpu *g, int kind, u32 *out) {
    TRY(needed(g, f_clocks));
    *out = now(g, kind == CLOCK_MEMORY ? memory_clock : sm_clock);
    return OK;
}
EXPORT nvmlDeviceGetMaxClockInfo(struct gpu *g, int kind, u32 *out) {
    TRY(needed(g, f_clocks));
    *out = now(g, kind == CLOCK_MEMORY ? memory_clock_max : sm_clock_max);
    return OK;
}

static ret video(struct gpu *g, int signal, u32 *out, u32 *period_us) {
    TRY(needed(g, f_video));
    *out = now(g, signal), *period_us = 167000;
    return OK;
}
EXPORT nvmlDeviceGetEncoderUtilization(struct gpu *g, u32 *out, u32 *period_us) { return video(g, encoder, out, period_us); }
EXPORT nvmlDeviceGetDecoderUtilization(struct gpu *g, u32 *out, u32 *period_us) { return video(g, decoder, out, period_us); }

EXPORT nvmlDeviceGetPcieThroughput(struct gpu *g, int kind, u32 *out) {
    TRY(needed(g, f_pcie));
    if (control->now_s < 0) usleep(20000); /* over which the driver counts */
    *out = now(g, kind ? pcie_rx : pcie_tx) / 1024;
    return OK;
}
EXPORT nvmlDeviceGetTotalEccErrors(struct gpu *g, int kind, int counter, u64 *out) {
    (void)counter;
    TRY(needed(g, f_ecc));
    *out = now(g, kind ? ecc_uncorrected : ecc_corrected);
    return OK;
}
EXPORT nvmlDeviceGetRemappedRows(struct gpu *g, u32 *corrected, u32 *uncorrected, u32 *pending, u32 *failed) {
    TRY(needed(g, f_remapped));
    *corrected = now(g, remapped_corrected), *uncorrected = now(g, remapped_uncorrected);
    *pending = now(g, remap_pending), *failed = now(g, remap_failed);
    return OK;
}

/* Numbered values: which signal, whether its integral is meant (a counter), and in what unit. */
struct field { u32 id; int signal, integral; double factor; int feature; };
static const struct field fields[] = {
    {82, memory_temperature, 0, 1, f_counters}, {83, power, 1, 1e3, f_energy}, {186, power, 0, 1e3, f_power_instant},
    {74, slowed_by_power, 0, 1e9, f_counters}, {269, slowed_by_heat, 0, 1e9, f_counters}, {270, slowed_by_hw_heat, 0, 1e9, f_counters},
    {271, slowed_by_power_brake, 0, 1e9, f_counters}, {94, pcie_replays, 0, 1, f_counters}, {38, nvlink_crc_errors, 0, 1, f_nvlink},
    {45, nvlink_crc_errors, 0, 0, f_nvlink}, {52, nvlink_replays, 0, 1, f_nvlink}, {138, nvlink_tx, 1, 1 / 1024., f_nvlink},
    {139, nvlink_rx, 1, 1 / 1024., f_nvlink}, {197, pcie_tx, 1, 1, f_pcie_counters}, {198, pcie_rx, 1, 1, f_pcie_counters},
};
struct field_value { u32 id, scope; int64_t at, latency; int type; ret status; union { double d; u64 ull; } value; };
EXPORT nvmlDeviceGetFieldValues(struct gpu *g, int count, struct field_value *out) {
    double t = now_s();
    TRY(asked(g));
    for (int i = 0; i < count; i++) {
        out[i].status = NOT_SUPPORTED;
        for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
            const struct field *f = &fields[k];
            if (f->id != out[i].id || g->lacks >> f->feature & 1) continue;
            out[i].status = OK, out[i].type = 3;
            out[i].value.ull = (f->integral ? area(g, f->signal, t) : value_at(g, f->signal, t)) * f->factor;
        }
    }
    return OK;
}

struct process { u32 pid; u64 memory; u32 gpu_instance, compute_instance; };
static ret list_users(struct gpu *g, int graphics, u32 *count, struct process *out) {
    u32 found = 0, room = *count;
    if (control->slow_us) usleep(control->slow_us);
    for (int i = 0; i < g->user_count; i++) {
        if (g->users[i].graphics != graphics || now_s() < g->users[i].from_s) continue;
        if (out && found < room) out[found] = (struct process){g->users[i].pid, g->users[i].memory, ~0u, ~0u};
        found++;
    }
    *count = found;
    return found > room || (!out && found) ? INSUFFICIENT_SIZE : OK;
}
EXPORT nvmlDeviceGetComputeRunningProcesses_v3(struct gpu *g, u32 *count, struct process *out) {
    TRY(needed(g, f_compute));
    return list_users(g, 0, count, out);
}
EXPORT nvmlDeviceGetGraphicsRunningProcesses_v3(struct gpu *g, u32 *count, struct process *out) {
    TRY(needed(g, f_graphics));
    return list_users(g, 1, count, out);
}
struct process_sample { u32 pid; u64 at_us; u32 sm, memory, encoder, decoder; };
EXPORT nvmlDeviceGetProcessUtilization(struct gpu *g, struct process_sample *out, u32 *count, u64 seen_us) {
    u64 at_us = (control->epoch_s + now_s()) * 1e6;
    u32 room = *count;
    TRY(needed(g, f_process_utilization));
    *count = g->user_count;
    if (!g->user_count || at_us <= seen_us) return NOT_FOUND;
    if (!out || room < *count) return INSUFFICIENT_SIZE;
    for (int i = 0; i < g->user_count; i++) out[i] = (struct process_sample){g->users[i].pid, at_us, g->users[i].busy, 0, 0, 0};
    return OK;
}

/* ---- MIG ---- */

EXPORT nvmlDeviceGetMigMode(struct gpu *g, u32 *current, u32 *pending) {
    TRY(asked(g));
    *current = *pending = g->instance_count > 0;
    return OK;
}
EXPORT nvmlDeviceGetMaxMigDeviceCount(struct gpu *g, u32 *out) { TRY(asked(g)); *out = INSTANCES; return OK; }
EXPORT nvmlDeviceGetMigDeviceHandleByIndex(struct gpu *g, u32 index, struct gpu **out) {
    TRY(asked(g));
    if (index >= (u32)g->instance_count) return NOT_FOUND;
    *out = g->instances[index];
    return OK;
}
EXPORT nvmlDeviceGetGpuInstanceId(struct gpu *g, u32 *out) { TRY(asked(g)); *out = g->instance; return g->instance < 0 ? NOT_SUPPORTED : OK; }

/* ---- GPM: a sample is a moment of a device; metrics are means between two of them ---- */

struct gpm_sample { struct gpu *gpu; double at; };
struct gpm_support { u32 version, supported; };
struct gpm_metric { u32 id; ret status; double value; const char *names[3]; };
struct gpm_request { u32 version, count; struct gpm_sample *from, *to; struct gpm_metric metrics[]; };
EXPORT nvmlGpmQueryDeviceSupport(struct gpu *g, struct gpm_support *out) { TRY(asked(g)); out->supported = !(g->lacks >> f_gpm & 1); return OK; }
EXPORT nvmlGpmSampleAlloc(struct gpm_sample **out) { TRY(entered()); *out = calloc(1, sizeof **out); return OK; }
EXPORT nvmlGpmSampleFree(struct gpm_sample *s) { TRY(entered()); free(s); return OK; }
EXPORT nvmlGpmSampleGet(struct gpu *g, struct gpm_sample *s) { TRY(needed(g, f_gpm)); *s = (struct gpm_sample){g, now_s()}; return OK; }
EXPORT nvmlGpmMigSampleGet(struct gpu *g, u32 instance, struct gpm_sample *s) {
    TRY(needed(g, f_gpm));
    for (int i = 0; i < g->instance_count; i++)
        if ((u32)g->instances[i]->instance == instance) { *s = (struct gpm_sample){g->instances[i], now_s()}; return OK; }
    return INVALID_ARGUMENT;
}
EXPORT nvmlGpmMetricsGet(struct gpm_request *request) {
    static const struct { u32 id; int signal; double factor; } known[] = {
        {1, utilization, 1}, {2, sm_active, 1}, {3, sm_occupancy, 1}, {5, tensor, 1}, {10, dram, 1}, {20, pcie_tx, 1 / 1048576.}, {21, pcie_rx, 1 / 1048576.},
        {60, nvlink_rx, 1 / 1048576.}, {61, nvlink_tx, 1 / 1048576.}};
    TRY(entered());
    for (u32 i = 0; i < request->count; i++) {
        struct gpm_metric *metric = &request->metrics[i];
        metric->status = NOT_SUPPORTED;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (known[k].id == metric->id && request->to->at > request->from->at)
                metric->status = OK, metric->value = known[k].factor * mean(request->to->gpu, known[k].signal, request->from->at, request->to->at);
    }
    return OK;
}

/* ---- events ---- */

struct event { struct gpu *gpu; u64 type, data; u32 gpu_instance, compute_instance; };
EXPORT nvmlEventSetCreate(u64 **out) { TRY(entered()); *out = calloc(1, sizeof **out); return OK; }
EXPORT nvmlEventSetFree(u64 *set) { TRY(entered()); free(set); return OK; }
EXPORT nvmlDeviceRegisterEvents(struct gpu *g, u64 types, u64 *set) {
    TRY(needed(g, f_events));
    (void)types;
    *set |= 1ull << g->index;
    return OK;
}
EXPORT nvmlEventSetWait_v2(u64 *set, struct event *out, u32 timeout_ms) {
    TRY(entered());
    for (int i = 0; i < gpu_count; i++) {
        if (!(*set >> i & 1) || !control->xid[i]) continue;
        *out = (struct event){&gpus[i], 8, control->xid[i], ~0u, ~0u};
        control->xid[i] = 0;
        return OK;
    }
    if (control->now_s < 0) usleep(timeout_ms * 1000);
    return TIMEOUT;
}
