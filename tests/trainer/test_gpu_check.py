"""`make gpu` on a machine without a card, over a replayed driver: it runs to its end, and each line can fail."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from analysis.blame.verdict import Verdict
from analysis.ledger.shares import EMPTY, KindRow, Ledger
from analysis.traces.steps import BusySeconds, StepTrace, TracedKernel
from collectors.records import Frame
from collectors.sampler import build
from tests import fake_nvml
from tests.gpu import lines, plan, wheels
from tests.gpu.__main__ import REPORT
from tests.gpu.checks import causes, counters, machine, overhead, precision, smi, trace
from tests.gpu.checks.counters import Read
from tests.gpu.lines import Line, Report, last_line
from tests.gpu.load import Loaded
from tests.gpu.plan import CHECKS, CheckPlan
from tests.gpu.planted import CAUSES
from tests.gpu.recorder import UTILIZATION, Value
from tests.gpu.running import Running, run_all
from tests.support.running import ROOT

MAX_FILES = 8
INTERPRETER = 3  # kind of an ELF segment: only a program that needs libraries has it


def environment(folder: Path, trace: str, **more: str) -> dict[str, str]:
    """Of a machine with this description, where `nvidia-smi` asks the same library."""
    program = folder / "nvidia-smi"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "tests/fake_nvml/nvidia_smi.py"} "$@"\n')
    program.chmod(0o755)
    described = fake_nvml.environment(folder, trace)
    return {**os.environ, **described, "PATH": f"{folder}:{os.environ['PATH']}", **more}


def run(folder: Path, *flags: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The command, and what it left."""
    out = folder / "out"
    trace = fake_nvml.hopper() + f"process 0 {os.getpid()} 3e9 41 compute\n"
    command = [sys.executable, "-m", "tests.gpu", "--out", str(out), "--wheels", str(folder / "none"), *flags]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(folder, trace), capture_output=True, text=True, check=False
    )
    return done, out


def by_what(found: list[Line]) -> dict[str, Line]:
    return {f"{line.check}: {line.what}": line for line in found}


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["machine", "counters", "smi", "trace", "causes"], id="those of the collector"),
        pytest.param([check.name for check in CHECKS], id="all", marks=pytest.mark.long),
    ],
)
def test_checks_run_to_their_end_in_the_short_form(tmp_path: Path, names: list[str]) -> None:
    done, out = run(tmp_path, "--short", "--only", *names)
    found = by_what(lines.read(out))
    ends = [line for line in found.values() if line.what in ("end", "time", "lines")]
    assert not ends, (ends, (out / "log.txt").read_text()[-3000:])
    assert {line.check for line in found.values()} == {*names}
    assert len(list(out.iterdir())) <= MAX_FILES
    timeless = (
        "machine: driver",
        "counters: period of driver samples",
        "counters: range of driver samples",
        "smi: power.draw",
        "smi: pids",
    )
    assert {found[what].verdict for what in timeless} == {"PASS"}, found
    assert {found[f"counters: {counters.gap_name(gap)}"].verdict for gap in counters.GAPS_US} == {"SKIP"}
    assert {found[f"causes: {cause.name}"].verdict for cause in CAUSES if cause.needs_card} == {"SKIP"}
    assert "causes: python, ledger" in found
    assert ("overhead: CPU of collector and sampler" in found) == ("overhead" in names)
    end = done.stdout.splitlines()[-1]
    assert end.startswith("FAIL" if done.returncode else "PASS")
    assert (out / REPORT).read_text().splitlines()[-1] == end
    (judged,) = json.loads((out / causes.FILE).read_text())
    assert sum(judged["truth"].values()) == pytest.approx(100, abs=1)


@pytest.mark.long
@pytest.mark.timeout(plan.MAX_S + 60)
def test_the_whole_of_it_ends_in_nine_minutes_and_holds_what_needs_no_card(tmp_path: Path) -> None:
    begun_s = time.monotonic()
    done, out = run(tmp_path)
    print(done.stdout)
    assert time.monotonic() - begun_s < plan.MAX_S
    found = by_what(lines.read(out))
    assert not [line for line in found.values() if line.what in ("end", "time", "lines")], (
        out / "log.txt"
    ).read_text()[-3000:]
    for cause in CAUSES:
        if not cause.needs_card:
            assert found[f"causes: {cause.name}, ledger"].verdict == "PASS", found[
                f"causes: {cause.name}, ledger"
            ].text()


@pytest.mark.parametrize(
    ("multiplied", "added", "seconds", "steps", "failing"),
    [
        (12, 150, 0.3, 3, set()),
        (11, 150, 0.3, 3, {"matrix products"}),
        (12, 151, 0.3, 3, {"additions"}),
        (12, 150, 0.4, 3, {"seconds of the products"}),
        (12, 150, 0.3, 2, {"answer", "matrix products", "additions", "seconds of the products"}),
    ],
)
def test_lines_about_a_trace_can_fail(
    report: Report, multiplied: int, added: int, seconds: float, steps: int, failing: set[str]
) -> None:
    def kernel(function: str, name: str, calls: int, seconds: float) -> TracedKernel:
        return TracedKernel(
            (Frame("main", "/t.py", 1), Frame(function, "/t.py", 2)), name, "compute", seconds, calls, False
        )

    kernels = (
        kernel("multiply", "gemm", multiplied, seconds),
        kernel("multiply", "fill", 99, 0.01),
        kernel("add_up", "add", added, 0.1),
    )
    busy = BusySeconds(0.4, 0.0, 0.0, 0.0)
    found = StepTrace("a", 0, "", "2.13", "GPU", True, 0.0, 1.0, 1, steps, kernels, busy)
    trace.judge(report, found, 0.1, has_card=True)
    assert {line.what for line in lines.read(report.folder) if line.verdict == "FAIL"} == failing


def test_all_of_it_has_nine_minutes() -> None:
    assert sum(check.most_s for check in CHECKS) <= plan.MAX_S


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(tmp_path, "test")


def verdicts(report: Report) -> list[str]:
    return [line.verdict for line in lines.read(report.folder)]


ENDINGS = {
    "hangs": ("import time; time.sleep(60)", "time", "It was ended"),
    "stops": ("raise ValueError('the card is on fire')", "end", "ValueError: the card is on fire"),
    "is silent": ("pass", "lines", "without a line"),
}


@pytest.mark.parametrize("what", ENDINGS)
def test_a_check_that_does_not_come_to_its_end_fails(what: str, tmp_path: Path) -> None:
    text, name, sentence = ENDINGS[what]
    module = tmp_path / "stub"
    module.mkdir()
    (module / "sitecustomize.py").write_text(
        "import sys, types\n"
        "found = types.ModuleType('tests.gpu.checks.machine')\n"
        f"def check(setting, report):\n    {text}\n"
        "found.check = check\nsys.modules['tests.gpu.checks.machine'] = found\n"
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    most_s = 3.0 if what == "hangs" else 60.0
    stubbed = {**os.environ, "PYTHONPATH": f"{module}:{ROOT}"}
    Running(CheckPlan("machine", most_s, ()), tmp_path, scratch, True, stubbed).finish()
    (line,) = lines.read(tmp_path)
    assert (line.what, line.verdict) == (name, "FAIL")
    assert sentence in line.sentence


def test_without_its_packages_a_check_is_skipped_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.gpu.running.CHECKS", [check for check in CHECKS if check.needs])
    absent = sorted({module for check in CHECKS for module in check.needs})
    found = run_all(tmp_path, tmp_path, False, {}, absent)
    assert {line.verdict for line in found} == {"SKIP"}
    assert "zstandard" in found[-1].sentence
    assert last_line(found).startswith("FAIL"), "where nothing was checked, nothing holds"


def test_nvml_is_checked_where_nvml_alone_is_there() -> None:
    alone = [check.name for check in CHECKS if set(check.needs) <= {"pynvml"}]
    assert alone == ["machine", "counters", "smi"]
    code = (
        "import sys; from tests.gpu.checks import counters, machine, smi; "
        "print(*{name.split('.')[0] for name, module in sys.modules.items() if 'site-packages' in str(getattr(module, '__file__', ''))})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - {"pynvml", "_distutils_hack"} == set()


def test_the_last_line_counts() -> None:
    held, failed, skipped = (Line("a", "b", verdict, "") for verdict in ("PASS", "FAIL", "SKIP"))
    assert last_line([held, skipped]) == "PASS: 1 lines hold, 1 were skipped."
    assert last_line([held, failed]).startswith("FAIL: 1 of 2 lines")


def test_a_line_that_was_cut_is_left_out(report: Report) -> None:
    report.line("PASS", "whole", "It is.")
    with (report.folder / lines.LINES).open("a") as file:
        file.write('{"check": "te')
    assert [line.what for line in lines.read(report.folder)] == ["whole"]


# ---- wheels


def test_a_wheel_is_chosen_by_python_and_processor() -> None:
    wheel = "zstandard-0.25.0-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"
    assert wheels.suits(wheel, (3, 12), "x86_64")
    assert not wheels.suits(wheel, (3, 11), "x86_64")
    assert not wheels.suits(wheel, (3, 12), "aarch64")
    assert wheels.suits("psutil-7.2.2-cp36-abi3-manylinux2010_x86_64.whl", (3, 14), "x86_64")
    assert wheels.suits("lark-1.3.1-py3-none-any.whl", (3, 11), "aarch64")


def test_what_is_missing_in_the_folder_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "orjson-1.0-py3-none-any.whl", "w") as packed:
        packed.writestr("orjson.py", "here = True\n")
    missing = wheels.unpack(tmp_path, tmp_path / "packages")
    assert missing == [package.name for package in wheels.PACKAGES if package.name != "orjson"]
    assert (tmp_path / "packages/orjson.py").exists()


def test_every_package_has_its_version_from_requirements() -> None:
    rows = wheels.requirements((ROOT / "requirements.txt").read_text())
    assert len(rows) == len(wheels.PACKAGES) and all(">=" in row for row in rows)
    with pytest.raises(wheels.UnfitFolder, match="zstandard"):
        wheels.requirements("orjson>=3\n")


def test_all_that_the_checks_import_is_there_or_in_the_folder() -> None:
    code = (
        "import sys, collector, dashboard.stacks.stacks, tests.gpu.checks.causes, tests.gpu.checks.overhead; "
        "print(*{name.split('.')[0] for name, module in sys.modules.items() if 'site-packages' in str(getattr(module, '__file__', ''))})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    comes = {package.module for package in wheels.PACKAGES} | set(wheels.THERE)
    with_torch = {
        "torchgen",
        "tqdm",
        "sympy",
        "mpmath",
        "networkx",
        "jinja2",
        "markupsafe",
        "filelock",
        "fsspec",
        "_distutils_hack",
    }
    assert set(done.stdout.split()) - comes - with_torch == set()


def test_a_sampler_without_libraries_is_built(tmp_path: Path) -> None:
    build.build(tmp_path / "_sampler", (*build.FLAGS, "-static"))
    program = (tmp_path / "_sampler").read_bytes()
    (at,), (size, count) = struct.unpack_from("<Q", program, 0x20), struct.unpack_from("<HH", program, 0x36)
    kinds = [struct.unpack_from("<I", program, at + size * number)[0] for number in range(count)]
    assert INTERPRETER not in kinds


# ---- each line can fail


def read_of(busy: float, utilization: float, graphics: float = math.nan, sm: float = math.nan) -> Read:
    return Read(Loaded(0, 1, busy), utilization, graphics, sm)


def samples(*times: float, late_s: float = 0.1, value: float = 97.0) -> list[Value]:
    return [Value(UTILIZATION, at, value, at + late_s, True) for at in times]


STEADY = samples(*np.arange(0, 5, 1 / 6).tolist())
FAILING: dict[str, Callable[[Report], None]] = {
    "a full card that reads idle": lambda report: counters.bounded(report, "full", read_of(100, 40), 95, 100),
    "no counter at all": lambda report: counters.bounded(report, "full", read_of(100, math.nan), 95, 100),
    "gaps that read as busy": lambda report: counters.of_gaps(report, 20, read_of(50, 100, 99, 51)),
    "a load that is seen late": lambda report: counters.edge(report, 2.0, samples(*np.arange(4, 8, 1 / 6).tolist())),
    "samples of two seconds": lambda report: counters.of_buffer(report, samples(0, 2, 4, 6)),
    "a clock of another day": lambda report: counters.of_buffer(
        report, samples(*np.arange(0, 5, 1 / 6).tolist(), late_s=86_400)
    ),
    "more than all of the time": lambda report: counters.of_buffer(report, samples(0, 1, 2, 3, value=300)),
    "GPM without values": lambda report: counters.of_gpm(report, 10, 100, True),
    "another power": lambda report: smi.beside(report, smi.COMPARED[2], [640.0], [320.0]),
    "memory that we do not read": lambda report: smi.beside(report, smi.COMPARED[1], [], [320.0]),
    "a pid that we do not name": lambda report: smi.of_pids(report, {1}, {1, 2}),
    "bf16 that gains nothing": lambda report: precision.judge_products(
        report, {"fp32": (50, 0.8), "bf16": (60, 0.6)}, True
    ),
    "a product beyond the peak": lambda report: precision.judge_products(report, {"fp32": (90, 1.4)}, True),
    "a loss that is none": lambda report: trained(report, math.nan, 0.4),
    "an MFU above one": lambda report: trained(report, 2.0, 1.4),
    "a step that pays": lambda report: overhead.judge(
        report, (overhead.Ratio(1.05, 1.04, 1.06), overhead.Ratio(1, 0.99, 1.01)), 3.0
    ),
    "a collector that eats a core": lambda report: overhead.judge(
        report, (overhead.Ratio(1, 0.99, 1.01), overhead.Ratio(1, 0.99, 1.01)), 50.0
    ),
    "no whole round": lambda report: overhead.judge(report, overhead.ratios([], []), 3.0),
    "a ledger that is off": lambda report: causes.judge(
        report, judged({"busy": 60, "data": 40}, {"busy": 60, "python": 40}), 5.0
    ),
    "blame of another line": lambda report: causes.judge(report, judged({"busy": 100}, {"busy": 100}), 5.0),
    "no sampler": machine.sampler,
    "no driver": machine.driver,
}


def trained(report: Report, loss: float, share: float) -> None:
    row = precision.Measured("step", "bf16", 10.0, "ms", share)
    precision.judge_trainings(report, [row], {"fp32": 2.0, "bf16": loss})


def judged(truth: Mapping[str, float], found: Mapping[str, float]) -> causes.Judged:
    rows = [KindRow(kind, share, share, share, share, 0.0, [], None, "high") for kind, share in found.items()]  # type: ignore[arg-type]
    ledger = Ledger("GPU", "B", "driver samples", 10.0, 1.0, rows, EMPTY)
    return causes.Judged(CAUSES[0], truth, ledger, Verdict("no_difference"))


@pytest.mark.parametrize("what", FAILING)
def test_each_line_can_fail(what: str, report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "PROGRAM", Path("/nonexistent/_sampler"))
    monkeypatch.setattr("collectors.machine.nvml.nvml.nvmlInit", no_driver)
    FAILING[what](report)
    assert "FAIL" in verdicts(report)


def no_driver() -> None:
    import pynvml

    raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)


PASSING: dict[str, Callable[[Report], None]] = {
    "a full card": lambda report: counters.bounded(report, "full", read_of(100, 99, 99.5), 95, 100),
    "gaps that are seen": lambda report: counters.of_gaps(report, 20, read_of(50, 55)),
    "gaps that GPM alone can see": lambda report: counters.of_gaps(report, 20, read_of(50, math.nan, 52)),
    "a load that is seen": lambda report: counters.edge(report, 0.0, STEADY),
    "steady samples": lambda report: counters.of_buffer(report, STEADY),
    "GPM": lambda report: counters.of_gpm(report, 98, 100, True),
    "nearly the same power": lambda report: smi.beside(report, smi.COMPARED[2], [640.0], [650.0]),
    "precision": lambda report: precision.judge_products(
        report, {"fp32": (50, 0.8), "tf32": (300, 0.6), "fp8": (900, None)}, True
    ),
    "training": lambda report: trained(report, 2.01, 0.4),
    "a ledger that is near": lambda report: causes.judge(
        report, judged({"busy": 60, "data": 40}, {"busy": 57, "data": 43}), 5.0
    ),
}


@pytest.mark.parametrize("what", PASSING)
def test_each_line_can_hold(what: str, report: Report) -> None:
    PASSING[what](report)
    assert verdicts(report)[0] == "PASS"


def test_a_card_without_a_counter_is_skipped_and_not_failed(report: Report) -> None:
    counters.of_buffer(report, [])
    counters.of_gpm(report, 0, 100, False)
    smi.beside(report, smi.COMPARED[2], [], [math.nan])
    assert verdicts(report) == ["SKIP", "SKIP", "SKIP"]


def test_numbers_that_nvidia_smi_does_not_have_are_none() -> None:
    assert smi.numbers("97, [N/A]") == pytest.approx([97, math.nan], nan_ok=True)


def test_the_docs_say_how_long_each_check_may_take() -> None:
    text = (ROOT / "docs/gpu-check.md").read_text()
    assert all(f"| `{check.name}` | {check.most_s:.0f} |" in text for check in CHECKS)
