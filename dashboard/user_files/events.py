"""Events that users add to runs: a line of JSON each, in files that the collector reads as it reads those of the runs.

`<data>/events/<run, percent-encoded>.jsonl` holds `{"run":"a","time_s":1764000031.5,"kind":"note","text":"new learning rate"}`.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from access.files import FOLDER_MODE, Unwritable
from collectors.records import Event
from collectors.user_files import ADDED_MOST_BYTES, FOLDER, RESERVED, SUFFIX, file_name
from collectors.yaml_tree import HALF_CHARACTER

MAX_TEXT, MAX_KIND = 4000, 100  # characters
LATEST_S = 1e11  # the year 5138: a later time is one in milliseconds, or none
FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def add_event(data_dir: Path, run: str, fields: Mapping[str, Any]) -> Event:
    """Append it to the run's file; the answer is what the collector will read.

    Raises ValueError for a wrong field or a full file, Unwritable.
    """
    event = checked(run, fields)
    path = file_of(data_dir, run)
    kept = {
        "run": run,
        "time_s": event.time_s,
        "kind": event.kind,
        "step": event.step,
        "seconds": event.seconds,
        "text": event.text,
    }
    line = json.dumps({name: value for name, value in kept.items() if value not in (None, "")}, ensure_ascii=False)
    try:
        path.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
        descriptor = os.open(path, FLAGS, 0o600)
        try:
            _append(descriptor, line.encode() + b"\n", path)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unwritable(f"cannot write {path} ({error.strerror})") from error
    return event


def file_of(data_dir: Path, run: str) -> Path:
    return data_dir / FOLDER / file_name(run, SUFFIX)


def checked(run: str, fields: Mapping[str, Any]) -> Event:
    """With values that can be: `{"text": "warm-up ends"}` is a note of now. Raises ValueError: one sentence."""
    kind, text = fields.get("kind", "note"), fields.get("text", "")
    time_s, step, seconds = fields.get("time_s"), fields.get("step"), fields.get("seconds")
    if not 0 < len(kind) <= MAX_KIND or HALF_CHARACTER.search(kind) or not kind.isprintable():
        raise ValueError(f"kind: one word of at most {MAX_KIND} characters")
    if kind in RESERVED:
        raise ValueError(f"kind: {kind!r} is what runs and the collector write themselves; choose another word")
    if len(text) > MAX_TEXT or HALF_CHARACTER.search(text):
        raise ValueError(f"text: at most {MAX_TEXT:,} characters, no half ones (lone surrogates)")
    if kind == "note" and not text.strip():
        raise ValueError("text: a note needs one")
    if time_s is not None and not 0 <= time_s < LATEST_S:
        raise ValueError("time_s: Unix seconds")
    if seconds is not None and not 0 <= seconds < LATEST_S:
        raise ValueError("seconds: a duration from 0 on, which ends at time_s")
    return Event(run, kind, time.time() if time_s is None else float(time_s), 0, step, seconds, text)


def _append(descriptor: int, line: bytes, path: Path) -> None:
    """At once, behind a whole line. Raises OSError, and ValueError where it is no file or a full one."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is not a regular file; delete it")
    torn = found.st_size > 0 and os.pread(descriptor, 1, found.st_size - 1) != b"\n"
    line = b"\n" + line if torn else line
    if found.st_size + len(line) > ADDED_MOST_BYTES:
        raise ValueError(
            f"{path} has {ADDED_MOST_BYTES >> 20} MiB of events, which is all that a run may have; move it away to begin a new one"
        )
    if os.write(descriptor, line) < len(line):
        os.ftruncate(descriptor, found.st_size)
        raise OSError(28, "the disk is full")
    os.fsync(descriptor)
