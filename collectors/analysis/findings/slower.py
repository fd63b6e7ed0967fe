"""A run that has become slower than it was: by its steps or, where it logs none, by what its main thread does beside the same work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

from ...records import Frame
from ...store.question import TooMuch
from ..blame.compared import main_threads
from ..blame.inquiry import blame
from ..ledger.evidence.stands import stands_of
from ..stacks.owning import file_name
from ..stacks.traces import Bools, Floats, Range, Traces
from ..stacks.trust import traces_of
from .pace import settled_steps, spoken_times
from .rule import CodePlace, Held
from .subjects import STEPS, RunSubject

BLOCK_S = 10.0  # of steps, or five of them, of which the median counts
BLOCK_STEPS = 5
LATE, BEFORE, MOST_BLOCKS = 3, 3, 180  # blocks that are all slow; that were faster; that are kept
SLOWER = 1.8  # times as long as in the faster third of the blocks before
STEADILY = 2  # blocks between the two paces: it was no jump
NAMED = ("line", "cpu_taken", "gpu_slower", "neighbour", "collective_wait")  # verdicts that explain it

WINDOW_S, PIECE_S = 30.0, 5.0  # without steps: what is compared, and what of it has to hold both the new and the old
WINDOWS, MOST_WINDOWS = 2, 20  # before it, that are known
GAINED, GROWN, RISEN = (
    0.35,
    1.5,
    0.03,
)  # share of the time that is new: of functions that take so many times more, and so much more
LEFT, ALIKE = 0.08, 0.9  # share that is left of what it did before, and how alike that has to be (cosine)
EVENLY = 0.5  # of the new and of the old, that each piece of the window has at least
NO_WORK = {"validation", "checkpoint", "compile", "idle"}  # what comes now and then, and takes as long as it takes

Shares: TypeAlias = Mapping[tuple[str, str], float]
"""Of the main thread's time, by the deepest of the user's own functions."""


class Block(NamedTuple):
    """Some steps that follow each other."""

    from_s: float
    to_s: float
    step_s: float


def slower(subject: RunSubject) -> Iterator[Held]:
    """Of a run with steps by these, else by the stacks of its main thread."""
    if subject.history.is_service:
        return
    if any(name == STEPS for name, _ in subject.tracks):
        yield from _by_steps(subject)
    else:
        yield from _by_stacks(subject)


# -- with steps --------------------------------------------------------------------------------------------------------


def _by_steps(subject: RunSubject) -> Iterator[Held]:
    blocks = _blocks(subject)
    if (
        len(blocks) < LATE + BEFORE
        or subject.now_s - blocks[-1].to_s > 2 * (blocks[-1].to_s - blocks[-1].from_s) + BLOCK_S
    ):
        subject.memory.pop("slower", None)
        return
    before, late = blocks[:-LATE], blocks[-LATE:]
    paces = np.array([block.step_s for block in before])
    fast = np.sort(paces)[: max(BEFORE, len(paces) // 3)]
    usual_s, now_s = float(np.median(fast)), float(np.median([block.step_s for block in late]))
    if not usual_s > 0 or min(block.step_s for block in late) < SLOWER * usual_s:
        subject.memory.pop("slower", None)
        return
    known: Held | None = subject.memory.get("slower")
    if known is None:
        known = subject.memory["slower"] = _held(subject, blocks, usual_s, now_s)
    yield known._replace(to_s=late[-1].to_s)


def _blocks(subject: RunSubject) -> list[Block]:
    """All whole blocks of the newest attempt; those before the points at hand are remembered."""
    rank = min(subject.ranks(), default=0)
    track = subject.steps(rank)
    begun_s, known = subject.memory.get("paces", (None, []))
    blocks: list[Block] = known if begun_s == subject.begun_s else []
    if track is not None:
        times, steps = settled_steps(subject, track)
        from_s = blocks[-1].to_s if blocks else -np.inf
        late = times >= from_s
        blocks = [*blocks, *_cut(times[late], steps[late])][-MOST_BLOCKS:]
    subject.memory["paces"] = subject.begun_s, blocks
    return blocks


def _cut(times: Floats, steps: Floats) -> list[Block]:
    """From one line with a step to another."""
    found: list[Block] = []
    first = 0
    for place in range(1, len(times)):
        if times[place] - times[first] >= BLOCK_S and place - first >= BLOCK_STEPS:
            step_s = np.diff(times[first : place + 1]) / np.diff(steps[first : place + 1])
            found.append(Block(float(times[first]), float(times[place]), float(np.median(step_s))))
            first = place
    return found


def _held(subject: RunSubject, blocks: list[Block], usual_s: float, now_s: float) -> Held:
    late, before = blocks[-LATE:], blocks[:-LATE]
    window = late[0].from_s, late[-1].to_s
    between = sum(1.2 * usual_s < block.step_s < 0.8 * now_s for block in before)
    pace = f"{_duration(now_s)} in place of {_duration(usual_s)}"
    text = (
        f"Steps take longer and longer: {pace}"
        if between >= STEADILY
        else f"Steps take {spoken_times(now_s / usual_s)} as long as before ({pace})"
    )
    why, place = _blamed(subject, window, _fastest(before))
    numbers = {"times": round(now_s / usual_s, 2), "step_s": round(now_s, 5), "usual_s": round(usual_s, 5)}
    return Held(f"{text}.{why}", *window, numbers=numbers, place=place)


def _fastest(before: list[Block]) -> Range:
    """The stretch of blocks in which steps were fastest."""
    stretches = [before[place : place + BEFORE] for place in range(len(before) - BEFORE + 1)]
    best = min(stretches, key=lambda stretch: sum(block.step_s for block in stretch))
    return best[0].from_s, best[-1].to_s


def _blamed(subject: RunSubject, window: Range, baseline: Range) -> tuple[str, CodePlace | None]:
    """The sentence that a user would read who drags over the window, and its line; "" where stacks do not show it."""
    try:
        verdict = blame(subject.history, window, baseline=baseline, line_of=subject.line_of)
    except TooMuch:
        return "", None
    if verdict.verdict not in NAMED or verdict.confidence == "low":
        return "", None
    suspect = verdict.suspect
    place = CodePlace(*suspect.frame) if suspect is not None else None
    return f" {verdict.sentence}", place


# -- without steps -----------------------------------------------------------------------------------------------------


def _by_stacks(subject: RunSubject) -> Iterator[Held]:
    """The same work, in the same proportions, has less of the time than before, since something else has more."""
    until_s = subject.history.profiled_until()
    if until_s is None:
        return
    window = until_s - WINDOW_S, until_s
    known: list[tuple[float, Shares]] = subject.memory.setdefault("mixes", [])
    if window[0] < subject.memory.get("mixed until", -np.inf):
        held: Held | None = subject.memory.get("slower")
        if held is not None:
            yield held
        return
    try:
        traces = traces_of(subject.history.stacks(window), subject.line_of)
    except TooMuch:
        return
    main = main_threads(traces, min(subject.ranks(), default=0)).within([window])
    if float(main.seconds.sum()) < WINDOW_S / 2:
        return
    found = _Mix(main, subject)
    subject.memory["mixed until"] = until_s
    new = found.grown([shares for _, shares in known]) if len(known) >= WINDOWS else None
    if new is None:
        if not found.is_mixed:
            known.append((until_s, found.shares))
        del known[:-MOST_WINDOWS]
        subject.memory.pop("slower", None)
        return
    subject.memory["slower"] = held = _held_by_stacks(new, window)
    yield held


class _Grown(NamedTuple):
    frame: Frame
    share: float
    before: float
    times: float  # as long as before takes the rest


class _Mix:
    """What the main thread of a window does, by the deepest of the user's own functions."""

    def __init__(self, main: Traces, subject: RunSubject) -> None:
        stands = stands_of(main, subject.history.folder(), subject.line_of)
        self._numbers: dict[tuple[str, str], int] = {}
        self._frames: dict[tuple[str, str], dict[Frame, float]] = {}
        self._kinds: dict[tuple[str, str], str] = {}
        seconds = np.bincount(main.stack, main.seconds, len(main.stacks))
        function = np.zeros(len(stands), np.int64)
        for stack, stand in enumerate(stands):
            key = (stand.frame.name, stand.frame.file) if stand.frame is not None else ("", "")
            function[stack] = self._numbers.setdefault(key, len(self._numbers))
            if stand.frame is not None and seconds[stack]:
                lines = self._frames.setdefault(key, {})
                lines[stand.frame] = lines.get(stand.frame, 0.0) + float(seconds[stack])
                self._kinds.setdefault(key, stand.kind)
        width = len(self._numbers)
        piece = np.floor((main.start_s - main.start_s.min()) / PIECE_S).astype(np.int64)
        sums = np.bincount(piece * width + function[main.stack], main.seconds, (int(piece.max()) + 1) * width)
        self._pieces = sums.astype(np.float64).reshape(-1, width)  # seconds by piece and function
        total = self._pieces.sum(axis=0) / max(float(self._pieces.sum()), 1e-9)
        self.is_mixed = False  # a part of the window has what is new, another has not: it began in between
        self.shares: Shares = {key: float(total[number]) for key, number in self._numbers.items()}

    def grown(self, before: list[Shares]) -> _Grown | None:
        """None where nothing has, or where the rest is not what it was: then the run does something else."""
        keys = list(self._numbers)
        now = np.array([self.shares[key] for key in keys])
        past = np.array([[shares.get(key, 0.0) for key in keys] for shares in before])
        most = past.max(axis=0)
        grown: Bools = (now > GROWN * most) & (now > most + RISEN)
        left, left_before = now[~grown], past[:, ~grown].mean(axis=0)
        gained = float((now - most)[grown].sum())
        whole = self._pieces[self._pieces.sum(axis=1) > PIECE_S / 2]
        of_piece = whole[:, grown].sum(axis=1) / np.maximum(whole.sum(axis=1), 1e-9)
        if gained > RISEN and (not len(of_piece) or of_piece.min() < EVENLY * now[grown].sum()):
            self.is_mixed = True
            return None
        if gained < GAINED or left.sum() < LEFT or _cosine(left, left_before) < ALIKE:
            return None
        if 1 - of_piece.max() < EVENLY * left.sum():
            return None
        key = keys[int(np.argmax(np.where(grown, now - most, 0.0)))]
        lines = self._frames.get(key, {})
        if not lines or self._kinds[key] in NO_WORK:
            return None
        share, was = float(now[grown].sum()), float(past[:, grown].mean(axis=0).sum())
        return _Grown(max(lines, key=lambda frame: lines[frame]), share, was, (1 - was) / max(1 - share, 1e-9))


def _cosine(one: Floats, other: Floats) -> float:
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / length if length else 0.0


def _held_by_stacks(new: _Grown, window: Range) -> Held:
    frame = new.frame
    where = f"{file_name(frame.file)}:{frame.line} {frame.name.rpartition('.')[2]}"
    return Held(
        f"{where} takes {100 * new.share:.0f} % of the time, up from {100 * new.before:.0f} %: the rest of the loop runs about "
        f"{spoken_times(new.times)} slower. No steps are logged, so this is an estimate from the stacks.",
        *window,
        numbers={
            "share": round(100 * new.share, 1),
            "before": round(100 * new.before, 1),
            "times": round(new.times, 2),
        },
        place=CodePlace(frame.name, frame.file, frame.line),
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
