"""Sentence, graph and table agree, or the answer says that they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.blame.blame import contradiction, nearest
from analysis.blame.comparison import WAITS
from analysis.blame.suspect import Suspect
from analysis.blame.verdict import ComparedNumber, Verdict, waits_for
from analysis.stacks.tree import Trie, build, weigh
from analysis.stacks.trust import trusted_spans
from collectors.message import Message, phrase, text_of
from collectors.records import Frame
from collectors.store.store import StackColumns
from tests.support.stacks import columns

MODULE, STEP = Frame("<module>", "/job/train.py", 90), Frame("step", "/job/train.py", 40)
DECODE, FORWARD = Frame("decode", "/job/data.py", 88), Frame("forward", "/job/model.py", 7)
PART = Frame("decode.<locals>.<genexpr>", "/job/data.py", 89)
SAYS = Verdict(
    "line", suspect=Suspect(DECODE, "", 0.1, [DECODE], []), excess_s=0.1, unit_name="step", baseline=[(0.0, 60.0)]
)
WINDOW = columns(
    (0, 7, 2.0, (MODULE, STEP, DECODE)),
    (0, 7, 1.0, (MODULE, STEP, DECODE, DECODE)),
    (0, 7, 1.0, (MODULE, STEP, FORWARD)),
)
HEALTHY = columns((0, 7, 4.0, (MODULE, STEP, DECODE)), (0, 7, 4.0, (MODULE, STEP, FORWARD)))


def tree(window: StackColumns, baseline: StackColumns) -> Trie:
    return build([weigh(trusted_spans(side)) for side in (window, baseline)])


def held(verdict: Verdict, units: tuple[float, float], *rows: ComparedNumber) -> str:
    return text_of(contradiction(verdict, tree(WINDOW, HEALTHY), rows, units))


def test_a_function_that_lost_in_the_graph_what_the_sentence_says_is_no_contradiction() -> None:
    assert held(SAYS, (20.0, 80.0)) == "", "3 s in 20 steps, 4 s in 80"
    assert held(replace(SAYS, suspect=None), (20.0, 20.0)) == ""
    assert held(replace(SAYS, baseline=[]), (20.0, 20.0)) == "", "nothing to compare with"


def test_a_function_that_lost_less_or_nothing_in_the_graph_is_one() -> None:
    assert held(SAYS, (20.0, 42.0)) == "", "+55 of +100 ms"
    assert held(SAYS, (20.0, 36.0)) == "The flame graph disagrees: +39 ms per step for decode (data.py:88)."
    assert held(SAYS, (20.0, 20.0)) == "The flame graph disagrees: -50 ms per step for decode (data.py:88)."


def test_a_function_that_the_graph_does_not_show_is_one() -> None:
    other = replace(SAYS, suspect=Suspect(STEP._replace(name="elsewhere"), "", 0.1, [], []))
    assert held(other, (20.0, 80.0)) == "The flame graph does not show elsewhere (train.py:40)."
    shown = columns((0, 7, 1.0, (MODULE, PART)))
    assert contradiction(SAYS, tree(shown, columns((0, 7, 0.1, (MODULE,)))), [], (1.0, 1.0)) is None, "a part of it"


def test_garbage_collection_stands_in_no_graph() -> None:
    assert held(replace(SAYS, suspect=Suspect(Frame("gc", "", 0), "", 0.1, [], [])), (20.0, 80.0)) == ""


@pytest.mark.parametrize(("reason", "waits_s", "said"), [
    (waits_for("data loader"), 0.02, "But the main thread waits no longer than in the baseline."),
    (waits_for("data loader"), 0.2, ""),
    (phrase("checkpoint"), 0.02, ""),
])  # fmt: skip
def test_a_wait_is_not_blamed_where_the_main_thread_waits_less(reason: Message, waits_s: float, said: str) -> None:
    assert held(replace(SAYS, reason=reason), (20.0, 80.0), ComparedNumber(WAITS, "s/step", waits_s, 0.05)) == said


def test_a_page_draws_the_nearest_part_of_a_verdicts_baseline() -> None:
    window = (1000.0, 1010.0)
    assert nearest([(100.0, 400.0), (900.0, 990.0)], window) == [(930.0, 990.0)]
    assert nearest([(100.0, 400.0), (980.0, 990.0)], window) == [(350.0, 400.0), (980.0, 990.0)]
    assert nearest([(995.0, 1000.0), (1010.0, 1100.0)], window) == [(995.0, 1000.0), (1010.0, 1065.0)]
    assert nearest([(100.0, 990.0)], (1000.0, 1100.0)) == [(790.0, 990.0)], "twice as long as the window"
