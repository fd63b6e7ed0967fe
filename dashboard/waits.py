"""One row a recognised wait: the frame that waits, what it waits for, and whose stacks explain it."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from collectors.records import Frame

Joined: TypeAlias = Literal["workers", "threads", "child", "ranks", "gpu", ""]


class Wait(NamedTuple):
    """A function of the standard library or of PyTorch in which a thread stands while it waits."""

    function: str  # without its class: samplers name `Queue.get` from Python 3.11 on, `get` before
    file: str  # how its path ends
    what: str
    joined: Joined  # whose stacks at that time say why; "" where nothing does


WAITS = (
    Wait("_try_get_data", "torch/utils/data/dataloader.py", "data loader", "workers"),
    Wait("get", "/queue.py", "queue", "threads"),
    Wait("put", "/queue.py", "queue", "threads"),
    Wait("get", "/multiprocessing/queues.py", "queue", "workers"),
    Wait("wait", "/multiprocessing/connection.py", "pipe", "workers"),
    Wait("_recv", "/multiprocessing/connection.py", "pipe", "workers"),
    Wait("wait", "/threading.py", "condition", "threads"),
    Wait("join", "/threading.py", "thread", "threads"),
    Wait("_wait_for_tstate_lock", "/threading.py", "thread", "threads"),
    Wait("result", "/concurrent/futures/_base.py", "future", "threads"),
    Wait("wait", "/concurrent/futures/_base.py", "future", "threads"),
    Wait("_wait", "/subprocess.py", "child process", "child"),
    Wait("_try_wait", "/subprocess.py", "child process", "child"),
    Wait("poll", "/multiprocessing/popen_fork.py", "child process", "child"),
    Wait("select", "/selectors.py", "input", ""),
    Wait("accept", "/socket.py", "connection", ""),
    Wait("readinto", "/socket.py", "network", ""),
    Wait("synchronize", "torch/cuda/__init__.py", "GPU", "gpu"),
    Wait("synchronize", "torch/cuda/streams.py", "GPU", "gpu"),
    Wait("all_reduce", "torch/distributed/distributed_c10d.py", "collective", "ranks"),
    Wait("all_gather", "torch/distributed/distributed_c10d.py", "collective", "ranks"),
    Wait("broadcast", "torch/distributed/distributed_c10d.py", "collective", "ranks"),
    Wait("barrier", "torch/distributed/distributed_c10d.py", "collective", "ranks"),
)


def wait_of(frame: Frame) -> Wait | None:
    """The row of the table that a frame stands for, whatever its line.

    `Frame("_MultiProcessingDataLoaderIter._try_get_data", ".../torch/utils/data/dataloader.py", 1291)` -> the data loader's row
    """
    function = frame.name.rpartition(".")[2]
    return next((wait for wait in WAITS if wait.function == function and frame.file.endswith(wait.file)), None)
