"""Findings about pace: slow steps, a falling pace, missing checkpoints, a rank behind the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np

from collectors.arrays import Bools, Floats
from collectors.message import Message, phrase
from collectors.records import COLLECTIVE_S, SAMPLED_S, SAMPLED_SEQUENCE, Event, Frame, Labels
from collectors.store.store import Series, TooMuch

from ..blame.blame import blame_window
from ..collectives import MIN_COLLECTIVES, is_comparable, late_rank, most_waited_for, wait_of
from ..ledger.evidence import stands_of
from ..stacks.frames import file_name
from ..stacks.spans import Interval, TrustedSpans
from ..stacks.threads import main_threads
from ..stacks.trust import trusted_spans
from . import rule
from .rule import STEPS, CodeLocation, Detection, RecentPoints, RunSubject, on_rank, unique_steps

MIN_STEPS, MAX_STEPS = 60, 400  # lines with a step that are looked at
FIRST_S = 3.0  # of an attempt's steps, whose times may be guesses: of a log without times, lines that were there at the first look
SLOW, SLOW_MADS, SLOW_LEAST = 3.0, 6.0, 3  # medians, and spreads above; so many of them
SLOW_COST = 0.05  # of the time
UNSTEADY = ("checkpoint", "validation", "compile", "recompile", "gc", "start")
RHYTHM, RHYTHM_POINTS = (
    50,
    8,
)  # steps and points: what comes every so many, or a multiple of it, was meant, as an evaluation is
LOGGED_S = 0.05  # between the end of a step and its line
COMPILES, COMPILES_S, COMPILES_AFTER = 3, 600.0, 50  # events within that time, after so many steps
LONG_CHECKPOINT_S, CHECKPOINT_STEPS = 20.0, 50.0  # or so many steps, whichever is longer
BESIDE = 3  # steps during a checkpoint: it is written beside the training
CHECKPOINTS, OVERDUE = 3, 3.0  # known intervals, and how many of them are too long
TOGETHER, LONGEST = 0.2, 2.0  # of the longest interval


def slow_steps(subject: RunSubject) -> Iterator[Detection]:
    """One step in N takes a multiple of the others, and together they cost time."""
    for rank in subject.ranks():
        track = subject.steps(rank)
        if track is None or len(track) < MIN_STEPS:
            continue
        times, steps = (column[-MAX_STEPS:] for column in settled_steps(subject, track))
        if len(times) < MIN_STEPS:
            continue
        starts, many = times[:-1], np.diff(steps)
        took = np.diff(times) / many  # a step
        if not np.max(took) > SLOW * np.median(took):
            continue
        clean = ~_touches(starts, times[1:], [*subject.during(*UNSTEADY), *_pauses(subject, rank, float(times[0]))])
        if np.count_nonzero(clean) < MIN_STEPS // 2:
            continue
        usual = float(np.median(took[clean]))
        if not usual > 0:
            continue  # the stamps are coarser than the steps
        spread = float(np.median(np.abs(took[clean] - usual)))
        slow = clean & (took > SLOW * usual) & (took > usual + SLOW_MADS * spread)
        count = int(np.count_nonzero(slow))
        lost_s = float(np.sum(many[slow] * (took[slow] - usual)))
        share = lost_s / float(times[-1] - times[0]) if times[-1] > times[0] else 0.0
        if count < SLOW_LEAST or share < SLOW_COST or count > len(took) // 3:
            continue
        between = np.count_nonzero(clean & (took > np.sqrt(SLOW) * usual) & (took <= SLOW * usual))
        apart_steps = int(np.gcd.reduce(np.diff(steps[1:][slow]).astype(np.int64)))
        if between > count or apart_steps >= max(RHYTHM, RHYTHM_POINTS * float(np.median(np.diff(steps)))):
            continue  # a tail, as of lengths that vary; or a rhythm
        apart, typical, a_line = len(took) // count, float(np.median(took[slow])), float(np.median(many))
        text = phrase(
            "About 1 of {apart} {stretches} takes {ratio:times} as long as the others ({slow_s:brief} in place of {usual_s:brief})",
            apart=apart,
            stretches=phrase("steps") if a_line < 2 else phrase("stretches of {steps:,.0f} steps", steps=a_line),
            ratio=typical / usual,
            slow_s=a_line * typical,
            usual_s=a_line * usual,
        )
        yield Detection(
            phrase(
                "{text}: {share_pct:percent} of the time.",
                text=on_rank(text, rank, subject.ranks()),
                share_pct=100 * share,
            ),
            float(starts[slow][0]),
            float(times[-1]),
            key=str(rank),
            rank=rank,
            numbers={
                "share": round(100 * share, 1),
                "one_of": float(apart),
                "slow_s": round(typical, 4),
                "usual_s": round(usual, 4),
            },
            more={
                "slow": [[float(a), float(b)] for a, b in zip(starts[slow][-10:], times[1:][slow][-10:], strict=True)]
            },
        )


def settled_steps(subject: RunSubject, track: RecentPoints) -> tuple[Floats, Floats]:
    """Times and numbers of the steps of an attempt but those of its first seconds."""
    times, steps = unique_steps(track)
    since_s = subject.stepping_since_s()
    late = times >= (since_s if since_s is not None else -np.inf) + FIRST_S
    return times[late], steps[late]


def _pauses(subject: RunSubject, rank: int, since_s: float) -> list[Interval]:
    """When a validation, or another phase beside the training, was logged: that step took longer because of it."""
    found = []
    for name, its, track in subject.named(lambda name: rule.is_result(name) or rule.is_pause(name)):
        time_s, value = track.since(since_s)
        logged = time_s[value > 0] if rule.is_pause(name) else time_s
        if its in (rank, 0):
            found += [(float(at) - LOGGED_S, float(at) + LOGGED_S) for at in logged.tolist()]
    return found


def recompiles(subject: RunSubject) -> Iterator[Detection]:
    """Events that the log has of compilations, long after the start."""
    by_rank: dict[int, list[Event]] = {}
    for event in subject.of_kind("compile", "recompile"):
        if event.time_s > subject.now_s - COMPILES_S and (event.step or 0) > COMPILES_AFTER:
            by_rank.setdefault(event.rank or 0, []).append(event)
    most = max(map(len, by_rank.values()), default=0)
    late = sorted(
        next((events for events in by_rank.values() if len(events) == most), []), key=lambda event: event.time_s
    )
    if len(late) >= COMPILES:
        seconds = sum(event.seconds or 0.0 for event in late)
        yield Detection(
            phrase(
                "The model was compiled {times} times within {within_s:spoken} after step {step} ({seconds:.0f} s): shapes that change compile anew; mark them dynamic, or pad.",
                times=len(late),
                within_s=late[-1].time_s - late[0].time_s + 1,
                step=COMPILES_AFTER,
                seconds=seconds,
            ),
            late[0].time_s,
            late[-1].time_s,
            numbers={"compilations": float(len(late)), "seconds": seconds},
            step=late[0].step,
        )


def checkpoint_stall(subject: RunSubject) -> Iterator[Detection]:
    """A checkpoint for which the training stood still for long."""
    if not any((event.seconds or 0.0) > LONG_CHECKPOINT_S for event in subject.of_kind("checkpoint")[-5:]):
        return
    usual = subject.interval_s()
    limit_s = max(LONG_CHECKPOINT_S, CHECKPOINT_STEPS * (usual or 0.0))
    track = subject.steps(min(subject.ranks(), default=0))
    for event in subject.of_kind("checkpoint")[-5:]:
        if event.seconds is not None and event.seconds > limit_s:
            during = track.time_s > event.time_s - event.seconds if track is not None else np.zeros(0, bool)
            if track is not None and np.count_nonzero(during & (track.time_s < event.time_s)) > BESIDE:
                continue
            yield Detection(
                phrase(
                    "Writing a checkpoint took {seconds:spoken}{steps}.",
                    seconds=event.seconds,
                    steps=phrase(", as long as {steps:.0f} steps", steps=event.seconds / usual) if usual else None,
                ),
                event.time_s - event.seconds,
                event.time_s,
                key=f"{event.step}" if event.step is not None else f"{event.rank} {event.time_s}",
                moment=True,
                rank=event.rank,
                step=event.step,
                numbers={"seconds": event.seconds},
            )


def no_checkpoint(subject: RunSubject) -> Iterator[Detection]:
    """None for three times the usual interval, while steps go on."""
    begun_s = subject.begun_s or 0.0
    times = np.array(sorted(event.time_s for event in subject.of_kind("checkpoint") if event.time_s > begun_s))
    track = subject.steps(min(subject.ranks(), default=0))
    if len(times) <= CHECKPOINTS or track is None or not np.isfinite(track.time_s).any():
        return
    times = times[
        np.diff(times, prepend=-np.inf) > TOGETHER * np.max(np.diff(times))
    ]  # of several files and ranks: one
    if len(times) <= CHECKPOINTS:
        return
    usual = float(np.median(np.diff(times)))
    newest = float(np.nanmax(track.time_s))
    late_s = newest - float(times[-1])
    irregular_s = LONGEST * float(np.max(np.diff(times)))  # of what is saved when a result is better
    if (
        late_s > max(OVERDUE * usual, irregular_s)
        and _steps_since(track, times)
        and subject.now_s - newest < max(60.0, usual)
    ):
        yield Detection(
            phrase(
                "No checkpoint for {late_s:spoken}, where there was one every {usual_s:spoken}: a crash now would cost all of it.",
                late_s=late_s,
                usual_s=usual,
            ),
            float(times[-1] + usual),
            float(newest),
            numbers={"late_s": late_s, "usual_s": usual},
        )


def _steps_since(track: RecentPoints, times: Floats) -> bool:
    """Whether as many steps more than usual were made since the last checkpoint: not while the run was paused or started again."""
    known = np.sort(track.time_s[np.isfinite(track.time_s)])
    before = np.diff(np.searchsorted(known, times[times >= known[0]]))
    since = len(known) - int(np.searchsorted(known, times[-1]))
    return not len(before) or since > OVERDUE * float(np.median(before))


def _touches(starts: Floats, ends: Floats, ranges: list[Interval]) -> Bools:
    touched = np.zeros(len(starts), bool)
    for lo, hi in ranges:
        touched |= (starts < hi) & (ends > lo)
    return touched


# A run that has become slower than it was: by its steps or, where it logs none, by what its main thread does beside the same work.

BLOCK_S = 10.0  # of steps, or five of them, of which the median counts
BLOCK_STEPS = 5
LATE, BEFORE, MAX_BLOCKS = 3, 3, 180  # blocks that are all slow; that were faster; that are kept
SLOWER = 1.8  # times as long as in the faster third of the blocks before
STEADILY = 2  # blocks between the two paces: it was no jump
NAMED = ("line", "cpu_taken", "gpu_slower", "neighbour", "collective_wait")  # verdicts that explain it

WINDOW_S, PIECE_S = 30.0, 5.0  # without steps: what is compared, and what of it has to hold both the new and the old
WINDOWS, MAX_WINDOWS = 2, 20  # before it, that are known
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


def slower(subject: RunSubject) -> Iterator[Detection]:
    """Of a run with steps by these, else by the stacks of its main thread."""
    if subject.history.is_service:
        return
    if any(name == STEPS for name, _ in subject.tracks):
        yield from _by_steps(subject)
    else:
        yield from _by_stacks(subject)


# -- with steps --------------------------------------------------------------------------------------------------------


def _by_steps(subject: RunSubject) -> Iterator[Detection]:
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
    known: Detection | None = subject.memory.get("slower")
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
        blocks = [*blocks, *_cut(times[late], steps[late])][-MAX_BLOCKS:]
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


def _held(subject: RunSubject, blocks: list[Block], usual_s: float, now_s: float) -> Detection:
    late, before = blocks[-LATE:], blocks[:-LATE]
    window = late[0].from_s, late[-1].to_s
    between = sum(1.2 * usual_s < block.step_s < 0.8 * now_s for block in before)
    pace = phrase("{step_s:pace} in place of {usual_s:pace}", step_s=now_s, usual_s=usual_s)
    why, place = _blamed(subject, window, _fastest(before))
    numbers = {"times": round(now_s / usual_s, 2), "step_s": round(now_s, 5), "usual_s": round(usual_s, 5)}
    said = (
        phrase("Steps take longer and longer: {pace}.{why}", pace=pace, why=why)
        if between >= STEADILY
        else phrase(
            "Steps take {ratio:times} as long as before ({pace}).{why}", ratio=now_s / usual_s, pace=pace, why=why
        )
    )
    return Detection(said, *window, numbers=numbers, place=place)


def _fastest(before: list[Block]) -> Interval:
    """The stretch of blocks in which steps were fastest."""
    stretches = [before[place : place + BEFORE] for place in range(len(before) - BEFORE + 1)]
    best = min(stretches, key=lambda stretch: sum(block.step_s for block in stretch))
    return best[0].from_s, best[-1].to_s


def _blamed(subject: RunSubject, window: Interval, baseline: Interval) -> tuple[Message | None, CodeLocation | None]:
    """The sentence that a user would read who drags over the window, and its line; None where stacks do not show it."""
    try:
        verdict = blame_window(subject.history, window, baseline=baseline, line_of=subject.line_of)
    except TooMuch:
        return None, None
    if verdict.verdict not in NAMED or verdict.confidence == "low":
        return None, None
    suspect = verdict.suspect
    place = CodeLocation(*suspect.frame) if suspect is not None else None
    return phrase(" {sentence}", sentence=verdict.message), place


# -- without steps -----------------------------------------------------------------------------------------------------


def _by_stacks(subject: RunSubject) -> Iterator[Detection]:
    """The same work, in the same proportions, has less of the time than before, since something else has more."""
    until_s = subject.history.profiled_until()
    if until_s is None:
        return
    window = until_s - WINDOW_S, until_s
    known: list[tuple[float, Shares]] = subject.memory.setdefault("mixes", [])
    if window[0] < subject.memory.get("mixed until", -np.inf):
        held: Detection | None = subject.memory.get("slower")
        if held is not None:
            yield held
        return
    try:
        spans = trusted_spans(subject.history.stacks(window), subject.line_of)
    except TooMuch:
        return
    main = main_threads(spans, min(subject.ranks(), default=0)).within([window])
    if float(main.seconds.sum()) < WINDOW_S / 2:
        return
    found = _FunctionShares(main, subject)
    subject.memory["mixed until"] = until_s
    new = found.grown([shares for _, shares in known]) if len(known) >= WINDOWS else None
    if new is None:
        if not found.is_mixed:
            known.append((until_s, found.shares))
        del known[:-MAX_WINDOWS]
        subject.memory.pop("slower", None)
        return
    subject.memory["slower"] = held = _held_by_stacks(new, window)
    yield held


class _FunctionGrowth(NamedTuple):
    frame: Frame
    share: float
    before: float
    times: float  # as long as before takes the rest


class _FunctionShares:
    """What the main thread of a window does, by the deepest of the user's own functions."""

    def __init__(self, main: TrustedSpans, subject: RunSubject) -> None:
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

    def grown(self, before: list[Shares]) -> _FunctionGrowth | None:
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
        return _FunctionGrowth(max(lines, key=lambda frame: lines[frame]), share, was, (1 - was) / max(1 - share, 1e-9))


def _cosine(one: Floats, other: Floats) -> float:
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / length if length else 0.0


def _held_by_stacks(new: _FunctionGrowth, window: Interval) -> Detection:
    frame = new.frame
    where = f"{file_name(frame.file)}:{frame.line} {frame.name.rpartition('.')[2]}"
    return Detection(
        phrase(
            "{where} takes {share_pct:percent} of the time, up from {before_pct:percent}: the rest of the loop runs about {ratio:times} slower. No steps are logged, so this is an estimate from the stacks.",
            where=where,
            share_pct=100 * new.share,
            before_pct=100 * new.before,
            ratio=new.times,
        ),
        *window,
        numbers={
            "share": round(100 * new.share, 1),
            "before": round(100 * new.before, 1),
            "times": round(new.times, 2),
        },
        place=CodeLocation(frame.name, frame.file, frame.line),
    )


# One rank that makes the others wait.

RANK_WINDOW_S, RANK_BLOCK_S = 50.0, 2.5
BLOCKS = round(RANK_WINDOW_S / RANK_BLOCK_S)  # of as many collectives each
LAST = 0.8  # of the blocks in which one rank waits least
COSTS = 3.0  # percent of the others' time
MIN_S = 0.5  # of a window with stacks, of each rank


def straggler(subject: RunSubject) -> Iterator[Detection]:
    """Who comes last into the collectives waits least in them: the same rank nearly always, and the others for it.

    How long each rank was in the same collective is what NCCL's Inspector timed, where it did; else what stacks say.
    """
    window = subject.now_s - RANK_WINDOW_S, subject.now_s
    if sum(is_timed(name) for name, _ in subject.tracks) >= 2:  # all series of a run with 10,000 take 0.2 s
        communicators = [found for found in _communicators(subject, window) if found.is_known(window)]
        if communicators:
            late = [found for one in communicators if (found := one.straggler(window)) is not None]
            yield from sorted(late, key=lambda found: -found.numbers["cost"])[:1]
            return
    yield from _straggler_by_stacks(subject, window)


def is_timed(name: str) -> bool:
    return name == COLLECTIVE_S


class _Communicator:
    """What ranks of one communicator did in a window: their seconds in all collectives, and in each that they sampled."""

    def __init__(self) -> None:
        self._seconds = defaultdict[int, float](float)  # in all collectives, by rank
        self._sampled: dict[tuple[str, float], dict[int, tuple[float, float]]] = {}  # time and seconds, by rank

    def add(self, rank: int, seconds: float) -> None:
        self._seconds[rank] += seconds

    def sample(self, rank: int, kind: str, sequence: float, time_s: float, seconds: float) -> None:
        """In the order of arrival: of a number that a rank has twice, since its counter began anew, the later one counts."""
        self._sampled.setdefault((kind, sequence), {})[rank] = time_s, seconds

    @cached_property
    def _compared(self) -> list[tuple[float, dict[int, float]]]:
        """When, and seconds by rank, in order of time: of those collectives that nearly all ranks sampled."""
        found = [
            (min(time_s for time_s, _ in by_rank.values()), sequence, {rank: s for rank, (_, s) in by_rank.items()})
            for (_, sequence), by_rank in self._sampled.items()
            if is_comparable(by_rank, len(self._seconds))
        ]
        return [(time_s, seconds) for time_s, _, seconds in sorted(found, key=lambda one: one[:2])]

    def is_known(self, window: Interval) -> bool:
        """Whether enough collectives can be compared, all over the window."""
        times = [time_s for time_s, _ in self._compared]
        return len(times) >= MIN_COLLECTIVES and times[-1] - times[0] >= LAST * (window[1] - window[0])

    def straggler(self, window: Interval) -> Detection | None:
        collectives = [seconds for _, seconds in self._compared]
        waits = [wait_of(seconds) for seconds in collectives]
        late = late_rank(waits)
        if late is None:
            return None
        blocks = np.array_split(np.arange(len(waits)), BLOCKS)
        held = sum(most_waited_for([waits[place] for place in block])[0] == late.rank for block in blocks)
        inside = defaultdict[int, float](float)  # seconds in these collectives, by rank
        waited = defaultdict[int, float](float)  # ... until the late rank came
        for seconds, wait in zip(collectives, waits, strict=True):
            for rank, s in seconds.items():
                inside[rank] += s
                waited[rank] += s - wait.work_s if wait.last == late.rank else 0.0
        scale = {rank: 100 * self._seconds[rank] / (window[1] - window[0]) / s for rank, s in inside.items() if s > 0}
        others = [waited[rank] * scale[rank] for rank in scale if rank != late.rank]
        cost = float(np.median(others)) if others else 0.0
        if held < LAST * len(blocks) or cost < COSTS:
            return None
        work_s = sum(wait.work_s for wait in waits)
        work = float(np.median([work_s * percent for rank, percent in scale.items() if rank != late.rank]))
        return Detection(
            phrase(
                "Rank {rank} came last into {last:,} of {compared:,} collectives that were compared: the other ranks wait {cost_pct:percent} of the time for it. Without waiting, collectives take {work_pct:percent}.",
                rank=late.rank,
                last=late.last,
                compared=late.compared,
                cost_pct=cost,
                work_pct=work,
            ),
            *window,
            key=str(late.rank),
            rank=late.rank,
            numbers={
                "cost": round(cost, 1),
                "work": round(work, 1),
                "last": float(late.last),
                "compared": float(late.compared),
            },
        )


def _communicators(subject: RunSubject, window: Interval) -> Iterable[_Communicator]:
    """What the Inspector's files say of the window."""
    series: dict[tuple[Labels, str], Series] = {
        (row.labels, row.name): row
        for row in subject.history.series()
        if row.name in (COLLECTIVE_S, SAMPLED_SEQUENCE, SAMPLED_S) and (row.last_time_s or 0.0) >= window[0]
    }
    points = subject.history.points(series.values(), window)
    found: dict[str, _Communicator] = {}
    for (labels, name), row in series.items():
        known = dict(labels)
        rank, into = int(known.get("rank", "0")), found.setdefault(known.get("communicator", ""), _Communicator())
        if name == COLLECTIVE_S:
            into.add(rank, float(points[row.id].value.sum()))
        elif name == SAMPLED_S and (labels, SAMPLED_SEQUENCE) in series:
            sequences, seconds = points[series[labels, SAMPLED_SEQUENCE].id], points[row.id]
            if not np.array_equal(sequences.place, seconds.place):
                continue  # not of the Inspector
            columns = sequences.value.tolist(), seconds.place.tolist(), seconds.value.tolist()
            for sequence, time_s, s in zip(*columns, strict=True):
                into.sample(rank, known.get("collective", ""), sequence, time_s, s)
    return found.values()


def _straggler_by_stacks(subject: RunSubject, window: Interval) -> Iterator[Detection]:
    if len({process.rank for process in subject.processes}) < 2:
        return
    try:
        waited, ranks = _waited(subject, window)
    except TooMuch:
        return
    if len(ranks) < 2:
        return
    ordered = np.sort(waited, axis=0)
    clear = ordered[1] - ordered[0] > 0.1 * RANK_BLOCK_S * COSTS / 100
    least = np.argmin(waited, axis=0)
    if np.count_nonzero(clear) < LAST * waited.shape[1]:
        return
    counts = np.bincount(least[clear], minlength=len(ranks))
    late = int(np.argmax(counts))
    others = np.delete(waited, late, axis=0)
    cost = 100 * float((np.median(others, axis=0) - waited[late]).clip(0).sum()) / RANK_WINDOW_S
    if counts[late] < LAST * waited.shape[1] or cost < COSTS:
        return
    yield Detection(
        phrase(
            "Rank {rank} comes last into the collectives nearly every time: the other ranks wait {cost_pct:percent} of the time for it.",
            rank=ranks[late],
            cost_pct=cost,
        ),
        *window,
        key=str(ranks[late]),
        rank=ranks[late],
        numbers={"cost": round(cost, 1), "of_blocks": round(100 * float(counts[late]) / waited.shape[1], 0)},
    )


def _waited(subject: RunSubject, window: tuple[float, float]) -> tuple[Floats, list[int]]:
    """`[rank, block]`: seconds in collectives."""
    columns = subject.history.stacks(window)
    spans = trusted_spans(columns)
    folder = subject.history.folder()
    edges = np.arange(window[0], window[1] + RANK_BLOCK_S / 2, RANK_BLOCK_S)
    rows, ranks = [], []
    for number, (_, rank, _, role) in enumerate(spans.processes):
        mine = spans.take(spans.main & (spans.process == number)) if role == "main" else None
        if mine is None or not len(mine.start_s) or float(mine.seconds.sum()) < MIN_S * RANK_WINDOW_S:
            continue
        used = np.unique(mine.stack)
        kinds = stands_of(
            mine._replace(stacks=[mine.stacks[i] for i in used.tolist()], trusted=mine.trusted[used]),
            folder,
            lambda file, line: "",
        )
        collective = np.zeros(len(mine.stacks), bool)
        collective[used] = [stand.kind == "collective" for stand in kinds]
        inside = collective[mine.stack]
        block = np.clip(np.searchsorted(edges, mine.start_s, "right") - 1, 0, len(edges) - 2)
        rows.append(np.bincount(block[inside], mine.seconds[inside], len(edges) - 1))
        ranks.append(rank)
    return (np.array(rows) if rows else np.zeros((0, 0))), ranks
