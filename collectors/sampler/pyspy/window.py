"""One window of one process: a `py-spy record` from its start to the file that it leaves.

py-spy holds everything in memory and writes once, at its end, on SIGINT (SIGTERM leaves no file). So a long record is a
row of windows, and the next one starts before the last one ends.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from .. import Target

LONGEST_S = 60  # a recorder that is not ended ends by itself
WRITE_WITHIN_S = 5.0  # after SIGINT; writing takes 10-40 ms
DIE_WITHIN_S = 1.0  # after SIGKILL; one that reads from a hanging file system dies when that answers
COUNTS = re.compile(r"Samples: (\d+) Errors: (\d+)")


def die_with_parent() -> list[str]:
    """A command prefix: the kernel kills what follows when the thread that started it is gone.

    util-linux's setpriv rather than a preexec_fn, which would run Python between fork and exec of a process with threads.
    Where there is no setpriv, LONGEST_S bounds a recorder's life.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


class Recording:
    def __init__(self, program: list[str], target: Target, folder: Path, number: int) -> None:
        """`program` is py-spy with its prefix; the files in `folder` are the window's own."""
        self.hz = target.hz
        self.begin_ns = 0  # CLOCK_MONOTONIC: what was sampled outside belongs to the windows beside it
        self.end_ns: int | None = None
        self.threads_at_end: frozenset[int] = frozenset()  # the kernel's ids; empty where the process ended first
        self._trace = folder / f"{target.pid}-{number}.json"
        self._log = self._trace.with_suffix(".log")
        command = [*program, "record", "--pid", str(target.pid), "--format", "chrometrace", "--rate", f"{target.hz:g}"]
        command += ["--idle", "--nonblocking", "--output", str(self._trace), "--duration", str(LONGEST_S)]
        self._process = start(command, self._log)
        # py-spy counts from when it starts, which is when its exec returns to us, within about 2 ms.
        self.start_mono_ns, self.start_s = time.monotonic_ns(), time.time()
        self._stopped_s: float | None = None

    @property
    def age_s(self) -> float:
        return (time.monotonic_ns() - self.start_mono_ns) / 1e9

    @property
    def samples(self) -> bool:
        """Whether it has attached: it says so once, in its log."""
        return self._log.stat().st_size > 0 and not self.ended

    @property
    def ended(self) -> bool:
        written_s = None if self._stopped_s is None else time.monotonic() - self._stopped_s
        if (written_s or 0.0) > WRITE_WITHIN_S or self.age_s > LONGEST_S + WRITE_WITHIN_S:
            self._process.kill()
        return self._process.poll() is not None

    def stop(self) -> None:
        """Ask it to write its file and end; does not wait."""
        self._process.send_signal(signal.SIGINT)
        self._stopped_s = time.monotonic()

    def take(self) -> bytes:
        """Its output, empty where it wrote none. Once it has ended."""
        return self._trace.read_bytes() if self._trace.exists() else b""

    def said(self) -> str:
        """Why it failed, from its output: the first line and the cause that it gives."""
        if (code := self._process.returncode) < 0:
            return f"the recorder was ended by signal {-code}"
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        causes = [line.removeprefix("0: ") for line in lines[1:] if line.startswith("0: ")]
        return ": ".join([*(line.removeprefix("Error: ").rstrip(".") for line in lines[:1]), *causes])

    def counts(self) -> tuple[int, int]:
        """Samples, over all threads, and failed reads."""
        found = COUNTS.search(self._log.read_text(errors="replace"))
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def discard(self) -> None:
        """Remove its files; end it where it still runs."""
        end(self._process)
        self._trace.unlink(missing_ok=True)
        self._log.unlink(missing_ok=True)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with suppress(subprocess.TimeoutExpired):  # it is reaped when it dies later
        process.wait(DIE_WITHIN_S)


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a child with its output in a file, unaffected by the terminal's Ctrl-C."""
    environment = {**os.environ, "RUST_BACKTRACE": "0"}
    with log.open("wb") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment, process_group=0
        )
