"""Why a run ended: real programs crash in every way that this machine allows; what it does not allow is recorded text."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.logs.crash import Crash, crash_of, fault_in
from collectors.lines.tracebacks import tracebacks
from collectors.logs.formats.text import TextLog
from collectors.message import text_of
from collectors.records import LogLine

RECORDED = Path(__file__).parents[1] / "data" / "recorded" / "crashes"
CHAINED = """
def inner():
    raise ValueError("bad label\\nin line two\\n  and three")
def outer():
    try:
        inner()
    except ValueError as error:
        raise RuntimeError("step failed") from error
try:
    outer()
except RuntimeError:
    {}["missing"]
"""
GROUP = """
def read(i):
    raise OSError(f"shard {i}\\nis gone")
def run():
    errors = []
    for i in range(2):
        try:
            read(i)
        except OSError as error:
            errors.append(error)
    raise ExceptionGroup("reading failed", [*errors, ExceptionGroup("inner", [KeyError("x")])])
run()
"""
SEGFAULT = """
import ctypes, faulthandler, threading, time
faulthandler.enable()
threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
def copy():
    ctypes.string_at(0)
copy()
"""
ABORT = "import faulthandler, os\nfaulthandler.enable()\ndef stop():\n    os.abort()\nstop()\n"
DEEP = "def f(n):\n    return f(n + 1)\nf(0)\n"
SYNTAX = "exec(compile('a = (1,\\nb = 2', 'conf.py', 'exec'))\n"
LOGGED = """
import logging
logging.basicConfig(level=10, format="%(asctime)s %(levelname)s %(message)s")
def step():
    raise ZeroDivisionError("no samples")
try:
    step()
except ZeroDivisionError:
    logging.exception("step 7 failed")
logging.info("stopping")
"""


def crashed(code: str, folder: Path) -> str:
    script = folder / "train.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, "-u", str(script)], capture_output=True, text=True, timeout=60)
    return f"step 1\nstep 2\n{done.stdout}{done.stderr}"


def lines_of(text: str, file: str = "train.log") -> list[LogLine]:
    records = TextLog("a", file, 1.79e9).parse([line.encode() for line in text.split("\n")], None)
    return [record for record in records if isinstance(record, LogLine)]


def crash_in(text: str) -> Crash:
    crash = crash_of(lines_of(text))
    assert crash is not None
    return crash


def test_a_chain_names_the_last_exception_and_keeps_what_led_to_it(tmp_path: Path) -> None:
    cause = crash_in(crashed(CHAINED, tmp_path)).cause
    assert cause.sentence == "KeyError: 'missing', at train.py:12 in <module>."
    assert [(raised.exception, raised.message) for raised in cause.led_by] == [
        ("ValueError", "bad label\nin line two\n  and three"),
        ("RuntimeError", "step failed"),
    ]
    assert [frame.function for frame in cause.led_by[0].frames] == ["outer", "inner"]
    assert cause.led_by[0].frames[-1].text.startswith("raise ValueError(")


@pytest.mark.parametrize("prefix", ["", "2026-11-26 14:00:00,123 ERROR trainer: ", "[rank3]: ", "[default3]:"])
@pytest.mark.parametrize("code", [CHAINED, GROUP])
def test_a_prefix_of_each_line_changes_nothing_but_the_rank(code: str, prefix: str, tmp_path: Path) -> None:
    text = crashed(code, tmp_path)
    plain = crash_in(text).cause
    cause = crash_in("\n".join(f"{prefix}{line}" for line in text.split("\n"))).cause
    assert (cause.exception, cause.message, cause.frames) == (plain.exception, plain.message, plain.frames)
    assert [raised.exception for raised in cause.led_by] == [raised.exception for raised in plain.led_by]
    assert cause.rank == (3 if "3]" in prefix else None)


def test_a_group_keeps_its_parts(tmp_path: Path) -> None:
    cause = crash_in(crashed(GROUP, tmp_path)).cause
    assert (cause.exception, cause.message) == ("ExceptionGroup", "reading failed (3 sub-exceptions)")
    assert [raised.exception for raised in cause.led_by] == ["OSError", "OSError", "ExceptionGroup", "KeyError"]
    assert cause.led_by[1].frames[-1].function == "read"


@pytest.mark.parametrize(
    ("code", "what", "function"),
    [(SEGFAULT, "Segmentation fault", "copy"), (ABORT, "Aborted", "stop")],
    ids=["segfault", "abort"],
)
def test_a_dump_of_faulthandler_has_the_frames_of_the_thread_that_failed(
    code: str, what: str, function: str, tmp_path: Path
) -> None:
    cause = crash_in(crashed(code, tmp_path)).cause
    assert (cause.kind, cause.exception) == ("fatal", what)
    assert cause.own_frame is not None and cause.own_frame.function == function
    assert cause.frames[0].function == "<module>"


def test_deep_recursion_and_syntax_errors(tmp_path: Path) -> None:
    deep = crash_in(crashed(DEEP, tmp_path)).cause
    assert deep.exception == "RecursionError" and len(deep.frames) >= 3
    syntax = crash_in(crashed(SYNTAX, tmp_path)).cause
    assert syntax.exception == "SyntaxError"
    assert syntax.frames[-1][:2] == ("conf.py", 1)


def test_a_logged_traceback_ends_where_the_next_entry_begins(tmp_path: Path) -> None:
    cause = crash_in(crashed(LOGGED, tmp_path)).cause
    assert cause.sentence == "ZeroDivisionError: no samples, at train.py:5 in step."
    assert cause.lines[-1].text == "ZeroDivisionError: no samples"


def test_of_several_ranks_the_first_is_named_and_the_consequences_are_not() -> None:
    """Recorded: torchrun, two ranks over gloo, of which rank 1 raises while rank 0 waits in a barrier."""
    crash = crash_in((RECORDED / "torchrun.txt").read_text())
    assert (
        crash.cause.sentence
        == "Rank 1, the first of 2 ranks that failed: ValueError: bad batch in rank 1, at rank.py:8 in <module>."
    )
    assert {fault.kind for fault in crash.others} >= {"peer_gone", "exit"}
    without = [line for line in lines_of((RECORDED / "torchrun.txt").read_text()) if line.rank != 1]
    found = crash_of(without)
    assert found is not None and found.cause.sentence == "Rank 1 failed first, with exit code 1."


@pytest.mark.long
@pytest.mark.timeout(240)
def test_torchrun_itself_still_writes_so(tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(
        "import time\nimport torch.distributed as dist\ndist.init_process_group('gloo')\n"
        "if dist.get_rank():\n    time.sleep(0.5)\n    raise ValueError('bad batch')\ndist.barrier()\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    cause = crash_in(done.stdout + done.stderr).cause
    assert (cause.rank, cause.exception, cause.message) == (1, "ValueError", "bad batch")


RECORDED_LINES = {
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB of which 1.22 GiB is "
    "free. Process 7 has 77.90 GiB memory in use. Of the allocated memory 70.11 GiB is allocated by PyTorch, and 6.50 GiB is reserved by "
    "PyTorch but unallocated.": "GPU 0 ran out of memory: 2.00 GiB were asked for, 1.22 GiB of 79.15 GiB were free; PyTorch held 70.11 GiB",
    "/pytorch/aten/src/ATen/native/cuda/Loss.cu:245: nll_loss_forward_reduce_cuda_kernel_2d: block: [0,0,0], thread: [1,0,0] Assertion "
    "`t >= 0 && t < n_classes` failed.": "The assertion `t >= 0 && t < n_classes` of a CUDA kernel failed",
    "RuntimeError: CUDA error: device-side assert triggered": "An assertion in a CUDA kernel failed",
    "torch.AcceleratorError: CUDA error: an illegal memory access was encountered": "A CUDA kernel read or wrote an address",
    "RuntimeError: CUDA error: uncorrectable ECC error encountered": "The GPU's memory has an uncorrectable ECC error",
    "RuntimeError: CUDA error: no kernel image is available for execution on the device": "This build of CUDA code has no kernels",
    "CUDA error: Invalid access of peer GPU memory over nvlink or a hardware error": "NVLink failed",
    "[rank1]:[E126 14:00:00.000 ProcessGroupNCCL.cpp:616] [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=42, "
    "OpType=ALLREDUCE, NumelIn=1000, NumelOut=1000, Timeout(ms)=600000) ran for 600029 milliseconds before timing out.": (
        "A collective of NCCL timed out: rank 1 waited 600 s in ALLREDUCE number 42 for the other ranks, the limit is 600 s"
    ),
    "slurmstepd: error: *** JOB 77 ON node1 CANCELLED AT 2026-11-26T14:00:00 DUE TO TIME LIMIT ***": "Slurm ended the job at",
    "slurmstepd: error: *** JOB 77 ON node1 CANCELLED AT 2026-11-26T14:00:00 DUE TO PREEMPTION ***": "Slurm ended the job at",
    "slurmstepd: error: Detected 1 oom_kill event in StepId=77.0.": "The OOM killer of the kernel ended a process",
    "Out of memory: Killed process 4127 (python) total-vm:91244kB, anon-rss:65536kB, file-rss:0kB": "The kernel's OOM killer ended process 4127",
    "OSError: [Errno 28] No space left on device": "The disk is full",
    "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).": "A data loader's worker ran",
    "RuntimeError: DataLoader worker (pid 99) is killed by signal: Killed.": "The data loader's worker 99 ended: Killed",
    "NVRM: Xid (PCI:0000:3b:00): 79, pid=4127, GPU has fallen off the bus.": "The driver reports Xid 79 of GPU PCI:0000:3b:00",
}


@pytest.mark.parametrize(("line", "said"), RECORDED_LINES.items(), ids=[said[:30] for said in RECORDED_LINES.values()])
def test_what_the_machine_reports_is_named(line: str, said: str) -> None:
    fault = fault_in(line)
    assert fault is not None and text_of(fault.said).startswith(said)
    crash = crash_in(f"step 1\n{line}")
    assert said in crash.cause.sentence


def test_an_error_of_the_gpu_is_named_with_the_line_that_met_it(tmp_path: Path) -> None:
    message = next(iter(RECORDED_LINES)).partition(": ")[2]
    code = f"class OutOfMemoryError(RuntimeError): pass\ndef forward():\n    raise OutOfMemoryError({message!r})\nforward()\n"
    cause = crash_in(crashed(code, tmp_path)).cause
    assert cause.kind == "cuda"
    assert cause.sentence.startswith("GPU 0 ran out of memory") and cause.sentence.endswith(
        "at train.py:3 in forward)."
    )


CUDA_MEMORY = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB"
)


@pytest.mark.parametrize("raised", ["OSError: shard 3 is gone", "KeyError: 'x'", CUDA_MEMORY])
@pytest.mark.parametrize("prefix", ["", "2026-11-26 14:00:00,123 ERROR trainer: "])
def test_what_a_run_outlived_is_not_why_it_ended(raised: str, prefix: str) -> None:
    texts = [
        f"{prefix}reading failed, going on",
        "Traceback (most recent call last):",
        '  File "train.py", line 3, in read',
        raised,
    ]
    lines = [LogLine("a", "train.log", 100.0, 0, text) for text in texts]
    after = [LogLine("a", "train.log", time_s, 0, "step 7") for time_s in (101.0, 160.0)]
    said = raised.partition(":")[0].rpartition(".")[2]
    assert crash_of([*lines, *after], (), 160.0) is None
    assert crash_of(lines, (), 160.0) is None, "points went on"
    for found in (
        crash_of([*lines, after[0]], (), 101.0),  # what a program says on its way out
        crash_of([*lines, *after]),  # something says that it failed
        crash_of([line._replace(rank=1) for line in lines] + after, (), 160.0),  # other ranks went on
    ):
        assert found is not None and (said in found.cause.sentence or found.cause.kind == "cuda")
    again = [line._replace(time_s=165.0) for line in lines]
    last = crash_of([*lines, *after, *again], (), 165.0)
    assert last is not None and last.cause.time_s == 165.0 and last.others == ()


def test_steps_of_more_than_a_second_after_a_traceback_outlived_it() -> None:
    texts = ["Traceback (most recent call last):", '  File "train.py", line 3, in read', "OSError: shard 3 is gone"]
    lines = [LogLine("a", "train.log", 100.0, 0, text) for text in texts]
    made = [100.0 + place / 5 for place in range(1, 10)]
    assert crash_of(lines, (), 101.8, made) is None
    for stepped_s in ([], [101.0, 101.8], [99.0, 99.8, 100.0, 101.8], [100.5 + place / 1000 for place in range(900)]):
        assert crash_of(lines, (), 101.8, stepped_s) is not None
    assert crash_of(lines, (), None, made) is None, "a run that has failed did so later"
    last = crash_of([*lines, *(line._replace(time_s=101.9) for line in lines)], (), 101.9, made)
    assert last is not None and last.cause.time_s == 101.9 and last.others == ()


def test_a_log_without_a_fault_has_none() -> None:
    assert crash_of(lines_of("step 1\nINFO all is well\nsaved checkpoint 7")) is None
    assert crash_of([]) is None


ODD = st.lists(
    st.sampled_from(
        [
            "Traceback (most recent call last):",
            "  + Exception Group Traceback (most recent call last):",
            '  File "a.py", line 3, in f',
            "    f()",
            "  | ValueError: x",
            "    +---------------- 1 ----------------",
            "ValueError: bad",
            "During handling of the above exception, another exception occurred:",
            "Fatal Python error: Aborted",
            "Current thread 0x00007f (most recent call first):",
            '  File "a.py", line 9 in g',
            "2026-11-26 14:00:00 INFO x",
            "[rank1]: Traceback (most recent call last):",
            "[rank1]: KeyError: 3",
            "Root Cause (first observed failure):",
            "  rank      : 1 (local_rank: 1)",
        ]
    )
    | st.text(max_size=30),
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(ODD)
def test_any_lines_are_read_and_no_line_is_in_two_tracebacks(texts: list[str]) -> None:
    lines = lines_of("\n".join(texts).replace("\r", ""))
    crash_of(lines)
    found = [id(line) for traceback in tracebacks(lines) for line in traceback.lines]
    assert len(found) == len(set(found))
    assert set(found) <= {id(line) for line in lines}
