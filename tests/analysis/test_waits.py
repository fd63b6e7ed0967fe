"""The table of waits: each row names a function that exists, and threads that really wait are recognised by it."""

from __future__ import annotations

import ast
import multiprocessing
import queue
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
import torch

from analysis.stacks.frames import line_of
from analysis.stacks.waits import (
    WAITS,
    StackWait,
    WaitFunction,
    holds_lock,
    reads_gpu,
    reason_of,
    takes_lock,
    wait_at,
    wait_of,
    waiting,
)
from collectors.records import Frame
from tests.conftest import wait_for

PLACES = (Path(sysconfig.get_path("stdlib")), Path(torch.__file__).parents[1])


@cache
def functions(file: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }


@pytest.mark.parametrize("row", WAITS, ids=lambda row: f"{Path(row.file).stem}.{row.function}")
def test_a_row_names_a_function_that_exists(row: WaitFunction) -> None:
    files = [place / row.file.removeprefix("/") for place in PLACES]
    (file,) = [file for file in files if file.exists()]
    assert row.function in functions(file)


def stack_of(thread: threading.Thread) -> list[Frame]:
    """From the root to the leaf, as a sampler sees it."""
    frame = sys._current_frames().get(thread.ident or 0)
    found: list[Frame] = []
    while frame is not None:
        found.append(Frame(frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return found[::-1]


def recognised(wait: Callable[[], object]) -> StackWait | None:
    """What a thread is found to wait for that does this."""
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    stack: list[Frame] = []

    def stands() -> bool:
        before, now = stack[:], stack_of(thread)
        stack[:] = now
        return bool(before) and before == now and wait_of(now[-1]) is not None

    wait_for(stands, because="the thread does not come to stand in a wait")
    return waiting([wait_of(frame) for frame in stack])


def forever() -> None:
    threading.Event().wait()


PIPE = multiprocessing.Pipe()
SITUATIONS: dict[str, tuple[Callable[[], object], str, str]] = {
    "an empty queue": (lambda: queue.Queue[int]().get(), "queue", "threads"),
    "a queue with a time limit": (lambda: queue.Queue[int]().get(timeout=3600), "queue", "threads"),
    "a condition": (forever, "condition", "threads"),
    "a future": (lambda: Future[int]().result(), "future", "threads"),
    "a queue of processes": (lambda: multiprocessing.Queue().get(), "queue", "workers"),
    "a pipe": (lambda: PIPE[0].recv(), "pipe", "workers"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_thread_that_waits_is_recognised(situation: str) -> None:
    wait, what, joined = SITUATIONS[situation]
    found = recognised(wait)
    assert found is not None
    assert (found.wait.what, found.wait.joined) == (what, joined)


def test_joining_a_thread_is_a_wait_for_threads() -> None:
    other = threading.Thread(target=forever, daemon=True)
    other.start()
    found = recognised(other.join)
    assert found is not None
    assert (found.wait.what, found.wait.joined) == ("thread", "threads")


def test_waiting_for_a_child_is_a_wait_for_processes() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        found = recognised(child.wait)
        child.kill()
    assert found is not None
    assert (found.wait.what, found.wait.joined) == ("child process", "child")


SLEEPING = [sys.executable, "-c", "import time; time.sleep(3)"]
OF_A_CHILD: dict[str, Callable[[], object]] = {
    "run": lambda: subprocess.run(SLEEPING),
    "its output": lambda: subprocess.check_output(SLEEPING),
    "both outputs": lambda: subprocess.run(SLEEPING, capture_output=True),
    "a time limit": lambda: subprocess.run(SLEEPING, timeout=60),
    "call": lambda: subprocess.call(SLEEPING),
}


@pytest.mark.parametrize("way", OF_A_CHILD)
def test_waiting_for_a_program_is_a_wait_for_a_child(way: str) -> None:
    found = recognised(OF_A_CHILD[way])
    assert found is not None
    assert (found.wait.what, found.wait.joined) == ("child process", "child")


def test_work_inside_a_wait_is_no_wait() -> None:
    get = Frame("Queue.get", "/usr/lib/python3.11/multiprocessing/queues.py", 113)
    rebuild = Frame("rebuild_tensor", "/site-packages/torch/multiprocessing/reductions.py", 1)
    assert waiting([wait_of(get), wait_of(rebuild)]) is None
    assert wait_of(Frame("get", "/job/queue_of_mine.py", 1)) is None


@pytest.mark.parametrize(
    "text", ["with self._lock:", "    with LOCK, open(path) as file:", "cache_lock.acquire()", "with mutex:"]
)
def test_a_line_that_takes_a_lock_is_told_by_its_text(text: str) -> None:
    assert takes_lock(text)
    assert wait_at(text) is not None


@pytest.mark.parametrize("text", ["with open(path) as file:", "lock = Lock()", "block.forward(x)", "lock.release()"])
def test_other_lines_take_no_lock(text: str) -> None:
    assert not takes_lock(text)
    assert wait_at(text) is None


def test_who_stands_inside_a_with_holds_the_lock(tmp_path: Path) -> None:
    file = tmp_path / "cache.py"
    lines = [
        "def write():",
        "    prepare()",
        "    with LOCK:",
        "        if full:",
        "            flush()",
        "    after()",
        "def other():",
        "    LOCK.acquire()",
        "    flush()",
        "    LOCK.release()",
        "    after()",
    ]
    file.write_text("\n".join(lines))
    holding = [number for number in range(1, len(lines) + 1) if holds_lock(Frame("f", str(file), number), line_of)]
    assert holding == [4, 5, 9, 10]


def test_lines_that_fetch_from_the_gpu_and_frames_of_known_work_are_told() -> None:
    assert reads_gpu("total += loss.item()")
    assert reads_gpu("x = x.to('cpu')")
    assert not reads_gpu("item(loss)")
    assert reason_of(Frame("save", "/site-packages/torch/serialization.py", 900)) == "checkpoint"
    assert reason_of(Frame("compile_inner", "/site-packages/torch/_dynamo/convert_frame.py", 1)) == "recompiling"
    assert reason_of(Frame("save", "/job/torch.py", 9)) == ""


def test_a_compiled_model_that_runs_is_not_compiling() -> None:
    """What PyTorch 2.13 has on the stack of a compiled model's call, and of `optimizer.zero_grad`."""
    for name, file in (
        ("compile_wrapper", "_dynamo/eval_frame"),
        ("__call__", "_inductor/output_code"),
        ("_fn", "_dynamo/eval_frame"),
    ):
        assert reason_of(Frame(name, f"/site-packages/torch/{file}.py", 1)) == ""


def test_an_idle_thread_of_a_pool_waits_for_work() -> None:
    with ThreadPoolExecutor(1) as pool:
        ident = pool.submit(threading.get_ident).result()

        def what() -> str:
            code = sys._current_frames()[ident].f_code
            wait = wait_of(Frame(code.co_name, code.co_filename, 1))
            return wait.what if wait else ""

        wait_for(lambda: what() == "work")
