"""Processes of scripts that know nothing of this project, and what is found of a run's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from collectors.machine.finder import Finder
from collectors.machine.proc import boot_id, command_of, start_ticks
from collectors.machine.run_state import RunActivity
from collectors.records import Event
from tests.conftest import wait_for

HOST = socket.gethostname()
PLAIN = Path(__file__).parents[1] / "programs" / "plain"
NOBODY = 65534


@contextmanager
def started(*command: str | Path, shell: bool = False, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """In a session of its own; all of it is killed in the end."""
    line = " ".join(map(str, command)) if shell else [*map(str, command)]
    everything = {**os.environ, **environment}
    with subprocess.Popen(
        line,
        shell=shell,
        executable="/bin/bash" if shell else None,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=everything,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(process.pid, signal.SIGKILL)


def run_in(folder: Path, name: str = "run", **info: object) -> RunActivity:
    folder.mkdir(parents=True, exist_ok=True)
    return RunActivity(name, folder, info, [], [], time.time(), 0.05)


def found(*runs: RunActivity, finder: Finder | None = None, count: int = 1) -> dict[str, list[int]]:
    """By run, the pids, once so many are found in all."""
    finder = finder or Finder(HOST)

    def look() -> dict[str, list[int]]:
        lately = [run._replace(last_line_s=time.time()) for run in runs]
        pids = {run: [process.pid for process in processes] for run, processes in finder.find(lately).items()}
        return pids if sum(map(len, pids.values())) >= count else {}

    return wait_for(look, because="no process is found")


def prints_is_found(run: RunActivity, finder: Finder | None = None) -> None:
    """It alone is the run, once it has started: until then it may be who will start it."""
    finder = finder or Finder(HOST)

    def look() -> bool:
        pids = found(run, finder=finder)["run"]
        return [command_of(pid)[1:] for pid in pids] == [[str(PLAIN / "prints.py")]]

    wait_for(look, because="it is not the run, or not alone")


STARTS = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
COPIES = (
    "import subprocess, sys\n"
    "with open(sys.argv[1], 'w', buffering=1) as log:\n"
    "    child = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)\n"
    "    [print(line, end='', file=log) for line in child.stdout]\n"
)
PRINTS_ON = COPIES.replace("open(sys.argv[1], 'w', buffering=1)", "sys.stdout").replace("file=log", "flush=True")


def environment(pid: int) -> dict[str, str]:
    words = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


def start_of(pid: int, run: str = "run", **changed: object) -> Event:
    fields = {"pid": pid, "pid_start_ticks": start_ticks(pid), "boot_id": boot_id(), "host": HOST, **changed}
    return Event(run, "start", time.time(), fields=fields)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[str]]:
    with started("sleep", "600") as process:
        yield process
