"""How the steps of a run follow each other: some are slow, the checkpoints do not come, an event took long."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...process.activity import spoken
from ...records import Event
from ..stacks.traces import Bools, Floats, Range
from . import names
from .recent import RecentPoints
from .rule import Held
from .subjects import RunSubject, on_rank, unique_steps

LEAST_STEPS, MOST_STEPS = 60, 400  # lines with a step that are looked at
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


def slow_steps(subject: RunSubject) -> Iterator[Held]:
    """One step in N takes a multiple of the others, and together they cost time."""
    for rank in subject.ranks():
        track = subject.steps(rank)
        if track is None or len(track) < LEAST_STEPS:
            continue
        times, steps = (column[-MOST_STEPS:] for column in settled_steps(subject, track))
        if len(times) < LEAST_STEPS:
            continue
        starts, many = times[:-1], np.diff(steps)
        took = np.diff(times) / many  # a step
        if not np.max(took) > SLOW * np.median(took):
            continue
        clean = ~_touches(starts, times[1:], [*subject.during(*UNSTEADY), *_pauses(subject, rank, float(times[0]))])
        if np.count_nonzero(clean) < LEAST_STEPS // 2:
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
        what = "steps" if a_line < 2 else f"stretches of {a_line:,.0f} steps"
        text = f"About 1 of {apart} {what} takes {spoken_times(typical / usual)} as long as the others ({_s(a_line * typical)} in place of {_s(a_line * usual)})"
        yield Held(
            f"{on_rank(text, rank, subject.ranks())}: {100 * share:.0f} % of the time.",
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


def _pauses(subject: RunSubject, rank: int, since_s: float) -> list[Range]:
    """When a validation, or another phase beside the training, was logged: that step took longer because of it."""
    found = []
    for name, its, track in subject.named(lambda name: names.is_result(name) or names.is_pause(name)):
        time_s, value = track.since(since_s)
        logged = time_s[value > 0] if names.is_pause(name) else time_s
        if its in (rank, 0):
            found += [(float(at) - LOGGED_S, float(at) + LOGGED_S) for at in logged.tolist()]
    return found


def recompiles(subject: RunSubject) -> Iterator[Held]:
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
        yield Held(
            f"The model was compiled {len(late)} times within {spoken(late[-1].time_s - late[0].time_s + 1)} after step {COMPILES_AFTER}"
            f" ({seconds:.0f} s): shapes that change compile anew; mark them dynamic, or pad.",
            late[0].time_s,
            late[-1].time_s,
            numbers={"compilations": float(len(late)), "seconds": seconds},
            step=late[0].step,
        )


def checkpoint_stall(subject: RunSubject) -> Iterator[Held]:
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
            yield Held(
                f"Writing a checkpoint took {spoken(event.seconds)}{f', as long as {event.seconds / usual:.0f} steps' if usual else ''}.",
                event.time_s - event.seconds,
                event.time_s,
                key=f"{event.step}" if event.step is not None else f"{event.rank} {event.time_s}",
                moment=True,
                rank=event.rank,
                step=event.step,
                numbers={"seconds": event.seconds},
            )


def no_checkpoint(subject: RunSubject) -> Iterator[Held]:
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
        yield Held(
            f"No checkpoint for {spoken(late_s)}, where there was one every {spoken(usual)}: a crash now would cost all of it.",
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


def _touches(starts: Floats, ends: Floats, ranges: list[Range]) -> Bools:
    touched = np.zeros(len(starts), bool)
    for lo, hi in ranges:
        touched |= (starts < hi) & (ends > lo)
    return touched


def spoken_times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio >= 3 else f"{ratio:.1f} times"


def _s(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
