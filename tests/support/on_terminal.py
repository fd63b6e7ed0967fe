"""Run a command in a terminal of its own, type into it, and keep what it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

Act: TypeAlias = Callable[[int, int], object]  # with the terminal's descriptor and the command's pid
ROWS, COLUMNS = 30, 100


class Shown(NamedTuple):
    output: bytes
    status: int  # as os.waitpid gives it


def show(
    command: Sequence[str], folder: Path, *, when: bytes = b"", act: Act | None = None, timeout_s: float = 60.0
) -> Shown:
    """Until it has ended; `act` is done once, as soon as `when` was shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.execvp(command[0], list(command))
    output, until_s = b"", time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        if act is not None and when in output:
            act(terminal, pid)
            act = None
        if not select.select([terminal], [], [], 0.02)[0]:
            continue
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:
            break
        output += data
    else:
        os.kill(pid, 9)
    os.close(terminal)
    return Shown(output, os.waitpid(pid, 0)[1])


def typed(text: bytes) -> Act:
    return lambda terminal, pid: os.write(terminal, text)


def resized(rows: int, columns: int) -> Act:
    return lambda terminal, pid: fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def signalled(number: int) -> Act:
    return lambda terminal, pid: os.kill(pid, number)
