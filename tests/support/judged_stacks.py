"""Stacks of described programs for the rules that read them: what a main thread and its neighbours stand at, second by second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from collectors.records import Frame, StackRecording, StackSpan
from tests.support.judged import HOST

SITE = "/venv/lib/python3.11/site-packages"
LIB = "/usr/lib/python3.11"
MODULE, LOOP = Frame("<module>", "/job/train.py", 90), Frame("train", "/job/train.py", 40)
LINEAR = Frame("linear", f"{SITE}/torch/nn/functional.py", 9)
DECODE, WRITE_LOG, MASK = (
    Frame("decode_image", "/job/data.py", 88),
    Frame("write_log", "/job/train.py", 70),
    Frame("mask", "/job/model.py", 7),
)
LOADER = Frame("_MultiProcessingDataLoaderIter._try_get_data", f"{SITE}/torch/utils/data/dataloader.py", 1291)
ALL_REDUCE = Frame("all_reduce", f"{SITE}/torch/distributed/distributed_c10d.py", 2900)
SYNCHRONIZE = Frame("synchronize", f"{SITE}/torch/cuda/__init__.py", 5)
SAVE = Frame("save", f"{SITE}/torch/serialization.py", 900)
COMPILE = Frame("compile_inner", f"{SITE}/torch/_dynamo/convert_frame.py", 700)
PIECE_S = 5.0  # of a profile


class Part(NamedTuple):
    """Of a thread's repeated pattern."""

    ms: int
    stack: tuple[Frame, ...]
    gil: bool | None = False
    running: float = 1.0  # share of a core


def of_loop(*frames: Frame) -> tuple[Frame, ...]:
    return (MODULE, LOOP, *frames)


BUSY = (Part(100, of_loop(LINEAR)),)


def profile(
    run: str,
    lo_s: float,
    parts: Sequence[Part],
    *,
    seconds: float = PIECE_S,
    rank: int = 0,
    pid: int = 7,
    role: str = "main",
    others: Sequence[Sequence[Part]] = (),
) -> StackRecording:
    """Of one process; `others` are its other threads."""
    samples: list[StackSpan] = []
    for number, pattern in enumerate([parts, *others]):
        samples += _samples(pid + number, pattern, round(seconds * 1000))
    threads = {pid: "MainThread", **{pid + number: f"Thread-{number}" for number in range(1, len(others) + 1)}}
    return StackRecording(
        run, rank, pid, role, HOST, "native", 100.0, lo_s, 0, round(seconds * 1e9), threads, samples, len(samples)
    )


def _samples(tid: int, parts: Sequence[Part], total_ms: int) -> list[StackSpan]:
    samples, at_ms, place = [], 0, 0
    while at_ms < total_ms:
        part = parts[place % len(parts)]
        ms = min(part.ms, total_ms - at_ms)
        samples.append(
            StackSpan(at_ms * 1_000_000, ms * 1_000_000, tid, part.stack, part.gil, int(part.running * ms * 1e6))
        )
        at_ms, place = at_ms + ms, place + 1
    return samples
