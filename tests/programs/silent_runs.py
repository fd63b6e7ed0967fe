"""Programs that make a few steps and then say nothing for a good reason: python silent_runs.py <log folder> <kind>."""

from __future__ import annotations

import asyncio
import functools
import gc
import hashlib
import multiprocessing
import os
import pdb
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from deepseek.log import RunLog

FOREVER_S = 1e6


def busy(seconds: float = FOREVER_S) -> int:
    until_s, turns = time.monotonic() + seconds, 0
    while time.monotonic() < until_s:
        turns += 1
    return turns


def sleep() -> None:
    time.sleep(FOREVER_S)


def asks() -> None:
    input("go on? ")  # of a pipe into which nothing is written


def selects() -> None:
    left, right = socket.socketpair()
    select.select([left], [], [])
    right.close()


def accepts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.accept()


def receives() -> None:
    left, right = socket.socketpair()
    left.recv(1)
    right.close()


def long_call() -> None:
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)


def child_compiles() -> None:
    subprocess.run([sys.executable, "-c", "while True: pass"], check=False)


def child_waits() -> None:
    subprocess.run(["sleep", "1000000"], check=False)


def downloads() -> None:
    left, right = socket.socketpair()
    threading.Thread(target=drips, args=(right,), daemon=True).start()
    with Path(os.devnull).open("wb") as file:
        while True:
            file.write(left.recv(1 << 16))


def drips(right: socket.socket) -> None:
    while True:
        right.send(b"x" * 65536)
        time.sleep(0.02)


def notebook() -> None:
    asyncio.new_event_loop().run_forever()


def queue_of_a_process() -> None:
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[int] = context.Queue()
    context.Process(target=sleep, daemon=True).start()
    queue.get()


def fifo(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    with (folder / "fifo").open():
        pass


def validate() -> None:
    while True:
        busy(0.2)


def save_checkpoint(folder: Path) -> None:
    while True:
        (folder / "model").write_bytes(os.urandom(1 << 20))
        time.sleep(0.1)


def debugger() -> None:
    pdb.set_trace()


def collects() -> None:
    kept = [[number] for number in range(1_000_000)]
    while kept:
        gc.collect()


def busy_threads() -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: busy(), range(2)))


def sleeping_thread() -> None:
    thread = threading.Thread(target=sleep, daemon=True)
    thread.start()
    thread.join()


def retries() -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", 1), timeout=1).close()
        except OSError:
            time.sleep(2)


def condition() -> None:
    threading.Event().wait()


def slow_workers() -> None:
    from torch.utils.data import DataLoader

    for _ in DataLoader(BusyItems(), num_workers=1, batch_size=8):  # type: ignore[arg-type]
        pass


class BusyItems:
    def __len__(self) -> int:
        return 1000

    def __getitem__(self, place: int) -> int:
        return busy(5.0)


def rank_computes() -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo")
    if os.environ["RANK"] == "1":
        busy()
    dist.barrier()


def compiles(folder: Path) -> None:
    import torch

    time.sleep(0.5)

    @torch.compile(dynamic=False)
    def layer(x: torch.Tensor) -> torch.Tensor:
        return functools.reduce(lambda y, _: torch.sin(y) @ x, range(60), x)

    for size in range(4, 1000):
        layer(torch.randn(size, size))


OF_FOLDER: dict[str, Callable[[Path], None]] = {of.__name__: of for of in (fifo, save_checkpoint, compiles)}
PLAIN: dict[str, Callable[[], None]] = {
    plain.__name__: plain
    for plain in (
        *(
            sleep,
            asks,
            selects,
            accepts,
            receives,
            long_call,
            child_compiles,
            child_waits,
            downloads,
            notebook,
            queue_of_a_process,
        ),
        *(validate, debugger, collects, busy_threads, sleeping_thread, retries, condition, slow_workers, rank_computes),
    )
}
KINDS = (*PLAIN, *OF_FOLDER)


def main(log_dir: str, kind: str) -> None:
    with RunLog(log_dir, run=kind) as log:
        for step in range(40):
            log.scalars(step, {"train/loss": 1.0})
            time.sleep(0.05)
        if kind in OF_FOLDER:
            OF_FOLDER[kind](log.folder)
        else:
            PLAIN[kind]()


if __name__ == "__main__":
    main(*sys.argv[1:3])
