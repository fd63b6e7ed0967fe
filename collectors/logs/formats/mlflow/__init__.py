"""Read MLflow's file store, a folder a run: `mlruns/<experiment>/<run>/` with `metrics/<name>`, `params/<name>` and `meta.yaml`.

`metrics/train/loss` with the line `1764000000000 0.5 7` -> `Points(run, labels, ("train/loss",), (0.5,), 1764000000.0, 7)`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ....records import Labels, Points, Record, RunInfo
from ...life import FAILED, FINISHED, KILLED, RUNNING, Life
from .. import Arrival, Tally
from ..hparams import parse
from ..segments import Segments
from ..values import MAX_STEP, Fitting, as_count, as_time, inert

RUN = r"[0-9a-f]{32}"
METRIC = re.compile(rf"/{RUN}/metrics(/|$)")  # folders
PARAM = re.compile(rf"/{RUN}/params(/|$)")
META = re.compile(rf"/{RUN}$")
RUN_FOLDER = re.compile(RUN)
META_FILE, NAME_TAG = "meta.yaml", Path("tags") / "mlflow.runName"
STATUSES = {1: RUNNING, 2: RUNNING, 3: FINISHED, 4: FAILED, 5: KILLED}
MAX_CONFIG_BYTES = 16 << 10  # of JSON, kept of one run's params
MAX_META_BYTES = 64 << 10


class MetricFile:
    """One metric of one run: a value a line."""

    def __init__(
        self, run: str, labels: Labels, name: str, fault: Callable[[str], str], state: Mapping[str, Any]
    ) -> None:
        """`fault` says why a series of that name is left out; "" where it is kept."""
        self.tally = Tally()
        self._run, self._labels, self._names = run, labels, (name,)
        self._segments = Segments(state)
        self._fault = fault(name)

    def state(self) -> dict[str, Any]:
        return {**self._segments.state(), "names": [] if self._fault else list(self._names)}

    def parse(self, lines: Sequence[bytes], arrival: Arrival | None) -> list[Record]:
        records: list[Record] = []
        for line in lines:
            self.tally.lines_read += 1
            if self._fault:
                self.tally.skip_field(self._names[0], self._fault)
            elif line.strip():
                records += self._points(line)
        return records

    def _points(self, line: bytes) -> list[Points]:
        """Early versions of MLflow wrote no step."""
        cells = line.split()
        try:
            time_s, value, step = int(cells[0]) / 1000, float(cells[1]), int(cells[2]) if len(cells) == 3 else 0
        except (ValueError, IndexError, OverflowError):
            cells = []
        if not 2 <= len(cells) <= 3 or as_time(time_s) is None or abs(step) > MAX_STEP:
            self.tally.skip_line("is not a time, a value and a step")
            return []
        return [
            Points(
                self._run,
                self._labels,
                self._names,
                (value,),
                time_s,
                step,
                self._segments.take(self._names, step, time_s),
            )
        ]


class Params:
    """All params of one run, whose files are read one by one; `take` returns what is known of the run with them, where that is new."""

    def __init__(
        self, run: str, name: str, take: Callable[[dict[str, Any]], dict[str, Any] | None], state: Mapping[str, Any]
    ) -> None:
        self.tally = Tally()
        self._run, self._name, self._take = run, name, take
        self._config: dict[str, Any] = dict(state.get("config", {}))

    def state(self) -> dict[str, Any]:
        return {"config": self._config}

    def parse_whole(self, data: bytes) -> list[Record]:
        config = self._config | {self._name: data.decode("utf-8", "replace")}
        self._config = Fitting(MAX_CONFIG_BYTES, self.tally.skip_field).fields(config)
        self.tally.first_skip = self.tally.first_skip.removeprefix("line 0: ")
        info = self._take(self._config)
        return [] if info is None else [RunInfo(self._run, info)]


class RunMeta:
    """`meta.yaml` of a run: when it started and how it ended."""

    def __init__(self, run: str, state: Mapping[str, Any]) -> None:
        self.tally = Tally()
        self.life = Life(run, state.get("lifetimes", ()))

    def state(self) -> dict[str, Any]:
        return {"lifetimes": self.life.state()}

    def parse_whole(self, data: bytes) -> list[Record]:
        fields = parse(data, self.tally) or {}
        self.tally.first_skip = self.tally.first_skip.removeprefix("line 0: ")
        status = STATUSES.get(as_count(fields.get("status")) or 0)
        if status is None:
            return []
        return [*self.life.take(status, seconds_of(fields.get("start_time")), seconds_of(fields.get("end_time")))]


def seconds_of(milliseconds: object) -> float | None:
    """`1764000000500 -> 1764000000.5`"""
    return as_time(milliseconds / 1000) if isinstance(milliseconds, (int, float)) else None


def run_folder(path: Path) -> Path | None:
    """The folder of the run that a file of it lies in: its `meta.yaml`, a metric or a param."""
    return next((folder for folder in path.parents if RUN_FOLDER.fullmatch(folder.name)), None)


def name_of(path: Path) -> str:
    """Of a metric or param, which may hold slashes: `.../metrics/train/loss -> "train/loss"`."""
    folder = run_folder(path)
    return inert("/".join(path.relative_to(folder).parts[1:])) if folder else inert(path.name)


def title(folder: Path, read: Callable[[Path], bytes]) -> str:
    """`"<experiment>/<run>"`, by their names; by their ids where these are unknown. `read` returns b"" where there is no such file."""
    meta = parse(read(folder / META_FILE), Tally()) or {}
    name = read(folder / NAME_TAG).decode("utf-8", "replace") or meta.get("run_name") or folder.name
    experiment = (parse(read(folder.parent / META_FILE), Tally()) or {}).get("name") or folder.parent.name
    return f"{experiment}/{name}"
