"""Expressions as curves, through the route."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from collectors.records import Points, Record, labels_of
from tests.support.expression_texts import texts
from tests.support.serving import Web, served_records, spiked

T0 = float(int(time.time()) - 4000)  # in the present week, in which machine files are read
HOST = labels_of(host="box")


def machine() -> Iterator[Record]:
    """Two GPUs twice a second, for 100 s and some before: 300 W and 100 W, with their energy."""
    for tick in range(-20, 200):
        for gpu, watts in ((0, 300.0), (1, 100.0)):
            labels = labels_of(gpu=gpu, host="box", uuid=f"GPU-{gpu}")
            yield Points(
                None, labels, ("gpu/power_w", "gpu/energy_j"), (watts, 5e6 + watts * tick / 2), T0 + tick / 2, None
            )

    yield Points(None, labels_of(host="box", run="a"), ("about/run",), (1.0,), T0 + 1, None)


def logged() -> Iterator[Record]:
    for step in range(100):
        yield Points("a", HOST, ("train/loss", "train/tokens_per_s"), (float(step), 50.0), T0 + step, step)
        yield Points("b", HOST, ("train/loss",), (2.0 * step,), T0 + step, step)
    for step in range(80):
        yield Points("resumed", HOST, ("train/loss",), (0.0,), T0 + step, step)
    for step in range(50, 70):
        yield Points("resumed", HOST, ("train/loss",), (1.0,), T0 + 200 + step, step, 1)
    for step in range(100):
        yield Points("a", HOST, ("train/clock",), (step * 4096.0,), T0 + step, step)
    yield Points("no steps", HOST, ("odd name/x",), (1.0,), T0, None)
    yield Points("odd", HOST, ("loss", "loss*2"), (1.0, 5.0), T0, 1)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with served_records(tmp_path_factory.mktemp("expressions"), machine(), logged(), spiked(T0, 100)) as web:
        yield web


def test_energy_of_a_token_on_each_gpu(web: Web) -> None:
    answer = web.ask("/api/v1/curves", expr="rate(gpu/energy_j) / train/tokens_per_s", run="a").json
    assert answer["x"]["name"] == "time" and answer["x"]["lo"] == T0
    found = {curve["labels"]["gpu"]: curve for curve in answer["curves"]}
    assert {gpu: {value for value in curve["last"] if value is not None} for gpu, curve in found.items()} == {
        "0": {6.0},
        "1": {2.0},
    }
    assert all(curve["run"] == "a" and curve["unit"] == "J/token" for curve in found.values())
    assert found["0"]["last"][0] == 6.0, "the point before the range is read for a rate"


def test_series_are_joined_and_steps_are_a_clock(web: Web) -> None:
    (curve,) = web.ask("/api/v1/curves", expr="sum(gpu/power_w) per step", run="a").json["curves"]
    assert {value for value in curve["last"] if value is not None} == {400.0} and curve["unit"] == "J/step"


def test_runs_are_series_of_their_own(web: Web) -> None:
    asked = {"expr": "train/loss", "run": ["a", "b"], "x": "step"}
    answer = web.ask("/api/v1/curves", **asked).json
    assert [(curve["run"], curve["last"][-1]) for curve in answer["curves"]] == [("a", 99.0), ("b", 198.0)]
    (curve,) = web.ask("/api/v1/curves", **{**asked, "expr": "mean(train/loss)"}).json["curves"]
    assert (
        curve["run"] is None
        and curve["last"] == [1.5 * step for step in range(100)]
        and curve["step"] == list(range(100))
    )
    (curve,) = web.ask("/api/v1/curves", **{**asked, "expr": 'train/loss{run="b"} - train/loss{run="a"}'}).json[
        "curves"
    ]
    assert curve["last"] == [float(step) for step in range(100)]


def test_the_newest_attempt_counts_on_the_step_axis(web: Web) -> None:
    (curve,) = web.ask("/api/v1/curves", expr="1 * train/loss", run="resumed", x="step").json["curves"]
    assert curve["x"] == list(range(80)) and curve["last"] == [float(50 <= step < 70) for step in range(80)]


@pytest.mark.parametrize("buckets", [1, 2, 7, 600, 20_000])
@pytest.mark.parametrize("x", ["step", "time"])
@pytest.mark.parametrize("expr", ["loss", "2 * loss - loss", "-loss * -1", "exp(log(loss))", "max(loss) over 50 {}"])
def test_a_one_step_spike_is_in_every_answer(web: Web, x: str, buckets: int, expr: str) -> None:
    text = expr.format("steps" if x == "step" else "s")
    (curve,) = web.ask("/api/v1/curves", expr=text, run="long", x=x, buckets=buckets).json["curves"]
    highest = max(value for value in curve["max"] if value is not None)
    assert highest == pytest.approx(234.5, rel=1e-9) if "2 *" not in expr else highest >= 234.5
    assert len(curve["x"]) <= buckets


def test_a_range_has_only_what_lies_in_it(web: Web) -> None:
    asked = {"expr": "shift(train/loss, 10 s)", "run": "a", "from_": T0 + 20, "to": T0 + 30}
    (curve,) = web.ask("/api/v1/curves", **asked).json["curves"]
    assert curve["x"] == [T0 + s for s in range(20, 31)] and curve["last"] == [float(s) for s in range(10, 21)]


@pytest.mark.parametrize(
    ("parameters", "status", "words"),
    [
        ({"expr": "avrage(train/loss)"}, 400, "column 1: unknown function avrage; did you mean mean?"),
        ({"expr": "gpu/power_w + gpu/energy_j"}, 400, "column 13: cannot add W and J; the units differ"),
        ({"expr": "-gpu/power_w", "x": "step"}, 400, "column 2: the points of gpu/power_w have no step; ask with x=time"),
        ({"expr": "mean(train/loss) over 10 s", "x": "step"}, 400, "the axis is step: a width is written as 20 steps there"),
        ({"expr": "gpu/power_w * train/loss", "run": ["a", "b"]}, 400, "do not say which go together"),
        ({"expr": ""}, 400, "the expression is empty"),
        ({"expr": "x" * 5000}, 400, "expr"),
        ({"expr": "x+" * 1500 + "x"}, 400, "at most 2,000 characters"),
        ({"expr": "train/loss", "run": "not there"}, 404, "no run 'not there'"),
        ({"expr": "train/loss", "from_": 5, "to": 3}, 400, "to must not be before from"),
        ({"expr": "train/loss", "buckets": 0}, 400, "buckets"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence(web: Web, parameters: dict[str, object], status: int, words: str) -> None:
    answer = web.ask("/api/v1/curves", **{"run": "a", **parameters})
    assert answer.status == status and words in answer.json["error"]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"expr": "train/los"}, "this run has no series train/los; did you mean train/loss?"),
        (
            {"expr": "1 + train/loss/2"},
            "column 5: no series train/loss/2; a division has spaces around it: train/loss / 2",
        ),
        ({"expr": "train/*x"}, "no series of this run matches train/*x"),
        ({"expr": '{name=~"x*", gpu="0"}'}, 'no series of this run matches {name=~"x*", gpu="0"}'),
        ({"expr": "gpu/power", "run": []}, "this machine has no series gpu/power; did you mean gpu/power_w?"),
        ({"expr": "train/loss per step", "run": []}, "column 1: no series train/loss"),
        ({"expr": "gpu/power_w per step", "run": "no steps"}, "the points of these runs have no steps"),
    ],
)
def test_a_series_that_is_not_there_is_left_out_with_a_sentence(
    web: Web, parameters: dict[str, object], words: str
) -> None:
    (missing,) = web.ask("/api/v1/curves", **{"run": "a", **parameters}).json["left_out"]
    assert missing["absent"] and words in missing["reason"]


def names(web: Web, expr: str, **more: object) -> list[tuple[str | None, str]]:
    found = web.ask("/api/v1/curves", expr=expr, **more).json["curves"]
    return [(curve["run"], curve["name"]) for curve in found]


def test_an_exact_name_wins_then_a_glob_then_the_language(web: Web) -> None:
    assert names(web, "odd name/x", run="no steps") == [("no steps", "odd name/x")]
    assert names(web, "loss*2", run="odd") == [("odd", "loss*2")]
    assert names(web, "loss * 2", run="odd") == [("odd", "loss * 2")]
    assert names(web, "train/?o*s", run="a") == [("a", "train/loss"), ("a", "train/tokens_per_s")]
    assert names(web, "TRAIN/?oss", run=["a", "b"]) == [("a", "train/loss"), ("b", "train/loss")]
    assert names(web, '{name=~"train/*", host="box"}', run="b") == [("b", "train/loss")]
    assert names(web, '{name~="^(train|gpu)/(loss|x)$"}', run="b") == [("b", "train/loss")]


def test_selectors_choose_in_the_runs_and_else_in_the_machine(web: Web) -> None:
    both = web.ask("/api/v1/curves", expr=["gpu/power_w", "train/loss"], run=["a", "b"]).json
    assert [(curve["expr"], curve["run"]) for curve in both["curves"]] == [(0, None), (0, None), (1, "a"), (1, "b")]
    assert not both["left_out"] and {"run": None, "name": "gpu/power_w"} in both["followed"]
    assert both["curves"][0]["x"][0] == T0, "the machine's series are shown for the time of the runs"
    assert names(web, "train/loss", run=["a*", "b"]) == [("a", "train/loss"), ("b", "train/loss")]
    assert names(web, 'train/loss{run=~"res*"}', run="a") == [("resumed", "train/loss")]
    assert names(web, "about/run", run="a") == [(None, "about/run")]
    assert names(web, "about/run", run="b") == [] and names(web, "about/run") == [(None, "about/run")]


def test_selectors_name_a_bounded_number_of_runs(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.series.expressions.MAX_KNOWN", 2)
    asked = [f'train/loss{{run="{run}"}}' for run in ("a", "b", "resumed")]
    answer = web.ask("/api/v1/curves", expr=asked).json
    assert [curve["run"] for curve in answer["curves"]] == ["a", "b"]
    assert "at most 2 runs" in answer["left_out"][0]["reason"]


def test_computed_curves_are_smoothed_grouped_and_compared_like_stored_ones(web: Web) -> None:
    def numbers(column: list[float | None] | None) -> list[float]:
        return [math.nan if value is None else value for value in column or []]

    def curve(expr: str, **more: object) -> dict[str, list[float | None]]:
        (found,) = web.ask("/api/v1/curves", expr=expr, **{"x": "step", **more}).json["curves"]
        return found  # type: ignore[no-any-return]

    for more in (
        {"run": "a", "smooth": "ema:5"},
        {"run": ["a", "b"], "group": "nothing"},
        {"run": ["a", "b"], "group": "nothing", "band": "stderr", "smooth": "gauss:3"},
        {"run": "b", "baseline": "a"},
        {"run": "a", "x": "relative"},
        {"run": "a", "x": "train/clock"},
    ):
        stored, computed = curve("train/loss", **more), curve("1 * train/loss", **more)
        for column in ("x", "x_end", "min", "max", "mean", "smooth"):
            assert numbers(stored[column]) == pytest.approx(numbers(computed[column]), rel=1e-9, nan_ok=True), more


def test_a_computed_curve_of_many_points_keeps_its_spike_in_a_group(web: Web) -> None:
    (curve,) = web.ask("/api/v1/curves", expr="1 * loss", run="long", x="step", group="nothing", buckets=50).json[
        "curves"
    ]
    assert max(curve["max"]) == 234.5


@settings(max_examples=50)
@given(texts)
def test_no_expression_fails_the_server(web: Web, text: str) -> None:
    answer = web.ask("/api/v1/curves", expr=text.encode("utf-8", "replace").decode(), run=["a", "no steps"], buckets=50)
    assert answer.status in (200, 400, 404) and (answer.status == 200 or answer.json["error"])
