"""A trace on demand inside the script: whatever is asked for and whatever fails, each line is logged and the training goes on."""

from __future__ import annotations

import cProfile
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.log import RunLog, step_trace, trace_requests
from deepseek.log.trace_requests import REQUEST
from tests.support.logging_scripts import events_of, steps_of
from tests.support.running import script, wait_for
from tests.support.traced_script import Step, lines_of, traced
from tests.support.traced_script import log as log  # a fixture
from tests.support.tracing import answered, folder_of, look_at_once, request, steps_until

NO_TRACE = """
import sys
from deepseek.log import RunLog
with RunLog(sys.argv[1], "run") as log:
    for step in range(100):
        log.scalars(step, loss=step / 2)
print([name for name in ("ctypes", "deepseek.log.step_trace", "torch") if name in sys.modules], log._queue is log._lines_queued)
"""
FORKING = """
import os, sys, time
import torch
from tests.support.tracing import request, steps_until
from deepseek.log import RunLog
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
one = torch.ones(1)
with RunLog(sys.argv[1], "run") as log:
    answer, children = request(log), []
    def work():
        trace = log._tracing._trace
        if trace is not None and trace._profiler is not None and not children:
            children.append(os.fork())
            if children == [0]:
                log.scalars(10**6, loss=1.0)
                one.add(1)
                before = resident()
                for row in range(100_000):
                    abs(row)
                for row in range(5_000):
                    one.add(1)
                os._exit(resident() - before > 4_000_000)
            assert os.waitpid(children[0], 0)[1] == 0, "it goes on recording"
    steps_until(log, answer.exists, work)
print(answer.read_text())
"""


def test_three_steps_are_traced_by_the_line_that_called_each_operator(log: RunLog, tmp_path: Path) -> None:
    path = request(log)
    steps = steps_until(log, path.exists, Step())
    answer = answered(path)
    assert answer["error"] == "" and answer["device"] == "CPU" and answer["with_stacks"]
    assert answer["last_step"] - answer["first_step"] == 2 and 0 < answer["to_s"] - answer["from_s"] < 10
    line = "return torch.relu(self.weight(rows)).sum()"
    assert lines_of(answer, "aten::addmm", backward=False) == {line}
    assert lines_of(answer, "aten::mm", backward=True) == {line}, (
        "what autograd runs stands with the line that ran forward"
    )
    counts = {
        name: sum(row[4] for row in answer["kernels"] if row[1] == name) for name in ("aten::addmm", "aten::relu")
    }
    assert counts == {"aten::addmm": 3, "aten::relu": 3}
    wait_for(lambda: not (path.parent / REQUEST).exists(), because="an answered request stays")
    assert log._queue is log._lines_queued
    log.close()
    assert steps_of(tmp_path) == list(range(steps))
    assert [event["text"] for event in events_of(tmp_path, "trace")] == ["3 steps traced"]
    assert not torch.autograd._profiler_enabled() and sys.getprofile() is None


def test_self_times_of_operators_add_up_to_less_than_the_traced_time(log: RunLog) -> None:
    path = request(log)
    steps_until(log, path.exists, Step())
    answer = answered(path)
    assert 0 < sum(row[3] for row in answer["kernels"]) <= answer["to_s"] - answer["from_s"]


def test_without_a_request_nothing_of_it_is_loaded_and_the_queue_is_the_queue(tmp_path: Path) -> None:
    with script(NO_TRACE, str(tmp_path)) as process:
        assert process.communicate(timeout=60)[0].strip() == "[] True"


class Failing:
    """PyTorch's profiler, which raises at some moment."""

    def __init__(self, at: str, error: Exception) -> None:
        self._at, self._error = at, error

    def _may_raise(self, at: str) -> None:
        if at == self._at:
            raise self._error

    def profile(self, **_: Any) -> Failing:
        self._may_raise("made")
        return self

    def start(self) -> None:
        self._may_raise("start")

    def stop(self) -> None:
        self._may_raise("stop")

    @property
    def profiler(self) -> Any:
        self._may_raise("read")
        return self

    @property
    def kineto_results(self) -> Any:
        return self

    def experimental_event_tree(self) -> Any:
        self._may_raise("tree")
        return [self]

    @property
    def typed(self) -> Any:
        self._may_raise("event")
        raise AttributeError("typed")


@settings(deadline=None, max_examples=12)
@given(
    st.sampled_from(["made", "start", "stop", "read", "tree", "event"]),
    st.sampled_from(
        [
            RuntimeError("CUPTI"),
            OSError(28, "No space left"),
            MemoryError(),
            UserWarning("w"),
            KeyError(),
            ValueError("\ud800"),
        ]
    ),
)
def test_a_profiler_that_raises_costs_the_trace_alone(at: str, error: Exception) -> None:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        look_at_once(patch)
        patch.setattr(step_trace, "_torch_profiler", lambda: (Failing(at, error), ["CPU"]))
        with RunLog(folder, "run") as log:
            path = request(log)
            steps = steps_until(log, path.exists)
            assert type(error).__name__ in answered(path)["error"] or at == "event"
            assert answered(path)["error"] and log._queue is log._lines_queued
        assert steps_of(Path(folder)) == list(range(steps))
    assert sys.getprofile() is None


def test_a_full_disk_costs_the_answer_alone(
    log: RunLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(file: int, name: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    path = request(log)
    monkeypatch.setattr(trace_requests, "_write_whole", full)
    steps = steps_until(log, lambda: not (path.parent / REQUEST).exists(), Step())
    wait_for(lambda: not log._tracing._writing or not log._tracing._writing.is_alive())
    assert not list(path.parent.iterdir()) and "is lost" in capsys.readouterr().err
    log.close()
    assert steps_of(tmp_path) == list(range(steps))


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_that_ends_ends_its_trace(begun: bool, log: RunLog, tmp_path: Path) -> None:
    path = request(log)
    step = Step()
    steps_until(log, lambda: traced(log) if begun else log._tracing._trace, step)
    log.close()
    assert "the run ended" in answered(path)["error"] and not torch.autograd._profiler_enabled()
    assert sys.getprofile() is None and events_of(tmp_path, "end")


def test_a_script_whose_steps_do_not_come_is_not_waited_for(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_trace, "BEGIN_WITHIN_S", 0.2)
    path = request(log)
    wait_for(path.exists)
    assert "no step ended" in answered(path)["error"]


def test_steps_that_take_too_long_are_not_traced_to_their_end(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    path = request(log, steps=20)
    steps_until(log, lambda: traced(log), Step())
    monkeypatch.setattr(step_trace, "LONGEST_S", 0.2)
    wait_for(path.exists)
    assert "took longer" in answered(path)["error"] and not torch.autograd._profiler_enabled()


def test_a_step_of_very_many_calls_is_traced_without_lines(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_trace, "MAX_CALLS", 5)
    path = request(log)
    steps_until(log, path.exists, Step())
    answer = answered(path)
    assert answer["error"] == "" and not answer["with_stacks"] and answer["stacks"] == [[]]
    assert any(row[1] == "aten::addmm" for row in answer["kernels"])


def test_a_step_of_many_calls_shortens_the_trace(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_trace, "MAX_CALLS", 150)
    path = request(log, steps=20)
    steps_until(log, path.exists, Step())
    answer = answered(path)
    assert answer["with_stacks"] and answer["last_step"] - answer["first_step"] + 1 < 20


def test_beside_the_scripts_own_profiler_there_is_none(log: RunLog) -> None:
    path = request(log)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
        steps_until(log, path.exists, Step())
        assert torch.autograd._profiler_enabled()
    assert "own torch profiler" in answered(path)["error"]


def test_beside_cprofile_there_is_none(log: RunLog) -> None:
    path, own = request(log), cProfile.Profile()
    own.enable()
    steps_until(log, path.exists)
    own.disable()
    assert "cProfile" in answered(path)["error"]


def test_without_torch_the_answer_says_what_is_missing(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    path = request(log)
    steps_until(log, path.exists)
    assert "has not imported torch" in answered(path)["error"]


def test_steps_of_another_thread_and_odd_ones_end_nothing(log: RunLog) -> None:
    path = request(log)
    steps_until(log, lambda: traced(log), Step())
    other = threading.Thread(target=lambda: [log.scalars(10**6 + step, x=1.0) for step in range(50)])
    other.start()
    other.join()
    log.scalars(None, x=1.0)  # type: ignore[arg-type]
    assert traced(log)
    log.scalars(5 * 10**6, x=1.0)
    log.scalars(6 * 10**6, x=1.0)
    log.scalars(7 * 10**6, x=1.0)
    wait_for(path.exists)
    assert answered(path)["error"] == ""


def test_a_child_that_is_forked_meanwhile_logs_and_records_nothing(tmp_path: Path) -> None:
    with script(FORKING, str(tmp_path)) as process:
        out = process.communicate(timeout=60)[0]
    assert '"error":""' in out and 10**6 not in steps_of(tmp_path)


def test_the_folder_is_named_relative_to_the_run(tmp_path: Path) -> None:
    with RunLog(tmp_path, "sweep/a b") as log:
        assert folder_of(log) == tmp_path / ".deepseek" / "traces" / "sweep%2Fa%20b"


def test_long_names_have_folders_of_their_own(tmp_path: Path) -> None:
    names = {trace_requests.named_in_info(f"{'x' * 240}{end}") for end in "ab"} | {
        trace_requests.named_in_info("." + "y" * 10)
    }
    assert len(names) == 3 and all(len(name.rpartition("/")[2]) < 255 for name in names)
