"""A dashboard's questions, one method per route of its HTTP API (docs/http-api.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Union

import numpy as np
import pandas as pd

from . import tables
from .asking import API, Asker, DashboardError, token_of_environment
from .cards import EVENT_COLUMNS, FRAME_COLUMNS, Blame, HealthCard, LedgerCard, RunCard
from .flame_graph import FlameGraph
from .times import AnyTime, unix_s

MOST_BUCKETS = 20_000
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
        return tables.rows(self._get("/runs")["runs"], RUN_COLUMNS)

    def run(self, run: str) -> RunCard:
        """One run with its attempts and its living processes."""
        return RunCard(self._get("/run", run=run))

    def files(self, run: str) -> pd.DataFrame:
        """How far each file of a run was read (bytes), and what was skipped in it."""
        return tables.rows(self._get("/files", run=run)["files"], FILE_COLUMNS)

    def diff(self, run: str) -> str:
        """What differed from the git commit when the run's newest process began, without secrets; "" where nothing is known."""
        return str(self._get("/diff", run=run)["diff"])

    def events(self, run: str | None = None, from_: AnyTime = None, to: AnyTime = None) -> pd.DataFrame:
        """Starts, ends, checkpoints, notes and others, oldest first; `seconds` is how long each took. The newest 20,000."""
        answer = self._get("/events", run=run, **_range(from_, to))
        return _with(tables.rows(answer["events"], EVENT_COLUMNS, timed=True), cursor=answer["cursor"])

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
        return _with(tables.rows(answer["lines"], LINE_COLUMNS, timed=True), **about)

    # -- curves --------------------------------------------------------------------------------------------------------

    def series(self, run: str | None = None, match: str = "") -> pd.DataFrame:
        """Names, labels, units and extents; `match` is a substring or a glob. Without `run`, the machine's series."""
        return tables.rows(self._get("/series", run=run, match=match)["series"], SERIES_COLUMNS)

    def points(
        self,
        run: str | None,
        series: str | Sequence[str],
        from_: AnyTime = None,
        to: AnyTime = None,
        *,
        axis: AxisName = "time",
        value: ValueName = "last",
        buckets: int = MOST_BUCKETS,
        gpu: str | int | None = None,
    ) -> pd.DataFrame:
        """One column per series, on an index `time` (UTC) or `step`; NaN where a series has no point.

        With no more points than `buckets` each row is a point; else a row is a bucket, of which `value` is shown. `attrs` has, by column,
        the `unit`, the number of `points` in the range, and `is_raw`: whether each row is a point. `series` holds names or globs; a name
        with a comma must be given exactly. With axis="step", `from_` and `to` are steps.
        """
        curves = self._curves(run, series, from_, to, axis, buckets, gpu)
        if value not in tables.VALUES:
            raise DashboardError(f"value is {value!r}; choose one of {', '.join(tables.VALUES)}")
        return _with(tables.wide(curves, axis, value), **_about(curves))

    def buckets(
        self,
        run: str | None,
        series: str | Sequence[str],
        from_: AnyTime = None,
        to: AnyTime = None,
        *,
        axis: AxisName = "time",
        buckets: int = 2000,
        gpu: str | int | None = None,
    ) -> pd.DataFrame:
        """The same, one row per bucket of each series, with all columns of the API: t, t_end, step, segment, min, max, mean, last, count."""
        curves = self._curves(run, series, from_, to, axis, buckets, gpu)
        return _with(tables.buckets(curves), **_about(curves))

    def curves(
        self,
        runs: str | Sequence[str],
        series: str | Sequence[str],
        from_: float | None = None,
        to: float | None = None,
        *,
        x: str = "step",
        buckets: int = 2000,
        smooth: str = "none",
        group: str | None = None,
        spread: Literal["minmax", "stderr"] = "minmax",
        baseline: str | None = None,
        ranks: Literal["mean", "each"] = "mean",
    ) -> pd.DataFrame:
        """Series of several runs on one axis, one row per bucket of each curve; `from_` and `to` lie on that axis.

        `x` is step, relative, time (Unix seconds) or the name of a series, `smooth` is `ema:<half-life>` or `gauss:<sigma>` in its unit. `attrs` has
        `x`, and `left_out`: what is not there, and why (docs/http-api.md, Curves).
        """
        places = {"from": from_, "to": to, "x": x, "buckets": buckets}
        made = {"smooth": smooth, "group": group, "spread": spread, "baseline": baseline, "ranks": ranks}
        answer = self._get("/curves", run=runs, series=series, **places, **made)
        return _with(tables.overlaid(answer["curves"]), x=answer["x"], left_out=answer["left_out"])

    def _curves(
        self,
        run: str | None,
        series: str | Sequence[str],
        from_: AnyTime,
        to: AnyTime,
        axis: str,
        buckets: int,
        gpu: str | int | None,
    ) -> list[dict[str, Any]]:
        names = list(series) if isinstance(series, (list, tuple, set, pd.Index, pd.Series)) else [series]
        if not names or not all(isinstance(name, str) for name in names):
            raise DashboardError("series is to be a name, a glob, or a list of them; .series(run) lists the names")
        asked = {"run": run, "series": names, "axis": axis, "buckets": buckets, "gpu": gpu, **_range(from_, to)}
        found: list[dict[str, Any]] = self._get("/points", **asked)["series"]
        return found

    # -- stacks --------------------------------------------------------------------------------------------------------

    def flame(
        self,
        run: str,
        from_: AnyTime = None,
        to: AnyTime = None,
        *,
        baseline: Literal["normal", ""] = "normal",
        baseline_from: AnyTime = None,
        baseline_to: AnyTime = None,
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
        """The Python stacks of a window (default: the whole run), compared with the run's normal, with another window, or (`baseline=""`) with nothing.

        The others narrow or reshape the tree (docs/http-api.md, Flame): `waits=False` leaves out the time in which a thread only waits,
        `focus="data.py"` keeps stacks with such a frame, `prune` is the share below which nodes are left out.
        """
        shape = {"view": view, "phase": phase, "focus": focus, "hide": hide, "roll": roll, "prune": prune}
        switches = {"waits": str(waits).lower(), "invert": str(invert).lower()}
        threads = {"rank": rank, "pid": pid, "thread": thread, **_other(baseline_from, baseline_to)}
        return FlameGraph(
            self._get(
                "/flame", run=run, baseline=baseline, **shape, **switches, **threads, **self._window(run, from_, to)
            )
        )

    def blame(
        self,
        run: str,
        from_: AnyTime = None,
        to: AnyTime = None,
        *,
        rank: int | None = None,
        baseline_from: AnyTime = None,
        baseline_to: AnyTime = None,
    ) -> Blame:
        """The line that the time of a window (default: the whole run) was lost to, compared with the run's normal or with another window."""
        return Blame(
            self._get(
                "/blame", run=run, rank=rank, **_other(baseline_from, baseline_to), **self._window(run, from_, to)
            )
        )

    def ledger(self, run: str, from_: AnyTime = None, to: AnyTime = None, *, rank: int | None = None) -> LedgerCard:
        """Where the device's time of a window (default: the whole run) went: rows that add up to 100 %, each with its line."""
        return LedgerCard(self._get("/ledger", run=run, rank=rank, **self._window(run, from_, to)))

    def last_stacks(self, run: str) -> pd.DataFrame:
        """Where each thread of a run was last, a row per frame from the root (depth 0) to the leaf."""
        found = [
            {**{name: stack[name] for name in ("rank", "pid", "role", "thread", "until_s")}, "depth": depth, **frame}
            for stack in self._get("/last_stacks", run=run)["stacks"]
            for depth, frame in enumerate(stack["frames"])
        ]
        return tables.rows(found, STACK_COLUMNS)

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
        return _with(tables.rows(found, GPU_COLUMNS), note=answer["note"])

    def processes(self) -> pd.DataFrame:
        """The processes on each GPU, with the run and rank that each belongs to."""
        return tables.rows(self._get("/processes")["processes"], USER_COLUMNS)

    def settings(self) -> pd.DataFrame:
        """A row per setting; `attrs` has `trouble`: why all are defaults although there is a file."""
        answer = self._get("/settings")
        return _with(tables.rows(answer["settings"], SETTING_COLUMNS), trouble=answer["trouble"])

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


def _other(from_: AnyTime, to: AnyTime) -> dict[str, float | None]:
    return {"baseline_from": unix_s(from_, "baseline_from"), "baseline_to": unix_s(to, "baseline_to")}


def _about(curves: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By series: its unit, how many points it has in the range, and whether each row is one of them."""
    named = list(zip(tables.names_of(curves), curves))
    return {
        "unit": {name: curve["unit"] for name, curve in named},
        "points": {name: curve["points_total"] for name, curve in named},
        "is_raw": {name: curve["points_total"] == len(curve["t"]) for name, curve in named},
    }


def _with(table: pd.DataFrame, **attrs: object) -> pd.DataFrame:
    table.attrs.update(attrs)
    return table
