"""A program's output: passed on byte by byte and kept in a file. Standard library only."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import stat
import struct
import termios
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

MAX_AT_ONCE = 1 << 16
MAX_WAITING = 1 << 20  # bytes that wait for a reader that does not read; then the program waits, as it would without us
TAIL_BYTES = 1 << 15  # of the newest output, kept for its last lines
MAX_LAST_LINES = 100
MAX_LINE_CHARACTERS = 400  # the first ones name the exception; more than a reason keeps, so that a cut shows
GAP_S = 0.05  # between two records of times, at least,
GAP_SHARE = 1e-5  # or this part of the time since the start: a month of output takes less than 20 MB of them
RECORD = struct.Struct("<QQQ")  # bytes written before; Unix time, microseconds; both and `CHECK` exclusive-or'ed
CHECK = 0x9E37_79B9_7F4A_7C15  # a record that is zeros, cut or shifted does not have it


class Terminal(NamedTuple):
    """The two sides of the program's own terminal."""

    master: int
    slave: int


def open_terminal() -> Terminal | None:
    """One like ours; None where our output is none."""
    shown = next((number for number in (1, 2) if os.isatty(number)), None)
    if shown is None:
        return None
    master, slave = pty.openpty()
    termios.tcsetattr(slave, termios.TCSANOW, termios.tcgetattr(shown))
    fcntl.ioctl(slave, termios.TIOCSWINSZ, fcntl.ioctl(shown, termios.TIOCGWINSZ, b"\0" * 8))
    return Terminal(master, slave)


class Stream:
    """What the program prints on one descriptor: passed on to ours, and kept in a file."""

    def __init__(self, source: int, target: int, path: Path, *, terminal: bool) -> None:
        self.source = source
        self.lost_bytes = 0
        self._target, self._terminal = target, terminal
        self._is_pipe = not terminal and stat.S_ISFIFO(os.fstat(target).st_mode)
        self._kept = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._written = os.fstat(self._kept).st_size
        self._times = TimesFile(times_path(path), goes_on=self._written > 0)
        self._carriage = False  # the last byte was a carriage return; a newline may follow
        self._waiting: list[bytes] = []
        self._changed = threading.Condition()
        self._broken = False  # there is no reader any more
        self.is_restored = False  # the user's terminal makes two bytes of a newline again
        self._tail = b""
        threading.Thread(target=self._pass_on, daemon=True).start()

    @property
    def is_full(self) -> bool:
        return not self._broken and sum(map(len, self._waiting)) > MAX_WAITING

    @property
    def is_unread(self) -> bool:
        """Whether the reader of a pipe has left (`| head`), which the program is to notice as it would alone."""
        return self._broken and self._is_pipe

    def read(self) -> bool:
        """Take what is there; False at the end."""
        try:
            data = os.read(self.source, MAX_AT_ONCE)
        except OSError:  # EIO: no process has the other side of the terminal open
            data = b""
        self._keep(data)
        with self._changed:
            if data and not self._broken:
                self._waiting.append(data)
                self._changed.notify_all()
        return bool(data)

    def last_lines(self) -> list[str]:
        """The beginnings of the newest lines, oldest first, up to the last that is not blank."""
        return last_lines_of(self._tail)

    def flush(self) -> None:
        """Wait until everything is passed on, or cannot be."""
        with self._changed:
            while self._waiting and not self._broken:
                self._changed.wait()

    def close(self) -> None:
        self.flush()
        if self._carriage:
            self._write(b"\r")
        os.close(self.source)
        os.close(self._kept)
        self._times.close()

    def _keep(self, data: bytes) -> None:
        """A terminal makes two bytes of a newline; the file has one."""
        if self._terminal and data:
            data = (b"\r" if self._carriage else b"") + data
            self._carriage = data.endswith(b"\r")
            data = data[: len(data) - self._carriage].replace(b"\r\n", b"\n")
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        self._write(data)

    def _write(self, data: bytes) -> None:
        if data:
            self._times.note(self._written)
        try:
            while data:
                count = os.write(self._kept, data)
                self._written += count
                data = data[count:]
        except OSError:  # a full disk costs the file, not the program
            self.lost_bytes += len(data)

    def _pass_on(self) -> None:
        while not self._broken:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                data = self._waiting[0]
            written = write_all(self._target, data.replace(b"\r\n", b"\n") if self.is_restored else data)
            with self._changed:
                del self._waiting[: 1 if written else len(self._waiting)]
                self._broken = not written
                self._changed.notify_all()


class ProgramFile:
    """A file that the program writes by itself, as long as it lives: when its parts were written, to the interval between two looks."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        """For the program."""
        self._last: list[str] = []
        self._seen = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = self._before = os.fstat(self._seen).st_size
        self._times = TimesFile(times_path(path), goes_on=self._size > 0)

    def look(self) -> None:
        size = os.fstat(self._seen).st_size
        if size > self._size:
            self._times.note(self._size)
        self._size = size

    def last_lines(self) -> list[str]:
        """The beginnings of the newest lines that the program has written, oldest first. Before `close`, or after it."""
        if self._seen < 0:
            return self._last
        size = os.fstat(self._seen).st_size
        return last_lines_of(os.pread(self._seen, TAIL_BYTES, max(self._before, size - TAIL_BYTES, 0)))

    def close(self) -> None:
        """The program's own descriptor is closed where it was handed on."""
        self.look()
        with suppress(OSError):  # a disk that fails costs the line
            self._last = self.last_lines()
        os.close(self._seen)
        self._seen = -1
        self._times.close()


class TimesFile:
    """When the parts of a file were written: a record at most 20 times a second, before the bytes that it dates. It may lack some."""

    def __init__(self, path: Path, *, goes_on: bool = False) -> None:
        """`goes_on`: behind the records of an earlier attempt."""
        self._records, self._began_s = 0, time.monotonic()
        self._due_s = self._began_s
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._records = os.fstat(self._descriptor).st_size // RECORD.size if goes_on else 0
        except OSError:  # costs the times, not the program
            self._descriptor = -1

    def note(self, offset: int) -> None:
        """The bytes from `offset` on are written now. A record that the disk does not take is written over."""
        now_s = time.monotonic()
        if self._descriptor < 0 or now_s < self._due_s:
            return
        time_us = time.time_ns() // 1000
        record = RECORD.pack(offset, time_us, offset ^ time_us ^ CHECK)
        try:
            whole = os.pwrite(self._descriptor, record, self._records * RECORD.size) == RECORD.size
        except OSError:
            return
        if whole:
            self._records += 1
            self._due_s = now_s + max(GAP_S, GAP_SHARE * (now_s - self._began_s))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def last_lines_of(tail: bytes) -> list[str]:
    lines = tail.rstrip().decode("utf-8", "replace").splitlines()[-MAX_LAST_LINES:]
    return [line[:MAX_LINE_CHARACTERS] for line in lines]


def times_path(path: Path) -> Path:
    """`output.log -> .output.log.times`, which no format reads."""
    return path.with_name(f".{path.name}.times")


def write_all(target: int, data: bytes) -> bool:
    """Whether there was a reader for all of it."""
    while data:
        try:
            data = data[os.write(target, data) :]
        except BlockingIOError:  # a descriptor that others share may be set so
            select.select([], [target], [])
        except OSError:
            return False
    return True
