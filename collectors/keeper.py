"""Keep one collector process alive for a log folder: start it, adopt a live one, replace an orphan, restart a dead one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from . import VERSION, lock
from .control import ControlError, ask

ROOT = Path(__file__).parents[1]  # holds the package `collectors`, in a checkout as in site-packages
EXIT_AGAIN = 75  # EX_TEMPFAIL: it asks to be started again at once
BACK_OFF_S = (0.5, 30.0)
HEALTHY_S = 60.0  # after running for so long, a death is a first death
LOOK_S = 0.5  # how often the child is looked at
POLL_S = 0.1
STOP_S = 2.0


class Keeper(threading.Thread):
    """Owns the collector process; `read_only` says why there is none to own, when somebody else's writes this store."""

    def __init__(
        self,
        log_dir: Path,
        data_dir: Path,
        *,
        profile: bool,
        sampler: str | None,
        budget_pct: float | None,
        retention_s: float | None,
        max_bytes: int | None,
    ) -> None:
        super().__init__(name="keeper", daemon=True)
        self._data_dir = data_dir
        self._options: dict[str, Any] = {
            "profile": profile,
            "sampler": sampler,
            "budget_pct": budget_pct,
            "log_dir": str(log_dir),
            "retention_s": retention_s,
            "max_bytes": max_bytes,
        }
        flags = [] if profile else ["--no-profile"]
        flags += [] if sampler is None else ["--sampler", sampler]
        flags += [] if budget_pct is None else ["--profile-budget", str(budget_pct)]
        flags += [] if retention_s is None else ["--retention", f"{retention_s}s"]
        flags += [] if max_bytes is None else ["--max-size", f"{max_bytes}B"]
        self._command = [sys.executable, "-m", "collectors", "--log-dir", str(log_dir), "--data-dir", str(data_dir), *flags]
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        self.deaths = 0
        self.read_only: str | None = None
        self._take_over()

    def run(self) -> None:
        back_off_s, started = BACK_OFF_S[0], time.monotonic()
        while not self._ending.wait(LOOK_S):
            if self._child is None:
                self._take_over()
            elif (code := self._child.poll()) is not None and not self._ending.is_set():
                self.deaths += code != EXIT_AGAIN
                if time.monotonic() - started > HEALTHY_S:
                    back_off_s = BACK_OFF_S[0]
                if code != EXIT_AGAIN and self._ending.wait(back_off_s):
                    return
                back_off_s, started = min(2 * back_off_s, BACK_OFF_S[1]), time.monotonic()
                self._take_over()

    def stop(self) -> None:
        """End the collector if it is ours, or nobody's."""
        self._ending.set()
        self.join()
        if self._child is not None:
            _end(self._child)
        elif (writer := lock.writer_of(self._data_dir)) and writer.is_orphan:
            _end_stranger(writer.pid)

    def _take_over(self) -> None:
        """One live writer a store: adopt it when it does what ours would, replace it when nobody owns it, else only read."""
        writer = lock.writer_of(self._data_dir)
        self.read_only = None
        if writer is None:
            self._start()
        elif writer.options == self._options and writer.version == VERSION:
            self._child = None
        elif writer.is_orphan:
            _end_stranger(writer.pid)
            self._start()
        else:
            self._child = None
            self.read_only = (
                f"Another dashboard (process {writer.parent_pid}) collects for this log folder with other options: "
                "this one only reads. End that one to change them."
            )

    def _start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._child = subprocess.Popen(self._command, env=environment, start_new_session=True, stdin=subprocess.DEVNULL)


def wait_until_it_answers(data_dir: Path, timeout_s: float) -> bool:
    """Whether a collector answers on its socket within the time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(ControlError):
            ask(data_dir, "status")
            return True
        time.sleep(POLL_S)
    return False


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _end_stranger(pid: int) -> None:
    """End a process that is not our child, and wait until its lock is free."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            if not Path(f"/proc/{pid}").exists():
                return
            time.sleep(POLL_S / 4)
