"""Judge sampled stacks by what a target wrote of itself (programs/kinds.py, programs/pairs.py)."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from collectors.records import Frame, StackRecording, StackSpan
from tests.programs import HERE
from tests.programs.kinds import BLANK_LINES, DEEP, KINDS

FILE = str(HERE / "kinds.py")
OUTERMOST = {kind.__name__ for kind in KINDS} | {"brief"}
CHURNED = re.compile(r"churned_(\d+)\.py")
SLACK_NS = 20_000_000  # between the sampler's clock and its copies, where it waits for a core

Stack = tuple[tuple[str, int], ...]  # own frames, equal neighbours once


def pairs_seen(samples: Iterable[StackSpan]) -> tuple[int, list[tuple[str, str]]]:
    """How many samples stand in a callee, and which of those pairs cannot be: `f3 -> g5`."""
    seen, impossible = 0, []
    for sample in samples:
        names = [frame.name for frame in sample.stack]
        for caller, callee in itertools.pairwise(names):
            if re.fullmatch(r"f\d", caller):
                seen += 1
                if callee != f"g{caller[1]}":
                    impossible.append((caller, callee))
    return seen, impossible


class Truth:
    """What every kind of thread can have as its stack, by the thread's name, and when which churned function ran."""

    def __init__(self, stacks: Path, churned: Path) -> None:
        written = json.loads(stacks.read_text())
        self._makers = {(name, line) for name, line in written.pop("makers")}
        self._stacks: dict[str, set[Stack]] = {
            kind: {tuple((name, line) for name, line in stack) for stack in found} for kind, found in written.items()
        }
        self._stacks["brief"] = {stack for stack in self._stacks["short"] if stack[0][0] == "brief"}
        self._names = {kind: {_names(stack) for stack in found} for kind, found in self._stacks.items()}
        rows = [line.split() for line in churned.read_text().splitlines()[:-1]]
        self._churned = {int(number): (int(begun), int(ended)) for number, begun, ended in rows}
        self.verdicts: Counter[str] = Counter()
        self.wrong: list[tuple[str, object]] = []
        self.samples = self.errors = 0
        self.deep = 0  # samples that show the recursion down to its end

    def judge(self, profile: StackRecording) -> None:
        self.samples += profile.count
        self.errors += profile.errors
        for sample in profile.samples:
            kind = profile.threads.get(sample.tid, "?")
            verdict = self._verdict(kind, sample) if kind in self._stacks else "other"
            self.verdicts[verdict] += 1
            if verdict.startswith("wrong"):
                self.wrong.append((f"{kind}: {verdict}", sample))

    @property
    def cut(self) -> int:
        """Spans of which the inner part is missing."""
        return sum(count for verdict, count in self.verdicts.items() if verdict.startswith("cut"))

    def _verdict(self, kind: str, sample: StackSpan) -> str:
        churned = [frame for frame in sample.stack if CHURNED.fullmatch(frame.file)]
        if any(self._is_wrong_churned(frame, sample) for frame in churned):
            return "wrong churned function"
        self.deep += sum(frame.name == "dive" for frame in sample.stack) == DEEP
        own = own_frames(sample.stack)
        if not own:
            return "outside"  # between two rounds
        if not sample.resolved:
            known = any(names[: len(own)] == _names(own) for names in self._names[kind])
            return f"cut {kind}" if known else "wrong outer part"
        if own in self._stacks[kind] or (own[-1] in self._makers and own[:-1] in self._stacks[kind]):
            return "right"
        return "wrong line" if _names(own) in self._names[kind] else "wrong stack"

    def _is_wrong_churned(self, frame: Frame, sample: StackSpan) -> bool:
        found = CHURNED.fullmatch(frame.file)
        number = int(found[1]) if found else 0
        if frame.name == "<module>":
            return frame.line not in (0, 1)  # CPython gives a module's first instruction the line 0
        blank = number % BLANK_LINES
        lines_right = frame.name == f"churned_{number}" and frame.line in (1, 2 + blank, 3 + blank)
        begun_ns, ended_ns = self._churned.get(number, (0, 1 << 63))  # the last ones are not written yet
        return not lines_right or not begun_ns - SLACK_NS <= sample.mono_ns <= ended_ns + SLACK_NS


def own_frames(stack: tuple[Frame, ...]) -> Stack:
    """The target's own frames, from its kind's function inwards."""
    frames: list[tuple[str, int]] = []
    for frame in stack:
        if frame.file != FILE or not (frames or frame.name in OUTERMOST):
            continue
        if not frames or frames[-1] != frame[::2]:
            frames.append((frame.name, frame.line))
    return tuple(frames)


def _names(stack: Stack) -> tuple[str, ...]:
    return tuple(name for name, _ in stack)
