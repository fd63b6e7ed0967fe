"""The training run of `--demo`: continues from the newest checkpoint, else begins a new run."""

from __future__ import annotations

import contextlib
import datetime
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from collectors.control import ControlError, ask
from collectors.machine.proc import start_ticks

STOP_S = 2.5  # it ends its step and saves a checkpoint
BRIEF_S = 30.0  # a resumed run that ends sooner had nothing left to do, or cannot be resumed: a new one is begun
OUTPUT = ".demo-trainer.out"


class Demo(threading.Thread):
    """Starts the trainer at once, and reports to the collector how it ended."""

    def __init__(self, log_dir: Path, data_dir: Path, module: str, folder: Path | None) -> None:
        """`module` is run in `folder`: it has its own module path, ours is not inherited."""
        super().__init__(name="demo", daemon=True)
        self._log_dir, self._data_dir, self._module, self._folder = log_dir, data_dir, module, folder
        self._ending, self._lock = threading.Event(), threading.Lock()
        self._runs = _runs(log_dir)
        self._trainer = self._begin(next(self._runs))

    def run(self) -> None:
        for following in self._runs:
            if not self._was_brief() or not self._begin_again(following):
                return
        self._was_brief()

    def stop(self) -> None:
        """SIGTERM: it saves a checkpoint, from which the next demo continues."""
        with self._lock:
            self._ending.set()
        self._trainer.terminate()
        try:
            self._trainer.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._trainer.kill()
            self._trainer.wait()
        self.join()

    def _begin_again(self, words: list[str]) -> bool:
        with self._lock:  # none is begun behind `stop`
            if not self._ending.is_set():
                self._trainer = self._begin(words)
            return not self._ending.is_set()

    def _begin(self, words: list[str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", self._module, "--log-dir", str(self._log_dir), *words]
        with (self._log_dir / OUTPUT).open("ab") as output:  # what it prints stands in its log, too
            return subprocess.Popen(
                command,
                cwd=self._folder,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
            )

    def _was_brief(self) -> bool:
        """Wait until the trainer has ended; return whether that was soon after its start, and not caused by us."""
        begun_s, ticks = time.monotonic(), start_ticks(self._trainer.pid)
        code = self._trainer.wait()
        with contextlib.suppress(ControlError):  # it is starting again, and judges by the run's files
            ask(self._data_dir, "exited", pid=self._trainer.pid, start_ticks=ticks, code=code)
        return not self._ending.is_set() and code >= 0 and time.monotonic() - begun_s < BRIEF_S


def _runs(log_dir: Path) -> Iterator[list[str]]:
    """The trainer's arguments, and those to retry with if it ends at once."""
    if (newest := newest_checkpoint(log_dir)) is not None:
        yield ["--run", newest.parent.name, "--resume"]
    yield ["--run", f"gpt-{datetime.datetime.now():%Y%m%d-%H%M%S}"]


def newest_checkpoint(log_dir: Path) -> Path | None:
    """Of an earlier demo's run."""
    found: list[tuple[float, Path]] = []
    for path in log_dir.glob("gpt-*/checkpoint.pt"):
        with contextlib.suppress(OSError):  # gone meanwhile
            found.append((path.stat().st_mtime, path))
    return max(found, default=(0.0, None))[1]
