"""Described cards with a fault each: the real collector of GPUs over the fake libnvidia-ml.so.1, both on the moved clock."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from analysis.findings.cards import FATAL_XIDS
from analysis.findings.rule import RunRule
from analysis.findings.rules import BY_NAME
from collectors.machine import gpu, nvml, polled_card
from collectors.machine.nvml import NvmlCollector
from collectors.machine.run_state import RunProcess
from collectors.records import Finding, Record
from tests import fake_nvml
from tests.planted.moved_time import moved
from tests.planted.windows import JudgedWindow, PlantedResult, PlantedWindow, judge
from tests.support.judged import GIB, T0, JudgedRuns, point

MAX_CARDS = 8
WARM_S = (40.0, 60.0)
GPU_IS_LOST = 15


@functools.cache
def library() -> None:
    """Found by its soname by the binding."""
    ctypes.CDLL(str(fake_nvml.build(Path(tempfile.mkdtemp(prefix="planted-nvml-")))))


class DescribedFault(NamedTuple):
    """What a card's description says from a moment on, and what is done to the driver then."""

    lines: Sequence[str]
    what: str = ""
    act: Callable[[fake_nvml.Shared, int], None] | None = None


class CardWindow(NamedTuple):
    """`pids` are those of the run on this card, by rank; empty without one."""

    card: int
    planted_s: float  # since the start
    pids: Sequence[int]
    others: Sequence[int]  # pids of processes that belong to no run


Describe = Callable[[CardWindow, random.Random], DescribedFault]


class CardCause(NamedTuple):
    """A rule, and how a card is described that trips it."""

    rule: str
    name: str
    describe: Describe
    warm_s: tuple[float, float] = WARM_S
    period_s: int = 1  # how often the driver is asked; a long wait needs it less often
    cards: int = 1  # of one window: a run on several
    steps_end: bool = False  # no step ends after the moment


def at(index: int, planted_s: float, **signals: float) -> list[str]:
    return fake_nvml.changes(str(index), planted_s, signals)


def busy(window: CardWindow, pid: int, memory: float = 20e9, from_s: float = 0.0, index: int | None = None) -> str:
    return f"process {window.card if index is None else index} {pid} {memory:.0f} 96 compute {from_s:g}"


# -- causes ------------------------------------------------------------------------------------------------------------


def throttle(window: CardWindow, dice: random.Random) -> DescribedFault:
    """By counters, or by reasons where the card has none."""
    share, temperature = dice.uniform(0.05, 1.0), dice.uniform(84, 92)
    hot = {"temperature": temperature, "sm_clock": dice.uniform(900, 1700)}
    if dice.random() < 0.3:
        return DescribedFault(
            [f"lacks {window.card} counters", *at(window.card, window.planted_s, reasons=0x44, **hot)], "reasons"
        )
    name = dice.choice(["slowed_by_heat", "slowed_by_hw_heat", "slowed_by_power_brake"])
    lines = at(window.card, window.planted_s, **hot)
    for second in range(90):  # a counter of seconds
        lines += at(window.card, window.planted_s + second, **{name: share * second})
    return DescribedFault(lines, f"{name} {share:.2f}")


def xid(window: CardWindow, dice: random.Random) -> DescribedFault:
    number = dice.choice([*FATAL_XIDS, 32, 63, 94])
    return DescribedFault([], f"XID {number}", lambda shared, index: shared.xid.__setitem__(index, number))


def ecc(window: CardWindow, dice: random.Random) -> DescribedFault:
    """Some cards had errors before."""
    before = dice.choice([0, 0, 3, 40])
    kind, new = dice.choice([("ecc_uncorrected", dice.randint(1, 9)), ("ecc_corrected", dice.randint(1000, 90_000))])
    lines = [*at(window.card, 0, **{kind: before}), *at(window.card, window.planted_s, **{kind: before + new})]
    return DescribedFault(lines, f"{kind} {before} + {new}")


def remapped_rows(window: CardWindow, dice: random.Random) -> DescribedFault:
    kind = dice.choice(["remap_pending", "remap_failed"])
    return DescribedFault(at(window.card, window.planted_s, **{kind: 1}), kind)


def pcie_link(window: CardWindow, dice: random.Random) -> DescribedFault:
    now = dice.choice(
        [{"pcie_width": 8}, {"pcie_width": 4}, {"pcie_width": 1}, {"pcie_generation": 3}, {"pcie_generation": 1}]
    )
    return DescribedFault(at(window.card, window.planted_s, **now), str(now))


def gpu_lost(window: CardWindow, dice: random.Random) -> DescribedFault:
    """It answers that it is lost; half of them with an XID."""
    with_xid = dice.random() < 0.5

    def lose(shared: fake_nvml.Shared, index: int) -> None:
        shared.xid[index] = 79 if with_xid else 0
        shared.gpu_error[index] = GPU_IS_LOST

    return DescribedFault([], f"xid {with_xid}", lose)


def held_and_idle(window: CardWindow, dice: random.Random) -> DescribedFault:
    memory = dice.uniform(1.2, 70) * GIB
    pid = (*window.pids, *window.others)[0]
    return DescribedFault([busy(window, pid, memory), *at(window.card, window.planted_s, utilization=0, sm_active=0)], f"{memory / GIB:.1f} GiB")  # fmt: skip


def tensor_cores_idle(window: CardWindow, dice: random.Random) -> DescribedFault:
    sm = dice.uniform(55, 100)
    return DescribedFault(at(window.card, window.planted_s, tensor=dice.uniform(0, 0.8), sm_active=sm), f"sm {sm:.0f}")


def gpu_memory_creep(window: CardWindow, dice: random.Random) -> DescribedFault:
    """A leak of 8 to 60 MB a second under the saw of steps, on a card that is more than half full."""
    rate, start, saw = dice.uniform(8e6, 60e6), dice.uniform(44e9, 55e9), dice.uniform(0, 1.5e9)
    lines = [busy(window, window.pids[0], 40e9), *at(window.card, 0, memory_used=start)]
    for second in range(int(window.planted_s) + 340):
        leaked = max(0.0, second - window.planted_s) * rate
        lines += at(window.card, second, memory_used=start + leaked + dice.uniform(0, saw))
    return DescribedFault(lines, f"{rate / 1e6:.0f} MB/s, saw {saw / 1e9:.1f} GB")


def foreign_process(window: CardWindow, dice: random.Random) -> DescribedFault:
    memory = dice.uniform(1.1, 40) * GIB
    pid = dice.choice(window.others)
    return DescribedFault(
        [busy(window, window.pids[0]), busy(window, pid, memory, window.planted_s)], f"{memory / GIB:.1f} GiB"
    )


def contexts_on_first(window: CardWindow, dice: random.Random) -> DescribedFault:
    """Rank r computes on card r; from a moment on some of them, or all, have a context on the first one."""
    many = len(window.pids)
    strays = dice.sample(range(1, many), dice.randint(1, many - 1))
    lines = [busy(window, pid, index=rank) for rank, pid in enumerate(window.pids)]
    lines += [busy(window, window.pids[rank], 5e8, window.planted_s, index=0) for rank in strays]
    return DescribedFault(lines, f"{len(strays)} of {many} ranks")


def spinning(window: CardWindow, dice: random.Random) -> DescribedFault:
    """At rest, at work, then in a collective that waits; some cards do not tell what of them is at work."""
    rest_w, work_w, polls_w = dice.uniform(65, 140), dice.uniform(350, 690), dice.uniform(5, 60)
    lines = [
        busy(window, window.pids[0], from_s=12.0),
        *at(window.card, 0, utilization=0, sm_active=0, tensor=0, power=rest_w),
    ]
    lines += at(window.card, 12, utilization=97, sm_active=80, tensor=40, power=work_w)
    waits = {
        "utilization": dice.uniform(97, 100),
        "sm_active": dice.uniform(1, 25),
        "tensor": 0,
        "power": rest_w + polls_w,
    }
    lines += at(window.card, window.planted_s, **waits)
    tells = dice.random() < 0.5
    return DescribedFault(
        [*lines, *([] if tells else [f"lacks {window.card} gpm"])], f"{rest_w:.0f} W + {polls_w:.0f} W, GPM {tells}"
    )


CAUSES: Final = (
    CardCause("throttle", "heat or the power brake, 5 to 100 % of the time", throttle, (80.0, 100.0)),
    CardCause("xid", "an XID of the driver's queue", xid),
    CardCause("ecc", "new memory errors", ecc),
    CardCause("remapped_rows", "a row that waits, or could not be replaced", remapped_rows),
    CardCause("pcie_link", "lanes or a generation less under load", pcie_link),
    CardCause("gpu_lost", "the driver answers that the card is lost", gpu_lost),
    CardCause("held_and_idle", "memory held, 0 % busy", held_and_idle, period_s=5),
    CardCause("tensor_cores_idle", "tensor cores that stop", tensor_cores_idle),
    CardCause("gpu_memory_creep", "a leak of 8 to 60 MB/s under a saw", gpu_memory_creep, (110.0, 140.0), period_s=2),
    CardCause("foreign_process", "a process of another user comes", foreign_process),
    CardCause("contexts_on_first", "ranks of other cards open a context on GPU 0", contexts_on_first, cards=MAX_CARDS),
    CardCause("spinning", "busy at little power, and no step ends", spinning, (60.0, 90.0), steps_end=True),
)


# -- judging -----------------------------------------------------------------------------------------------------------


def judged(folder: Path, cause: CardCause, many: int, dice: random.Random) -> PlantedResult:
    """Machines of up to eight cards, each with its moment."""
    rows: list[JudgedWindow] = []
    while len(rows) < many:
        windows = 1 if cause.cards > 1 else min(MAX_CARDS, many - len(rows))
        cards = dice.randint(2, cause.cards) if cause.cards > 1 else windows
        result = _machine(folder / f"{cause.rule}-{len(rows)}", cause, windows, cards, dice)
        rows += result.judged
    return PlantedResult(cause.rule, cause.name, rows)


def _machine(folder: Path, cause: CardCause, windows: int, cards: int, dice: random.Random) -> PlantedResult:
    library()
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        others = [stack.enter_context(_other_process()) for _ in range(3)]
        is_of_run = isinstance(BY_NAME[cause.rule], RunRule)
        # of the runs' processes only that they are listed matters; all of them are this one's by their start event
        pids = [[1_000_000 + 100 * number + rank for rank in range(max(1, cards if cause.cards > 1 else 1))] for number in range(windows)]  # fmt: skip
        drawn = [
            CardWindow(number, round(dice.uniform(*cause.warm_s), 2), pids[number] if is_of_run else (), others)
            for number in range(windows)
        ]
        faults = [cause.describe(window, dice) for window in drawn]
        lines = [fake_nvml.hopper(cards), *(line for fault in faults for line in fault.lines)]
        control = fake_nvml.Control(folder / "control")
        (folder / "trace").write_text("\n".join(lines) + "\n")
        stack.enter_context(_environment(FAKE_NVML_TRACE=str(folder / "trace"), FAKE_NVML_CONTROL=str(control.path)))
        control.shared.epoch_s, control.shared.now_s = T0, 0.0
        clock = stack.enter_context(moved(T0, (nvml, gpu, polled_card)))
        collector = NvmlCollector("box")
        stack.callback(collector.close)
        waiting = [(window, fault) for window, fault in zip(drawn, faults, strict=True) if fault.act is not None]

        def each_second(runs: JudgedRuns) -> Iterable[Record]:
            since_s = runs.now_s - T0
            for window, fault in list(waiting):
                if since_s >= window.planted_s and fault.act is not None:
                    waiting.remove((window, fault))
                    fault.act(control.shared, window.card)
            clock.now_s, control.shared.now_s = runs.now_s, since_s
            found: list[Record] = []
            if since_s % cause.period_s == 0 or since_s < 2 or not waiting:
                found = [*collector.collect(), *collector.collect()] if since_s < 2 else list(collector.collect())
            runs.gpus = list(collector.inventory().gpus)
            for number in range(windows if is_of_run else 0):
                name = f"run-{number}"
                runs.finder.processes[name] = [RunProcess(pid, rank, 1) for rank, pid in enumerate(pids[number])]
            return found

        rows = []
        for window, fault in zip(drawn, faults, strict=True):
            name = f"run-{window.card}" if is_of_run else str(window.card)
            until_s = T0 + window.planted_s if cause.steps_end else math.inf
            points = _steps(name, dice.uniform(10.5, 25), until_s) if is_of_run else iter(())
            rows.append(
                PlantedWindow(name, T0 + window.planted_s, points, 0.0, T0, len(window.pids) or 1, what=fault.what)
            )
        uuids = {f"GPU-00000000-fake-0000-0000-{index:012}": str(index) for index in range(cards)}

        def subject(found: Finding) -> str:
            return found.run or uuids.get(str(found.fields.get("gpu")), "")

        stored = cause.steps_end  # its rule reads them from there
        return judge(folder / "data", cause.rule, rows, stored=stored, each_second=each_second, subject=subject)


def _steps(run: str, per_s: float, until_s: float) -> Iterator[tuple[float, Record]]:
    step, time_s = 0, T0 + 1.0
    while time_s < until_s:
        yield time_s, point(run, time_s, step, {"train/loss": 1.0})
        time_s += 1.0
        step = int((time_s - T0) * per_s)


@contextmanager
def _other_process() -> Iterator[int]:
    """A real one, of another user where that is allowed."""
    user = 65534 if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "1000"], user=user) as process:
        try:
            yield process.pid
        finally:
            process.kill()


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
