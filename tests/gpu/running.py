"""Run the checks one after the other, each in a process that is ended when its time is over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from .lines import Line, append, read
from .plan import CHECKS, SHORT_SHARE, CheckPlan

ROOT = Path(__file__).parents[2]
LOG = "log.txt"  # what the checks and their programs write besides
MOST_FILES = 8
CAUSE_LENGTH = 200


def run_all(folder: Path, scratch: Path, short: bool, environment: Mapping[str, str], absent: Sequence[str]) -> list[Line]:
    """All lines; every check leaves at least one. `absent` are modules that cannot be imported."""
    for plan in CHECKS:
        run_one(plan, folder, scratch, short, environment, absent)
    return read(folder)


def run_one(
    plan: CheckPlan, folder: Path, scratch: Path, short: bool, environment: Mapping[str, str], absent: Sequence[str]
) -> None:
    if missing := [module for module in plan.needs if module in absent]:
        append(folder, Line(plan.name, "all", "SKIP", f"Skipped: {', '.join(missing)} cannot be imported here."))
        return
    most_s = plan.most_s * (SHORT_SHARE if short else 1)
    (scratch / plan.name).mkdir()
    command = [sys.executable, "-m", "tests.gpu.one", plan.name, str(folder), str(scratch / plan.name), "short" if short else "whole"]
    before, begun_s = len(read(folder)), time.monotonic()
    with (folder / LOG).open("ab") as log:
        log.write(f"--- {plan.name}\n".encode())
        log.flush()
        at_log = log.tell()
        check = subprocess.Popen(command, cwd=ROOT, env=dict(environment), stderr=log, start_new_session=True)
        code = _wait(check, most_s)
    if code is None:
        append(folder, Line(plan.name, "time", "FAIL", f"It was ended: it takes longer than its {most_s:.0f} s.", most_s, "s"))
    elif code:
        append(folder, Line(plan.name, "end", "FAIL", f"It stopped: {_cause(folder / LOG, at_log)}", float(code)))
    elif len(read(folder)) == before:
        append(folder, Line(plan.name, "lines", "FAIL", "It ended without a line.", time.monotonic() - begun_s, "s"))


def _wait(check: subprocess.Popen[bytes], most_s: float) -> int | None:
    """Its exit code; None where it had to be ended, with all that it started (tests/leash.py)."""
    try:
        return check.wait(most_s)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(check.pid, signal.SIGKILL)
        check.wait()
        return None


def _cause(log: Path, begin: int) -> str:
    """The last line of its traceback."""
    lines = log.read_bytes()[begin:].decode(errors="replace").strip().splitlines()
    return (lines[-1] if lines else "it wrote nothing")[:CAUSE_LENGTH]
