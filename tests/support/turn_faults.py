"""Raise an error at one call inside a turn of the tail, wherever that call is."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import collectors
from collectors.records import labels_of
from collectors.store.store import LogQuery, series_id
from tests.support.ingesting import Ingest

OURS = str(Path(collectors.__file__).parent)
ERRORS = (
    KeyError("a fault of ours"),
    OSError(5, "Input/output error"),
    MemoryError(),
    RecursionError("maximum recursion depth exceeded"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
)
MAY_FAIL = {"posix", "orjson", "_json", "zlib", "_csv", "_io", "io", "sqlite3", "yaml._yaml"}
Place = tuple[CodeType, str]
"""The function that is called, or the one that calls what is not ours, and the name of that."""


def place_of(frame: FrameType, event: str, called: Any) -> Place | None:
    """Where a call is made that is ours, or that one of ours makes."""
    if event == "call":
        if frame.f_code.co_filename.startswith(OURS):
            return frame.f_code, ""
        caller = frame.f_back
        if caller is not None and caller.f_code.co_filename.startswith(OURS):
            return caller.f_code, frame.f_code.co_name
    if event == "c_call" and frame.f_code.co_filename.startswith(OURS) and may_fail(called):
        return frame.f_code, str(getattr(called, "__qualname__", called))
    return None


def may_fail(called: Any) -> bool:
    """Whether a function in C may raise: the system's and those of parsers; a list's `append` or a lock's release does not."""
    of = getattr(called, "__self__", None)
    return (
        getattr(called, "__module__", None) in MAY_FAIL
        or type(of).__module__ in MAY_FAIL
        or getattr(of, "__name__", None) in MAY_FAIL
    )


@contextmanager
def noting(places: dict[Place, None]) -> Iterator[None]:
    """Note the places of all calls."""

    def note(frame: FrameType, event: str, called: Any) -> None:
        if (place := place_of(frame, event, called)) is not None:
            places[place] = None

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


@contextmanager
def raising(at: Place, error: Exception, raised: list[Exception]) -> Iterator[None]:
    """The first call there raises the error, once; it is in the list then."""

    def maybe(frame: FrameType, event: str, called: Any) -> None:
        if not raised and place_of(frame, event, called) == at:
            raised.append(error)
            raise error

    sys.setprofile(maybe)
    try:
        yield
    finally:
        sys.setprofile(None)


def errors_at(place: Place, kind: int) -> Exception:
    """One of the errors; in a parser none that it must take for a fault of the line, which would be skipped and counted."""
    if place[0].co_filename.endswith("/lightning.py"):  # it takes whatever PyYAML raises for a fault of the file
        return MemoryError()
    error = ERRORS[kind % len(ERRORS)]
    is_of_a_line = isinstance(error, (ValueError, RecursionError)) and "/formats/" in place[0].co_filename
    error = ERRORS[kind % 3] if is_of_a_line else error
    return type(error)(*error.args)


def insert_row(path: Path, run: str, step: int) -> None:
    """Write what Trackio writes for one step of a run."""
    with sqlite3.connect(path) as db:
        columns = "id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp, run_name, step, metrics"
        db.execute(f"CREATE TABLE IF NOT EXISTS metrics ({columns})")
        moment = f"2026-11-25T21:{step // 60 % 60:02}:{step % 60:02}+00:00"
        row = (moment, run, step, json.dumps({"loss": 0.5}))
        db.execute("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?)", row)
    db.close()


class Scene:
    """Runs in many formats, of which each line is known."""

    def __init__(self, ingest: Ingest) -> None:
        self.ingest, self.runs, self.lines = ingest, 0, 0
        self.written: dict[str, list[int]] = {}  # by run, the steps of its lines

    def new_run(self) -> None:
        self.runs += 1
        name = f"group/run-{self.runs}"
        folder = self.ingest.root / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"config": {"number": self.runs}}))
        (folder / "events.jsonl").write_text('{"time_s": 1764000000.0, "kind": "start"}\n')
        (folder / "hparams.yaml").write_text(f"seed: {self.runs}\n")
        self.written[name] = []
        mlflow = self.ingest.root / "mlruns" / "0" / f"{self.runs:032x}"
        (mlflow / "metrics").mkdir(parents=True)
        (mlflow / "meta.yaml").write_text(f"run_name: mlflow-{self.runs}\nstatus: 1\nstart_time: 1764000000000\n")
        self.written[f"mlruns/0/mlflow-{self.runs}"] = []
        self.written["rows/db"] = self.written.get("rows/db", [])
        self.append()

    def append(self) -> None:
        """A line to each file of the newest run."""
        self.lines += 1
        step, time_s = self.lines, 1764000000.0 + self.lines
        folder = self.ingest.root / f"group/run-{self.runs}"
        table = folder / "table.csv"
        header = "" if table.exists() else "step,cell\n"
        texts = {
            folder / "metrics.jsonl": json.dumps({"time_s": time_s, "step": step, "loss": step / 7}) + "\n",
            folder / "events.jsonl": json.dumps({"time_s": time_s, "kind": "note", "step": step}) + "\n",
            folder / "train.log": f"line {step}\n",
            table: f"{header}{step},{step / 3}\n",
            self.ingest.root / f"mlruns/0/{self.runs:032x}/metrics/loss": f"{int(time_s * 1000)} 0.5 {step}\n",
        }
        for path, text in texts.items():
            with path.open("a") as file:
                file.write(text)
        insert_row(self.ingest.root / "rows.db", "db", step)
        for name in (f"group/run-{self.runs}", f"mlruns/0/mlflow-{self.runs}", "rows/db"):
            self.written[name].append(step)

    def rewrite(self) -> None:
        """The newest run's files are replaced: the lines that were there before were read."""
        folder = self.ingest.root / f"group/run-{self.runs}"
        for name in ("metrics.jsonl", "train.log"):
            (folder / name).rename(folder / f"{name}.old")
        (folder / "run.json").write_text(json.dumps({"config": {"number": self.runs, "again": self.lines}}))
        self.append()

    def stored(self) -> dict[str, list[int]]:
        """By run the steps that are stored, of the metrics; those of its other files must be the same, or fewer yet."""
        return {name: self.steps(name, "loss") for name in self.written}

    def steps(self, run: str, name: str) -> list[int]:
        by_its_id = f"mlruns/0/{int(run.rpartition('-')[2]):032x}" if run.startswith("mlruns/") else run
        ids = {
            series_id(called, name, labels_of(host="box")) for called in (run, by_its_id)
        }  # where its title cannot be read
        found = self.ingest.store.points([*ids], None, None, "step").values()
        return [int(step) for points in found for step in points.step]

    def is_newest_stored(self) -> bool:
        names = f"group/run-{self.runs}", f"mlruns/0/mlflow-{self.runs}", "rows/db"
        return all(self.steps(name, "loss") == self.written[name] for name in names) and self.is_described(self.runs)

    def is_stored(self) -> bool:
        names = [name for name in self.written if name.startswith("group/")]
        return (
            self.stored() == self.written
            and all(self.steps(name, "cell") == self.written[name] for name in names)
            and all(self.logged(name) == self.written[name] for name in names)
            and all(self.noted(name) == self.written[name] for name in names)
        )

    def logged(self, run: str) -> list[int]:
        return [int(line.text.split()[1]) for line in self.ingest.store.logs(LogQuery(run=run, limit=10**6)).lines]

    def noted(self, run: str) -> list[int]:
        return [event.step or 0 for event in self.ingest.store.events(run, kinds=["note"])]

    def check(self) -> None:
        """Every line is stored once."""
        self.ingest.until(self.is_newest_stored, self.differences)
        self.ingest.until(self.is_stored, self.differences)
        self.ingest.until(lambda: not self.ingest.tail.trouble(), self.ingest.tail.trouble)
        self.ingest.until(lambda: all(map(self.is_described, range(1, self.runs + 1))), "a run.json is not stored")
        assert self.is_stored(), self.differences()

    def is_described(self, number: int) -> bool:
        run = self.ingest.run(f"group/run-{number}")
        config = json.loads((self.ingest.root / f"group/run-{number}/run.json").read_text())["config"]
        return run is not None and run.info.get("config") == {"seed": number, **config}

    def differences(self) -> str:
        stored = self.stored()
        return "; ".join(
            f"{name}: {len(stored[name])} of {len(steps)} steps, lacks {sorted(set(steps) - set(stored[name]))[:9]}"
            for name, steps in self.written.items()
            if stored[name] != steps
        ) + "".join(
            f"; {name}: cells {len(self.steps(name, 'cell'))}, lines {len(self.logged(name))}, events {len(self.noted(name))}"
            for name in self.written
            if name.startswith("group/")
        )
