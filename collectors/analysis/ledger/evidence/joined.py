"""What the workers, threads, processes and ranks did for which the main thread waited: the wait is charged to their lines."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from ....records import Frame
from ...stacks.joining import is_head
from ...stacks.owning import are_own, has_name, library_name
from ...stacks.traces import Traces
from ...stacks.waits import Joined
from ..account import Account
from ..kinds import Charged, TimeKind
from . import signs
from .stands import Stand

MOST_LINES = 8  # of a wait
JOINED: Final[tuple[Joined, ...]] = ("workers", "child", "threads", "lock", "ranks")
WAITS: Final[tuple[TimeKind, ...]] = ("data", "wait", "lock", "collective", "log", "checkpoint", "validation")


class _Line(NamedTuple):
    frame: Frame
    leaf: str
    kind: TimeKind | None  # that the stack below the wait shows


class Below:
    """By the line that waited: how long at which lines the others stood meanwhile."""

    def __init__(self, joined: Traces, own_folder: str) -> None:
        """`joined` is the main thread's time, joined at its waits."""
        own = are_own(joined.frames, own_folder)
        head = [is_head(frame) for frame in joined.frames]
        seconds = np.bincount(joined.stack, joined.seconds, len(joined.stacks)) if len(joined.stacks) else np.zeros(0)
        self._at: dict[Frame, dict[_Line, float]] = {}
        for stack, its_s in zip(joined.stacks, seconds.tolist(), strict=True):
            heads = [place for place, frame in enumerate(stack) if head[frame]] if its_s else []
            above = [frame for frame in stack[: heads[0]] if own[frame]] if heads else []
            if above:
                at = self._at.setdefault(joined.frames[above[-1]], {})
                if (line := _line(joined, stack, heads[-1] + 1, own)) is not None:
                    at[line] = at.get(line, 0.0) + its_s

    def kind_of(self, stand: Stand) -> TimeKind:
        """Of a wait for others: what most of the time below it shows, else what is known of the wait itself."""
        lines = self._at.get(stand.frame, {}) if stand.frame is not None else {}
        shown: dict[TimeKind | None, float] = {}
        for line, its_s in lines.items():
            shown[line.kind] = shown.get(line.kind, 0.0) + its_s
        most = max(shown, key=lambda kind: shown[kind], default=None)
        return most if most is not None and stand.how == "waits" and stand.kind == "wait" else stand.kind

    def lines(self, waiting: Frame) -> dict[_Line, float]:
        """The dearest few."""
        found = self._at.get(waiting, {})
        return dict(sorted(found.items(), key=lambda pair: -pair[1])[:MOST_LINES])


def charged(account: Account, below: Below) -> Account:
    """With the seconds at waits shared out to the others' lines, as these share the time waited."""
    given: dict[Charged, float] = {}
    samples = dict(account.samples)
    for place, seconds in account.given.items():
        lines = below.lines(place.frame) if place.kind in WAITS and place.frame is not None else {}
        total_s = sum(lines.values())
        if not total_s:
            given[place] = given.get(place, 0.0) + seconds
            continue
        for line, its_s in lines.items():
            own = Charged(place.kind, line.frame, line.leaf, place.joined)
            given[own] = given.get(own, 0.0) + seconds * its_s / total_s
            samples[own] = samples.get(own, 0.0) + account.samples.get(place, 0.0) * its_s / total_s
    return account._replace(given=given, samples=samples)


def _line(joined: Traces, stack: tuple[int, ...], begin: int, own: list[bool]) -> _Line | None:
    below = [place for place in range(begin, len(stack)) if own[stack[place]]]
    if not below:
        return None
    frames = [joined.frames[frame] for frame in stack[begin:]]
    called = [joined.frames[frame] for frame in stack[below[-1] + 1 :] if has_name(joined.frames[frame])]
    kind = signs.sign_of(frames, [own[frame] for frame in stack[begin:]])
    return _Line(joined.frames[stack[below[-1]]], library_name(called[-1]) if called else "", kind)
