"""A queue of jobs of an ordinary user: its daemon, its commands and what they start are real processes of a second uid where we are root."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from collectors.machine.proc import start_ticks
from jobs.client import QueueClient
from jobs.processes import MARK, environment_words
from jobs.request import request_of
from jobs.view import QueueView, row_as_json
from tests.support.leash import VARIABLE as LEASH
from tests.support.running import ROOT, wait_for

NOBODY = 65534
MAIN = ROOT / "jobs" / "__main__.py"
OVER = ("finished", "failed", "cancelled")
QUICK = {"look_s": 0.2, "stop_s": 20}
needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two core slots need two cores")


def as_user(uid: int) -> list[str]:
    """Of a Python below root's home, as of pyenv, the user may read all: what a process may write to or signal stays the user's own."""
    if os.geteuid() != 0:
        return []
    folders = Path(sys.executable).resolve().parents
    closed = not all(folder.stat().st_mode & stat.S_IXOTH for folder in folders)
    reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"] if closed else []
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *reads]


class JobsHouse:
    def __init__(
        self,
        folder: Path,
        rules: Mapping[str, object] = QUICK,
        flags: tuple[str, ...] = ("--cores-a-slot", "1"),
        uid: int = NOBODY,
        interpreter: str = sys.executable,
        **environment: str,
    ):
        self.interpreter = interpreter
        self.folder, self.state, self.work, self.logs = (
            folder,
            folder / "state",
            folder / "work",
            folder / "work" / "logs",
        )
        self.uid = uid if os.geteuid() == 0 else os.getuid()
        self.logs.mkdir(parents=True)
        (folder / "rules.json").write_text(json.dumps(rules))
        for path in (folder, self.work, self.logs):
            os.chown(path, self.uid, self.uid)
            path.chmod(0o755)
        self.flags = (*flags, "--rules", str(folder / "rules.json"))
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "LANG", "TZ", "OMP_NUM_THREADS", LEASH)
        }
        self.environment = {
            **kept, "HOME": str(folder), "DEEPSEEK_JOBS_DIR": str(self.state), "DEEPSEEK_JOBS_LEASES": str(folder / "leases"),
            "PYTHONDONTWRITEBYTECODE": "1", **environment,
        }  # fmt: skip
        self.daemon: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [*as_user(self.uid), self.interpreter, str(MAIN), *words]
        return subprocess.run(command, cwd=self.work, env=self.environment, capture_output=True, text=True, timeout=60)

    def done(self, *words: str) -> str:
        """What a command prints that must succeed."""
        done = self.command(*words)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def refused(self, *words: str) -> str:
        """The sentence of a command that must not succeed."""
        done = self.command(*words)
        assert done.returncode == 2 and done.stdout == "", (words, done)
        sentence = done.stderr
        assert sentence.startswith("deepseek-jobs: ") and sentence.count("\n") == 1, sentence
        return sentence.removeprefix("deepseek-jobs: ").strip()

    def submit(self, *words: str, flags: tuple[str, ...] = (), **more: Any) -> int:
        """The number of a job that runs these words; with `flags` of the command, else through the door that the page uses, too."""
        leash = [LEASH] if LEASH in self.environment else []
        if flags:
            passed = [word for name in leash for word in ("--env", name)]
            return int(self.done("submit", *passed, *flags, "--", *words).split()[1].rstrip(","))
        request = request_of(
            words, cwd=self.work, environment=self.environment, env=[*leash, *more.pop("env", [])], **more
        )
        with self.being_them():
            return QueueClient(self.state).submit(request).job

    @contextmanager
    def being_them(self) -> Iterator[None]:
        """This process with that user's rights."""
        before = os.geteuid()
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(before)

    def python(self, code: str, *flags: str) -> int:
        return self.submit(sys.executable, "-c", code, flags=flags)

    def start(self) -> None:
        command = [*as_user(self.uid), self.interpreter, str(MAIN), "daemon", *self.flags]
        with (self.folder / "daemon.out").open("ab") as log:
            self.daemon = subprocess.Popen(
                command,
                cwd="/",
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(lambda: (self.state / "daemon.sock").exists() or self._died(), 30)

    def _died(self) -> bool:
        assert self.daemon is not None
        assert self.daemon.poll() is None, self.said()
        return False

    def said(self) -> str:
        return (self.folder / "daemon.out").read_text()

    def kill_daemon(self) -> None:
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait()
        (self.state / "daemon.sock").unlink(missing_ok=True)  # so that `start` waits for the next one's
        self.daemon = None

    def rows(self) -> dict[int, dict[str, Any]]:
        with self.being_them():
            view = QueueView(self.state)
            jobs = view.jobs()  # first: a job that ends between the two stands in both
            return {row.id: row_as_json(row) for row in [*jobs, *view.history(1 << 30)]}

    def row(self, job: int) -> dict[str, Any]:
        with self.being_them():
            view = QueueView(self.state)
            return {**row_as_json(view.job(job)), "attempt_rows": [*map(row_as_json, view.attempts(job=job))]}

    def wait(self, job: int, *states: str, timeout_s: float = 60) -> dict[str, Any]:
        return self.wait_until(job, lambda row: row["state"] in (states or OVER), timeout_s)

    def wait_until(self, job: int, true: Callable[[dict[str, Any]], bool], timeout_s: float = 60) -> dict[str, Any]:
        deadline_s = time.monotonic() + timeout_s
        while not true(row := self.row(job)):
            assert time.monotonic() < deadline_s, (row, self.said())
            time.sleep(0.05)
        return row

    def pid(self, job: int, attempt: int = 1) -> int:
        """Of the program."""
        path = self.state / "attempts" / f"{job}.{attempt}" / "started.json"
        wait_for(path.exists)
        return int(json.loads(path.read_text())["pid"])

    def keeper(self, job: int, attempt: int = 1) -> int:
        path = self.state / "attempts" / f"{job}.{attempt}" / "token"
        wait_for(path.exists)
        return int(json.loads(path.read_text())["pid"])

    def wait_for_output(self, job: int, text: str) -> None:
        """Until its program has printed just that."""
        output = self.logs / self.row(job)["run"] / "output.log"
        wait_for(lambda: output.exists() and output.read_text() == text, because=f"it does not print {text!r}")

    def left(self) -> list[int]:
        """Processes of its jobs."""
        start = f"{MARK}={self.state}/".encode()
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
        return [
            pid for pid in pids if start_ticks(pid) and any(word.startswith(start) for word in environment_words(pid))
        ]

    def close(self) -> None:
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
        for _ in range(20):
            for pid in self.left():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@contextmanager
def jobs_house(folder: Path, **more: Any) -> Iterator[JobsHouse]:
    house = JobsHouse(folder, **more)
    try:
        house.start()
        yield house
    finally:
        house.close()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users can reach, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="jobs-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
