"""Start a program, keep what it prints, and write down how it ended: the parent of what `deepseek-dashboard run` starts.

Needs the standard library and the finder of secrets only. The keeper is a process of its own that lives as long as the program does, whatever becomes of the terminal and
of the dashboard. It writes into the folder of the run:

    run.json      what the run is: pid, host, start, command; before the program's first instruction
    started.json  {"boot_id", "pid", "ticks", "argv"}, at the same time
    output.log    what the program prints; errors.log holds standard error where that goes elsewhere
    .output.log.times, .errors.log.times   when each part of them was written
    and second names of the logs that the program writes into the usual folders beside it (`linked_folders.py`)
    exit.json     {"boot_id", "pid", "ticks", "code", "signal", "ended_s", "last_lines", "lost_bytes"}, when the program has ended

The program gets a terminal of its own where ours is one, else pipes; every byte is passed on unchanged. An attempt of a queue of jobs
(`Program.attempt`) writes into `output.log` itself, so that it outlives its keeper.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from deepseek.log.redaction import without_secrets

from ..machine.proc import adopt_orphans, boot_id, start_ticks
from .output import MAX_AT_ONCE, ProgramFile, Stream, Terminal, times_path, write_all
from .parent_sampler import SamplerLender, fork_sampler

INPUT, RESIZE, SIGNAL = b"i", b"r", b"s"  # messages to the keeper; then follow bytes, struct winsize, or a number
STARTED, STOPPED, ENDED, FAILED = (
    b"b",
    b"z",
    b"e",
    b"f",
)  # messages from it; then follows the pid, signal, wait status or errno
NUMBER = struct.Struct("=i")
OUTPUT, ERRORS = "output.log", "errors.log"
LEFT_ALONE = (signal.SIGHUP, signal.SIGTTOU, signal.SIGTTIN, signal.SIGPIPE)  # by the keeper
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)  # to the program
ASK_FOR_ROOM = (signal.SIGTERM, signal.SIGUSR1)
ASKED_S = 600.0  # after which an end is the program's own: many save at SIGUSR1 and go on
OF_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)  # which Python ignores by itself
LAST_LOOK_S = 1.0  # that the end of the program waits for the last look at what it wrote beside its output
LATE_LOOK_S = 30.0  # that the keeper stays for it, once it has said that the program has ended
ENDING_S = 0.2  # that a killed command takes to be gone, on a busy machine
FULL_S = 0.02  # how soon a stream that was full is looked at again
GROWN_S = 0.1  # how often a file that the program writes itself is looked at
RESTORED = (*LEFT_ALONE, *PASSED_ON, signal.SIGCHLD, signal.SIGXFSZ, signal.SIGTSTP, signal.SIGUSR1, signal.SIGUSR2)


class Program(NamedTuple):
    """What is to be started, and where its files go."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    sampler: Path | None = None  # the native sampler; it becomes a process above the program's
    log_dir: Path | None = None  # what the program logs beside it gets a second name in `folder`
    attempt: Path | None = (
        None  # a queue's folder of this attempt: it executes nothing before started.json stands there, too
    )
    signals_reach_all: bool = False  # Slurm sends signals to all processes of a job: passed on, they would come twice


def launch(program: Program, terminal: Terminal | None) -> socket.socket:
    """Start a keeper, which starts the program; the socket to talk to it by.

    To be called by a process of one thread.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        code = 1
        try:
            ours.close()
            os.setsid()
            above = (
                fork_sampler(program.sampler, hears_sigterm=not program.signals_reach_all) if program.sampler else None
            )
            Keeper(program, terminal, theirs, above).run()
            code = 0
        finally:
            os._exit(code)
    theirs.close()
    if terminal:
        os.close(terminal.master)
        os.close(terminal.slave)
    return ours


class OutputDescriptors(NamedTuple):
    """The program's descriptors 1 and 2. They are equal where ours are one file, so that the order of lines stays."""

    standard: int
    errors: int


class Keeper:
    """The parent of the program, and of what the program leaves behind."""

    def __init__(
        self, program: Program, terminal: Terminal | None, front: socket.socket, above: SamplerLender | None = None
    ) -> None:
        self._program, self._terminal, self._front, self._above = program, terminal, front, above
        self._front_is_there = True
        self._streams: list[Stream] = []
        self._file: ProgramFile | None = None  # instead of streams
        self._lost_bytes = 0
        self._last_lines: dict[str, Callable[[], list[str]]] = {}  # of each file
        self._pid = 0
        self._name: dict[str, object] = {}  # of the program's process
        self._status: int | None = None
        self._ended_s = 0.0
        self._asked: tuple[int, float] | None = (
            None  # the newest signal that asked it to make room, and when, CLOCK_MONOTONIC
        )
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        ignored = [number for number in RESTORED if signal.getsignal(number) == signal.SIG_IGN]
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in LEFT_ALONE:
            signal.signal(number, signal.SIG_IGN)
        for number in PASSED_ON:
            signal.signal(number, lambda number, _: self._signal(number, passed_on=not self._program.signals_reach_all))
        if not self._start(ignored):
            return
        adopt_orphans()
        gather = self._gather()
        while self._status is None:
            self._turn()
        self._take_what_is_there()
        gather(LAST_LOOK_S)
        self._write_ended(self._status)
        self._report(ENDED, self._status)
        while self._streams:  # what the program has left behind may go on to print
            self._turn()
        gather(LATE_LOOK_S)

    def _start(self, ignored: Sequence[int]) -> bool:
        """Whether the program runs; it executes nothing before its files are written."""
        outputs = self._open_outputs()
        wait, go = os.pipe2(os.O_CLOEXEC)
        failed, fail = os.pipe2(os.O_CLOEXEC)
        if self._terminal:
            fcntl.ioctl(self._terminal.slave, termios.TIOCSCTTY, 0)
        self._pid = os.fork()
        if self._pid == 0:
            os.close(go)
            self._become_program(outputs, ignored, wait, fail)
        os.close(fail)
        if not (unknown := self._introduce()):
            os.write(go, b"g")
        for number in {wait, go, outputs.standard, outputs.errors}:
            os.close(number)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(null, 0)  # what the program reads, only the program reads
        code = NUMBER.pack(unknown) if unknown else os.read(failed, NUMBER.size)
        if code:
            os.waitpid(self._pid, 0)
            self._remove_files()
            self._report(FAILED, NUMBER.unpack(code)[0])
        else:
            self._report(STARTED, self._pid)
        os.close(failed)
        return not code

    def _open_outputs(self) -> OutputDescriptors:
        """With a stream for each."""
        if self._program.attempt:
            self._file = ProgramFile(self._program.folder / OUTPUT)
            self._last_lines[OUTPUT] = self._file.last_lines
            return OutputDescriptors(self._file.descriptor, self._file.descriptor)
        terminals = [number for number in (1, 2) if self._terminal and os.isatty(number)]
        if self._terminal:
            self._add(self._terminal.master, terminals[0], OUTPUT if 1 in terminals else ERRORS, terminal=True)
        if len(terminals) == 2 and self._terminal:
            return OutputDescriptors(self._terminal.slave, self._terminal.slave)
        if not terminals and os.path.sameopenfile(1, 2):
            both = self._pipe(1, OUTPUT)
            return OutputDescriptors(both, both)
        slave = self._terminal.slave if self._terminal else -1
        return OutputDescriptors(
            slave if 1 in terminals else self._pipe(1, OUTPUT), slave if 2 in terminals else self._pipe(2, ERRORS)
        )

    def _pipe(self, target: int, file: str) -> int:
        source, program = os.pipe2(os.O_CLOEXEC)
        self._add(source, target, file, terminal=False)
        return program

    def _add(self, source: int, target: int, file: str, *, terminal: bool) -> None:
        stream = Stream(source, target, self._program.folder / file, terminal=terminal)
        self._streams.append(stream)
        self._last_lines[file] = stream.last_lines

    def _become_program(self, outputs: OutputDescriptors, ignored: Sequence[int], wait: int, fail: int) -> NoReturn:
        """In the new process."""
        try:
            os.setpgid(0, 0)
            if self._terminal:
                signal.signal(signal.SIGTTOU, signal.SIG_IGN)
                os.tcsetpgrp(self._terminal.slave, os.getpid())
                if os.isatty(0):
                    os.dup2(self._terminal.slave, 0)
            os.dup2(outputs.standard, 1)
            os.dup2(outputs.errors, 2)
            if not os.read(wait, 1):  # the keeper is gone, or could not write down that there is a program
                os._exit(127)
            signal.set_wakeup_fd(-1)
            for number in RESTORED:
                signal.signal(
                    number, signal.SIG_IGN if number in ignored and number not in OF_PYTHON else signal.SIG_DFL
                )
            os.execvpe(self._program.argv[0], list(self._program.argv), self._program.environment)
        except OSError as error:
            os.write(fail, NUMBER.pack(error.errno or 0))
        finally:
            os._exit(127)

    def _introduce(self) -> int:
        """Write down which process it is; an errno where a queue could not know of it."""
        with contextlib.suppress(OSError):  # it has done so itself
            os.setpgid(self._pid, self._pid)
        attempt, folder = self._program.attempt, self._program.folder
        self._name = {"boot_id": boot_id(), "pid": self._pid, "ticks": start_ticks(self._pid)}
        argv = without_secrets(self._program.argv)
        about = {
            "pid": self._pid,
            "host": socket.gethostname(),
            "started_s": time.time(),
            "cwd": str(Path.cwd()),
            "argv": argv,
        }
        if attempt:
            self._name["attempt"] = attempt.name
            try:
                _replace(attempt / "started.json", self._name)
            except OSError as error:
                return error.errno or 1
        self._write("run.json", _of_the_first_attempt(folder / "run.json") | about)
        self._write("started.json", {**self._name, "argv": argv})
        if (folder / "exit.json").exists():
            self._write("exit.json", self._name)  # that of the attempt before no longer holds
        return 0

    def _turn(self) -> None:
        """Wait until something happens, and do what it asks for."""
        waiting = [stream for stream in self._streams if stream.is_full]
        sources = [self._woken, *(stream.source for stream in self._streams if stream not in waiting)]
        lenders = self._above.sockets() if self._above else []
        readable: list[int | socket.socket] = [*sources, *([self._front] if self._front_is_there else []), *lenders]
        ready, _, _ = select.select(readable, [], [], FULL_S if waiting else GROWN_S if self._file else None)
        if self._file:
            self._file.look()
        for stream in [stream for stream in self._streams if stream.source in ready]:
            self._take(stream)
        if self._front in ready:
            self._obey()
        for lender in lenders:
            if self._above and lender in ready:
                self._above.serve(lender)
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, MAX_AT_ONCE)
            self._reap()

    def _gather(self) -> Callable[[float], None]:
        """Begin to look for the logs that the program writes itself. What is returned ends that, and waits at most so many seconds for it."""
        import threading  # these take 6 ms, while the program starts

        from .linked_folders import LinkedFiles, beside
        from .log_files import ProgramFiles, follow

        log_dir = self._program.log_dir
        if log_dir is None:
            return lambda within_s: None
        ended, working = threading.Event(), Path.cwd()
        names = LinkedFiles(self._program.folder, usual := beside(working, log_dir))
        files = ProgramFiles(self._program.folder, working, [*usual, log_dir])
        looking = threading.Thread(target=follow, args=(names, files, ended.wait), daemon=True)
        looking.start()

        def gather(within_s: float) -> None:
            ended.set()
            looking.join(within_s)

        return gather

    def _front_stays(self) -> bool:
        """Whether the reader of a pipe left alone, and not together with the command, which may take a moment to end."""
        if self._front_is_there and select.select([self._front], [], [], ENDING_S)[0]:
            with contextlib.suppress(OSError):
                return bool(self._front.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
            return False
        return self._front_is_there

    def _take(self, stream: Stream) -> bool:
        if not (stream.is_unread and self._front_stays()) and stream.read():
            return True
        stream.close()
        self._lost_bytes += stream.lost_bytes
        self._streams.remove(stream)
        return False

    def _take_what_is_there(self) -> None:
        """The program has ended: the last that it has printed."""
        if self._file:
            self._file.close()
        if self._terminal:
            os.close(self._terminal.slave)
        for stream in list(self._streams):
            while select.select([stream.source], [], [], 0)[0] and self._take(stream):
                pass
            stream.flush()
            stream.is_restored = self._terminal is not None

    def _reap(self) -> None:
        """All that have ended: the program, and orphans of its own."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG | os.WUNTRACED))[0]:
                pid, status = found
                if pid == self._pid and os.WIFSTOPPED(status):
                    self._report(STOPPED, os.WSTOPSIG(status))
                elif pid == self._pid:
                    self._status, self._ended_s = status, time.time()

    def _obey(self) -> None:
        try:
            message = self._front.recv(MAX_AT_ONCE)
        except OSError:
            message = b""
        kind, rest = message[:1], message[1:]
        if not message:
            self._front_is_there = False
        elif kind == INPUT and self._terminal:
            write_all(self._terminal.master, rest)
        elif kind == RESIZE and self._terminal:
            fcntl.ioctl(self._terminal.master, termios.TIOCSWINSZ, rest)
        elif kind == SIGNAL:
            self._signal(NUMBER.unpack(rest)[0])

    def _signal(self, number: int, *, passed_on: bool = True) -> None:
        """To the program and what it has started in its process group."""
        if number in ASK_FOR_ROOM:
            self._asked = int(number), time.monotonic()
        if self._status is None and self._pid and passed_on:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, number)

    def _report(self, kind: bytes, number: int) -> None:
        with contextlib.suppress(OSError):  # the front is gone
            self._front.send(kind + NUMBER.pack(number))

    def _write_ended(self, status: int) -> None:
        by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = None if by else os.WEXITSTATUS(status)
        lost = self._lost_bytes + sum(stream.lost_bytes for stream in self._streams)
        how = {
            "code": code,
            "signal": by,
            "stopped_by": stopped_by(self._asked, time.monotonic()),
            "ended_s": self._ended_s,
            "last_lines": self._newest_lines(),
            "lost_bytes": lost,
        }
        self._write("exit.json", {**self._name, **how})
        if self._program.attempt:
            with contextlib.suppress(OSError):  # then its end is not known
                _replace(self._program.attempt / "exit.json", {**self._name, **how})

    def _newest_lines(self) -> list[str]:
        """Of standard error, where a program says why it ended, else of its output."""
        found = [self._last_lines[file]() for file in (ERRORS, OUTPUT) if file in self._last_lines]
        return next(filter(None, found), [])

    def _remove_files(self) -> None:
        """There was no run. One that a queue goes on with keeps its files."""
        if self._program.attempt:
            return
        folder = self._program.folder
        kept = [folder / OUTPUT, folder / ERRORS]
        for path in [folder / "run.json", folder / "started.json", *kept, *map(times_path, kept)]:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()

    def _write(self, name: str, value: Mapping[str, object]) -> None:
        """Whole, or not at all: it must not keep the program from running."""
        with contextlib.suppress(OSError):
            _replace(self._program.folder / name, value)


def stopped_by(asked: tuple[int, float] | None, now_s: float) -> int | None:
    """The signal by which a program that ends now has made room: the newest one, unless it went on for ten minutes after that."""
    return asked[0] if asked and now_s - asked[1] <= ASKED_S else None


def _replace(path: Path, value: Mapping[str, object]) -> None:
    """Raises OSError."""
    path.with_name(f".{path.name}").write_text(json.dumps(value))
    path.with_name(f".{path.name}").replace(path)


def _of_the_first_attempt(path: Path) -> dict[str, object]:
    """What run.json says of a run that goes on, and when its program was started first; {} of a new one."""
    known: dict[str, object] = {}
    with contextlib.suppress(OSError, ValueError, TypeError):
        if path.is_file():  # the program may have put a pipe there, which would be waited for
            known = dict(json.loads(path.read_text()))
    began_s = known.get("first_started_s", known.get("started_s"))
    return known | ({"first_started_s": began_s} if isinstance(began_s, int | float) else {})
