"""Find the metrics that a training prints: `step 400: train loss 1.2, lr 3e-4` -> `train_loss` and `lr` at step 400.

Precise rather than eager. A line must name its step or epoch (or be tqdm's bar), and a key must have stood on three lines with a
growing step before it becomes a series, which then has those three points, too. Hosts, paths, versions, dates, sizes with a unit and
whole numbers that never change are no metrics. The series are labelled `source=text`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ....records import Labels, Points, labels_of
from ..jsonl import BACKWARD_STEPS
from .metric_lines import LineReader, Progress

LABEL = labels_of(source="text")
SIGHTINGS = 3  # lines with a growing step, before a key is a series
MAX_CHARS = 1_000  # of a line that is looked at
MAX_KEYS, MAX_PENDING, MAX_REFUSED = 100, 200, 1_000  # of one file: series; keys that may become one; keys that must not


class Sighting(NamedTuple):
    """Of a key that is no series yet."""

    step: int
    time_s: float | None
    value: float


class TextNumbers:
    """The metrics of one text log."""

    def __init__(
        self,
        run: str,
        labels: Labels,
        fault: Callable[[str], str] = lambda name: "",
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """`fault` says why a series of that name is left out, "" where it is kept."""
        state = state or {}
        self._run, self._fault = run, fault
        self._labels: Labels = tuple(sorted((*labels, *LABEL)))
        self._keys: dict[str, None] = dict.fromkeys(state.get("names", ()))
        self._refused: dict[str, None] = dict.fromkeys(state.get("refused", ()))
        self._pending: dict[str, list[Sighting]] = {
            key: [Sighting(step, time_s, float(value)) for step, time_s, value in seen]
            for key, seen in state.get("pending", {}).items()
        }
        self._steps = Steps(state.get("steps"), is_anew=state.get("anew", False))
        self._lines = LineReader()

    def state(self) -> dict[str, Any]:
        return {
            "names": list(self._keys),
            "refused": list(self._refused),
            "pending": {
                key: [[found.step, found.time_s, str(found.value)] for found in seen] for key, seen in self._pending.items()
            },
            "steps": self._steps.state(),
            **({"anew": True} if self._steps.is_anew else {}),
        }

    def points(self, text: str, time_s: float | None) -> list[Points]:
        """Of one line without colours, which `names_a_step`."""
        line = self._lines.read(text) if len(text) <= MAX_CHARS else None
        if line is None:
            return []
        values, step = line.values, self._steps.at(line.progress)
        if self._keys.keys() >= values.keys():
            return [self._as_points(values, time_s, step)]
        ready = {key: value for key, value in values.items() if key in self._keys}
        found: list[Points] = []
        for key in values:
            if key not in ready:
                seen = self._consider(key, Sighting(step, time_s, values[key]))
                found += [self._as_points({key: number.value}, number.time_s, number.step) for number in seen]
        if ready:
            found.append(self._as_points(ready, time_s, step))
        return found

    def _as_points(self, values: Mapping[str, float], time_s: float | None, step: int) -> Points:
        return Points(self._run, self._labels, tuple(values), tuple(values.values()), time_s, step, self._steps.segment)

    def _consider(self, key: str, now: Sighting) -> list[Sighting]:
        """All sightings of a key that has become a series with this one."""
        if key in self._refused:
            return []
        seen = self._pending.pop(key, [])
        if seen and now.step <= seen[-1].step:
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
        self._keys[key] = None
        return True


class Steps:
    """The step of each line, which goes on where the count of an epoch begins again."""

    def __init__(self, state: list[Any] | None = None, is_anew: bool = False) -> None:
        """`is_anew`: the file was replaced. What begins at or below its last step is another attempt."""
        self.is_anew = is_anew
        self._base = self._done = self._step = self._lines = 0
        self._total: int | None = None
        self._epoch: float | None = None
        self._counted = False  # whether any line named a step and not only an epoch
        self.segment = 0
        if state:
            self._base, self._done, self._step, self._lines, self._total, self._epoch, self._counted, self.segment = state

    def state(self) -> list[Any]:
        return [self._base, self._done, self._step, self._lines, self._total, self._epoch, self._counted, self.segment]

    def at(self, progress: Progress) -> int:
        """A line that names an epoch alone has the last step, where there was one; a part of an epoch counts lines."""
        if progress.done is not None:
            step = self._counted_step(progress, progress.done)
        elif self._counted:
            return self._step
        elif progress.epoch is not None and progress.epoch.is_integer() and not self._lines:
            step = int(progress.epoch)
        else:
            self._lines += 1
            step = self._lines
        if step < self._step - BACKWARD_STEPS or (self.is_anew and step <= self._step):
            self.segment += 1
        self._step, self.is_anew = step, False
        return step

    def _counted_step(self, progress: Progress, done: int) -> int:
        if self.is_anew and done <= self._done:
            self._base, self._done, self._total = 0, 0, progress.total
        elif not self._counted:
            self._total = progress.total
        elif progress.is_bar and progress.total != self._total:
            return self._step  # another bar, of a validation
        elif done < self._done:
            later = progress.epoch is not None and self._epoch is not None and progress.epoch > self._epoch
            if later or (progress.total is not None and progress.total == self._total and progress.epoch is None):
                self._base += progress.total or self._done
            else:
                self._base = 0
        self._counted, self._done, self._epoch = True, done, progress.epoch
        return self._base + done


def _is_constant(seen: list[Sighting]) -> bool:
    """A whole number that stays the same: a rank, a size, a port."""
    first = seen[0].value
    return first.is_integer() and all(number.value == first for number in seen)
