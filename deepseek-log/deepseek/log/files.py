"""Files of a run log: any value as JSON, buffered writes, and samples."""

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

MAX_DEPTH = 12  # of values within each other; what is deeper is written as its text
MAX_TEXT_CHARS = 16_000
MAX_ITEMS = 10_000  # of one list or mapping
MAX_INT = 2**63 - 1


def readable(value: Any, depth: int = 0) -> Any:
    """`{"seed": 2**127, ("a", 1): nan} -> {"seed": "1701...", "('a', 1)": "NaN"}`"""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -MAX_INT <= value <= MAX_INT else text(value)
    if isinstance(value, float):
        return (
            float(value)
            if math.isfinite(value)
            else "NaN"
            if math.isnan(value)
            else "Infinity"
            if value > 0
            else "-Infinity"
        )
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping) and depth < MAX_DEPTH:
        return {text(name): readable(item, depth + 1) for name, item in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, (list, tuple, set, frozenset)) and depth < MAX_DEPTH:
        return [readable(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
    return text(value)


def text(value: object) -> str:
    """`str(value)`, as valid UTF-8 of a bounded length: `"caf\\udce9" -> "caf\\\\udce9"`."""
    try:
        shown = str(value)
    except Exception as error:  # an object's own fault, or too many digits, or too deep
        shown = f"<{type(value).__name__}: {type(error).__name__}>"
    return shown[:MAX_TEXT_CHARS].encode("utf-8", "backslashreplace").decode()


def excerpt(message: str, most: int) -> str:
    """At most `most` characters: a longer message ends with a whole word and an ellipsis."""
    if len(message) <= most:
        return message
    kept = message[: most - 1]
    words, _, rest = message[:most].rpartition(" ")
    return f"{words if len(rest) < most // 2 else kept}…"


# The lines of a run's log, and the files that they are appended to; both serve `RunLog`'s writer thread.

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


# The line of a sample: text as it is, or the path of a file, which is neither read nor copied.

FILE = "logged_samples"  # not `samples.jsonl`, as many data sets are called
MAX_TEXT_BYTES = 60_000  # of one sample; the dashboard keeps 64 KiB
MAX_PATH_CHARS = 4096
IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".bmp")
SOUNDS = (".wav", ".mp3", ".ogg", ".flac", ".mp4", ".webm")
TEXTS = (".txt", ".md", ".html", ".csv", ".tsv", ".json", ".jsonl", ".pdf", ".npy", ".npz")


def path_of(value: object) -> str | None:
    """The absolute path that is meant; None for text. A string is a path where it is one line that ends like a known kind of file."""
    if isinstance(value, os.PathLike):
        return os.path.abspath(os.fsdecode(value))  # noqa: PTH100  # of a relative path as it is now: the script may change its folder
    if (
        isinstance(value, str)
        and len(value) <= MAX_PATH_CHARS
        and value[-6:].lower().endswith((*IMAGES, *SOUNDS, *TEXTS))
        and "\n" not in value
    ):
        return os.path.abspath(value)  # noqa: PTH100
    return None


def sample_line(
    folder: Path, time_s: float, name: object, value: object, path: str | None, step: object, kind: str | None
) -> str:
    """`{"time_s":1.5,"step":7,"name":"val/image","path":"images/7.png","bytes":812,"written_s":1.4}`, or with `"text"`.

    Whether the file is there is looked at here, in the writer thread; the path is relative to the run's folder where it lies in it.
    """
    line: dict[str, object] = {"time_s": round(time_s, 6)}
    if step is not None:
        line["step"] = _whole(name, step)
    line["name"] = text(name)
    if kind is not None:
        line["kind"] = text(kind)
    if path is None:
        line["text"] = _cut(name, value)
    else:
        inside = path.startswith(f"{folder}{os.sep}")
        line["path"] = text(path[len(str(folder)) + 1 :] if inside else path)
        with suppress(OSError, ValueError):
            found = os.stat(path)  # noqa: PTH116
            line.update({"bytes": found.st_size, "written_s": round(found.st_mtime, 6)})
    return json.dumps({key: part for key, part in line.items() if part is not None}, separators=(",", ":"))


def _whole(name: object, step: object) -> object:
    try:
        return int(float(number(step)))
    except (AttributeError, TypeError, ValueError, ArithmeticError, RuntimeError, Warning):
        warn(f"the step of sample {text(name)!r} is left out: {type(step).__name__} is not one number")
        return None


def _cut(name: object, value: object) -> str:
    shown = str.encode(value, "utf-8", "backslashreplace") if isinstance(value, str) else b""
    if len(shown) > MAX_TEXT_BYTES:
        warn(f"sample {text(name)!r} is cut to {MAX_TEXT_BYTES:,} bytes: write it into a file and log its path")
    return shown[:MAX_TEXT_BYTES].decode("utf-8", "ignore")
