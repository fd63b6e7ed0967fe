"""Waits once in each way that this machine's Python and PyTorch can, about half a second each, and says when.

    python waits.py                    <- one line a situation: its name, its begin and its end (CLOCK_MONOTONIC ns)

tests/record_waits.py records its stacks. What needs a GPU is not here.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from concurrent.futures import wait as wait_for_futures
from multiprocessing.connection import wait as wait_for_connections
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as checkpoint
from torch.utils.data import DataLoader, Dataset

SECONDS = 0.5
PORT = "29541"
BYTES = 64 << 20  # more than a socket takes at once
SLEEP = ["sleep", str(SECONDS)]
WORLD = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": PORT, "OMP_NUM_THREADS": "1"}


class Batches(Dataset[torch.Tensor]):
    """Made in Python by a worker, which keeps its GIL meanwhile."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> torch.Tensor:
        until_s = time.thread_time() + SECONDS / 8
        while time.thread_time() < until_s:
            pass
        return torch.ones(1000)


class Samples(Dataset[list[torch.Tensor]]):
    """Many tensors each, whose memory the main process fetches from a worker that is at work on the next."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        until_s = time.thread_time() + SECONDS / 8
        while time.thread_time() < until_s:
            pass
        return [torch.ones(1000) for _ in range(24)]


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        time.sleep(SECONDS)
        return 2 * gradient


def later(action: Callable[[], object]) -> threading.Thread:
    timer = threading.Timer(SECONDS, action)
    timer.start()
    return timer


def sleeping() -> multiprocessing.Process:
    process = multiprocessing.Process(target=time.sleep, args=(SECONDS,))
    process.start()
    return process


def queue_get() -> None:
    items: queue.Queue[int] = queue.Queue()
    later(lambda: items.put(1))
    items.get()


def queue_put() -> None:
    items: queue.Queue[int] = queue.Queue(1)
    items.put(1)
    later(items.get)
    items.put(2)


def queue_join() -> None:
    items: queue.Queue[int] = queue.Queue()
    items.put(1)
    later(items.task_done)
    items.join()


def condition_wait() -> None:
    event = threading.Event()
    later(event.set)
    event.wait()


def condition_wait_for() -> None:
    condition, until_s = threading.Condition(), time.monotonic() + SECONDS
    with condition:
        condition.wait_for(lambda: time.monotonic() > until_s, timeout=SECONDS)


def lock_acquire() -> None:
    lock = threading.Lock()
    lock.acquire()
    later(lock.release)
    lock.acquire()


def sleep() -> None:
    time.sleep(SECONDS)


def future_result() -> None:
    future: Future[int] = Future()
    later(lambda: future.set_result(1))
    future.result()


def executor(wait: Callable[[Future[None]], object]) -> None:
    with ThreadPoolExecutor(1) as pool:
        wait(pool.submit(time.sleep, SECONDS))


def executor_map() -> None:
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(time.sleep, [SECONDS]))


def process_queue_get() -> None:
    items: multiprocessing.Queue[int] = multiprocessing.Queue()
    later(lambda: items.put(1))
    items.get()


def process_queue_put() -> None:
    items: multiprocessing.Queue[int] = multiprocessing.Queue(1)
    items.put(1)
    later(items.get)
    items.put(2)


def pool(wait: Callable[[Any], object]) -> None:
    with multiprocessing.Pool(1) as workers:
        wait(workers.apply_async(time.sleep, (SECONDS,)))


def process_join_in_time() -> None:
    sleeping().join(timeout=10)


def child_communicate_both() -> None:
    subprocess.Popen(SLEEP, stdout=subprocess.PIPE, stderr=subprocess.PIPE).communicate()


def socket_accept() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        later(lambda: socket.create_connection(server.getsockname()).close())
        server.accept()[0].close()


def socket_read() -> None:
    here, there = socket.socketpair()
    with here, there, here.makefile("rb") as file:
        later(lambda: there.send(b"x"))
        file.read(1)


def pipe_recv() -> None:
    here, there = multiprocessing.Pipe()
    later(lambda: there.send(1))
    here.recv()


def pipe_wait() -> None:
    here, there = multiprocessing.Pipe()
    later(lambda: there.send(1))
    wait_for_connections([here])


def select() -> None:
    here, there = socket.socketpair()
    with here, there, selectors.DefaultSelector() as selector:
        selector.register(here, selectors.EVENT_READ)
        later(lambda: there.send(b"x"))
        selector.select()


def data_loader() -> None:
    for _ in zip(range(8), DataLoader(Batches(), num_workers=1), strict=False):
        pass


def transfer() -> None:
    for _ in zip(range(8), DataLoader(Samples(), batch_size=None, num_workers=1), strict=False):
        pass


def backward_in_python() -> None:
    x = torch.ones(4, requires_grad=True)
    Doubled.apply(x).sum().backward()


def backward() -> None:
    x = torch.ones(700, 700, requires_grad=True)
    y = x
    for _ in range(30):
        y = y @ x * 0.001
    y.sum().backward()


def item() -> None:
    x = torch.ones(1000)
    until_s = time.monotonic() + SECONDS
    while time.monotonic() < until_s:
        x.sum().item()


def save() -> None:
    until_s = time.monotonic() + SECONDS
    with tempfile.TemporaryFile() as file:
        while time.monotonic() < until_s:
            file.seek(0)
            torch.save({"weights": torch.ones(1 << 20)}, file)


def save_distributed() -> None:
    until_s = time.monotonic() + SECONDS
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < until_s:
            checkpoint.save({"weights": torch.ones(1 << 18)}, checkpoint_id=folder, no_dist=True)


def compile_it() -> None:
    torch.compile(lambda x: torch.sin(x) + torch.cos(x) * 2)(torch.ones(100))


SITUATIONS: dict[str, Callable[[], object]] = {
    "queue get": queue_get,
    "queue put": queue_put,
    "queue join": queue_join,
    "condition wait": condition_wait,
    "condition wait_for": condition_wait_for,
    "lock": lock_acquire,
    "sleep": sleep,
    "thread join": lambda: later(int).join(),
    "future result": future_result,
    "futures wait": lambda: executor(lambda one: wait_for_futures([one])),
    "futures as_completed": lambda: executor(lambda one: list(as_completed([one]))),
    "executor map": executor_map,
    "process queue get": process_queue_get,
    "process queue put": process_queue_put,
    "process pool get": lambda: pool(lambda result: result.get()),
    "process pool wait": lambda: pool(lambda result: result.wait()),
    "process join": lambda: sleeping().join(),
    "process join in time": process_join_in_time,
    "child wait": lambda: subprocess.Popen(SLEEP).wait(),
    "child wait in time": lambda: subprocess.Popen(SLEEP).wait(10),
    "child communicate": lambda: subprocess.Popen(SLEEP, stdout=subprocess.PIPE).communicate(),
    "child communicate both": child_communicate_both,
    "socket accept": socket_accept,
    "socket read": socket_read,
    "pipe recv": pipe_recv,
    "pipe wait": pipe_wait,
    "select": select,
    "data loader": data_loader,
    "transfer": transfer,
    "backward": backward,
    "backward in Python": backward_in_python,
    "item": item,
    "torch.save": save,
    "distributed checkpoint": save_distributed,
    "torch.compile": compile_it,
}


def ones() -> torch.Tensor:
    return torch.ones(2)


def objects() -> list[Any]:
    return [None, None]


def pair() -> list[torch.Tensor]:
    return [torch.ones(1), torch.ones(1)]


COLLECTIVES: dict[str, Callable[[int], object]] = {
    "all_reduce": lambda rank: dist.all_reduce(ones()),
    "all_reduce_coalesced": lambda rank: dist.all_reduce_coalesced([ones()]),
    "all_gather": lambda rank: dist.all_gather([ones(), ones()], ones()),
    "all_gather_coalesced": lambda rank: dist.all_gather_coalesced([[ones()], [ones()]], [ones()]),
    "all_gather_into_tensor": lambda rank: dist.all_gather_into_tensor(torch.ones(4), ones()),
    "all_gather_object": lambda rank: dist.all_gather_object(objects(), rank),
    "all_to_all": lambda rank: dist.all_to_all(pair(), pair()),
    "all_to_all_single": lambda rank: dist.all_to_all_single(ones(), ones()),
    "barrier": lambda rank: dist.barrier(),
    "broadcast": lambda rank: dist.broadcast(ones(), 1),
    "broadcast_object_list": lambda rank: dist.broadcast_object_list(objects(), 1),
    "gather": lambda rank: dist.gather(ones(), None if rank else [ones(), ones()]),
    "gather_object": lambda rank: dist.gather_object(rank, None if rank else objects()),
    "monitored_barrier": lambda rank: dist.monitored_barrier(),
    "recv": lambda rank: dist.send(ones(), 0) if rank else dist.recv(ones(), 1),
    "reduce": lambda rank: dist.reduce(ones(), 0),
    "reduce_scatter": lambda rank: dist.reduce_scatter(torch.ones(1), pair()),
    "reduce_scatter_tensor": lambda rank: dist.reduce_scatter_tensor(torch.ones(1), ones()),
    "scatter": lambda rank: dist.scatter(ones(), [ones(), ones()] if rank else None, 1),
    "send": lambda rank: dist.recv(torch.empty(BYTES), 0) if rank else dist.send(torch.empty(BYTES), 1),
}


def main() -> None:
    """Rank 0, whose stacks are looked at; rank 1 comes late to each collective."""
    say("ready", 0)
    sys.stdin.readline()
    with subprocess.Popen([sys.executable, "-W", "ignore", __file__, "late"], env=WORLD):
        for name, wait in SITUATIONS.items():
            begun_ns = time.monotonic_ns()
            wait()
            say(name, begun_ns)
        join_ranks(0)


def join_ranks(rank: int) -> None:
    dist.init_process_group("gloo", rank=rank, world_size=2)
    for name, collective in COLLECTIVES.items():
        dist.barrier()
        begun_ns = time.monotonic_ns()
        if rank:
            time.sleep(SECONDS)
        try:
            collective(rank)
        except (RuntimeError, ValueError) as error:
            print(f"{name}: {error}"[:200], file=sys.stderr)
            continue
        if not rank:
            say(name, begun_ns)
    dist.destroy_process_group()


def say(name: str, begun_ns: int) -> None:
    print(name, begun_ns, time.monotonic_ns(), sep="\t", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    os.environ.update(WORLD)
    torch.set_num_threads(1)
    if sys.argv[1:] == ["late"]:
        join_ranks(1)
    else:
        main()
