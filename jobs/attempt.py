"""The keeper of one attempt of a job, as a process of its own: `python jobs/__main__.py attempt FOLDER`, in the job's working folder.

It makes the attempt's token, takes the leases of its GPUs, and then is the parent of the program (`collectors/keeper/keeper.py`).
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from collectors.keeper.keeper import FAILED, NUMBER, Keeper, Program
from collectors.machine.proc import boot_id, start_ticks

from . import lease
from .processes import DAEMON, MARK, ProcessTable, make_once

SPEC_FILE = "attempt.json"
SAMPLER = Path(__file__).parents[1] / "collectors/sampler/_sampler"
RUN_FOLDER = "DEEPSEEK_RUN_FOLDER"  # where a RunLog of the same log folder, without a name of its own, writes
MIN_PAUSE_S, MAX_PAUSE_S = 0.05, 1.0  # between two looks at what a program has left behind
ROOM_S = 3600.0  # that a keeper waits for, until it can write down how its program ended
NOT_NOW = (
    errno.EAGAIN,
    errno.ENOMEM,
    errno.ETXTBSY,
    errno.EMFILE,
    errno.ENFILE,
    errno.EIO,
    errno.ESTALE,
)  # of exec: waiting helps
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # exit codes of a shell


class LaunchSpec(NamedTuple):
    """One start of a job: what its keeper is told in `attempt.json`."""

    job: int
    number: int  # 1 for its first attempt
    argv: Sequence[str]
    cwd: str
    environment: dict[str, str]
    slots: Sequence[str]
    gpus: Sequence[str] = ()  # UUIDs, for CUDA_VISIBLE_DEVICES
    cores: Sequence[int] = ()  # on which alone it runs; () for all
    run: str = ""  # the folder of its run; "" where it has none
    log_dir: str = ""
    leases: str = ""  # the folder of leases that other users respect; "" where there is none

    def write(self, folder: Path) -> None:
        (folder / SPEC_FILE).write_text(json.dumps(self._asdict()))

    @classmethod
    def read(cls, folder: Path) -> LaunchSpec:
        return cls(**json.loads((folder / SPEC_FILE).read_text()))


def run_attempt(folder: Path) -> int:
    """Until the program has ended. What the process is called changes at most once, before the token is made."""
    wanted = LaunchSpec.read(folder)
    if wanted.cores:
        os.sched_setaffinity(0, wanted.cores)
    above = None
    if os.access(SAMPLER, os.X_OK):
        from collectors.keeper.parent_sampler import fork_sampler

        above = fork_sampler(SAMPLER)
    ours: dict[str, object] = {"boot_id": boot_id(), "pid": os.getpid(), "ticks": start_ticks(os.getpid())}
    if not make_once(folder / "token", ours):
        return 1
    leases = Path(wanted.leases) if wanted.leases else None
    if leases and (taken := lease.take(leases, wanted.gpus, folder)):
        _end(folder, {"refused": taken})
        return 1
    run = Path(wanted.run) if wanted.run else folder
    reports, front = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = Program(
        wanted.argv, environment_of(wanted, folder, run), run, log_dir=Path(wanted.log_dir) if wanted.log_dir else None,
        attempt=folder,
    )  # fmt: skip
    try:
        run.mkdir(parents=True, exist_ok=True)
        AttemptKeeper(program, None, front, above).run()
        _report_failure(folder, reports, wanted.argv)
        _outlive_what_is_left(folder)
    except OSError as error:
        if (folder / "started.json").exists():
            raise
        _end(folder, {"refused": f"it cannot be started ({error.strerror}: {error.filename or run})"})
    finally:
        if leases:
            lease.give_back(leases, wanted.gpus, folder)
    return 0


class AttemptKeeper(Keeper):
    """A program may remove the folder of its run: that costs its last lines, and not how it ended. Nor does a full disk: it is waited for."""

    def _write_ended(self, status: int) -> None:
        super()._write_ended(status)
        until_s, folder = time.monotonic() + ROOM_S, self._program.attempt or self._program.folder
        while folder.is_dir() and not (folder / "exit.json").exists() and time.monotonic() < until_s:
            time.sleep(MAX_PAUSE_S)
            super()._write_ended(status)

    def _newest_lines(self) -> list[str]:
        try:
            return super()._newest_lines()
        except OSError:
            return []


def environment_of(wanted: LaunchSpec, folder: Path, run: Path) -> dict[str, str]:
    """What the submitter passed on, and what the queue adds."""
    added = {
        MARK: str(folder), RUN_FOLDER: str(run), "DEEPSEEK_JOB": str(wanted.job), "DEEPSEEK_JOB_ATTEMPT": str(wanted.number),
    }  # fmt: skip
    if wanted.gpus:
        added["CUDA_VISIBLE_DEVICES"] = ",".join(wanted.gpus)
    elif wanted.cores:
        added |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(len(wanted.cores))}
    passed = {
        name: value for name, value in wanted.environment.items() if name != DAEMON
    }  # by which its processes would be hidden
    return {"PYTHONUNBUFFERED": "1", "PATH": os.defpath, **passed, **added}


def _report_failure(folder: Path, reports: socket.socket, argv: Sequence[str]) -> None:
    """Where the program could not be executed."""
    reports.setblocking(False)
    try:
        message = reports.recv(64)
    except BlockingIOError:
        return
    if message[:1] == FAILED:
        (number,) = NUMBER.unpack(message[1:])
        if not (folder / "started.json").exists():  # the queue could not have known of it
            raise OSError(number, os.strerror(number), str(folder))
        if number in NOT_NOW:
            _end(folder, {"refused": f"it cannot be started ({os.strerror(number)}: {argv[0]})"})
            return
        code = NOT_EXECUTABLE if number == errno.EACCES else NOT_FOUND
        said = f"{argv[0]!r} cannot be executed: {os.strerror(number)}"
        _end(folder, {"code": code, "signal": None, "ended_s": time.time(), "last_lines": [said]})


def _outlive_what_is_left(folder: Path) -> None:
    """The orphans of the program are children of this process as long as it lives, so that they are found: the daemon ends them."""
    ours, pause_s = (os.getpid(), start_ticks(os.getpid()) or 0), MIN_PAUSE_S
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        if not ProcessTable().of_attempt(str(folder), None, ours):  # a queue was started in here
            return
        time.sleep(pause_s)
        pause_s = min(MAX_PAUSE_S, 2 * pause_s)


def _end(folder: Path, how: dict[str, object]) -> None:
    beside = folder / ".exit.json"
    beside.write_text(json.dumps(how))
    beside.replace(folder / "exit.json")
