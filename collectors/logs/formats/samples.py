"""Read `logged_samples.jsonl`: what a run logged to be looked at, as text or as the path of a file.

`{"time_s":1.5,"step":7,"name":"val/image","path":"images/7.png","bytes":812,"written_s":1.4}`; the file itself is not touched here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, get_args

from ...records import MAX_INLINE_BYTES, Record, Sample, SampleKind
from . import Arrival, Tally
from .jsonl import finite, objects
from .values import MAX_STEP, as_count, as_time, escape_control, name_fault

FILE = re.compile(r"logged_samples(\.rank\d{1,9})?\.jsonl")
KINDS: frozenset[str] = frozenset(get_args(SampleKind))
MAX_PATH_CHARS = 4096
MAX_FILE_BYTES = 1 << 62
KIND_OF: dict[str, tuple[SampleKind, str]] = {
    ".png": ("image", "image/png"),
    ".jpg": ("image", "image/jpeg"),
    ".jpeg": ("image", "image/jpeg"),
    ".gif": ("image", "image/gif"),
    ".webp": ("image", "image/webp"),
    ".wav": ("audio", "audio/wav"),
    ".mp3": ("audio", "audio/mpeg"),
    ".ogg": ("audio", "audio/ogg"),
    ".flac": ("audio", "audio/flac"),
    ".csv": ("table", "text/csv"),
    ".tsv": ("table", "text/tab-separated-values"),
    ".json": ("table", "application/json"),
    ".jsonl": ("text", "application/jsonl"),
    ".txt": ("text", "text/plain"),
    ".md": ("text", "text/markdown"),
    ".html": ("text", "text/html"),
    ".svg": ("text", "image/svg+xml"),
}
OF_TEXT = {"table": "application/json", "histogram": "application/json"}


class LoggedSamples:
    """A file of one rank."""

    def __init__(self, run: str, rank: int) -> None:
        self.tally = Tally()
        self._run, self._rank = run, rank

    def state(self) -> dict[str, Any]:
        return {}

    def parse(self, lines: Sequence[bytes], arrival: Arrival | None) -> list[Record]:
        found = [self._sample(fields, arrival) for fields in objects(lines, self.tally)]
        return [sample for sample in found if sample is not None]

    def _sample(self, fields: Mapping[str, Any], arrival: Arrival | None) -> Sample | None:
        name, text, path = fields.get("name"), fields.get("text"), fields.get("path")
        if not isinstance(name, str) or not (isinstance(text, str) or isinstance(path, str)):
            self.tally.skip_line("a sample needs a name, and text or a path")
            return None
        if fault := name_fault(escape_control(name)) or (path_fault(path) if isinstance(path, str) else ""):
            self.tally.skip_line(f"a sample {fault}")
            return None
        about = escape_control(name), self._time_s(fields, arrival), self._step(fields)
        return (
            self._file(*about, path, fields)
            if isinstance(path, str)
            else self._text(*about, str(text), fields.get("kind"))
        )

    def _text(self, name: str, time_s: float | None, step: int | None, text: str, kind: object) -> Sample:
        data = escape_control(text).encode()
        if len(data) > MAX_INLINE_BYTES:
            self.tally.skip_field(name, f"has more than {MAX_INLINE_BYTES >> 10} KiB of text, and is cut")
            data = data[:MAX_INLINE_BYTES].decode(errors="ignore").encode()
        known: SampleKind = kind if kind in ("table", "histogram") else "text"
        return Sample(
            self._run, name, known, OF_TEXT.get(known, "text/plain"), time_s, step, self._rank, data, length=len(data)
        )

    def _file(self, name: str, time_s: float | None, step: int | None, path: str, fields: Mapping[str, Any]) -> Sample:
        kind, media = KIND_OF.get(PurePosixPath(path).suffix.lower(), ("file", ""))
        length = as_count(fields.get("bytes"), 0, MAX_FILE_BYTES)
        written_s = as_time(fields.get("written_s"))
        return Sample(
            self._run, name, kind, media, time_s, step, self._rank, path=path, length=length, written_s=written_s
        )

    def _time_s(self, fields: Mapping[str, Any], arrival: Arrival | None) -> float | None:
        time_s = as_time(fields.get("time_s"))
        if time_s is None and fields.get("time_s") is not None:
            self.tally.skip_field("time_s", "is not a time in Unix seconds")
        return arrival.until_s if time_s is None and arrival else time_s

    def _step(self, fields: Mapping[str, Any]) -> int | None:
        step = finite(fields.get("step"))
        if fields.get("step") is not None and (step is None or abs(step) > MAX_STEP):
            self.tally.skip_field("step", "is not a number")
            return None
        return None if step is None else int(step)


def path_fault(path: str) -> str:
    """Why this cannot be the path of a sample; "" where it can."""
    if not path or len(path) > MAX_PATH_CHARS:
        return f"has a path of none, or more than {MAX_PATH_CHARS:,} characters"
    if escape_control(path) != path:
        return "has a path that is not UTF-8 text"
    return "has a path with '..' in it" if ".." in PurePosixPath(path).parts else ""
