"""Trainings that are well, each in its own way: what the findings are to keep silent about.

python good_runs.py <log folder> <kind> <seconds>     a kind is a function of this file: noisy, cyclic, warm_up, ...
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import nn

from deepseek.log import RunLog

DEVICE_S = 0.15  # of a step, as if a GPU worked


class Task:
    """A small regression whose targets have noise, and its training step."""

    def __init__(self, *, batch: int = 32, noise: float = 0.3, lr: float = 3e-3, tail: float = 0.0) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 1))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr)
        self.truth = torch.randn(32)
        self.batch, self.noise, self.tail = batch, noise, tail
        self.grad_norm = 0.0

    def data(self, count: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(count or self.batch, 32)
        noise = self.noise * torch.randn(len(x))
        if self.tail:
            noise = noise * (1 + self.tail * torch.distributions.StudentT(3.0).sample((len(x),)).abs())
        return x, torch.tanh(x @ self.truth / 4) + noise

    def loss(self, count: int | None = None) -> torch.Tensor:
        x, y = self.data(count)
        return (self.model(x)[:, 0] - y).square().mean()

    def step(self, clip: float = 1e9) -> float:
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        self.grad_norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), clip))
        self.optimizer.step()
        time.sleep(DEVICE_S * random.uniform(0.95, 1.05))
        return float(loss.item())

    def validate(self, batches: int = 10) -> float:
        with torch.no_grad():
            losses = [self.loss(64).item() for _ in range(batches)]
        time.sleep(0.1 * batches)
        return float(sum(losses) / batches)


def steps(seconds: float, first: int = 0) -> Iterator[int]:
    until_s, step = time.monotonic() + seconds, first
    while time.monotonic() < until_s:
        yield step
        step += 1


def noisy(log: RunLog, seconds: float) -> None:
    """Heavy tails in the loss; the norm is logged."""
    task = Task(batch=8, tail=1.5)
    for step in steps(seconds):
        loss = task.step(clip=1.0)
        log.scalars(step, {"train/loss": loss, "train/grad_norm": task.grad_norm})


def cyclic(log: RunLog, seconds: float) -> None:
    """Warm restarts of the learning rate, at each of which the loss rises."""
    task = Task(lr=2e-2)
    for step in steps(seconds):
        rate = 2e-2 * 0.5 * (1 + math.cos(math.pi * (step % 300) / 300)) + 1e-4
        for group in task.optimizer.param_groups:
            group["lr"] = rate
        log.scalars(step, {"train/loss": task.step(), "train/lr": rate, "train/grad_norm": task.grad_norm})


def warm_up(log: RunLog, seconds: float) -> None:
    """Warm-up, with validations and checkpoints of the usual kind."""
    task = Task()
    for step in steps(seconds):
        for group in task.optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 200)
        log.scalars(step, {"train/loss": task.step()})
        if step % 150 == 149:
            with log.phase("validation"):
                loss = task.validate()
            log.scalars(step, {"val/loss": loss})
        if step % 400 == 399:
            begun_s = time.monotonic()
            with log.phase("checkpoint"):
                torch.save(task.model.state_dict(), log.folder / "model.pt")
                time.sleep(0.8)
            log.event("checkpoint", step=step, seconds=time.monotonic() - begun_s)


def evaluation(log: RunLog, seconds: float) -> None:
    """Long evaluations that no event marks."""
    task = Task()
    for step in steps(seconds):
        log.scalars(step, {"loss": task.step()})
        if step % 200 == 199:
            log.scalars(
                step,
                {
                    "eval/loss": task.validate(40),
                    "eval/accuracy": 1 - 0.5 * math.exp(-step / 500) + random.gauss(0, 0.01),
                },
            )


def resumed(log: RunLog, seconds: float) -> None:
    """Goes back to its last checkpoint in the middle."""
    task, half = Task(), seconds / 2
    last = 0
    for step in steps(half):
        log.scalars(step, {"train/loss": task.step()})
        last = step
        if step % 100 == 99:
            log.event("checkpoint", step=step, seconds=0.01)
    for step in steps(half, last - last % 100):
        log.scalars(step, {"train/loss": task.step()})
        if step % 100 == 99:
            log.event("checkpoint", step=step, seconds=0.01)


def attempts(log: RunLog, seconds: float) -> None:
    """Ends itself after a while and is started again, as after a pre-emption: `main` calls this in processes of their own."""
    task, path = Task(), log.folder / "last.pt"
    saved = torch.load(path) if path.exists() else {"step": 0}
    first = int(saved["step"])
    if first:
        task.model.load_state_dict(saved["model"])
        task.optimizer.load_state_dict(saved["optimizer"])
    for step in steps(seconds, first):
        log.scalars(step, {"train/loss": task.step(), "train/grad_norm": task.grad_norm})
        if step % 50 == 49:
            torch.save(
                {"step": step + 1, "model": task.model.state_dict(), "optimizer": task.optimizer.state_dict()}, path
            )
            log.event("checkpoint", step=step, seconds=0.02)


def small_batches(log: RunLog, seconds: float) -> None:
    """One sample a step, every step logged."""
    task = Task(batch=1, lr=1e-3)
    for step in steps(seconds):
        log.scalars(step, {"train/loss": task.step(), "train/grad_norm": task.grad_norm})


def varying_length(log: RunLog, seconds: float) -> None:
    """A busy host and batches of all lengths: a step takes half or twice as long."""
    task = Task()
    for step in steps(seconds):
        length = random.lognormvariate(0, 0.5)
        loss = task.step()
        time.sleep(0.1 * length)
        log.scalars(step, {"train/loss": loss, "tokens": 512 * length})


def bf16(log: RunLog, seconds: float) -> None:
    """Autocast, clipped all the time."""
    task = Task()
    for step in steps(seconds):
        with torch.autocast("cpu", torch.bfloat16):
            loss = task.step(clip=0.1)
        if step % 10 == 0:
            log.scalars(step, {"train/loss": loss, "train/grad_norm": min(task.grad_norm, 0.1)})


def scaler(log: RunLog, seconds: float) -> None:
    """A GradScaler that grows until it overflows, and backs off once each time."""
    task, scale, grown = Task(), 65536.0 * 64, 0
    for step in steps(seconds):
        loss = task.step()
        overflows = scale * task.grad_norm * random.lognormvariate(0, 0.2) > 3e6
        scale, grown = (scale / 2, 0) if overflows else (scale, grown + 1)
        if grown == 250:
            scale, grown = scale * 2, 0
        log.scalars(
            step,
            {
                "train/loss": loss,
                "train/loss_scale": scale,
                "train/grad_norm": math.inf if overflows else task.grad_norm,
            },
        )


def rewards(log: RunLog, seconds: float) -> None:
    """Rewards that rise and fall, losses of both signs."""
    task, level = Task(batch=4), 0.0
    for step in steps(seconds):
        task.step()
        level += random.gauss(0.02, 0.3)
        policy, value = random.gauss(0, 0.02), random.lognormvariate(0, 0.7)
        reward = level + 5 * random.gauss(0, 1) * (random.random() < 0.9)
        log.scalars(
            step,
            {
                "policy/loss": policy,
                "value/loss": value,
                "episode/reward": reward,
                "entropy": 1.4 * math.exp(-step / 2000),
            },
        )


def adversarial(log: RunLog, seconds: float) -> None:
    """Two losses against each other."""
    task = Task(batch=16)
    for step in steps(seconds):
        task.step()
        swing = math.sin(step / 40)
        log.scalars(
            step,
            {
                "loss/generator": 2 + swing + random.expovariate(2),
                "loss/discriminator": 0.7 - 0.3 * swing + 0.1 * random.random(),
            },
        )


def cadences(log: RunLog, seconds: float) -> None:
    """Losses of different cadence; each step is logged twice."""
    task = Task()
    for step in steps(seconds):
        loss = task.step()
        log.scalars(step, {"train/loss": loss})
        log.scalars(step, {"train/aux_loss": 0.1 * loss + 0.01 * random.random()})
        if step % 50 == 0:
            log.scalars(
                step,
                {
                    "train/loss_smooth": loss,
                    "val/loss": task.validate(2),
                    "memory/allocated": 2e9 + 1e6 * random.random(),
                },
            )


def data_parallel(log: RunLog, seconds: float) -> None:
    """Two ranks over gloo."""
    import torch.distributed as dist

    dist.init_process_group("gloo")
    task = Task()
    until_s = torch.tensor([time.time() + seconds], dtype=torch.float64)
    dist.broadcast(until_s, 0)
    step, goes_on = 0, torch.ones(1)
    while goes_on:
        loss = task.step()
        for parameter in task.model.parameters():
            dist.all_reduce(parameter.grad)
        log.scalars(step, {"train/loss": loss})
        step += 1
        goes_on = torch.tensor([float(time.time() < until_s)])
        dist.all_reduce(goes_on, dist.ReduceOp.MIN)
    dist.destroy_process_group()


def jsonl(folder: Path, seconds: float) -> None:
    """A file of its own, with loss and norm every ten steps."""
    task = Task()
    with (folder / "metrics.jsonl").open("a") as file:
        for step in steps(seconds):
            loss = task.step()
            if step % 10 == 0:
                print(json.dumps({"step": step, "loss": loss, "grad_norm": task.grad_norm}), file=file, flush=True)


def prints(folder: Path, seconds: float) -> None:
    """Lines of text and nothing else."""
    task = Task()
    with (folder / "train.log").open("a") as file:
        for step in steps(seconds):
            loss = task.step()
            if step % 20 == 0:
                print(
                    f"{time.strftime('%H:%M:%S')} step {step:6d} | loss {loss:.4f} | {DEVICE_S * 1000:.0f} ms/step",
                    file=file,
                    flush=True,
                )


LOGGED: dict[str, Callable[[RunLog, float], None]] = {
    kind.__name__: kind
    for kind in (
        *(noisy, cyclic, warm_up, evaluation, resumed, attempts, small_batches, varying_length),
        *(bf16, scaler, rewards, adversarial, cadences, data_parallel),
    )
}
PLAIN: dict[str, Callable[[Path, float], None]] = {kind.__name__: kind for kind in (jsonl, prints)}
KINDS = (*LOGGED, *PLAIN)


def main(log_dir: str, kind: str, seconds: str) -> None:
    torch.set_num_threads(1)
    random.seed(hash((kind, os.environ.get("RANK"))))
    if kind == "attempts" and not os.environ.get("ATTEMPT"):
        for attempt in ("1", "2", "3"):
            subprocess.run(
                [sys.executable, __file__, log_dir, kind, str(float(seconds) / 3)],
                env={**os.environ, "ATTEMPT": attempt},
                check=True,
            )
    elif kind in LOGGED:
        with RunLog(log_dir, run=kind) as log:
            LOGGED[kind](log, float(seconds))
    else:
        folder = Path(log_dir) / kind
        folder.mkdir(parents=True, exist_ok=True)
        PLAIN[kind](folder, float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:4])
