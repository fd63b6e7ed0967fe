"""The native sampler's process, and the pipes to it and from it."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from .stream import Fate, SampleWindow, StreamError, StreamReader

PIPE_BYTES = 1 << 20
MOST_READ = 4 << 20  # bytes in one call; what is more waits
END_WITHIN_S = 2.0
HANGS_AFTER_S = 10.0  # in one process; a look takes 10 us, finding a Python 10 ms
TURN = struct.Struct(
    "=QQ"
)  # what main.c shows: the target's number, and since when (CLOCK_MONOTONIC ns), 0 while there is none


class Resident:
    """A sampler that runs. The subclass says how it is had, and how it is let go."""

    def __init__(self, commands: int, output: int, turn: int) -> None:
        """Descriptors, which are closed with it: its standard input and output, and the memory in which it shows its turn."""
        self._commands, self._output, self._turn = commands, output, turn
        self._reader = StreamReader()
        self._begun_s = time.monotonic()
        self._window_s = 0.0
        self._stuck = False
        os.set_blocking(commands, False)
        os.set_blocking(output, False)
        with suppress(PermissionError):  # this user has too many large pipes already
            fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    @property
    def pid(self) -> int | None:
        """None where it is not our child."""
        return None

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._begun_s

    def send(self, command: str) -> None:
        try:
            os.write(self._commands, f"{command}\n".encode())
        except BlockingIOError:
            self._stuck = True
        except BrokenPipeError:  # it has ended: `read` says so
            self._stuck = False

    def hangs_in(self) -> int | None:
        """The number of the target that it has been looking at for too long."""
        number, since_ns = TURN.unpack(os.pread(self._turn, TURN.size, 0))
        return number if since_ns and (time.monotonic_ns() - since_ns) / 1e9 > HANGS_AFTER_S else None

    def set_window(self, window_s: float) -> None:
        if window_s != self._window_s:
            self._window_s = window_s
            self.send(f"w {window_s * 1000:.0f}")

    def read(self) -> tuple[list[Fate | SampleWindow], str]:
        """What has come, and why no more will come, "" while it runs. Does not wait."""
        messages: list[Fate | SampleWindow] = []
        taken = 0
        try:
            while data := os.read(self._output, PIPE_BYTES):
                messages += self._reader.feed(self.mine(data))
                taken += len(data)
                if taken >= MOST_READ:
                    return messages, ""
        except BlockingIOError:  # no more for now
            return messages, "it does not take commands" if self._stuck else ""
        except StreamError as error:
            return messages, str(error)
        return messages, self.how_it_ended()

    def mine(self, data: bytes) -> bytes:
        """What of the output is meant for us."""
        return data

    def how_it_ended(self) -> str:
        return "it closed its output"

    def close(self) -> None:
        for descriptor in (self._commands, self._output, self._turn):
            os.close(descriptor)


class Child(Resident):
    """Started by us. It ends when its input does, also when we are killed."""

    def __init__(self, program: Path) -> None:
        turn = os.memfd_create("turn")
        os.ftruncate(turn, TURN.size)
        command = [str(program), str(turn)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, process_group=0, pass_fds=[turn]
            )
        except OSError:
            os.close(turn)
            raise
        assert self._process.stdin
        assert self._process.stdout
        super().__init__(self._process.stdin.fileno(), self._process.stdout.fileno(), turn)

    @property
    def pid(self) -> int:
        return self._process.pid

    def how_it_ended(self) -> str:
        try:
            code = self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        return f"it was ended by signal {-code}" if code < 0 else f"it ended with code {code}"

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(0 if self.hangs_in() is not None else END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with suppress(
                subprocess.TimeoutExpired
            ):  # it reads from what does not answer, and is reaped when that does
                self._process.wait(END_WITHIN_S)
        self._process.stdout.close()
        os.close(self._turn)
