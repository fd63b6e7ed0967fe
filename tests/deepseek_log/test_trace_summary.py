"""What PyTorch's profiler recorded on a GPU, added up by line: events as its tree has them, without a GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.log import step_trace
from deepseek.log.step_trace import BusyInterval, busy_of, kind_of, summary_of

MS = 1_000_000  # ns
ALL_REDUCE = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"


def frame(file: str, line: int, name: str) -> Any:
    return SimpleNamespace(file_name=file, line_number=line, function_name=name)


def event(tag: str, name: str, children: list[Any] | None = None, **fields: Any) -> Any:
    typed = SimpleNamespace(name=tag), SimpleNamespace(**fields)
    number = fields.get("correlation", 0)
    return SimpleNamespace(name=name, typed=typed, children=children or [], correlation_id=number, duration_time_ns=MS)


def call(site: Any, at: Any, *children: Any) -> Any:
    return event("PyCall", site.function_name, list(children), callsite=site, caller=at)


def operator(name: str, correlation: int, *children: Any, sequence: int = -1, scope: int = 0) -> Any:
    return event("TorchOp", name, list(children), sequence_number=sequence, scope=scope, correlation=correlation)


def kernel(
    name: str, linked: int, start_ms: float, ms: float, device: str = "DeviceType.CUDA", kind: str = "kernel"
) -> Any:
    values = {
        "name": name,
        "device_type": device,
        "is_user_annotation": False,
        "activity_type": kind,
        "linked_correlation_id": linked,
        "start_ns": int(start_ms * MS),
        "duration_ns": int(ms * MS),
    }
    return SimpleNamespace(**{key: (lambda value=value: value) for key, value in values.items()})


class Result:
    """`kineto_results` of a step with one layer, its backward pass in a thread of autograd, and an all-reduce beside it."""

    def __init__(self) -> None:
        top, forward = frame("/job/train.py", 1, "<module>"), frame("/job/model.py", 3, "forward")
        at = frame("/job/train.py", 40, "<module>"), frame("/job/model.py", 7, "forward")
        builtin = event("PyCCall", "linear", [operator("aten::addmm", 11, sequence=5)], caller=at[1])
        self.tree = [
            operator(
                "AddmmBackward0", 0, operator("aten::mm", 12), sequence=5, scope=1
            ),  # of a thread that comes first
            call(top, frame("/job/train.py", 1, "<module>"), call(forward, at[0], builtin)),
        ]
        self.kernels = [
            kernel("sm90_gemm", 11, 0, 4),
            kernel("sm90_gemm_backward", 12, 4, 6),
            kernel(ALL_REDUCE, 99, 8, 6),
            kernel("Memcpy HtoD (Pinned -> Device)", 0, 13, 2),
            kernel("cudaLaunchKernel", 11, 0, 1, device="DeviceType.CPU"),
            kernel("Optimizer.step#AdamW.step", 0, 0, 50, kind="gpu_user_annotation"),
        ]

    def experimental_event_tree(self) -> list[Any]:
        return self.tree

    def events(self) -> list[Any]:
        return self.kernels


def rows_of(found: dict[str, Any]) -> dict[str, tuple[list[str], str, float, int]]:
    """By kernel: its stack as `file:line`, kind, milliseconds, whether it ran backward."""
    places = [f"{file.rpartition('/')[2]}:{line}" for file, line, _ in found["frames"]]
    stacks = [[places[number] for number in stack] for stack in found["stacks"]]
    return {
        name: (stacks[stack], kind, seconds * 1e3, back) for stack, name, kind, seconds, _, back in found["kernels"]
    }


def test_kernels_stand_with_the_line_that_launched_them() -> None:
    rows = rows_of(summary_of(Result(), on_gpu=True))
    line = ["train.py:40", "model.py:7"]
    assert rows["sm90_gemm"] == (line, "compute", 4, 0)
    assert rows["sm90_gemm_backward"] == (line, "compute", 6, 1)
    assert rows[ALL_REDUCE] == ([], "communication", 6, 0)
    assert rows["Memcpy HtoD (Pinned -> Device)"] == ([], "copy", 2, 0)
    assert "cudaLaunchKernel" not in rows and "Optimizer.step#AdamW.step" not in rows


def test_older_versions_of_torch_say_less_of_an_event() -> None:
    result = Result()
    for found in result.kernels:
        del found.is_user_annotation, found.activity_type
    result.kernels.pop()
    assert rows_of(summary_of(result, on_gpu=True)) == rows_of(summary_of(Result(), on_gpu=True))


def test_what_runs_at_once_keeps_the_gpu_busy_once() -> None:
    busy = summary_of(Result(), on_gpu=True)["busy"]
    assert busy == {"compute": 0.010, "communication": 0.004, "copy": 0.001, "hidden": 0.002}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (ALL_REDUCE, "communication"),
        ("ncclKernel_AllGather_RING_LL_Sum_int8_t(ncclWorkElem)", "communication"),
        ("void vllm::cross_device_reduce_1stage<float, 2>(...)", "communication"),
        ("Memset (Device)", "copy"),
        ("Memcpy PtoP (Device -> Device)", "copy"),
        ("void at::native::vectorized_elementwise_kernel<4, CopyFunctor>", "compute"),
        ("void at::native::reduce_kernel<512, 1>", "compute"),
    ],
)
def test_a_kernel_is_of_the_kind_that_its_name_says(name: str, kind: str) -> None:
    assert kind_of(name) == kind


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 1000), st.integers(0, 300), st.sampled_from(["compute", "communication", "copy"])),
        max_size=12,
    )
)
def test_busy_time_is_that_in_which_anything_runs(kernels: list[tuple[int, int, str]]) -> None:
    intervals = [BusyInterval(start, start + length, kind) for start, length, kind in kernels]
    busy = busy_of(intervals)
    ticks = {
        kind: {t for start, end, of in intervals for t in range(start, end) if of == kind}
        for kind in ("compute", "communication", "copy")
    }
    compute, communication, copy = ticks["compute"], ticks["communication"], ticks["copy"]
    expected = {
        "compute": len(compute),
        "communication": len(communication - compute),
        "copy": len(copy - compute - communication),
        "hidden": len(communication & compute),
    }
    assert busy == pytest.approx({kind: ns * 1e-9 for kind, ns in expected.items()}, abs=1e-12)


def test_more_rows_than_fit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_trace, "MAX_ROWS", 2)
    found = summary_of(Result(), on_gpu=True)
    assert len(found["kernels"]) == 2 and found["left_out"] == [2, pytest.approx(0.006)]


def test_a_stack_deeper_than_pythons_limit_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    site = frame("deep.py", 1, "f")
    found = operator("aten::add", 1)
    for _ in range(5000):
        found = call(site, site, found)
    monkeypatch.setattr(step_trace, "PAUSE_S", 0.0)
    result = SimpleNamespace(experimental_event_tree=lambda: [found])
    assert len(summary_of(result, on_gpu=False)["stacks"][0]) == step_trace.MAX_DEPTH


def test_more_events_than_are_read_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_trace, "MAX_EVENTS", 3)
    with pytest.raises(ValueError, match="more than 3 events"):
        summary_of(Result(), on_gpu=True)
