"""One row a recognised wait: the frame that waits, what it waits for, and whose stacks explain it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from collectors.records import Frame

Joined: TypeAlias = Literal["workers", "threads", "child", "ranks", "gpu", ""]


class Wait(NamedTuple):
    """A function of the standard library or of PyTorch in which a thread stands while it waits."""

    function: str  # without its class: samplers name `Queue.get` from Python 3.11 on, `get` before
    file: str  # how its path ends
    what: str
    joined: Joined  # whose stacks at that time say why; "" where nothing does
    plumbing: bool = False  # other waits wait by it: what called it says more


DISTRIBUTED = "torch/distributed/distributed_c10d.py"
WAITS = (
    Wait("_try_get_data", "torch/utils/data/dataloader.py", "data loader", "workers"),
    Wait("get", "/multiprocessing/queues.py", "queue", "workers"),
    Wait("put", "/multiprocessing/queues.py", "queue", "workers"),
    Wait("get", "/queue.py", "queue", "threads"),
    Wait("put", "/queue.py", "queue", "threads"),
    Wait("join", "/threading.py", "thread", "threads"),
    Wait("result", "/concurrent/futures/_base.py", "future", "threads"),
    Wait("wait", "/concurrent/futures/_base.py", "future", "threads"),
    Wait("_wait", "/subprocess.py", "child process", "child"),
    Wait("_try_wait", "/subprocess.py", "child process", "child"),
    Wait("poll", "/multiprocessing/popen_fork.py", "child process", "child"),
    Wait("detach", "/multiprocessing/resource_sharer.py", "transfer", ""),
    Wait("recvfds", "/multiprocessing/reduction.py", "transfer", ""),
    Wait("accept", "/socket.py", "connection", ""),
    Wait("readinto", "/socket.py", "network", ""),
    Wait("synchronize", "torch/cuda/__init__.py", "GPU", "gpu"),
    Wait("synchronize", "torch/cuda/streams.py", "GPU", "gpu"),
    Wait("all_reduce", DISTRIBUTED, "collective", "ranks"),
    Wait("all_gather", DISTRIBUTED, "collective", "ranks"),
    Wait("broadcast", DISTRIBUTED, "collective", "ranks"),
    Wait("barrier", DISTRIBUTED, "collective", "ranks"),
    Wait("wait", "/threading.py", "condition", "threads", plumbing=True),
    Wait("_wait_for_tstate_lock", "/threading.py", "thread", "threads", plumbing=True),
    Wait("wait", "/multiprocessing/connection.py", "pipe", "workers", plumbing=True),
    Wait("_recv", "/multiprocessing/connection.py", "pipe", "workers", plumbing=True),
    Wait("select", "/selectors.py", "input", "", plumbing=True),
)


class Waiting(NamedTuple):
    wait: Wait
    since: int  # index of the frame in which the wait begins; what stands below is how it waits


def wait_of(frame: Frame) -> Wait | None:
    """The row of the table that a frame stands for, whatever its line.

    `Frame("_MultiProcessingDataLoaderIter._try_get_data", ".../torch/utils/data/dataloader.py", 1291)` -> the data loader's row
    """
    function = frame.name.rpartition(".")[2]
    return next((wait for wait in _BY_FUNCTION.get(function, ()) if frame.file.endswith(wait.file)), None)


def waiting(waits: Sequence[Wait | None]) -> Waiting | None:
    """What a stack waits for, given each frame's row from the root to the leaf; None where its leaf is at work.

    The innermost row decides, plumbing aside: unpickling a tensor inside the data loader's wait is a transfer. The wait begins at
    the outermost row that says the same of whose stacks explain it.
    """
    if not waits or waits[-1] is None:
        return None
    rows = [(i, wait) for i, wait in enumerate(waits) if wait]
    decisive = next((wait for _, wait in reversed(rows) if not wait.plumbing), rows[-1][1])
    return Waiting(decisive, next(i for i, wait in rows if wait.joined == decisive.joined))


_BY_FUNCTION = {wait.function: [row for row in WAITS if row.function == wait.function] for wait in WAITS}
