"""What each word of a confidence needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.blame.judgement import _Strength, _word

STRONG = _Strength(
    margin=5.0,
    share=0.95,
    halves=0.9,
    alone=1.0,
    ahead=1.0,
    samples=300,
    baseline_s=28.0,
    baseline_units=280.0,
    trusted_share=1.0,
    all_trusted=True,
)
ORDER = ["low", "medium", "high"]
strengths = st.builds(
    _Strength,
    margin=st.floats(0, 10),
    share=st.floats(0, 1),
    halves=st.floats(-1, 1),
    alone=st.floats(0, 1),
    ahead=st.floats(-1, 1),
    samples=st.integers(50, 2000),
    baseline_s=st.floats(3, 100),
    baseline_units=st.none() | st.floats(0, 1000),
    trusted_share=st.floats(0, 1),
    all_trusted=st.booleans(),
)


def test_all_that_is_strong_is_high() -> None:
    assert _word(STRONG) == "high"
    assert _word(STRONG._replace(baseline_units=None)) == "high", "a run without steps, too"


@pytest.mark.parametrize(
    "weak",
    [
        {"margin": 1.5},
        {"share": 0.6},
        {"halves": 0.3},
        {"alone": 0.3},
        {"ahead": 0.45},
        {"samples": 120},
        {"baseline_s": 6.0},
        {"baseline_units": 4.0},
        {"trusted_share": 0.6},
        {"all_trusted": False},
    ],
    ids=str,
)
def test_one_weak_part_makes_it_medium(weak: dict[str, float]) -> None:
    assert _word(STRONG._replace(**weak)) == "medium"  # type: ignore[arg-type]


@given(strengths, st.sampled_from(["margin", "share", "halves", "alone", "ahead", "samples", "baseline_s"]))
def test_more_evidence_never_makes_it_less_sure(strength: _Strength, name: str) -> None:
    stronger = strength._replace(**{name: getattr(strength, name) + 1})
    assert ORDER.index(_word(stronger)) >= ORDER.index(_word(strength))
