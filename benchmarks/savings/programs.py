"""Trainings with a cause of lost time that is always there, or never: a cause is a function of this file whose name is in CAUSES."""

from __future__ import annotations

import bz2
import copy
import gc
import json
import multiprocessing
import os
import queue
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.queues import Queue
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from deepseek.log import RunLog

Step = Callable[[int], float]


class Model:
    """A small network and its training step of some milliseconds."""

    def __init__(self, width: int = 256, batch: int = 64) -> None:
        self.net = nn.Sequential(
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 8)
        )
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        self.batch = torch.randn(batch, width)

    def step(self, batch: torch.Tensor | None = None) -> float:
        self.optimizer.zero_grad()
        loss: torch.Tensor = self.net(self.batch if batch is None else batch).square().mean()
        loss.backward()
        self.optimizer.step()
        return float(loss.item())


# -- in the loop -------------------------------------------------------------------------------------------------------


def fsync(ill: bool, folder: Path) -> Step:
    """Each step appends its predictions and waits for the disk."""
    model, file = Model(), (folder / "predictions.bin").open("wb")
    block = os.urandom(1 << 20)

    def append() -> None:
        file.seek(0)
        file.write(block)
        file.flush()
        os.fsync(file.fileno())

    def step(number: int) -> float:
        loss = model.step()
        if ill:
            append()
        return loss

    return step


def regex(ill: bool, folder: Path) -> Step:
    model, text = Model(), "the quick brown fox jumps over the lazy dog " * 12000

    def split_sentences() -> int:
        return len(re.findall(r"(?:\w+\s){5,}?\w+", text))

    def step(number: int) -> float:
        if ill:
            split_sentences()
        return model.step()

    return step


def best_state(ill: bool, folder: Path) -> Step:
    """Each step copies the model, in case it is the best."""
    model = Model()
    kept: list[object] = []

    def keep_if_better() -> None:
        kept[:] = [copy.deepcopy(model.net.state_dict()), copy.deepcopy(model.optimizer.state_dict())]

    def step(number: int) -> float:
        loss = model.step()
        if ill:
            keep_if_better()
        return loss

    return step


def rescan(ill: bool, folder: Path) -> Step:
    """Each step looks at all files of a folder."""
    model = Model()
    for number in range(2000):
        (folder / f"{number}.txt").write_text("x")

    def scan() -> int:
        size = 0
        for file in folder.iterdir():
            size += file.stat().st_size
        return size

    def step(number: int) -> float:
        if ill:
            scan()
        return model.step()

    return step


def small_calls(ill: bool, folder: Path) -> Step:
    """Gradients are clipped row by row: a thousand small calls of PyTorch a step."""
    model = Model()

    def clip_gradients() -> None:
        for parameter in model.net.parameters():
            assert parameter.grad is not None
            for row in parameter.grad:
                norm = row.norm()
                row.mul_(torch.clamp(1.0 / (norm + 1e-6), max=1.0))

    def step(number: int) -> float:
        model.optimizer.zero_grad()
        loss = model.net(model.batch).square().mean()
        loss.backward()
        if ill:
            clip_gradients()
        model.optimizer.step()
        return float(loss.item())

    return step


def hooks(ill: bool, folder: Path) -> Step:
    """A forward hook of each layer keeps a histogram of what it puts out."""
    model = Model()
    seen: dict[str, object] = {}

    def histogram(module: nn.Module, args: object, output: torch.Tensor) -> None:
        values = output.detach().flatten().tolist()
        edges = [0] * 32
        for value in values[::4]:
            edges[min(31, max(0, int(8 * value + 16)))] += 1
        seen[str(module)] = torch.histc(output, 64), edges

    if ill:
        for layer in model.net:
            layer.register_forward_hook(histogram)
    return lambda number: model.step()


def history(ill: bool, folder: Path) -> Step:
    """The whole history is written as JSON at each step."""
    model, past = Model(), [{"step": number, "loss": 0.5, "lr": 1e-3} for number in range(3000)]

    def save_history() -> None:
        (folder / "history.json").write_text(json.dumps(past))

    def step(number: int) -> float:
        loss = model.step()
        if ill:
            save_history()
        return loss

    return step


def garbage(ill: bool, folder: Path) -> Step:
    """Trees with parents: each step makes cycles among many objects that live."""
    model, alive = Model(), [{"number": number, "more": [number]} for number in range(300_000)]

    def build_tree() -> int:
        root: dict[str, object] = {"children": []}
        for _ in range(3000):
            root["children"].append({"parent": root, "children": []})  # type: ignore[attr-defined]
        gc.collect(1)
        return len(alive)

    def step(number: int) -> float:
        if ill:
            build_tree()
        return model.step()

    return step


def retries(ill: bool, folder: Path) -> Step:
    """A decorator tries again after a while what fails for the first time."""
    model = Model()

    def tried_again(function: Callable[[int], int]) -> Callable[[int], int]:
        def wrapper(number: int) -> int:
            for attempt in range(3):
                try:
                    return function(attempt)
                except OSError:
                    time.sleep(0.01)
            return 0

        return wrapper

    @tried_again
    def fetch_label(attempt: int) -> int:
        if ill and not attempt:
            raise OSError
        return 1

    def step(number: int) -> float:
        fetch_label(number)
        return model.step()

    return step


# -- beside the loop ---------------------------------------------------------------------------------------------------


def decode(number: int, rounds: int) -> float:
    """Python that turns a record into numbers."""
    total = 0.0
    for place in range(rounds):
        total += (place * 2654435761 + number) % 1000 / 1000
    return total


PACKED = bz2.compress(os.urandom(200_000) + bytes(200_000))


class Shards(Dataset[torch.Tensor]):  # type: ignore[misc]
    def __init__(self, ill: bool) -> None:
        self.ill = ill

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, number: int) -> torch.Tensor:
        if self.ill:
            self.read_shard()
        return torch.randn(64, 256)

    def read_shard(self) -> int:
        return len(bz2.decompress(PACKED))


def loader(ill: bool, folder: Path) -> Step:
    """One worker of a data loader unpacks slowly."""
    model, batches = (
        Model(),
        iter(DataLoader(Shards(ill), batch_size=None, num_workers=1, multiprocessing_context="fork")),
    )
    return lambda number: model.step(next(batches))


def produce(feed: Queue[float], ill: bool) -> None:
    number = 0
    while True:
        feed.put(decode(number, 150_000 if ill else 100))
        number += 1


def producers(ill: bool, folder: Path) -> Step:
    """Two processes of the run's own feed a queue."""
    context = multiprocessing.get_context("fork")
    feed: Queue[float] = context.Queue(maxsize=4)
    for _ in range(2):
        context.Process(target=produce, args=(feed, ill), daemon=True).start()
    model = Model()

    def step(number: int) -> float:
        feed.get()
        return model.step()

    return step


def load_image(number: int) -> float:
    return len(bz2.decompress(PACKED)) + decode(number, 20_000)


def threads(ill: bool, folder: Path) -> Step:
    """Images are decoded in a pool of threads."""
    model, pool = Model(), ThreadPoolExecutor(2)

    def step(number: int) -> float:
        if ill:
            for future in [pool.submit(load_image, part) for part in range(2)]:
                future.result()
        return model.step()

    return step


def collide(number: int) -> float:
    return decode(number, 100_000)


def pool(ill: bool, folder: Path) -> Step:
    """A population is judged in a pool of processes."""
    model = Model()
    processes = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))

    def step(number: int) -> float:
        if ill:
            list(processes.map(collide, range(2)))
        return model.step()

    return step


def lock(ill: bool, folder: Path) -> Step:
    """A thread takes snapshots under the lock that each step needs."""
    model, guard, asked = Model(), threading.Lock(), queue.Queue[int](1)

    def snapshot() -> None:
        while True:
            asked.get()
            with guard:
                time.sleep(0.006)

    threading.Thread(target=snapshot, daemon=True).start()

    def step(number: int) -> float:
        if ill:
            asked.put(number)
            time.sleep(0.0005)
        with guard:
            return model.step()

    return step


def tokenizer(ill: bool, folder: Path) -> Step:
    """A thread of the process tokenizes all the time, and holds the GIL."""
    model = Model()

    def tokenize() -> None:
        number = 0
        while True:
            decode(number, 10_000)
            number += 1

    if ill:
        threading.Thread(target=tokenize, daemon=True).start()
    return lambda number: model.step()


def ranks(ill: bool, folder: Path) -> Step:
    """Two ranks, of which the second deforms its images in Python: the first waits for its gradients."""
    os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29713"}
    rank = 0 if os.fork() else 1
    os.environ["RANK"] = str(rank)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    model = Model()
    model.net = nn.parallel.DistributedDataParallel(model.net)
    model.optimizer = torch.optim.Adam(model.net.parameters(), lr=1e-3)

    def elastic_deform(number: int) -> float:
        return decode(number, 120_000)

    def step(number: int) -> float:
        if ill and rank == 1:
            elastic_deform(number)
        return model.step()

    return step


CAUSES: dict[str, Callable[[bool, Path], Step]] = {
    cause.__name__: cause
    for cause in (
        *(fsync, regex, best_state, rescan, small_calls, hooks, history, garbage, retries),
        *(loader, producers, threads, pool, lock, tokenizer, ranks),
    )
}


def steps(seconds: float) -> Iterator[int]:
    until_s, number = time.monotonic() + seconds, 0
    while time.monotonic() < until_s:
        yield number
        number += 1


def main(log_dir: str, run: str, cause: str, when: str, seconds: str) -> None:
    torch.set_num_threads(int(os.environ.get("SAVINGS_THREADS", "2")))
    with tempfile.TemporaryDirectory(prefix="savings-") as folder:
        step = CAUSES[cause](when == "always", Path(folder))
        with RunLog(log_dir, run=run) as log:
            for number in steps(float(seconds)):
                log.scalars(number, {"train/loss": step(number)})
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(0)  # threads that go on
