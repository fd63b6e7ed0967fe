"""Curves of several runs on one axis, through the route."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collectors.records import Points, Record, labels_of
from dashboard.series import curves
from tests.support.serving import SPIKE_STEP, Web, served_records, spiked

T0 = 1_764_000_000.0
HOST = labels_of(host="box")
TEXT = labels_of(host="box", source="text")
ODD = ("<b>a</b>", "b, c", "d%2Fe", "f g/\x01", "'; --")


def records() -> Iterator[Record]:
    """Two runs that begin at different times, a long one with a spike, one without steps, one without times, and one that resumed."""
    for step in range(100):
        yield Points("a", HOST, ("loss", "lr"), (float(step), 0.1), T0 + step, step)
        yield Points("b", HOST, ("loss",), (2.0 * step,), T0 + 5000 + 2 * step, step)
        yield Points("no steps", HOST, ("loss",), (1.0,), T0 + step, None)
        yield Points("no times", HOST, ("loss",), (1.0,), None, step)
        yield Points("text", TEXT, ("progress/step", "progress/loss"), (float(step), 1.0), T0 + step, step)
        yield Points("own", HOST, ("progress/step", "progress/item"), (float(step), 1.0), T0 + step, step)
    yield from (Points(name, HOST, (name,), (1.0,), T0 + step, step) for name in ODD for step in range(3))
    for step in range(80):
        yield Points("resumed", HOST, ("loss",), (0.0,), T0 + step, step)
    for step in range(50, 70):
        yield Points("resumed", HOST, ("loss",), (1.0,), T0 + 200 + step, step, 1)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with served_records(tmp_path_factory.mktemp("curves"), records(), spiked(T0, 10)) as web:
        yield web


def test_runs_are_overlaid_on_their_steps(web: Web) -> None:
    answer = web.ask("/api/v1/curves", run=["a", "b"], expr="loss", x="step").json
    assert [(curve["run"], curve["name"]) for curve in answer["curves"]] == [("a", "loss"), ("b", "loss")]
    assert [curve["last"] for curve in answer["curves"]] == [
        [float(i) for i in range(100)],
        [2.0 * i for i in range(100)],
    ]
    assert answer["x"] == {"name": "step", "unit": "", "lo": 0.0, "hi": 99.0} and answer["left_out"] == []


def test_relative_time_begins_with_each_run(web: Web) -> None:
    answer = web.ask("/api/v1/curves", run=["a", "b"], expr="loss", x="relative", from_=10, to=20).json
    a, b = answer["curves"]
    assert a["x"] == [float(s) for s in range(10, 21)] and b["x"] == [float(s) for s in range(10, 21, 2)]
    assert (answer["x"]["unit"], answer["x"]["lo"], answer["x"]["hi"]) == ("s", 10.0, 20.0)


def test_what_cannot_be_drawn_is_left_out_with_a_sentence(web: Web) -> None:
    asked = {"run": ["a", "no steps", "not there"], "expr": ["loss", "acc", "x*", "1 +"], "x": "step"}
    answer = web.ask("/api/v1/curves", **asked).json
    assert [curve["run"] for curve in answer["curves"]] == ["a"]
    missing = {(row["run"], row["expr"]): (row["reason"], row["absent"]) for row in answer["left_out"]}
    assert missing.keys() == {
        ("a", 1), ("a", 2), ("no steps", 1), ("no steps", 2), ("no steps", 0), ("not there", None), (None, 3),
    }  # fmt: skip
    assert missing["no steps", 0] == ("its points have no step; choose x=time or x=relative", False)
    assert missing["a", 1] == ("this run has no series acc", True) and missing[None, 3][0].startswith("column 4: the")
    timed = web.ask("/api/v1/curves", run="no times", expr="loss").json
    assert not timed["curves"] and "no time" in timed["left_out"][0]["reason"]
    nobody = web.ask("/api/v1/curves", run="not there", expr="loss")
    assert nobody.status == 404 and "there is no run 'not there'" in nobody.json["error"]


def test_steps_that_a_newer_attempt_wrote_again_are_flagged(web: Web) -> None:
    (curve,) = web.ask("/api/v1/curves", run="resumed", expr="loss", x="step").json["curves"]
    flagged = [
        step for step, segment, old in zip(curve["step"], curve["segment"], curve["superseded"], strict=True) if old
    ]
    assert flagged == list(range(50, 70)) and curve["segment"] == [0] * 80 + [1] * 20


@pytest.mark.parametrize("buckets", [1, 2, 7, 600, 20_000])
@pytest.mark.parametrize("x", ["step", "relative", "time"])
def test_a_one_step_spike_is_in_every_answer(web: Web, x: str, buckets: int) -> None:
    (curve,) = web.ask("/api/v1/curves", run="long", expr="loss", x=x, buckets=buckets).json["curves"]
    assert max(curve["max"]) == 234.5 and len(curve["x"]) <= buckets and curve["points_total"] == 100_000


def test_tags_are_the_union_of_what_the_runs_have(web: Web) -> None:
    tags = web.ask("/api/v1/tags", run=["a", "b", "not there"]).json["tags"]
    assert [(tag["name"], tag["points"], tag["runs"], tag["ranks"]) for tag in tags] == [
        ("loss", 200, 2, 1),
        ("lr", 100, 1, 1),
    ]


def test_a_tag_is_progress_where_all_of_its_series_are_counters_of_text(web: Web) -> None:
    def progress(*runs: str) -> dict[str, bool]:
        return {tag["name"]: tag["progress"] for tag in web.ask("/api/v1/tags", run=runs).json["tags"]}

    assert progress("text") == {"progress/step": True, "progress/loss": False}
    assert progress("own") == {"progress/step": False, "progress/item": False}
    assert progress("text", "own") == {"progress/step": False, "progress/loss": False, "progress/item": False}


@pytest.mark.parametrize("smooth", ["ema:100", "gauss:5000"])
@pytest.mark.parametrize("between", [{}, {"from_": SPIKE_STEP - 3000, "to": SPIKE_STEP + 10}])
def test_a_spike_stays_in_the_band_of_a_smoothed_curve(web: Web, smooth: str, between: dict[str, int]) -> None:
    (curve,) = web.ask("/api/v1/curves", run="long", expr="loss", x="step", smooth=smooth, **between).json["curves"]
    assert max(curve["max"]) == 234.5 and 1.0 <= max(curve["smooth"]) < 10 and None not in curve["smooth"]


def test_a_smoothed_curve_of_many_points_is_made_once(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "LARGE", 10)
    monkeypatch.setattr(curves, "DEAR_S", 0.0)
    asked = {"run": "long", "expr": "loss", "smooth": "ema:77", "buckets": 300}
    first = web.ask("/api/v1/curves", **asked).json["curves"]
    with monkeypatch.context() as patch:
        patch.setattr(curves, "_drawn", None)  # nothing is made any more
        assert web.ask("/api/v1/curves", **asked).json["curves"] == first
    other = web.ask("/api/v1/curves", **{**asked, "smooth": "ema:78"}).json["curves"]
    assert other[0]["smooth"] != first[0]["smooth"] and other[0]["max"] == first[0]["max"]


def test_names_with_anything_in_them_are_names(web: Web) -> None:
    answer = web.ask("/api/v1/curves", run=list(ODD), expr=list(ODD)).json
    drawn = {(curve["run"], curve["name"]) for curve in answer["curves"]}
    assert drawn == {(name, name) for name in ODD}
    grouped = web.ask("/api/v1/curves", run=list(ODD), expr=list(ODD), group="<key>", x=ODD[0], baseline=ODD[1]).json
    assert {row["run"] for row in grouped["left_out"]} == {*ODD} and not grouped["curves"]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"smooth": "mean:3"}, "smooth is none"),
        ({"band": "iqr"}, "band"),
        ({"from_": 5, "to": 3}, "to must not be before from"),
        ({"buckets": 0}, "buckets"),
        ({"x": "x" * 5000}, "x"),
        ({"run": [f"r{i}" for i in range(201)]}, "run"),
    ],
)
def test_what_cannot_be_asked_gets_a_sentence(web: Web, parameters: dict[str, object], words: str) -> None:
    answer = web.ask("/api/v1/curves", **{"run": "a", "expr": "loss", **parameters})
    assert answer.status == 400 and words in answer.json["error"]


def test_more_curves_than_an_answer_holds_are_counted(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "MAX_CURVES", 1)
    answer = web.ask("/api/v1/curves", run=["a", "b"], expr="loss").json
    assert len(answer["curves"]) == 1
    assert answer["left_out"][0]["reason"].startswith("1 further curves are not drawn; an answer holds 1")
