"""Kinds of time of a run and of its steps, the line each second is charged to, and the thresholds of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from collectors.records import Frame

from ..stacks.waits import Joined

TimeKind: TypeAlias = Literal[
    "training",
    "initialisation",
    "busy",
    "data",
    "launch",
    "sync",
    "collective",
    "python",
    "gil",
    "lock",
    "wait",
    "log",
    "checkpoint",
    "validation",
    "gc",
    "compile",
    "copy",
    "transfer",
    "cpu_taken",
    "cpu_own",
    "idle",
    "other",
    "unexplained",
    "redone",
    "stalled",
    "between",
    "nothing",
    "ending",
    "running",
]
Level: TypeAlias = Literal["run", "step", "both"]
BUSY: TimeKind = "busy"


class KindName(NamedTuple):
    """What the wall time of a run is divided into, or the time of its steps, which divides `training` further; or both."""

    kind: TimeKind
    level: Level
    label: str  # as a sentence names it
    spent: str = ""  # after "12 points more", where the label does not fit there
    short: str = ""  # words of the label that tell it from the others, where there is room for no more


NAMES = (
    KindName("training", "run", "training"),
    KindName("initialisation", "run", "initialisation"),
    KindName("busy", "step", "GPU busy", "with the GPU busy"),
    KindName("data", "step", "waiting for data", short="data"),
    KindName("launch", "step", "launch-bound"),
    KindName("sync", "step", "waiting for the GPU", short="GPU wait"),
    KindName("collective", "step", "waiting for other ranks", short="other ranks"),
    KindName("python", "step", "own Python", "in own Python"),
    KindName("gil", "step", "waiting for the GIL", short="GIL"),
    KindName("lock", "step", "waiting for a lock", short="lock"),
    KindName("wait", "step", "other waits", "in other waits"),
    KindName("log", "step", "logging"),
    KindName("checkpoint", "both", "checkpoint", "on checkpoints"),
    KindName("validation", "both", "validation", "on validation"),
    KindName("gc", "step", "garbage collection", "on garbage collection", short="garbage"),
    KindName("compile", "step", "compiling"),
    KindName("copy", "step", "copies", "on copies"),
    KindName("transfer", "step", "transfers", "on transfers"),
    KindName(
        "cpu_taken", "step", "CPU taken by other processes", "with the CPU taken by other processes", short="CPU taken"
    ),
    KindName(
        "cpu_own",
        "step",
        "CPU taken by its own processes",
        "with the CPU taken by its own processes",
        short="own processes",
    ),
    KindName("idle", "step", "waiting for requests", short="requests"),
    KindName("other", "step", "other", "on other work"),
    KindName("unexplained", "step", "unexplained"),
    KindName("redone", "run", "steps done again later"),
    KindName("stalled", "run", "stalled"),
    KindName("between", "run", "between attempts"),
    KindName("nothing", "run", "attempts without a step"),
    KindName("ending", "run", "after the last step"),
    KindName("running", "run", "running, not separated", short="running"),
)
LABELS = {name.kind: name.label for name in NAMES}
SHORT = {name.kind: name.short or name.label for name in NAMES}
SPENT = {name.kind: name.spent or name.label for name in NAMES}
KINDS: tuple[TimeKind, ...] = tuple(name.kind for name in NAMES if name.level != "run")  # of steps
NUMBER = {kind: number for number, kind in enumerate(KINDS)}
RUN_KINDS: tuple[TimeKind, ...] = tuple(name.kind for name in NAMES if name.level != "step")
RUN_NUMBER = {kind: number for number, kind in enumerate(RUN_KINDS)}
LOST: tuple[TimeKind, ...] = tuple(kind for kind in RUN_KINDS if kind not in ("training", "running"))
IN_RUN: Mapping[TimeKind, TimeKind] = {  # what a run's ledger calls a kind of steps that is no training
    "checkpoint": "checkpoint",
    "validation": "validation",
    "compile": "initialisation",
}


class ChargeTarget(NamedTuple):
    """What idle seconds are charged to: a kind, and a line of the user's own code where there is one."""

    kind: TimeKind
    frame: Frame | None = None
    leaf: str = ""  # the function that the thread stands in, where that is another's
    joined: Joined = ""  # whom the main thread waits for there

    @property
    def by_workers(self) -> bool:
        """Whether the main thread waits there for worker processes, such as its loader's."""
        return self.joined == "workers"

    @property
    def by_others(self) -> bool:
        """Whether it waits for other threads or processes, so that the line may be one of theirs."""
        return self.joined not in ("", "sleep", "gpu")


UNEXPLAINED, COPY = ChargeTarget("unexplained"), ChargeTarget("copy")


# The thresholds of the ledger: one row each, with where it comes from. None is fitted to a run; docs/design/ledger.md#0240-idle-time-by-ordered-rules has the numbers.


class Threshold(NamedTuple):
    value: float
    unit: str
    source: str


BLOCK: Final = Threshold(
    5.0, "s", "simulated: 1/6 s to 30 s tried, the error is least at 5 s, also with clocks 150 ms apart"
)
MINUTE: Final = Threshold(60.0, "s", "a whole number of blocks; the order of samples is judged over it")
STANDS: Final = Threshold(4, "samples", "a launch takes 12 to 30 us: a line seen four times in a row launches nothing")
PASSED: Final = Threshold(
    0.2, "share", "of the pairs of two lines: where a launch is seen between them so often, it is assumed in the others"
)
ORDERED: Final = Threshold(
    0.15, "share", "how much likelier than by chance a sample has its neighbour's place: below it, steps are too short"
)
ONE_PLACE: Final = Threshold(0.97, "share", "of pairs of samples at one place: then chance alone explains neighbours")
STRETCH: Final = Threshold(1.3, "ratio", "lost samples are made up for by the others, up to this")
SEEN: Final = Threshold(0.5, "share", "of a block's time with samples: below it they are not stretched")
SYNC: Final = Threshold(0.005, "share", "of the window: the host waits for the GPU less than this only by chance")
AHEAD: Final = Threshold(0.1, "share", "of a step by which the host is ahead at its end: its launches starve nothing")
WORKERS: Final = Threshold(0.9, "share", "of blocks in which the main thread waits for workers: they set the pace")
WAITED: Final = Threshold(0.05, "share", "of a block spent waiting for workers: less is the usual handing over")
SMALL: Final = Threshold(2.0, "points", "rows below it are shown as other: healthy noise is 0.5, simulated")
SURE: Final = Threshold(5.0, "points", "width of the range up to which 95% of errors are below 1.3 points, simulated")
LOOP: Final = Threshold(
    0.98, "share", "of a CPU's samples that a function of the training loop itself is on: a fix leaves it"
)
REST: Final = Threshold(
    0.8, "share", "of a row's share by which all else is faster without it, at most: measured, benchmarks/savings"
)
MIN_S: Final = Threshold(3.0, "s", "a shorter window has too few values of the counter: blame's job")
SOON_S: Final = Threshold(10.0, "s", "below it confidence is low: 84% within 3 points, simulated")
MIN_HZ: Final = Threshold(
    20.0, "Hz", "below it confidence is low: 63% within 3 points at 5 Hz, 87% at 20 Hz, simulated"
)
COVERED: Final = Threshold(0.5, "share", "of the window that has both a counter and stacks: below it confidence is low")
LINK: Final = Threshold(0.5, "share", "of a link's rate from which traffic is near it: protocols take up to a quarter")
SM_LOW: Final = Threshold(
    40.0, "%", "SM active of a GPU that spins in a collective: its kernels fill a few multiprocessors"
)
AT_WORK: Final = Threshold(
    0.5, "share", "of the busiest GPU's mean: a card below it is not what the run is about, as for blame"
)
IDLE: Final = Threshold(
    0.5, "%", "mean of the busiest GPU: below it no GPU works for the run, and the device is the CPU"
)
