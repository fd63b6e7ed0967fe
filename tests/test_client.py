"""What the client says is what the routes of the HTTP API answer: every method, over a real dashboard with odd runs."""

from __future__ import annotations

import http.server
import inspect
import json
import math
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client import Dashboard, DashboardError
from client.cards import Blame
from client.flame_graph import FlameGraph
from client.tables import names_of, wide
from client.times import unix_s, utc_index
from tests.conftest import Dashboard as RunningDashboard
from tests.conftest import dashboard, wait_for
from tests.logged import COUNT, ODD, ODD_SERIES, STEPS, T0, WINDOW, write_logs

LO, HI = WINDOW
RUNS = ("run", "group/a", ODD, "timeless", "text")
AXES = ("time", "step")
Raw = Callable[..., Any]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    log_dir = tmp_path_factory.mktemp("client") / "logs"
    write_logs(log_dir)
    with dashboard(log_dir, "--no-profile") as running:
        wait_for(lambda: len(running.get("/api/v1/runs")["runs"]) == COUNT)
        wait_for(lambda: not tail_of(running)["waiting"], because="files are not read")
        yield running


def tail_of(running: RunningDashboard) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in running.get("/healthz")["collectors"] if row["name"] == "tail")
    return found


@pytest.fixture(scope="module")
def client(running: RunningDashboard) -> Dashboard:
    return Dashboard(running.address)


@pytest.fixture(scope="module")
def raw(running: RunningDashboard) -> Raw:
    def ask(route: str, **parameters: object) -> Any:
        given = {name.rstrip("_"): value for name, value in parameters.items() if value is not None}
        return running.get(f"/api/v1/{route}?{urlencode(given, doseq=True)}")

    return ask


def same(ours: object, theirs: object) -> bool:
    """A cell and what JSON has there."""
    if theirs is None:
        return ours is None or bool(pd.isna(ours))  # type: ignore[call-overload]
    if isinstance(theirs, str) and isinstance(ours, float):
        return bool(np.array_equal(ours, float(theirs), equal_nan=True))
    return type(ours) is not bool and bool(ours == theirs) if not isinstance(theirs, bool) else bool(ours) is theirs


def check_rows(table: pd.DataFrame, found: Sequence[Mapping[str, Any]]) -> None:
    assert len(table) == len(found)
    names = {name for row in found for name in row}
    assert set(table.columns) >= names
    for place, row in enumerate(found):
        wrong = {
            name: (table[name].iloc[place], row.get(name)) for name in names if not same(table[name].iloc[place], row.get(name))
        }
        assert not wrong, f"row {place}"


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
    check_rows(client.events("group/a", T0 + 400, T0 + 600), raw("events", run="group/a", from_=T0 + 400, to=T0 + 600)["events"])
    assert len(client.events("group/a", T0 + 400, T0 + 600)) == 1
    assert len(client.events("group/a", T0 + 501)) == 0


def test_an_index_is_the_time_of_its_row(client: Dashboard) -> None:
    for table in (client.events("run"), client.logs("run")):
        assert table.index.name == "time" and len(table) > 0
        ours = [moment.timestamp() for moment in table.index]
        assert ours == pytest.approx(table["time_s"].tolist(), abs=1e-6)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("run", RUNS)
def test_points_are_those_of_the_api(client: Dashboard, raw: Raw, run: str, axis: Any) -> None:
    names = [row["name"] for row in raw("series", run=run)["series"]]
    if not names:
        with pytest.raises(DashboardError):
            client.points(run, "loss")
        return
    curves = raw("points", run=run, series=names, axis=axis, buckets=20_000)["series"]
    table = client.points(run, names, axis=axis)
    assert list(table.columns) == names_of(curves) and len(set(table.columns)) == len(curves)
    for curve, name in zip(curves, names_of(curves), strict=True):
        places = [moment.timestamp() for moment in table.index] if axis == "time" else table.index.tolist()
        ours = Counter(
            (round(place, 5), text(value)) for place, value in zip(places, table[name], strict=True) if not np.isnan(value)
        )
        theirs = [(round(t, 5), text(float(value))) for t, value in zip(curve["t"], curve["last"], strict=True)]
        assert ours == Counter(pair for pair in theirs if pair[1] != "nan")
        assert table.attrs["points"][name] == curve["points_total"] == sum(curve["count"])
        assert table.attrs["unit"][name] == curve["unit"]


def text(value: float) -> str:
    return repr(float(value))


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("run", ["run", "group/a", ODD, "timeless"])
def test_buckets_have_every_column_of_the_api(client: Dashboard, raw: Raw, run: str, axis: Any) -> None:
    curves = raw("points", run=run, series="*", axis=axis, buckets=7)["series"]
    table = client.buckets(run, "*", axis=axis, buckets=7)
    for curve, name in zip(curves, names_of(curves), strict=True):
        part = table[table["series"] == name]
        for key in ("t", "t_end", "step", "segment", "min", "max", "mean", "last", "count", "non_finite"):
            assert len(part) == len(curve[key])
            assert all(same(ours, value) for ours, value in zip(part[key].tolist(), curve[key], strict=True)), key


def test_curves_of_several_runs_have_every_column_of_the_api(client: Dashboard, raw: Raw) -> None:
    asked = {"x": "step", "smooth": "ema:5", "buckets": 50}
    answer = raw("curves", run=["run", "group/a", ODD, "nobody"], series="*", **asked)
    table = client.curves(["run", "group/a", ODD, "nobody"], "*", smooth="ema:5", buckets=50)
    assert len(table) == sum(len(curve["x"]) for curve in answer["curves"]) > 0
    for key in ("x", "x_end", "step", "segment", "min", "max", "mean", "last", "count", "non_finite", "smooth", "superseded"):
        theirs = [value for curve in answer["curves"] for value in curve[key]]
        assert all(same(ours, value) for ours, value in zip(table[key].tolist(), theirs, strict=True)), key
    assert set(table["run"]) <= {"run", "group/a", ODD} and table.attrs["left_out"] == answer["left_out"]
    assert client.curves("nobody", "loss").empty


def test_more_points_than_buckets_are_buckets_and_say_so(client: Dashboard) -> None:
    few, all_ = client.points("group/a", "other", buckets=10), client.points("group/a", "other")
    assert (len(few), len(all_)) == (10, STEPS)
    assert (few.attrs["is_raw"], all_.attrs["is_raw"]) == ({"other": False}, {"other": True})
    assert few.attrs["points"] == all_.attrs["points"] == {"other": STEPS}
    assert client.points("group/a", "other", buckets=10, value="max")["other"].max() == STEPS - 1


def test_non_finite_values_come_back_as_floats(client: Dashboard) -> None:
    loss = client.buckets(ODD, "loss", buckets=2000)["last"].tolist()
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
        assert by_name.loc["forward", "self_excess_s"] == pytest.approx(0.0, abs=0.05), "a second of each step, as in normal"
        assert by_name.loc["step", "excess_s"] == pytest.approx(1.0, abs=0.05)
    else:
        assert top["self_excess_s"].isna().all()


def test_other_parameters_of_a_flame_graph_reach_the_api(client: Dashboard, raw: Raw) -> None:
    ours = client.flame("group/a", LO, HI, baseline="", waits=False, focus="DATA.py", roll="file", rank=0)
    assert ours.raw == raw("flame", run="group/a", from_=LO, to=HI, waits="false", focus="DATA.py", roll="file", rank=0)
    other = client.flame(
        "group/a", LO, HI, baseline_from=T0 + 200, baseline_to=T0 + 230, view="threads", invert=True, hide="forward"
    )
    beside = {"baseline": "normal", "baseline_from": T0 + 200, "baseline_to": T0 + 230}
    assert other.raw == raw("flame", run="group/a", from_=LO, to=HI, view="threads", invert="true", hide="forward", **beside)


def test_every_parameter_of_a_route_is_one_of_its_method(running: RunningDashboard) -> None:
    """But `format`, of which only trees are read."""
    paths = running.get("/openapi.json")["paths"]
    for route, method in (
        ("flame", Dashboard.flame),
        ("blame", Dashboard.blame),
        ("ledger", Dashboard.ledger),
        ("logs", Dashboard.logs),
        ("points", Dashboard.points),
    ):
        ours = {name.rstrip("_") for name in inspect.signature(method).parameters} - {"self", "value"}
        theirs = {parameter["name"] for parameter in paths[f"/api/v1/{route}"]["get"]["parameters"]} - {"format"}
        assert ours == theirs, route


def test_a_verdict_is_that_of_the_api_with_its_sentence_first(client: Dashboard, raw: Raw) -> None:
    blame = client.blame("group/a", LO, HI)
    assert blame.raw == raw("blame", run="group/a", from_=LO, to=HI)
    assert blame.place.endswith("data.py:2 decode") and blame.verdict == "line"
    shown = blame._repr_html_()
    assert shown.startswith("<p><b>") and shown.index("decode") < shown.index("<table>")
    other = client.blame("group/a", LO, HI, baseline_from=T0 + 200, baseline_to=T0 + 230)
    assert other.raw == raw("blame", run="group/a", from_=LO, to=HI, baseline_from=T0 + 200, baseline_to=T0 + 230)


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
    assert (source.tolist(), source.index[0], source.attrs["note"]) == (answer["lines"], answer["first"], answer["note"])


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


# -- times ---------------------------------------------------------------------------------------------------------------


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)), st.integers(-12, 12))
def test_each_way_to_write_a_time_is_the_same_second(naive: datetime, hours: int) -> None:
    zoned = naive.replace(tzinfo=UTC)
    wanted = zoned.timestamp()
    elsewhere = zoned.astimezone(timezone(timedelta(hours=hours)))
    ways: list[Any] = [wanted, np.float64(wanted), zoned, elsewhere, pd.Timestamp(zoned), np.datetime64(naive, "us")]
    assert [unix_s(way, "to") for way in ways] == pytest.approx([wanted] * len(ways), abs=1e-5)
    assert unix_s(naive, "to") == unix_s(pd.Timestamp(naive), "to") == naive.timestamp(), "local time, both"
    assert utc_index([wanted])[0].timestamp() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    "wrong", [True, "yesterday", math.nan, math.inf, pd.NaT, np.datetime64("NaT"), 10**400, [1.0], datetime.min]
)
def test_what_is_no_time_gets_a_sentence(wrong: Any) -> None:
    with pytest.raises(DashboardError, match=r"from_ is .*; give Unix seconds, a datetime or a pandas Timestamp"):
        unix_s(wrong, "from_")


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=20))
def test_no_number_of_seconds_breaks_an_index(seconds: list[float | None]) -> None:
    assert len(utc_index(seconds)) == len(seconds)


def test_a_window_may_be_given_as_timestamps(client: Dashboard) -> None:
    lo, hi = pd.Timestamp(LO, unit="s", tz="UTC"), datetime.fromtimestamp(HI, UTC)
    assert client.flame("group/a", lo, hi).raw == client.flame("group/a", LO, HI).raw
    assert len(client.points("group/a", "other", lo, hi)) == (HI - LO) / 2 + 1


# -- tables --------------------------------------------------------------------------------------------------------------

VALUES = st.one_of(st.floats(), st.sampled_from(["NaN", "Infinity", "-Infinity"]))
PLACES = st.lists(st.integers(0, 5), max_size=8)


@given(st.lists(PLACES, min_size=1, max_size=4), st.data())
def test_a_wide_table_holds_each_point_once_whatever_comes_twice(places: list[list[int]], data: st.DataObject) -> None:
    curves = [
        {"name": "x", "labels": {"rank": str(rank)}, "t": found, "last": [float(100 * rank + at) for at in range(len(found))]}
        for rank, found in enumerate(places)
    ]
    table = wide(curves, "step", "last")
    assert list(table.index) == sorted(table.index)
    for curve, name in zip(curves, names_of(curves), strict=True):
        own = table[name].dropna()
        assert Counter(zip(own.index.tolist(), own.tolist(), strict=True)) == Counter(zip(curve["t"], curve["last"], strict=True))
    most = Counter[int]()
    for found in places:
        most |= Counter(found)
    assert len(table) == most.total(), "no row more than the series that has a place most often needs"


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.dictionaries(st.sampled_from("kl"), st.sampled_from("12"))),
        max_size=6,
        unique_by=lambda row: (row[0], frozenset(row[1].items())),
    )
)
def test_series_have_different_names(series: list[tuple[str, dict[str, str]]]) -> None:
    names = names_of([{"name": name, "labels": labels} for name, labels in series])
    assert len(set(names)) == len(names)


@given(st.lists(st.integers(-1, 30), min_size=1, max_size=30), st.data())
def test_the_top_of_a_tree_has_all_its_own_seconds_once(parents: list[int], data: st.DataObject) -> None:
    """And no line has a longer total than the root."""
    order = preorder(parents)
    frames = [{"name": name, "file": "f.py", "line": 1} for name in "abc"]
    own = data.draw(st.lists(st.integers(0, 9), min_size=len(order), max_size=len(order)))
    totals = [float(seconds) for seconds in own]
    for node in reversed(range(1, len(order))):
        totals[order[node]] += totals[node]
    numbers = data.draw(st.lists(st.integers(0, 2), min_size=len(order), max_size=len(order)))
    nodes = {
        "frame": numbers, "parent": order, "self_s": own, "total_s": totals, "untrusted_s": own,
        "base_self_s": None, "base_total_s": None, "kind": ["own"] * len(order),
    }  # fmt: skip
    answer = {"frames": frames, "nodes": nodes, "units": None, "baseline_units": None, "seconds": 9.0, "baseline_seconds": 0.0}
    top = FlameGraph({**answer, "per": "second", "samples": 1, "note": None}).top(10)
    assert top["self_s"].sum() == sum(own)
    assert (top["total_s"] <= totals[0]).all() and (top["total_s"] >= top["self_s"]).all()


def test_the_excess_of_several_ranks_is_that_of_one() -> None:
    """Each of two ranks spends 3 s in 2 steps where the baseline has 1 s a step; a run may be called like a rank."""
    names = [("rank 9 main thread", ""), ("rank 0", ""), ("f", "f.py"), ("rank 1", ""), ("f", "f.py")]
    frames = [{"name": name, "file": file, "line": 1} for name, file in names]
    nodes = {
        "frame": [0, 1, 2, 3, 4], "parent": [-1, 0, 1, 0, 3], "self_s": [0, 0, 3, 0, 3], "total_s": [6, 3, 3, 3, 3], "untrusted_s": [0] * 5,
        "base_self_s": [0, 0, 10, 0, 10], "base_total_s": [20, 10, 10, 10, 10], "kind": ["own"] * 5,
    }  # fmt: skip
    answer = {"frames": frames, "nodes": nodes, "units": 2.0, "baseline_units": 10.0, "seconds": 3.0, "baseline_seconds": 10.0}
    top = FlameGraph({**answer, "per": "step", "samples": 6, "note": None}).top()
    assert top[["self_s", "self_excess_s", "excess_s"]].values.tolist() == [[6.0, 0.5, 0.5]]


def preorder(parents: list[int]) -> list[int]:
    """A tree in preorder from any numbers: the parent of each node is on the path to the one before it."""
    order, path = [-1], [0]
    for number in parents[1:]:
        depth = number % len(path)
        path = path[: depth + 1]
        order.append(path[-1])
        path.append(len(order) - 1)
    return order


# -- errors --------------------------------------------------------------------------------------------------------------


def test_an_error_is_the_apis_own_sentence(client: Dashboard, raw: Raw) -> None:
    for ask, answer in (
        (lambda: client.run("nö"), raw("run", run="nö")),
        (lambda: client.points("run", "no such"), raw("points", run="run", series="no such")),
        (lambda: client.flame("group/a", HI, LO), raw("flame", run="group/a", from_=HI, to=LO)),
        (lambda: client.logs("run", limit=10**9), raw("logs", run="run", limit=10**9)),
        (lambda: client.points("", "loss"), raw("points", run="", series="loss")),
    ):
        with pytest.raises(DashboardError) as found:
            ask()
        assert str(found.value) == answer["error"] and "\n" not in str(found.value)
        assert found.value.status in (400, 404)


@pytest.mark.parametrize("ask", [
    lambda client: client.points("run", []),
    lambda client: client.points("run", 7),
    lambda client: client.points("run", "train/loss", value="median"),
    lambda client: client.points("run", "train/loss", "yesterday"),
    lambda client: client.run("\ud800"),
])  # fmt: skip
def test_a_wrong_argument_gets_one_sentence(client: Dashboard, ask: Callable[[Dashboard], object]) -> None:
    with pytest.raises(DashboardError) as found:
        ask(client)
    assert "\n" not in str(found.value) and len(str(found.value)) < 300


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://a", "http://", "http://a:port", "http://a:99999", None])
def test_what_is_no_address_gets_a_sentence(url: Any) -> None:
    with pytest.raises(DashboardError, match="is not an address; write it as in"):
        Dashboard(url)


def test_where_no_dashboard_answers_the_remedy_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
    with pytest.raises(DashboardError, match=r"no dashboard answers at .*; start one with: deepseek-dashboard"):
        Dashboard(f"http://127.0.0.1:{number}").runs()


class Stranger(http.server.BaseHTTPRequestHandler):
    """Another server; keeps the headers of what it was asked."""

    seen: list[dict[str, str]]
    status, body, location = 200, b"<html>hello", ""

    def do_GET(self) -> None:
        type(self).seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(self.status)
        if self.location:
            self.send_header("Location", self.location)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def stranger(**answer: Any) -> Iterator[tuple[str, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []
    handler = type("Handler", (Stranger,), {**answer, "seen": seen})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
        server.shutdown()
        thread.join()


def test_another_server_is_no_dashboard_and_a_redirect_is_not_followed() -> None:
    with stranger() as (url, _), pytest.raises(DashboardError, match="is not a dashboard: it answers 200"):
        Dashboard(url).runs()
    with stranger() as (elsewhere, seen), stranger(status=302, body=b"{}", location=elsewhere) as (url, _):
        with pytest.raises(DashboardError, match="answers 302"):
            Dashboard(url, token="secret").runs()
        assert seen == []


def test_a_token_is_sent_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with stranger(body=json.dumps({"runs": []}).encode()) as (url, seen):
        client = Dashboard(url, token="s3cret")
        assert client.runs().empty
        assert (seen[0]["authorization"], seen[0]["accept-encoding"]) == ("Bearer s3cret", "gzip")
        assert "s3cret" not in repr(client)
    with pytest.raises(DashboardError) as found:
        Dashboard(url, token="a\r\nX: s3cret")
    assert "s3cret" not in str(found.value)


def test_a_server_that_says_nothing_costs_the_time_that_was_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Dashboard(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
        with pytest.raises(DashboardError, match=r"did not answer within 0.2 s"):
            client.runs()


def test_large_answers_come_packed(running: RunningDashboard, client: Dashboard) -> None:
    """As the dashboard packs them; the table is the same."""
    unpacked = running.get("/api/v1/points?run=group/a&series=*&buckets=20000")["series"]
    assert wide(unpacked, "time", "last").equals(client.points("group/a", "*"))
