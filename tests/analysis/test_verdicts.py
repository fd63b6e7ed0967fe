"""Verdicts on runs made by hand: what no small program can show, such as a GPU that is slow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.blame.verdict import with_sentence
from analysis.stacks.threads import ThreadSelection
from collectors.message import text_of
from collectors.records import Frame, Points, labels_of
from collectors.store.store import Store
from dashboard.api.blame import verdict_answer
from dashboard.stacks.stacks import Stacks
from tests.support.stretches import DECODE, FORWARD, MODULE, NORMAL, SLOW, STEP, T0, Part, blame, run
from tests.support.stretches import store as store  # a fixture


def test_who_lost_more_than_the_step_did_is_not_told_as_a_part_of_it(store: Store) -> None:
    """Other work took less meanwhile: `+100 of +60 ms` would be no share."""
    run(store, (80, NORMAL), (10, SLOW))
    verdict = blame(store, 82, 85)
    for slowdown_s, lead in ((0.09, "all"), (0.06, "more than all")):
        said = with_sentence(replace(verdict, slowdown_s=slowdown_s))
        assert f"takes +100 ms per step, {lead} of the slowdown" in said.sentence and said.lead == lead, said.sentence
    assert said.sentence.endswith(": other work got faster, so the step takes +60 ms.")


def test_the_sentence_names_line_leaf_and_cost(store: Store) -> None:
    run(store, (80, NORMAL), (10, SLOW))
    verdict = blame(store, 82, 85)
    assert (
        verdict.sentence == "decode (data.py:88), in PIL ImageFile.load, takes +100 ms per step, 100% of the slowdown."
    )
    assert (verdict.lead, verdict.place) == ("100%", "decode (data.py:88)")
    assert (verdict.verdict, verdict.confidence, verdict.basis) == ("line", "high", "steps")
    assert (verdict.rank_among_baseline, verdict.unit_name) == (1.0, "step")
    assert (verdict.window_unit_s, verdict.baseline_unit_s) == (pytest.approx(0.2), pytest.approx(0.1))
    assert verdict.suspect is not None
    assert [frame.name for frame in verdict.suspect.path] == ["<module>", "step", "decode"]
    assert verdict.unexplained_s == pytest.approx(0, abs=1e-3)


def test_the_answer_has_the_fields_of_the_contract(store: Store) -> None:
    run(store, (60, NORMAL), (10, SLOW))
    answer = verdict_answer(blame(store, 62, 65))
    named = {
        "verdict",
        "sentence",
        "lead",
        "place",
        "function",
        "file",
        "line",
        "leaf",
        "confidence",
        "basis",
        "normal",
        "evidence",
        "profile_until",
    }
    counted = {
        "excess_s",
        "excess_share",
        "slowdown_s",
        "unexplained_s",
        "per",
        "samples",
        "normal_samples",
        "unresolved_share",
    }
    assert named | counted <= answer.keys()
    assert (answer["function"], answer["file"], answer["line"], answer["leaf"]) == (
        "decode",
        "/job/data.py",
        88,
        "PIL ImageFile.load",
    )
    (rate,) = [row for row in answer["evidence"] if row["name"] == "Steps/s"]
    assert rate == {
        "name": "Steps/s",
        "unit": "steps/s",
        "window": pytest.approx(5, rel=0.01),
        "normal": pytest.approx(10, rel=0.01),
    }
    assert answer["normal"] == [(T0 + 6, T0 + 60)], "without the first 50 steps"


def test_stacks_of_py_spy_give_medium_confidence_at_most(store: Store) -> None:
    run(store, (80, NORMAL), (10, SLOW), sampler="py-spy")
    assert blame(store, 82, 85).confidence == "medium"


def test_with_little_normal_confidence_is_low(store: Store) -> None:
    run(store, (9, NORMAL), (10, SLOW))
    assert blame(store, 11, 14).confidence == "low"


def test_without_normal_shares_are_absolute_and_confidence_is_low(store: Store) -> None:
    run(store, (8, SLOW))
    verdict = blame(store, 0, 8)
    assert verdict.sentence == (
        "decode (data.py:88), in PIL ImageFile.load, takes 55% of this window; there is no baseline to compare it with."
    )
    assert (verdict.confidence, verdict.baseline) == ("low", [])


def test_without_normal_a_wait_that_is_most_of_the_window_is_named(store: Store) -> None:
    wait = Frame("sleep", "/job/pause.py", 5)
    run(store, (8, ((3, (MODULE, STEP, FORWARD)), (97, (MODULE, STEP, wait)))), on_core=((1.0, 0.0),))
    assert blame(store, 0, 8).sentence == (
        "Most of this window, 97%, is in sleep (pause.py:5); there is no baseline to compare it with."
    )


def test_what_the_graph_beside_a_sentence_does_not_show_is_said_and_confidence_is_low(store: Store) -> None:
    """The last minute of normal, which the graph shows, is already slow; most of what the verdict rests on is not."""
    slower: tuple[Part, ...] = ((30, (MODULE, STEP, DECODE)), (90, (MODULE, STEP, FORWARD)))
    slow: tuple[Part, ...] = ((36, (MODULE, STEP, DECODE)), (90, (MODULE, STEP, FORWARD)))
    run(store, (300, NORMAL), (70, slower), (20, slow))
    verdict = blame(store, 371, 386)
    assert "decode (data.py:88) takes +2" in verdict.sentence, verdict.sentence
    assert text_of(verdict.contradiction) == "The flame graph disagrees: +6.0 ms per step for decode (data.py:88)."
    assert verdict.confidence == "low"


def test_a_short_window_or_one_without_stacks_says_so(store: Store) -> None:
    run(store, (60, NORMAL))
    assert blame(store, 40, 40.3).sentence == "Only 30 samples in this window: too few to blame a line."
    assert blame(store, 400, 403).sentence == "No stacks were sampled in this window."


def test_a_healthy_window_looks_like_normal(store: Store) -> None:
    run(store, (60, NORMAL))
    verdict = blame(store, 50, 53)
    assert (verdict.verdict, verdict.lead, verdict.place) == ("no_difference", "", "")


def test_a_window_that_chance_made_slower_does_not_say_that_it_looks_like_normal(store: Store) -> None:
    """The table beside the sentence shows fewer steps a second."""
    steps = np.random.default_rng(1).choice([0.4, 3.0], 900, p=[0.8, 0.2]).tolist()
    unsteady = [(0.1 * one, ((10 * one, (MODULE, STEP, DECODE)), (90 * one, (MODULE, STEP, FORWARD)))) for one in steps]
    run(store, *unsteady)
    said = [blame(store, at, at + 4) for at in range(60, 80, 2)]
    for verdict in said:
        slower = (verdict.window_unit_s or 0) / (verdict.baseline_unit_s or 1)
        assert verdict.verdict != "no_difference" or verdict.sentence.startswith("Nothing unusual") == (
            slower <= 1.1
        ), verdict.sentence


def test_another_window_may_stand_for_normal(store: Store) -> None:
    run(store, (60, NORMAL), (20, SLOW))
    verdict = Stacks(store).blame("run", (T0 + 62, T0 + 65), baseline=(T0 + 70, T0 + 75))
    assert (verdict.verdict, verdict.baseline) == ("no_difference", [(T0 + 70, T0 + 75)])


def test_a_phase_is_folded_alone_beside_the_same_phase_of_normal(store: Store) -> None:
    run(store, (60, NORMAL), (10, SLOW))
    ends_s = [T0 + 60 + 0.2 * i for i in range(1, 51)]
    phases = ("phase/data_s", "phase/forward_s")
    store.append([Points("run", labels_of(host="box"), phases, (0.11, 0.09), t, 700 + i) for i, t in enumerate(ends_s)])
    folded = Stacks(store).fold("run", (T0 + 62, T0 + 66), ThreadSelection("main"), phase="data")
    names = {folded.tree.frames[i].name: total for i, total in zip(folded.tree.frame, folded.tree.total_s, strict=True)}
    assert names["ImageFile.load"] == pytest.approx(2.2, rel=0.02)
    assert names.get("forward", 0) < 0.05
    assert [(one.name, one.seconds) for one in folded.phases] == [
        ("data", pytest.approx(0.11)),
        ("forward", pytest.approx(0.09)),
    ]


def test_strong_evidence_is_high_and_a_healthy_window_never(store: Store) -> None:
    run(store, (30, NORMAL), (10, SLOW), (20, NORMAL))
    assert blame(store, 32, 35).confidence == "high", "3 s at twice as long"
    assert blame(store, 28, 34).confidence == "high", "also over the edge"
    assert blame(store, 22, 25).confidence is None


@pytest.mark.parametrize(
    ("decode_ms", "said"),
    [
        (18, "too little to blame a line."),
        (21, "decode (data.py:88) takes +11 ms per step, 100% of the slowdown."),
    ],
)
def test_steps_that_are_a_little_longer_are_blamed_only_on_strong_evidence(
    store: Store, decode_ms: float, said: str
) -> None:
    """`decode` took 10 of 100 ms."""
    run(store, (160, NORMAL), (10, ((decode_ms, (MODULE, STEP, DECODE)), (90, (MODULE, STEP, FORWARD)))))
    assert blame(store, 162, 166).sentence.endswith(said)


@pytest.mark.parametrize(("forward_ms", "said"), [(104, ("unknown", None)), (116, ("line", "medium"))])
def test_a_function_that_is_nearly_all_of_the_work_may_be_slower_as_the_machine_is(
    store: Store, forward_ms: float, said: tuple[str, str | None]
) -> None:
    """`forward` took 87 of 100 ms: beside it there is too little to tell whether everything is slower."""
    run(
        store,
        (160, ((13, (MODULE, STEP, DECODE)), (87, (MODULE, STEP, FORWARD)))),
        (10, ((13, (MODULE, STEP, DECODE)), (forward_ms, (MODULE, STEP, FORWARD)))),
    )
    verdict = blame(store, 162, 166)
    assert (verdict.verdict, verdict.confidence) == said, verdict.sentence
