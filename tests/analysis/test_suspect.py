"""The way down the tree of excess, where samples are counted: neither left at a caller by chance, nor led to a part by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from analysis.blame import suspect
from analysis.stacks.tree import WeightedStacks, build
from collectors.records import Frame

NAMES = ("<module>", "step", "data", "load", "decode", "crop", "forward", "backward")
FRAMES = [*(Frame(name, "/job/train.py", 1) for name in NAMES), Frame("load", "/x/site-packages/PIL/ImageFile.py", 1)]
STACKS = [(0, 1, 2, 3, 4, 8), (0, 1, 2, 3, 4), (0, 1, 2, 3, 5), (0, 1, 2, 3), (0, 1, 2), (0, 1, 6), (0, 1, 7), (0, 1)]
STEP_MS = np.array([8.0, 2.0, 3.0, 1.0, 1.0, 40.0, 43.0, 2.0])  # of each stack
DECODE, LOAD, CROP = (0, 1), (0, 1, 2, 3), (2,)  # the stacks on which it stands
DRAWN = 60


def named(slow: Sequence[int], factor: float, samples: int) -> list[str]:
    """By windows of so many samples, in which these stacks make a step so many times as long."""
    random = np.random.default_rng(0)
    slow_ms = STEP_MS.copy()
    slow_ms[[*slow]] *= 1 + (factor - 1) * STEP_MS.sum() / STEP_MS[[*slow]].sum()
    found: list[str] = []
    for _ in range(DRAWN):
        sides = [sampled(random, ms, count) for ms, count in ((slow_ms, samples), (STEP_MS, 6000))]
        per = samples * 10 / slow_ms.sum(), 6000 * 10 / STEP_MS.sum()
        compared = suspect.WeightedComparison([*sides, *sides, sides[1]], per)
        excess = suspect.excess_of(suspect.with_rows(build(sides), compared.weighings), compared, samples, "/job")
        one = suspect.find(excess, excess.slowdown_s, compared)
        found.append(one.frame.name if one else "")
    return found


def sampled(random: np.random.Generator, ms: np.ndarray, count: int) -> WeightedStacks:
    """At 100 Hz, each sample of a stack by its share of the time."""
    seconds = random.multinomial(count, ms / ms.sum()) / 100
    return WeightedStacks(FRAMES, STACKS, np.array([len(stack) for stack in STACKS]), seconds)


@pytest.mark.parametrize(("slow", "name"), [(DECODE, "decode"), (CROP, "crop")], ids=["decode", "crop"])
@pytest.mark.parametrize(("factor", "samples"), [(1.3, 150), (2.0, 60), (12.0, 60)])
def test_chance_leaves_no_slow_function_at_its_caller(
    slow: Sequence[int], name: str, factor: float, samples: int
) -> None:
    assert named(slow, factor, samples).count(name) >= 0.95 * DRAWN


@pytest.mark.parametrize(("factor", "samples"), [(2.0, 300), (12.0, 300)])
def test_a_function_that_is_called_more_often_is_not_named_by_a_part_of_it(factor: float, samples: int) -> None:
    assert named(LOAD, factor, samples).count("load") >= 0.85 * DRAWN
