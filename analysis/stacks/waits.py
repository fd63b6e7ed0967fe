"""One row a recognised wait: the frame that waits, what it waits for, and whose stacks explain it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from collectors.records import Frame

Joined: TypeAlias = Literal["workers", "child", "threads", "lock", "backward", "ranks", "gpu", "sleep", ""]


class WaitFunction(NamedTuple):
    """A function of the standard library or of PyTorch in which a thread stands while it waits."""

    function: str  # without its class: samplers name `Queue.get` from Python 3.11 on, `get` before
    file: str  # how its path ends
    what: str
    joined: Joined  # whose stacks at that time say why; "" where nothing does
    plumbing: bool = False  # other waits wait by it: what called it says more


DISTRIBUTED = "torch/distributed/distributed_c10d.py"
COLLECTIVES = (
    *(
        "all_reduce",
        "all_reduce_coalesced",
        "all_gather",
        "all_gather_coalesced",
        "all_gather_into_tensor",
        "all_gather_object",
    ),
    *(
        "all_gather_single",
        "all_to_all",
        "all_to_all_single",
        "barrier",
        "broadcast",
        "broadcast_object_list",
        "gather",
        "gather_object",
        "monitored_barrier",
    ),
    *("recv", "reduce", "reduce_scatter", "reduce_scatter_single", "reduce_scatter_tensor", "scatter", "send"),
)
BACKWARD = WaitFunction(
    "_engine_run_backward", "torch/autograd/graph.py", "backward pass", "backward"
)  # on the CPU it computes itself
WAITS = (
    WaitFunction("_try_get_data", "torch/utils/data/dataloader.py", "data loader", "workers"),
    WaitFunction("get", "/multiprocessing/queues.py", "queue", "workers", plumbing=True),
    WaitFunction("put", "/multiprocessing/queues.py", "queue", "workers", plumbing=True),
    WaitFunction("__enter__", "/multiprocessing/synchronize.py", "queue", "workers", plumbing=True),
    WaitFunction("get", "/multiprocessing/pool.py", "process pool", "workers"),
    WaitFunction("wait", "/multiprocessing/pool.py", "process pool", "workers"),
    WaitFunction("join", "/multiprocessing/process.py", "child process", "workers"),
    WaitFunction("poll", "/multiprocessing/popen_fork.py", "child process", "workers"),
    WaitFunction("wait", "/multiprocessing/popen_fork.py", "child process", "workers"),
    WaitFunction("_wait", "/subprocess.py", "child process", "child"),
    WaitFunction("_try_wait", "/subprocess.py", "child process", "child"),
    WaitFunction("communicate", "/subprocess.py", "child process", "child"),
    WaitFunction("_communicate", "/subprocess.py", "child process", "child"),
    WaitFunction("get", "/queue.py", "queue", "threads"),
    WaitFunction("put", "/queue.py", "queue", "threads"),
    WaitFunction("join", "/queue.py", "queue", "threads"),
    WaitFunction("join", "/threading.py", "thread", "threads"),
    WaitFunction("_wait_for_tstate_lock", "/threading.py", "thread", "threads", plumbing=True),
    WaitFunction("result", "/concurrent/futures/_base.py", "future", "threads"),
    WaitFunction("wait", "/concurrent/futures/_base.py", "future", "threads"),
    WaitFunction("as_completed", "/concurrent/futures/_base.py", "future", "threads"),
    WaitFunction("result_iterator", "/concurrent/futures/_base.py", "future", "threads"),
    WaitFunction(
        "_worker", "/concurrent/futures/thread.py", "work", "threads"
    ),  # a pool's idle thread: its queue is of C
    WaitFunction("wait", "/threading.py", "condition", "threads", plumbing=True),
    WaitFunction("wait_for", "/threading.py", "condition", "threads", plumbing=True),
    BACKWARD,
    *(WaitFunction(name, DISTRIBUTED, "collective", "ranks") for name in COLLECTIVES),
    WaitFunction("synchronize", "torch/cuda/__init__.py", "GPU", "gpu"),
    WaitFunction("synchronize", "torch/cuda/streams.py", "GPU", "gpu"),
    WaitFunction("wait", "torch/cuda/streams.py", "GPU", "gpu"),
    WaitFunction(
        "detach", "/multiprocessing/resource_sharer.py", "transfer", "workers"
    ),  # a thread of the worker serves it, and needs its GIL
    WaitFunction("recvfds", "/multiprocessing/reduction.py", "transfer", "workers"),
    WaitFunction("accept", "/socket.py", "connection", ""),
    WaitFunction("readinto", "/socket.py", "network", ""),
    WaitFunction("wait", "/multiprocessing/connection.py", "pipe", "workers", plumbing=True),
    WaitFunction("_recv", "/multiprocessing/connection.py", "pipe", "workers", plumbing=True),
    WaitFunction("select", "/selectors.py", "input", "", plumbing=True),
)
AT_TOP = "<module>"
LOCK, SLEEP = WaitFunction("acquire", "", "lock", "lock"), WaitFunction("sleep", "", "time", "sleep")
BLOCK_LINES = 200  # a `with` is looked for so far above
MAX_LINES, MAX_BLANK_LINES = (
    20_000,
    400,
)  # of a source file: how far it is read; where so many lines are blank it has ended
MAX_LINE_LENGTH = 1_000  # characters of a line in which a lock's definition is looked for: the search is quadratic

OF_IMPORTS = re.compile(r"^<frozen (importlib|zipimport)|/importlib/(__init__|_bootstrap\w*)\.py$")
_MODULE = re.compile(r".*/(?:(?:site|dist)-packages|lib(?:64)?/python\d[\d.]*)/(.+?)(?:/__init__)?\.\w+$")
_SLEEPS = re.compile(r"\bsleep\(")
_TAKES_LOCK = re.compile(
    r"\.acquire\(|^(?>.*?\bwith\b).*(?:lock|mutex|semaphore|condition)", re.IGNORECASE | re.MULTILINE
)
_ENTERS = re.compile(r"\s*with\b\s*\(?(.*?)\)?\s*:")
_NAMED = re.compile(r"(?:[\w.]+\.)?(\w+)(?:\[[^\]]*\])?(?:\s+as\s+\w+)?")
_DEFINES_LOCK = re.compile(
    r"\b(\w++)(?:\[[^\]]*\])?\s*(?::[^=]*)?=.*?\b\w*(?:Lock|Semaphore|Condition|Mutex)\b|\b(\w++)\s*:\s*[\w.\"']*\b\w*(?:Lock|Semaphore|Condition)\b"
)
_FUNCTION = re.compile(r"\s*(async\s+)?(def|class)\b")
_READS_GPU = re.compile(r"\.(item|cpu|tolist|numpy|synchronize)\(|\.to\(\s*[\"']cpu")


class StackWait(NamedTuple):
    wait: WaitFunction
    since: int  # index of the frame in which the wait begins; what stands below is how it waits


class ReasonPattern(NamedTuple):
    """Work that is not what its caller asked for, recognized by where its frames lie."""

    function: str  # "" for any
    file: str  # a part of the path
    word: str


REASONS = (
    ReasonPattern(
        "", "/torch/_dynamo/convert_frame.py", "recompiling"
    ),  # other files of these folders are on each call's stack
    ReasonPattern("compile_fx", "/torch/_inductor/compile_fx.py", "recompiling"),
    ReasonPattern("compile_fx_inner", "/torch/_inductor/compile_fx.py", "recompiling"),  # of a backward pass
    ReasonPattern("save", "/torch/serialization.py", "checkpoint"),
    ReasonPattern("_save", "/torch/serialization.py", "checkpoint"),
    ReasonPattern("save_file", "/safetensors/", "checkpoint"),
    ReasonPattern("", "/torch/distributed/checkpoint/", "checkpoint"),
)


def wait_of(frame: Frame) -> WaitFunction | None:
    """The row of the table that a frame stands for, whatever its line.

    `Frame("_MultiProcessingDataLoaderIter._try_get_data", ".../torch/utils/data/dataloader.py", 1291)` -> the data loader's row
    """
    function = frame.name.rpartition(".")[2]
    return next((wait for wait in _BY_FUNCTION.get(function, ()) if frame.file.endswith(wait.file)), None)


def waiting(waits: Sequence[WaitFunction | None]) -> StackWait | None:
    """What a stack waits for, given each frame's row from the root to the leaf; None where its leaf is at work.

    The innermost row decides, plumbing aside: fetching a tensor inside the data loader's wait is a transfer. Of plumbing alone
    the outermost does. The wait begins at the outermost row that says the same of whose stacks explain it.
    """
    if not waits or waits[-1] is None:
        return None
    rows = [(i, wait) for i, wait in enumerate(waits) if wait]
    decisive = next((wait for _, wait in reversed(rows) if not wait.plumbing), rows[0][1])
    return StackWait(decisive, next(i for i, wait in rows if wait.joined == decisive.joined))


def takes_lock(text: str, locks: Collection[str] = ()) -> bool:
    """True for a line of source on which a thread can wait for a lock: what runs inside `with` has lines of its own.

    `locks` are names that are known to be locks, for `with self.guard:`.
    """
    return bool(_TAKES_LOCK.search(text)) or not set(entered(text)).isdisjoint(locks)


def entered(text: str) -> list[str]:
    """The last names of the variables that a `with` statement enters: `with self.guard, other[i]:` -> `["guard", "other"]`."""
    found = _ENTERS.match(text)
    named = [_NAMED.fullmatch(item.strip()) for item in found[1].split(",")] if found else []
    return [name[1] for name in named if name]


def lock_names(files: Iterable[str], line_of: Callable[[str, int], str]) -> set[str]:
    """The variables and attributes that these source files assign a lock to: `self.guard = threading.RLock()` -> `{"guard"}`."""
    found: set[str] = set()
    for file in files:
        blank = 0
        for number in range(1, MAX_LINES):
            text = line_of(file, number)[:MAX_LINE_LENGTH]
            blank = 0 if text.strip() else blank + 1
            if blank > MAX_BLANK_LINES:
                break
            if "Lock" in text or "Semaphore" in text or "Condition" in text or "Mutex" in text:
                found.update(name for pair in _DEFINES_LOCK.findall(text) for name in pair if name)
    return found


def wait_at(text: str, locks: Collection[str] = ()) -> WaitFunction | None:
    """What a thread waits for if its last frame is on this line of source: calls into C have no frame of their own."""
    return LOCK if takes_lock(text, locks) else SLEEP if _SLEEPS.search(text) else None


def holds_lock(frame: Frame, line_of: Callable[[str, int], str], locks: Collection[str] = ()) -> bool:
    """True for a line inside a `with` that takes a lock, or after an `acquire` that nothing has released yet."""
    depth = _depth(line_of(frame.file, frame.line))
    for line in range(frame.line - 1, max(0, frame.line - BLOCK_LINES), -1):
        text = line_of(frame.file, line)
        if not text.strip():
            continue
        if ".release(" in text:
            return False
        if takes_lock(text, locks) and (".acquire(" in text or _depth(text) < depth):
            return True
        if _FUNCTION.match(text) and _depth(text) < depth:
            return False
        depth = min(depth, _depth(text))
    return False


def _depth(text: str) -> int:
    return len(text) - len(text.lstrip())


def reads_gpu(text: str) -> bool:
    """Whether this line of source fetches a value from the GPU, which has no frame of its own."""
    return bool(_READS_GPU.search(text))


def reason_in(stack: Iterable[Frame]) -> str:
    """What the frames from the root to the leaf are at; "" for most.

    The outermost decides: a library that is being imported is not used yet, and what compiles imports its compiler.
    """
    frames = list(stack)
    for place, frame in enumerate(frames):
        if OF_IMPORTS.search(frame.file):
            return f"importing {imported_by(frames[place:]) or 'a module'}"
        if word := reason_of(frame):
            return word
    return ""


def imported_by(frames: Sequence[Frame]) -> str:
    """`torch._dynamo`: the module whose code runs first below an import; "" for none."""
    first = next((frame for frame in frames if frame.name == AT_TOP and not OF_IMPORTS.search(frame.file)), None)
    if first is None:
        return ""
    found = _MODULE.match(first.file)
    return found[1].replace("/", ".") if found else first.file.rpartition("/")[2].removesuffix(".py")


def reason_of(frame: Frame) -> str:
    """`"checkpoint"` for a frame of `torch.save`; "" for most, and for a module's own code, which runs when that is imported."""
    if frame.name == AT_TOP:
        return ""
    function = frame.name.rpartition(".")[2]
    return next(
        (reason.word for reason in REASONS if reason.file in frame.file and reason.function in ("", function)), ""
    )


_BY_FUNCTION = {wait.function: [row for row in WAITS if row.function == wait.function] for wait in WAITS}
