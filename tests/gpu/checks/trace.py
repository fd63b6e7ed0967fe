"""Three steps traced on demand: how often each function launched, and for how long, beside what the program itself says."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from analysis.traces.steps import StepTrace, read_answer
from collectors.trace_requests import ask_for_trace, entry_of

from ..lines import Report
from ..load import ROOT
from ..plan import Setting
from ..traced import ADDED, MULTIPLIED, RUN

STEPS = 3
STARTS_S, ANSWERED_S = 10.0, 12.0
NEAR = 0.25  # of the seconds of a step


class OneKernel(NamedTuple):
    """By its name, in one step."""

    calls: float
    seconds: float


def check(setting: Setting, report: Report) -> None:
    logs, result = setting.scratch / "logs", setting.scratch / "result.json"
    logs.mkdir()
    command = [sys.executable, "-m", "tests.gpu.traced", str(logs), str(result)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"the training ended with code {process.wait()}")
            found = traced(logs)
            process.stdin.close()
            process.wait(STARTS_S)
        finally:
            process.kill()
    if found is None or found.error:
        report.line("FAIL", "answer", f"No trace came: {found.error if found else f'nothing within {ANSWERED_S:g} s'}")
        return
    truth = json.loads(result.read_text())
    judge(report, found, float(truth["multiply_s"]), has_card=truth["device"] == "cuda")


def traced(logs: Path) -> StepTrace | None:
    """None where no answer comes in time."""
    folder, until_s = logs / RUN, time.monotonic() + STARTS_S
    while True:
        with suppress(OSError, ValueError):
            entry = entry_of(logs, RUN, json.loads((folder / "run.json").read_text()))
            break
        if time.monotonic() > until_s:
            return None
        time.sleep(0.1)
    name = ask_for_trace(entry, folder, STEPS, 0)
    answer, until_s = entry / f"trace-{name}.json", time.monotonic() + ANSWERED_S
    while not answer.exists():
        if time.monotonic() > until_s:
            return None
        time.sleep(0.1)
    return read_answer(answer)


def judge(report: Report, found: StepTrace, multiply_s: float, *, has_card: bool) -> None:
    right = found.device == ("GPU" if has_card else "CPU") and found.steps == STEPS and found.with_stacks
    report.judge(
        right,
        "answer",
        f"{found.steps} steps on the {found.device}, {'with' if found.with_stacks else 'without'} lines.",
    )
    multiplied, added = dearest(found, "multiply"), dearest(found, "add_up")
    report.judge(
        multiplied.calls == MULTIPLIED, "matrix products", f"{MULTIPLIED} a step by the program.", multiplied.calls
    )
    report.judge(added.calls == ADDED, "additions", f"{ADDED} a step by the program.", added.calls)
    if has_card:
        sentence = f"Seconds of the products over those by the card's own clock without a trace: 1 ± {NEAR:g}."
        ratio = multiplied.seconds / multiply_s
        report.judge(abs(ratio - 1) <= NEAR, "seconds of the products", sentence, ratio)
    else:
        report.skip("seconds of the products")
    if found.busy is not None:
        alone = found.busy.compute + found.busy.copy > 0 and found.busy.communication == 0
        report.judge(alone, "split", "Compute and copies, and no communication, on one card.", found.busy.compute, "s")


def dearest(found: StepTrace, function: str) -> OneKernel:
    """What took most of what a function launched; an operator on a CPU calls others, which are rows of their own."""
    sums: dict[str, OneKernel] = {}
    for row in found.kernels:
        if row.stack and row.stack[-1].name == function:
            calls, seconds = sums.get(row.name, OneKernel(0.0, 0.0))
            sums[row.name] = OneKernel(calls + row.calls / found.steps, seconds + row.seconds / found.steps)
    return max(sums.values(), key=lambda kernel: kernel.seconds, default=OneKernel(0.0, 0.0))
