"""Real trainings of a small model with real RunLog, on a clock of their own: a step takes no time, its log says that it did.

What is written is read by the real tail.
"""

from __future__ import annotations

import math
import random
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.findings.rules import BY_NAME
from collectors.arrays import Floats
from collectors.logs.tail import Tail
from collectors.records import Event, Points, Record, RunInfo
from deepseek.log import RunLog
from tests.planted.windows import GRACE_S, PlantedResult, PlantedWindow, judge, names
from tests.support.judged import T0

WIDTH, BATCH = 16, 32
HEALTHY_S = (45.0, 90.0)
LATE_S = 20.0  # that are made beyond what the rule is allowed


class SmallTraining:
    """A network of two layers learns a fixed function by gradient descent, its gradients clipped to a norm."""

    def __init__(self, seed: int) -> None:
        self.dice = np.random.default_rng(seed)
        self.first = self.dice.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5
        self.second = self.dice.normal(size=WIDTH) / WIDTH**0.5
        self.bias = np.zeros(WIDTH)
        self.truth = self.dice.normal(size=WIDTH)
        self.rate = 0.02

    def batch(self, scale: float = 1.0) -> tuple[Floats, Floats]:
        """Inputs and targets; the latter are `scale` times as large as they should be."""
        x = self.dice.normal(size=(BATCH, WIDTH))
        return x, scale * (np.tanh(x @ self.truth) + 0.3 * self.dice.normal(size=BATCH))

    def loss(self, x: Floats, y: Floats) -> float:
        return float(np.mean((np.tanh(x @ self.first + self.bias) @ self.second - y) ** 2))

    def step(self, x: Floats, y: Floats, clip: float = 1.0, factor: float = 1.0) -> dict[str, float]:
        """`factor` multiplies the loss before its gradients are taken, as GradScaler does."""
        hidden = np.tanh(x @ self.first + self.bias)
        wrong = hidden @ self.second - y
        of_output = 2 * factor / BATCH * wrong
        of_hidden = np.outer(of_output, self.second) * (1 - hidden**2)
        gradients = [x.T @ of_hidden, hidden.T @ of_output, of_hidden.sum(0)]
        norms = [float(np.sqrt(np.sum(gradient**2))) for gradient in gradients]
        norm = math.sqrt(sum(each**2 for each in norms))
        least = self.rate * min(1.0, clip / norm if norm else 1.0)
        for weight, gradient in zip((self.first, self.second, self.bias), gradients, strict=True):
            weight -= least * gradient
        layers = {f"grads/layer{number}": each for number, each in enumerate(norms[:2])}
        return {"train/loss": float(np.mean(wrong**2)), "train/grad_norm": norm, **layers}


class MovedLoop:
    """What a program of a cause works with: its log, its dice, its clock, and when it is to fail."""

    def __init__(self, log: RunLog, dice: random.Random, seed: int) -> None:
        self.log, self.dice, self.model = log, dice, SmallTraining(seed)
        self.step_s = math.exp(dice.uniform(math.log(0.05), math.log(0.25)))
        self.now_s = T0 + dice.uniform(1, 10)
        self.planted_s = T0 + dice.uniform(*HEALTHY_S)  # a program may say otherwise
        self.data_s = 0.0
        self.step = 0
        self.has_ended = False  # by itself, and not because enough was seen
        self.what: dict[str, object] = {"step_s": round(self.step_s, 3)}
        self.info: dict[str, object] = {}  # of its run.json, as far as a rule reads it
        self.loss_name = dice.choice(["train/loss", "loss", "train_loss", "nll"])

    @property
    def is_ill(self) -> bool:
        return self.now_s >= self.planted_s

    def took(self, seconds: float) -> None:
        """Time passes."""
        self.now_s += seconds

    def write(self, values: dict[str, float]) -> None:
        named = {self.loss_name if name == "train/loss" else name: value for name, value in values.items()}
        self.log.scalars_at(self.now_s, self.step, named)
        self.step += 1

    def event(self, kind: str, **fields: object) -> None:
        self.log.event(kind, time_s=self.now_s, step=self.step, **fields)

    def train(self) -> dict[str, float]:
        """A healthy step, which takes its usual time."""
        self.took(self.step_s * self.dice.lognormvariate(0, 0.05))
        return self.model.step(*self.model.batch())


Program = Callable[[MovedLoop], Iterator[None]]
"""A step at each turn; it may raise, as a script does."""


class TrainingCause(NamedTuple):
    """A rule and a program that is to trip it."""

    rule: str
    name: str
    program: Program
    healthy_s: tuple[float, float] = HEALTHY_S


def judged(folder: Path, cause: TrainingCause, many: int, dice: random.Random) -> PlantedResult:
    """All runs at once."""
    drawn = windows(cause, names(dice, many), dice, BY_NAME[cause.rule].needs_s + GRACE_S)
    return judge(folder, cause.rule, drawn, cause=cause.name)


def windows(cause: TrainingCause, runs: Sequence[str], dice: random.Random, allowed_s: float) -> list[PlantedWindow]:
    """Runs the program once for each of the runs; its files are read by the tail."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        loops = {name: _run(cause, Path(folder), name, random.Random(dice.random()), allowed_s) for name in runs}
        rows: dict[str, list[tuple[float, Record]]] = {name: [] for name in runs}
        for record in _read(Path(folder)):
            loop = loops[str(record.run)]
            if isinstance(record, Event) and record.kind == "end" and loop.has_ended:
                record = record._replace(time_s=loop.now_s)
            if not isinstance(record, Event) or record.kind != "end" or loop.has_ended:
                rows[str(record.run)].append((float(record.time_s or 0.0), record))
    return [_window(name, loop, rows[name]) for name, loop in loops.items()]


def _read(folder: Path) -> Iterator[Points | Event]:
    tail = Tail(folder, "box", {}, threading.Event(), poll_only=True)
    while records := tail.collect():
        yield from (record for record in records if isinstance(record, (Points, Event)))
    tail.close()


def _window(name: str, loop: MovedLoop, rows: list[tuple[float, Record]]) -> PlantedWindow:
    kept = [row for row in rows if not (isinstance(row[1], Event) and row[1].kind == "start")]
    if loop.info:
        kept.append((0.0, RunInfo(name, loop.info)))
    what = ", ".join(f"{key} {value}" for key, value in loop.what.items())
    ends_s = loop.now_s if loop.has_ended else math.inf
    return PlantedWindow(
        name, loop.planted_s, iter(sorted(kept, key=lambda row: row[0])), loop.data_s, T0, 1, ends_s, what
    )


def _run(cause: TrainingCause, folder: Path, name: str, dice: random.Random, allowed_s: float) -> MovedLoop:
    log = RunLog(folder, name)
    loop = MovedLoop(log, dice, dice.randrange(1 << 30))
    loop.planted_s = T0 + dice.uniform(*cause.healthy_s)
    error: BaseException | None = None
    try:
        for _ in cause.program(loop):
            if loop.now_s > loop.planted_s + max(allowed_s, loop.data_s + GRACE_S) + LATE_S:
                log.close()
                return loop
    except Exception as raised:
        error = raised
    loop.has_ended = True
    log.close_after(error)
    return loop
