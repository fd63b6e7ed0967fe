"""The routes of the table of runs: what they answer, and that they refuse what cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.records import Points, RunInfo, labels_of
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.support.serving import Web, served

HOST = labels_of(host="box")
T0 = 1_764_000_000.0
ODD = ("a,b", "50%2F", "<b>", "x y", "\u202e", "a/b/../c", '"')


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("table")
    writer = open_store(folder, write=True)
    for number, name in enumerate(ODD):
        writer.append([RunInfo(name, {"config": {"lr": number / 10, name: name}})])
        writer.append(
            [
                Points(name, HOST, ("loss", name), (float(number), float("nan")), T0 + 10 * number + step, step)
                for step in range(5)
            ]
        )
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()


def runs(web: Web, **parameters: Any) -> list[str]:
    return [run["run"] for run in web.ask("/api/v1/runs", **parameters).json["runs"]]


def test_runs_without_parameters_are_all_and_with_them_filtered_sorted_and_paged(web: Web) -> None:
    everything = web.ask("/api/v1/runs").json
    assert [run["run"] for run in everything["runs"]] == list(reversed(ODD)) and everything["total"] == len(ODD)
    assert runs(web, q="lr>=0.3", sort="config.lr") == list(ODD[3:])
    assert runs(web, q="lr>=0.3", sort="config.lr", desc="true", offset=1, limit=2) == [ODD[5], ODD[4]]
    assert web.ask("/api/v1/runs", q="lr>=0.3", limit=1).json["total"] == 4
    assert runs(web, limit=2) == [ODD[6], ODD[5]] and runs(web, offset=99) == []
    for name in ODD:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        assert runs(web, q=f'name="{quoted}"') == [name] == runs(web, q=f'"{quoted}"="{quoted}"')


def test_a_row_has_the_cells_that_are_asked_for(web: Web) -> None:
    asked = ["name", "loss", *(f"config.{name}" for name in ODD), *(f"last.{name}" for name in ODD)]
    answer = web.ask("/api/v1/table", columns="\n".join(asked), sort="loss", limit=1, offset=2).json
    assert (answer["total"], answer["found"], answer["known"]) == (7, 7, 7) and len(answer["rows"]) == 1
    assert [column["key"] for column in answer["columns"]] == asked
    cells = answer["rows"][0]["cells"]
    assert (cells["name"], cells["loss"], cells["config.<b>"], cells["last.<b>"], cells["last.x y"]) == (
        "<b>",
        2.0,
        "<b>",
        "NaN",
        None,
    )


def test_groups_are_rows_and_open_on_demand(web: Web) -> None:
    answer = web.ask("/api/v1/table", group="config.lr", open=["0.1", "no group"], columns="loss", sort="loss").json
    assert [row["group"] or row["run"] for row in answer["rows"]][:3] == ["0", "0.1", "50%2F"]
    assert answer["total"] == 8 and answer["rows"][1]["opened"] and answer["rows"][1]["runs"] == 1
    assert answer["rows"][1]["cells"]["loss"] == {
        "mean": 1.0,
        "best": 1.0,
        "least": 1.0,
        "most": 1.0,
        "same": "",
        "of": "",
    }


def test_sparklines_of_many_runs_are_one_answer(web: Web) -> None:
    sparks = web.ask("/api/v1/sparklines", run=[*ODD, "nobody"], buckets=5).json["sparks"]
    assert {spark["run"]: spark["mean"] for spark in sparks} == {
        name: [float(number)] * 5 for number, name in enumerate(ODD)
    }
    assert {spark["series"] for spark in sparks} == {"loss"}


def test_a_run_without_steps_has_a_sparkline_over_time(tmp_path: Path) -> None:
    writer = open_store(tmp_path, write=True)
    for run, stepped in (("printed", False), ("logged", True)):
        writer.append([Points(run, HOST, ("loss",), (float(i),), T0 + i, i if stepped else None) for i in range(60)])
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries) as web:
        found = {
            spark["run"]: spark
            for spark in web.ask("/api/v1/sparklines", run=["printed", "logged"], buckets=6).json["sparks"]
        }
    queries.close()
    writer.close()
    assert found["printed"] == {
        **found["logged"],
        "run": "printed",
        "axis": "time",
        "t": [T0 + step for step in found["logged"]["t"]],
    }
    assert (found["logged"]["axis"], found["logged"]["t"][0], found["logged"]["t"][-1]) == ("step", 0, 59)


def test_columns_and_directions_name_what_there_is(web: Web) -> None:
    answer = web.ask("/api/v1/columns").json
    assert answer["configured"] == sorted({"lr", *ODD}) and {"name": "loss", "direction": "down"} in answer["series"]
    assert web.ask("/api/v1/directions").json == {"directions": {}}


@pytest.mark.parametrize(
    "parameters",
    [
        *({"q": text} for text in ("lr<=", "nothing:1", '"open', "a " * 999, "x" * 9999)),
        *({name: value} for name in ("sort", "group") for value in ("nothing", "last.", "x" * 9999)),
        *({name: value} for name in ("limit", "offset") for value in ("-1", "1.5", "x", "9" * 30)),
        {"limit": 1001},
        {"columns": ",".join(f"last.{number}" for number in range(101))},
        {"state": "up"},
        {"desc": "maybe"},
        {"open": ["x"] * 201},
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(web: Web, parameters: dict[str, Any]) -> None:
    answer = web.ask("/api/v1/table", **parameters)
    assert answer.status == 400 and len(answer.json["error"]) < 600


def test_too_many_runs_have_no_sparklines(web: Web) -> None:
    assert web.ask("/api/v1/sparklines", run=["x"] * 101).status == 400
    assert web.ask("/api/v1/sparklines").json == {"sparks": []}


def test_only_directions_are_taken(web: Web) -> None:
    assert web.ask("/api/v1/directions", "POST", b'{"series": "loss", "direction": "left"}').status == 400
    assert web.ask("/api/v1/directions", "POST", b'{"series": 7, "direction": "up"}').status == 400
    assert web.ask("/api/v1/directions", "POST", b'{"series": "<b>", "direction": "up"}').json == {
        "directions": {"<b>": "up"}
    }
    assert web.ask("/api/v1/table", columns="best.<b>").json["columns"][0]["direction"] == "up"
