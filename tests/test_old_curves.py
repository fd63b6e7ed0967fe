"""The routes by which pages still ask for points and charts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from collectors.records import Points, Record, labels_of
from tests.serving import Web, served_records

T0 = 1_764_000_000.0


def records() -> Iterator[Record]:
    for step in range(100):
        for rank in (0, 1):
            yield Points("a", labels_of(host="box", rank=rank), ("loss", "lr"), (float(step), 0.1), T0 + step, step)
        yield Points(None, labels_of(host="box", gpu=step % 2), ("gpu/power_w",), (300.0,), T0 + step, None)
    for step in range(50, 70):
        yield Points("a", labels_of(host="box", rank=0), ("loss",), (-1.0,), T0 + 200 + step, step, 1)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with served_records(tmp_path_factory.mktemp("old"), records()) as web:
        yield web


def test_points_are_those_of_the_curves(web: Web) -> None:
    series = web.ask("/api/v1/points", run="a", series=["loss", "l*"], axis="step").json["series"]
    found = sorted((row["name"], row["labels"]["rank"]) for row in series)
    assert found == [("loss", "0"), ("loss", "1"), ("lr", "0"), ("lr", "1")]
    curves = web.ask("/api/v1/curves", run="a", expr="loss", x="step").json["curves"]
    assert [curve["last"] for curve in curves] == [row["last"] for row in series if row["name"] == "loss"]
    assert web.ask("/api/v1/points", run="a", series="gpu/*").json["series"] == []
    assert len(web.ask("/api/v1/points", series="gpu/power_w").json["series"]) == 2
    for asked in ({"run": "a", "series": "nothing"}, {"run": "nobody", "series": "loss"}):
        assert web.ask("/api/v1/points", **asked).status == 404


def test_charts_are_drawn_with_names_that_say_how_curves_differ(web: Web) -> None:
    def drawn(*charts: Any, **more: Any) -> Any:
        return web.ask("/api/v1/charts", chart=[json.dumps(chart) for chart in charts], run="a", **more).json

    loss = {"kind": "line", "series": ["loss", "nothing/x"]}
    power = {"kind": "line", "series": [{"name": "gpu/power_w", "label": "card {gpu}"}], "smooth": "10 s"}
    answer = drawn(loss, power)
    assert [curve["label"] for curve in answer["charts"][0]["curves"]] == ["rank 0", "rank 1"]
    assert [row["item"] for row in answer["charts"][0]["left_out"]] == [1]
    assert [curve["label"] for curve in answer["charts"][1]["curves"]] == ["card 0", "card 1"]
    assert {"run": None, "name": "gpu/power_w"} in answer["followed"]
    (by_step,) = drawn(loss, x="step")["charts"]
    found = dict(zip(by_step["curves"][0]["x"], by_step["curves"][0]["last"], strict=True))
    assert found[49] == 49.0 and found[50] == found[69] == -1.0
