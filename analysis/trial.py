"""Two commands compared by how long their steps take: A, B and A again, each once it is past its warm-up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from collectors.arrays import Floats
from collectors.message import Message, Value, phrase

from .units import Units

FEWEST: Final = 20  # stretches of the step log that a pace is read from
BATCHES: Final = 10  # whose means show how surely a pace is known
STUDENT: Final = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833)
"""Standard errors that hold 90 % by Student's t, for 1, 2 ... degrees of freedom; the last one for more, too."""
GROUPS: Final = 60  # that the warm-up is looked for in, at most
LATEST: Final = 0.45  # of a turn, up to which its warm-up may last: the rule leaves out at most half
DRIFT: Final = 5.0  # percent between the halves of a turn, above which it is not called steady


class Pace(NamedTuple):
    """Seconds of a step past the warm-up."""

    step_s: float
    margin_s: float  # each way, 90 %
    steps: float
    seconds: float  # that these steps took together
    warm_up_s: float  # before them
    drift_pct: float  # by which the second half is slower than the first, of the pace; 0 where that may be chance
    settled: bool  # whether the warm-up ended before the middle of the turn


class Comparison(NamedTuple):
    """Percent of its time that a step, or a sample, needs less in B. Below zero: more."""

    saves: float
    least: float
    most: float
    before_s: float
    after_s: float
    again_pct: float  # by which turns of A differ, of their mean
    unit: str  # "step" or "sample"
    settled: bool  # whether all turns were past their warm-up and did not drift

    @property
    def tells(self) -> bool:
        """Whether B differs from A by more than turns of the same command may."""
        return not self.least <= 0 <= self.most


def pace_of(units: Units) -> Pace | None:
    """None for fewer than `FEWEST` stretches past the warm-up.

    A pause such as a checkpoint is part of the pace: it is a mean, with the error of the means of successive batches, which holds where
    neighbouring steps are alike.
    """
    begin = warm_up(units)
    count = len(units.end_s) - begin
    if count < FEWEST:
        return None
    seconds, steps = (units.end_s - units.start_s)[begin:], units.units[begin:]
    mean = float(seconds.sum() / steps.sum())
    batches = _means(seconds, steps, BATCHES)
    error = float(np.std(batches, ddof=1)) / math.sqrt(BATCHES)
    early, late = _means(seconds, steps, 2)
    halves = batches.reshape(2, -1)
    chance = STUDENT[-1] * math.sqrt(float(np.var(halves, axis=1, ddof=1).mean()) * 2 / halves.shape[1])
    drift = 100 * float(late - early) / mean if abs(late - early) > chance else 0.0
    return Pace(
        mean,
        STUDENT[BATCHES - 2] * error,
        float(steps.sum()),
        float(seconds.sum()),
        float(units.start_s[begin] - units.start_s[0]),
        drift,
        begin < LATEST * len(units.end_s) and abs(drift) < DRIFT,
    )


def warm_up(units: Units) -> int:
    """How many stretches at the beginning are left out, at most half of them: those without which the mean of the rest is known best.

    The marginal standard error rule: K. P. White, "An effective truncation heuristic for bias reduction in simulation output",
    Simulation 69 (1997), on groups of successive stretches.
    """
    count = len(units.end_s)
    size = max(1, count // GROUPS)
    groups = count // size
    if groups < 4:
        return 0
    seconds = units.seconds[: groups * size].reshape(groups, size).mean(axis=1)
    errors = [float(np.var(seconds[begin:])) / (groups - begin) for begin in range(groups // 2 + 1)]
    return size * int(np.argmin(errors))


def is_enough(pace: Pace | None, least_s: float, within_pct: float) -> bool:
    """Whether a turn may end: it is steady for this long, and its pace is known this well."""
    return (
        pace is not None
        and pace.settled
        and pace.seconds >= least_s
        and 100 * pace.margin_s <= within_pct * pace.step_s
    )


def compare(before: Sequence[Pace], after: Sequence[Pace], samples: tuple[float, float] | None = None) -> Comparison:
    """Turns of A and of B. `samples` are those of a step of A and of B, where both are known and differ.

    The interval adds up in squares: the errors of both paces, and how much turns of one command differ, by Student's t. One pair of A says
    the latter so roughly that it counts 5.5 times; of three and two turns it is known far better.
    """
    of_a, of_b = samples or (1.0, 1.0)
    (a_s, a_part, a_turns), (b_s, b_part, b_turns) = _together(before), _together(after)
    before_s, after_s = a_s / of_a, b_s / of_b
    ratio = after_s / before_s
    apart = np.concatenate([a_turns, b_turns])  # from the mean of its command
    freedom = max(1, len(apart) - 2)
    spread = math.sqrt(float((apart**2).sum()) / freedom * (1 / len(a_turns) + 1 / len(b_turns)))
    margin = ratio * math.sqrt(a_part**2 + b_part**2 + (STUDENT[min(freedom, len(STUDENT)) - 1] * spread) ** 2)
    return Comparison(
        100 * (1 - ratio),
        100 * (1 - ratio - margin),
        100 * (1 - ratio + margin),
        before_s,
        after_s,
        100 * float(np.ptp(a_turns)),
        "sample" if samples else "step",
        all(pace.settled for pace in (*before, *after)),
    )


def sentence_of(found: Comparison) -> Message:
    """`B takes 41% less per step (38 to 44%): 88 ms in place of 150 ms; A against A differs by 2.0%.`"""
    values: dict[str, Value] = {
        "unit": found.unit,
        "after": _time(found.after_s),
        "before": _time(found.before_s),
        "again_pct": found.again_pct,
    }
    times = "{after} in place of {before}; A against A differs by {again_pct:.1f}%."
    if not found.tells:
        return phrase(
            "Nothing can be said: B differs from A by {saves:.1f}% per {unit}, which may be chance ({least:.0f} to {most:.0f}%): "
            + times,
            saves=abs(found.saves),
            least=-found.most,
            most=-found.least,
            **values,
        )
    less = found.saves > 0
    least, most = (found.least, found.most) if less else (-found.most, -found.least)
    return phrase(
        f"B takes {{saves:.0f}}% {'less' if less else 'more'} per {{unit}} ({{least:.0f}} to {{most:.0f}}%): " + times,
        saves=abs(found.saves),
        least=least,
        most=most,
        **values,
    )


def _together(paces: Sequence[Pace]) -> tuple[float, float, Floats]:
    """The mean of turns; as parts of it, its error and how far each turn is from it."""
    steps_s = np.array([pace.step_s for pace in paces])
    mean = float(steps_s.mean())
    error = math.sqrt(sum(pace.margin_s**2 for pace in paces)) / len(paces)
    return mean, error / mean, steps_s / mean - 1


def _means(seconds: Floats, steps: Floats, parts: int) -> Floats:
    """Of as many successive parts, which differ by at most one stretch in their number."""
    pairs = zip(np.array_split(seconds, parts), np.array_split(steps, parts), strict=True)
    return np.array([part.sum() / its.sum() for part, its in pairs])


def _time(seconds: float) -> str:
    """`88 ms`, `1.25 s`, `640 us`"""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} us"
