"""What the client says is what the routes of the HTTP API answer: every method, over a real dashboard with odd runs."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.client import Dashboard, DashboardError
from deepseek.client.client import Blame, names_of, wide
from tests.conftest import Dashboard as RunningDashboard
from tests.support.logged import ODD, ODD_SERIES, STEPS, T0
from tests.support.odd_client import HI, LO, Raw, check_rows, same
from tests.support.odd_client import client as client  # a fixture
from tests.support.odd_client import raw as raw  # a fixture
from tests.support.odd_client import running as running  # a fixture

RUNS = ("run", "group/a", ODD, "timeless", "text")
AXES = ("time", "step")


# -- every method --------------------------------------------------------------------------------------------------------


def test_runs_and_a_run_are_those_of_the_api(client: Dashboard, raw: Raw) -> None:
    assert set(client.runs()["run"]) == set(RUNS)
    check_rows(client.runs(), raw("runs")["runs"])
    for run in RUNS:
        assert client.run(run).raw == raw("run", run=run)
        check_rows(client.run(run).attempts, raw("run", run=run)["attempts"])
        assert client.run(run).name == run
        assert client.diff(run) == raw("diff", run=run)["diff"]


@pytest.mark.parametrize("run", RUNS)
def test_files_series_events_and_logs_are_those_of_the_api(client: Dashboard, raw: Raw, run: str) -> None:
    check_rows(client.files(run), raw("files", run=run)["files"])
    check_rows(client.series(run), raw("series", run=run)["series"])
    check_rows(client.series(run, "LOSS"), raw("series", run=run, match="LOSS")["series"])
    check_rows(client.events(run), raw("events", run=run)["events"])
    check_rows(client.logs(run), (page := raw("logs", run=run))["lines"])
    assert (client.logs(run).attrs["total"], client.logs(run).attrs["bars"]) == (page["total"], page["bars"])


def test_lines_and_events_are_searched_and_cut_as_the_api_does(client: Dashboard, raw: Raw) -> None:
    check_rows(client.logs("group/a", "two", level=40), raw("logs", run="group/a", q="two", level=40)["lines"])
    first = client.logs("run", limit=3)
    check_rows(
        client.logs("run", limit=3, before=first.attrs["before"]),
        raw("logs", run="run", limit=3, before=first.attrs["before"])["lines"],
    )
    check_rows(
        client.events("group/a", T0 + 400, T0 + 600),
        raw("events", run="group/a", from_=T0 + 400, to=T0 + 600)["events"],
    )
    assert len(client.events("group/a", T0 + 400, T0 + 600)) == 1
    assert len(client.events("group/a", T0 + 501)) == 0


def test_a_level_has_a_name(client: Dashboard) -> None:
    assert client.logs("group/a", level="error").equals(client.logs("group/a", level=40))
    assert client.logs("group/a", level="WARNING").equals(client.logs("group/a", level=30))
    with pytest.raises(DashboardError, match="level is 'loud'; choose one of debug, info, warning, error, critical"):
        client.logs("group/a", level="loud")  # type: ignore[arg-type]


def test_without_a_window_the_whole_run_is_meant(client: Dashboard, raw: Raw) -> None:
    row = raw("run", run="group/a")
    lo, hi = row["started_s"], max(row["ended_s"] or 0.0, row["last_time_s"])
    assert client.flame("group/a").raw == raw("flame", run="group/a", baseline="normal", from_=lo, to=hi)
    assert client.blame("group/a").raw == raw("blame", run="group/a", from_=lo, to=hi)
    assert client.ledger("group/a").raw == raw("ledger", run="group/a", from_=lo, to=hi)
    assert client.blame("group/a", from_=lo + 1).raw == raw("blame", run="group/a", from_=lo + 1, to=hi)
    assert client.blame("group/a", to=hi - 1).raw == raw("blame", run="group/a", from_=lo, to=hi - 1)


def test_an_index_is_the_time_of_its_row(client: Dashboard) -> None:
    for table in (client.events("run"), client.logs("run")):
        assert table.index.name == "time" and len(table) > 0
        ours = [moment.timestamp() for moment in table.index]
        assert ours == pytest.approx(table["time_s"].tolist(), abs=1e-6)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("run", RUNS)
def test_points_are_those_of_the_api(client: Dashboard, raw: Raw, run: str, axis: Any) -> None:
    names = sorted({row["name"] for row in raw("series", run=run)["series"]})
    if not names:
        with pytest.raises(DashboardError):
            client.points(run, "loss")
        return
    curves = raw("curves", run=run, expr=names, x=axis, buckets=20_000)["curves"]
    if not curves:
        with pytest.raises(DashboardError, match="choose x=step"):
            client.points(run, names, axis=axis)
        return
    table = client.points(run, names, axis=axis)
    assert list(table.columns) == names_of(curves) and len(set(table.columns)) == len(curves)
    for curve, name in zip(curves, names_of(curves), strict=True):
        places = [moment.timestamp() for moment in table.index] if axis == "time" else table.index.tolist()
        ours = Counter(
            (round(place, 5), text(value))
            for place, value in zip(places, table[name], strict=True)
            if not np.isnan(value)
        )
        theirs = [(round(t, 5), text(float(value))) for t, value in zip(curve["x"], curve["last"], strict=True)]
        assert ours == Counter(pair for pair in theirs if pair[1] != "nan")
        assert table.attrs["points"][name] == curve["points_total"] == sum(curve["count"])
        assert table.attrs["unit"][name] == curve["unit"]


def text(value: float) -> str:
    return repr(float(value))


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("run", ["run", "group/a", ODD, "timeless"])
def test_buckets_have_every_column_of_the_api(client: Dashboard, raw: Raw, run: str, axis: Any) -> None:
    curves = raw("curves", run=run, expr="*", x=axis, buckets=7)["curves"]
    table = client.curves(run, "*", x=axis, buckets=7)
    for curve, name in zip(curves, names_of(curves), strict=True):
        part = table[table["series"] == name]
        for key in ("x", "x_end", "step", "segment", "min", "max", "mean", "last", "count", "non_finite"):
            assert len(part) == len(curve[key])
            assert all(same(ours, value) for ours, value in zip(part[key].tolist(), curve[key], strict=True)), key


def test_curves_of_several_runs_have_every_column_of_the_api(client: Dashboard, raw: Raw) -> None:
    asked = {"x": "step", "smooth": "ema:5", "buckets": 50}
    answer = raw("curves", run=["run", "group/a", ODD, "nobody"], expr="*", **asked)
    table = client.curves(["run", "group/a", ODD, "nobody"], "*", x="step", smooth="ema:5", buckets=50)
    assert len(table) == sum(len(curve["x"]) for curve in answer["curves"]) > 0
    for key in (
        "x",
        "x_end",
        "step",
        "segment",
        "min",
        "max",
        "mean",
        "last",
        "count",
        "non_finite",
        "smooth",
        "superseded",
    ):
        theirs = [value for curve in answer["curves"] for value in curve[key]]
        assert all(same(ours, value) for ours, value in zip(table[key].tolist(), theirs, strict=True)), key
    assert set(table["run"]) <= {"run", "group/a", ODD} and table.attrs["left_out"] == answer["left_out"]
    assert client.curves("group/a", "no*").empty
    with pytest.raises(DashboardError, match="no run 'nobody'"):
        client.curves("nobody", "loss")


def test_more_points_than_buckets_are_buckets_and_say_so(client: Dashboard) -> None:
    few, all_ = client.points("group/a", "other", buckets=10), client.points("group/a", "other")
    assert (len(few), len(all_)) == (10, STEPS)
    assert (few.attrs["is_raw"], all_.attrs["is_raw"]) == ({"other": False}, {"other": True})
    assert few.attrs["points"] == all_.attrs["points"] == {"other": STEPS}
    assert client.points("group/a", "other", buckets=10, value="max")["other"].max() == STEPS - 1


def test_non_finite_values_come_back_as_floats(client: Dashboard) -> None:
    loss = client.curves(ODD, "loss", buckets=2000)["last"].tolist()
    assert sum(map(math.isnan, loss)) == 1 and math.inf in loss and -math.inf in loss


def test_odd_names_are_found_each_on_its_own_and_together(client: Dashboard) -> None:
    for name in ODD_SERIES:
        assert list(client.points(ODD, name).columns) == [name]
    assert set(client.points(ODD, list(ODD_SERIES)).columns) == set(ODD_SERIES)


def test_a_range_without_points_is_an_empty_table(client: Dashboard) -> None:
    table = client.points("group/a", ["other", "train/loss"], T0 - 100, T0 - 50)
    assert len(table) == 0 and set(table.columns) == {"other", "train/loss"}
    assert table.attrs["points"] == {"other": 0, "train/loss": 0}


def test_a_run_without_times_has_a_step_axis(client: Dashboard) -> None:
    assert client.points("timeless", "loss", axis="step")["loss"].tolist() == [step / 8 for step in range(30)]
    assert not client.run("timeless").raw["timed"]


def test_steps_that_come_twice_have_a_row_each(client: Dashboard) -> None:
    again = client.points(ODD, "loss", axis="step").loc[10:14, "loss"].tolist()
    assert sorted(again) == sorted([*map(float, range(10, 15)), *(-float(step) for step in range(5))])


@pytest.mark.parametrize("baseline", ["normal", ""])
def test_a_flame_graph_is_that_of_the_api(client: Dashboard, raw: Raw, baseline: Any) -> None:
    flame = client.flame("group/a", LO, HI, baseline=baseline)
    assert flame.raw == raw("flame", run="group/a", from_=LO, to=HI, baseline=baseline)
    frames, columns = flame.raw["frames"], flame.raw["nodes"]
    assert flame.nodes["name"].tolist() == [frames[number]["name"] for number in columns["frame"]]
    assert flame.nodes["total_s"].tolist() == columns["total_s"]
    assert flame.has_baseline == bool(baseline)
    top = flame.top()
    assert (top["name"][0], len(flame.top(1))) == ("decode" if baseline else top["name"][0], 1)
    assert top["self_s"].sum() == pytest.approx(60, abs=1.1)
    if baseline:
        assert top["self_excess_s"][0] == pytest.approx(1.0, abs=0.05), "of each step, which normal has not"
        by_name = top.set_index("name")
        assert by_name.loc["forward", "self_excess_s"] == pytest.approx(0.0, abs=0.05), (
            "a second of each step, as in normal"
        )
        assert by_name.loc["step", "excess_s"] == pytest.approx(1.0, abs=0.05)
    else:
        assert top["self_excess_s"].isna().all()


def test_other_parameters_of_a_flame_graph_reach_the_api(client: Dashboard, raw: Raw) -> None:
    ours = client.flame("group/a", LO, HI, baseline="", waits=False, focus="DATA.py", roll="file", rank=0)
    assert ours.raw == raw("flame", run="group/a", from_=LO, to=HI, waits="false", focus="DATA.py", roll="file", rank=0)
    other = client.flame("group/a", LO, HI, baseline=(T0 + 200, T0 + 230), view="threads", invert=True, hide="forward")
    beside = {"baseline": f"{T0 + 200}-{T0 + 230}"}
    assert other.raw == raw(
        "flame", run="group/a", from_=LO, to=HI, view="threads", invert="true", hide="forward", **beside
    )


def test_every_parameter_of_a_route_is_one_of_its_method(running: RunningDashboard) -> None:
    """But `format`, of which only trees are read."""
    paths = running.get("/openapi.json")["paths"]
    for route, method in (
        ("flame", Dashboard.flame),
        ("blame", Dashboard.blame),
        ("ledger", Dashboard.ledger),
        ("logs", Dashboard.logs),
        ("curves", Dashboard.curves),
    ):
        called = {"runs": "run", "series": "expr"}  # several of each
        ours = {called.get(name, name.rstrip("_")) for name in inspect.signature(method).parameters} - {"self"}
        theirs = {parameter["name"] for parameter in paths[f"/api/v1/{route}"]["get"]["parameters"]} - {"format"}
        assert ours == theirs, route


def test_a_verdict_is_that_of_the_api_with_its_sentence_first(client: Dashboard, raw: Raw) -> None:
    blame = client.blame("group/a", LO, HI)
    assert blame.raw == raw("blame", run="group/a", from_=LO, to=HI)
    assert blame.place.endswith("data.py:2 decode") and blame.verdict == "line"
    shown = blame._repr_html_()
    assert shown.startswith("<p><b>") and shown.index("decode") < shown.index("<table>")
    other = client.blame("group/a", LO, HI, baseline=(T0 + 200, T0 + 230))
    assert other.raw == raw("blame", run="group/a", from_=LO, to=HI, baseline=f"{T0 + 200}-{T0 + 230}")


def test_a_ledger_is_that_of_the_api_with_rows_that_add_up(client: Dashboard, raw: Raw) -> None:
    ledger = client.ledger("group/a", LO, HI)
    assert ledger.raw == raw("ledger", run="group/a", from_=LO, to=HI)
    assert ledger.rows["share"].sum() == pytest.approx(100, abs=0.1)
    assert "data.py:2" in ledger.rows["place"].str.cat()
    assert ledger.blocks.sum().sum() == pytest.approx(ledger.raw["covered_share"] * (HI - LO), rel=0.01)
    assert ledger._repr_html_().startswith("<p><b>") and repr(ledger).startswith("<LedgerCard: ")


def test_last_stacks_and_source_are_those_of_the_api(client: Dashboard, raw: Raw) -> None:
    stacks = raw("last_stacks", run="group/a")["stacks"]
    check_rows(client.last_stacks("group/a"), [frame for stack in stacks for frame in stack["frames"]])
    file = client.blame("group/a", LO, HI).raw["file"]
    answer = raw("source", run="group/a", file=file, line=2)
    source = client.source("group/a", file, 2)
    assert (source.tolist(), source.index[0], source.attrs["note"]) == (
        answer["lines"],
        answer["first"],
        answer["note"],
    )


def test_the_machine_is_that_of_the_api(client: Dashboard, raw: Raw) -> None:
    answer = raw("gpus")
    assert (client.gpus().attrs["note"], len(client.gpus())) == (answer["note"], len(answer["gpus"]))
    check_rows(client.processes(), raw("processes")["processes"])
    check_rows(client.settings(), raw("settings")["settings"])
    health = client.health()
    assert (health.status, health.problems) == ("ok", [])
    assert set(health.collectors["name"]) >= {"tail", "host", "gpu"}
    assert {row["name"] for row in client.series(None).to_dict("records")} >= {"host/cpu_pct"}


def test_no_method_is_left_out_here() -> None:
    methods = {name for name, value in vars(Dashboard).items() if callable(value) and not name.startswith("_")}
    asked = Path(__file__).read_text()
    assert {name for name in methods if f"client.{name}(" not in asked} == set()


def test_every_object_has_a_repr_for_notebooks_that_escapes(client: Dashboard) -> None:
    for shown in (client.run(ODD), client.flame("group/a", LO, HI), client.blame("group/a", LO, HI), client.health()):
        assert shown._repr_html_().startswith("<p>") and repr(shown).startswith("<")  # type: ignore[attr-defined]
    assert "<i>" not in client.run(ODD)._repr_html_()
    evil = {**client.blame("group/a", LO, HI).raw, "sentence": "<script>"}
    assert "<script>" not in Blame(evil)._repr_html_()


def test_large_answers_come_packed(running: RunningDashboard, client: Dashboard) -> None:
    """As the dashboard packs them; the table is the same."""
    unpacked = running.get("/api/v1/curves?run=group/a&expr=*&buckets=20000")["curves"]
    assert wide(unpacked, "time", "last").equals(client.points("group/a", "*"))
