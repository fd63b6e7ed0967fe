"""A dashboard's questions, one method per route of its HTTP API (docs/http-api.md): runs, curves, logs, stacks and verdicts as pandas objects."""

from __future__ import annotations

import gzip
import html
import http.client
import io
import json
import math
import os
import re
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from numbers import Real
from pathlib import Path
from typing import Any, Literal, Union
from urllib.parse import urlencode, urlsplit

import numpy as np
import pandas as pd

MAX_BYTES = 256 << 20  # of an answer, unpacked
READ_BYTES = 1 << 20
MAX_TOKEN_BYTES = 4096
SHOWN = 200  # characters of what a stranger answers
API = "/api/v1"


class DashboardError(Exception):
    """The text is one sentence with the remedy, the API's own where it answered; `status` is that of the answer, or None."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


def token_of_environment() -> str | None:
    """Of DEEPSEEK_TOKEN, or the first line of the file that DEEPSEEK_TOKEN_FILE names. Raises DashboardError where that cannot be read."""
    if token := os.environ.get("DEEPSEEK_TOKEN"):
        return token
    if not (name := os.environ.get("DEEPSEEK_TOKEN_FILE")):
        return None
    try:
        with Path(name).open("rb") as file:
            return file.readline(MAX_TOKEN_BYTES).decode("ascii").strip() or None
    except (OSError, UnicodeError, ValueError):
        raise DashboardError(f"DEEPSEEK_TOKEN_FILE: {name} cannot be read; put the token into its first line") from None


class Asker:
    """Knows where a dashboard is; each question is a connection of its own, so that threads may share one."""

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 40.0) -> None:
        """Raises DashboardError for what is no address."""
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except (ValueError, AttributeError):
            raise DashboardError(f"{url!r} is not an address; write it as in http://127.0.0.1:8080") from None
        if parts.scheme not in ("http", "https") or not self._host:
            raise DashboardError(f"{url!r} is not an address; write it as in http://127.0.0.1:8080")
        if token is not None and not (token.isascii() and token.isprintable() and token):
            raise DashboardError("the token is empty, or holds what is not printable ASCII; copy it again")
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"{parts.scheme}://{host}{f':{self._port}' if self._port else ''}{parts.path.rstrip('/')}"
        self._path, self._is_tls = parts.path.rstrip("/"), parts.scheme == "https"
        self._token, self._timeout_s = token, timeout_s

    def get(self, route: str, parameters: Mapping[str, object] | None = None) -> Any:
        """What a route answers; lists repeat, None is left out. Raises DashboardError."""
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        try:
            query = urlencode(given, doseq=True)
        except UnicodeError:
            raise DashboardError("a name holds characters that no text has (lone surrogates); leave them out") from None
        status, body = self._fetch(f"{self._path}{route}{f'?{query}' if query else ''}")
        try:
            answer = json.loads(body)
        except ValueError:
            shown = body[:SHOWN].decode(errors="replace").partition("\n")[0]
            raise DashboardError(
                f"{self.url} is not a dashboard: it answers {status} {shown!r}; check the address", status
            ) from None
        if status != http.HTTPStatus.OK:
            sentence = answer.get("error") if isinstance(answer, dict) else None
            raise DashboardError(str(sentence or f"{self.url} answers {status}; check the address"), status)
        return answer

    def _fetch(self, path: str) -> tuple[int, bytes]:
        """Status and body. No proxy stands in between, and no redirect is followed: either could learn the token."""
        kind = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            packed = _read(response, time.monotonic() + self._timeout_s)
            return response.status, _unpacked(packed) if response.headers.get("Content-Encoding") == "gzip" else packed
        except TimeoutError:
            raise DashboardError(
                f"{self.url} did not answer within {self._timeout_s:g} s; ask for a shorter window, or set timeout_s higher"
            ) from None
        except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DashboardError(
                f"no dashboard answers at {self.url} ({why}); start one with: deepseek-dashboard --log-dir ./logs"
            ) from None
        finally:
            connection.close()


def _read(response: http.client.HTTPResponse, until_s: float) -> bytes:
    """The whole body. Raises TimeoutError, DashboardError."""
    parts, size = [], 0
    while part := response.read1(READ_BYTES):
        parts.append(part)
        size += len(part)
        if size > MAX_BYTES:
            raise DashboardError(f"the answer has more than {MAX_BYTES >> 20} MiB; ask for a shorter window")
        if time.monotonic() > until_s:
            raise TimeoutError
    return b"".join(parts)


def _unpacked(packed: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        body = file.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise DashboardError(f"the answer has more than {MAX_BYTES >> 20} MiB; ask for a shorter window")
    return body


# Unix seconds from what users of pandas have in hand, and back.

AnyTime = Union[float, datetime, np.datetime64, None]


def unix_s(moment: AnyTime, name: str) -> float | None:
    """`1764000000`, an aware or naive datetime, a pandas Timestamp, a numpy datetime64 -> Unix seconds; None stays.

    Without a zone a datetime or Timestamp is local time, as Python has it; a datetime64 is UTC, as numpy has it. Raises DashboardError.
    """
    if moment is None:
        return None
    seconds = _seconds(moment)
    if not math.isfinite(seconds):
        raise DashboardError(f"{name} is {moment!r}; give Unix seconds, a datetime or a pandas Timestamp")
    return seconds


def _seconds(moment: object) -> float:
    """NaN for what is no time."""
    try:
        if isinstance(moment, np.datetime64):
            return float(pd.Timestamp(moment).tz_localize("UTC").timestamp())
        if isinstance(moment, pd.Timestamp):
            return moment.to_pydatetime(warn=False).timestamp()
        if isinstance(moment, datetime):
            return moment.timestamp()
        return float(moment) if type(moment) is not bool and isinstance(moment, Real) else math.nan
    except (ValueError, OverflowError, OSError, AttributeError):  # beyond the calendar, or NaT
        return math.nan


def utc_index(seconds: Iterable[float | None]) -> pd.DatetimeIndex:
    """Named `time`, in UTC, to the microsecond; NaT for what is missing, or beyond what pandas can hold."""
    values = np.array([math.nan if value is None else value for value in seconds], dtype=np.float64)
    held = np.abs(values) < 2.5e11  # the year 9892
    micros = np.full(len(values), np.iinfo(np.int64).min, dtype=np.int64)
    micros[held] = np.round(values[held] * 1e6).astype(np.int64)
    return pd.DatetimeIndex(micros.view("datetime64[us]"), name="time").tz_localize("UTC")


# DataFrames from the API's answers: its names and units, non-finite values as floats, NaN or None where something is missing.

WORDS = ("run", "group", "name")  # of a curve
NUMBERS = ("x", "x_end", "step", "min", "max", "mean", "last")  # its columns that are floats
COUNTS = ("segment", "count", "non_finite")
VALUES = ("last", "mean", "min", "max")


def rows(found: Sequence[Mapping[str, Any]], columns: Sequence[str], *, timed: bool = False) -> pd.DataFrame:
    """A row an item, with these columns first and all others that any item has; `timed`: on an index `time` of their `time_s`."""
    names = dict.fromkeys([*columns, *(name for row in found for name in row)])
    table = pd.DataFrame({name: column([row.get(name) for row in found]) for name in names}, columns=list(names))
    return table.set_index(utc_index(row.get("time_s") for row in found)) if timed else table


def column(values: Sequence[Any]) -> pd.Series[Any]:
    """Whole numbers stay so, numbers with gaps are floats with NaN, truths are bool; all else are objects with None for a gap."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool} and None not in values:
        return pd.Series(values, dtype=bool)
    if kinds == {int} and None not in values and all(-(2**63) <= value < 2**63 for value in values):
        return pd.Series(values, dtype=np.int64)
    if kinds and kinds <= {int, float}:
        return pd.Series([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    return pd.Series(values, dtype=object)


def floats(values: Iterable[float | str | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """`[1, "Infinity", None] -> [1.0, inf, nan]`"""
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)


def buckets_of(curves: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Every bucket of every curve, one below the other, with all columns of the API; `series` is its name with the labels in which it differs."""
    parts = []
    for curve, series in zip(curves, names_of(curves)):
        length = len(curve["x"])
        words = {key: pd.Series([curve[key]] * length, dtype=object) for key in WORDS}
        numbers = {key: floats(curve[key]) for key in NUMBERS}
        counts = {key: np.array(curve[key], dtype=np.int64) for key in COUNTS}
        smooth = floats(curve["smooth"] or [None] * length)
        old = np.array(curve["superseded"], bool)
        parts.append(
            pd.DataFrame({"series": series, **words, **numbers, **counts, "smooth": smooth, "superseded": old})
        )
    if parts:
        return pd.concat(parts, ignore_index=True)
    return pd.DataFrame(columns=pd.Index(["series", *WORDS, *NUMBERS, *COUNTS, "smooth", "superseded"]))


def wide(curves: Sequence[Mapping[str, Any]], axis: str, value: str) -> pd.DataFrame:
    """One column a series, on an index `time` (UTC) or `step`, NaN where a series has no point there.

    A place that comes twice, as after a restart, has a row each: the second of one series stands beside the second of another.
    """
    lengths = [len(curve["x"]) for curve in curves]
    points = pd.DataFrame({
        "place": floats(place for curve in curves for place in curve["x"]),
        "value": floats(found for curve in curves for found in curve[value]),
        "series": np.repeat(np.arange(len(curves)), lengths),
    })  # fmt: skip
    points["again"] = points.groupby(["series", "place"], dropna=False).cumcount()
    row = points.groupby(["place", "again"], dropna=False).ngroup()  # in the order of places
    where = np.empty(int(row.max()) + 1 if len(row) else 0)
    where[row] = points["place"]
    cells = np.full((len(where), len(curves)), np.nan)
    cells[row, points["series"]] = points["value"]
    index = utc_index(where) if axis == "time" else pd.Index(where.astype(np.int64), name="step")
    return pd.DataFrame(cells, index=index, columns=pd.Index(names_of(curves), dtype=object))


def names_of(curves: Sequence[Mapping[str, Any]]) -> list[str]:
    """`train/loss`; of several series of one name also the labels in which they differ: `train/loss {rank=1}`."""
    often = Counter(curve["name"] for curve in curves)
    labels: dict[str, set[tuple[str, str]]] = {}
    for curve in curves:
        found = set(curve["labels"].items())
        labels[curve["name"]] = labels.get(curve["name"], found) & found  # those that all have
    named = []
    for curve in curves:
        name = curve["name"]
        own = sorted(set(curve["labels"].items()) - labels[name])
        named.append(
            f"{name} {{{', '.join(f'{key}={value}' for key, value in own)}}}" if often[name] > 1 and own else name
        )
    return named


# The Python stacks of a window as a tree: its nodes and its lines as DataFrames.

RANK = re.compile(r"rank \d+")  # a mark that stands for a rank
SHOWN_ROWS = 10  # lines in a notebook


@dataclass(frozen=True)
class FlameGraph:
    """`raw` is the answer of `/flame`. Seconds are wall time; of several ranks they add up."""

    raw: dict[str, Any]

    @property
    def seconds(self) -> float:
        """Of the window that the samples cover."""
        return float(self.raw["seconds"])

    @property
    def unit(self) -> str:
        """What `excess_s` is counted for: `s/step`, `s/s` where the run logs no steps."""
        return f"s/{self.raw['per']}" if self.raw["units"] else "s/s"

    @property
    def has_baseline(self) -> bool:
        return self.raw["nodes"]["base_total_s"] is not None

    @property
    def note(self) -> str:
        """Why there is no profile, and what to do; "" where there is one."""
        note = self.raw["note"]
        return f"{note['sentence']} {note['remedy']}".strip() if note else ""

    @property
    def nodes(self) -> pd.DataFrame:
        """A row per node, parents first: name, file, line, kind, parent (a row, -1 for the root), depth, seconds, excess.

        `self_s` is spent in the function itself, `total_s` also in what it calls. `excess_s` and `self_excess_s` are seconds per `unit`
        more than in the baseline, NaN without one. A node without a file is a mark: a rank, a thread, a place where stacks were joined.
        """
        nodes, frames = self.raw["nodes"], self.raw["frames"]
        own = [frames[number] for number in nodes["frame"]]
        depth: list[int] = []
        for parent in nodes["parent"]:
            depth.append(0 if parent < 0 else depth[parent] + 1)
        columns = {name: pd.Series([frame[name] for frame in own], dtype=object) for name in ("name", "file")}
        numbers = {name: np.array(nodes[name], dtype=np.float64) for name in ("self_s", "total_s", "untrusted_s")}
        excess = {
            "self_excess_s": self._excess(nodes["self_s"], nodes["base_self_s"]),
            "excess_s": self._excess(nodes["total_s"], nodes["base_total_s"]),
        }
        lines = np.array([frame["line"] for frame in own], dtype=np.int64)
        parents = np.array(nodes["parent"], dtype=np.int64)
        places = {
            "kind": pd.Series(nodes["kind"], dtype=object),
            "parent": parents,
            "depth": np.array(depth, dtype=np.int64),
        }
        return pd.DataFrame({**columns, "line": lines, **places, **numbers, **excess})

    def top(self, n: int = 20) -> pd.DataFrame:
        """The `n` lines (function, file, line) with the most seconds of their own beyond the baseline; without one, with the most seconds.

        `total_s` counts a line that calls itself once.
        """
        nodes = self.nodes
        parents, frames = nodes["parent"].to_numpy(), np.array(self.raw["nodes"]["frame"], dtype=np.int64)
        outer = _outermost(parents, frames)
        inside = nodes["file"] != ""
        totals = nodes[["total_s", "excess_s"]].where(pd.Series(outer), 0.0)
        table = nodes[["name", "file", "line", "self_s", "self_excess_s"]].join(totals)[inside]
        lines = table.groupby(["name", "file", "line"], sort=False, dropna=False).sum(min_count=1).reset_index()
        by = "self_excess_s" if self.has_baseline else "self_s"
        columns = ["name", "file", "line", "self_s", "total_s", "self_excess_s", "excess_s"]
        return lines.sort_values(by, ascending=False, kind="stable").head(max(0, n)).reset_index(drop=True)[columns]

    def _excess(self, window: list[float], baseline: list[float] | None) -> np.ndarray[Any, np.dtype[np.float64]]:
        values = np.array(window, dtype=np.float64)
        units, before = self._divisors()
        if baseline is None or not units or not before:
            return np.full(len(values), np.nan)
        return (values / units - np.array(baseline, dtype=np.float64) / before) / self._ranks()

    def _divisors(self) -> tuple[float, float]:
        """What the seconds of the window, and those of the baseline, are divided by."""
        if self.raw["units"] and self.raw["baseline_units"]:
            return self.raw["units"], self.raw["baseline_units"]
        return self.raw["seconds"], self.raw["baseline_seconds"]

    def _ranks(self) -> float:
        """How many ranks took these units together."""
        names = {
            self.raw["frames"][number]["name"]
            for number in self.raw["nodes"]["frame"]
            if not self.raw["frames"][number]["file"]
        }
        return max(1.0, float(sum(RANK.fullmatch(name) is not None for name in names)))

    def __len__(self) -> int:
        return len(self.raw["nodes"]["frame"])

    def __repr__(self) -> str:
        return f"<FlameGraph: {self.seconds:.3g} s, {self.raw['samples']} samples, {len(self)} nodes>"

    def _repr_html_(self) -> str:
        said = self.note or f"{self.seconds:.3g} s in {self.raw['samples']} samples; excess in {self.unit}"
        return f"<p>{html.escape(said)}</p>{self.top(SHOWN_ROWS).to_html(escape=True)}"


def _outermost(
    parents: np.ndarray[Any, np.dtype[np.int64]], frames: np.ndarray[Any, np.dtype[np.int64]]
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether no node above has the same frame. Parents come first."""
    outer = np.ones(len(parents), dtype=bool)
    path: list[int] = []  # nodes from the root to the last one
    times: dict[int, int] = {}  # how often each frame is on it
    for node, (parent, frame) in enumerate(zip(parents.tolist(), frames.tolist())):
        while path and path[-1] != parent:
            times[int(frames[path.pop()])] -= 1
        outer[node] = times.get(frame, 0) == 0
        times[frame] = times.get(frame, 0) + 1
        path.append(node)
    return outer


# Single answers as small objects that a notebook shows: a run, a verdict, the dashboard's health.

EVENT_COLUMNS = ("run", "kind", "time_s", "rank", "step", "seconds", "text")
PROCESS_COLUMNS = ("pid", "rank", "local_rank", "world_size", "job_id", "restarts", "gpus", "gpus_from")
FRAME_COLUMNS = ("name", "file", "line")
COLLECTOR_COLUMNS = ("name", "state", "lag_s", "last_error", "waiting")
LEDGER_COLUMNS = (
    *("label", "share", "least", "most", "saves", "saves_least", "saves_most"),
    *("seconds", "confidence", "place"),
)
SAVING = {"": "saves", "_least": "least", "_most": "most"}
EVIDENCE_COLUMNS = ("name", "unit", "window", "normal")


@dataclass(frozen=True)
class RunCard:
    """`raw` is the answer of `/run`: times in Unix seconds."""

    raw: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.raw["run"])

    @property
    def state(self) -> str:
        """running, stalled, ended, finished, failed, killed, preempted or requeued."""
        return str(self.raw["state"])

    @property
    def info(self) -> dict[str, Any]:
        """What `run.json` says of it, else what was seen to run."""
        return dict(self.raw["info"])

    @property
    def attempts(self) -> pd.DataFrame:
        """Its start events, on an index `time` (UTC)."""
        return rows(self.raw["attempts"], EVENT_COLUMNS, timed=True)

    @property
    def processes(self) -> pd.DataFrame:
        """Those that live."""
        return rows(self.raw["processes"], PROCESS_COLUMNS)

    def __repr__(self) -> str:
        return f"<RunCard {self.name!r}: {self.state}, {self.raw['points']} points, last step {self.raw['last_step']}>"

    def _repr_html_(self) -> str:
        shown = {key: value for key, value in self.raw.items() if key not in ("info", "attempts", "processes", "about")}
        return _table(f"{self.name} is {self.state}. {self.raw['state_reason']}", [(key, shown[key]) for key in shown])


@dataclass(frozen=True)
class Blame:
    """`raw` is the answer of `/blame` (docs/blame.md): seconds per unit, where `per` names the unit."""

    raw: dict[str, Any]

    @property
    def sentence(self) -> str:
        return str(self.raw["sentence"])

    @property
    def verdict(self) -> str:
        """line, gpu_slower, cpu_taken, neighbour, collective_wait, unknown, no_difference, too_few_samples or no_profile."""
        return str(self.raw["verdict"])

    @property
    def confidence(self) -> str | None:
        """high, medium or low; None where nothing was judged."""
        found: str | None = self.raw["confidence"]
        return found

    @property
    def place(self) -> str:
        """`/job/data.py:88 decode`; "" where no line is blamed."""
        raw = self.raw
        return f"{raw['file']}:{raw['line'] or '?'} {raw['function']}" if raw["function"] else ""

    @property
    def path(self) -> pd.DataFrame:
        """The user's own functions from the root to the line."""
        return rows(self.raw["path"], FRAME_COLUMNS)

    @property
    def evidence(self) -> pd.DataFrame:
        """What was measured in the window and in the baseline, with its unit."""
        return rows(self.raw["evidence"], EVIDENCE_COLUMNS)

    def __repr__(self) -> str:
        return f"<Blame: {self.sentence}>"

    def _repr_html_(self) -> str:
        keys = (
            "verdict",
            "confidence",
            "excess_s",
            "slowdown_s",
            "window_unit_s",
            "normal_unit_s",
            "per",
            "samples",
            "contradiction",
        )
        shown = [("place", self.place), *((key, self.raw[key]) for key in keys)]
        return f"{_table(self.sentence, shown)}{self.evidence.to_html(escape=True)}"


def _saving(prediction: dict[str, Any] | None) -> dict[str, Any]:
    return {f"saves{part}": prediction and prediction[name] for part, name in SAVING.items()}


@dataclass(frozen=True)
class LedgerCard:
    """`raw` is the answer of `/ledger` (docs/http-api.md): shares are percent of the device's time."""

    raw: dict[str, Any]

    @property
    def sentence(self) -> str:
        return str(self.raw["sentence"])

    @property
    def rows(self) -> pd.DataFrame:
        """A row a kind of time on an index `kind`, which add up to 100; `place` is the dearest line, `saves` what a fix saves, in percent."""
        found = [
            {**row, **_saving(row["prediction"]), "place": _place(row["lines"][0]) if row["lines"] else ""}
            for row in self.raw["rows"]
        ]
        frame = rows(found, LEDGER_COLUMNS)
        frame.index = pd.Index([row["kind"] for row in found], name="kind", dtype=object)
        return frame

    @property
    def blocks(self) -> pd.DataFrame:
        """Seconds of each kind over time, on an index `start` (Unix seconds)."""
        blocks = self.raw["blocks"]
        index = pd.Index(blocks["start"], name="start", dtype=float)
        return pd.DataFrame(dict(zip(blocks["kinds"], blocks["seconds"])), index=index)

    def __repr__(self) -> str:
        return f"<LedgerCard: {self.sentence}>"

    def _repr_html_(self) -> str:
        keys = ("device", "tier", "busy_signal", "covered_share")
        return f"{_table(self.sentence, [(key, self.raw[key]) for key in keys])}{self.rows.to_html(escape=True)}"


@dataclass(frozen=True)
class HealthCard:
    """`raw` is the answer of `/healthz`."""

    raw: dict[str, Any]

    @property
    def status(self) -> str:
        """ok or degraded."""
        return str(self.raw["status"])

    @property
    def problems(self) -> list[str]:
        return list(self.raw["problems"])

    @property
    def collectors(self) -> pd.DataFrame:
        return rows(self.raw["collectors"], COLLECTOR_COLUMNS)

    def __repr__(self) -> str:
        return f"<HealthCard: {self.status}{''.join(f'; {problem}' for problem in self.problems)}>"

    def _repr_html_(self) -> str:
        cost = [("cpu_pct", self.raw["cpu_pct"]), ("rss_bytes", self.raw["rss_bytes"])]
        return f"{_table(f'The dashboard is {self.status}. ' + ' '.join(self.problems), cost)}{self.collectors.to_html(escape=True)}"


def _place(line: dict[str, Any]) -> str:
    return f"{line['file']}:{line['line'] or '?'} {line['function']}"


def _table(sentence: str, shown: Sequence[tuple[str, object]]) -> str:
    lines = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in shown
        if value not in ("", None)
    )
    return f"<p><b>{html.escape(sentence.strip())}</b></p><table>{lines}</table>"


# A dashboard's questions, one method per route of its HTTP API (docs/http-api.md).

MAX_BUCKETS = 20_000
RUN_COLUMNS = ("run", "state", "started_s", "ended_s", "last_time_s", "last_step", "series", "points")
SERIES_COLUMNS = ("name", "labels", "unit", "label", "points", "first_time_s", "last_time_s", "first_step", "last_step")
FILE_COLUMNS = ("path", "offset", "lines_read", "lines_skipped", "fields_skipped", "first_skip", "trouble", "is_data")
LINE_COLUMNS = ("run", "time_s", "level", "file", "text", "rank", "number")
GPU_COLUMNS = ("index", "uuid", "name", "mig", "state", "reason", "memory_total_bytes", "power_limit_w")
USER_COLUMNS = (
    "gpu",
    "mig",
    "pid",
    "kind",
    "used_memory_bytes",
    "utilization_pct",
    "outside_pytorch_bytes",
    "name",
    "command",
    "user",
    "run",
    "rank",
)
SETTING_COLUMNS = ("key", "value", "default", "unit", "help")
STACK_COLUMNS = ("rank", "pid", "role", "thread", "until_s", "depth", *FRAME_COLUMNS)

AxisName = Literal["time", "step"]
ValueName = Literal["last", "mean", "min", "max"]
Level = Union[int, Literal["debug", "info", "warning", "error", "critical"]]
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class Dashboard:
    """Names and units are the API's: `_s` are Unix seconds or seconds, `_bytes`, `_w` and `_pct` what they say.

    Times are given as Unix seconds, datetime or pandas Timestamp (without a zone: local time) and come back as an index `time` in UTC.
    All methods only read, and raise DashboardError with one sentence. Several threads may share a Dashboard.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8080", *, token: str | None = None, timeout_s: float = 40.0
    ) -> None:
        """`token` is sent as `Authorization: Bearer`; without it, that of DEEPSEEK_TOKEN, or the first line of the file that
        DEEPSEEK_TOKEN_FILE names. `timeout_s` bounds each question. Nothing is asked yet."""
        self._asker = Asker(url, self._environment_token() if token is None else token, timeout_s)
        self.url = self._asker.url

    @staticmethod
    def _environment_token() -> str | None:
        return token_of_environment()

    def __repr__(self) -> str:
        return f"<Dashboard {self.url}>"

    # -- runs ----------------------------------------------------------------------------------------------------------

    def runs(self) -> pd.DataFrame:
        """A row per run, the newest first."""
        return rows(self._get("/runs")["runs"], RUN_COLUMNS)

    def run(self, run: str) -> RunCard:
        """One run with its attempts and its living processes."""
        return RunCard(self._get("/run", run=run))

    def files(self, run: str) -> pd.DataFrame:
        """How far each file of a run was read (bytes), and what was skipped in it."""
        return rows(self._get("/files", run=run)["files"], FILE_COLUMNS)

    def diff(self, run: str) -> str:
        """What differed from the git commit when the run's newest process began, without secrets; "" where nothing is known."""
        return str(self._get("/diff", run=run)["diff"])

    def events(self, run: str | None = None, from_: AnyTime = None, to: AnyTime = None) -> pd.DataFrame:
        """Starts, ends, checkpoints, notes and others, oldest first; `seconds` is how long each took. The newest 20,000."""
        answer = self._get("/events", run=run, **_range(from_, to))
        return _with(rows(answer["events"], EVENT_COLUMNS, timed=True), cursor=answer["cursor"])

    def logs(
        self,
        run: str | None = None,
        q: str = "",
        *,
        level: Level = 0,
        from_: AnyTime = None,
        to: AnyTime = None,
        before: int | None = None,
        limit: int = 200,
    ) -> pd.DataFrame:
        """The newest `limit` lines (at most 5,000) that contain `q`, oldest first.

        `level` is the lowest level to return, by name ("warning") or by the number of Python's logging (30). `attrs` has the `total` of matches, the present progress `bars`
        and `before`, which asks for the next older page.
        """
        answer = self._get("/logs", run=run, q=q, level=_level(level), before=before, limit=limit, **_range(from_, to))
        about = {name: answer[name] for name in ("total", "before", "bars", "cursor")}
        return _with(rows(answer["lines"], LINE_COLUMNS, timed=True), **about)

    # -- curves --------------------------------------------------------------------------------------------------------

    def series(self, run: str | None = None, match: str = "") -> pd.DataFrame:
        """Names, labels, units and extents; `match` is a substring or a glob. Without `run`, the machine's series."""
        return rows(self._get("/series", run=run, match=match)["series"], SERIES_COLUMNS)

    def points(
        self,
        run: str | None,
        series: str | Sequence[str],
        from_: AnyTime = None,
        to: AnyTime = None,
        *,
        axis: AxisName = "time",
        value: ValueName = "last",
        buckets: int = MAX_BUCKETS,
        gpu: str | int | None = None,
    ) -> pd.DataFrame:
        """One column per curve, on an index `time` (UTC) or `step`; NaN where a curve has no point.

        With no more points than `buckets` each row is a point; else a row is a bucket, of which `value` is shown. `attrs` has, by column,
        the `unit`, the number of `points` in the range, and `is_raw`: whether each row is a point. `series` holds names, globs or
        expressions. With axis="step", `from_` and `to` are steps.
        """
        if value not in VALUES:
            raise DashboardError(f"value is {value!r}; choose one of {', '.join(VALUES)}")
        answer = self._curves([] if run is None else [run], series, from_, to, x=axis, buckets=buckets)
        found = {(curve["name"], *sorted(curve["labels"].items())): curve for curve in answer["curves"]}  # each once
        curves = [curve for curve in found.values() if gpu is None or _is_of_gpu(curve, str(gpu))]
        return _with(wide(curves, axis, value), **_about(curves))

    def curves(
        self,
        runs: str | Sequence[str] | None,
        series: str | Sequence[str],
        from_: AnyTime = None,
        to: AnyTime = None,
        *,
        x: str = "time",
        buckets: int = 2000,
        smooth: str = "none",
        group: str | None = None,
        band: Literal["minmax", "stderr"] = "minmax",
        baseline: str | None = None,
        ranks: Literal["each", "mean"] = "each",
    ) -> pd.DataFrame:
        """Series and expressions of several runs, or of the machine, on one axis: one row per bucket of each curve.

        `runs` are names or globs, `series` names, globs or expressions; `from_` and `to` are on the axis. `x` is time (Unix seconds), step,
        relative or the name of a series, `smooth` is `ema:<half-life>` or `gauss:<sigma>` in its unit. `attrs` has `x`, by curve the `unit`
        and the number of `points` in the range, and `left_out`: what is not there, and why (docs/http-api.md, Curves).
        """
        made = {"smooth": smooth, "group": group, "band": band, "baseline": baseline, "ranks": ranks}
        named = [runs] if isinstance(runs, str) else list(runs or ())
        answer = self._curves(named, series, from_, to, x=x, buckets=buckets, **made)
        curves = answer["curves"]
        return _with(buckets_of(curves), x=answer["x"], left_out=answer["left_out"], **_about(curves))

    def _curves(
        self, runs: Sequence[str], series: str | Sequence[str], from_: AnyTime, to: AnyTime, **asked: object
    ) -> dict[str, Any]:
        """Raises DashboardError where nothing at all is there."""
        names = list(series) if isinstance(series, (list, tuple, set, pd.Index, pd.Series)) else [series]
        if not names or not all(isinstance(name, str) for name in names):
            raise DashboardError("series is to be a name, a glob, or a list of them; .series(run) lists the names")
        answer: dict[str, Any] = self._get("/curves", run=runs, expr=names, **_range(from_, to), **asked)
        missing = answer["left_out"]
        if missing and not answer["curves"] and not any("*" in name or "?" in name for name in names):
            raise DashboardError(f"{missing[0]['reason']}; .series(run) lists the names", 404)
        return answer

    # -- stacks --------------------------------------------------------------------------------------------------------

    def flame(
        self,
        run: str,
        from_: AnyTime = None,
        to: AnyTime = None,
        *,
        baseline: str | tuple[AnyTime, AnyTime] = "normal",
        rank: int | None = None,
        pid: int | None = None,
        thread: str | None = None,
        view: Literal["joined", "main", "threads"] = "joined",
        phase: str = "",
        waits: bool = True,
        focus: str = "",
        hide: str = "",
        roll: Literal["function", "module", "file"] = "function",
        invert: bool = False,
        prune: float = 0.001,
    ) -> FlameGraph:
        """The Python stacks of a window (default: the whole run), compared with the run's normal, with another window (a pair of times),
        with another run (`baseline="@NAME"`), or (`baseline=""`) with nothing.

        The others narrow or reshape the tree (docs/http-api.md, Flame): `waits=False` leaves out the time in which a thread only waits,
        `focus="data.py"` keeps stacks with such a frame, `prune` is the share below which nodes are left out.
        """
        shape = {"view": view, "phase": phase, "focus": focus, "hide": hide, "roll": roll, "prune": prune}
        switches = {"waits": str(waits).lower(), "invert": str(invert).lower()}
        threads = {"rank": rank, "pid": pid, "thread": thread, "baseline": _baseline(baseline)}
        return FlameGraph(self._get("/flame", run=run, **shape, **switches, **threads, **self._window(run, from_, to)))

    def blame(
        self,
        run: str,
        from_: AnyTime = None,
        to: AnyTime = None,
        *,
        rank: int | None = None,
        baseline: str | tuple[AnyTime, AnyTime] = "normal",
    ) -> Blame:
        """The line that the time of a window (default: the whole run) was lost to, compared with the run's normal or with another window."""
        return Blame(
            self._get("/blame", run=run, rank=rank, baseline=_baseline(baseline), **self._window(run, from_, to))
        )

    def ledger(self, run: str, from_: AnyTime = None, to: AnyTime = None, *, rank: int | None = None) -> LedgerCard:
        """Where the device's time of a window (default: the whole run) went: rows that add up to 100%, each with its line."""
        return LedgerCard(self._get("/ledger", run=run, rank=rank, **self._window(run, from_, to)))

    def last_stacks(self, run: str) -> pd.DataFrame:
        """Where each thread of a run was last, a row per frame from the root (depth 0) to the leaf."""
        found = [
            {**{name: stack[name] for name in ("rank", "pid", "role", "thread", "until_s")}, "depth": depth, **frame}
            for stack in self._get("/last_stacks", run=run)["stacks"]
            for depth, frame in enumerate(stack["frames"])
        ]
        return rows(found, STACK_COLUMNS)

    def source(self, run: str, file: str, line: int = 1, context: int = 8) -> pd.Series[Any]:
        """Lines of a file that a flame graph or verdict named, on an index `line`; `attrs` has `note`: which text this is, and `kept`."""
        answer = self._get("/source", run=run, file=file, line=line, context=context)
        numbers = pd.Index(np.arange(len(answer["lines"]), dtype=np.int64) + answer["first"], name="line")
        lines = pd.Series(answer["lines"], index=numbers, dtype=object, name="text")
        lines.attrs.update(note=answer["note"], kept=answer["kept"])
        return lines

    # -- the machine ---------------------------------------------------------------------------------------------------

    def gpus(self) -> pd.DataFrame:
        """A row per GPU or MIG instance, with its current metrics as columns (`gpu/power_w`); `attrs` has a `note` where there are none."""
        answer = self._get("/gpus")
        found = [{**{name: gpu[name] for name in gpu if name != "latest"}, **gpu["latest"]} for gpu in answer["gpus"]]
        return _with(rows(found, GPU_COLUMNS), note=answer["note"])

    def processes(self) -> pd.DataFrame:
        """The processes on each GPU, with the run and rank that each belongs to."""
        return rows(self._get("/processes")["processes"], USER_COLUMNS)

    def settings(self) -> pd.DataFrame:
        """A row per setting; `attrs` has `trouble`: why all are defaults although there is a file."""
        answer = self._get("/settings")
        return _with(rows(answer["settings"], SETTING_COLUMNS), trouble=answer["trouble"])

    def health(self) -> HealthCard:
        """Whether all collectors work, and what the dashboard itself costs."""
        return HealthCard(self._ask("/healthz", {}))

    def _window(self, run: str, from_: AnyTime, to: AnyTime) -> dict[str, float | None]:
        """From `from_` to `to`; what is None is the run's beginning or its end so far."""
        found = _range(from_, to)
        if None in found.values():
            row = self._get("/run", run=run)
            ended_s = row["ended_s"] if row["last_time_s"] is None else max(row["ended_s"] or 0.0, row["last_time_s"])
            extent = {"from": row["started_s"], "to": ended_s}
            found = {end: extent[end] if moment is None else moment for end, moment in found.items()}
        return found

    def _get(self, route: str, **parameters: object) -> Any:
        return self._ask(f"{API}{route}", parameters)

    def _ask(self, path: str, parameters: dict[str, object]) -> Any:
        return self._asker.get(path, parameters)


def _level(level: object) -> object:
    """Its number, for a name. Raises DashboardError."""
    if not isinstance(level, str) or level.isdecimal():
        return level
    if level.lower() not in LEVELS:
        raise DashboardError(f"level is {level!r}; choose one of {', '.join(LEVELS)}")
    return LEVELS[level.lower()]


def _range(from_: AnyTime, to: AnyTime) -> dict[str, float | None]:
    return {"from": unix_s(from_, "from_"), "to": unix_s(to, "to")}


def _baseline(given: str | tuple[AnyTime, AnyTime]) -> str:
    """As the API writes it: `1764000000.0-1764000060.0` for a pair of times."""
    if isinstance(given, str):
        return given
    ends = [unix_s(moment, "baseline") for moment in given]
    if len(ends) != 2 or None in ends:
        raise DashboardError("baseline is to be normal, @RUN, or a pair of times (from, to)")
    return "-".join(map(str, ends))


def _about(curves: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By series: its unit, how many points it has in the range, and whether each row is one of them."""
    named = list(zip(names_of(curves), curves))
    return {
        "unit": {name: curve["unit"] for name, curve in named},
        "points": {name: curve["points_read"] for name, curve in named},
        "is_raw": {name: curve["points_read"] == len(curve["x"]) for name, curve in named},
    }


def _is_of_gpu(curve: Mapping[str, Any], gpu: str) -> bool:
    """By index or UUID."""
    return gpu in (curve["labels"].get("gpu"), curve["labels"].get("uuid"))


def _with(table: pd.DataFrame, **attrs: object) -> pd.DataFrame:
    table.attrs.update(attrs)
    return table
