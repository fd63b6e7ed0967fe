"""The bytes of a sample, read with the rights of the run's owner and bounded; one that is gone or has changed since is a sentence."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import PurePath

from collectors.records import HEAD_CRC_BYTES, MOST_INLINE_BYTES, Sample
from collectors.sampler.reading import FilePart, Unreadable, part_as_user

from .media import OF_TEXT, PLAIN, UNKNOWN, media_of, pixels, readable
from .places import NotShown, RunPlaces

MOST_BYTES = 32 << 20  # of an image, audio or other file
MOST_TEXT_BYTES = 1 << 20  # of text, of which the beginning is shown
MOST_PIXELS = 64_000_000
SAME_S = 2.0  # file systems round the time of a change
ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp", "audio/wav": ".wav"}
ENDINGS |= {"audio/mpeg": ".mp3", "audio/ogg": ".ogg", "audio/flac": ".flac", PLAIN: ".txt", UNKNOWN: ".bin"}


@dataclass(frozen=True)
class Shown:
    data: bytes
    media: str
    file_name: str  # to save it as
    total_bytes: int  # more than there are, where the text is longer than what is shown
    width: int = 0  # of an image, in pixels; 0 where its bytes do not say
    height: int = 0


def shown(sample: Sample, places: RunPlaces) -> Shown:
    """Raises NotShown."""
    if sample.path:
        most = MOST_TEXT_BYTES if sample.kind in OF_TEXT else MOST_BYTES
        total, data = _read(sample, places, most)
    else:
        total, data = len(sample.data), sample.data
    data = readable(sample, data)
    media = media_of(sample, data)
    width, height = pixels(data) if media.startswith("image/") else (0, 0)
    if width * height > MOST_PIXELS:
        raise NotShown(
            f"It has {width:,} × {height:,} pixels; more than {MOST_PIXELS // 1_000_000} million are not shown."
        )
    return Shown(data, media, _file_name(sample, media), total, width, height)


def small(sample: Sample, places: RunPlaces) -> Sample:
    """With its bytes in it, where they are few and there."""
    if not sample.path or sample.length is None or sample.length > MOST_INLINE_BYTES:
        return sample
    try:
        _, data = _read(sample, places, MOST_INLINE_BYTES)
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
