"""A training on the card, else on the CPU, that knows where its time goes: python -m tests.gpu.training LOGS RESULT FIRST CAUSE HEALTHY [NAME ...]

It is healthy until a line comes on standard input, and FIRST seconds longer; then each named cause is on for CAUSE seconds, with HEALTHY
seconds behind it. Without a name it is healthy until its standard input ends. RESULT gets its steps, what the host was at when, and when the card ran kernels by torch.profiler.
"""

from __future__ import annotations

import io
import json
import select
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from deepseek.log import RunLog
from tests.gpu.losses import (
    LOST_S,
    NOISE,
    Images,
    Lock,
    count_words,
    decode_image,
    make_garbage,
    on,
    tokenize_forever,
    write_log,
)
from tests.gpu.planted import CAUSES, RUN, Timing, Turn, turns_of
from tests.gpu.profiling import Profiled
from trainer.measure import Instruments

STEP_S = 0.02  # of work for the device
WIDTH = {"cuda": 2048, "cpu": 128}
LAYERS = 8
EACH = 10  # checkpoints and validations are at each tenth step, and take so many times as long
KERNELS, READS = 1500, 300
COPIED_BYTES = 256 << 20
PHASES = {"data", "log", "checkpoint", "validation"}


class Regions:
    """What the host was at: kind, begin and end in Unix seconds, and of the thread the seconds on a core and waiting for one."""

    def __init__(self, on_card: bool) -> None:
        self.rows: list[tuple[str, float, float, float, float]] = []
        self._on_card = on_card  # then the host's own waits do not matter, and are not read

    @contextmanager
    def __call__(self, kind: str) -> Iterator[None]:
        begin_s, cpu_s, queued_s = time.time(), time.thread_time(), self._queued_s()
        yield
        queued_s, cpu_s = self._queued_s() - queued_s, time.thread_time() - cpu_s
        self.rows.append((kind, begin_s, time.time(), cpu_s, queued_s))

    def _queued_s(self) -> float:
        return 0.0 if self._on_card else int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


class Training:
    def __init__(self, device: torch.device, regions: Regions) -> None:
        torch.manual_seed(0)
        self.device, self.at = device, regions
        self.turns: tuple[Turn, ...] = ()
        width = WIDTH[device.type]
        self.model = nn.Sequential(
            *(layer for _ in range(LAYERS) for layer in (nn.Linear(width, width), nn.GELU()))
        ).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.batch = torch.rand(64, width, device=device)
        self.small = torch.ones(64, 64, device=device)
        self.file = io.StringIO()
        self.garbage: list[list[int]] = []
        self.host = torch.ones(COPIED_BYTES if device.type == "cuda" else 1, dtype=torch.uint8)
        self.weights = {"ballast": torch.ones(5_000_000)}
        self._fit()

    def begin(self, turns: tuple[Turn, ...]) -> None:
        """From now on, the causes have their turns."""
        self.turns, self.lock = turns, Lock(turns)
        threading.Thread(target=tokenize_forever, args=(turns,), name="tokenizer", daemon=True).start()
        if any(turn.cause == "workers" for turn in turns):
            self.batches = iter(DataLoader(Images(turns), batch_size=1, num_workers=1, prefetch_factor=2))

    def _fit(self) -> None:
        """The batch as large as makes a step of STEP_S."""
        for _ in range(4):
            taken = [self._timed_s() for _ in range(5)]
            rows = max(1, min(1 << 17, round(len(self.batch) * STEP_S / statistics.median(taken))))
            self.batch = torch.rand(rows, self.batch.shape[1], device=self.device)

    def _timed_s(self) -> float:
        begun_s = time.perf_counter()
        self.learn()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun_s

    def learn(self) -> Tensor:
        loss = (self.model(self.batch) - self.batch).square().mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def step(self, number: int, phases: Any) -> Tensor | None:
        def at(kind: str) -> Any:
            return self._logged(kind, phases[kind]) if kind in PHASES else self.at(kind)

        is_on = {turn.cause for turn in self.turns if on(turn.cause, (turn,))}
        with at("data"):
            if "decoding" in is_on:
                decode_image()
            if "workers" in is_on:
                next(self.batches)
        loss = None
        if "copies" in is_on:
            with at("copy"):
                self.upload()
        if "syncs" in is_on:
            self.read_losses()
        elif "launches" in is_on:
            with at("launch"):
                self.many_small_kernels()
        else:
            with at("launch"):
                loss = self.learn()
        if "python" in is_on:
            with at("python"):
                count_words()
        if "lock" in is_on:
            with at("lock"):
                self.lock.take_turn()
        if "garbage" in is_on:
            with at("gc"):
                make_garbage(self.garbage)
        if "logging" in is_on:
            with at("log"):
                write_log(self.file)
        if "checkpoints" in is_on and number % EACH == 0:
            with at("checkpoint"):
                self.save_checkpoint()
        if "validation" in is_on and number % EACH == 0:
            with at("validation"):
                self.validate()
        return loss

    @contextmanager
    def _logged(self, kind: str, phase: Any) -> Iterator[None]:
        with phase, self.at(kind):
            yield

    def upload(self) -> None:
        self.host.to(self.device)

    def read_losses(self) -> None:
        """A small kernel, and a wait for it, again and again."""
        for _ in range(READS):
            with self.at("launch"):
                loss = (self.small @ self.small).mean()
            with self.at("sync"):
                loss.item()

    def many_small_kernels(self) -> None:
        for _ in range(KERNELS):
            nn.functional.layer_norm(self.small, self.small.shape[-1:])

    def save_checkpoint(self) -> None:
        until_s = time.thread_time() + EACH * LOST_S / 2
        while time.thread_time() < until_s:
            torch.save(self.weights, io.BytesIO())

    def validate(self) -> None:
        until_s = time.thread_time() + EACH * LOST_S / 2
        while time.thread_time() < until_s:
            np.sort(NOISE)


def main(logs: str, result: str, first: str, cause: str, healthy: str, *names: str) -> None:
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    timing = Timing(float(first), float(cause), float(healthy))
    chosen = [cause.name for cause in CAUSES if cause.name in names and (device.type == "cuda" or not cause.needs_card)]
    regions, steps = Regions(device.type == "cuda"), list[tuple[float, float]]()
    training = Training(device, regions)
    profile = Profiled(training) if device.type == "cuda" and chosen else None
    end_s = float("inf")
    with RunLog(logs, RUN, allow_profiling=True) as log, Instruments(log, device) as instruments:
        print("ready", flush=True)
        number = 0
        while time.time() < end_s:
            if not training.turns and _has_input():
                if not (sys.stdin.readline() and chosen):
                    break
                training.begin(tuple(turns_of(chosen, time.time(), timing)))
                end_s = training.turns[-1].end_s + timing.healthy_s
            begin_s = time.time()
            if profile:
                profile.look()
            loss = training.step(number, instruments.phases)
            instruments.end_step(number, {} if loss is None else {"train/loss": loss})
            steps.append((begin_s, time.time()))
            if not training.turns:
                regions.rows.clear()
            number += 1
    kernels = profile.kernels() if profile else None
    found = {
        "turns": training.turns,
        "steps": steps,
        "regions": regions.rows,
        "kernels": kernels,
        "device": device.type,
    }
    Path(result).write_text(json.dumps(found))


def _has_input() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
