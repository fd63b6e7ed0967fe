"""Cards that spin, and healthy ones, as their counters show them: what the finding on spinning cards is judged by.

A card spins while its rank waits inside a collective: the collective's kernel polls on a few multiprocessors, so that
the utilization is 90-100%, while the power stays close to that of the card at rest and no step ends. Everything here
is drawn with a fixed seed from what is publicly known of such cards; nothing was measured for it. An issue is named as
owner/repository#number. "listings" are the many outputs of nvidia-smi and rocm-smi that users post; such a number is a
typical one, recalled and not checked against one source. "assumed" is a guess from neighbouring cards.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from collectors.arrays import Bools, Floats

SAMPLES_HZ = 6  # the driver samples the utilization every 1/6 to 1 s, depending on the product (NVML's reference)
FINE_PER_SAMPLE = 4  # moments between two samples, at which a card's state is drawn
FINE_HZ = SAMPLES_HZ * FINE_PER_SAMPLE
POWER_EVERY = FINE_HZ // 2  # power is read every 0.5 s
MEAN_OF = FINE_HZ  # Ampere and later, but for GA100 (the A100): a mean over 1 s (NVML's reference)
INSTANT_OF = 2  # the others: as good as instantaneous (NVML's reference); of 0.08 s, assumed
WARM_S = 40.0  # a hot chip leaks more current, and cools within a minute or so; assumed
LEAK = 0.03  # of the power it had before; assumed
DRIFT_S = 3.0  # how long a swing of the power's noise lasts; assumed
STEP_SPREAD = 0.03  # of a step's duration; assumed


class CardCase(NamedTuple):
    name: str
    limit_w: float | None  # None: the card doesn't say
    time_s: Floats
    utilization_pct: Floats
    power_time_s: Floats  # empty where the card doesn't say
    power_w: Floats
    sm_active_pct: Floats | None
    tensor_active_pct: Floats | None
    step_ends_s: Floats
    spins: list[tuple[float, float]]


class Card(NamedTuple):
    """A kind of card, with its power in watts."""

    limit_w: float | None
    bare_w: float  # at rest, with no process
    idle_w: float  # at rest, while a process holds a context
    poll_w: float  # while a collective's kernel waits
    averages: bool  # whether a reading is a mean over the last second
    poll_sm: float | None = None  # multiprocessors that poll, in percent; None where activity isn't reported
    whole_watts: bool = False
    noise: float = 0.012  # of the power, one sigma; assumed


class Phase(NamedTuple):
    """A stretch in which a card does one thing."""

    seconds: float
    watts: float
    sm: float = 0.0
    tensor: float = 0.0
    busy: float = 1.0  # of the time a kernel runs, outside the stalls
    step_s: float | None = None
    stall: float = 0.0  # of each step, at its beginning: at rest, waiting for data
    comm: float = 0.0  # of each step, at its end: polling in a collective
    spins: bool = False
    tremble: float = 0.0  # points by which a busy card's utilization falls short, at most


# Limits are those of the data sheets. Activity: from Hopper on only, since GPM isn't there before (NVML's reference).
# A channel of NCCL is one block on one multiprocessor; 16 to 32 of 132 on Hopper, so 12-24%: assumed.
T4 = Card(70, 10, 27, 31, False)  # 10 W in P8, 26-30 W in P0: listings; polling: assumed
L4 = Card(72, 16, 29, 33, True)  # 12-17 W in P8, 27-31 W in P0: listings; polling: assumed
V100 = Card(300, 42, 54, 66, False)  # SXM2: 53 W at rest and 66 W at 100% in one table: zai-org/GLM-130B#32
A10 = Card(150, 20, 57, 63, True)  # 16-22 W in P8, 55-60 W in P0: listings; polling: assumed
A40 = Card(300, 30, 110, 121, True)  # 30 and 110 W: NVIDIA/open-gpu-kernel-modules#874; polling: assumed
A100_PCIE = Card(250, 34, 42, 58, False)  # 40 GB; 32-36 W and 38-45 W: listings; polling: assumed
A100_SXM = Card(400, 60, 74, 88, False)  # 60 W: guxd/DialogBERT#7; 70-77 W: pytorch/pytorch#118369; polling: assumed
A100_COOL = Card(400, 54, 61, 70, False)  # a hang at about 70 W: NVIDIA/nccl#968 (card not named); at rest: assumed
H100_PCIE = Card(350, 48, 78, 93, True, 14.0)  # 45-50 W: listings; the rest: assumed
H100_SXM = Card(700, 70, 133, 152, True, 18.2)  # 69-71 W: NVIDIA/nccl#1967; 129-137 W, 152 W at 100%: NVIDIA/nccl#1550
H100_COOL = Card(700, 70, 88, 101, True, 12.1)  # hangs at about 100 W: NVIDIA-NeMo/Speech#9291; at rest: assumed
# Two channels, as with one slow network card (NVIDIA/nccl#689); watts: assumed.
H100_FEW = Card(700, 70, 118, 124, True, 1.5)
H200 = Card(700, 76, 115, 136, True, 18.2)  # 75-80 W bare: listings; the rest: assumed
B200 = Card(1000, 137, 186, 214, True, 16.2)  # 137 W: ROCm/legacy-rocm-build#5219; the rest: assumed
GB200 = Card(1200, 150, 205, 252, True, 21.6, noise=0.02)  # 232-280 W: marin-community/marin#7344; at rest: assumed
# 22 W: Lightning-AI/pytorch-lightning#19425; 100-115 W in P2: listings; polling: assumed.
RTX_3090 = Card(350, 22, 106, 118, True)
RTX_4090 = Card(450, 18, 56, 71, True)  # 15-22 W and 50-60 W in P2: listings; polling: assumed
L40S = Card(350, 34, 81, 94, True)  # 33-36 W and 75-90 W in P0: listings; polling: assumed
MI250 = Card(560, 90, 96, 124, True, whole_watts=True)  # about 90 W: listings; the rest: assumed
MI300X = Card(750, 132, 142, 178, True, whole_watts=True)  # 125-145 W: listings; polling, on more units: assumed


def position(time_s: Floats, ends_s: list[float], begin_s: float, step_s: float) -> Floats:
    """How far into its step each moment is, from 0 to 1."""
    edges = np.array([begin_s, *ends_s])
    lengths = np.append(np.diff(edges), step_s)
    at = np.searchsorted(edges, time_s, side="right") - 1
    share: Floats = np.clip((time_s - edges[at]) / lengths[at], 0.0, 1.0)
    return share


def step_ends(phase: Phase, begin_s: float, after_spin: bool, dice: np.random.Generator) -> list[float]:
    if phase.step_s is None:
        return []
    ends: list[float] = []
    # What a returned rank had been waited for is nearly done: the step it belongs to ends soon.
    first = 0.15 if after_spin else 1.0
    at_s = begin_s + phase.step_s * first
    while at_s < begin_s + phase.seconds:
        ends.append(at_s)
        at_s += phase.step_s * max(0.5, 1.0 + STEP_SPREAD * float(dice.standard_normal()))
    return ends


def drifting(count: int, dice: np.random.Generator) -> Floats:
    """Noise of one sigma, half of it white and half of it slow."""
    keep = math.exp(-1.0 / (DRIFT_S * FINE_HZ))
    slow = np.empty(count)
    state = float(dice.standard_normal())
    for index, shock in enumerate(dice.standard_normal(count) * math.sqrt(1.0 - keep * keep)):
        state = keep * state + float(shock)
        slow[index] = state
    return (slow + dice.standard_normal(count)) / math.sqrt(2.0)


def leaking(watts: Floats) -> Floats:
    """The power of a chip that is still as warm as it was: a bit more after heavy work, a bit less after rest."""
    keep = math.exp(-1.0 / (WARM_S * FINE_HZ))
    warmth = float(watts[0])
    out = np.empty_like(watts)
    for index, now in enumerate(watts):
        warmth = keep * warmth + (1.0 - keep) * float(now)
        out[index] = now + LEAK * (warmth - now)
    return out


def readings(watts: Floats, card: Card) -> tuple[Floats, Floats]:
    width = MEAN_OF if card.averages else INSTANT_OF
    total = np.concatenate([[0.0], np.cumsum(watts)])
    last = np.arange(0, len(watts), POWER_EVERY) + 1
    first = np.maximum(last - width, 0)
    means: Floats = (total[last] - total[first]) / (last - first)
    if card.whole_watts:
        means = np.round(means)
    time_s: Floats = np.asarray((last - 1) / FINE_HZ, dtype=np.float64)
    return time_s, np.round(means, 3)


def case(name: str, card: Card, seed: int, *phases: Phase, says_power: bool = True) -> CardCase:
    dice = np.random.default_rng(seed)
    count = round(sum(phase.seconds for phase in phases) * FINE_HZ)
    time_s = np.arange(count) / FINE_HZ
    watts, busy, sm, tensor, tremble = (np.zeros(count) for _ in range(5))
    ends_s: list[float] = []
    spins: list[tuple[float, float]] = []
    begin_s, after_spin = 0.0, False
    for phase in phases:
        end_s = begin_s + phase.seconds
        inside: Bools = (time_s >= begin_s) & (time_s < end_s)
        ends = step_ends(phase, begin_s, after_spin, dice)
        ends_s += ends
        watts[inside], sm[inside], tensor[inside] = phase.watts, phase.sm, phase.tensor
        busy[inside], tremble[inside] = phase.busy, phase.tremble
        if phase.step_s is not None:
            at = np.full(count, np.nan)
            at[inside] = position(time_s[inside], ends, begin_s, phase.step_s)
            stalled = at < phase.stall
            polling = at > 1.0 - phase.comm
            watts[stalled], busy[stalled], sm[stalled], tensor[stalled] = card.idle_w, 0.0, 0.0, 0.0
            watts[polling], sm[polling], tensor[polling] = card.poll_w, card.poll_sm or 0.0, 0.0
        if phase.spins and after_spin:
            spins[-1] = (spins[-1][0], end_s)
        elif phase.spins:
            spins.append((begin_s, end_s))
        begin_s, after_spin = end_s, phase.spins
    watts = leaking(watts) * (1.0 + card.noise * drifting(count, dice))
    if card.limit_w is not None:
        watts = np.minimum(watts, card.limit_w * 1.02)  # short peaks pass the limit by a little
    samples = count // FINE_PER_SAMPLE
    shape = (samples, FINE_PER_SAMPLE)

    def sampled(values: Floats) -> Floats:
        means: Floats = values[: samples * FINE_PER_SAMPLE].reshape(shape).mean(axis=1)
        return means

    share = sampled(busy)
    uneven = np.where((share > 0.0) & (share < 1.0), 0.12 * dice.standard_normal(samples), 0.0)
    short = sampled(tremble) * dice.random(samples)
    utilization = np.clip(np.round(100.0 * (share + uneven) - short), 0.0, 100.0)

    def activity(values: Floats) -> Floats:
        uneven: Floats = sampled(values) * (1.0 + 0.03 * dice.standard_normal(samples))
        return np.round(uneven.clip(0.0, 100.0), 2)

    power_time_s, power_w = readings(watts, card) if says_power else (np.zeros(0), np.zeros(0))
    reports = card.poll_sm is not None
    return CardCase(
        name,
        card.limit_w,
        np.arange(samples) / SAMPLES_HZ,
        utilization,
        power_time_s,
        power_w,
        activity(sm) if reports else None,
        activity(tensor) if reports else None,
        np.array(ends_s),
        spins,
    )


def idle(seconds: float, card: Card, share: float = 1.0) -> Phase:
    """At rest with a context; `share` of its power, where it differs."""
    return Phase(seconds, card.idle_w * share, busy=0.0)


def bare(seconds: float, card: Card) -> Phase:
    return Phase(seconds, card.bare_w, busy=0.0)


def spin(seconds: float, card: Card, share: float = 1.0, tremble: float = 0.0) -> Phase:
    return Phase(seconds, card.poll_w * share, card.poll_sm or 0.0, 0.0, spins=True, tremble=tremble)


def train(
    seconds: float,
    watts: float,
    step_s: float,
    *,
    sm: float = 88.0,  # well-fed training: 80% and more (DCGM's guide on profiling metrics)
    tensor: float = 40.0,  # near a model's share of the peak FLOPS, 30-50%; assumed
    comm: float = 0.04,  # assumed
    stall: float = 0.0,
    busy: float = 1.0,
    tremble: float = 2.0,
) -> Phase:
    return Phase(seconds, watts, sm, tensor, busy, step_s, stall, comm, tremble=tremble)


def work(seconds: float, watts: float, sm: float, tensor: float, busy: float = 1.0, tremble: float = 2.0) -> Phase:
    """Kernels that belong to no step: evaluation, inference."""
    return Phase(seconds, watts, sm, tensor, busy, tremble=tremble)


# Training's watts: 500-690 W on the H100 SXM (NVIDIA-NeMo/Speech#9291). On the others heavy work is assumed at
# 70-98% of the limit, light work at 30-60% of it.
PLANTED = [
    case(
        "H100 SXM, pretraining on many nodes hangs for good after four minutes",
        H100_COOL,
        101,
        bare(5, H100_COOL),
        idle(15, H100_COOL),
        train(235, 610, 1.08),
        spin(300, H100_COOL),
    ),
    case(
        "H100 SXM with a full memory, hangs right after the first steps",
        H100_SXM,
        102,
        idle(30, H100_SXM),
        train(12, 560, 2.0),
        spin(180, H100_SXM),
    ),
    case(
        "H100 SXM, two channels poll, a slow rank returns after 40 s",
        H100_FEW,
        103,
        idle(20, H100_FEW),
        train(120, 580, 0.8),
        spin(40, H100_FEW),
        train(120, 580, 0.8),
    ),
    case(
        "H100 PCIe, already training as the record begins, 90 s of waiting",
        H100_PCIE,
        104,
        train(150, 310, 0.5),
        spin(90, H100_PCIE, tremble=3),
        train(60, 310, 0.5),
    ),
    case(
        "H100 SXM with its limit lowered to 400 W",
        H100_SXM._replace(limit_w=400),
        105,
        idle(10, H100_SXM),
        train(140, 394, 1.6),
        spin(75, H100_SXM),
        train(75, 394, 1.6),
    ),
    case(
        "H100 SXM, checkpoint pause at rest, then 12 s of waiting for the rank that still writes",
        H100_SXM,
        106,
        train(120, 590, 1.2),
        idle(25, H100_SXM),
        spin(12, H100_SXM),
        train(120, 590, 1.2),
    ),
    case(
        "H100 SXM, the record begins within the waiting",
        H100_COOL,
        107,
        spin(80, H100_COOL),
        train(140, 600, 1.0),
    ),
    case(
        "H100 SXM whose power isn't readable, a minute of waiting",
        H100_SXM._replace(limit_w=None),
        108,
        idle(20, H100_SXM),
        train(110, 600, 0.9),
        spin(60, H100_SXM),
        train(60, 600, 0.9),
        says_power=False,
    ),
    case(
        "H200, a slow rank twice, 45 and 20 s",
        H200,
        109,
        idle(20, H200),
        train(90, 620, 1.5),
        spin(45, H200),
        train(90, 620, 1.5),
        spin(20, H200),
        train(60, 620, 1.5),
    ),
    case(
        "B200, three waits of 12 to 16 s",
        B200,
        110,
        idle(15, B200),
        train(70, 880, 0.6),
        spin(12, B200),
        train(50, 880, 0.6),
        spin(14, B200),
        train(60, 880, 0.6),
        spin(16, B200),
        train(40, 880, 0.6),
    ),
    case(
        "GB200 of a whole rack that hangs, steps of 17 s before, clocks stay high",
        GB200,
        111,
        train(240, 940, 17.0),
        spin(240, GB200),
    ),
    case(
        "A100 SXM, steps of 0.3 s, three minutes of waiting",
        A100_SXM,
        112,
        bare(10, A100_SXM),
        idle(20, A100_SXM),
        train(150, 355, 0.3),
        spin(180, A100_SXM),
        train(30, 355, 0.3),
    ),
    case(
        "A100 SXM that hangs at 70 W, steps of 5 s",
        A100_COOL,
        113,
        idle(10, A100_COOL),
        train(200, 330, 5.0),
        spin(150, A100_COOL),
    ),
    case(
        "A100 PCIe, idle power never seen, 35 s of waiting",
        A100_PCIE,
        114,
        train(180, 225, 0.7),
        spin(35, A100_PCIE),
        train(90, 225, 0.7),
    ),
    case(
        "A100 SXM, steps of 20 s, 100 s of waiting at a step's end",
        A100_SXM,
        115,
        idle(15, A100_SXM),
        train(219, 345, 20.0, comm=0.02),
        spin(100, A100_SXM),
        train(121, 345, 20.0, comm=0.02),
    ),
    case(
        "A100 SXM with a light model, 50 s of waiting",
        A100_SXM,
        116,
        idle(15, A100_SXM),
        train(120, 185, 0.15),
        spin(50, A100_SXM),
        train(60, 185, 0.15),
    ),
    case(
        "V100 SXM2 at 66 W, one second at rest seen",
        V100,
        117,
        idle(1, V100),
        train(160, 265, 0.45),
        spin(120, V100),
    ),
    case(
        "V100 SXM2, utilization trembles between 90 and 100%",
        V100,
        118,
        idle(12, V100),
        train(120, 240, 0.9, tremble=8),
        spin(60, V100, tremble=10),
        train(60, 240, 0.9, tremble=8),
    ),
    case(
        "T4, 25 s of waiting after a checkpoint pause",
        T4,
        119,
        bare(10, T4),
        idle(10, T4),
        train(100, 67, 1.1),
        idle(20, T4),
        spin(25, T4),
        train(60, 67, 1.1),
    ),
    case("L4, hangs after two minutes", L4, 120, idle(15, L4), train(120, 69, 0.8), spin(120, L4, tremble=3)),
    case(
        "A10, 30 s of waiting, noisy power",
        A10._replace(noise=0.03),
        121,
        idle(15, A10),
        train(120, 142, 0.6),
        spin(30, A10),
        train(60, 142, 0.6),
    ),
    case(
        "A40 with a high idle power, 70 s of waiting",
        A40,
        122,
        bare(15, A40),
        idle(15, A40),
        train(120, 285, 1.4),
        spin(70, A40),
        train(30, 285, 1.4),
    ),
    case(
        "RTX 3090 whose clocks stay high, hangs without an end",
        RTX_3090,
        123,
        bare(10, RTX_3090),
        idle(10, RTX_3090),
        train(120, 335, 0.5),
        spin(200, RTX_3090),
    ),
    case(
        "RTX 3090 with no readable limit, 40 s of waiting",
        RTX_3090._replace(limit_w=None),
        124,
        idle(10, RTX_3090),
        train(140, 330, 0.25),
        spin(40, RTX_3090),
        train(40, 330, 0.25),
    ),
    case(
        "RTX 4090 at 99%, hangs at the second epoch",
        RTX_4090,
        125,
        idle(20, RTX_4090),
        train(130, 380, 0.35),
        spin(150, RTX_4090, tremble=2),
    ),
    case(
        "RTX 4090 whose clocks drop after 30 s of waiting",
        RTX_4090,
        126,
        idle(20, RTX_4090),
        train(90, 390, 0.1),
        spin(30, RTX_4090, 1.15),
        spin(60, RTX_4090, 0.85),
        train(30, 390, 0.1),
    ),
    case(
        "L40S with its limit lowered to 250 W",
        L40S._replace(limit_w=250),
        127,
        idle(15, L40S),
        train(120, 246, 2.5),
        spin(80, L40S),
        train(40, 246, 2.5),
    ),
    case("MI250, whole watts", MI250, 128, idle(20, MI250), train(130, 470, 1.3), spin(90, MI250), train(30, 470, 1.3)),
    case(
        "MI300X, whole watts, begins while training",
        MI300X,
        129,
        train(150, 690, 3.0),
        spin(110, MI300X),
        train(60, 690, 3.0),
    ),
]

HEALTHY = [
    case("H100 SXM, heavy training", H100_SXM, 201, idle(20, H100_SXM), train(280, 650, 1.1, tensor=48)),
    case("A100 SXM, heavy training", A100_SXM, 202, train(240, 385, 0.6)),
    case("RTX 4090, heavy training", RTX_4090, 203, bare(10, RTX_4090), idle(10, RTX_4090), train(220, 425, 0.3)),
    case("MI300X, heavy training in whole watts", MI300X, 204, idle(20, MI300X), train(220, 710, 2.0)),
    case("MI250, light training in whole watts", MI250, 205, idle(20, MI250), train(200, 230, 0.5)),
    case("B200, training in steps of 12 s", B200, 206, idle(20, B200), train(300, 860, 12.0)),
    case("A100 SXM, small model at 100% and low power", A100_SXM, 207, idle(10, A100_SXM), train(230, 104, 0.05)),
    case(
        "H100 SXM, small model at 100%, as little power as when it polls",
        H100_SXM,
        208,
        idle(10, H100_SXM),
        train(230, 156, 0.2, sm=17, tensor=1.5),
    ),
    case("T4, small model at low power", T4, 209, idle(10, T4), train(200, 35, 0.12)),
    case("H100 SXM, steps of 45 s at full power", H100_SXM, 210, idle(20, H100_SXM), train(400, 640, 45.0, comm=0.01)),
    case("A100 SXM, steps of 60 s at full power", A100_SXM, 211, train(420, 370, 60.0, comm=0.005)),
    case("V100 SXM2, steps of 30 s at full power", V100, 212, idle(20, V100), train(280, 270, 30.0, comm=0.01)),
    case(
        "A100 SXM, a minute of evaluation at moderate power",
        A100_SXM,
        213,
        idle(15, A100_SXM),
        train(120, 360, 0.5),
        work(60, 240, 70, 20),
        train(60, 360, 0.5),
    ),
    case(
        "H100 SXM, 90 s of evaluation at low power",
        H100_SXM,
        214,
        idle(15, H100_SXM),
        train(120, 600, 1.0),
        work(90, 232, 52, 6),
        train(60, 600, 1.0),
    ),
    case(
        "T4, 70 s of evaluation at low power",
        T4,
        215,
        idle(15, T4),
        train(100, 68, 0.9),
        work(70, 46, 0, 0),
        train(40, 68, 0.9),
    ),
    case(
        "RTX 3090, evaluation at low power",
        RTX_3090,
        216,
        idle(15, RTX_3090),
        train(120, 335, 0.4),
        work(80, 178, 0, 0, tremble=6),
        train(40, 335, 0.4),
    ),
    case(
        "H100 SXM, two checkpoint pauses at rest",
        H100_SXM,
        217,
        train(100, 600, 1.0),
        idle(35, H100_SXM),
        train(80, 600, 1.0),
        idle(50, H100_SXM),
        train(60, 600, 1.0),
    ),
    case(
        "V100 SXM2, a checkpoint pause at rest",
        V100,
        218,
        idle(10, V100),
        train(120, 250, 0.7),
        idle(60, V100),
        train(60, 250, 0.7),
    ),
    case(
        "A100 SXM, gradients accumulated over 16 s",
        A100_SXM,
        219,
        idle(10, A100_SXM),
        train(250, 350, 16.0, comm=0.03),
    ),
    case(
        "H100 PCIe, two compilations at rest",
        H100_PCIE,
        220,
        idle(60, H100_PCIE),
        train(20, 290, 0.6),
        Phase(75, H100_PCIE.idle_w * 1.05, 0.3, 0.0, 0.02),  # a few kernels tried out; assumed
        train(120, 320, 0.45),
    ),
    case(
        "H100 SXM, kernels bound by the memory, no tensor cores",
        H100_SXM,
        221,
        idle(20, H100_SXM),
        work(220, 410, 94, 0),
    ),
    case("V100 SXM2, kernels bound by the memory", V100, 222, idle(20, V100), work(200, 165, 0, 0)),
    case(
        "L4, inference of a language model",
        L4,
        223,
        idle(30, L4),
        work(120, 62, 0, 0),
        idle(15, L4),
        work(60, 58, 0, 0),
    ),
    case(
        "H200, a language model's decoding at 100%",
        H200,
        224,
        idle(20, H200),
        work(200, 330, 68, 5, tremble=4),
    ),
    case("A10, inference in bursts", A10, 225, idle(20, A10), work(180, 104, 0, 0, busy=0.6)),
    case("A100 PCIe slowed by its heat", A100_PCIE, 226, train(100, 228, 0.7), train(140, 128, 1.5)),
    case(
        "V100 SXM2 behind a power brake, slow steps",
        V100,
        227,
        idle(10, V100),
        train(80, 250, 0.8),
        train(150, 98, 3.2),  # assumed
    ),
    case(
        "RTX 4090 with its limit lowered to 200 W",
        RTX_4090._replace(limit_w=200),
        228,
        idle(10, RTX_4090),
        train(200, 197, 0.6),
    ),
    case(
        "RTX 3090 with no readable power, training",
        RTX_3090._replace(limit_w=None),
        229,
        idle(15, RTX_3090),
        train(200, 300, 0.5),
        says_power=False,
    ),
    case(
        "T4 with no readable power, a minute of evaluation",
        T4._replace(limit_w=None),
        230,
        train(100, 66, 0.9),
        work(60, 60, 0, 0),
        train(60, 66, 0.9),
        says_power=False,
    ),
    case(
        "A100 SXM waits for data, utilization of 30%",
        A100_SXM,
        231,
        idle(10, A100_SXM),
        train(220, 310, 1.5, stall=0.66),
    ),
    case("H100 SXM at rest with a context", H100_SXM, 232, idle(240, H100_SXM)),
    case("RTX 4090 at rest, then with a context", RTX_4090, 233, bare(100, RTX_4090), idle(120, RTX_4090)),
    case(
        "H100 SXM, collectives straggle by 0.5 s in each step of 2 s",
        H100_SXM,
        234,
        idle(15, H100_SXM),
        train(220, 590, 2.0, comm=0.25),
    ),
    case(
        "A100 SXM, collectives straggle by 0.5 s in each step of 0.9 s",
        A100_SXM,
        235,
        train(220, 340, 0.9, comm=0.55),
    ),
    case(
        "H200, a pipeline whose bubbles poll for 3 s of each step of 8 s",
        H200,
        236,
        idle(15, H200),
        train(240, 600, 8.0, comm=0.375),
    ),
]
