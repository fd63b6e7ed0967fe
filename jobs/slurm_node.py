"""A Slurm job on its node: keeps the run of the user's program."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from collectors.keeper import keeper
from collectors.keeper.keeper import ENDED, FAILED, NUMBER, SIGNAL, Program
from collectors.machine.proc import adopt_orphans
from deepseek.log.endings import NOTHING_SAVED, SAVED

from .slurm import ENDED_FILE as END_FILE
from .slurm import STARTED, SlurmJobSpec, SlurmJobSpecError, claim, take

MAKE_ROOM = signal.SIGUSR2
NOTICE_S = 1.0  # between SIGUSR2 and SIGTERM, where Slurm sends both at once
IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGCONT, signal.SIGUSR1)
OF_SLURM = (
    "SLURM_",
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
    "GPU_DEVICE_ORDINAL",
)
RUN_FOLDER = "DEEPSEEK_RUN_FOLDER"  # where a RunLog of the same log folder, without a name of its own, writes
SAMPLER = Path(keeper.__file__).parents[1] / "sampler" / "_sampler"
NOT_FOUND, NOT_EXECUTABLE, NOT_STARTED = 127, 126, 125
SCONTROL_S = 60.0
SHORTEST_S = 240


def main(words: Sequence[str]) -> int:
    """The exit code of the job: the program's, or 128 + N where signal N ended it."""
    folder, token = Path(words[0]), words[1]
    job = os.environ.get("SLURM_JOB_ID", "0")
    try:
        handed = take(folder, token)
        claim(folder, token, job)
    except SlurmJobSpecError as error:
        say(str(error))
        return NOT_STARTED  # the run is another one's: its files stay as they are
    resumes = handed.resume_argv is not None and (folder / STARTED).exists()
    argv = handed.resume_argv if resumes and handed.resume_argv else handed.argv
    try:
        os.chdir(handed.cwd)
    except OSError as error:
        return end(folder, f"the folder {handed.cwd} cannot be entered on this node ({error.strerror})", NOT_STARTED)
    node = Node(handed, folder)
    status = node.run(argv)
    if resumes and status == NOTHING_SAVED << 8 and node.asked_s is None and not node.is_ended:
        say("there is no checkpoint yet: it begins anew")
        argv, node = handed.argv, Node(handed, folder)
        status = node.run(argv)
    if status is None and not node.errno:
        return end(folder, "the program's keeper was killed; the program may go on", NOT_STARTED)
    if status is None:
        code = NOT_EXECUTABLE if node.errno == errno.EACCES else NOT_FOUND
        return end(folder, f"the program {argv[0]} cannot be run on this node: {os.strerror(node.errno)}", code)
    leaves = (
        node.asked_s is not None and not node.is_ended and handed.resume_argv is not None and exited_on_request(status)
    )
    if leaves and is_preempted(job):
        say("it made room for another job; Slurm starts it again")
        return SAVED
    if leaves and is_short(os.environ):
        return end(
            folder,
            "it is not started again: its time limit leaves no time for work before it has to save, 2 min before the end",
            SAVED,
        )
    if leaves and (problem := requeue(job)):
        return end(folder, f"it made room, and Slurm does not start it again: {problem}", SAVED)
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def say(sentence: str) -> None:
    """Into the job's log."""
    with suppress(OSError):
        os.write(2, f"deepseek-jobs: {sentence}\n".encode(errors="replace"))


def end(folder: Path, sentence: str, code: int) -> int:
    """How the job ended, where that is not how its program did."""
    say(sentence)
    about = {"code": code, "signal": None, "ended_s": time.time(), "last_lines": [sentence]}
    with suppress(OSError):
        (folder / f".{END_FILE}").write_text(json.dumps(about))
        (folder / f".{END_FILE}").replace(folder / END_FILE)
    return code


def exited_on_request(status: int) -> bool:
    """Whether a program that was asked to end did so: without an error, or by the signal."""
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) == signal.SIGTERM
    return os.WEXITSTATUS(status) in (0, SAVED, 128 + signal.SIGTERM)


def is_preempted(job: str) -> bool:
    """Whether another job is to have its place: Slurm starts a job again then that ends in its grace time, whatever its exit code.

    To ask for it would be a second start. At its time limit a job has to ask.
    """
    from .slurm import SlurmError, call, first_row, number_of  # late: most jobs are never asked to leave

    try:
        printed = call(["scontrol", "--json", "show", "job", job], SCONTROL_S)
        return bool(number_of(first_row(printed.output).get("preempt_time")))
    except SlurmError:
        return False


def is_short(environment: Mapping[str, str]) -> bool:
    """Whether the time limit is less than four minutes: the job would be started again and again, and get nowhere."""
    try:
        return int(environment["SLURM_JOB_END_TIME"]) - int(environment["SLURM_JOB_START_TIME"]) < SHORTEST_S
    except (KeyError, ValueError):
        return False


def requeue(job: str) -> str:
    """Ask Slurm to start the job anew: "", or why it does not."""
    from .slurm import SlurmError, call

    try:
        printed = call(["scontrol", "requeue", job], SCONTROL_S)
    except SlurmError as error:
        return str(error)
    return printed.sentence() if printed.code else ""


def environment_of(given: Mapping[str, str], here: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The user's over the node's, but for what Slurm says of the job and its GPUs."""
    allowed = {name: value for name, value in given.items() if not name.startswith(OF_SLURM)}
    return {"PYTHONUNBUFFERED": "1", **here, **allowed, RUN_FOLDER: str(folder)}


class Node:
    """The program of one attempt."""

    def __init__(self, handed: SlurmJobSpec, folder: Path) -> None:
        self.errno = 0
        self.asked_s: float | None = None  # when it was asked to make room, CLOCK_MONOTONIC
        self.is_ended = False  # by Slurm, which knows whether it starts the job again
        self._handed, self._folder = handed, folder
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self, argv: Sequence[str]) -> int | None:
        """The program's wait status; None: it cannot be run, for `errno`, or with 0 its keeper was killed."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(MAKE_ROOM, self._asked)
        signal.signal(signal.SIGTERM, self._ended)
        for number in IGNORED:
            signal.signal(number, lambda *_: None)  # a handler, since what is ignored would be for the program, too
        adopt_orphans()  # the keeper, where the sampler above it ends: without cgroups Slurm finds a job's processes by their parents
        self._redirect()
        environment = environment_of(self._handed.environment, os.environ, self._folder)
        sampler = SAMPLER if os.access(SAMPLER, os.X_OK) else None
        program = Program(argv, environment, self._folder, sampler, Path(self._handed.log_dir), signals_reach_all=True)
        return self._follow(keeper.launch(program, None))

    def _asked(self, *_: object) -> None:
        self.asked_s = self.asked_s or time.monotonic()

    def _ended(self, *_: object) -> None:
        self.is_ended = True

    def _redirect(self) -> None:
        """What the program prints is kept by its keeper; the job's own log is Slurm's."""
        self._log = os.dup(2)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for number in (0, 1, 2):
            os.dup2(null, number)

    def _follow(self, front: socket.socket) -> int | None:
        passed = False
        while True:
            due_s = (
                None if self.asked_s is None or passed or self.is_ended else self.asked_s + NOTICE_S - time.monotonic()
            )
            sources: list[int | socket.socket] = [front, self._woken]
            ready, _, _ = select.select(sources, [], [], None if due_s is None else max(0.0, due_s))
            if self._woken in ready:
                with suppress(BlockingIOError):
                    os.read(self._woken, 4096)
            if due_s is not None and due_s <= 0 and not self.is_ended:
                passed = True
                with suppress(OSError):  # it has just ended
                    front.send(SIGNAL + NUMBER.pack(signal.SIGTERM))
            if front in ready:
                message = front.recv(4096)
                kind = message[:1]
                if kind in (ENDED, FAILED) or not message:
                    os.dup2(self._log, 2)
                    if kind == ENDED:
                        return int(NUMBER.unpack(message[1:])[0])
                    self.errno = NUMBER.unpack(message[1:])[0] if message else 0
                    return None
