"""Single answers as small objects that a notebook shows: a run, a verdict, the dashboard's health."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .tables import rows

EVENT_COLUMNS = ("run", "kind", "time_s", "rank", "step", "seconds", "text")
PROCESS_COLUMNS = ("pid", "rank", "local_rank", "world_size", "job_id", "restarts", "gpus", "gpus_from")
FRAME_COLUMNS = ("name", "file", "line")
COLLECTOR_COLUMNS = ("name", "state", "lag_s", "last_error", "waiting")
LEDGER_COLUMNS = ("label", "share", "least", "most", "saves_at_most", "seconds", "confidence", "place")
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


@dataclass(frozen=True)
class LedgerCard:
    """`raw` is the answer of `/ledger` (docs/http-api.md): shares are percent of the device's time."""

    raw: dict[str, Any]

    @property
    def sentence(self) -> str:
        return str(self.raw["sentence"])

    @property
    def rows(self) -> pd.DataFrame:
        """A row a kind of time on an index `kind`, which add up to 100; `place` is the dearest line."""
        found = [{**row, "place": _place(row["lines"][0]) if row["lines"] else ""} for row in self.raw["rows"]]
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
