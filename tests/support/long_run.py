"""A run of hours with its steps and its stacks, written at once: a loop fed by two workers that starve it now and then."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from collectors.records import Frame, StackRecording, StackSpan
from collectors.store.engines import open_store

RUN = "long"
PID, WORKERS = 1_000_001, (1_000_002, 1_000_003)  # beyond any pid of this machine
HZ = 100.0
SLICE_S = 10.0  # of the profile, in one record
HEALTHY_S, STARVED_S = 100.0, 20.0  # in turn
NS = 1_000_000_000
FOLDER = "/job"  # of the run's own code


class Step(NamedTuple):
    """One step: where it begins, seconds since the run's start, and how long each phase takes."""

    begin_s: float
    data_s: float
    forward_s: float
    backward_s: float
    optimizer_s: float

    @property
    def end_s(self) -> float:
        return self.begin_s + self.data_s + self.forward_s + self.backward_s + self.optimizer_s


def steps(seconds: float, noise: random.Random) -> Iterator[Step]:
    """Of about 90 ms; of about 300 ms where the workers decode slowly."""
    at_s = 0.0
    while at_s < seconds:
        data_s = 0.2 if at_s % (HEALTHY_S + STARVED_S) > HEALTHY_S else 0.005
        step = Step(at_s, *(part_s * noise.uniform(0.9, 1.1) for part_s in (data_s, 0.03, 0.035, 0.015)))
        yield step
        at_s = step.end_s


def write(log_dir: Path, seconds: float) -> float:
    """The run's log and its profile, the newest at this moment; returns when it began, Unix seconds."""
    begun_s = time.time() - seconds
    folder = log_dir / RUN
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"run": RUN, "cwd": FOLDER, "started_s": begun_s}))
    told = list(steps(seconds, random.Random(1)))
    with (folder / "metrics.jsonl").open("w") as lines:
        lines.writelines(line(number, step, begun_s) for number, step in enumerate(told))
    store = open_store(log_dir / ".deepseek", write=True)
    for profiles in slices(told, begun_s):
        store.append(profiles)
    store.close()
    return begun_s


def line(number: int, step: Step, begun_s: float) -> str:
    phases = {f"phase/{name}": getattr(step, name) for name in ("data_s", "forward_s", "backward_s", "optimizer_s")}
    return json.dumps({"time_s": begun_s + step.end_s, "step": number, "train/loss": 2.0, **phases}) + "\n"


def slices(told: list[Step], begun_s: float) -> Iterator[list[StackRecording]]:
    """The main thread's profile and each worker's, a slice after the other."""
    pending: list[Step] = []
    start_s = 0.0
    for step in told:
        pending.append(step)
        if step.end_s - start_s >= SLICE_S:
            yield [
                profile(pid, role, pending, begun_s)
                for pid, role in ((PID, "main"), *((worker, "worker") for worker in WORKERS))
            ]
            pending, start_s = [], step.end_s


def profile(pid: int, role: str, part: list[Step], begun_s: float) -> StackRecording:
    start_ns, end_ns = round(part[0].begin_s * NS), round(part[-1].end_s * NS)
    spans = [span for step in part for span in (main_spans(step) if role == "main" else worker_spans(step))]
    samples = [StackSpan(round(at_s * NS), round(length_s * NS), pid, stack) for at_s, length_s, stack in spans]
    count = round((end_ns - start_ns) / NS * HZ)
    return StackRecording(
        RUN,
        0,
        pid,
        role,
        "bench",
        "native",
        HZ,
        begun_s + part[0].begin_s,
        start_ns,
        end_ns,
        {pid: "MainThread"},
        samples,
        count,
    )


def own(*names: str) -> tuple[Frame, ...]:
    return tuple(Frame(name, f"{FOLDER}/train.py", 10 * number + 1) for number, name in enumerate(names))


def library(file: str, *names: str) -> tuple[Frame, ...]:
    return tuple(
        Frame(name, f"/usr/lib/python3/site-packages/{file}", 10 * number + 1) for number, name in enumerate(names)
    )


LOADER, FETCH = "torch/utils/data/dataloader.py", "torch/utils/data/_utils/fetch.py"
ROOT = own("<module>", "main", "train_one_epoch")
WAITS = (*ROOT, *library(LOADER, "__next__", "_next_data", "_get_data", "_try_get_data"), Frame("Queue.get", "/usr/lib/python3/multiprocessing/queues.py", 113))  # fmt: skip
LAYERS = [(*ROOT, *library("torch/nn/modules/module.py", "_call_impl"), *own("forward"), *library("torch/nn/modules/linear.py", f"forward{i}")) for i in range(24)]  # fmt: skip
BACKWARD = (*ROOT, *library("torch/autograd/graph.py", "backward", "_run_backward"))
OPTIMIZER = [(*ROOT, *library("torch/optim/adamw.py", "step", f"_update{i}")) for i in range(6)]
LOOP = library("torch/utils/data/_utils/worker.py", "_worker_loop")
IDLE = (*LOOP, Frame("Queue.get", "/usr/lib/python3/multiprocessing/queues.py", 113))
DECODE = (*LOOP, *library(FETCH, "fetch"), Frame("__getitem__", f"{FOLDER}/data.py", 71), Frame("decode_image", f"{FOLDER}/data.py", 88), *library("PIL/ImageFile.py", "load"))  # fmt: skip

Span = tuple[float, float, tuple[Frame, ...]]  # begin and length in seconds, stack


def main_spans(step: Step) -> Iterator[Span]:
    """As a sampler of 100 Hz sees it: a span for every 10 ms of work."""
    at_s = step.begin_s
    yield at_s, step.data_s, WAITS
    at_s += step.data_s
    number = round(step.begin_s / 0.01)
    for length_s, stacks in ((step.forward_s, LAYERS), (step.backward_s, [BACKWARD]), (step.optimizer_s, OPTIMIZER)):
        parts = max(1, round(length_s * HZ))
        for part in range(parts):
            yield at_s, length_s / parts, stacks[(number + part) % len(stacks)]
            at_s += length_s / parts


def worker_spans(step: Step) -> Iterator[Span]:
    works_s = step.data_s + 0.01
    yield step.begin_s, works_s, DECODE
    yield step.begin_s + works_s, step.end_s - step.begin_s - works_s, IDLE
