"""wandb's Image, Audio, Html, Table and Histogram as samples of a run: a file is referred to, what lies in memory is written beside the log.

An array becomes a PNG where Pillow is installed, sound a WAV file, both in the folder `media` of the run, bounded in number and bytes.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import wave
from collections.abc import Mapping, Sequence
from typing import Any

from .guard import Inert, guarded, say_once

MAX_FILES = 1_000  # that are written for one run by one process,
MAX_BYTES = 256 << 20  # and their bytes
MAX_OF_A_LIST = 16
MAX_SIDE = 2048  # pixels of an image that is written; a larger one is made smaller
MAX_ROWS, MAX_CELL_CHARS, MAX_TABLE_BYTES = 200, 500, 50_000
MAX_BINS = 512
WRITTEN = "media"


class Media(Inert):
    """Something to be looked at; the base of wandb's classes. To all other questions it is inert."""

    def __init__(self, data_or_path: Any = None, *others: Any, **named: Any) -> None:
        self.data, self.caption = data_or_path, named.get("caption")

    def _sample(self, place: MediaFolder, name: str) -> tuple[Any, str | None] | None:
        """What RunLog gets: text or a path, and its kind. None where it cannot be logged, which is said."""
        raise NotImplementedError


class Image(Media):
    def _sample(self, place: MediaFolder, name: str) -> tuple[Any, str | None] | None:
        if isinstance(self.data, (str, os.PathLike)):
            return _path(self.data), None
        found = place.write(name, ".png", _png(self.data))
        return found and (found, None)


class Audio(Media):
    def __init__(self, data_or_path: Any = None, sample_rate: Any = None, caption: Any = None, **named: Any) -> None:
        super().__init__(data_or_path, caption=caption)
        self.rate = sample_rate

    def _sample(self, place: MediaFolder, name: str) -> tuple[Any, str | None] | None:
        if isinstance(self.data, (str, os.PathLike)):
            return _path(self.data), None
        found = place.write(name, ".wav", _wav(self.data, self.rate))
        return found and (found, None)


class Html(Media):
    """Shown as its text."""

    def _sample(self, place: MediaFolder, name: str) -> tuple[Any, str | None] | None:
        data = self.data.read() if hasattr(self.data, "read") else self.data
        is_path = isinstance(data, os.PathLike) or (
            isinstance(data, str) and data.endswith(".html") and "<" not in data
        )
        return data if is_path else f"{data}\n", None


class Histogram(Media):
    def __init__(self, sequence: Any = None, np_histogram: Any = None, num_bins: Any = 64, **named: Any) -> None:
        super().__init__(sequence)
        self.counted, self.bins = np_histogram, num_bins

    def _sample(self, place: MediaFolder, name: str) -> tuple[Any, str | None] | None:
        counts, edges = self.counted if self.counted is not None else _counted(self.data, self.bins)
        found = {"edges": [float(edge) for edge in edges], "counts": [float(count) for count in counts]}
        return json.dumps(found), "histogram"


class MediaFolder:
    """Where one run's images and sounds are written."""

    def __init__(self, folder: Any, rank: int, step: int) -> None:
        self._folder, self._rank, self.step = folder, rank, step
        self._files = self._bytes = 0

    def write(self, name: str, ending: str, data: bytes | None) -> Any:
        """The path of the file; None where there is nothing to write, or no room for it."""
        if data is None:
            return None
        if self._files >= MAX_FILES or self._bytes + len(data) > MAX_BYTES:
            say_once(
                f"log: of a run {MAX_FILES:,} images and sounds are written, and {MAX_BYTES >> 20} MiB of them; pass paths of files"
            )
            return None
        self._files += 1
        self._bytes += len(data)
        rank = f".rank{self._rank}" if self._rank else ""
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:80].strip("-") or "sample"
        path = self._folder / WRITTEN / f"{plain}-{self.step}-{self._files}{rank}{ending}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path


def media_of(value: Any) -> list[Media]:
    """Those that a value of `log` consists of; none for all else."""
    if isinstance(value, Media):
        return [value]
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], Media):
        return [item for item in value[:MAX_OF_A_LIST] if isinstance(item, Media)]
    return []


def log_media(log: Any, place: MediaFolder, step: int, things: Mapping[str, Sequence[Media]]) -> None:
    """Further ones of a list have their number behind the name; what stands below them is a table of its own, `name/captions`."""
    place.step = step
    for name, several in things.items():
        for number, thing in enumerate(several):
            _log(log, place, f"{name}/{number}" if number else name, thing)
        captions = [[thing.caption if isinstance(thing.caption, str) else ""] for thing in several]
        if any(caption for (caption,) in captions):
            log.sample(f"{name}/captions", table_text(["caption"], captions), step, kind="table")


@guarded
def _log(log: Any, place: MediaFolder, name: str, thing: Media) -> None:
    found = thing._sample(place, name)
    if found is not None and found[0] is not None:
        log.sample(name, found[0], place.step, kind=found[1])


def table_text(columns: Sequence[Any], rows: Sequence[Any]) -> str:
    """As many rows as fit."""
    kept: list[list[Any]] = []
    size = 0
    for row in rows[:MAX_ROWS]:
        cells = [_cell(cell) for cell in row]
        size += len(json.dumps(cells))
        if size > MAX_TABLE_BYTES:
            break
        kept.append(cells)
    return json.dumps({"columns": [_cell(column) for column in columns], "rows": kept, "total": len(rows)})


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value if not isinstance(value, float) or (value == value and abs(value) != float("inf")) else str(value)
    if isinstance(value, Media):
        return value.caption if isinstance(value.caption, str) else type(value).__name__
    return str(value)[:MAX_CELL_CHARS]


def _path(given: Any) -> Any:
    from pathlib import Path

    return Path(os.fsdecode(given))


def _png(data: Any) -> bytes | None:
    """Of a figure, an image of Pillow, or rows of pixels: (H, W), (H, W, 1 to 4), or a tensor of (1 to 4, H, W)."""
    held = io.BytesIO()
    if hasattr(data, "savefig"):
        data.savefig(held, format="png")
        return held.getvalue()
    try:
        pillow = importlib.import_module("PIL.Image")
    except ImportError:
        say_once(
            "log: an image that is no file is left out, since Pillow is not installed: pip install pillow, or pass a path"
        )
        return None
    image = data if isinstance(data, pillow.Image) else pillow.fromarray(_pixels(data))
    if max(image.size) > MAX_SIDE:
        image = image.copy()
        image.thumbnail((MAX_SIDE, MAX_SIDE))
    (image if image.mode in ("1", "L", "LA", "RGB", "RGBA", "P", "I;16") else image.convert("RGB")).save(held, "PNG")
    return held.getvalue()


def _pixels(data: Any) -> Any:
    import numpy as np

    is_tensor = hasattr(data, "detach")
    rows = np.asarray(data.detach().cpu().float() if is_tensor else data)
    if is_tensor and rows.ndim == 3 and rows.shape[0] <= 4:
        rows = rows.transpose(1, 2, 0)
    if rows.ndim == 3 and rows.shape[2] == 1:
        rows = rows[:, :, 0]
    if rows.dtype != np.uint8:
        rows = np.nan_to_num(rows.astype(np.float64))
        rows = rows * 255 if rows.size and rows.min() >= 0 and rows.max() <= 1 else rows
        rows = rows.clip(0, 255).astype(np.uint8)
    return rows


def _wav(data: Any, rate: Any) -> bytes:
    """16 bits a sample, of numbers between -1 and 1, or of 16-bit ones; one channel, or (samples, channels)."""
    import numpy as np

    wave_ = np.asarray(data.detach().cpu().float() if hasattr(data, "detach") else data)
    if not np.issubdtype(wave_.dtype, np.integer):
        wave_ = (np.nan_to_num(wave_).clip(-1, 1) * 32767).astype(np.int16)
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(wave_.shape[1] if wave_.ndim == 2 else 1)
        file.setsampwidth(2)
        file.setframerate(int(rate or 44_100))
        file.writeframes(wave_.astype("<i2").tobytes())
    return held.getvalue()


def _counted(data: Any, bins: Any) -> tuple[Any, Any]:
    import numpy as np

    values = np.asarray(data.detach().cpu().float() if hasattr(data, "detach") else data, dtype=np.float64).ravel()
    counts, edges = np.histogram(values[np.isfinite(values)], bins=min(int(bins), MAX_BINS))
    return counts, edges
