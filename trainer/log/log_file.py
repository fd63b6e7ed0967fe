"""The lines of a run's log, and the files that they are appended to; both serve `RunLog`'s writer thread."""

from __future__ import annotations

import functools
import json
import math
import os
import struct
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from .readable import readable, text

WAITING_LINES = 100_000  # kept for a file that cannot be written; the oldest go first
_FLOAT32 = struct.Struct("f")
_warned: set[str] = set()


class LogFile:
    """A file that lines are appended to, opened at its first line. Lines that cannot be written wait and are retried."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        self._rest = b""  # begun, so it goes first: the disk may have taken half a line
        self._waiting: deque[bytes] = deque()
        self._lost = 0

    def add(self, line: str) -> None:
        if len(self._waiting) == WAITING_LINES:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(line.encode(errors="replace") + b"\n")

    def flush(self) -> None:
        if not (self._rest or self._waiting):
            return
        try:
            self._append()
        except OSError as error:
            warn(f"cannot write {self.path} ({error.strerror}); keeping up to {WAITING_LINES:,} lines and trying again")
            return
        if self._lost:
            warn(f"writing {self.path} again; its oldest {self._lost:,} waiting lines are lost")
            self._lost = 0

    def close(self) -> None:
        self.flush()
        unwritten = self._rest.count(b"\n") + len(self._waiting) + self._lost
        if unwritten:
            warn(f"{unwritten:,} lines of {self.path} are lost")
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self) -> None:
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            size = os.lseek(self._fd, 0, os.SEEK_END)
            if size and os.pread(self._fd, 1, size - 1) != b"\n":
                self._rest = b"\n"  # a killed writer left half a line: ours must not be glued to it
        while self._rest or self._waiting:
            if not self._rest:
                self._rest = b"".join(self._waiting)
                self._waiting.clear()
            self._rest = self._rest[os.write(self._fd, self._rest) :]


def scalars_line(time_s: float, step: object, values: Mapping[str, object]) -> str:
    """`(1.5, 7, {"loss": 0.25}) -> {"time_s":1.5,"step":7,"loss":0.25}`; what is not a number is left out and warned about."""
    fields = [f'"time_s":{round(time_s, 6)!r}']
    for name, value in (("step", step), *values.items()):
        try:
            fields.append(f"{_quoted(name)}:{number(value)}")
        except Exception as error:  # whatever a value of the script's own raises must not end the thread that writes
            warn(f"{name!r} is not logged: {type(value).__name__} is not one number ({type(error).__name__})")
    return "{" + ",".join(fields) + "}"


def event_line(time_s: float, kind: str, fields: Mapping[str, object]) -> str:
    """`(1.5, "note", {"text": "hi"}) -> {"time_s":1.5,"kind":"note","text":"hi"}`; values without a JSON form become their `str`."""
    line = {"time_s": round(time_s, 6), "kind": kind, **fields}
    return "{" + ",".join(f"{_quoted(name)}:{_json(value)}" for name, value in line.items()) + "}"


def text_line(time_s: float, level: str, message: str) -> str:
    """`2026-11-24 16:31:01.250+01:00 INFO step 500 ...`: local time with its zone, so that it is unambiguous."""
    stamp = datetime.fromtimestamp(time_s).astimezone().isoformat(" ", "milliseconds")
    return f"{stamp} {level} {message.rstrip()}"


def number(value: Any) -> str:
    """The shortest JSON for a number: an exact float32 is written so that it reads back as the same float32.

    `tensor(0.1) -> 0.1` where `repr(float(tensor(0.1)))` is 0.10000000149011612; `nan -> "NaN"`. Raises the errors of the value's
    `__float__`, and AttributeError without one.
    """
    if isinstance(value, int):
        return json.dumps(value)  # and true, false
    if hasattr(value, "detach"):
        value = value.detach()  # PyTorch warns when a tensor that requires grad becomes a number
    real: float = value.__float__()  # not float(value), which reads strings, too
    if not math.isfinite(real):
        return '"NaN"' if math.isnan(real) else '"Infinity"' if real > 0 else '"-Infinity"'
    if _as_float32(real) == real:
        texts = (f"{real:.{digits}g}" for digits in (6, 7, 8, 9))  # 6 digits are always kept, 9 always enough
        return next(text for text in texts if _as_float32(float(text)) == real)
    return repr(real)


def warn(sentence: str) -> None:
    """Once each. Logging must never end a training, so a closed stderr is no reason to fail either."""
    if sentence not in _warned:
        _warned.add(sentence)
        with suppress(OSError, ValueError):
            print(f"RunLog: {sentence}", file=sys.stderr, flush=True)


def _as_float32(real: float) -> float | None:
    try:
        return float(_FLOAT32.unpack(_FLOAT32.pack(real))[0])
    except OverflowError:
        return None


@functools.lru_cache(maxsize=4096)
def _quoted(name: object) -> str:
    return json.dumps(text(name))


def _json(value: object) -> str:
    if not isinstance(value, int):
        with suppress(Exception):
            return number(value)
    return json.dumps(readable(value))
