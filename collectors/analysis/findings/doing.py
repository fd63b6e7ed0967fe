"""What a living run is at, besides its steps: by its newest event, its lines and where its ranks' main threads stand."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal, NamedTuple, TypeAlias

from ...process.activity import last_sign_s
from ...store.question import TooMuch
from ..stacks.traces import Range
from .standing import standing_of
from .subjects import RunSubject

Standing: TypeAlias = Literal["starting", "compiling", "validating", "checkpointing", "idle", "silent", "hung"]
STILL_S = 60.0  # of stacks, at most, that say where a rank stands
PAUSE_S, PAUSES = 5.0, 3.0  # without a line, or so many usual intervals: what it is at is looked up
STARTS_WITHIN_S = 1800.0  # a script that has made no step for longer may make none at all
AT_WORK: dict[str, Standing] = {"compile": "compiling", "validation": "validating", "checkpoint": "checkpointing"}


class Doing(NamedTuple):
    """Since when, Unix seconds: its last line, or the start of its newest attempt."""

    word: Standing
    since_s: float


def doing_of(subject: RunSubject, holding: Collection[str]) -> Doing | None:
    """None while it makes steps, where nothing says what it is at, and of a run that is over. `holding` are the rules that hold of it."""
    silent_s = silent_for_s(subject)
    if silent_s is None or subject.state is None or subject.activity is None:
        return None
    since_s = subject.now_s - silent_s
    if "hung" in holding:
        return Doing("hung", since_s)
    begun_s = _waits_for_first_step(subject)
    usual_s = subject.interval_s() or subject.activity.median_interval_s or 0.0
    if begun_s is None and silent_s <= max(PAUSE_S, PAUSES * usual_s):
        return None
    word = word_by_stacks(subject, (max(subject.now_s - STILL_S, since_s), subject.now_s))
    works = word is not None and word in AT_WORK.values()
    if begun_s is not None:
        return Doing(word if word is not None and works else "starting", begun_s)
    return Doing(word or "silent", since_s) if works or subject.state.state == "stalled" else None


def _waits_for_first_step(subject: RunSubject) -> float | None:
    """When its newest attempt began, where that has said so itself, is young and has made no step."""
    begun_s = max((event.time_s for event in subject.of_kind("start")), default=None)
    if begun_s is None or not 0 <= subject.now_s - begun_s < STARTS_WITHIN_S:
        return None
    stepped = any(float(track.time_s[-1]) >= begun_s for _, _, track in subject.named(lambda name: name == "steps"))
    return None if stepped else begun_s


def standing_word(subject: RunSubject) -> Standing:
    """What a run that says nothing is at."""
    if last_step(subject) is None:
        return "starting"
    return word_by_stacks(subject, (subject.now_s - STILL_S, subject.now_s)) or "silent"


def word_by_stacks(subject: RunSubject, window: Range) -> Standing | None:
    """By where most of the window was spent; None where the stacks show none of it."""
    try:
        ranks = standing_of(subject.history.stacks(window), subject.history.folder(), subject.line_of)
    except TooMuch:
        return None
    kinds = {rank.stand.kind for rank in ranks}
    at_work = next((word for kind, word in AT_WORK.items() if kind in kinds), None)
    if at_work is not None:
        return at_work
    asleep = [rank for rank in ranks if rank.wait is not None and rank.wait.joined in ("", "sleep")]
    return "idle" if ranks and len(asleep) == len(ranks) else None


def silent_for_s(subject: RunSubject) -> float | None:
    """Since its last sign; None for a run that has ended or of which no process is known."""
    if subject.activity is None or subject.state is None:
        return None
    if subject.state.state not in ("running", "stalled") or not subject.processes:
        return None
    sign_s = last_sign_s(subject.activity, subject.now_s)
    return subject.now_s - sign_s if sign_s else None


def last_step(subject: RunSubject) -> int | None:
    """Also where it was made before the points that are at hand: a collector that starts again looks back for half an hour only."""
    newest = [track.last() for (name, _), track in subject.tracks.items() if name == "steps" and len(track)]
    known = [step for step in newest if step is not None and math.isfinite(step)]
    return int(max(known)) if known else subject.history.last_step
