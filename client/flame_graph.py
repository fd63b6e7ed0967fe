"""The Python stacks of a window as a tree: its nodes and its lines as DataFrames."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

RANK = re.compile(r"rank \d+")  # a mark that stands for a rank
SHOWN = 10  # lines in a notebook


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
        return f"<p>{html.escape(said)}</p>{self.top(SHOWN).to_html(escape=True)}"


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
