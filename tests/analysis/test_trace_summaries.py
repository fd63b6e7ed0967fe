"""What a trace of PyTorch's profiler says about the cards: shares by HolisticTraceAnalysis's definitions, steps, causes, lines."""

from __future__ import annotations

import gzip
import io
import json
import random
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.ledger.shares import traced_lines, traced_modules
from analysis.traces import events
from analysis.traces.device import Work
from analysis.traces.events import TraceError, read_trace
from analysis.traces.idle import IdleCause
from analysis.traces.steps import StepTrace
from analysis.traces.summary import TraceSummary, step_trace_of, summary_of, summary_of_file
from collectors.untrusted import ReaderProcess
from tests.support.torch_traces import TraceWriter, recorded

KINDS = {"gemm": Work.COMPUTE, "ncclDevKernel_AllReduce": Work.COMMUNICATION, "Memcpy HtoD": Work.MEMORY}


def summed(writer: TraceWriter) -> TraceSummary:
    return summary_of(read_trace(io.BytesIO(writer.data())))


def test_the_shares_of_a_card_are_what_counting_each_microsecond_gives() -> None:
    luck = random.Random(3)
    writer, spans = TraceWriter(), []
    for _ in range(300):
        start, duration, name = luck.randrange(3_000), luck.randrange(1, 30), luck.choice(list(KINDS))
        writer.launch(start, start, duration, name, "gpu_memcpy" if "Memcpy" in name else "kernel")
        spans.append((start, start + duration, KINDS[name]))
    counts = [0] * 8
    first, last = min(start for start, _, _ in spans), max(end for _, end, _ in spans)
    for us in range(first, last):
        counts[sum({kind for start, end, kind in spans if start <= us < end})] += 1
    (card,) = summed(writer).cards
    assert card.shares.together_us == pytest.approx(counts)
    assert sum(card.idle_s) == pytest.approx(counts[0] / 1e6)


def test_what_was_started_after_the_last_step_began_is_not_counted() -> None:
    writer = TraceWriter()
    for number in range(3):
        writer.step(number, 1_000 * number, 1_000)
        writer.launch(1_000 * number + 100, 1_000 * number + 200, 300)
    (card,) = summed(writer).cards
    assert card.shares.span_us == 1_300 and card.shares.together_us[Work.COMPUTE] == 600
    assert [step.number for step in card.steps] == [0, 1]
    assert sum(step.shares.span_us for step in card.steps) == pytest.approx(card.shares.span_us)


def test_idle_time_has_the_cause_that_the_launching_thread_had_and_the_line_that_launches_next() -> None:
    writer = TraceWriter()
    writer.launch(0, 10, 100)
    writer.add("user_annotation", "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", 150, 400)
    writer.launch(600, 620, 100, stack="train.py(12): step;train.py(30): <module>")
    writer.add("cuda_runtime", "cudaStreamSynchronize", 720, 200)
    writer.add("user_annotation", "enumerate(DataLoader)#x.__next__", 720, 900, thread=2)  # another thread's
    writer.launch(1_000, 1_010, 100)
    summary = summed(writer)
    (card,) = summary.cards
    by_cause = {cause: round(1e6 * card.idle_s[cause]) for cause in IdleCause if card.idle_s[cause]}
    assert by_cause == {
        IdleCause.DATA: 400,
        IdleCause.SYNC: 200,
        IdleCause.HOST: 40 + 50 + 80,
        IdleCause.LAUNCH: 20 + 10,
    }
    late = card.late[0]
    assert [frame.line for frame in late.stack] == [30, 12] and round(1e6 * sum(late.idle_s)) == 510


def test_a_kernel_that_was_queued_in_time_is_late_by_its_launch_alone() -> None:
    writer = TraceWriter()
    writer.launch(0, 10, 100)
    writer.launch(20, 150, 100)
    (card,) = summed(writer).cards
    assert card.idle_s[IdleCause.LAUNCH] == pytest.approx(40e-6) and sum(card.idle_s) == pytest.approx(40e-6)


def test_kernels_have_the_line_that_launched_them_and_backward_that_of_forward() -> None:
    writer = TraceWriter()
    writer.add(
        "cpu_op", "aten::mm", 0, 9, **{"External id": 500, "Sequence number": 3, "Call stack": "model.py(7): forward"}
    )
    writer.add("cpu_op", "MmBackward0", 99, 20, thread=9, **{"Sequence number": 3})
    writer.add("cpu_op", "aten::mm", 100, 15, thread=9, **{"External id": 501})
    writer.add("cuda_runtime", "cudaLaunchKernel", 101, 5, thread=9, correlation=1, **{"External id": 501})
    writer.add("kernel", "gemm", 200, 50, thread=20, device=0, correlation=1, **{"External id": 501})
    (kernel,) = summed(writer).kernels
    assert (kernel.stack[-1].file, kernel.stack[-1].line, kernel.calls) == ("model.py", 7, 1)
    assert kernel.seconds == pytest.approx(50e-6)


def test_a_backward_is_that_of_the_last_forward_with_its_number_and_in_the_module_of_it() -> None:
    """An optimizer's operators have the number that the next forward takes."""
    writer = TraceWriter()
    writer.add("python_function", "train.py(9): optimize", 0, 10)
    writer.add("cpu_op", "aten::add_", 1, 5, **{"Sequence number": 3})
    writer.add("python_function", "train.py(30): <module>", 20, 1_000)
    writer.add("python_function", "nn.Module: GPT_0", 30, 100)
    writer.add("python_function", "model.py(7): forward", 31, 98)
    writer.add("python_function", "nn.Module: Linear_2", 40, 50)
    writer.add("python_function", "torch/nn/modules/linear.py(130): forward", 41, 48)
    writer.add("cpu_op", "aten::linear", 50, 20, **{"External id": 500, "Sequence number": 3})
    writer.add("cuda_runtime", "cudaLaunchKernel", 51, 5, correlation=11, **{"External id": 500})
    writer.add("kernel", "gemm", 60, 70, thread=20, device=0, correlation=11)
    writer.add(
        "cpu_op", "autograd::engine::evaluate_function: AddmmBackward0", 199, 30, thread=9, **{"Sequence number": 3}
    )
    writer.add("cpu_op", "aten::mm", 200, 15, thread=9, **{"External id": 501})
    writer.add("cuda_runtime", "cudaLaunchKernel", 201, 5, thread=9, correlation=12, **{"External id": 501})
    writer.add("kernel", "wgrad", 300, 50, thread=20, device=0, correlation=12)
    writer.launch(400, 410, 30, "loss")
    trace = step_trace_in(writer)
    assert {(kernel.name, kernel.modules) for kernel in trace.kernels} == {
        ("gemm", ("GPT_0", "Linear_2")),
        ("wgrad", ("GPT_0", "Linear_2")),
        ("loss", ()),
    }
    (linear, none) = traced_modules(trace)
    assert (linear.path, linear.calls, linear.seconds) == (("GPT_0", "Linear_2"), 2, pytest.approx(120e-6))
    assert (none.path, none.calls) == ((), 1)
    (model, script) = traced_lines(trace, "")
    assert model.frame is not None and (model.frame.file, model.frame.line, model.calls) == ("model.py", 7, 2)
    assert script.frame is not None and script.frame.line == 30


def test_a_trace_that_names_no_module_has_none() -> None:
    writer = TraceWriter()
    writer.launch(0, 10, 100, stack="train.py(12): step")
    assert traced_modules(step_trace_in(writer)) == []


def test_functions_of_python_give_the_stack_where_they_were_recorded() -> None:
    writer = TraceWriter()
    writer.add("python_function", "train.py(30): <module>", 0, 1_000)
    writer.add("python_function", "train.py(12): step", 90, 100)
    writer.add("python_function", "train.py(20): save", 300, 100)
    writer.launch(100, 120, 50)
    (kernel,) = summed(writer).kernels
    assert [(frame.name, frame.line) for frame in kernel.stack] == [("<module>", 30), ("step", 12)]


def test_the_day_is_known_from_old_and_new_clocks_and_not_guessed() -> None:
    old, new, none = TraceWriter(), TraceWriter(baseTimeNanoseconds=1_700_000_000 * 10**9), TraceWriter()
    old.launch(1_600_000_000e6, 1_600_000_000e6 + 9, 5)
    new.launch(5e6, 5e6 + 9, 5)
    none.launch(5e6, 5e6 + 9, 5)
    assert summed(old).from_s == pytest.approx(1_600_000_000, abs=0.01)
    assert summed(new).from_s == pytest.approx(1_700_000_005, abs=0.01)
    assert summed(none).from_s is None


def test_names_of_tensor_cores_are_told_from_others() -> None:
    writer = TraceWriter()
    writer.launch(0, 10, 300, "volta_fp16_s884gemm_fp16_128x128_ldg8_f2f_nn")
    writer.launch(400, 410, 100, "volta_sgemm_128x64_nn")
    writer.launch(600, 610, 100, "void cutlass::Kernel2<cutlass_80_tensorop_f16_s16816gemm>(Params)")
    writer.launch(800, 810, 100, "Cijk_Alik_Bljk_SB_Bias_AS_SAV_UserArgs_MT64x16x32_MI16x16x1_SN")
    writer.launch(
        1_000, 1_010, 400, "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>"
    )
    (card,) = summed(writer).cards
    assert card.tensor_cores == pytest.approx(0.5)


def step_trace_in(writer: TraceWriter) -> StepTrace:
    with tempfile.TemporaryDirectory() as folder:
        return step_trace_of(written(Path(folder), writer.data()), Path(folder))


def written(folder: Path, data: bytes, name: str = "a.pt.trace.json") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def one_kernel() -> TraceWriter:
    writer = TraceWriter()
    writer.launch(0, 10, 100)
    return writer


def test_a_trace_that_is_cut_is_read_up_to_its_last_whole_event(tmp_path: Path) -> None:
    data = one_kernel().data()
    found = summary_of_file(written(tmp_path, data[: data.rindex(b'"gemm"')]), tmp_path)
    assert found.is_cut and not found.cards and found.counts["operator"] == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", 'no "traceEvents"'),
        (b"{}", 'no "traceEvents"'),
        (b'{"traceEvents": []}', "no event with a duration"),
        (b'{"traceEvents": [{"ph": "X", "ts": "now", "dur": 3}]}', "no event with a duration"),
        (b'{"traceEvents": [{"ph": "X", "ts": 3, "dur": -3}]}', "no event with a duration"),
        (b'{"traceEvents": [{"ph": "X", "ts": NaN, "dur": 1e999}]}', "no event with a duration"),
        (b'{"traceEvents": ' + b"[" * 100_000, "nested too deeply"),
        (
            b'{"traceEvents": [{"ph": "X", "ts": 1, "dur": 1, "pid": ' + b"[" * 9_000 + b"]" * 9_000 + b"}]}",
            "nested too deeply",
        ),
        (b"MZ\x90\0" * 9_000, 'no "traceEvents"'),
        (gzip.compress(one_kernel().data())[:-20], "no whole gzip file"),
        (b"\x1f\x8b" + b"\0" * 100, "no whole gzip file"),
    ],
)
def test_what_is_no_trace_is_said_in_one_sentence(data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=said):
        summary_of_file(written(tmp_path, data), tmp_path)


def test_odd_events_cost_only_themselves(tmp_path: Path) -> None:
    writer = one_kernel()
    names = ["n" * 1_000_000, "\u202e<script>\0", 7, None, {"a": 1}, []]
    for name in names:
        writer.events.append({"ph": "X", "cat": "kernel", "name": name, "ts": 50, "dur": 10, "args": "text"})
    writer.events += [
        {"ph": "X", "ts": -1e300, "dur": 1},
        {"ph": "E", "ts": 3},
        {"ph": "B", "ts": 3},
        {},
        {"ph": ["X"]},
    ]
    writer.events += [
        {"ph": "X", "ts": 20, "dur": 1, "cat": "kernel", "name": "k", "args": {"device": "x", "correlation": 2**80}}
    ]
    found = summary_of_file(written(tmp_path, gzip.compress(writer.data()), "a.json.gz"), tmp_path)
    assert found.counts["kernel"] == 1 + len(names) + 1 and found.events_left_out == 3
    assert all(len(kernel.name) <= 2_000 for kernel in found.kernels)


def test_a_step_that_is_recorded_twice_is_one(tmp_path: Path) -> None:
    writer = TraceWriter()
    for number in range(3):
        writer.step(number, 1_000 * number, 1_000)
        writer.add("cpu_op", f"ProfilerStep#{number}", 1_000 * number, 1_000)
        writer.launch(1_000 * number + 100, 1_000 * number + 200, 300)
    assert [step.number for step in summed(writer).steps] == [0, 1, 2]


def test_without_a_card_operators_have_their_own_time_without_that_of_those_that_they_call() -> None:
    writer = TraceWriter()
    writer.add("cpu_op", "aten::mm", 10, 60)  # begins with the one around it, and is written before it
    writer.add("cpu_op", "aten::linear", 10, 100, **{"Call stack": "model.py(7): forward"})
    writer.add("cpu_op", "aten::add", 80, 20)
    found = {kernel.name: round(1e6 * kernel.seconds) for kernel in summed(writer).kernels}
    assert found == {"aten::linear": 20, "aten::mm": 60, "aten::add": 20}


def test_a_loader_that_python_functions_show_is_a_wait_for_data() -> None:
    writer = TraceWriter()
    writer.launch(0, 10, 100)
    writer.add(
        "python_function", "/lib/python3.11/site-packages/torch/utils/data/dataloader.py(521): __next__", 110, 400
    )
    writer.launch(520, 530, 100)
    (card,) = summed(writer).cards
    assert card.idle_s[IdleCause.DATA] == pytest.approx(400e-6)


def test_kernels_without_any_call_are_those_of_a_card_and_why_it_was_idle_is_unknown() -> None:
    writer = TraceWriter()
    for number in range(3):
        writer.step(number, 1_000 * number, 1_000)
        writer.add("kernel", "gemm", 1_000 * number + 100, 300, thread=20, device=0, stream=7)
    (card,) = summed(writer).cards
    assert card.shares.together_us[Work.COMPUTE] == 900
    assert card.idle_s[IdleCause.UNKNOWN] == pytest.approx(1_400e-6) == sum(card.idle_s)


def test_each_step_of_a_card_has_its_own_shares_causes_and_launch_lead() -> None:
    writer = TraceWriter()
    for number in range(3):
        at = 1_000 * number
        writer.step(number, at, 1_000)
        if number:
            writer.add("user_annotation", "enumerate(DataLoader)#x.__next__", at, 400)
        writer.launch(at + 400, at + 420 + 10 * number, 200, "volta_fp16_s884gemm_fp16" if number else "volta_sgemm")
        writer.launch(at + 410, at + 520, 200, "ncclDevKernel_AllReduce")
    (card,) = summed(writer).cards
    first, second = card.steps
    assert (first.number, second.number) == (0, 1)
    assert first.shares.span_us == 1_010 and second.shares.span_us == 290
    assert first.idle_s[IdleCause.DATA] == pytest.approx(280e-6 + 120e-6)
    assert first.shares.overlap == pytest.approx(0.5) and second.shares.overlap == pytest.approx(110 / 200)
    assert first.launch_lead_s == pytest.approx((20 + 110) / 2 * 1e-6)
    assert (first.tensor_cores, second.tensor_cores) == (0, 1)


def test_kernels_without_any_call_are_of_no_step() -> None:
    writer = TraceWriter()
    for number in range(3):
        writer.step(number, 1_000 * number, 1_000)
        writer.add("kernel", "gemm", 1_000 * number + 100, 300, thread=20, device=0, stream=7)
    (card,) = summed(writer).cards
    assert card.steps == () and card.launch_lead_s is None


@pytest.mark.parametrize(
    ("name", "idle", "compute", "overlap", "steps"),
    [  # HolisticTraceAnalysis 0.5 gives the same shares: benchmarks/results/torch-traces_amd-epyc-2-cores_2026-12-02.md
        ("a100_control", 16.20, 61.23, 47.03, 5),
        ("a100_nccl", 77.23, 17.66, 14.76, 2),
        ("mi250_toy", 98.33, 1.244, None, 1),
        ("nccl128_rank0", 53.56, 17.71, 11.81, 1),
        ("nccl128_rank1", 54.72, 22.57, 20.05, 1),
        ("v100_resnet50_workers0", 39.43, 59.35, None, 5),
        ("v100_test", 7.465, 68.31, 68.8, 5),
    ],
)
def test_steps_of_real_cards_add_up_to_the_shares_of_their_trace(
    name: str, idle: float, compute: float, overlap: float | None, steps: int
) -> None:
    file = recorded(name)
    (card,) = summary_of_file(file, file.parent).cards
    assert 100 * card.shares.idle == pytest.approx(idle, abs=0.006)
    assert 100 * card.shares.compute == pytest.approx(compute, abs=0.006)
    assert card.shares.overlap == (overlap if overlap is None else pytest.approx(overlap / 100, abs=6e-5))
    assert len(card.steps) == steps
    sums = [sum(step.shares.together_us[work] for step in card.steps) for work in range(8)]
    assert sums == pytest.approx(card.shares.together_us)
    for step in card.steps:
        busy_us = sum(step.shares.together_us[1:])
        assert busy_us + 1e6 * sum(step.idle_s) == pytest.approx(step.shares.span_us)


def packed_bomb(folder: Path, piece: bytes, size: int = 10 << 30) -> Path:
    """The head of a trace and 10 GB of this piece, in 10 MB; deflate packs 1 to 1,000 at most."""
    packing = zlib.compressobj(9, wbits=31)
    part = packing.compress(b'{"traceEvents": [{"ph": "X", "ts": 1, "dur": 1}') + packing.flush(zlib.Z_FULL_FLUSH)
    repeated = packing.compress(piece * ((16 << 20) // len(piece))) + packing.flush(zlib.Z_FULL_FLUSH)
    path = folder / "bomb.pt.trace.json.gz"
    with path.open("wb") as file:
        file.write(part)
        for _ in range(size >> 24):
            file.write(repeated)
    return path


@pytest.fixture(scope="module")
def reader() -> Iterator[ReaderProcess]:
    process = ReaderProcess("traces", memory_bytes=3 << 30, timeout_s=60.0)  # as the dashboard has one
    yield process
    process.close()


@pytest.mark.parametrize(
    ("piece", "said"),
    [
        (b" ", "an event of more than 64 MB"),
        (b', {"ph": "M", "name": "' + b"x" * 1_000_000 + b'"}', "more than 100 times its size"),
    ],
)
def test_a_gzip_bomb_costs_seconds_and_is_one_sentence(
    piece: bytes, said: str, reader: ReaderProcess, tmp_path: Path
) -> None:
    bomb = packed_bomb(tmp_path, piece)
    assert bomb.stat().st_size < 12 << 20
    with pytest.raises(TraceError, match=said):
        reader.read(summary_of_file, bomb, tmp_path, timeout_s=30.0)


def test_more_events_than_a_trace_has_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = one_kernel()
    for limit in ("MAX_EVENTS", "MAX_SEEN"):
        with monkeypatch.context() as patch, pytest.raises(TraceError, match="has more than 2 events"):
            patch.setattr(events, limit, 2)
            summed(writer)


def test_more_characters_of_names_than_a_trace_has_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_CHARACTERS", 1 << 20)
    writer = TraceWriter()
    for number in range(1_000):
        writer.launch(100 * number, 100 * number + 10, 50, f"{number} {'x' * 1_900}")
    with pytest.raises(TraceError, match="names of more than 1 million characters"):
        summed(writer)


def test_events_that_never_end_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_OPEN", 2)
    begun = [{"ph": "B", "name": "step", "ts": number, "pid": 1, "tid": number} for number in range(3)]
    with pytest.raises(TraceError, match="more than 2 events that begin and do not end"):
        read_trace(io.BytesIO(json.dumps({"traceEvents": begun}).encode()))


def test_cards_that_no_process_has_are_one_sentence() -> None:
    writer = TraceWriter()
    for device in range(1_000):
        writer.launch(device, device + 1, 5, device=device)
    with pytest.raises(TraceError, match="names 1,000 cards"):
        summed(writer)


def test_names_of_a_megabyte_are_shortened_and_negative_times_are_taken_as_they_are(tmp_path: Path) -> None:
    writer = TraceWriter()
    for number in range(20):
        writer.launch(-1e12 + 100 * number, -1e12 + 100 * number + 10, 50, chr(97 + number) * 1_000_000)
    found = summary_of_file(written(tmp_path, writer.data()), tmp_path)
    (card,) = found.cards
    assert card.shares.span_us == pytest.approx(19 * 100 + 50) and found.from_s is None
    assert {len(kernel.name) for kernel in found.kernels} == {2_000} and len(found.kernels) == 20


def test_durations_that_are_no_time_cost_their_event(tmp_path: Path) -> None:
    data = one_kernel().data()
    for odd in (b"NaN", b"-5", b"1e999", b'"long"', b"null", b"[]", b"9" * 4_000):
        event = b'{"ph": "X", "cat": "kernel", "name": "odd", "ts": 20, "dur": ' + odd + b', "args": {"device": 0}}, '
        found = summary_of_file(
            written(tmp_path, data.replace(b'"traceEvents": [', b'"traceEvents": [' + event)), tmp_path
        )
        assert [kernel.name for kernel in found.kernels] == ["gemm"], odd
        assert found.events_left_out == 1


def test_correlations_and_flows_in_circles_start_each_kernel_once() -> None:
    writer = TraceWriter()
    for number in range(60):
        writer.launch(10 * number, 10 * number + 5, 4)
    for number, event in enumerate(writer.events[:]):
        if "correlation" in event["args"]:
            event["args"]["correlation"] %= 3
            for phase, of in (("s", number), ("t", number - 1), ("f", number + 1)):
                writer.events.append(
                    {"ph": phase, "id": of % 3, "ts": number, "pid": 7, "tid": 1, "cat": "ac2g", "name": "ac2g"}
                )
    found = summed(writer)
    assert sum(kernel.calls for kernel in found.kernels) == 60
    assert sum(found.cards[0].idle_s) == pytest.approx(found.cards[0].shares.together_us[0] / 1e6)


def test_calls_within_calls_without_end_keep_the_innermost_lines(tmp_path: Path) -> None:
    writer = TraceWriter()
    for depth in range(20_000):
        writer.add("python_function", f"deep.py({depth + 1}): f", depth, 100_000 - 2 * depth)
    writer.launch(30_000, 30_100, 50)
    (kernel,) = summed(writer).kernels
    assert len(kernel.stack) == 500 and kernel.stack[-1].line == 20_000
