"""The line of a sample: text as it is, or the path of a file, which is neither read nor copied."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from .log_file import number, warn
from .readable import text

FILE = "logged_samples"  # not `samples.jsonl`, as many data sets are called
MOST_TEXT_BYTES = 60_000  # of one sample; the dashboard keeps 64 KiB
MOST_PATH_CHARS = 4096
IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".bmp")
SOUNDS = (".wav", ".mp3", ".ogg", ".flac", ".mp4", ".webm")
TEXTS = (".txt", ".md", ".html", ".csv", ".tsv", ".json", ".jsonl", ".pdf", ".npy", ".npz")


def path_of(value: object) -> str | None:
    """The absolute path that is meant; None for text. A string is a path where it is one line that ends like a known kind of file."""
    if isinstance(value, os.PathLike):
        return os.path.abspath(os.fsdecode(value))  # noqa: PTH100  # of a relative path as it is now: the script may change its folder
    if (
        isinstance(value, str)
        and len(value) <= MOST_PATH_CHARS
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
    if len(shown) > MOST_TEXT_BYTES:
        warn(f"sample {text(name)!r} is cut to {MOST_TEXT_BYTES:,} bytes: write it into a file and log its path")
    return shown[:MOST_TEXT_BYTES].decode("utf-8", "ignore")
