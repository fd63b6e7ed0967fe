"""What is measured of a job: which family it is of, its pace from its run's lines, its memory, and how it ran out of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import measure
from jobs.host import CoreHost, SlotStatus, spoken
from jobs.measure import MAX_BYTES, MeasuredAttempt, StepLines, out_of_memory, used_by
from jobs.plan import NOTHING, USUAL, FamilyRecord, Slot, fit
from jobs.request import JobRequest, family_of, named_words
from jobs.settings import DaemonRules, rules_from
from jobs.state_folder import QueueError


def family(*argv: str, slots: int = 1) -> str:
    return family_of(JobRequest(argv, "/home/me", "", slots), uid=7)


@pytest.mark.parametrize(
    "argv",
    [
        ("python", "train.py", "--seed", "7", "--lr", "1e-3", "--depth", "3"),
        ("python3", "train.py", "--lr=3e-4", "--depth", "3"),
        ("python", "-u", "train.py", "--run-name", "x", "--depth", "3"),
        ("python", "train.py", "--lr", "-1", "--depth", "3", "optimizer.lr=0.1", "+seed=3"),
    ],
)
def test_jobs_that_differ_in_seed_rate_and_name_are_one_family(argv: tuple[str, ...]) -> None:
    assert family(*argv) == "7 x1 /home/me/train.py --depth 3"


def test_jobs_that_differ_in_more_are_two() -> None:
    assert family("python", "train.py", "--depth", "4") != family("python", "train.py", "--depth", "3")
    assert family("python", "train.py", slots=2) != family("python", "train.py")
    assert family("python", "-m", "trainer", "--seed", "--fast") == "7 x1 /home/me python -m trainer --fast"


@given(st.lists(st.text(max_size=8), min_size=1, max_size=6))
def test_any_words_have_a_family(argv: list[str]) -> None:
    assert next(named_words(argv)) == argv[0]


def lines(path: Path, first: int, number: int, start_s: float, step_s: float, data_s: float = 0.0) -> float:
    with path.open("a") as file:
        for step in range(first, first + number):
            row = {"time_s": start_s + step_s * (step - first + 1), "step": step, "loss": 0.5, "phase/data_s": data_s}
            file.write(json.dumps(row) + "\n")
    return start_s + step_s * number


def test_the_pace_is_that_of_the_median_step(tmp_path: Path) -> None:
    read = StepLines(tmp_path, 1000.0)
    read.look()
    assert read.pace(1000.0).units_per_s is None
    lines(tmp_path / "metrics.jsonl", 0, 50, 900.0, 0.5)  # of an attempt before
    at_s = lines(tmp_path / "metrics.jsonl", 50, 50, 1000.0, 0.1, data_s=0.025)
    lines(tmp_path / "metrics.jsonl", 100, 50, at_s + 30.0, 0.1, data_s=0.025)  # a validation between
    (tmp_path / "metrics.rank1.jsonl").write_text('{"time_s": 1000, "step": 999999}\n')
    read.look()
    pace = read.pace(1000.0)
    assert pace.units_per_s == pytest.approx(10.0, rel=1e-3) and 90 < pace.units < 110
    assert read.pace(at_s + 29.0).data_bound == pytest.approx(0.25, rel=0.05)


def test_a_log_of_every_tenth_step_counts_all(tmp_path: Path) -> None:
    rows = [json.dumps({"time_s": 1000.0 + step / 10, "step": step}) for step in range(0, 500, 10)]
    (tmp_path / "log.jsonl").write_text("\n".join(rows) + "\n")
    read = StepLines(tmp_path, 0.0)
    read.look()
    assert read.pace(0.0).units_per_s == pytest.approx(10.0)


def test_of_a_file_that_grows_fast_only_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines(tmp_path / "metrics.jsonl", 0, 40_000, 1000.0, 0.01)
    assert (tmp_path / "metrics.jsonl").stat().st_size > 2 * MAX_BYTES
    read, parsed, loads = StepLines(tmp_path, 0.0), list[int](), json.loads
    monkeypatch.setattr(measure.json, "loads", lambda line: parsed.append(len(line)) or loads(line))
    read.look()
    assert 0 < sum(parsed) <= MAX_BYTES
    assert read.pace(0.0).units_per_s == pytest.approx(100.0, rel=0.01)


@given(st.binary(max_size=200))
def test_odd_lines_are_no_fault(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("odd")
    (folder / "metrics.jsonl").write_bytes(data + b'\n{"time_s": 5.0, "step": true, "units": "x"}\n[1]\n')
    read = StepLines(folder, 0.0)
    read.look()
    assert read.pace(0.0).units_per_s is None


def test_a_checkpoint_is_seen_in_the_events(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text('{"time_s": 50.0, "kind": "checkpoint"}\n{"time_s": 60.0, "kind": "note"}\n')
    read = StepLines(tmp_path, 0.0)
    read.look()
    assert read.checkpoint_s == 50.0


@pytest.mark.parametrize(
    ("code", "output", "expected"),
    [
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB", True),
        (1, "Traceback ...\nMemoryError", True),
        (1, "numpy._core._exceptions._ArrayMemoryError: Unable to allocate", True),
        (1, "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried", True),
        (1, "I once had a MemoryError, but no more", False),
        (0, "CUDA out of memory, tried again with less", False),
        (None, "CUDA out of memory", False),
        (1, "ValueError: no", False),
    ],
)
def test_out_of_memory_is_read_from_the_output(tmp_path: Path, code: int | None, output: str, expected: bool) -> None:
    (tmp_path / "output.log").write_text("begin\n" * 50_000 + output + "\n")
    assert out_of_memory(code, tmp_path / "output.log", None, 10.0, 1000.0) is expected


def test_sigkill_near_the_limit_is_the_kernels(tmp_path: Path) -> None:
    assert out_of_memory(-9, tmp_path / "none", None, 990.0, 1000.0)
    assert not out_of_memory(-9, tmp_path / "none", (os.getpid(), 1), 500.0, 1000.0)


def test_memory_and_cpu_of_a_process() -> None:
    code = "x = bytearray(80 << 20); import time; t = time.process_time()\nwhile time.process_time() - t < 0.3: pass\nprint('up', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = used_by([process.pid, 2**30])
        assert 80 < used.rss_mib < 200 and 0.25 < used.cpu_s < 2
        process.kill()


def test_a_job_is_measured_alone_and_beside(tmp_path: Path) -> None:
    measured = MeasuredAttempt(tmp_path, 1000.0, ["gpu"], 0)
    seen = {"gpu": SlotStatus(Slot("gpu", 80_000.0, 50_000.0), "GPU 0", activity=0.4, used_mib={os.getpid(): 30_000.0})}
    at_s = lines(tmp_path / "metrics.jsonl", 0, 100, 1000.0, 0.1, data_s=0.05)
    measured.look([os.getpid()], seen, None)
    record = measured.known(NOTHING)
    assert (record.peak_mib, record.activity) == (30_000.0, 0.4)
    assert record.units_per_s == pytest.approx(10.0) and record.data_bound == pytest.approx(0.5, rel=0.05)
    lines(tmp_path / "metrics.jsonl", 100, 100, at_s, 0.2)
    measured.look([os.getpid()], seen, at_s)
    speed, units = measured.speed(at_s, FamilyRecord(units_per_s=1.0))
    assert speed == pytest.approx(0.5, rel=0.01) and units == 100, "by its own pace alone, not its family's"


def test_two_jobs_fit_a_core_slot_by_their_memory(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 16777216 kB\nMemAvailable: 12582912 kB\n")
    cores = len(os.sched_getaffinity(0))
    host = CoreHost(1, tmp_path / "meminfo")
    (first, *_) = host.look(frozenset(), {"cores-0": 1024.0})
    share = 16384 / cores
    assert first.slot.memory_mib == share and first.slot.free_mib == min(share - 1024, 12288) and first.slot.cores == 1
    small, large = FamilyRecord(500.0, 0.3), FamilyRecord(share, 0.3)
    assert fit(small, small, first.slot, USUAL) and not fit(small, large, first.slot, USUAL)
    assert (
        host.cores_of(("cores-0",)) == (min(os.sched_getaffinity(0)),)
        and spoken((0, 1, 2)) == "0-2"
        and spoken((0, 2)) == "0,2"
    )


def test_rules_are_read_or_refused_with_their_name(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text('{"stop_s": 5, "check_s": 7}')
    assert rules_from(path) == DaemonRules(USUAL._replace(check_s=7), stop_s=5)
    for text, sentence in (
        ('{"stops": 1}', "there is no rule 'stops'"),
        ('{"stop_s": "x"}', "stop_s is a number"),
        ("[1]", "no object"),
        ("{", "no JSON"),
    ):
        path.write_text(text)
        with pytest.raises(QueueError, match=sentence):
            rules_from(path)
