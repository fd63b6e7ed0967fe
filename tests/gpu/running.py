"""Run the checks, each in a process that is ended when its time is over."""

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
from .plan import CHECKS, CheckPlan

ROOT = Path(__file__).parents[2]
LOG = "log.txt"  # what the checks and their programs write besides
MAX_LOG = 1_000_000  # bytes of a check
CAUSE_LENGTH = 200
SIDE_BY_SIDE = 4.0  # times as long as alone, in the short form


def run_all(
    folder: Path,
    scratch: Path,
    short: bool,
    environment: Mapping[str, str],
    absent: Sequence[str],
    only: Sequence[str] = (),
) -> list[Line]:
    """All lines; every check, or each of those that are named, leaves at least one. In the short form they run side by side. `absent` are modules that cannot be imported."""
    started = []
    for plan in CHECKS:
        if only and plan.name not in only:
            continue
        if missing := [module for module in plan.needs if module in absent]:
            append(folder, Line(plan.name, "all", "SKIP", f"Skipped: {', '.join(missing)} cannot be imported here."))
            continue
        started.append(Running(plan, folder, scratch, short, environment))
        if not short:
            started.pop().finish()
    for check in started:
        check.finish()
    return read(folder)


class Running:
    """One check."""

    def __init__(
        self, plan: CheckPlan, folder: Path, scratch: Path, short: bool, environment: Mapping[str, str]
    ) -> None:
        self._plan, self._folder, self._log = plan, folder, scratch / f"{plan.name}.log"
        self._most_s = plan.most_s * (SIDE_BY_SIDE if short else 1.0)
        own, form = scratch / plan.name, "short" if short else "whole"
        own.mkdir()
        command = [sys.executable, "-m", "tests.gpu.one", plan.name, str(folder), str(own), form]
        self._begun_s = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=dict(environment), stderr=log, start_new_session=True
            )

    def finish(self) -> None:
        """Wait for it, end it where its time is over, and say so where it did not come to its end."""
        code = self._wait()
        name, took_s = self._plan.name, time.monotonic() - self._begun_s
        written = self._log.read_bytes()
        with (self._folder / LOG).open("ab") as log:
            log.write(f"--- {name}, {took_s:.1f} s\n".encode() + written[-MAX_LOG:])
        if code is None:
            line = Line(
                name, "time", "FAIL", f"It was ended: it takes longer than its {self._most_s:.0f} s.", took_s, "s"
            )
        elif code:
            line = Line(name, "end", "FAIL", f"It stopped: {_last(written)}", float(code))
        elif not any(line.check == name for line in read(self._folder)):
            line = Line(name, "lines", "FAIL", "It ended without a line.", took_s, "s")
        else:
            return
        append(self._folder, line)

    def _wait(self) -> int | None:
        """Its exit code; None where it had to be ended, with all that it started (tests/support/leash.py)."""
        try:
            return self._process.wait(max(0.0, self._begun_s + self._most_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            return None


def _last(written: bytes) -> str:
    """The last line of its traceback."""
    lines = written.decode(errors="replace").strip().splitlines()
    return (lines[-1] if lines else "it wrote nothing")[:CAUSE_LENGTH]
