"""Metrics over several lines of text: items per second from counters, and tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ....records import ITEMS_PER_S, TEXT_SOURCE, Labels, Points, labels_of
from .lines import (
    COLUMN_OF_STEP,
    NUMBER,
    RICH,
    TQDM,
    ZEROS,
    CounterKind,
    LineReader,
    MetricLine,
    Progress,
    ends_usually,
    is_measured,
    is_no_metric,
    named,
    part_of,
)
from .steps import ITEM, OF_TRAINING, LinePosition, StepTracker

RATE_S, COARSE_RATE_S = 2.0, 10.0  # a rate is told of so much time, at least; the latter where times are whole seconds
PAUSE_S = 0.3  # before a line that begins a burst
SETTLED_S, SETTLED_SHARE = (
    1.0,
    0.25,
)  # lines have come steadily for so long, and for such a share of the pause before: no burst
UNSURE_LINES = 8  # of which none goes back: one program counts, unless the count rises twice by the same
BEGINNING = 0.1  # of the total: what goes back to there begins anew; what goes back to elsewhere is another program's


class Rate(NamedTuple):
    """Items a second, up to a time."""

    per_s: float
    time_s: float


class ItemCount(NamedTuple):
    """What a line says that came at its time: how many items of how many, in which epoch."""

    items: int
    total: int
    outer: tuple[float, ...]
    time_s: float

    def goes_on(self, later: ItemCount) -> bool:
        return later[1:3] == self[1:3] and later.items >= self.items and later.time_s >= self.time_s

    def until(self, later: ItemCount) -> Rate | None:
        """None where it is too short to tell."""
        took_s, items = later.time_s - self.time_s, later.items - self.items
        least_s = COARSE_RATE_S if self.time_s.is_integer() and later.time_s.is_integer() else RATE_S
        return Rate(items / took_s, later.time_s) if took_s >= least_s and items > 0 else None


class ItemRate:
    """Of the lines of one text, in order."""

    def __init__(self, state: Sequence[Any] = ()) -> None:
        since, last, burst_s, paused_s, rise, lines = state or (None, None, 0.0, 0.0, 0, 0)
        self._since = ItemCount(since[0], since[1], tuple(since[2]), since[3]) if since else None
        self._last = ItemCount(last[0], last[1], tuple(last[2]), last[3]) if last else None  # the newest line
        self._burst_s: float = burst_s  # when the newest burst began,
        self._paused_s: float = paused_s  # and how long the pause before it was
        self._rise: int = rise  # from the line before it to the newest line
        self._lines: int = lines  # that may be one program's, up to UNSURE_LINES

    def state(self) -> list[Any]:
        """As JSON; [] where there is nothing to go on with."""
        if self._last is None and self._since is None and not self._lines:
            return []
        counts = [
            [one.items, one.total, list(one.outer), one.time_s] if one else None for one in (self._since, self._last)
        ]
        return [*counts, self._burst_s, self._paused_s, self._rise, self._lines]

    def pause(self, time_s: float) -> Rate | None:
        """A line of a validation, whose time is not the training's: the rate until the line before it."""
        told = self._told(time_s)
        self._since = self._last = None
        return told

    def take(self, items: int, total: int, outer: tuple[float, ...], time_s: float) -> Rate | None:
        """The rate until the line before this one, where that came when it was printed."""
        now, last = ItemCount(items, total, outer, time_s), self._last
        goes_on = last is None or last.goes_on(now)
        told = self._told(time_s)
        if not goes_on:
            self._since = None
            if last and now[1:3] == last[1:3] and items > BEGINNING * total:  # several programs count in this text
                told, self._lines = None, -UNSURE_LINES
            self._rise = 0
        elif last:
            rise = items - last.items
            self._lines = (
                max(self._lines, UNSURE_LINES) if rise and rise == self._rise else min(self._lines + 1, UNSURE_LINES)
            )
            self._rise = rise
        self._last = now
        return told

    def _told(self, time_s: float) -> Rate | None:
        """With a line at that time: the rate until the one before it."""
        last = self._last
        if last is None:
            self._burst_s, self._paused_s = time_s, 0.0
            return None
        steady_s, pause_s = last.time_s - self._burst_s, time_s - last.time_s
        is_over = not 0 <= pause_s < PAUSE_S
        told = None
        if is_over or steady_s >= max(SETTLED_S, SETTLED_SHARE * self._paused_s):
            told = self._since.until(last) if self._since else None
            if told or self._since is None:
                self._since = last
        if is_over:
            self._burst_s, self._paused_s = time_s, max(pause_s, 0.0)
        return told if self._lines >= UNSURE_LINES else None


# Tables in text: a header and its rows (fastai, Ultralytics), and boxes of names and values (Stable-Baselines3).
#
# epoch     train_loss  valid_loss        | rollout/           |          |
# 0         2.345678    1.234567          |    ep_rew_mean     | 21.9     |

MAX_COLUMNS, MAX_ROWS, MAX_CHARS = 40, 200, 2_000
BAR = "|\u2502\u2503"
EDGES = re.compile(r"[\s\-=_+|:\u2500-\u257f]{3,}$")
BAR_BEGINS = re.compile(r"\d{0,3}%(?:\||\s[\u2500-\u257f])")
CELLS = re.compile(r"[|\u2502\u2503]")
WIDE = re.compile(r"\t+|\s{2,}")
NUMBER_CELL = re.compile(rf"(?:{NUMBER})%?", re.IGNORECASE)
PLACE_CELL = re.compile(r"(\d{1,15})(?:/(\d{1,15}))?")
NAME_CELL = re.compile(r"#|[^\W\d_][\w/@.\-+()%#]{0,60}(?: [^\W\d][\w/@.\-+()%#]{0,40}){0,4}")
NO_COLUMNS = ("E", "Images")  # the epoch of spaCy; how many were looked at
MAX_BETWEEN, MAX_BETWEEN_WORDS = (
    50,
    3,
)  # lines between a header, or a row, and the next row; where single blanks separate the names


class TableReader:
    """The table that the lines of one file are in, if any."""

    def __init__(self, state: Sequence[Any] | None = None) -> None:
        self._columns: list[str] = []
        self._separator = ""
        self._is_ruled = False  # a line is drawn below its header
        self._misses = 0  # lines since the last row
        self._box: dict[str, float] = {}
        self._section = ""
        if state:
            self._columns, self._separator, self._is_ruled, self._misses, box, self._section = state
            self._box = {name: float(value) for name, value in box.items()}

    def state(self) -> list[Any]:
        if not self._columns and not self._box:
            return []
        box = {name: str(value) for name, value in self._box.items()}
        return [self._columns, self._separator, self._is_ruled, self._misses, box, self._section]

    @property
    def is_open(self) -> bool:
        return bool(self._columns or self._box)

    def may_begin(self, text: str) -> bool:
        """Whether a table may begin with a line."""
        return text.lstrip()[:1] in BAR or (len(text) <= MAX_CHARS and COLUMN_OF_STEP.match(text) is not None)

    def take(self, text: str) -> tuple[MetricLine | None, str]:
        """What a row says, or a whole box at its end; and what is left for others to read: "" of a line that is part of a table."""
        if len(text) > MAX_CHARS or not text.strip():
            return None, text
        if EDGES.match(text):
            self._is_ruled = bool(self._columns)
            return self._boxed(), ""
        if (cells := _boxed_cells(text)) is not None and len(cells) == 2 and not self._columns and self._in_box(*cells):
            return None, ""
        if self._columns and (row := self._row(text)) is not None:
            return row, ""
        if self._is_header(text):
            return None, ""
        self._misses += "%" not in text and any(map(str.isalnum, text))  # else a bar
        if self._misses > (MAX_BETWEEN_WORDS if self._separator == " " else MAX_BETWEEN):
            self._columns = []
        return self._boxed(), text

    def _in_box(self, name: str, value: str) -> bool:
        if not value and name.endswith("/"):
            self._section = name
        elif NAME_CELL.fullmatch(name) and NUMBER_CELL.fullmatch(value) and len(self._box) < MAX_ROWS:
            self._box[self._section + name.replace(" ", "_")] = float(value.rstrip("%"))
        else:
            return bool(self._box or self._section) and not PLACE_CELL.fullmatch(name)
        return True

    def _boxed(self) -> MetricLine | None:
        box, self._box, self._section = self._box, {}, ""
        if not box:
            return None
        at = {name.rpartition("/")[2].lower(): name for name in box}
        step = next(
            (at[name] for name in ("total_timesteps", "global_step", "step", "num_updates", "timesteps") if name in at),
            None,
        )
        done = int(box[step]) if step and box[step].is_integer() else None
        outer = next((box[at[name]] for name in ("epoch", "iteration", "iterations", "episode") if name in at), None)
        values = {name: value for name, value in box.items() if not is_no_metric(name.rpartition("/")[2])}
        progress = None
        if done is not None:
            progress = Progress((), done, None, "step", is_global=True)
        elif outer is not None and outer.is_integer():
            progress = Progress((outer,), counter="epoch")
        return MetricLine(progress, values, is_sure=progress is not None, is_table=True) if values else None

    def _is_header(self, text: str) -> bool:
        cells, separator = _cells(BAR_BEGINS.split(text, 1)[0].rstrip(": "))
        names = [cell.strip() for cell in cells]
        if not 2 <= len(names) <= MAX_COLUMNS or not all(NAME_CELL.fullmatch(name) for name in names):
            return False
        if len({*names}) < len(names) or not (
            any(map(_is_place, names)) or names[0].lower() == "class" or separator == "|"
        ):
            return False
        self._columns, self._separator = [name.replace(" ", "_") for name in names], separator
        self._is_ruled, self._misses = False, 0
        return True

    def _row(self, text: str) -> MetricLine | None:
        """None for a line that is no row of the table."""
        cells = _split(text, self._separator)
        if len(cells) < len(self._columns):
            cells = text.split()
        at = next((i for i, name in enumerate(self._columns) if name == "#"), None)
        at = next((i for i, name in enumerate(self._columns) if _is_place(name)), None) if at is None else at
        more = cells[len(self._columns) :]
        if len(cells) < len(self._columns) or (
            not text.rstrip().endswith(("]", "s")) and any(map(str.isalnum, "".join(more)))
        ):
            return None
        row = [cell.rstrip(":") for cell in cells[: len(self._columns)]]
        progress = None
        if at is not None:
            if (place := PLACE_CELL.fullmatch(row[at])) is None:
                return None
            progress = self._progress(self._columns[at], place, TQDM.search(text) or RICH.search(text))
        elif self._columns[0].lower() == "class":
            if row[0].lower() not in ("all", "total", "average", "mean", "overall"):
                return None
        elif not self._is_ruled or not all(NUMBER_CELL.fullmatch(cell) for cell in row):
            return None
        values = {
            name: float(cell.rstrip("%"))
            for i, (name, cell) in enumerate(zip(self._columns, row, strict=True))
            if i != at
            and NUMBER_CELL.fullmatch(cell)
            and not is_no_metric(name)
            and name not in NO_COLUMNS
            and (at is not None or name != "Instances")
        }
        if not values:
            return None
        self._misses = 0
        return MetricLine(progress, values, is_sure=progress is not None, is_table=True)

    def _progress(self, column: str, place: re.Match[str], bar: re.Match[str] | None) -> Progress:
        name = column.lower().lstrip("#") or "step"
        if bar is not None:
            return Progress((float(place[1]),), int(bar["done"]), int(bar["total"]), f"|{name}", CounterKind.BAR)
        if name in ("epoch", "epochs", "ep", "round", "generation", "gen", "episode"):
            return Progress((float(place[1]),), counter=name.removesuffix("s"))
        return Progress((), int(place[1]), int(place[2]) if place[2] else None, name, CounterKind.NAMED, is_global=True)


def _is_place(name: str) -> bool:
    return name == "#" or (name.lower() != "class" and COLUMN_OF_STEP.fullmatch(name) is not None)


def _boxed_cells(text: str) -> list[str] | None:
    stripped = text.strip()
    if stripped[:1] not in BAR or stripped[-1:] not in BAR:
        return None
    cells = [cell.strip() for cell in CELLS.split(stripped)[1:-1]]
    return WIDE.split(cells[0]) if len(cells) == 1 else cells


def _cells(text: str) -> tuple[list[str], str]:
    """The cells of a header, and what separates them."""
    for separator in ("|", ",", "  ", " "):
        cells = _split(text, separator)
        if len(cells) > 1:
            return cells, separator
    return [text], ""


def _split(text: str, separator: str) -> list[str]:
    text = text.strip()
    if separator == "|":
        return [cell.strip() for cell in CELLS.split(text) if cell.strip()]
    if separator == ",":
        return [cell.strip() for cell in text.split(",")]
    return [cell.strip() for cell in WIDE.split(text)] if separator == "  " else text.split()


# Finds the metrics that a training prints: `step 400: train loss 1.2, lr 3e-4` -> `train_loss` and `lr` at step 400.
#
# Precise rather than eager: what a line does not say is left out. A result (`loss`, `val_acc`), a field of an object and a column of a
# table are series at once; any other key once it was on three lines with a growing step, with those three points. Hosts, paths,
# versions, dates, sizes with a unit and whole numbers that never change are no metrics. The series are labelled `source=text`.

BEHIND_BAR = re.compile(r"\d<[\d:?]{1,12}[^\[\]]{0,400}\](?P<message>\s{0,8}[\[{].{1,8000})")
LABEL = labels_of(source=TEXT_SOURCE)
MAX_IDLE, MAX_IDLE_CHARS = 2_000, 500
SURE = 0.05  # of a step
PROGRESS = "progress/"  # how far the training is, as a series: where lines say nothing else, or not which step it is
SIGHTINGS = 3  # lines with a growing step, before a key is a series
MAX_KEYS, MAX_PENDING, MAX_REFUSED, MAX_HELD, MAX_TOLD = (
    300,
    600,
    1_000,
    32,
    500,
)  # of one file: series; keys that may become one; keys that must not; lines; sets of names


class Sighting(NamedTuple):
    """Of a key that is no series yet."""

    step: int | None
    time_s: float | None
    value: float


class PendingLine(NamedTuple):
    """A line whose step a later one shows. Without a counter that is a progress bar, which is drawn again behind it."""

    counter: str
    base: int
    done: int
    time_s: float | None
    values: dict[str, float]
    is_sure: bool


class BarState(NamedTuple):
    """A bar as it was drawn last."""

    counter: str
    step: int | None
    values: dict[str, float]
    is_old: bool = (
        False  # its values are those of the step before: tqdm and Rich draw a step before its values are known
    )

    def again(self, counter: str, step: int | None, values: dict[str, float]) -> BarState:
        """The next one; itself where it says nothing new."""
        if (counter, step) != (self.counter, self.step):
            return BarState(counter, step, values, bool(values) and values.items() <= self.values.items())
        return self if step is not None and values == self.values else BarState(counter, step, values)


class TextNumbers:
    """The metrics of one text log."""

    def __init__(
        self,
        run: str,
        labels: Labels,
        fault: Callable[[str], str] = lambda name: "",
        state: Mapping[str, Any] | None = None,
        reader: LineReader | None = None,
    ) -> None:
        """`fault` says why a series of that name is left out, "" where it is kept; `reader` is that of all who write the file."""
        state = state or {}
        self._run, self._fault = run, fault
        self._labels: Labels = tuple(sorted((*labels, *LABEL)))
        self._keys: dict[str, None] = dict.fromkeys(state.get("names", ()))
        self._refused: dict[str, None] = dict.fromkeys(state.get("refused", ()))
        self._pending: dict[str, list[Sighting]] = {
            key: [Sighting(step, time_s, float(value)) for step, time_s, value in seen]
            for key, seen in state.get("pending", {}).items()
        }
        self._held = [
            PendingLine(counter, base, done, time_s, {name: float(value) for name, value in values.items()}, is_sure)
            for counter, base, done, time_s, values, is_sure in state.get("held", ())
        ]
        self._steps = StepTracker(state.get("steps"), is_anew=state.get("anew", False))
        self._tables = TableReader(state.get("tables"))
        self._names: dict[tuple[str, ...], list[str]] = {}  # of series, by kind, part and names of a line
        self._owners: dict[str, tuple[str, int]] = {
            name: (kind, depth) for name, (kind, depth) in state.get("owners", {}).items()
        }
        self._kind, self._part = state.get("kind", ("", ""))  # of the last line; the part of the last one that counts
        self._steps_an_epoch: float | None = None
        self._rate = ItemRate(state.get("items", ()))
        self._lines = reader or LineReader()
        self._drawn = BarState("", None, {})
        self.is_redrawn = False  # the last line was a bar that showed the values of the step before until then

    def state(self) -> dict[str, Any]:
        tables, held = (
            self._tables.state(),
            [[*one[:4], {k: str(v) for k, v in one.values.items()}, one.is_sure] for one in self._held],
        )
        return {
            "names": list(self._keys),
            "refused": list(self._refused),
            "pending": {
                key: [[found.step, found.time_s, str(found.value)] for found in seen]
                for key, seen in self._pending.items()
            },
            "steps": self._steps.state(),
            **({"anew": True} if self._steps.is_anew else {}),
            "owners": {name: list(owner) for name, owner in self._owners.items()},
            "kind": [self._kind, self._part],
            **({"tables": tables} if tables else {}),
            **({"held": held} if held else {}),
            **({"items": rate} if (rate := self._rate.state()) else {}),
        }

    @property
    def unit(self) -> str:
        """What a step is: step, epoch, generation; "" before there was one."""
        return self._steps.unit

    def points(self, text: str, time_s: float | None, *, is_beside_bar: bool = False) -> list[Points]:
        """Of one line without colours. `is_beside_bar`: a progress bar was taken away for it, and is drawn again behind it."""
        self.is_redrawn = False
        key = text.translate(ZEROS)
        if key in self._lines.idle and not self._tables.is_open:
            return []
        if "<" in text and (found := BEHIND_BAR.search(text)):  # another message follows a bar on its line
            behind = self.points(found["message"], time_s, is_beside_bar=True)
            return [*self.points(text[: found.start("message")], time_s), *behind]
        line, is_idle = None, True
        if self._tables.is_open or self._tables.may_begin(text):
            line, rest = self._tables.take(text)
            is_idle = bool(rest) and not self._tables.is_open
            line = line or (self._lines.read(rest) if rest else None)
        else:
            line = self._lines.read(text, key)
        if line is not None:
            return self._placed(line, time_s, is_beside_bar)
        if is_idle and len(text) <= MAX_IDLE_CHARS:
            if len(self._lines.idle) >= MAX_IDLE:
                self._lines.idle.clear()
            self._lines.idle.add(key)
        return []

    def _placed(self, line: MetricLine, time_s: float | None, is_beside_bar: bool) -> list[Points]:
        line = self._renamed(line)
        progress = line.progress
        place = self._steps.at(line)
        if progress is not None and progress.kind is CounterKind.BAR:
            drawn = self._drawn.again(progress.counter, place.step, line.values)
            if drawn is self._drawn:
                line = line._replace(values={})
            self.is_redrawn, self._drawn = (
                self._drawn.is_old and not drawn.is_old and drawn.step == self._drawn.step,
                drawn,
            )
        if place.is_held:
            self._hold_count(line, time_s)
            return []
        found: list[Points] = []
        is_training = line.part in ("", "train")
        if time_s is not None and _is_of_validation(line):
            found += self._rate_points(self._rate.pause(time_s))
        if self._held and progress is not None and place.counted is not None and is_training:
            found += self._released(progress, place)
        if is_beside_bar and line.values and (progress is None or progress.done is None):
            self._hold(PendingLine("", self._steps.step or 0, 0, time_s, line.values, line.is_sure))
            return found
        if line.values:
            is_sure = line.is_sure or (line.is_table and place.step is not None)
            found += self._points(line.values, place.step, time_s, is_sure)
        if place.counted is not None and progress is not None and is_training:
            found += self._progress(bool(line.values), progress, place, time_s)
        return found

    def _renamed(self, line: MetricLine) -> MetricLine:
        """Its values by the names of their series: what lines of two kinds call the same are two series."""
        progress = line.progress
        kind = _kind(line)
        if kind != self._kind:
            self._kind = kind
            if progress is not None:
                self._part = "" if line.part == "train" else line.part
        part = line.part or (self._part if progress is None else "")
        told = (kind, part, *line.values)
        names = self._names.get(told)
        if names is None:
            names = [self._named_by(name, part, kind, line) for name in line.values]
            if len(self._names) >= MAX_TOLD:
                self._names.clear()
            self._names[told] = names
        if names == list(line.values):
            return line
        return line._replace(values=dict(zip(names, line.values.values(), strict=True)))

    def _named_by(self, name: str, part: str, kind: str, line: MetricLine) -> str:
        own, depth = named(name, part), _depth(line)
        owner = self._owners.get(own)
        if owner is None or owner[0] == kind or owner[1] < depth:
            if len(self._owners) < MAX_KEYS + MAX_PENDING:
                self._owners[own] = (kind, depth)
                if owner is not None and owner[0] != kind:
                    self._names.clear()  # names that lines of the other kind had
            return own
        return f"{_word(line)}/{own}"

    def _hold(self, line: PendingLine) -> None:
        self._held = [*self._held[-MAX_HELD + 1 :], line]

    def _hold_count(self, line: MetricLine, time_s: float | None) -> None:
        """Until it is known whether these are steps."""
        progress = line.progress
        assert progress is not None
        self._hold(PendingLine(progress.counter, *self._steps.count_of(progress), time_s, line.values, line.is_sure))

    def _released(self, progress: Progress, place: LinePosition) -> list[Points]:
        """Lines whose step is known by now, or known not to be known."""
        found: list[Points] = []
        is_bar = progress.kind is CounterKind.BAR and self._steps.is_of_training(progress)
        for line in self._held:
            if line.counter == progress.counter:
                step = None if place.step is None or line.base else self._steps.step_of(progress, line.done)
                found += self._points(line.values, step, line.time_s, line.is_sure)
                told = place._replace(step=step, counted=line.base + line.done)
                found += self._progress(bool(line.values), progress._replace(done=line.done), told, line.time_s)
            elif not line.counter and is_bar:
                found += self._points(line.values, self._at_bar(line, place), line.time_s, line.is_sure)
        self._held = [line for line in self._held if line.counter not in (progress.counter, *([""] if is_bar else []))]
        return found

    def _at_bar(self, line: PendingLine, place: LinePosition) -> int | None:
        """The step of a line beside a bar that was at step `line.base` before it and is at `place` behind it.

        tqdm draws it again at once. Where another program did that later, the epoch that the line names says which step it was.
        """
        epoch = line.values.get("epoch", 0.0)
        if place.step is None or not epoch:
            return place.step
        if line.base == place.step:
            self._steps_an_epoch = place.step / epoch
        elif self._steps_an_epoch:
            step = round(epoch * self._steps_an_epoch)
            return (
                step
                if line.base <= step <= place.step and abs(epoch * self._steps_an_epoch - step) < SURE
                else place.step
            )
        return place.step

    def _progress(
        self, has_values: bool, progress: Progress, place: LinePosition, time_s: float | None
    ) -> list[Points]:
        """How far the training is: of bars, and of lines that say nothing else."""
        name = PROGRESS + place.unit
        if has_values and place.step is not None and name not in self._keys:
            return []  # its own series have the step
        if place.counted is None or not self._steps.is_of_training(progress):
            return []
        is_sure = progress.kind is CounterKind.BAR or place.step is None
        found = self._points({name: float(place.counted)}, place.step, time_s, is_sure)
        if place.unit == ITEM and time_s is not None and progress.done is not None:
            found += self._rate_points(self._rate.take(progress.done, progress.total or 0, progress.outer, time_s))
        return found

    def _rate_points(self, rate: Rate | None) -> list[Points]:
        return self._points({ITEMS_PER_S: rate.per_s}, None, rate.time_s, True) if rate else []

    def _points(
        self, values: Mapping[str, float], step: int | None, time_s: float | None, is_sure: bool
    ) -> list[Points]:
        """Of what is known to be a series, or becomes one with this line."""
        if self._keys.keys() >= values.keys():
            return [self._as_points(values, time_s, step)] if values else []
        ready: dict[str, float] = {}
        found: list[Points] = []
        for key, value in values.items():
            is_known = is_sure or is_measured(key) or (step is not None and ends_usually(key))
            if key in self._keys or (is_known and key not in self._refused and self._accept(key)):
                ready[key] = value
            else:
                seen = self._consider(key, Sighting(step, time_s, value))
                found += [self._as_points({key: number.value}, number.time_s, number.step) for number in seen]
        if ready:
            found.append(self._as_points(ready, time_s, step))
        return found

    def _as_points(self, values: Mapping[str, float], time_s: float | None, step: int | None) -> Points:
        return Points(self._run, self._labels, tuple(values), tuple(values.values()), time_s, step, self._steps.segment)

    def _consider(self, key: str, now: Sighting) -> list[Sighting]:
        """All sightings of a key that has become a series with this one."""
        if key in self._refused:
            return []
        seen = self._pending.pop(key, [])
        if seen and now.step is not None and seen[-1].step is not None and now.step <= seen[-1].step:
            seen = [] if now.step < seen[-1].step else seen[:-1]
        seen.append(now)
        if len(seen) >= SIGHTINGS and not _is_constant(seen):
            return seen if self._accept(key) else []
        if len(self._pending) >= MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        self._pending[key] = seen[-SIGHTINGS:]
        return []

    def _accept(self, key: str) -> bool:
        if len(self._keys) >= MAX_KEYS or self._fault(key):
            if len(self._refused) < MAX_REFUSED:
                self._refused[key] = None
            return False
        self._pending.pop(key, None)
        self._keys[key] = None
        return True


def _is_of_validation(line: MetricLine) -> bool:
    """Whether a line reports one that has just ended, by its part or by the names of its values."""
    parts = {line.part, *map(part_of, line.values if line.progress is None or line.progress.done is None else ())}
    return not parts <= {"", "train"}


def _kind(line: MetricLine) -> str:
    progress = line.progress
    if progress is not None and progress.kind is CounterKind.BAR:
        return line.part + "|"
    if line.is_sure:
        return line.part + "{}"
    if progress is None:
        return line.part + "-"
    return line.part + ("step" if progress.counter in OF_TRAINING else progress.counter)


def _depth(line: MetricLine) -> int:
    """How finely a line counts: a step is deeper than an epoch."""
    if line.progress is None:
        return 2 if line.is_sure else 0
    return 1 if line.progress.done is None and not line.is_sure else 2


def _word(line: MetricLine) -> str:
    """What tells the series of a line from one of the same name."""
    if line.progress is None:
        return "overall"
    if line.part == "train":
        return "train"
    return line.progress.counter if line.progress.counter.isidentifier() else "progress"


def _is_constant(seen: list[Sighting]) -> bool:
    """A whole number that stays the same: a rank, a size, a port."""
    first = seen[0].value
    return first.is_integer() and all(number.value == first for number in seen)
