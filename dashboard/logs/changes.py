"""What a run's log says in a window, and why a run crashed."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.logs.columns import LineFloats, LogColumns, MaskedTemplate, TimeRange
from analysis.logs.crash import AROUND_S, Crash, crash_of
from analysis.logs.difference import LogDifference, difference
from collectors.lines.tracebacks import PLACE
from collectors.machine.run_state import StateName
from collectors.records import LogLine
from collectors.store.store import LogPage, LogQuery
from deepseek.log.redaction import may_hold_a_secret, redacted

from ..runs.previous_run import RunDetail
from ..visitors import sees_all

# The kernel's own log, where this process may read it: often it may not, and then it says nothing.

KMSG = Path("/dev/kmsg")
RECORD = re.compile(r"(?P<level>\d+),\d+,(?P<us>\d+),[^;]*;(?P<text>[^\n]*)")
MAX_RECORDS, RECORD_BYTES = 20_000, 8192
BEFORE_S, AFTER_S = 180.0, 60.0  # of the run's last line


def lines_of(run: str, host: str, lines: Sequence[LogLine], kmsg: Path = KMSG) -> list[LogLine]:
    """Its lines about the time of the last of `lines`, of a run of this host."""
    if not lines or host not in ("", socket.gethostname()):
        return []
    last_s = max(line.time_s for line in lines)
    return [line for line in _read(run, kmsg) if last_s - BEFORE_S <= line.time_s <= last_s + AFTER_S]


def _read(run: str, kmsg: Path) -> list[LogLine]:
    booted_s = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
    try:
        descriptor = os.open(kmsg, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # not permitted, or not there
        return []
    found: list[LogLine] = []
    try:
        for _ in range(MAX_RECORDS):
            data = os.read(descriptor, RECORD_BYTES)  # one record
            if not data:
                break
            if record := RECORD.match(data.decode("utf-8", "replace")):
                found.append(LogLine(run, "kernel log", booted_s + int(record["us"]) / 1e6, 40, record["text"]))
    except OSError:  # BlockingIOError at the end; EPIPE where records were overwritten meanwhile
        pass
    finally:
        os.close(descriptor)
    return found


# Lines by their constant words, for as many as are read at once: each number becomes `#`, and is kept as a value.

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
NUMBER = re.compile(
    r"0x[0-9a-fA-F]+|(?<![A-Za-z0-9.])(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{6,}(?![A-Za-z0-9.])|[+-]?\d+(?:[,_]\d{3})*(?:\.\d+)?(?:[eE][+-]?\d+)?"
)
IDENTIFIER = re.compile(r"[0-9]+[eE][0-9]+")
SPACES = re.compile(r"\s+")  # numbers of other widths are padded otherwise
MAX_CHARACTERS = 400  # of a line


class MaskedLines:
    """The columns of some lines, and the numbers in them."""

    def __init__(self, lines: Sequence[LogLine], mask_of: Callable[[str], tuple[str, list[str]]] | None = None) -> None:
        """`mask_of` is `mask`, unless the same lines are masked again and again."""
        mask_of = mask_of or mask
        lines = sorted(lines, key=lambda line: line.time_s)
        ids: dict[str, int] = {}
        self.templates: dict[int, MaskedTemplate] = {}
        self._numbers: list[list[str]] = []
        template = np.zeros(len(lines), np.int64)
        for i, line in enumerate(lines):
            text, numbers = mask_of(line.text)
            template[i] = number = ids.setdefault(text, len(ids))
            if number not in self.templates:
                self.templates[number] = MaskedTemplate(text, line.text[:MAX_CHARACTERS])
            self._numbers.append(numbers)
        times_s = np.array([line.time_s for line in lines], np.float64)
        self.columns = LogColumns(times_s, template, np.array([line.level for line in lines], np.int64))

    def values(self, template: int, field: int) -> LineFloats:
        """Of the field of all lines of a template, in order of time; NaN where it is not a number."""
        rows = np.flatnonzero(self.columns.template == template).tolist()
        return np.array([_value(self._numbers[row][field]) for row in rows], np.float64)


def mask(text: str) -> tuple[str, list[str]]:
    """`"step 7 | loss 0.5" -> ("step # | loss #", ["7", "0.5"])`"""
    plain = ANSI.sub("", text)[:MAX_CHARACTERS].replace(PLACE, "")
    return SPACES.sub(" ", NUMBER.sub(PLACE, plain)), NUMBER.findall(plain)


def _value(text: str) -> float:
    if IDENTIFIER.fullmatch(text):  # 22660e98 is no number
        return float("nan")
    try:
        return float(text.replace(",", "").replace("_", ""))
    except ValueError:
        return float("nan")


# The lines of a run that its log difference and its crash are judged by: a bounded read of the store.

MAX_INSIDE, MAX_BEFORE, MAX_AFTER = 10_000, 20_000, 10_000  # lines of the window, and on its sides
AROUND = 60.0  # of the window's own lengths that are read after it
SOURCES = (".py", ".pyx")  # a log may name any file: only code is shown, under the rules of `/source`
MAX_LAST = 3_000  # lines at the end of a run
CRASHED: frozenset[StateName] = frozenset(("failed", "killed", "ended", "stalled", "preempted", "requeued"))

ReadLogs = Callable[[LogQuery], LogPage]


class WindowLines(NamedTuple):
    """What `columns_of` has read."""

    masked: MaskedLines
    before: int | None  # lines before the window, where there are more than these; None where these are all
    too_many: int = 0  # lines in the window, where they are more than are looked at


def columns_of(logs: ReadLogs, run: str, window: TimeRange) -> WindowLines:
    """The lines of a window and around it, as columns. Lines are masked as they are read: 40,000 take about half a second."""
    lo, hi = window
    inside = logs(LogQuery(run, from_s=lo, to_s=hi, limit=MAX_INSIDE))
    if inside.total > len(inside.lines):
        return WindowLines(MaskedLines([]), None, inside.total)
    before = logs(LogQuery(run, to_s=_below(lo), limit=MAX_BEFORE))
    span_s = AROUND * (hi - lo)
    after = logs(LogQuery(run, from_s=_above(hi), to_s=hi + span_s, limit=MAX_AFTER))
    if after.total > len(after.lines):  # the nearest, not the last ones
        span_s *= 0.5 * len(after.lines) / after.total
        after = logs(LogQuery(run, from_s=_above(hi), to_s=hi + span_s, limit=MAX_AFTER))
    lines = [*before.lines, *inside.lines, *after.lines]
    return WindowLines(MaskedLines(lines), len(before.lines) if before.total > len(before.lines) else None)


class LogChanges:
    """Questions about what a run's log says."""

    def __init__(
        self,
        logs: ReadLogs,
        run: Callable[[str], RunDetail],
        show_sources: Callable[[str, Collection[str]], None],
        stepped_since: Callable[[str, float], Sequence[float]],
    ) -> None:
        """`stepped_since` gives when each step of a run was logged that was logged later than a time, in order."""
        self._logs, self._run, self._show_sources, self._stepped_since = logs, run, show_sources, stepped_since

    def difference(self, run: str, window: TimeRange) -> LogDifference:
        """What the log says in a window that it does not say otherwise. Raises NotFound."""
        found = columns_of(self._seen_logs, run, window)
        if found.too_many:
            reason = f"the window holds {found.too_many:,} lines, more than are looked at ({MAX_INSIDE:,}): choose a shorter one"
            return LogDifference("", [], 0, reason)
        masked = found.masked
        return difference(masked.columns, window, masked.templates, masked.values, lines_before=found.before)

    def _seen_logs(self, query: LogQuery) -> LogPage:
        """Without secrets for viewers, before lines are masked: a number of a secret would be a value, its letters a template."""
        page = self._logs(query)
        if sees_all():
            return page
        kept = [
            line._replace(text=redacted(line.text)) if may_hold_a_secret(line.text) else line for line in page.lines
        ]
        return page._replace(lines=kept)

    def crash(self, run: str) -> Crash | None:
        """Why a run ended that did not end by itself; None where it goes on or has finished, and where its lines do not say. Raises NotFound."""
        view = self._run(run).run
        if view.state not in CRASHED:
            return None
        lines = self._seen_logs(LogQuery(run, limit=MAX_LAST)).lines
        latest_s = max([view.stored.last_time_s or 0.0, *(line.time_s for line in lines)])
        kernels = lines_of(run, view.host, lines)
        went_on_until_s = None if view.state == "failed" else latest_s
        stepped_s = self._stepped_since(run, latest_s - AROUND_S)
        crash = crash_of(lines, kernels, went_on_until_s, stepped_s, uncaught_only=view.state == "ended")
        if crash is not None:
            files = {frame.file for frame in crash.cause.frames}
            self._show_sources(run, {file for file in files if file.endswith(SOURCES)})
        return crash


def _below(time_s: float) -> float:
    return time_s - 1e-6


def _above(time_s: float) -> float:
    return time_s + 1e-6
