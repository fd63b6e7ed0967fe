"""Finds the metrics that a training prints: `step 400: train loss 1.2, lr 3e-4` -> `train_loss` and `lr` at step 400.

Precise rather than eager: what a line does not say is left out. A result (`loss`, `val_acc`), a field of an object and a column of a
table are series at once; any other key once it was on three lines with a growing step, with those three points. Hosts, paths,
versions, dates, sizes with a unit and whole numbers that never change are no metrics. The series are labelled `source=text`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ....records import ITEMS_PER_S, TEXT_SOURCE, Labels, Points, labels_of
from .item_rate import ItemRate, Rate
from .metric_lines import ZEROS, Kind, LineReader, MetricLine, Progress, named
from .steps import ITEM, OF_TRAINING, Place, Steps
from .tables import Tables
from .words import ends_usually, is_measured, part_of

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


class Held(NamedTuple):
    """A line whose step a later one shows. Without a counter that is a progress bar, which is drawn again behind it."""

    counter: str
    base: int
    done: int
    time_s: float | None
    values: dict[str, float]
    is_sure: bool


class Drawn(NamedTuple):
    """A bar as it was drawn last."""

    counter: str
    step: int | None
    values: dict[str, float]
    is_old: bool = (
        False  # its values are those of the step before: tqdm and Rich draw a step before its values are known
    )

    def again(self, counter: str, step: int | None, values: dict[str, float]) -> Drawn:
        """The next one; itself where it says nothing new."""
        if (counter, step) != (self.counter, self.step):
            return Drawn(counter, step, values, bool(values) and values.items() <= self.values.items())
        return self if step is not None and values == self.values else Drawn(counter, step, values)


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
            Held(counter, base, done, time_s, {name: float(value) for name, value in values.items()}, is_sure)
            for counter, base, done, time_s, values, is_sure in state.get("held", ())
        ]
        self._steps = Steps(state.get("steps"), is_anew=state.get("anew", False))
        self._tables = Tables(state.get("tables"))
        self._names: dict[tuple[str, ...], list[str]] = {}  # of series, by kind, part and names of a line
        self._owners: dict[str, tuple[str, int]] = {
            name: (kind, depth) for name, (kind, depth) in state.get("owners", {}).items()
        }
        self._kind, self._part = state.get("kind", ("", ""))  # of the last line; the part of the last one that counts
        self._steps_an_epoch: float | None = None
        self._rate = ItemRate(state.get("items", ()))
        self._lines = reader or LineReader()
        self._drawn = Drawn("", None, {})
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
        if progress is not None and progress.kind is Kind.BAR:
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
            self._hold(Held("", self._steps.step or 0, 0, time_s, line.values, line.is_sure))
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

    def _hold(self, line: Held) -> None:
        self._held = [*self._held[-MAX_HELD + 1 :], line]

    def _hold_count(self, line: MetricLine, time_s: float | None) -> None:
        """Until it is known whether these are steps. Lines that were waiting for a bar have its count."""
        progress = line.progress
        assert progress is not None
        held = Held(progress.counter, *self._steps.count_of(progress), time_s, line.values, line.is_sure)
        if progress.kind is Kind.BAR:
            self._held = [
                one if one.counter else one._replace(counter=held.counter, base=held.base, done=held.done)
                for one in self._held
            ]
        self._hold(held)

    def _released(self, progress: Progress, place: Place) -> list[Points]:
        """Lines whose step is known by now, or known not to be known."""
        found: list[Points] = []
        is_bar = progress.kind is Kind.BAR and self._steps.is_of_training(progress)
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

    def _at_bar(self, line: Held, place: Place) -> int | None:
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

    def _progress(self, has_values: bool, progress: Progress, place: Place, time_s: float | None) -> list[Points]:
        """How far the training is: of bars, and of lines that say nothing else."""
        name = PROGRESS + place.unit
        if has_values and place.step is not None and name not in self._keys:
            return []  # its own series have the step
        if place.counted is None or not self._steps.is_of_training(progress):
            return []
        is_sure = progress.kind is Kind.BAR or place.step is None
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
    if progress is not None and progress.kind is Kind.BAR:
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
