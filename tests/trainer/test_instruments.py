"""What a training loop measures of itself, in real loops on the CPU; around a GPU only the logic, by `tests/support/simulated_gpu.py`."""

from __future__ import annotations

import gc
import itertools
from pathlib import Path
from time import sleep, time
from typing import Any

import pytest
import torch
from torch import nn

from deepseek.log import RunLog
from tests.conftest import script
from tests.support.logging_scripts import lines_of
from tests.support.logging_scripts import log as log  # a fixture
from tests.support.simulated_gpu import SimulatedGpu
from trainer import measure
from trainer.measure import GpuClock, GpuMemory, Instruments, peak_flops

CPU = torch.device("cpu")
TWO_RANKS = """
import os, sys, time, torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from trainer.measure import Instruments
from deepseek.log import RunLog

def model():
    torch.manual_seed(0)
    return DistributedDataParallel(nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 8)), bucket_cap_mb=0.001)

torch.set_num_threads(1)
child = os.fork()  # imports take longer than all the rest
rank = 0 if child else 1
distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/meeting", rank=rank, world_size=2)
plain, timed = model(), model()
with RunLog(sys.argv[1], "run", rank=rank, world_size=2) as log, Instruments(log, torch.device("cpu")) as instruments:
    instruments.time_first_all_reduce(timed)
    for step in range(4):
        batch = torch.rand(4, 8, generator=torch.Generator().manual_seed(step * 2 + rank))
        for model in (plain, timed):
            model.zero_grad()
            loss = model(batch).square().mean()
            distributed.barrier()
            time.sleep(0.1 if rank == step % 2 and model is timed else 0)  # the straggler
            loss.backward()
        equal = all(torch.equal(a.grad, b.grad) for a, b in zip(plain.parameters(), timed.parameters()))
        instruments.end_step(step, {"equal": equal})
distributed.destroy_process_group()
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""


def metrics_of(log: RunLog) -> list[dict[str, Any]]:
    log.close()
    return lines_of(log.folder / "metrics.jsonl")


def events_of(log: RunLog, kind: str) -> list[dict[str, Any]]:
    log.close()
    return [event for event in lines_of(log.folder / "events.jsonl") if event["kind"] == kind]


def test_on_a_cpu_every_step_is_one_line_with_its_phases_and_is_told_at_once(log: RunLog) -> None:
    model, loss = nn.Linear(4, 1), torch.tensor(0.0)
    with Instruments(log, CPU) as instruments:
        for step in range(3):
            with instruments.phases["forward"]:
                loss = model(torch.ones(4)).sum()
            (told,) = instruments.end_step(step, {"train/loss": loss, "train/lr": 0.5})
            assert (told.step, told.values) == (step, {"train/loss": loss.item(), "train/lr": 0.5})
    lines = metrics_of(log)
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert all(
        line.keys() == {"time_s", "step", "train/loss", "train/lr", "phase/forward_s", "phase/log_s"} for line in lines
    )
    assert lines[0]["phase/log_s"] == 0 < lines[1]["phase/log_s"], "what logging a step costs is told with the next"


def test_what_a_gpu_tells_late_stands_at_the_step_and_time_it_belongs_to(log: RunLog) -> None:
    gpu = SimulatedGpu()
    begun_s: list[float] = []
    ended_s: list[float] = []
    with Instruments(log, CPU, GpuClock(gpu)) as instruments:
        for step in range(3):
            with instruments.phases["forward"]:
                gpu.launch(0.05)
            begun_s.append(time())
            assert instruments.end_step(step, {"train/loss": torch.tensor(step / 4), "train/lr": 0.5}) == []
            ended_s.append(time())
    lines = metrics_of(log)
    assert [line["step"] for line in lines] == [0, 1, 2, 0, 1, 2]
    known, late = lines[:3], lines[3:]
    assert all("train/lr" in line and "train/loss" not in line for line in known)
    assert [line["train/loss"] for line in late] == [0, 0.25, 0.5]
    assert [line["time_s"] for line in late] == [line["time_s"] for line in known]
    assert all(begun <= line["time_s"] <= ended for line, begun, ended in zip(late, begun_s, ended_s, strict=True))
    assert [line["gpu_phase/forward_s"] for line in late] == pytest.approx([0.05] * 3, abs=0.005)
    assert {"gpu/idle_s", "host_lead_s"} < late[1].keys()


def test_a_collection_of_the_oldest_generation_is_an_event_and_a_younger_one_is_not(log: RunLog) -> None:
    with Instruments(log, CPU) as instruments:
        instruments.end_step(6, {})
        gc.collect(1)
        began_s = time()
        gc.collect()
        took_s = time() - began_s
    gc.collect()
    (event,) = events_of(log, "gc")
    assert event["step"] == 7
    assert 0 < event["seconds"] <= took_s
    assert event["text"].startswith("generation 2, ")


def test_compilations_are_events_with_their_reason(log: RunLog) -> None:
    import torch._dynamo

    @torch.compile(backend="eager")
    def doubled(x_N: torch.Tensor) -> torch.Tensor:
        return x_N * 2

    torch._dynamo.reset()
    with Instruments(log, CPU) as instruments:
        for step, size in enumerate((3, 3, 4)):
            doubled(torch.ones(size))
            instruments.end_step(step, {})
    doubled(torch.ones(2, 2))
    (first,) = events_of(log, "compile")
    (again,) = events_of(log, "recompile")
    assert (first["step"], first["text"]) == (0, "doubled: for the first time")
    assert again["step"] == 2
    assert again["text"].startswith("doubled: ")
    assert "size mismatch" in again["text"]
    assert 0 < again["seconds"] < first["time_s"]


def test_memory_is_read_once_a_second_and_an_allocator_that_starts_over_is_an_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stats = {
        "num_alloc_retries": 3,
        "allocated_bytes.all.current": 10,
        "reserved_bytes.all.current": 30,
        "allocated_bytes.all.peak": 20,
    }
    events: list[tuple[str, dict[str, object]]] = []
    memory = GpuMemory(lambda kind, **fields: events.append((kind, fields)), lambda: stats)
    assert memory.read() == {"memory/allocated_bytes": 10, "memory/reserved_bytes": 30, "memory/peak_bytes": 20}
    stats["num_alloc_retries"] = 5
    assert memory.read() == {}
    assert events == []
    monkeypatch.setattr(measure, "monotonic", lambda: memory._due_s)
    assert memory.read()
    ((kind, fields),) = events
    assert (kind, fields["count"]) == ("allocator_retry", 2)


def test_the_straggler_has_the_shortest_all_reduce_and_gradients_are_those_of_an_untimed_model(tmp_path: Path) -> None:
    with script(TWO_RANKS, str(tmp_path)) as process:
        assert process.wait(60) == 0
    first, second = lines_of(tmp_path / "run" / "metrics.jsonl"), lines_of(tmp_path / "run" / "metrics.rank1.jsonl")
    assert len(first) == len(second) == 4
    assert all(line["equal"] is True for line in first + second)
    for step, lines in enumerate(zip(first, second, strict=True)):
        straggler, other = lines[step % 2], lines[1 - step % 2]
        shortest, longest = (line["collective/first_all_reduce_s"] for line in (straggler, other))
        assert shortest + 0.05 < longest  # they end together, however busy the machine is


def test_a_model_of_one_rank_has_no_all_reduce_to_time(log: RunLog) -> None:
    with Instruments(log, CPU) as instruments:
        instruments.time_first_all_reduce(nn.Linear(2, 2))
        instruments.end_step(0, {})
    assert metrics_of(log)[0].keys() == {"time_s", "step", "phase/log_s"}


@pytest.mark.parametrize(("error", "told"), [(KeyboardInterrupt(), 1), (RuntimeError("device-side assert"), 0)])
def test_a_loop_that_is_left_by_an_error_is_told_of_the_gpu_only_where_it_still_answers(
    log: RunLog, error: BaseException, told: int
) -> None:
    gpu = SimulatedGpu()
    callbacks = len(gc.callbacks)
    with pytest.raises(type(error)), Instruments(log, CPU, GpuClock(gpu)) as instruments:
        gpu.launch(0.02)
        instruments.end_step(0, {"train/loss": torch.tensor(0.5)})
        raise error
    assert sum("train/loss" in line for line in metrics_of(log)) == told
    assert len(gc.callbacks) == callbacks


def test_instruments_that_are_closed_leave_nothing_behind(log: RunLog) -> None:
    import torch._dynamo

    handler = torch._dynamo.callback_handler
    before = len(gc.callbacks), len(handler.start_callbacks), len(handler.end_callbacks)
    for _ in range(3):
        with Instruments(log, CPU):
            assert len(gc.callbacks) == before[0] + 1
    assert (len(gc.callbacks), len(handler.start_callbacks), len(handler.end_callbacks)) == before


def test_a_cpu_has_no_peak() -> None:
    assert peak_flops(CPU, "fp32") is None


def test_the_next_step_begins_where_the_last_one_was_logged(log: RunLog) -> None:
    with Instruments(log, CPU) as instruments:
        for step in range(3):
            with instruments.phases["data"]:
                sleep(0.01)
            instruments.end_step(step, {})
    lines = metrics_of(log)
    for before, line in itertools.pairwise(lines):
        spent_s = sum(value for name, value in line.items() if name.startswith("phase/"))
        assert 0.01 <= spent_s <= line["time_s"] - before["time_s"] + 0.001
