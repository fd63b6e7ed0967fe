"""Callbacks of Dash only read: whatever they are asked with, every file of the data folder stays as it is."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.records import Points, labels_of
from collectors.store.engines import open_store
from dashboard.queries import Queries
from dashboard.user_files.run_notes import save_about
from dashboard.user_files.settings import save_settings
from tests.support.extra_pages import extra_pages
from tests.support.serving import Web, served

T0 = 1_764_000_000.0
PLAUSIBLE: list[Any] = [
    None,
    1,
    "/grid",
    "/figure",
    [{"run": "a", "points": 9}],
    {"run": "a", "runs": ["a"], "axis": "time", "from": None, "to": None, "live": True},
    {"run": "a", "runs": ["a"], "axis": "step", "from": 2, "to": 7, "live": False},
]
ODD: list[Any] = [
    *(
        "",
        "/",
        "../../settings.yaml",
        "x" * 10_000,
        "\x00",
        "\ud800",
        -1,
        2**70,
        1e308,
        True,
        [],
        [[]],
        {},
        [None] * 100,
    ),
    {"run": "nobody", "runs": [], "axis": "time", "from": 9, "to": 1},
    {"run": 7, "runs": "a", "axis": "up", "from": "now", "to": {}},
    {"run": "a", "axis": "up"},
    {"run": "../settings", "axis": "time"},
    {"archived": True, "name": "x", "currency": "EUR"},
]
EXPECTED = {200, 204, 400}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """Over a filled data folder to which nobody writes."""
    writer = open_store(tmp_path, write=True)
    writer.append([Points("a", labels_of(host="box"), ("train/loss",), (1.0,), T0 + step, step) for step in range(9)])
    writer.close()
    save_about(tmp_path, "a", {"name": "wide"})
    save_settings(tmp_path, {"currency": "EUR"})
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with extra_pages(), served(queries) as web:
        yield web
    queries.close()


def files(folder: Path) -> dict[str, str]:
    """By path, a hash of what is in it; without the memory that SQLite's readers share."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith("-shm")]
    return {str(path.relative_to(folder)): hashlib.blake2b(path.read_bytes()).hexdigest() for path in found}


def bodies(callback: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """As the browser sends them, with each value everywhere, and with one odd value among plausible ones."""
    output = callback["output"]
    outputs = [
        dict(zip(("id", "property"), name.rsplit(".", 1), strict=True)) for name in output.strip(".").split("...")
    ]
    names = [*callback["inputs"], *callback["state"]]
    rows = [[value] * len(names) for value in (*PLAUSIBLE, *ODD)]
    rows += [
        [value if i == place else PLAUSIBLE[-2] for i in range(len(names))]
        for place in range(len(names))
        for value in ODD
    ]
    for row in rows:
        sent = [{**name, "value": value} for name, value in zip(names, row, strict=True)]
        inputs, state = sent[: len(callback["inputs"])], sent[len(callback["inputs"]) :]
        changed = [f"{one['id']}.{one['property']}" for one in inputs]
        yield {
            "output": output,
            "outputs": outputs if output.startswith("..") else outputs[0],
            "inputs": inputs,
            "state": state,
            "changedPropIds": changed,
        }


def test_no_callback_changes_a_file_of_the_data_folder(
    web: Web, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(
        logging.CRITICAL, "dashboard.callbacks"
    )  # half a surrogate pair, which no report of a test can hold
    callbacks = web.ask("/_dash-dependencies").json
    assert {one["output"] for one in callbacks} >= {
        "grid.rowData",
        "counted.children",
        "figure.figure",
    }
    for path in ("/", "/grid", "/api/v1/runs", "/api/v1/settings"):
        assert web.ask(path).status == 200
    before = files(tmp_path)
    assert {"runs.sqlite", "runs/a.yaml", "settings.yaml"} <= before.keys()
    answered = 0
    for callback in callbacks:
        for body in map(json.dumps, bodies(callback)):
            answer = web.ask("/_dash-update-component", "POST", body.encode())
            assert answer.status in EXPECTED, f"{answer.status} {answer.body[:300]!r} for {body[:300]}"
            answered += answer.status != 400
    assert files(tmp_path) == before
    assert answered >= len(callbacks) * len(PLAUSIBLE) / 2, "most plausible ones are answered"
