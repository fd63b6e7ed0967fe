"""What is known of one run: all that its row is made of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from collectors.store.protocol import Outcomes

from ..runs import ALIVE, RunView

STEP_NAMES = (
    "steps",
    "max_steps",
    "total_steps",
    "max_iters",
    "num_steps",
    "train_steps",
    "num_train_steps",
    "iterations",
)
EPOCH_NAMES = ("epochs", "num_epochs", "num_train_epochs", "max_epochs", "n_epochs")


class Outcome(NamedTuple):
    """What became of one series, over all ranks of the run. Numbers are NaN where unknown."""

    points: int
    first_time_s: float
    first_step: float
    last_time_s: float
    last_step: float
    last: float
    least: float
    least_step: float
    most: float
    most_step: float


@dataclass(frozen=True)
class Facts:
    """`now_s` is the moment of the look, for what still grows; `price` is for a GPU and an hour."""

    view: RunView
    config: Mapping[str, object]
    outcomes: Mapping[str, Outcome]
    now_s: float
    price: float = 0.0

    @property
    def name(self) -> str:
        return self.view.stored.name

    @property
    def lives(self) -> bool:
        return self.view.state in ALIVE

    @property
    def duration_s(self) -> float | None:
        view = self.view
        end_s = self.now_s if self.lives else view.ended_s or view.stored.last_time_s
        if view.started_s is None or end_s is None or end_s < view.started_s:
            return None
        return end_s - view.started_s

    @property
    def gpus(self) -> int | None:
        """One a rank, on a machine that has some; None where the run says that it uses none."""
        info, ranks = self.view.stored.info, self.view.ranks
        if not info.get("gpu") or str(self.config.get("device", "cuda")).lower().startswith("cpu"):
            return None
        return ranks.world_size or max(1, len(ranks.seen))

    @property
    def gpu_hours(self) -> float | None:
        gpus, duration_s = self.gpus, self.duration_s
        return None if gpus is None or duration_s is None else gpus * duration_s / 3600

    @property
    def total_steps(self) -> float | None:
        return self._configured(STEP_NAMES)

    @property
    def total_epochs(self) -> float | None:
        return self._configured(EPOCH_NAMES)

    def _configured(self, names: tuple[str, ...]) -> float | None:
        ends = {key.rpartition(".")[2]: value for key, value in reversed([*self.config.items()])} | dict(self.config)
        return next((float(value) for name in names if _is_positive(value := ends.get(name))), None)  # type: ignore[arg-type]


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e300


def by_run(found: Outcomes) -> dict[str, dict[str, Outcome]]:
    """Of several ranks the least, the greatest, and the last of the newest."""
    runs: dict[str, dict[str, Outcome]] = {}
    for run, name, outcome in _outcomes(found):
        of_run = runs.setdefault(run, {})
        before = of_run.get(name)
        of_run[name] = outcome if before is None else _both(before, outcome)
    return runs


def _outcomes(found: Outcomes) -> Iterator[tuple[str, str, Outcome]]:
    numbers = zip(*(column.tolist() for column in found[4:]), strict=True)
    return ((run, name, Outcome._make(row)) for run, name, row in zip(found.run, found.name, numbers, strict=True))


def _both(a: Outcome, b: Outcome) -> Outcome:
    newest = b if _or(b.last_time_s, -math.inf) > _or(a.last_time_s, -math.inf) else a
    low = b if _or(b.least, math.inf) < _or(a.least, math.inf) else a
    high = b if _or(b.most, -math.inf) > _or(a.most, -math.inf) else a
    first_time_s = min(_or(a.first_time_s, math.inf), _or(b.first_time_s, math.inf))
    first_step = min(_or(a.first_step, math.inf), _or(b.first_step, math.inf))
    return Outcome(
        a.points + b.points,
        first_time_s if math.isfinite(first_time_s) else math.nan,
        first_step if math.isfinite(first_step) else math.nan,
        *newest[3:6],
        *low[6:8],
        *high[8:10],
    )


def _or(value: float, other: float) -> float:
    return other if value != value else value
