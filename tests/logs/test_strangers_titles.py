"""What a run is called may be a stranger's text: it costs no other run a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collectors.logs.formats import Tally, lightning
from collectors.records import labels_of
from collectors.store.store import series_id
from tests.support.ingesting import Ingest
from tests.support.ingesting import ingest as ingest  # a fixture

ID = "d" * 32
ODD = {
    "an empty integer": 'x: !!int ""',
    "an empty float": 'x: !!float ""',
    "no boolean": "run_name: !!bool foo",
    "a sexagesimal float": "x: !!float 1:",
    "a date that is none": "x: !!timestamp 2026-13-45",
    "an integer of many digits": "run_name: 1" + "0" * 5000,
    "a hexadecimal one": "run_name: 0x" + "f" * 5000,
    "a key that is one": "0x" + "f" * 5000 + ": 1",
    "keys that cannot be hashed": "? {a: [1]}\n: 1",
    "a merge of a text": "<<: foo",
    "an alias of nothing": "x: *nothing",
    "itself": "x: &x [*x]",
    "brackets": "[" * 5000,
    "a text as pairs": "x: !!pairs foo",
    "a text as ordered pairs": "x: !!omap [1]",
    "bytes that are no text": "x: !!binary ///",
    "half a surrogate": 'run_name: "\\ud800"',
    "a title of folders": "run_name: ../../..//",
    "a mapping as title": "run_name: {a: [1, 2]}",
}


def poison(ingest: Ingest, text: str, experiment: str = "e", id_: str = ID) -> None:
    folder = ingest.root / experiment / id_
    (folder / "metrics").mkdir(parents=True)
    (folder / "meta.yaml").write_text(text + "\n")
    with (folder / "metrics" / "loss").open("a") as file:
        file.writelines(f"{1764000000000 + step} 0.5 {step}\n" for step in range(10))


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_any_yaml_in_a_runs_description_is_that_runs_fault_alone(text: str, ingest: Ingest) -> None:
    ingest.health_passes()
    poison(ingest, text)
    ingest.health_passes()
    ingest.until(
        lambda: any(run.points == 10 and run.name != "healthy" for run in ingest.store.runs()), "its own lines are lost"
    )
    ingest.restart()
    ingest.health_passes()


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_any_yaml_is_read_or_counted(text: str) -> None:
    for data in (text.encode(), text.encode() + b"\nlr: 0.1\n"):
        tally = Tally()
        found = lightning.parse(data, tally)
        assert found is None or json.dumps(found)
        assert found is not None or tally.lines_skipped or tally.fields_skipped


def losses(ingest: Ingest, run: str) -> list[int]:
    loss = series_id(run, "loss", labels_of(host="box"))
    return [int(step) for step in ingest.store.points([loss], None, None, "step")[loss].step]


def write(path: Path, steps: range) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps({"step": step, "loss": 0.5}) + "\n" for step in steps)


@pytest.mark.parametrize("comes_first", ["the folder", "the title"])
def test_a_title_that_is_the_place_of_another_run_gets_its_id(comes_first: str, ingest: Ingest) -> None:
    place = ingest.root / "e" / "r" / "metrics.jsonl"
    if comes_first == "the folder":
        write(place, range(5))
        ingest.until(lambda: losses(ingest, "e/r") == [*range(5)], "not read")
    poison(ingest, "run_name: r")
    if comes_first == "the title":
        ingest.until(lambda: ingest.run("e/r"), "not read")
        write(place, range(100, 105))
    ingest.health_passes()
    with (ingest.root / "e" / ID / "metrics" / "loss").open("a") as file:
        file.write("1764000000099 0.5 10\n")
    for first in (200, 300):
        write(place, range(first, first + 3))
        ingest.until(
            lambda: first + 2 in losses(ingest, "e/r") and 10 in losses(ingest, "e/r-dddddddd"),  # noqa: B023
            lambda: f"{losses(ingest, 'e/r')} {losses(ingest, 'e/r-dddddddd')} {ingest.store.runs()}",
        )
        assert not ingest.tail.trouble()
        ingest.restart()
    steps = [
        *range(11),
        *(range(5) if comes_first == "the folder" else range(100, 105)),
        *range(200, 203),
        *range(300, 303),
    ]
    assert sorted(losses(ingest, "e/r") + losses(ingest, "e/r-dddddddd")) == sorted(steps)
