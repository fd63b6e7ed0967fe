"""What a second of the device's time may have gone to, and the line of code that it is charged to."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from ...records import Frame
from ..stacks.waits import Joined

TimeKind: TypeAlias = Literal[
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
]
BUSY: TimeKind = "busy"


class KindName(NamedTuple):
    kind: TimeKind
    label: str  # as a sentence names it


NAMES = (
    KindName("busy", "GPU busy"),
    KindName("data", "waiting for data"),
    KindName("launch", "launch-bound"),
    KindName("sync", "waiting for the GPU"),
    KindName("collective", "waiting for other ranks"),
    KindName("python", "own Python"),
    KindName("gil", "waiting for the GIL"),
    KindName("lock", "waiting for a lock"),
    KindName("wait", "other waits"),
    KindName("log", "logging"),
    KindName("checkpoint", "checkpoint"),
    KindName("validation", "validation"),
    KindName("gc", "garbage collection"),
    KindName("compile", "compiling"),
    KindName("copy", "copies"),
    KindName("transfer", "transfers"),
    KindName("cpu_taken", "cores taken by others"),
    KindName("cpu_own", "cores taken by its own processes"),
    KindName("idle", "waiting for requests"),
    KindName("other", "other"),
    KindName("unexplained", "unexplained"),
)
LABELS = {name.kind: name.label for name in NAMES}
KINDS: tuple[TimeKind, ...] = tuple(name.kind for name in NAMES)
NUMBER = {kind: number for number, kind in enumerate(KINDS)}


class Charged(NamedTuple):
    """What idle seconds are charged to: a kind, and a line of the user's own code where there is one."""

    kind: TimeKind
    frame: Frame | None = None
    leaf: str = ""  # the function that the thread stands in, where that is another's
    joined: Joined = ""  # whom the main thread waits for there

    @property
    def by_workers(self) -> bool:
        """Whether the main thread waits there for worker processes, such as its loader's."""
        return self.joined == "workers"


UNEXPLAINED, COPY = Charged("unexplained"), Charged("copy")
