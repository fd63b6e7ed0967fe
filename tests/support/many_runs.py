"""Runs that look real, as records: a sweep with losses, validations, a configuration and an end each."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from collectors.records import Event, Points, Record, RunInfo, labels_of
from collectors.store.store import Store

HOST = "gpu-07"
LABELS = labels_of(host=HOST)
DAY_S = 86400.0
MODELS = (("vit-b16", 2.31), ("vit-l16", 2.07), ("vit-s16", 2.55), ("vit-l14", 2.2))
PRECISIONS = ("bf16", "fp16", "fp32")
SERIES = (
    "train/loss",
    "train/grad_norm",
    "train/lr",
    "train/tokens_per_s",
    "train/mfu",
    "memory/peak_gib",
    "phase/data_s",
    "epoch",
)
BATCH = 250  # runs of one commit


def fill(store: Store, number: int, points: int, now_s: float) -> None:
    """`number` runs of about so many points a series, the newest about now."""
    rng = random.Random(7)
    batch: list[Record] = []
    for i in range(number):
        batch += run_records(
            rng, f"sweep/{i:05}-{rng.choice(MODELS)[0]}", points, now_s - 60 - (number - i) * 30 * DAY_S / number
        )
        if i % BATCH == BATCH - 1:
            store.append(batch)
            batch = []
    store.append(batch)


def run_records(
    rng: random.Random,
    name: str,
    points: int,
    started_s: float,
    *,
    end: str = "",
    every: int = 100,
    total: int = 0,
    step_s: float = 0.22,
) -> Iterator[Record]:
    """`end` is the status of its end, "" for one by chance, "none" for a run that goes on."""
    model, floor = next(((model, floor) for model, floor in MODELS if model in name), MODELS[0])
    precision = next((one for one in PRECISIONS if one in name), rng.choice(PRECISIONS))
    lr = rng.choice([1e-4, 3e-4, 6e-4, 1e-3])
    total = total or points * every
    status = end or rng.choices(["finished", "failed", "killed"], [80, 12, 8])[0]
    reached = points if end or status == "finished" else max(2, int(points * rng.random()))
    optimizer = {"name": "adamw", "betas": "0.9, 0.95", "weight_decay": rng.choice([0.05, 0.1])}
    config = {
        "model": model,
        "lr": lr,
        "precision": precision,
        "batch": rng.choice([24, 32, 64]),
        "steps": total,
        "seed": rng.randrange(5),
    }
    commit = f"{rng.randrange(5):x}f9c2{'0' * 34}"
    info = {
        "config": {**config, "optimizer": optimizer},
        "host": HOST,
        "git_commit": commit,
        "git_branch": "main",
        "started_s": started_s,
    }
    yield RunInfo(
        name, {**info, "gpu": "8 x NVIDIA H100 80GB HBM3", "torch": "2.10.0", "python": "3.12.4", "world_size": 8}
    )
    yield Event(name, "start", started_s, fields={"host": HOST, "world_size": 8, "pid": 2**30, "boot_id": "another"})
    bad = rng.random() if status == "failed" else 1.0
    for i in range(reached):
        step, time_s = i * every, started_s + i * every * step_s
        loss = floor + 4.6 * math.exp(-7 * i / points) + lr * 100 * rng.random() * 0.4 + rng.gauss(0, 0.015)
        loss = math.nan if bad < 0.5 and i >= reached - 2 else loss
        speed = 41_000 * (1 + rng.gauss(0, 0.02)) / (2 if precision == "fp32" else 1)
        values = (loss, 0.4 + rng.random(), lr, speed, 0.41, 61.0 + rng.random(), 0.01, i * every / 5000)
        yield Points(name, LABELS, SERIES, values, time_s, step)
        if i % max(1, points // 6) == 0 and i:
            accuracy = 0.9 - 0.6 * math.exp(-4 * i / points) - lr * 20 + rng.gauss(0, 0.004)
            yield Points(name, LABELS, ("val/loss", "val/acc"), (loss * 1.04, accuracy), time_s + 1, step)
    if status != "none":
        reason = {"finished": "", "failed": "RuntimeError: CUDA out of memory", "killed": "Killed by signal 9"}[status]
        yield Event(name, "end", started_s + reached * every * step_s, fields={"status": status, "reason": reason})
