"""What runs logged to be looked at, and their checkpoints: where the files are, and what they show."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import struct
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from analysis.stacks.frames import owner_of_folders
from collectors.folders import BY_OTHERS, LogTree, is_received
from collectors.logs.formats import tensorboard
from collectors.logs.formats.protobuf import DecodeError
from collectors.logs.formats.samples import KIND_OF
from collectors.logs.formats.tensorboard import OF_HISTOGRAM, OF_TENSOR, sign_of
from collectors.records import HEAD_CRC_BYTES, MAX_INLINE_BYTES, Event, Sample, Searched
from collectors.rights import NotGiven, rights_of_user, with_rights
from collectors.sampler.sources import FilePart, Unreadable, part_as_user

# Which files a run may show: those in its own folder and, named as such files are, in its working folder; links and `..` followed.


class NotShown(Exception):
    """A file that a run names and that is not shown; the text is one sentence."""


class RunPlaces(NamedTuple):
    """Where the files of a run lie."""

    tree: LogTree  # its root with no links in it
    folder: Path | None  # the run's; None where the run is some files of the log folder itself
    files: Collection[str]  # that were read as the run's, by their keys
    cwd: str  # "" where it is not known, or not one of this host
    uid: int  # whose rights its files are read with; BY_OTHERS where they are not to be read

    @classmethod
    def of(cls, logs: Path | LogTree, run: str, cwd: str, files: Collection[str]) -> RunPlaces:
        tree = LogTree.of(logs)
        folder = _real(tree.path_of(run)) if "\0" not in run else tree.home
        is_inside = any(folder != top and folder.is_relative_to(top) for top in tree.tops)
        mine = folder if is_inside and os.path.isdir(folder) else None  # noqa: PTH112  # false for a name that no folder can have
        if is_received(run):
            return cls(tree, mine, files, "", os.geteuid())
        uid = owner_of_folders(tree)(run)
        return cls(tree, mine, files, cwd, uid)

    def path_of(self, name: str) -> Path:
        """Of a sample's file. Raises NotShown."""
        if self.uid == BY_OTHERS:
            raise NotShown("Its run belongs to another user than root, whose dashboard this is.")
        if "\0" in name or not name:
            raise NotShown("The name of its file is no path.")
        found = self._in_folder(name) or self._in_cwd(name)
        if found is None:
            raise NotShown(
                f"{PurePath(name).name} lies outside of the run's folder and its working folder; only files in these are shown."
            )
        return found

    def _in_folder(self, name: str) -> Path | None:
        if self.folder is None:
            known = name in self.files and not PurePath(name).is_absolute()
            path = self.tree.path_of(name)
            return _real(path) if known and any(_is_below(path, top) for top in self.tree.tops) else None
        path = self.folder / name
        return _real(path) if _is_below(path, self.folder) else None

    def _in_cwd(self, name: str) -> Path | None:
        """By its whole path, and not any file that lies there: what a log says is a claim."""
        if not self.cwd or "\0" in self.cwd or not name.startswith("/") or PurePath(name).suffix.lower() not in KIND_OF:
            return None
        root = _real(Path(self.cwd))
        path = Path(name)
        hidden = any(part.startswith(".") for part in _real(path).parts[len(root.parts) :])
        return _real(path) if root != Path(root.anchor) and not hidden and _is_below(path, root) else None


def _is_below(path: Path, root: Path) -> bool:
    return ".." not in path.parts and _real(path).is_relative_to(root)


def _real(path: Path) -> Path:
    """All links followed; where they lead in a circle, as far as they lead."""
    return Path(os.path.realpath(path))


# What the bytes of a sample are, by the bytes themselves: only what browsers show without running anything is named as that.

PLAIN = "text/plain; charset=utf-8"
UNKNOWN = "application/octet-stream"
INLINE = ("image/png", "image/jpeg", "image/gif", "image/webp", "audio/wav", "audio/mpeg", "audio/ogg", "audio/flac")
OF_TEXT = ("text", "table", "histogram")
MAX_BUCKETS = 10_000
HEIGHT_FIRST = frozenset(
    {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
)  # JPEG's frames


def media_of(sample: Sample, data: bytes) -> str:
    """HTML, SVG and all other text is plain text; what is neither a known image nor audio is of no kind that is shown."""
    known = sign_of(data[:16])
    if known is not None and known[1] in INLINE:
        return known[1]
    return PLAIN if sample.kind in OF_TEXT else UNKNOWN


def readable(sample: Sample, data: bytes) -> bytes:
    """A histogram as `{"edges": [...], "counts": [...]}` and several texts as lines, of whatever program; all else is as it was."""
    try:
        if sample.media == OF_HISTOGRAM:
            return _histogram(tensorboard.histogram(data))
        if sample.media == OF_TENSOR:
            tensor = tensorboard.tensor(data)
            if sample.kind == "text":
                return b"\n".join(tensor.strings)
            table = tensor.numbers[: len(tensor.numbers) // 3 * 3].reshape(-1, 3)
            return _histogram(tensorboard.HistogramBuckets(table[:, 0], table[:, 1], table[:, 2]))
    except DecodeError:
        return b""
    return data


def pixels(data: bytes) -> tuple[int, int]:
    """Width and height as the image's first bytes say; (0, 0) where they do not."""
    try:
        if data.startswith(b"\x89PNG"):
            return struct.unpack_from(">II", data, 16)
        if data.startswith(b"GIF8"):
            return struct.unpack_from("<HH", data, 6)
        if data.startswith(b"RIFF"):
            return _pixels_of_webp(data)
        if data.startswith(b"\xff\xd8"):
            return _pixels_of_jpeg(data)
    except (struct.error, IndexError):
        pass
    return 0, 0


def _histogram(buckets: tensorboard.HistogramBuckets) -> bytes:
    """Without the empty buckets at both ends, whose edges writers choose freely."""
    filled = np.flatnonzero(buckets.count > 0)
    kept = slice(int(filled[0]), int(filled[-1]) + 1) if len(filled) else slice(0, 0)
    left, right, count = (column[kept][:MAX_BUCKETS] for column in buckets)
    edges = np.append(left, right[-1:])
    return json.dumps(
        {"edges": [_number(edge) for edge in edges.tolist()], "counts": [_number(each) for each in count.tolist()]}
    ).encode()


def _number(value: float) -> Any:
    return value if math.isfinite(value) else str(value)


def _pixels_of_webp(data: bytes) -> tuple[int, int]:
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _pixels_of_jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    while data[at] == 0xFF:
        if data[at + 1] in HEIGHT_FIRST:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return 0, 0


# The bytes of a sample, read with the rights of the run's owner and bounded; one that is gone or has changed since is a sentence.

MAX_BYTES = 32 << 20  # of an image, audio or other file
MAX_TEXT_BYTES = 1 << 20  # of text, of which the beginning is shown
MAX_PIXELS = 64_000_000
SAME_S = 2.0  # file systems round the time of a change
ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp", "audio/wav": ".wav"}
ENDINGS |= {"audio/mpeg": ".mp3", "audio/ogg": ".ogg", "audio/flac": ".flac", PLAIN: ".txt", UNKNOWN: ".bin"}


@dataclass(frozen=True)
class SampleContent:
    data: bytes
    media: str
    file_name: str  # to save it as
    total_bytes: int  # more than there are, where the text is longer than what is shown
    width: int = 0  # of an image, in pixels; 0 where its bytes do not say
    height: int = 0


def read_sample(sample: Sample, places: RunPlaces) -> SampleContent:
    """Raises NotShown."""
    if sample.path:
        most = MAX_TEXT_BYTES if sample.kind in OF_TEXT else MAX_BYTES
        total, data = _read(sample, places, most)
    else:
        total, data = len(sample.data), sample.data
    data = readable(sample, data)
    media = media_of(sample, data)
    width, height = pixels(data) if media.startswith("image/") else (0, 0)
    if width * height > MAX_PIXELS:
        raise NotShown(
            f"It has {width:,} × {height:,} pixels; more than {MAX_PIXELS // 1_000_000} million are not shown."
        )
    return SampleContent(data, media, _file_name(sample, media), total, width, height)


def small(sample: Sample, places: RunPlaces) -> Sample:
    """With its bytes in it, where they are few and there."""
    if not sample.path or sample.length is None or sample.length > MAX_INLINE_BYTES:
        return sample
    try:
        _, data = _read(sample, places, MAX_INLINE_BYTES)
    except NotShown:
        return sample
    return sample._replace(data=data, path="", offset=0, length=len(data), head_crc=None, written_s=None)


def _read(sample: Sample, places: RunPlaces, most: int) -> tuple[int, bytes]:
    path = places.path_of(sample.path)
    whole = sample.head_crc is None
    if not whole and sample.length is not None and sample.length > most and sample.kind not in OF_TEXT:
        raise NotShown(_too_large(sample.length, most))
    wanted = most if sample.length is None or whole else min(sample.length, most)
    try:
        part = part_as_user(str(path), places.uid, sample.offset, wanted)
    except Unreadable as error:
        raise NotShown(f"{path.name}: {error}") from error
    total = part.file_bytes if whole else sample.length or 0
    if _has_changed(sample, part):
        raise NotShown(f"{path.name} has changed since it was logged, so that what was logged is no longer there.")
    if total > most and sample.kind not in OF_TEXT:
        raise NotShown(_too_large(total, most))
    return total, part.data


def _has_changed(sample: Sample, part: FilePart) -> bool:
    if sample.head_crc is not None:
        head = part.data[: min(sample.length or 0, HEAD_CRC_BYTES)]
        return part.file_bytes < sample.offset + (sample.length or 0) or zlib.crc32(head) != sample.head_crc
    resized = sample.length is not None and part.file_bytes != sample.length
    return resized or (sample.written_s is not None and abs(part.written_s - sample.written_s) > SAME_S)


def _too_large(size: int, most: int) -> str:
    return f"It has {size / 1e6:,.0f} MB, and more than {most >> 20} MiB are not shown."


def _file_name(sample: Sample, media: str) -> str:
    """`val/image at step 7 -> val-image-7.png`"""
    step = "" if sample.step is None else f"-{sample.step}"
    ending = PurePath(sample.path).suffix if media in (PLAIN, UNKNOWN) and sample.head_crc is None else ""
    name = f"{sample.name[:100]}{step}{ending or ENDINGS[media]}"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".-") or "sample"


# A run's checkpoints: what its events say of them, and the files that lie in its folder.

MAX_FILES = 500
MAX_LOOKED_AT = 5_000  # entries of the run's folder
SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
FOLDER = re.compile(r"(checkpoint|ckpt|step|epoch|global_step)[-_=]?\d+")
HOLD_THEM = ("checkpoints", "ckpts", "weights")  # folders of such files
STEP = re.compile(r"\d+")
REPLACED = "A later one was written under the same name."
NOT_HERE = "Its file is not in the run's folder."


@dataclass(frozen=True)
class Checkpoint:
    name: Searched  # of the file in the run's folder, else what the event says
    step: int | None
    time_s: float  # of the event, else of the last write
    bytes: int | None  # None where there is no file
    seconds: float | None  # that saving took
    note: Searched  # one sentence on why there is no size; "" where there is one


def checkpoints_of(events: Sequence[Event], folder: Path | None, uid: int) -> list[Checkpoint]:
    """By time. A file that several events name is that of the newest of them. Root looks for them with the rights of user `uid`."""
    files: dict[str, tuple[int, float]] = {}
    if folder and uid != BY_OTHERS:
        with suppress(NotGiven), with_rights(rights_of_user(uid)):
            files = dict(_files(folder))
    unnamed = dict(files)
    found: list[Checkpoint] = []
    for event in sorted(events, key=lambda event: event.time_s, reverse=True):
        name = _named(event, files)
        there = unnamed.pop(name, None)
        note = "" if there else REPLACED if name in files else NOT_HERE
        found.append(
            Checkpoint(name or event.text, event.step, event.time_s, there[0] if there else None, event.seconds, note)
        )
    found += [
        Checkpoint(name, _step_in(name), written_s, size, None, "") for name, (size, written_s) in unnamed.items()
    ]
    return sorted(found, key=lambda checkpoint: checkpoint.time_s)


def _named(event: Event, files: dict[str, tuple[int, float]]) -> str:
    """The file that an event means; "" where it is not there."""
    said = [event.fields.get("path"), event.fields.get("file"), event.text, *event.text.split()]
    names = [part for text in said if isinstance(text, str) for part in (text, text.rstrip("/").rpartition("/")[2])]
    return next((name for name in names if name in files), "")


def _files(folder: Path) -> Iterator[tuple[str, tuple[int, float]]]:
    """Name, size and last write of what looks like a checkpoint."""
    looked = kept = 0
    for place in (folder, *(folder / name for name in HOLD_THEM)):
        prefix = "" if place == folder else f"{place.name}/"
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    looked += 1
                    if looked > MAX_LOOKED_AT or kept >= MAX_FILES:
                        return
                    if (found := _looked_at(entry)) is not None:
                        kept += 1
                        yield prefix + os.fsencode(entry.name).decode("utf-8", "backslashreplace"), found
        except OSError:
            continue


def _looked_at(entry: os.DirEntry[str]) -> tuple[int, float] | None:
    try:
        about = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(about.st_mode) and entry.name.lower().endswith(SUFFIXES):
            return about.st_size, about.st_mtime
        if stat.S_ISDIR(about.st_mode) and FOLDER.fullmatch(entry.name.lower()):
            return _size_of(entry.path), about.st_mtime
    except OSError:
        pass
    return None


def _size_of(folder: str) -> int:
    """Of the files that lie directly in it."""
    with os.scandir(folder) as entries:
        found = [entry.stat(follow_symlinks=False) for entry, _ in zip(entries, range(MAX_FILES), strict=False)]
    return sum(about.st_size for about in found if stat.S_ISREG(about.st_mode))


def _step_in(name: str) -> int | None:
    """`checkpoint-500 -> 500`, `epoch=3-step=1200.ckpt -> 1200`"""
    numbers = STEP.findall(name.rpartition(".")[0] if "." in name else name)
    return int(numbers[-1]) if numbers and len(numbers[-1]) < 16 else None
