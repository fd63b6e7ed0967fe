"""How real threads stood in each wait, as the native sampler recorded them: each row of the table recognises its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.stacks.waits import WAITS, StackWait, WaitFunction, reads_gpu, reason_of, wait_at, wait_of, waiting
from collectors.records import Frame
from tests.conftest import ROOT

(FILE,) = (ROOT / "tests" / "data" / "recorded").glob("waits_*.json")
RECORDED = json.loads(FILE.read_text())["waits"]
WITHOUT_A_GPU = {  # rows that no recording shows: they need CUDA
    ("synchronize", "torch/cuda/__init__.py"),
    ("synchronize", "torch/cuda/streams.py"),
    ("wait", "torch/cuda/streams.py"),
}
OF_IDLE_ONES = {  # rows that only threads and children without work show; what is recorded is the main thread
    ("_worker", "/concurrent/futures/thread.py"),
    ("__enter__", "/multiprocessing/synchronize.py"),
}


def stacks(situation: str) -> list[list[Frame]]:
    """The longest first."""
    return [[Frame(*frame) for frame in one["stack"]] for one in RECORDED[situation]]


def found(stack: list[Frame]) -> StackWait | None:
    return waiting([wait_of(frame) for frame in stack])


def row_of(wait: WaitFunction) -> str:
    return f"{Path(wait.file).stem}.{wait.function}"


@pytest.mark.parametrize(
    "row", [row for row in WAITS if (row.function, row.file) not in WITHOUT_A_GPU | OF_IDLE_ONES], ids=row_of
)
def test_a_row_recognises_a_recorded_thread(row: WaitFunction) -> None:
    told = [found(stack) for situation in RECORDED for stack in stacks(situation) if row in map(wait_of, stack)]
    assert any(one is not None and (row.plumbing or one.wait == row or one.wait.joined == row.joined) for one in told)


WHAT = {  # what the longest stack of a situation is found to wait for, and whose stacks explain it
    "queue get": ("queue", "threads"),
    "queue put": ("queue", "threads"),
    "queue join": ("queue", "threads"),
    "condition wait": ("condition", "threads"),
    "condition wait_for": ("condition", "threads"),
    "thread join": ("thread", "threads"),
    "future result": ("future", "threads"),
    "futures wait": ("future", "threads"),
    "futures as_completed": ("future", "threads"),
    "executor map": ("future", "threads"),
    "process queue get": ("queue", "workers"),
    "process queue put": ("queue", "workers"),
    "process pool get": ("process pool", "workers"),
    "process pool wait": ("process pool", "workers"),
    "process join": ("child process", "workers"),
    "process join in time": ("child process", "workers"),
    "child wait": ("child process", "child"),
    "child wait in time": ("child process", "child"),
    "child communicate": ("child process", "child"),
    "child communicate both": ("child process", "child"),
    "socket accept": ("connection", ""),
    "socket read": ("network", ""),
    "pipe recv": ("pipe", "workers"),
    "pipe wait": ("pipe", "workers"),
    "select": ("input", ""),
    "data loader": ("data loader", "workers"),
    "backward": ("backward pass", "backward"),
    "all_reduce": ("collective", "ranks"),
    "all_gather_into_tensor": ("collective", "ranks"),
    "reduce_scatter_tensor": ("collective", "ranks"),
    "barrier": ("collective", "ranks"),
}


@pytest.mark.parametrize("situation", WHAT)
def test_a_recorded_wait_is_told(situation: str) -> None:
    wait = found(stacks(situation)[0])
    assert wait is not None
    assert (wait.wait.what, wait.wait.joined) == WHAT[situation]


@pytest.mark.parametrize(("situation", "what"), [("lock", "lock"), ("sleep", "time")])
def test_what_has_no_frame_is_told_by_the_line(situation: str, what: str) -> None:
    wait = wait_at(RECORDED[situation][0]["line"])
    assert wait is not None
    assert wait.what == what


def test_fetching_a_tensor_is_told_apart_from_waiting_for_it() -> None:
    told = [wait.wait for stack in stacks("transfer") if (wait := found(stack))]
    assert {(wait.what, wait.joined) for wait in told} == {("data loader", "workers"), ("transfer", "workers")}


def test_reading_a_value_is_told_by_the_line() -> None:
    assert reads_gpu(RECORDED["item"][0]["line"])


@pytest.mark.parametrize(
    ("situation", "word"),
    [("torch.save", "checkpoint"), ("distributed checkpoint", "checkpoint"), ("torch.compile", "recompiling")],
)
def test_work_that_nobody_asked_for_is_told(situation: str, word: str) -> None:
    assert word in {reason_of(frame) for stack in stacks(situation) for frame in stack}


def test_pythons_part_of_a_backward_pass_is_work() -> None:
    (stack, *_) = stacks("backward in Python")
    assert found(stack) is None
    assert [frame.name.rpartition(".")[2] for frame in stack if wait_of(frame)] == ["_engine_run_backward"]
    assert stack[-1].name == "Doubled.backward"
