/* A described machine: its GPUs, their signals over time, and the control block through which a test reaches in. */
#ifndef MACHINE_H
#define MACHINE_H
#include <stdint.h>

enum { GPUS = 16, INSTANCES = 8, USERS = 16 };
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
extern struct control *control;

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
enum signal { SIGNALS(AS_ENUM) SIGNAL_COUNT };

#define FEATURES(X) \
    X(f_rates, ) X(f_samples, ) X(f_memory_v2, ) X(f_power, ) X(f_power_instant, ) X(f_energy, ) X(f_power_limit, ) \
    X(f_temperature_v, ) X(f_temperature, ) X(f_margin, ) X(f_thresholds, ) X(f_clocks, ) X(f_reasons, ) X(f_pstate, ) X(f_fan, ) \
    X(f_video, ) X(f_gpm, ) X(f_pcie, ) X(f_pcie_counters, ) X(f_nvlink, ) X(f_ecc, ) X(f_remapped, ) X(f_counters, ) \
    X(f_process_utilization, ) X(f_compute, ) X(f_graphics, ) X(f_events, )
enum feature { FEATURES(AS_ENUM) FEATURE_COUNT };

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
extern struct gpu gpus[GPUS];
extern int gpu_count;
extern double period_s; /* of the driver's own samples */
extern char driver[32];

int load(const char *path); /* reads the description; 0 where there is none */
void map_control(void);

double clock_s(void); /* Unix time */
double now_s(void);   /* trace time */
double value_at(struct gpu *gpu, int signal, double t);
double area(struct gpu *gpu, int signal, double t); /* the integral up to t */
double mean(struct gpu *gpu, int signal, double from, double to);
double now(struct gpu *gpu, int signal);
u32 sample(struct gpu *gpu, int signal, long k); /* what the driver's own period number k measured */
long newest(void);                               /* the last period that is over */
int idle(struct gpu *gpu);                       /* an idle GPU writes no entries */

#endif
