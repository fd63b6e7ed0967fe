"""A report as one HTML page without scripts."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.blame.verdict import Verdict
from analysis.ledger.contrast import LedgerContrast
from analysis.ledger.kinds import BUSY, KINDS
from analysis.ledger.prediction import short
from analysis.ledger.shares import KindRow, Ledger, lane_of
from analysis.ledger.text import basis_of, label_of, large_rows, place_of, sentence_of, share_of
from analysis.logs.crash import Crash, Fault
from analysis.logs.difference import LogChange, LogDifference
from analysis.stacks.fold import FlameTree
from analysis.stacks.frames import file_name, library_name
from analysis.stacks.spans import Interval
from collectors import VERSION
from collectors.arrays import Floats, Ints
from collectors.message import percent, text_of, time_of
from collectors.records import Frame
from collectors.store.store import Buckets
from deepseek.log.redaction import LEFT_OUT, is_secret, redacted, without_secrets

from ..colours import COLOURS, TIME, tokens
from ..runs.comparison import MISSING, Difference, Section, of_section, shown
from ..runs.previous_run import words_of
from .contents import ReportContents, ReportCurves, ReportPlot

# Texts of a report: cut, without secrets, and without characters that cannot be seen; numbers and times as a reader wants them.

MAX_READ = 4000  # characters of a text that are looked at: a secret that is cut in two has no form any more
LEFT_OUT_WORD = "\ue000"  # in its place while a text is looked at: what has a blank in it would be taken for two words
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
UNSEEN = re.compile(  # as assets/lib/dom.js; half of a pair, which no file can hold, too
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u206f"
    "\u2800\u3164\ufeff\uffa0\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e0fff]"
)
PREFIXES = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e3, 1e3, "k"))
BINARY = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def visible(text: str) -> str:
    """`"a\\u202etxt.exe" -> "a[U+202E]txt.exe"`"""
    return UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def shortened(text: str, most: int) -> str:
    """At most so many characters, all visible, in one line."""
    seen = visible(" ".join(ANSI.sub("", text[:MAX_READ]).split()))
    return seen if len(seen) <= most else f"{seen[: max(1, most - 1)]}…"


def redacted_text(text: str, most: int) -> str:
    """The same of a text that may hold a secret, or from which one was left out already."""
    return shortened(redacted(text[:MAX_READ].replace(LEFT_OUT, LEFT_OUT_WORD)).replace(LEFT_OUT_WORD, LEFT_OUT), most)


def figure(value: float, unit: str = "") -> str:
    """`1234567.0 -> "1.23M"`; bytes in GiB; `"NaN"`, `"∞"` as they are."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if unit == "B":
        factor, name = next(((factor, name) for factor, name in BINARY if abs(value) >= factor), (1, "B"))
        return f"{value / factor:.3g} {name}"
    shown = _short(value)
    return f"{shown} {unit}".rstrip() if unit != "%" else f"{shown}%"


def _short(value: float) -> str:
    if value and not 1e-4 <= abs(value) < 1e12:
        return f"{value:.2e}"
    for least, factor, name in PREFIXES:
        if abs(value) >= max(least, 1e4):
            return f"{value / factor:.3g}{name}"
    return f"{value:.4g}"


def length_of(seconds: float) -> str:
    """`0.093 -> "93 ms"`, `93.4 -> "93.4 s"`, `5400 -> "90 min"`"""
    if seconds < 1:
        return time_of(seconds) if seconds > 0 else "0"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def moment_of(time_s: float | None, zone: str) -> str:
    """`2026-11-26 14:30:05 CET`; "" for None. In the zone of this host where none is named."""
    if time_s is None:
        return ""
    try:
        at = datetime.datetime.fromtimestamp(time_s, datetime.UTC)
        return at.astimezone(ZoneInfo(zone) if zone else None).strftime("%Y-%m-%d %H:%M:%S %Z")
    except (ValueError, OverflowError, OSError, KeyError):
        return f"{time_s:.0f} s"


def clock_of(time_s: float, zone: str) -> str:
    """`14:30:05`"""
    return moment_of(time_s, zone).partition(" ")[2].partition(" ")[0] or f"{time_s:.0f}"


def range_of(lo: float, hi: float, zone: str) -> str:
    """`2026-11-26 14:30:05 to 14:31:05 CET`"""
    first, last = moment_of(lo, zone), moment_of(hi, zone)
    day, _, rest = first.partition(" ")
    if rest and last.startswith(f"{day} "):
        return f"{day} {rest.partition(' ')[0]} to {last.partition(' ')[2]}"
    return f"{first} to {last}"


SECTIONS: tuple[Section, ...] = ("command", "git", "packages", "hardware", "environment", "config")
TITLES = {
    "command": "Command",
    "git": "Git",
    "packages": "Versions",
    "hardware": "Hardware",
    "environment": "Variables",
    "config": "Configuration",
}
BYTES = "_bytes"


class KeyText(NamedTuple):
    key: str
    value: str


class SectionText(NamedTuple):
    title: str
    rows: list[KeyText]
    more: int


class DifferenceText(NamedTuple):
    section: str
    key: str
    value: str
    other: str


def sections_of(info: Mapping[str, Any], rows: int, characters: int) -> list[SectionText]:
    return [section for name in SECTIONS if (section := _section(info, name, rows, characters)).rows]


def _section(info: Mapping[str, Any], name: Section, rows: int, characters: int) -> SectionText:
    found = of_section(info, name)
    if name == "command" and "command" in found:
        found = {**found, "command": _command(info)}
    texts = [
        KeyText(shortened(str(key), characters), _value(str(key), value, characters))
        for key, value in [*found.items()][:rows]
    ]
    return SectionText(TITLES[name], texts, len(found) - len(texts))


def _command(info: Mapping[str, Any]) -> str:
    """Also of one from which secrets were left out already."""
    command = info.get("command")
    marked = {**info, "command": command.replace(LEFT_OUT, LEFT_OUT_WORD) if isinstance(command, str) else command}
    return " ".join(without_secrets(words_of(marked))).replace(LEFT_OUT_WORD, LEFT_OUT)


def _value(key: str, value: Any, characters: int) -> str:
    if value is MISSING:
        return "none"
    if is_secret(key):
        return LEFT_OUT
    if key.endswith(BYTES) and isinstance(value, int | float) and not isinstance(value, bool):
        return figure(float(value), "B")
    simple = shown(value)
    return redacted_text(simple if isinstance(simple, str) else str(simple), characters)


def differences_of(found: Sequence[Difference], rows: int, characters: int) -> list[DifferenceText]:
    """Of two runs, in the order of the sections."""
    return [*_differences(found[:rows], characters)]


def _differences(found: Sequence[Difference], characters: int) -> Iterator[DifferenceText]:
    for row in found:
        mine, other = (_value(row.key, value, characters) for value in row.values)
        yield DifferenceText(TITLES.get(row.section, "Other"), shortened(row.key, characters), mine, other)


# Curves as paths of a picture that is 1,000 wide and 100 high: a band from the least to the greatest value, and the mean.

WIDTH, HEIGHT = 1000.0, 100.0
LARGE = 1e300  # beyond it a difference of two values is none any more


class CurvePath(NamedTuple):
    colour: int  # 1 to 16; 0 is the ink of the only line
    label: str
    line: str  # of an SVG path
    dots: str  # places that no line joins
    band: str
    last: str
    least: str
    most: str
    points: int
    non_finite: int


class PlotPicture(NamedTuple):
    """`marked` is the slow stretch as (left, width), both percent; None where it is not on the axis."""

    title: str
    top: str
    bottom: str
    first: str
    last: str
    paths: list[CurvePath]
    more: int
    marked: tuple[float, float] | None


class PlotEnds(NamedTuple):
    """The ends of the axis and their words."""

    lo: float
    hi: float
    first: str
    last: str


def picture_of(
    plot: ReportPlot, ends: PlotEnds, marked: Interval | None, places: int, most: int, characters: int
) -> PlotPicture | None:
    """At most so many lines of so many places; None where no value is finite."""
    lines = plot.lines[:most]
    finite = [
        column[np.isfinite(column)]
        for line in lines
        for column in (line.buckets.min, line.buckets.max, line.buckets.mean)
    ]
    values = np.clip(np.concatenate([*finite, np.zeros(0)]), -LARGE, LARGE)
    if not len(values):
        return None
    lo, hi = float(values.min()), float(values.max())
    if lo == hi:
        lo, hi = lo - abs(lo) * 0.01 - 1e-9, hi + abs(hi) * 0.01 + 1e-9
    if plot.unit == "%" and lo >= 0 and hi <= 100:
        lo, hi = 0.0, 100.0
    scale = (ends.lo, ends.hi, lo, hi)
    unit = plot.unit if plot.unit in ("%", "B") else ""  # any other stands once, behind the title
    paths = [
        _path(
            i % COLOURS + 1 if len(lines) > 1 else 0,
            shortened(line.label, characters),
            thinned(line.buckets, places),
            scale,
            unit,
        )
        for i, line in enumerate(lines)
    ]
    return PlotPicture(
        shortened(f"{plot.title}, {plot.unit}" if plot.unit and not unit else plot.title, characters),
        figure(hi, unit),
        figure(lo, unit),
        ends.first,
        ends.last,
        paths,
        plot.more + len(plot.lines) - len(lines),
        _marked(marked, ends) if marked else None,
    )


def ends_of(curves: ReportCurves, window: Interval | None, words: tuple[str, str] | None) -> PlotEnds:
    """Of the window, else of all that the curves have."""
    if window is not None and words is not None:
        return PlotEnds(*window, *words)
    columns = [
        column for plot in curves.plots for line in plot.lines for column in (line.buckets.t, line.buckets.t_end)
    ]
    places = np.concatenate([*columns, np.zeros(0)])
    places = places[np.isfinite(places)]
    lo, hi = (float(places.min()), float(places.max())) if len(places) else (0.0, 1.0)
    return PlotEnds(lo, hi if hi > lo else lo + 1.0, f"step {figure(lo)}", f"step {figure(hi)}")


def thinned(buckets: Buckets, most: int) -> Buckets:
    """At most about so many buckets of each segment: neighbours are joined, their least and greatest values stay."""
    group = -(-len(buckets.t) // max(1, most))
    if group <= 1:
        return buckets
    turn = np.flatnonzero(np.r_[True, np.diff(buckets.segment) != 0])
    first = np.unique(np.r_[turn, np.arange(0, len(buckets.t), group)])
    last = np.r_[first[1:], len(buckets.t)] - 1
    count = np.maximum(np.add.reduceat(buckets.count, first), 1)
    weighed = np.where(np.isfinite(buckets.mean), buckets.mean, 0.0) * buckets.count
    known = np.add.reduceat(np.where(np.isfinite(buckets.mean), buckets.count, 0), first)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        mean = np.where(known > 0, np.add.reduceat(weighed, first) / known, np.nan)
    return Buckets(
        buckets.t[first],
        buckets.t_end[last],
        buckets.step[last],
        buckets.segment[first],
        np.fmin.reduceat(buckets.min, first),
        np.fmax.reduceat(buckets.max, first),
        mean,
        buckets.last[last],
        count,
        np.add.reduceat(buckets.non_finite, first),
        buckets.points_total,
    )


def _path(colour: int, label: str, buckets: Buckets, scale: tuple[float, float, float, float], unit: str) -> CurvePath:
    lo, hi, bottom, top = scale
    middle = _across((buckets.t + buckets.t_end) / 2, lo, hi)
    least, mean, most = (_up(column, bottom, top) for column in (buckets.min, buckets.mean, buckets.max))
    drawn = np.isfinite(middle) & np.isfinite(mean) & np.isfinite(least) & np.isfinite(most)
    broken = np.r_[True, np.diff(buckets.segment) != 0]
    line, band = [], []
    for run in _runs(drawn, broken):
        x, y = middle[run], mean[run]
        line.append("M" + "L".join(_point(x, y)))
        if len(run) > 1 and float(np.max(least[run] - most[run])) > 0.2:
            there, back = _point(x, most[run]), _point(x[::-1], least[run][::-1])
            band.append("M" + "L".join([*there, *back]) + "z")
    return CurvePath(
        colour,
        label,
        "".join(part for part in line if "L" in part),
        "".join(f"{part}h.01" for part in line if "L" not in part),
        "".join(band),
        figure(float(buckets.last[-1]), unit),
        figure(_extreme(buckets.min, np.fmin), unit),
        figure(_extreme(buckets.max, np.fmax), unit),
        buckets.points_total,
        int(buckets.non_finite.sum()),
    )


def _runs(drawn: np.ndarray, broken: np.ndarray) -> list[np.ndarray]:
    """Indices that are joined by a line: what is not drawn, or another segment, ends one."""
    where = np.flatnonzero(drawn)
    if not len(where):
        return []
    cuts = np.flatnonzero((np.diff(where) > 1) | broken[where[1:]]) + 1
    return np.split(where, cuts)


def _across(place: Floats, lo: float, hi: float) -> Floats:
    across: Floats = np.clip((place - lo) / (hi - lo), 0, 1) * WIDTH
    return across


def _up(value: Floats, bottom: float, top: float) -> Floats:
    """A large value is halved first, so that no difference overflows."""
    held = np.clip(value, -LARGE, LARGE) / 2
    up: Floats = (1 - np.clip((held - bottom / 2) / (top / 2 - bottom / 2), 0, 1)) * HEIGHT
    return up


def _point(x: Floats, y: Floats) -> list[str]:
    return [f"{a:.1f} {b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def _extreme(column: Floats, reduce: np.ufunc) -> float:
    finite = column[np.isfinite(column)]
    return float(reduce.reduce(finite)) if len(finite) else math.nan


def _marked(stretch: Interval, ends: PlotEnds) -> tuple[float, float] | None:
    lo, hi = (100 * min(1.0, max(0.0, (at - ends.lo) / (ends.hi - ends.lo))) for at in stretch)
    return (lo, max(hi - lo, 0.3)) if hi > lo else None


# A flame tree as boxes: the widest functions, from the root down, in percent of the width.

MAX_ROWS = 48
MIN_PCT = 0.12  # of the width: about a pixel
MIN_ROW_PCT = 8.0  # of all boxes of a row: below it stand narrow towers, such as imports
NAMED_PCT = 1.2  # a narrower box has no room for a name


class FlameBox(NamedTuple):
    """`left` and `width` are percent. `tone`: own, library, wait, joined or hot."""

    left: float
    width: float
    row: int
    tone: str
    name: str  # "" where there is no room
    title: str


class HotFunction(NamedTuple):
    """Of all boxes of one function."""

    name: str
    place: str
    length: str  # with it at the top of the stack
    self_pct: float


class FlameBoxes(NamedTuple):
    boxes: list[FlameBox]
    rows: int
    left_out: int  # nodes that are too narrow, too deep or too many
    hottest: list[HotFunction]


def boxes_of(tree: FlameTree, most: int, characters: int, functions: int = 12) -> FlameBoxes:
    """At most so many boxes, of which each stands below its caller's."""
    depth, left_s = _places(tree)
    whole_s = max(float(tree.total_s[0]), 1e-9)
    width = 100 * tree.total_s / whole_s
    filled = np.bincount(depth, width)
    wide = (width >= MIN_PCT) & (depth < min(MAX_ROWS, int(np.argmin(np.r_[filled, 0.0] >= MIN_ROW_PCT))))
    order = np.lexsort((np.arange(len(width)), depth, -width))  # a caller is at least as wide as what it calls
    chosen = np.sort(order[wide[order]][:most])
    own_s = np.where([kind == "own" for kind in tree.kind], tree.self_s, 0.0)
    hot = int(np.argmax(own_s)) if own_s.any() else -1
    boxes = [
        _box(
            tree,
            i,
            100 * left_s[i] / whole_s,
            float(width[i]),
            int(depth[i]),
            "hot" if i == hot else tree.kind[i],
            characters,
        )
        for i in chosen.tolist()
    ]
    rows = int(depth[chosen].max()) + 1 if len(chosen) else 0
    return FlameBoxes(boxes, rows, len(width) - len(chosen), _hottest(tree, whole_s, functions, characters))


def _places(tree: FlameTree) -> tuple[Ints, Floats]:
    """How deep each node is, and where it begins, in seconds: children stand side by side from their parent's left edge."""
    depth, left_s = np.zeros(len(tree.parent), np.int64), np.zeros(len(tree.parent))
    next_s = np.zeros(len(tree.parent))
    for i, (parent, total_s) in enumerate(zip(tree.parent.tolist(), tree.total_s.tolist(), strict=True)):
        if parent >= 0:
            depth[i] = depth[parent] + 1
            left_s[i] = left_s[parent] + next_s[parent]
            next_s[parent] += total_s
    return depth, left_s


def _box(tree: FlameTree, i: int, left: float, width: float, row: int, tone: str, characters: int) -> FlameBox:
    frame, total_s = tree.frames[int(tree.frame[i])], float(tree.total_s[i])
    name = frame.name if tone in ("own", "hot") or not frame.file else library_name(frame)
    title = f"{shortened(name, characters)}{_where(frame, characters)}, {length_of(total_s)}, {percent(width)}"
    return FlameBox(left, width, row, tone, shortened(name, characters) if width >= NAMED_PCT else "", title)


def _where(frame: Frame, characters: int) -> str:
    place = _place(frame, characters)
    return f" ({place})" if place else ""


def _place(frame: Frame, characters: int) -> str:
    if not frame.file:
        return ""
    return f"{shortened(file_name(frame.file), characters)}{f':{frame.line}' if frame.line else ''}"


def _hottest(tree: FlameTree, whole_s: float, most: int, characters: int) -> list[HotFunction]:
    """By the time at the top of the stack."""
    seconds = np.bincount(tree.frame, tree.self_s, len(tree.frames))
    order = [i for i in np.argsort(-seconds, kind="stable").tolist() if seconds[i] > 0][:most]
    by_self = np.argsort(tree.self_s, kind="stable")
    line = dict(
        zip(tree.frame[by_self].tolist(), tree.self_line[by_self].tolist(), strict=True)
    )  # of the node with most
    return [
        HotFunction(
            shortened(tree.frames[i].name, characters),
            _place(tree.frames[i]._replace(line=line[i]), characters),
            length_of(float(seconds[i])),
            100 * float(seconds[i]) / whole_s,
        )
        for i in order
    ]


# A ledger as a bar, a table and a lane of its blocks; and two ledgers beside each other.

BLOCKS = 160  # of the lane
NAMED_LEDGER_PCT = 6.0  # of the bar: a narrower part has no room for its share
MIN_POINTS = 0.05  # less is written as 0
LEDGER_HEIGHT, LEDGER_WIDTH = 40.0, 1000.0


class BarPart(NamedTuple):
    """`left` and `width` are percent of the bar."""

    colour: int
    left: float
    width: float
    name: str
    title: str


class LanePath(NamedTuple):
    colour: int
    path: str


class LedgerTableRow(NamedTuple):
    colour: int
    label: str
    share: str
    length: str
    range: str  # "" where the share is sure
    saves: str
    place: str
    exposed: str


class ContrastRow(NamedTuple):
    colour: int
    label: str
    share: str
    other_share: str
    points: str
    seconds: str  # a unit
    other_seconds: str
    place: str


class LedgerPicture(NamedTuple):
    parts: list[BarPart]
    rows: list[LedgerTableRow]
    lane: list[LanePath]


def ledger_picture(ledger: Ledger, characters: int, blocks: int = BLOCKS) -> LedgerPicture:
    parts, left = [], 0.0
    for row in ledger.rows:
        share = text_of(share_of(row))
        width = max(0.0, min(row.share, 100.0 - left))
        parts.append(
            BarPart(
                TIME[row.kind],
                left,
                width,
                share if width >= NAMED_LEDGER_PCT else "",
                f"{text_of(label_of(row.kind, ledger))} {share}",
            )
        )
        left += width
    return LedgerPicture(
        parts,
        [_row(row, ledger, characters) for row in ledger.rows if row.share >= MIN_POINTS or row.kind == BUSY],
        lane_paths(ledger, blocks),
    )


def _row(row: KindRow, ledger: Ledger, characters: int) -> LedgerTableRow:
    wide = row not in large_rows(ledger)[0] or row.most - row.least > 0.5
    exposed = place_of(row.exposed_by) if row.exposed_by else ""
    return LedgerTableRow(
        TIME[row.kind],
        text_of(label_of(row.kind, ledger)),
        percent(row.share),
        length_of(row.seconds),
        f"{row.least:.1f} to {percent(row.most)}" if wide and row.most > row.least else "",
        short(row.prediction) if row.prediction is not None else "",
        shortened(
            ", ".join([*dict.fromkeys(filter(None, (place_of(line.place) for line in row.lines)))][:2]), characters
        ),
        shortened(exposed, characters),
    )


def lane_paths(ledger: Ledger, blocks: int) -> list[LanePath]:
    """For each kind the area that it takes of each block, on top of the kinds before it. Gaps are time that was not seen."""
    lane = lane_of(ledger.account, blocks)
    whole_s = lane.seconds.sum(axis=1)
    lo, hi = ledger.window
    if not len(whole_s) or not hi > lo:
        return []
    share = lane.seconds / np.maximum(whole_s, 1e-9)[:, None]
    x = np.clip((lane.start_s - lo) / (hi - lo), 0, 1) * LEDGER_WIDTH
    wide = np.maximum(np.clip((lane.end_s - lo) / (hi - lo), 0, 1) * LEDGER_WIDTH - x, 0.0)
    foot = np.cumsum(share, axis=1)
    found = []
    for number, kind in enumerate(KINDS):
        there = np.flatnonzero((share[:, number] > 0.002) & (wide > 0))
        columns = (
            x[there],
            LEDGER_HEIGHT * (1 - foot[there, number]),
            wide[there],
            LEDGER_HEIGHT * share[there, number],
        )
        path = "".join(
            f"M{a:.1f} {b:.1f}h{w:.1f}v{h:.1f}h-{w:.1f}z"
            for a, b, w, h in zip(*(c.tolist() for c in columns), strict=True)
        )
        if path:
            found.append(LanePath(TIME[kind], path))
    return found


def contrast_rows(found: LedgerContrast, characters: int) -> list[ContrastRow]:
    return [
        ContrastRow(
            TIME[change.kind],
            text_of(change.label),
            percent(change.share),
            percent(change.other_share),
            f"{change.points:+.1f}".replace("-", "−") if abs(change.points) >= MIN_POINTS else "0",
            "" if change.seconds is None else length_of(change.seconds),
            "" if change.other_seconds is None else length_of(change.other_seconds),
            shortened(place_of(change.place) if change.place else "", characters),
        )
        for change in found.changes
        if max(change.share, change.other_share) >= MIN_POINTS
    ]


# What a report says of the log: why the run ended, and what the log says in a window that it does not say otherwise.

MAX_FAULTS = 5
KIND_WORDS = {"new": "new", "more": "more often", "silent": "missing", "number": "other number"}


class FaultText(NamedTuple):
    sentence: str
    when: str
    frames: list[str]  # from the root to the leaf
    lines: list[str]


class ChangeRow(NamedTuple):
    kind: str
    text: str
    here: str
    usual: str
    since: str
    sure: str


def faults_of(crash: Crash, zone: str, rows: int, characters: int) -> list[FaultText]:
    """The cause first."""
    return [
        _fault(fault, zone, rows if i == 0 else 0, characters)
        for i, fault in enumerate([crash.cause, *crash.others[:MAX_FAULTS]])
    ]


def _fault(fault: Fault, zone: str, rows: int, characters: int) -> FaultText:
    frames = fault.frames[-rows:] if rows else ()
    lines = fault.lines[-rows:] if rows else ()
    return FaultText(
        redacted_text(fault.sentence, characters),
        moment_of(fault.time_s, zone),
        [
            redacted_text(
                f"{frame.file}:{frame.line} {frame.function}{f': {frame.text.strip()}' if frame.text else ''}",
                characters,
            )
            for frame in frames
        ],
        [redacted_text(line.text, characters) for line in lines],
    )


def changes_of(found: LogDifference, zone: str, rows: int, characters: int) -> list[ChangeRow]:
    return [_change(change, zone, characters) for change in found.changes[:rows]]


def _change(change: LogChange, zone: str, characters: int) -> ChangeRow:
    lo, hi = change.usual if change.usual else change.expected
    value = figure(change.value) if change.value is not None else f"{change.count:,}"
    return ChangeRow(
        KIND_WORDS[change.kind],
        redacted_text(change.example or change.text or "any line", characters),
        value,
        figure(lo) if lo == hi else f"{figure(lo)} to {figure(hi)}",
        clock_of(change.since_s, zone),
        change.sure,
    )


# Findings as texts and pictures, in the order of the page: what the templates draw, nothing more.

NO_TIMES = "The points of this run have no times, so nothing is known of its seconds."
NO_STACKS = "No stacks of this window are stored, so nothing is known of its functions."
NO_CURVES = "The run has no loss and no steps, and nothing of the machine was recorded in this window."
MAX_NAME = 120  # characters of a run's name


class EvidenceText(NamedTuple):
    name: str
    window: str
    normal: str


class VerdictText(NamedTuple):
    title: str
    sentence: str
    aside: str
    evidence: list[EvidenceText]


class LedgerText(NamedTuple):
    sentence: str
    aside: str
    picture: LedgerPicture
    first: str  # the ends of the lane
    last: str


class ContrastText(NamedTuple):
    sentence: str
    rows: list[ContrastRow]
    other: str
    unit: str  # "" where seconds of a unit are not known of both


class FlameText(NamedTuple):
    drawn: FlameBoxes
    about: str


@dataclass(frozen=True)
class ReportPage:
    """An empty note stands for nothing to be said."""

    run: str
    heading: str
    about: str
    facts: list[KeyText]
    verdicts: list[VerdictText]
    verdict_note: str
    ledger: LedgerText | None
    ledger_note: str
    contrast: ContrastText | None
    contrast_note: str
    differs: list[DifferenceText]
    differs_more: int
    flame: FlameText | None
    flame_note: str
    plots: list[PlotPicture]
    plots_more: int
    others: int
    plots_note: str
    faults: list[FaultText]
    faults_note: str
    changes: list[ChangeRow]
    log_where: str
    log_sentence: str
    log_note: str
    sections: list[SectionText]
    made: str
    version: str


def page_of(found: ReportContents, detail: Detail) -> ReportPage:
    run, window, zone = found.run, found.window, found.time_zone
    name = shortened(run.stored.name, MAX_NAME)
    shown = shortened(run.about.name, MAX_NAME)
    plots, plots_more = _plots(found, detail)
    crash, log = found.crash.value, found.log.value
    whole = found.query.window is None
    return ReportPage(
        run=name,
        heading=shown or name,
        about=f"{'The whole run' if whole else 'A window'}: {range_of(*window, zone)}, {length_of(window[1] - window[0])}"
        if window
        else NO_TIMES,
        facts=_facts(found, detail.characters, name if shown else ""),
        verdicts=_verdicts(found, detail),
        verdict_note=_verdict_note(found),
        ledger=_ledger(found, detail),
        ledger_note=found.ledger.note,
        contrast=_contrast(found, detail),
        contrast_note=found.contrast.note,
        differs=differences_of(found.differs, detail.rows, detail.characters),
        differs_more=max(0, len(found.differs) - detail.rows),
        flame=_flame(found, detail),
        flame_note=found.flame.note or ("" if found.flame.value else NO_STACKS),
        plots=plots,
        plots_more=plots_more,
        others=found.curves.value.others if found.curves.value else 0,
        plots_note=found.curves.note or ("" if plots else NO_CURVES),
        faults=faults_of(crash, zone, detail.rows, detail.characters) if crash else [],
        faults_note=found.crash.note,
        changes=changes_of(log, zone, detail.rows, detail.characters) if log else [],
        log_where="this window" if not whole else "the slowest stretch",
        log_sentence=redacted_text(log.sentence, 2 * detail.characters) if log else "",
        log_note=_log_note(found),
        sections=sections_of(run.stored.info, 3 * detail.rows, detail.characters),
        made=moment_of(found.made_s, zone),
        version=VERSION,
    )


def _facts(found: ReportContents, characters: int, name: str) -> list[KeyText]:
    run = found.run
    stored = run.stored
    reason = redacted_text(run.state_reason, characters)
    rows = [
        KeyText("Run", name),
        KeyText("State", f"{run.state}{f': {reason}' if reason and reason != run.state else ''}"),
        KeyText("Began", moment_of(run.started_s, found.time_zone)),
        KeyText("Ended", moment_of(run.ended_s, found.time_zone)),
        KeyText("Last step", "" if stored.last_step is None else f"{stored.last_step:,}"),
        KeyText("Rank", "" if found.query.rank is None else str(found.query.rank)),
        KeyText("Ranks", redacted_text(run.ranks.note, characters)),
        KeyText("Tags", shortened(", ".join(run.about.tags), characters)),
        KeyText("Note", redacted_text(run.about.note, 2 * characters)),
        KeyText("Not read", shortened(_unread(found), characters)),
    ]
    return [row for row in rows if row.value]


def _unread(found: ReportContents) -> str:
    stored = found.run.stored
    counts = [(stored.lines_skipped, "lines"), (stored.fields_skipped, "fields"), (stored.files_aside, "files")]
    return ", ".join(f"{count:,} {what}" for count, what in counts if count)


def _verdicts(found: ReportContents, detail: Detail) -> list[VerdictText]:
    texts = []
    if found.verdict.value is not None:
        texts.append(_verdict("The window", found.verdict.value, detail))
    if found.slowest.value is not None:
        lo, hi = found.slowest.value.window
        title = f"The slowest stretch: {range_of(lo, hi, found.time_zone)}, {length_of(hi - lo)}"
        texts.append(_verdict(title, found.slowest.value.verdict, detail))
    return texts


def _verdict(title: str, verdict: Verdict, detail: Detail) -> VerdictText:
    rows = [
        EvidenceText(
            shortened(row.name, detail.characters), _measured(row.window, row.unit), _measured(row.baseline, row.unit)
        )
        for row in verdict.evidence[: detail.rows]
        if row.window or row.baseline
    ]
    notes = [
        f"Confidence: {verdict.confidence}" if verdict.confidence else "",
        f"{verdict.samples:,} samples beside {verdict.baseline_samples:,} of the run's normal"
        if verdict.baseline_samples
        else "",
        redacted_text(text_of(verdict.contradiction).rstrip("."), detail.characters),
    ]
    return VerdictText(title, redacted_text(verdict.sentence, 2 * detail.characters), _sentences(notes), rows)


def _measured(value: float | None, unit: str) -> str:
    """`0.00055, "s/step" -> "550 µs/step"`"""
    if value is None:
        return ""
    return f"{time_of(value)}{unit[1:]}" if unit.startswith("s/") and 0 < value < 1e9 else figure(value, unit)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentences(notes: list[str]) -> str:
    return " ".join(f"{note}." for note in notes if note)


def _verdict_note(found: ReportContents) -> str:
    return found.slowest.note if found.query.window is None else found.verdict.note


def _ledger(found: ReportContents, detail: Detail) -> LedgerText | None:
    ledger = found.ledger.value
    if ledger is None:
        return None
    sentence = _capital(shortened(text_of(sentence_of(ledger)), 3 * detail.characters))
    if not ledger.rows:
        return LedgerText(sentence, "", LedgerPicture([], [], []), "", "")
    aside = _capital(text_of(basis_of(ledger)))
    ends = _ends(ledger.window, found.time_zone)
    return LedgerText(sentence, aside, ledger_picture(ledger, detail.characters, detail.blocks), *ends)


def _ends(window: Interval, zone: str) -> tuple[str, str]:
    """With the day where the two are of different ones."""
    lo, hi = (moment_of(end, zone) for end in window)
    if lo[:10] == hi[:10]:
        return clock_of(window[0], zone), clock_of(window[1], zone)
    return lo[:16], hi[:16]


def _contrast(found: ReportContents, detail: Detail) -> ContrastText | None:
    contrast = found.contrast.value
    if contrast is None:
        return None
    unit = contrast.mine.unit_name if contrast.changes and contrast.changes[0].seconds is not None else ""
    return ContrastText(
        shortened(redacted(contrast.sentence), 4 * detail.characters),
        contrast_rows(contrast, detail.characters),
        shortened(contrast.other.run, MAX_NAME),
        shortened(unit, 40),
    )


def _flame(found: ReportContents, detail: Detail) -> FlameText | None:
    flame = found.flame.value
    if flame is None:
        return None
    tree = flame.tree
    part = (
        ""
        if flame.window == found.window
        else f"Only {range_of(*flame.window, found.time_zone)}, as stacks of hours are many. "
    )
    return FlameText(
        boxes_of(tree, detail.boxes, detail.characters),
        f"{part}{tree.samples:,} samples, {length_of(tree.seconds)} of the main threads.",
    )


def _plots(found: ReportContents, detail: Detail) -> tuple[list[PlotPicture], int]:
    curves = found.curves.value
    if curves is None:
        return [], 0
    words = _ends(found.window, found.time_zone) if found.window else None
    ends = ends_of(curves, found.window, words)
    marked = found.slowest.value.window if found.slowest.value and found.window else None
    shown = curves.plots[: detail.plots]
    pictures = [picture_of(plot, ends, marked, detail.places, detail.lines, detail.characters) for plot in shown]
    return [picture for picture in pictures if picture is not None], len(curves.plots) - len(shown)


def _log_note(found: ReportContents) -> str:
    if found.log.note:
        return found.log.note
    log = found.log.value
    if log is None or log.sentence:
        return ""
    return f"{_capital(log.reason)}." if log.reason else "The log says nothing in it that it does not say otherwise."


# Findings as one HTML file of at most a megabyte: in less detail where it would be larger.
#
# Jinja2 writes it, with everything escaped (`docs/design/sharing.md#0244-a-report-is-written-by-a-template-engine`): no text of a run becomes markup.

MAX_BYTES = 1_000_000
TEMPLATES = Path(__file__).parent / "templates"


class Detail(NamedTuple):
    """How much of each part is drawn."""

    boxes: int  # of the flame graph
    plots: int
    lines: int  # of a plot
    places: int  # of a line
    blocks: int  # of the ledger's lane
    rows: int  # of a table
    characters: int  # of a text


DETAILS = (
    Detail(boxes=1200, plots=12, lines=8, places=200, blocks=160, rows=40, characters=300),
    Detail(boxes=600, plots=8, lines=6, places=120, blocks=120, rows=30, characters=200),
    Detail(boxes=200, plots=6, lines=4, places=80, blocks=60, rows=20, characters=120),
    Detail(boxes=50, plots=4, lines=2, places=40, blocks=30, rows=10, characters=60),
)


def html_of(findings: ReportContents) -> bytes:
    """UTF-8, whole."""
    found = b""
    for detail in DETAILS:
        found = _written(findings, detail)
        if len(found) <= MAX_BYTES:
            break
    return found


def _written(findings: ReportContents, detail: Detail) -> bytes:
    return (
        _environment()
        .get_template("page.html")
        .render(page=page_of(findings, detail), light=tokens("light"), dark=tokens("dark"))
        .encode()
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finished,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _finished(value: Any) -> Any:
    """Whatever is written has no character that cannot be seen or stored."""
    return visible(value) if type(value) is str else value
