/* A libnvidia-ml.so.1 that replays a described machine, so that the unmodified binding reads GPUs that are not there.
 *
 * FAKE_NVML_TRACE names the description (its words: README.md), FAKE_NVML_CONTROL a mapped `struct control` through which
 * a test pins the clock, counts calls and injects faults while the library is in use. Without a trace there is a library
 * but no driver. The ABI is that of the public NVML reference; only what the dashboard and nvitop ask is here.
 */
#define _GNU_SOURCE
#include "machine.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9, TIMEOUT = 10, FUNCTION_NOT_FOUND = 13 };
enum { RING = 100 };
typedef int ret;
static int initialised;

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
