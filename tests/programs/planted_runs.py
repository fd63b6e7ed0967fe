"""Trainings that are healthy until a moment and have one fault from then on: python planted_runs.py <log folder> <kind> <onset> <end>.

Both times are CLOCK_MONOTONIC. What a device would do is slept through, so that many of them run at once; the faults are real.
"""

from __future__ import annotations

import functools
import gc
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from deepseek.log import RunLog

DEVICE_S, HOST_S = 0.02, 0.001  # of a step
ONSET_S, END_S = float(sys.argv[3]), float(sys.argv[4])
KEPT: list[Any] = []
device_s = DEVICE_S
LOCK = threading.Lock()


def is_ill() -> bool:
    return time.monotonic() >= ONSET_S


def compute(seconds: float) -> None:
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        sum(range(200))


def train_step() -> None:
    compute(HOST_S)
    time.sleep(device_s)


# -- faults, a function a kind: what a step does beside its work ---------------------------------------------------------


def data_stall(log: RunLog) -> Callable[[int], None]:
    from torch.utils.data import DataLoader

    batches = iter(DataLoader(Images(), num_workers=1, batch_size=4, collate_fn=list))  # type: ignore[arg-type]

    def step(number: int) -> None:
        global device_s
        device_s = 0.002 if is_ill() else DEVICE_S  # who waits for data does not wait for the device
        KEPT[:] = [next(batches)]

    return step


class Images:
    def __len__(self) -> int:
        return 1_000_000_000

    def __getitem__(self, place: int) -> int:
        if is_ill():
            self.decode_image(0.012)
        return place

    def decode_image(self, seconds: float) -> None:
        time.sleep(seconds)


def launch_bound(log: RunLog) -> Callable[[int], None]:
    """A model of sixty small layers, for which the device would take no time."""
    import torch
    from torch import nn

    model = nn.Sequential(*(layer for _ in range(20) for layer in (nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU())))
    x = torch.zeros(1, 8)

    def forward() -> None:
        with torch.no_grad():
            model(x)

    def step(number: int) -> None:
        global device_s
        device_s = 0.0 if is_ill() else DEVICE_S
        for _ in range(20 if is_ill() else 1):
            forward()

    return step


def sync_every_step(log: RunLog) -> Callable[[int], None]:
    """PyTorch's own `torch.cuda.synchronize`, over a device that is slept through; the host does not wait for it otherwise."""
    import torch
    from torch import nn

    layer, x = nn.Linear(8, 8), torch.zeros(1, 8)

    for module, name, stand_in in (
        (torch._C, "_cuda_synchronize", functools.partial(time.sleep, 0.6 * DEVICE_S)),
        (torch.cuda, "_exchange_device", lambda device: 0),
        (torch.cuda, "_maybe_exchange_device", lambda device: 0),
        (torch.cuda, "_lazy_init", lambda: None),
    ):
        setattr(module, name, stand_in)

    def metrics() -> None:
        torch.cuda.synchronize(0)

    def step(number: int) -> None:
        global device_s
        device_s = 0.0 if is_ill() else DEVICE_S
        if is_ill():
            for _ in range(200):
                layer(x)
            metrics()

    return step


def gil_bound(log: RunLog) -> Callable[[int], None]:
    def encode() -> None:
        while True:
            compute(0.05) if is_ill() else time.sleep(0.05)

    threading.Thread(target=encode, name="encoder", daemon=True).start()
    return lambda step: compute(0.004)


def lock_bound(log: RunLog) -> Callable[[int], None]:
    def hold() -> None:
        while True:
            with LOCK:
                time.sleep(0.03 if is_ill() else 0.0)
            time.sleep(0.01)

    threading.Thread(target=hold, name="holder", daemon=True).start()

    def step(number: int) -> None:
        with LOCK:
            KEPT.clear()

    return step


def garbage_collection(log: RunLog) -> Callable[[int], None]:
    heap = [[number] for number in range(1_200_000)]
    begun_s = [0.0]

    def collected(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            begun_s[0] = time.perf_counter()
        elif info["generation"] == 2:
            log.event("gc", seconds=time.perf_counter() - begun_s[0])

    gc.disable()
    gc.callbacks.append(collected)
    assert heap

    def step(number: int) -> None:
        if is_ill() and not gc.isenabled():
            gc.set_threshold(2000, 2, 2)
            gc.enable()
        KEPT[:] = [[[place] for place in range(4000)], *KEPT[:8]]

    return step


def compile_late(log: RunLog) -> Callable[[int], None]:
    import torch

    def layer(x: torch.Tensor) -> torch.Tensor:
        for _ in range(12):
            x = torch.sin(x) + x
        return x

    torch.compile(layer, backend="eager")(torch.ones(3))

    def step(number: int) -> None:
        if is_ill() and number % 4 == 0:
            torch._dynamo.reset()
            torch.compile(layer, backend="eager", dynamic=False)(torch.ones(3 + number % 50))

    return step


def cpu_taken(log: RunLog) -> Callable[[int], None]:
    """Whose core others take from the moment on; they are started beside it."""
    os.sched_setaffinity(0, {int(os.environ["CORE"])})
    return lambda step: compute(0.02)


def logging_in_the_loop(log: RunLog) -> Callable[[int], None]:
    stream = logging.FileHandler(log.folder / "details.txt")
    stream.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    logger = logging.getLogger("details")
    logger.propagate = False
    logger.addHandler(stream)

    def step(number: int) -> None:
        for place in range(600 if is_ill() else 1):
            logger.warning("step %d layer %d", number, place)

    return step


def checkpoint_share(log: RunLog) -> Callable[[int], None]:
    import torch

    weights = {f"layer{number}": torch.ones(1 << 16) for number in range(40)}

    def step(number: int) -> None:
        if number % 60 == 59 and is_ill():
            with (log.folder / "model").open("wb") as file:
                torch.save(weights, SlowFile(file))

    return step


class SlowFile:
    """A disk of 10 MB/s."""

    def __init__(self, file: Any) -> None:
        self.write_through, self.flush = file.write, file.flush

    def write(self, data: bytes) -> int:
        time.sleep(len(data) / 10e6)
        return int(self.write_through(data))


def slow_function(log: RunLog) -> Callable[[int], None]:
    def histogram() -> None:
        until_s = time.thread_time() + 0.02
        while time.thread_time() < until_s:
            sum(range(200))

    return lambda step: histogram() if is_ill() else None


def waiting(log: RunLog) -> Callable[[int], None]:
    """A service at the other end of a socket takes its time."""
    mine, its = socket.socketpair()

    def answer() -> None:
        while its.recv(1):
            time.sleep(0.02)
            its.send(b".")

    threading.Thread(target=answer, name="service", daemon=True).start()

    def fetch() -> None:
        mine.send(b"?")
        mine.recv(1)

    return lambda step: fetch() if is_ill() else None


def memory_creep(log: RunLog) -> Callable[[int], None]:
    return lambda step: KEPT.append(bytearray(b"x" * 60_000)) if is_ill() else None


def silent(log: RunLog) -> Callable[[int], None]:
    def wait_for_file() -> None:
        time.sleep(1e6)

    return lambda step: wait_for_file() if is_ill() else None


def straggler(log: RunLog) -> Callable[[int], None]:
    def augment() -> None:
        time.sleep(0.015)

    def step(number: int) -> None:
        if is_ill() and log.rank == 1:
            augment()
        reduce_gradients()

    return step


def hung(log: RunLog) -> Callable[[int], None]:
    def leave() -> None:
        time.sleep(1e6)

    def step(number: int) -> None:
        if is_ill() and log.rank == 1:
            leave()
        reduce_gradients()

    return step


def reduce_gradients() -> None:
    import torch
    import torch.distributed as dist

    dist.all_reduce(torch.ones(1 << 10))


def healthy(log: RunLog) -> Callable[[int], None]:
    return lambda step: None


KINDS: dict[str, Callable[[RunLog], Callable[[int], None]]] = {
    kind.__name__: kind
    for kind in (
        *(
            data_stall,
            launch_bound,
            sync_every_step,
            gil_bound,
            lock_bound,
            garbage_collection,
            compile_late,
            cpu_taken,
        ),
        *(
            logging_in_the_loop,
            checkpoint_share,
            slow_function,
            waiting,
            memory_creep,
            silent,
            straggler,
            hung,
            healthy,
        ),
    )
}
OF_TWO_RANKS = ("straggler", "hung")


@contextmanager
def group(kind: str) -> Iterator[None]:
    if kind in OF_TWO_RANKS:
        import torch
        import torch.distributed as dist

        torch.set_num_threads(1)
        dist.init_process_group("gloo")
    yield


def main(log_dir: str, kind: str) -> None:
    with group(kind), RunLog(log_dir, run=kind) as log:
        fault, step = KINDS[kind](log), 0
        while time.monotonic() < END_S:
            train_step()
            fault(step)
            log.scalars(step, {"train/loss": 1.0 + 0.01 * (step % 7)})
            step += 1


if __name__ == "__main__":
    main(*sys.argv[1:3])
