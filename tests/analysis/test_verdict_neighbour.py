"""A job beside the run on its GPU is why its steps take longer, where the queue says that it was there."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.blame.comparison import shared_stretches
from collectors.records import Event, Frame
from collectors.store.store import Store
from tests.support.stretches import DECODE, FORWARD, MODULE, NORMAL, STEP, SYNCHRONIZE, T0, Part, blame, run
from tests.support.stretches import store as store  # a fixture

SLOWER: tuple[Part, ...] = ((12, (MODULE, STEP, DECODE)), (106, (MODULE, STEP, FORWARD)))
WAITS: tuple[Part, ...] = (
    (10, (MODULE, STEP, DECODE)),
    (90, (MODULE, STEP, FORWARD)),
    (60, (MODULE, STEP, FORWARD, SYNCHRONIZE)),
)
NEW: tuple[Part, ...] = (*NORMAL, (100, (MODULE, STEP, Frame("write", "/job/data.py", 99))))
AT = time.strftime("%H:%M", time.localtime(T0 + 79))


def shares(store: Store, from_s: float, until_s: float | None = None) -> None:
    """As the queue's daemon notes it."""
    store.append([Event("run", "shares", T0 + from_s, text="shares its slot with job 7")])
    if until_s is not None:
        store.append([Event("run", "shared", T0 + until_s, seconds=until_s - from_s, text="beside job 7")])


@pytest.mark.parametrize("until_s", [None, 91.0], ids=["still there", "over"])
def test_a_neighbour_is_the_cause_of_steps_that_are_slower_throughout(store: Store, until_s: float | None) -> None:
    run(store, (80, NORMAL), (12, SLOWER))
    shares(store, 79.0, until_s)
    verdict = blame(store, 81, 90)
    assert (verdict.verdict, verdict.suspect, verdict.confidence) == ("neighbour", None, "medium")
    assert (
        verdict.sentence
        == f"GPU shared with job 7 since {AT}: steps take 18% longer, +18 ms per step, baseline 100 ms."
    )


def test_a_longer_wait_for_the_device_is_the_neighbours(store: Store) -> None:
    run(store, (80, NORMAL), (12, WAITS))
    shares(store, 79.0)
    assert blame(store, 81, 90).verdict == "neighbour"


@pytest.mark.parametrize(
    ("slow", "from_s", "until_s"),
    [(NEW, 79.0, None), (SLOWER, 0.0, None), (SLOWER, 20.0, 60.0), (SLOWER, 88.0, None)],
    ids=["a new line", "there all the time", "gone before", "came later"],
)
def test_a_neighbour_is_not_blamed_for_what_it_did_not_do(
    store: Store, slow: tuple[Part, ...], from_s: float, until_s: float | None
) -> None:
    run(store, (80, NORMAL), (12, slow))
    shares(store, from_s, until_s)
    verdict = blame(store, 81, 90)
    assert verdict.verdict != "neighbour" and "shared" not in verdict.sentence


def test_without_a_difference_a_neighbour_is_none(store: Store) -> None:
    run(store, (92, NORMAL))
    shares(store, 79.0)
    assert blame(store, 81, 90).verdict == "no_difference"


EVENTS = st.lists(
    st.tuples(st.sampled_from(["shares", "shared", "requeued", "end"]), st.floats(0, 100), st.floats(0, 50)),
    max_size=12,
)


@given(EVENTS)
def test_at_most_one_stretch_goes_on_and_none_ends_before_it_begins(drawn: list[tuple[str, float, float]]) -> None:
    found = shared_stretches([(kind, at_s, seconds, "") for kind, at_s, seconds in drawn])
    assert all(lo <= hi for lo, hi, _ in found) and sum(hi == math.inf for _, hi, _ in found) <= 1
    newest = max((at_s for kind, at_s, _ in drawn if kind == "shares"), default=None)
    if any(hi == math.inf for _, hi, _ in found):
        assert newest is not None and not any(at_s > newest for kind, at_s, _ in drawn if kind != "shares")
