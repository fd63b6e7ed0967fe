"""A small training on the CPU that knows where each of its seconds went, with one cause that CAUSE in the environment names.

`truth/<kind>_s` are the seconds of a step by the program's own clocks; those without a core are the kernel's: how long the main
thread waited in its run queue while it computed.
"""

import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from loop import Step, begin, train
from torch.utils.data import DataLoader, Dataset
from work import compute

CAUSE = os.environ["CAUSE"]
LOGGER = logging.getLogger("accounted")
WEIGHTS = torch.randn(384, 384)
CHECKPOINT = Path(tempfile.mkdtemp()) / "weights.pt"
LOCK = threading.Lock()


class Images(Dataset[int]):
    def __len__(self) -> int:
        return 1_000_000_000

    def __getitem__(self, index: int) -> int:
        decode_image(0.07)
        return index


def decode_image(seconds: float) -> None:
    compute(seconds)


def queued_s() -> float:
    """How long this thread has waited for a core."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


counted_s = 0.0  # of the waiting for a core, up to the last step
elsewhere_s = 0.0  # of the waiting for a core, while it was at something that has a kind of its own
named_s = 0.0  # of the time on a core, since the last step, what has a kind of its own
begun = (0.0, 0.0)  # the last step, by the clock and by the time on a core


@contextmanager
def counted(step: Step, kind: str) -> Iterator[None]:
    global elsewhere_s, named_s
    begun_s, queue_s, cpu_s = time.perf_counter(), queued_s(), time.thread_time()
    yield
    took_s, queue_s, cpu_s = time.perf_counter() - begun_s, queued_s() - queue_s, time.thread_time() - cpu_s
    if kind == "python":  # the rest of what the step had of a core
        return
    named_s += cpu_s
    if kind == "work":
        add(step, "busy", cpu_s)
    else:
        elsewhere_s += queue_s
        add(step, kind, took_s)


def count_cores(step: Step) -> None:
    """How long the main thread waited for a core since the last step, but for what has a kind of its own."""
    global elsewhere_s, counted_s, named_s, begun
    now_s, now = queued_s(), (time.perf_counter(), time.thread_time())
    if CAUSE == "gil" and begun[0]:  # each call into C, also of these clocks, may have to wait for it
        took_s, cpu_s = now[0] - begun[0], now[1] - begun[1]
        add(step, "gil", max(0.0, took_s - cpu_s - (now_s - counted_s)))
        add(step, "python", max(0.0, cpu_s - named_s))
    named_s, begun = 0.0, now
    add(step, "cpu_taken", max(0.0, now_s - counted_s - elsewhere_s))
    counted_s, elsewhere_s = now_s, 0.0


def add(step: Step, kind: str, seconds: float) -> None:
    name = f"truth/{kind}_s"
    step.clock.seconds[name] = step.clock.seconds.get(name, 0.0) + seconds


def multiply(times: int) -> torch.Tensor:
    x = WEIGHTS
    for _ in range(times):
        x = torch.nn.functional.linear(x, WEIGHTS) / 20
    return x


def mask_tokens() -> int:
    total = 0
    for i in range(250_000):
        total += i % 7
    return total


def write_cache() -> None:
    while True:
        with LOCK:
            time.sleep(0.03)
        time.sleep(0.005)


def hold_gil() -> None:
    while True:
        mask_tokens()
        time.sleep(0.005)


def log_tensors(lines: int) -> None:
    for i in range(lines):
        LOGGER.info("tensor %d: mean %.4f", i, i * 0.5)


def evaluate() -> None:
    multiply(60)


def step(step: Step) -> None:
    count_cores(step)
    with step.clock.phase("data"), counted(step, "data"):
        if CAUSE == "workers":
            next(batches)
        else:
            decode_image(0.03 if CAUSE == "data" else 0.001)
    with step.clock.phase("forward"), counted(step, "work"):
        multiply(12)
    if CAUSE == "gil":
        with counted(step, "python"):
            mask_tokens()
    if CAUSE == "lock":
        with counted(step, "lock"), LOCK:
            pass
    if CAUSE == "log":
        with step.clock.phase("log"), counted(step, "log"):
            log_tensors(1500)
    if CAUSE == "checkpoint" and step.number % 20 == 19:
        with step.clock.phase("checkpoint"), counted(step, "checkpoint"):
            torch.save({"weights": [WEIGHTS.clone() for _ in range(150)]}, CHECKPOINT)
    if CAUSE == "validation" and step.number % 20 == 19:
        with step.clock.phase("validation"), counted(step, "validation"):
            evaluate()


def take_cores() -> None:
    """Programs that compute beside this one, until it is gone; none is its child."""
    trainer = os.getpid()
    if os.fork():
        os.wait()
        return
    for _ in range(len(os.sched_getaffinity(0))):
        if not os.fork():
            while Path(f"/proc/{trainer}").exists():
                compute(0.05)
            break
    os._exit(0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    counted_s = queued_s()
    begin()
    if CAUSE == "cores":
        take_cores()
    if CAUSE in ("gil", "lock"):
        threading.Thread(target=hold_gil if CAUSE == "gil" else write_cache, daemon=True).start()
    if CAUSE == "log":
        LOGGER.addHandler(logging.StreamHandler(tempfile.TemporaryFile("w")))  # noqa: SIM115
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False
    if CAUSE == "workers":
        batches = iter(DataLoader(Images(), batch_size=1, num_workers=1, prefetch_factor=2))
    train(step)
