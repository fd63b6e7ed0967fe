"""What a GPU's own counters say: it is slowed down, faulty, lost, idle though held, or used by others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from collectors.machine.inventory import Gpu, GpuProcess
from collectors.message import Message, counted, phrase

from ..logs.crash import XIDS
from .rule import Detection, MachineSubject, RecentPoints, RunSubject

THROTTLE_S, THROTTLED, LOOKS = (
    60.0,
    0.03,
    20,
)  # of the time, slowed by heat or the power brake; least looks at the reasons
SLOWED = (
    ("gpu/slowed_by_heat_s", phrase("heat")),
    ("gpu/slowed_by_hw_heat_s", phrase("heat (the hardware's own limit)")),
    ("gpu/slowed_by_power_brake_s", phrase("the power brake of the server")),
)
HEAT_BITS = 0x8 | 0x20 | 0x40 | 0x80  # of gpu/clock_event_reasons, where there are no counters
FATAL_XIDS = {48, 61, 62, 64, 74, 79, 95, 119, 120, 140, 143}
OF_A_CRASH = {13, 31, 43, 45}  # the program's own fault: said with its crash
XID_ACTIONS = {
    48: phrase("reset the GPU; if it comes back, replace the card"),
    64: phrase("reset the GPU; if it comes back, replace the card"),
    74: phrase("check the NVLink bridge, and reset the GPU"),
    79: phrase("the host has to be started again; check power and seating of the card"),
    95: phrase("reset the GPU before anything else runs on it"),
    119: phrase("reset the GPU, or update the driver"),
}
FRESH_S = 3600.0
LOADED_S, LOADED = 30.0, 20.0  # percent busy
GIB = 1 << 30
IDLE_S = 1800.0
CORES_S, SM_BUSY, TENSOR_IDLE = 45.0, 50.0, 1.0  # percent


def throttle(machine: MachineSubject) -> Iterator[Detection]:
    """By the driver's counters; the share of the last minute, and what that cost at least in clock."""
    since_s = machine.now_s - THROTTLE_S
    for gpu in machine.gpus:
        said = False
        for name, why in SLOWED:
            track = machine.one(name, uuid=gpu.uuid)
            share = _rise(track, since_s) if track is not None else None
            if share is not None and share >= THROTTLED:
                said = True
                yield _throttled(machine, gpu, name, why, share)
        reasons = machine.one("gpu/clock_event_reasons", uuid=gpu.uuid)
        if said or reasons is None or any(machine.one(name, uuid=gpu.uuid) is not None for name, _ in SLOWED):
            continue
        masks = reasons.since(since_s)[1]
        bits = masks[np.isfinite(masks)].astype(np.int64)
        share = float(np.mean((bits & HEAT_BITS) > 0)) if len(bits) >= LOOKS else 0.0
        if share >= THROTTLED:
            yield _throttled(machine, gpu, "gpu/clock_event_reasons", phrase("heat or a power brake"), share)


def _rise(track: RecentPoints, since_s: float) -> float | None:
    """Of a counter of seconds, by how much of the time it rose."""
    time_s, value = track.since(since_s - 10.0)
    if len(time_s) < 2 or time_s[-1] - time_s[0] < THROTTLE_S / 2:
        return None
    return max(0.0, float(value[-1] - value[0])) / float(time_s[-1] - time_s[0])


def _throttled(machine: MachineSubject, gpu: Gpu, name: str, why: Message, share: float) -> Detection:
    clock, highest = machine.one("gpu/sm_clock_mhz", uuid=gpu.uuid), machine.one("gpu/sm_clock_max_mhz", uuid=gpu.uuid)
    temperature = machine.one("gpu/temperature_c", uuid=gpu.uuid)
    most = highest.last() if highest is not None else None
    lost = heat = None
    if clock is not None and most:
        mean = (
            float(np.nanmean(clock.since(machine.now_s - THROTTLE_S)[1]))
            if len(clock.since(machine.now_s - THROTTLE_S)[1])
            else most
        )
        lost = phrase(", at {clock_pct:percent} of its highest clock", clock_pct=100 * mean / most)
    degrees = temperature.last() if temperature is not None else None
    if degrees is not None:
        heat = phrase(", {temperature_c:.0f} °C", temperature_c=degrees)
    return Detection(
        phrase(
            "GPU {gpu} is slowed by {why} {share_pct:percent} of the time{lost}{heat}.",
            gpu=gpu.index,
            why=why,
            share_pct=100 * share,
            lost=lost,
            heat=heat,
        ),
        machine.now_s - THROTTLE_S,
        machine.now_s,
        key=f"{gpu.uuid} {name}",
        numbers={"share": round(100 * share, 1)},
        more={"gpu": gpu.uuid},
    )


def xid(machine: MachineSubject) -> Iterator[Detection]:
    """With its meaning and what NVIDIA says is to be done."""
    for labels, track in machine.named("gpu/xid"):
        for time_s, value in zip(*track.since(machine.now_s - FRESH_S), strict=True):
            number = int(value) if np.isfinite(value) else 0
            if not number or number in OF_A_CRASH:
                continue
            fatal = number in FATAL_XIDS
            yield Detection(
                phrase(
                    "{gpu} reported XID {number}{meaning}{action}.",
                    gpu=machine.label_of(labels),
                    number=number,
                    meaning=phrase(": {meaning}", meaning=XIDS[number]) if number in XIDS else None,
                    action=phrase("; {action}", action=XID_ACTIONS[number]) if number in XID_ACTIONS else None,
                ),
                float(time_s),
                float(time_s),
                key=f"{labels.get('uuid')} {number} {time_s:.3f}",
                moment=True,
                numbers={"xid": float(number)},
                more={"gpu": labels.get("uuid", "")},
                weight="alert" if fatal else "note",
            )


def ecc(machine: MachineSubject) -> Iterator[Detection]:
    """A new error that was not corrected, or a thousand that were."""
    for name, least, what in (
        ("gpu/ecc_uncorrected", 1.0, phrase("that was not corrected: results since then may be wrong")),
        ("gpu/ecc_corrected", 1000.0, phrase("that were corrected: the memory is failing")),
    ):
        for labels, track in machine.named(name):
            time_s, value = track.since(machine.now_s - FRESH_S)
            rise = float(value[-1] - value[0]) if len(value) > 1 else 0.0
            if rise >= least:
                at = int(np.flatnonzero(np.diff(value) > 0)[0]) + 1
                yield Detection(
                    counted(
                        "{gpu} has {count:.0f} new memory error (ECC) {what}.",
                        "{gpu} has {count:.0f} new memory errors (ECC) {what}.",
                        rise,
                        gpu=machine.label_of(labels),
                        what=what,
                    ),
                    float(time_s[at]),
                    machine.now_s,
                    key=f"{labels.get('uuid')} {name}",
                    numbers={"errors": rise},
                    more={"gpu": labels.get("uuid", "")},
                )


def remapped_rows(machine: MachineSubject) -> Iterator[Detection]:
    """A row of memory waits for a reset to be replaced, or cannot be."""
    for name in ("gpu/remap_failed", "gpu/remap_pending"):
        for labels, track in machine.named(name):
            if (track.last() or 0.0) >= 1:
                since, gpu = track.time_s[track.value >= 1], machine.label_of(labels)
                yield Detection(
                    phrase("{gpu} could not replace a faulty row of its memory: replace the card.", gpu=gpu)
                    if name == "gpu/remap_failed"
                    else phrase("{gpu} has a faulty row of memory that a reset of the GPU would replace.", gpu=gpu),
                    float(since[0]),
                    machine.now_s,
                    key=f"{labels.get('uuid')} {name}",
                    more={"gpu": labels.get("uuid", "")},
                )


def pcie_link(machine: MachineSubject) -> Iterator[Detection]:
    """Slower than the same card was, or than others of its kind are, under load; an idle link saves power."""
    widest: dict[tuple[str, str], float] = {}
    kinds = {gpu.uuid: gpu.name for gpu in machine.gpus}
    for name in ("gpu/pcie_generation", "gpu/pcie_width"):
        for labels, track in machine.named(name):
            key = kinds.get(labels.get("uuid", ""), ""), name
            widest[key] = max(widest.get(key, 0.0), float(np.nanmax(track.value)))
    for gpu in machine.gpus:
        busy = machine.one("gpu/utilization_pct", uuid=gpu.uuid)
        loads = busy.since(machine.now_s - LOADED_S)[1] if busy is not None else np.zeros(0)
        if not len(loads) or float(np.nanmin(loads)) < LOADED:
            continue
        for name, unit in (("gpu/pcie_generation", "generation"), ("gpu/pcie_width", "lanes")):
            link = machine.one(name, uuid=gpu.uuid)
            recent = link.since(machine.now_s - LOADED_S)[1] if link is not None else np.zeros(0)
            best = widest.get((gpu.name, name), 0.0)
            if len(recent) >= 2 and best and float(np.max(recent)) < best:
                now = (
                    phrase("generation {now:.0f} of {best:.0f}", now=float(recent[-1]), best=best)
                    if unit == "generation"
                    else phrase("{now:.0f} lanes of {best:.0f}", now=float(recent[-1]), best=best)
                )
                yield Detection(
                    phrase(
                        "GPU {gpu}'s PCIe link runs with {now} under load: copies take longer; check its seating and riser.",
                        gpu=gpu.index,
                        now=now,
                    ),
                    machine.now_s - LOADED_S,
                    machine.now_s,
                    key=f"{gpu.uuid} {name}",
                    numbers={"now": float(recent[-1]), "best": best},
                    more={"gpu": gpu.uuid},
                )


def gpu_lost(machine: MachineSubject) -> Iterator[Detection]:
    for gpu in machine.gpus:
        if gpu.state == "lost":
            since_s = gpu.since_s or machine.now_s
            yield Detection(
                gpu.reason or phrase("GPU {gpu} does not answer.", gpu=gpu.index),
                since_s,
                machine.now_s,
                key=gpu.uuid,
                more={"gpu": gpu.uuid},
            )


def held_and_idle(machine: MachineSubject) -> Iterator[Detection]:
    """Memory is taken, and nothing computes: often a notebook that was left open."""
    for gpu in machine.gpus:
        busy = machine.one("gpu/utilization_pct", uuid=gpu.uuid)
        users = [user for user in gpu.processes if user.kind == "compute" and (user.used_memory_bytes or 0) > GIB]
        if busy is None or not users:
            continue
        time_s, load = busy.since(machine.now_s - IDLE_S)
        if not len(load) or time_s[0] > machine.now_s - 0.95 * IDLE_S or float(np.nanmax(load)) > 0:
            continue
        held = sum(user.used_memory_bytes or 0 for user in users) / GIB
        yield Detection(
            phrase(
                "GPU {gpu} has been idle for {idle_s:spoken} while {users} hold {held_gib:.0f} GiB of its memory.",
                gpu=gpu.index,
                idle_s=machine.now_s - float(time_s[0]),
                users=_whose(machine, users),
                held_gib=held,
            ),
            float(time_s[0]),
            machine.now_s,
            key=gpu.uuid,
            numbers={"held_gib": round(held, 1)},
            more={"gpu": gpu.uuid},
        )


def _whose(machine: MachineSubject, users: list[GpuProcess]) -> list[Message]:
    """Runs, or programs of users; each once."""
    named = [_who(user, machine.owners.get(user.pid, ())) for user in users[:3]]
    return [who for place, who in enumerate(named) if who not in named[:place]]


def _who(user: GpuProcess, runs: Sequence[str]) -> Message:
    if runs:
        return phrase("{runs: and }", runs=list(runs))
    name = user.name or phrase("process")
    if not user.user:
        return phrase("{name} {pid}", name=name, pid=user.pid)
    return phrase("{name} {pid} of {user}", name=name, pid=user.pid, user=user.user)


def foreign_process(subject: RunSubject) -> Iterator[Detection]:
    """Another run, or another user, computes on the run's card."""
    mine = {process.pid for process in subject.processes}
    for gpu in subject.gpus():
        others = [
            user
            for user in gpu.processes
            if user.kind == "compute"
            and user.pid not in mine
            and (user.used_memory_bytes or 0) > GIB
            and subject.run not in subject.machine.owners.get(user.pid, ())
        ]
        if others:
            held = sum(user.used_memory_bytes or 0 for user in others) / GIB
            yield Detection(
                phrase(
                    "GPU {gpu} is also used by {users} ({held_gib:.0f} GiB).",
                    gpu=gpu.index,
                    users=_whose(subject.machine, others),
                    held_gib=held,
                ),
                subject.now_s,
                subject.now_s,
                key=gpu.uuid,
                numbers={"held_gib": round(held, 1)},
                more={"gpu": gpu.uuid},
            )


def contexts_on_first(subject: RunSubject) -> Iterator[Detection]:
    """Ranks that compute on another card have a context on GPU 0 as well: each takes memory of it."""
    ranks = {process.pid: process.rank for process in subject.processes}
    cards = {
        pid: {gpu.index for gpu in subject.gpus() if any(user.pid == pid for user in gpu.processes)} for pid in ranks
    }
    strays = sorted(ranks[pid] for pid, on in cards.items() if 0 in on and len(on) > 1)
    others = sorted(ranks[pid] for pid, on in cards.items() if on == {0})
    if len(ranks) > 1 and strays and (others or len(strays) == len(ranks)):
        yield Detection(
            counted(
                "Rank {ranks} also holds a context on GPU 0: call torch.cuda.set_device(local_rank) before the first CUDA call.",
                "Ranks {ranks} also hold a context on GPU 0: call torch.cuda.set_device(local_rank) before the first CUDA call.",
                len(strays),
                ranks=strays[:8],
            ),
            subject.now_s,
            subject.now_s,
            numbers={"ranks": float(len(strays))},
        )


def tensor_cores_idle(machine: MachineSubject) -> Iterator[Detection]:
    """By the card's own counters (GPM): the multiprocessors are busy, the tensor cores are not."""
    for gpu in machine.gpus:
        sm, tensor = (
            machine.one("gpu/sm_active_pct", uuid=gpu.uuid),
            machine.one("gpu/tensor_active_pct", uuid=gpu.uuid),
        )
        if sm is None or tensor is None:
            continue
        time_s, busy = sm.since(machine.now_s - CORES_S)
        works = tensor.since(machine.now_s - CORES_S)[1]
        if len(busy) < 20 or time_s[0] > machine.now_s - 0.8 * CORES_S or float(np.nanmean(busy)) < SM_BUSY:
            continue
        if len(works) and float(np.nanmean(works)) < TENSOR_IDLE:
            yield Detection(
                phrase(
                    "GPU {gpu}'s tensor cores are idle ({tensor_pct:percent}) while its multiprocessors are {sm_pct:percent} busy: mixed precision (bf16, fp16 or TF32) is off.",
                    gpu=gpu.index,
                    tensor_pct=float(np.nanmean(works)),
                    sm_pct=float(np.nanmean(busy)),
                ),
                float(time_s[0]),
                machine.now_s,
                key=gpu.uuid,
                numbers={"tensor": float(np.nanmean(works)), "sm": float(np.nanmean(busy))},
                more={"gpu": gpu.uuid},
            )
