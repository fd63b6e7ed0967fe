"""Each planted cause is found by its rule, in a window drawn at random; twenty of each are benchmarks/planted.py."""

from __future__ import annotations

import pytest

from analysis.findings.rules import BY_NAME
from tests.planted.causes import CAUSES, judged
from tests.planted.windows import seed

SEED = seed()


def test_each_rule_has_a_cause() -> None:
    assert {cause.rule for cause in CAUSES} == set(BY_NAME)
    assert len(CAUSES) >= 30


@pytest.mark.parametrize("number", range(len(CAUSES)), ids=[f"{cause.rule}: {cause.name}" for cause in CAUSES])
def test_a_planted_cause_is_found_in_time(number: int) -> None:
    result = judged(number, 1, SEED)
    assert not result.missed(), (f"PLANTED_SEED={SEED}", result.missed())
