"""Steps whose work was thrown away: a later attempt went on from an earlier step, and did them again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..stacks.traces import Bools, Floats, Ints

BEFORE_ALL = -1.0  # steps count from 0, or from 1


class DoneSteps(NamedTuple):
    """Per row of the step log."""

    steps: Floats  # that the row stands for; 0 where it went back or has no step
    redone: Floats  # the share of them that a later attempt did again, 0 to 1
    stride: float  # steps from a line to the next, as a rule


def done_steps(step: Floats, lines: Floats, attempt: Ints) -> DoneSteps:
    """Rows are in order of time; attempts are numbered in order of their start.

    Steps 1 to 5, then an attempt that goes on with step 4: 4 and 5 of the first one are redone. Where not every step is logged,
    a row stands for those since the row before.
    """
    known = np.isfinite(step)
    steps, redone = np.zeros(len(step)), np.zeros(len(step))
    step, lines, attempt = step[known], lines[known], attempt[known]
    if not len(step):
        return DoneSteps(steps, redone, 1.0)
    order = np.argsort(attempt, kind="stable")
    step, lines, attempt = step[order], lines[order], attempt[order]
    first = np.r_[True, np.diff(attempt) != 0]
    before, stride = _before(step, lines, first)
    later = _least_later(before[first], attempt[first], attempt)
    width = step - before
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(width > 0, (step - np.maximum(before, later)) / np.where(width > 0, width, 1.0), step > later)
    place = np.flatnonzero(known)[order]
    steps[place] = np.maximum(width, 0.0)
    redone[place] = np.clip(np.nan_to_num(share), 0.0, 1.0)
    return DoneSteps(steps, redone, stride)


def _before(step: Floats, lines: Floats, first: Bools) -> tuple[Floats, float]:
    """The step after which each row begins: that of the row before, for the first row of an attempt by the usual stride; and that."""
    ahead, within = np.diff(step), ~first[1:]
    strides = (ahead / lines[1:])[within & (ahead > 0)]
    stride = float(np.median(strides)) if len(strides) else 1.0
    before: Floats = np.where(first, np.maximum(step - stride * lines, BEFORE_ALL), np.r_[np.nan, step[:-1]])
    return before, stride


def _least_later(begun: Floats, attempts: Ints, attempt: Ints) -> Floats:
    """For each row, the step from which the earliest of the later attempts went on; infinite where there is none."""
    least = np.r_[np.minimum.accumulate(begun[::-1])[::-1][1:], np.inf]
    found: Floats = least[np.searchsorted(attempts, attempt)]
    return found
