"""Runs made by hand of stretches of steps that are alike, and the machine below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import pytest

from analysis.blame.verdict import Verdict
from collectors.records import Frame, Labels, Points, RunInfo, StackRecording, StackSpan, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.stacks.stacks import Stacks

T0 = 1_764_000_000.0
TORCH, LIBRARY = "/usr/lib/python3.11/site-packages/torch", "/usr/lib/python3.11"
MODULE, STEP = Frame("<module>", "/job/train.py", 90), Frame("step", "/job/train.py", 40)
DECODE, FORWARD = Frame("decode", "/job/data.py", 88), Frame("forward", "/job/model.py", 7)
OPEN = Frame("ImageFile.load", f"{LIBRARY}/site-packages/PIL/ImageFile.py", 300)
SYNCHRONIZE = Frame("synchronize", f"{TORCH}/cuda/__init__.py", 1000)
REDUCE = Frame("all_reduce", f"{TORCH}/distributed/distributed_c10d.py", 2800)
SAVE, ZIP = Frame("save", f"{TORCH}/serialization.py", 900), Frame("_save", f"{TORCH}/serialization.py", 1200)
Part = tuple[float, tuple[Frame, ...]]  # milliseconds of every step, and where
NORMAL: tuple[Part, ...] = ((10, (MODULE, STEP, DECODE)), (90, (MODULE, STEP, FORWARD)))
SLOW: tuple[Part, ...] = ((110, (MODULE, STEP, DECODE, OPEN)), (90, (MODULE, STEP, FORWARD)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path, write=True)
    yield store
    store.close()


def run(
    store: Store,
    *stretches: tuple[float, tuple[Part, ...]],
    rank: int = 0,
    steps: bool = True,
    sampler: str = "native",
    on_core: Sequence[float | Sequence[float]] = (),
    begun_s: float = 0.0,
) -> None:
    """So many seconds of steps that are alike, each made of its parts; `on_core`: which share of each stretch, or of each of
    its parts, it had a core."""
    now_ns, step = round(begun_s * 1e9), 0
    samples: list[StackSpan] = []
    points: list[Points] = []
    labels = labels_of(host="box", rank=rank or None)
    for (seconds, parts), share in zip_longest(stretches, on_core):
        until_ns = now_ns + round(seconds * 1e9)
        while now_ns < until_ns:
            for (ms, stack), part_share in zip_longest(
                parts, share if isinstance(share, Sequence) else [share] * len(parts)
            ):
                took_ns = round(ms * 1e6)
                cpu_ns = None if part_share is None else round(part_share * took_ns)
                samples.append(
                    StackSpan(now_ns, took_ns, 7 + rank, stack, False if sampler == "native" else None, cpu_ns)
                )
                now_ns += took_ns
            step += 1
            if steps:
                points.append(Points("run", labels, ("train/loss",), (1.0,), T0 + now_ns / 1e9, step + 100))
    about = ("run", rank, 7 + rank, "main", "box", sampler, 100.0)
    since_ns = round(begun_s * 1e9)
    threads = {7 + rank: "MainThread"}
    store.append(
        [StackRecording(*about, T0 + begun_s, since_ns, now_ns, threads, samples, round((now_ns - since_ns) / 1e7))]
    )
    store.append([RunInfo("run", {"run": "run", "cwd": "/job"}), *points])


def blame(store: Store, lo: float, hi: float, **options: int) -> Verdict:
    return Stacks(store).blame("run", (T0 + lo, T0 + hi), **options)


def gpu(store: Store, seconds: int, metric: str, value: float, slow: float, since: float, card: int = 0) -> None:
    labels: Labels = labels_of(gpu=card, host="box", uuid=f"GPU-{card}")
    store.append(
        [Points(None, labels, (metric,), (slow if t >= since else value,), T0 + t, None) for t in range(seconds)]
    )


def machine(store: Store, seconds: int, since: int, busy_pct: float, own_pct: float) -> None:
    """Four cores of which the run keeps one busy, from `since` on as told."""
    for t in range(seconds):
        values = (busy_pct, own_pct) if t >= since else (27.0, 100.0)
        for labels, names, value in (
            (labels_of(host="box"), ("host/cpu_pct",), values[0]),
            (labels_of(host="box", run="run"), ("host/run_cpu_pct",), values[1]),
            *((labels_of(host="box", core=core), ("host/cpu_core_pct",), values[0]) for core in range(4)),
        ):
            store.append([Points(None, labels, names, (value,), T0 + t, None)])
