"""The step of each line that counts: what a count means only shows over several lines.

A count may begin again with each epoch, at another run of the program, or never. `[640/12800]` may be samples: it is a step where the
counts have no common divisor (each step is counted, or 1, 11, 21), where the first one is a batch of which the others are multiples
(64, 6464, 12864: batches of 64, each hundredth), or where it ends at one less than its total. Else the line has no step. A progress
bar counts steps unless it names another unit: tqdm draws every second or third one of fast steps, so common divisors say nothing there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .lines import CounterKind, MetricLine, Progress

MIN_COUNTS = 4  # until counts in brackets with a common divisor are taken for samples
DISORDER = 2  # lines of several processes that are mixed
MAX_TRACKS = 16
OF_TRAINING = ("step", "iteration", "iter", "update", "global_step", "num_update", "num_updates")
FIELDS = 10  # of the state of Steps
STEP, BATCH, ITEM = (
    "step",
    "batch",
    "item",
)  # what is counted: steps, steps of an epoch of unknown length, samples or steps


class LinePosition(NamedTuple):
    """Where a line is. `step` is None where the text does not say it; `counted` of `unit` is how far it is even then."""

    step: int | None
    segment: int
    unit: str = STEP
    counted: int | None = None
    is_held: bool = False  # a later line shows it


class StepCounter:
    """One kind of count: `step 5`, `[10/100]`, a progress bar."""

    FIELDS = (
        "base",
        "done",
        "total",
        "outer",
        "divisor",
        "first",
        "apart",
        "lines",
        "scale",
        "meaning",
        "is_lost",
        "is_overall",
    )

    def __init__(self, state: Sequence[Any] = ()) -> None:
        self.base = 0  # steps of the epochs before this one
        self.done: int | None = None
        self.total: int | None = None
        self.outer: tuple[float, ...] = ()
        self.divisor = 0  # of all counts
        self.first: int | None = None
        self.apart = 0  # the least difference of two counts in turn
        self.lines = 0  # with a new count
        self.scale = 1  # counts a step
        self.meaning = ""  # STEP or ITEM, once that is known
        self.is_lost = False  # an epoch before this one had an unknown length
        self.is_overall = False  # it does not begin again with an epoch
        for name, value in zip(self.FIELDS, state, strict=False):
            setattr(self, name, tuple(value) if name == "outer" else value)

    def state(self) -> list[Any]:
        return [getattr(self, name) for name in self.FIELDS]

    def take(self, progress: Progress) -> bool:
        """The next count; return whether another run of the program has begun."""
        done = progress.done
        assert done is not None
        if (
            self.done is None
            and progress.outer
            and progress.outer[-1] > 1
            and progress.total
            and not progress.is_global
        ):
            self.is_lost = (
                True  # how many steps the epochs before had is known, but not whether the first one is 0 or 1
            )
        begins_anew = self.done is not None and self._goes_back(progress, done, self.done)
        if self.done is not None and done > self.done and (not self.apart or done - self.done < self.apart):
            self.apart = done - self.done
        if done != self.done:
            self.lines += 1
        if self.first is None or done < self.first:
            self.first = done
        self.done, self.total, self.outer = done, progress.total, progress.outer
        if self.meaning != STEP:
            self.divisor = math.gcd(self.divisor, done)
            self._judge(progress, done)
        return begins_anew

    def again(self, progress: Progress) -> None:
        """Of another file in place of this one: what begins at or below the last count is another attempt."""
        self.base, self.done, self.is_lost, self.outer = 0, None, False, progress.outer

    @property
    def count(self) -> int:
        assert self.done is not None
        return self.base + (-(-self.done // self.scale))

    def _goes_back(self, progress: Progress, done: int, last: int) -> bool:
        if done >= last and progress.outer == self.outer:
            return False
        later = len(progress.outer) == len(self.outer) and progress.outer > self.outer
        if progress.outer and progress.outer < self.outer and done <= last:
            self._restart()
            return True
        if later and done > last:
            self.is_overall, self.is_lost = True, False
            return False
        if later and not (self.is_overall or progress.is_global):
            self._next_epoch(progress, last)
            return False
        if done >= last:
            return False
        if (
            not later
            and self.total
            and progress.total == self.total
            and not progress.outer
            and last + max(self.apart, 1) >= self.total
        ):
            self.base += self._length(self.total)
            return False
        if self.first is not None and done > self.first and last - done <= DISORDER * max(self.apart, 1):
            return False
        self._restart()
        return True

    def _next_epoch(self, progress: Progress, last: int) -> None:
        passed = progress.outer[-1] - self.outer[-1] if len(progress.outer) == 1 else 1.0
        if self.total:
            self.base += self._length(self.total) * max(int(passed), 1)
        elif self.apart == 1 and passed == 1:
            self.base += last + (self.first == 0)
        else:
            self.is_lost = True

    def _restart(self) -> None:
        self.base, self.is_lost = 0, False

    def _length(self, total: int) -> int:
        return -(-total // self.scale)

    def _judge(self, progress: Progress, done: int) -> None:
        if progress.is_of_items:
            self.meaning = ITEM
        elif progress.kind is not CounterKind.UNNAMED or self.divisor == 1 or (self.total and done == self.total - 1):
            self.meaning = STEP
        elif self.first and self.lines > 1 and self.apart > self.first and not self.apart % self.first:
            self.meaning, self.scale = STEP, self.first
        elif self.lines >= MIN_COUNTS:
            self.meaning = ITEM


class StepTracker:
    """Of the lines of one file."""

    def __init__(self, state: Sequence[Any] | None = None, is_anew: bool = False) -> None:
        """`is_anew`: the file was replaced."""
        self.is_anew = is_anew
        self._tracks: dict[str, StepCounter] = {}
        self._title: tuple[float, ...] = ()  # the epoch that a heading named
        self._bar = ""  # the track of the bar that is the training's
        self._epochs: StepCounter = StepCounter()  # of lines that name nothing else
        self.unit = ""  # what a step is: step, epoch, generation
        self.step: int | None = None  # of the last line that had one
        self.is_counted = False  # whether any line named more than an epoch
        self.segment = 0
        self._has_parts = False  # objects name a part of an epoch: 0.25, also where one ends: 1
        self._is_named = False  # lines with metrics count by a word
        if (
            state and len(state) != FIELDS
        ):  # of an earlier version, whose last field was the segment: this goes on with the next one
            self.segment = state[-1] + 1 if isinstance(state[-1], int) else 1
        elif state:
            tracks, self._title, self._bar, epochs, self.unit, self.step, *flags = state
            self.is_counted, self.segment, self._has_parts, self._is_named = flags
            self._title = tuple(self._title)
            self._tracks = {name: StepCounter(kept) for name, kept in tracks.items()}
            self._epochs = StepCounter(epochs)

    def state(self) -> list[Any]:
        tracks = {name: track.state() for name, track in self._tracks.items()}
        epochs = self._epochs.state()
        return [
            tracks,
            list(self._title),
            self._bar,
            epochs,
            self.unit,
            self.step,
            self.is_counted,
            self.segment,
            self._has_parts,
            self._is_named,
        ]

    def at(self, line: MetricLine) -> LinePosition:
        """A line that names an epoch alone, or is of a validation, has the last step, where there was one."""
        progress = line.progress
        if progress is None or line.part not in ("", "train"):
            return self._beside(progress)
        if progress.done is None:
            self._has_parts = self._has_parts or (line.is_sure and progress.is_fraction)
            if progress.is_fraction or (line.is_sure and self._has_parts):
                return LinePosition(None, self.segment)
            return self._of_epoch(progress, is_heading=not line.values)
        return self._counted(progress, line)

    def is_of_training(self, progress: Progress) -> bool:
        """Whether a bar is the training's, and not one beside it."""
        return progress.kind is not CounterKind.BAR or progress.counter == self._bar

    def _beside(self, progress: Progress | None) -> LinePosition:
        """Of a line of a validation, or without a count."""
        if progress is not None and progress.done is not None and self._says_step(progress, progress.done):
            return LinePosition(progress.done, self.segment)
        if self.is_counted or self.step is not None:
            return LinePosition(self.step, self.segment)
        epoch = self._title if progress is None or progress.done is not None or progress.is_fraction else progress.outer
        return LinePosition(int(epoch[-1]) if epoch else None, self.segment)

    def _says_step(self, progress: Progress, done: int) -> bool:
        """Whether the count on a validation's line is a step of the training, and not of the validation."""
        is_step = (
            progress.kind is CounterKind.NAMED
            and progress.total is None
            and not progress.outer
            and progress.counter in OF_TRAINING
        )
        return is_step and (self.step is None or done >= self.step)

    def _of_epoch(self, progress: Progress, *, is_heading: bool) -> LinePosition:
        if is_heading:
            self._title = progress.outer
        if self.is_counted:
            return LinePosition(self.step, self.segment)
        if is_heading:
            return LinePosition(int(progress.outer[-1]), self.segment, progress.counter)
        self._anew(self._epochs, progress._replace(done=int(progress.outer[-1]), outer=()))
        self.unit, self.step = progress.counter, self._epochs.count
        return LinePosition(self.step, self.segment)

    def _counted(self, progress: Progress, line: MetricLine) -> LinePosition:
        if self._title and not progress.outer and not progress.is_global:
            progress = progress._replace(outer=self._title)
        track = self._track(progress)
        if track is None:
            return LinePosition(self.step, self.segment)
        if progress.kind is CounterKind.BAR and self._is_named and not line.values:
            return LinePosition(self.step, self.segment)  # lines count the steps
        if (
            progress.kind is CounterKind.BAR
            and track.total != progress.total
            and track.done is not None
            and progress.outer <= track.outer
        ):
            if track.done or not progress.done:
                return LinePosition(self.step, self.segment)  # another bar, of a validation
            track.again(progress)  # a bar within the first one
        self._anew(track, progress)
        if not track.meaning:
            return LinePosition(None, self.segment, ITEM, track.count, is_held=True)
        self.is_counted = self.is_counted or track.meaning == STEP
        self._is_named = self._is_named or (
            progress.kind is not CounterKind.BAR and track.lines > 1 and bool(line.values)
        )
        if progress.kind is CounterKind.BAR and self._bar != progress.counter:
            main = self._tracks.get(self._bar)
            if main is None or track.lines > main.lines + 1:
                self._bar = progress.counter
        if track.meaning == ITEM or track.is_lost:
            self.step = None
            return LinePosition(None, self.segment, ITEM if track.meaning == ITEM else BATCH, track.count)
        self.unit, self.step = STEP, track.count
        return LinePosition(track.count, self.segment, STEP, track.count)

    def _anew(self, track: StepCounter, progress: Progress) -> None:
        if self.is_anew and track.done is not None and progress.done is not None and progress.done <= track.done:
            track.again(progress)
            self.segment += 1
        elif track.take(progress):
            self.segment += 1
            return
        else:
            self.is_anew = False
            return
        track.take(progress)
        self.is_anew = False

    def _track(self, progress: Progress) -> StepCounter | None:
        name = _name(progress)
        if name not in self._tracks and len(self._tracks) >= MAX_TRACKS:
            return None
        return self._tracks.setdefault(name, StepCounter())

    def count_of(self, progress: Progress) -> tuple[int, int]:
        """Of a held line: the steps before its epoch, and its count."""
        assert progress.done is not None
        return self._tracks[_name(progress)].base, progress.done

    def step_of(self, progress: Progress, done: int) -> int:
        """The step of an earlier count in the first epoch."""
        return -(-done // self._tracks[_name(progress)].scale)


def _name(progress: Progress) -> str:
    """Of a track: counts that no word names are told apart by their totals."""
    return f"[{progress.total or ''}]" if progress.counter == "[]" else progress.counter
